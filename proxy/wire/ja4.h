/* ja4: the fingerprint of a ClientHello (JA4, FoxIO): which stack a program speaks TLS with, and
 * how it is set up, as "t13d1516h2_8daaf6152771_e5627efa2ab1".
 *
 * Pure: facts in, text out. The digest is the caller's, for this folder knows no OpenSSL.
 * Called by:  flow/peek.c; ../handshakes/hello_verdict.c.
 * Leads to:   flow/report.c, which tells it. */
#pragma once

#include "proxy/wire/hello.h"

enum {
    JA4_SIZE = 37,       /* 36 characters and their NUL */
    JA4_ITEMS_MAX = 512, /* cipher suites, extensions, signature schemes of a hello, each; there are
                            fewer of each than that */
    JA4_DIGEST = 32,
};

/* SHA-256; false when it fails. */
typedef bool ja4_sha256(struct span bytes, uint8_t digest[JA4_DIGEST]);

/* False, and an empty text, when the hello has more than JA4_ITEMS_MAX of something. */
bool ja4_of(const struct hello *hello, ja4_sha256 *sha256, char out[JA4_SIZE]);
