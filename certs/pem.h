/* pem: the certificates of a PEM file, whatever else stands between them, and keys. */
#pragma once

#include <openssl/x509.h>

#include "base/err.h"
#include "base/span.h"
#include "certs/known.h"

/* Appends to `into` every certificate in path, in order; "TRUSTED CERTIFICATE" too. What is
 * marked as a certificate but cannot be read is left out and counted in *broken. -ENOENT tells a
 * missing file. known may be NULL. */
int pem_read(STACK_OF(X509) *into, const char *path, struct known *known, unsigned *broken,
             struct err *err);

/* The same of bytes that are called name. */
int pem_parse(STACK_OF(X509) *into, struct span bytes, const char *name, struct known *known,
              unsigned *broken, struct err *err);
/* The caller's text of all of them, with what their files said about them; NULL without memory. */
char *pem_write(const STACK_OF(X509) *certs);

/* The same of a file that is whole or refused: one that holds none, or a broken one. */
int pem_read_whole(STACK_OF(X509) *into, const char *path, struct err *err);

/* The private key of cert, which came from cert_path. Refused: one that needs a password, one of
 * another certificate, and a file that others than its owner may read. *out is the caller's. */
int pem_read_key(EVP_PKEY **out, X509 *cert, const char *path, const char *cert_path,
                 struct err *err);
