/* cacerts: our CA into a copy of a Java truststore.
 *
 * Java has read its own file since long before the system bundle existed: a key store in Java's
 * format (JKS) or in PKCS #12, whose password is "changeit" wherever nobody changed it. */
#pragma once

#include <openssl/x509.h>

#include "base/err.h"
#include "certs/known.h"

/* Writes `path` as a JKS under "changeit" (Java reads one whatever store type it was told, by
 * default) with the trusted certificates of `original` under the aliases they had, and roots as
 * "sallyport", "sallyport-1", …; with the owner, group and permissions of original. Private keys
 * are left out. A JKS is read without looking at its password, as Java opens it by default; a PKCS
 * #12 must have "changeit" or none. */
int cacerts_merge(const char *path, const char *original, const STACK_OF(X509) *roots,
                  struct err *err);

/* Adds what `path` trusts, read in the same way, to store; a certificate that cannot be read is
 * skipped by itself. known may be NULL. */
int cacerts_add(X509_STORE *store, const char *path, struct known *known, struct err *err);
