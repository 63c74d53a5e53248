/* pem: the certificates of a PEM file, whatever else stands between them. */
#pragma once

#include <openssl/x509.h>

#include "base/err.h"

/* Appends to `into` every certificate in path, in order; "TRUSTED CERTIFICATE" too. What is
 * marked as a certificate but cannot be read is left out and counted in *broken. -ENOENT tells a
 * missing file. */
int pem_read(STACK_OF(X509) *into, const char *path, unsigned *broken, struct err *err);
