/* cert: what the authority's own certificate and its leaves have in common. */
#pragma once

#include <openssl/x509v3.h>
#include <stdbool.h>
#include <time.h>

enum { CERT_KEY_ID_SIZE = 20 };

/* Version 3, a random 128-bit serial, these dates, this public key. NULL when OpenSSL fails. */
X509 *cert_begin(EVP_PKEY *key, time_t not_before, time_t not_after);

/* Appends an extension; value is the structure that OpenSSL has for nid, and stays the caller's. */
bool cert_add(X509 *cert, int nid, bool critical, void *value);
bool cert_add_basic(X509 *cert, bool ca);
/* Bits as RFC 5280 section 4.2.1.3 numbers them, -1 behind the last. */
bool cert_add_usage(X509 *cert, const int *bits);
/* Subject and authority key identifiers. */
bool cert_add_key_ids(X509 *cert, ASN1_OCTET_STRING *subject, ASN1_OCTET_STRING *authority);

/* The key identifier of a certificate's key: the first 160 bits of its SHA-256 (RFC 7093
 * section 2, method 1). The caller's; NULL when OpenSSL fails. */
ASN1_OCTET_STRING *cert_key_id(const X509 *cert, const EVP_MD *sha256);

/* What key signs with: SHA-256, or NULL where it brings its own digest (Ed25519). */
const EVP_MD *cert_digest(EVP_PKEY *key, const EVP_MD *sha256);

/* Signs with SHA-256, or with the only digest that the key admits (Ed25519). */
bool cert_sign(X509 *cert, EVP_PKEY *key, const EVP_MD *sha256);

/* False when a date cannot be read. */
bool cert_dates(const X509 *cert, time_t *not_before, time_t *not_after);
