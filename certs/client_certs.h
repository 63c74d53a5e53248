/* client_certs: the certificates to show to servers that ask for one, by the servers' names.
 *
 * A directory has, for each NAME, NAME/tls.crt and NAME/tls.key or NAME.crt and NAME.key; NAME is a
 * host, an address, or *.SUFFIX for every host below it. The certificate stands first in its file,
 * what leads to its root behind it.
 * Called by:  flow/dial.c, when a server asks. */
#pragma once

#include <openssl/x509.h>

#include "base/err.h"

struct client_cert {
    char *name; /* lower case, no closing dot */
    X509 *cert;
    EVP_PKEY *key;
    STACK_OF(X509) *chain; /* what stands behind cert; may be empty */
};

/* The one of a directory that has tls.crt and tls.key, or of a file that holds both. name becomes
 * path; refused as those below. Nothing is left in *out on failure. */
int client_cert_load(struct client_cert *out, const char *path, struct err *err);
void client_cert_fini(struct client_cert *cert); /* at ease with a zeroed one */

struct client_certs; /* immutable */

/* Refused, with a sentence that names the file: a key that does not fit, that others may read, or
 * that is missing; what cannot be read; and what has another name, for it would never be shown.
 * What begins with a dot is left alone. Dates are for servers to judge. */
int client_certs_load(struct client_certs **out, const char *dir, struct err *err);
void client_certs_free(struct client_certs **certs);

/* Borrowed; NULL: none is for this server. certs may be NULL. */
const struct client_cert *client_certs_find(const struct client_certs *certs, const char *server);

/* Pure: which of the names, sorted by strcmp(), is for server: itself, else the longest suffix; an
 * address is only ever itself. -1: none. */
int client_certs_choose(const char *const *names, size_t len, const char *server);
