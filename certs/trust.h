/* trust: what a pod trusted before we came, and our CA into a copy of it.
 *
 * Roots are gathered from files (and hashed directories) as the pod's own programs would have read
 * them; the merged copies are new files, the pod's own are never written. Java's truststores:
 * certs/cacerts.h. */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "certs/known.h"

/* Well-known bundle paths of the distributions, NULL-terminated, most usual first. */
extern const char *const trust_bundles[];
/* Environment variables that name a file of roots (SSL_CERT_FILE, CURL_CA_BUNDLE, ...),
 * NULL-terminated. None that names a directory. */
extern const char *const trust_variables[];

/* A store of all certificates in the PEM files named, "TRUSTED CERTIFICATE" and its settings too.
 * What is missing, unreadable or without a single certificate is skipped, and an error only if
 * required[i]; so is, by itself, a certificate that cannot be read. Duplicates are fine.
 * A directory stands for the files in it that are named as OpenSSL looks them up (c_rehash), read
 * here and now: a worker that verifies never waits for a pod's files.
 * Each is an anchor, an intermediate as well as a root: for curl, GnuTLS, Go, Java and Python since
 * 3.13 it is; only bare OpenSSL would want the root, too. Purpose, other flags and name are left to
 * the caller. known may be NULL. *out is the caller's. */
int trust_roots_new(X509_STORE **out, const char *const *files, const bool *required, size_t len,
                    struct known *known, struct err *err);

/* Is this very certificate among what is trusted to vouch for servers? What its file says about it
 * counts, not what comes with root. */
bool trust_holds(X509_STORE *trust, X509 *root);
/* Are they the same certificates, with the same said about servers? */
bool trust_same(X509_STORE *one, X509_STORE *other);
/* A store of what both trust; either may be NULL. *out is the caller's. */
int trust_join_new(X509_STORE **out, X509_STORE *one, X509_STORE *other, struct err *err);
/* Puts what `more` trusts into `trust`, too. */
bool trust_join(X509_STORE *trust, X509_STORE *more);

/* Writes `path` = the bytes of `original` (with a newline at its end) and the roots in PEM behind a
 * comment line, with the owner, group and permissions of original: some keep a private key in such
 * a file. original may be NULL: then the roots alone, mode 0644. A reader of path sees the whole or
 * what was there before. */
int trust_merge(const char *path, const char *original, const STACK_OF(X509) *roots,
                struct err *err);
