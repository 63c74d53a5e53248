/* ca_dir: a directory with a CA, and how it changes: made, read, rotated.
 *
 * Ours (ca_dir_init()) is a set of files (file_set.h): tls.crt, tls.key and ca.crt, which holds
 * every root that pods must trust; and, while a fresh authority is published that does not sign
 * yet, next.crt, next.key and next.from (when it will) beside them in ..data. Who signs follows
 * from the files and the time (rotation.h): nobody writes anything at that moment, and a directory
 * that is read-only rotates, too. Directories of cert-manager, Istio or a person are read alike,
 * and never written. */
#pragma once

#include <stdbool.h>
#include <time.h>

#include "certs/authority.h"
#include "certs/rotation.h"

struct ca_dir {
    bool ours;
    struct authority *current; /* NULL: it has expired, `why` says so */
    struct authority *next;    /* NULL: none is published */
    time_t next_from;
    struct err why;
};

/* Reads all of it, of one set of files where it has such; refuses what authority.h refuses. -ENOENT
 * tells that there is no authority. Neither takes the other's place but for the time. */
int ca_dir_read(struct ca_dir *out, const char *dir, struct err *err);
void ca_dir_fini(struct ca_dir *ca);

/* Dates, for rotation.h. */
struct rotation ca_dir_rotation(const struct ca_dir *ca);
/* Who signs; borrowed, NULL: nobody, `why` says why. */
struct authority *ca_dir_signer(const struct ca_dir *ca, time_t now);
/* What pods must trust, who signs first: the roots that are valid, or will be. Borrowed, the stack
 * is the caller's (sk_X509_free); NULL without memory. */
STACK_OF(X509) *ca_dir_bundle(const struct ca_dir *ca, time_t now);

enum { CA_WARNING_SIZE = 512 };
/* What its owner should know and do; "": nothing. */
void ca_dir_warn(const struct ca_dir *ca, const char *dir, time_t now, char out[CA_WARNING_SIZE]);

/* What a directory means now. */
struct ca_now {
    struct authority *signer; /* the caller's */
    time_t look_again; /* then it means something else though no file changes, or there is a warning
                          to give again */
    char warning[CA_WARNING_SIZE]; /* ca_dir_warn() */
};
int ca_dir_load(struct ca_now *out, const char *dir, struct err *err);

/* Makes a CA, and the directory where it is missing. -EEXIST: there is one, whatever its state. */
int ca_dir_init(const char *dir, const char *node_name, struct err *err);
/* Takes the next step (rotation_step()): publishes a fresh authority that signs `overlap` seconds
 * from now, or, where at_once, has the published or a fresh one sign now. The roots of those who
 * signed stay in the bundle until they expire, for no leaf lives longer. */
struct ca_rotated {
    enum rotation_step step;
    time_t signs_from; /* of ROTATION_PUBLISH */
};
int ca_dir_rotate(const char *dir, const char *node_name, time_t overlap, bool at_once,
                  struct ca_rotated *done, struct err *err);
