/* overlay: which files a command must see otherwise so that it trusts our leaves, and what it
 * trusted before.
 *
 * Files only: merged copies are mounted over the originals in the command's private mount
 * namespace (command/child.c), so nothing of the host changes and no program notices a variable. */
#pragma once

#include <limits.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/span.h"
#include "certs/anchors.h"
#include "certs/known.h"

enum { OVERLAY_MAX = 32, OVERLAY_PLACES_MAX = 2 * OVERLAY_MAX };

enum overlay_kind {
    OVERLAY_PEM,
    OVERLAY_JAVA,    /* a Java truststore */
    OVERLAY_DIR,     /* files under hashed names; read, never hidden */
    OVERLAY_OPENSSL, /* an OpenSSL configuration, to ask for kTLS */
};

/* Where programs may look for roots; it need not exist. */
struct overlay_place {
    struct span path;
    enum overlay_kind kind;
    bool dirs; /* who reads it searches the hashed directories, too */
    bool adds; /* who reads it has roots of its own besides */
};

struct overlay_places { /* borrows from the environment; not to be copied */
    struct overlay_place all[OVERLAY_PLACES_MAX];
    size_t len;
    char java_home[PATH_MAX];
};

struct overlay_file {
    char path[PATH_MAX]; /* real path of what is hidden */
    char with[PATH_MAX]; /* what is mounted over it; "": nothing is */
    enum overlay_kind kind;
    bool dirs;    /* of any of its places */
    bool adds;    /* of all */
    size_t trust; /* whose roots belong into the copy: for anchors_roots() */
};

struct overlay {
    struct overlay_file files[OVERLAY_MAX];
    size_t len;
    char dirs[OVERLAY_MAX][PATH_MAX]; /* hashed directories of roots */
    size_t dirs_len;
    bool no_cert_file;      /* SSL_CERT_FILE names none: programs trust directories alone, in which
                             * nothing can be added; so the variable is to name roots of ours */
    size_t cert_file_trust; /* ... these, for anchors_roots() */
    bool no_conf; /* kTLS is wanted, and there is no OpenSSL configuration, or OPENSSL_CONF names
                   * none: so the variable is to name ours */
};

/* Pure: the places that matter in an environment, which look_up reads as getenv() does. As with
 * OpenSSL, the directories of SSL_CERT_DIR stand in for the system's. */
void overlay_choose(struct overlay_places *out, char *(*look_up)(const char *name));

/* Finds which of the places for this process's environment there are. */
void overlay_find(struct overlay *overlay);

/* Behind that: programs shall let the kernel encrypt (../proxy/kernel/ktls_conf.h), by the OpenSSL
 * configurations that they read. */
void overlay_find_ktls(struct overlay *overlay);

/* What any program of the pod trusted before, and extra (may be NULL) besides: what its upstreams
 * are verified against. known may be NULL. *out is the caller's (X509_STORE_free). */
int overlay_roots(const struct overlay *overlay, const char *extra, struct known *known,
                  X509_STORE **out, struct err *err);

/* What the readers of each file trust, extra with it: files that trust the same share a store, and
 * if there are too many, the last ones do. *len of at most ANCHORS_MAX stores are the caller's. */
int overlay_trust(struct overlay *overlay, const char *extra, struct known *known,
                  X509_STORE *out[ANCHORS_MAX], size_t *len, struct err *err);

/* Writes the merged copies into dir and fills every `with`. An OpenSSL configuration that is broken
 * is left alone, which is told. */
int overlay_write(struct overlay *overlay, const char *dir, const struct anchors_shown *shown,
                  struct err *err);
