/* anchors: whom a server may be shown to as trusted.
 *
 * The programs of a pod read different files of roots: the system's bundle, Java's truststore, what
 * a variable names. We verify a server for all of them, but each must refuse what it would have
 * refused itself. So there is an authority for each set of files, and its root stands in the copies
 * of just these: a leaf is signed by the authority of the files that trust the server, and a
 * program that reads another file does not know it. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

#include "certs/authority.h"

enum { ANCHORS_MAX = 3, ANCHORS_SETS = 1 << ANCHORS_MAX };

/* Immutable once made, so every thread may use it. */
struct anchors {
    const struct authority *main;         /* of all files; borrowed */
    struct authority *made[ANCHORS_SETS]; /* of the other sets, by their bits; [0]: of no file */
    X509_STORE *trust[ANCHORS_MAX];       /* what each file trusts */
    size_t len;
    bool lent; /* made is another's */
};

/* Takes the stores, at most ANCHORS_MAX of them, even on failure. */
int anchors_init(struct anchors *anchors, const struct authority *main, const char *node_name,
                 X509_STORE *const *trust, size_t len, struct err *err);
/* The same authorities, which are borrowed from `before`, and what its files trust now. */
void anchors_init_again(struct anchors *anchors, const struct anchors *before,
                        X509_STORE *const *trust);
void anchors_fini(struct anchors *anchors);

/* The authority for a leaf in place of the certificate that a server has shown and that was
 * verified; the chain it came with and how it must be verified are read from its SSL. */
const struct authority *anchors_choose(const struct anchors *anchors, SSL *server);

enum { ANCHORS_ANY = ANCHORS_MAX };

/* The roots that belong into a copy of a file, main's first; ANCHORS_ANY: all, for programs that
 * add what a file trusts to roots of their own. They are borrowed, the stack is the caller's
 * (sk_X509_free); NULL without memory. */
STACK_OF(X509) *anchors_roots(const struct anchors *anchors, size_t file);

/* What anchors_roots() has for every file and for ANCHORS_ANY, by their numbers; owned. */
struct anchors_shown {
    STACK_OF(X509) *roots[ANCHORS_MAX + 1];
};
int anchors_show(struct anchors_shown *out, const struct anchors *anchors, struct err *err);
void anchors_shown_fini(struct anchors_shown *shown);
