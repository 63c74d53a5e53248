/* flight: what a server answers to a ClientHello, as far as it goes in the clear: the ServerHello
 * (RFC 8446 section 4.1.3, RFC 5246 7.4.1.3), whether an earlier session goes on, and, up to TLS
 * 1.2, the server's certificate.
 *
 * Pure: bytes in, facts out. No socket, no allocation, no OpenSSL.
 * Called by:  kernel/stream_tls.c, with what the server has said so far. */
#pragma once

#include "base/span.h"

enum { FLIGHT_MAX = 65536 }; /* bytes of handshake messages that are read */

struct flight {       /* the spans borrow from scratch and live as long as it */
    bool hello;       /* the ServerHello was read; else nothing is known */
    uint16_t version; /* 0x0304 is TLS 1.3 */
    uint16_t cipher;
    struct span alpn;        /* one protocol's name; empty: none, or not to be seen (TLS 1.3) */
    bool resumed;            /* an earlier session goes on, or is known to both by other means */
    struct span certificate; /* the server's own, DER; empty: none, or not to be seen */
};

/* scratch: at least FLIGHT_MAX bytes, may be overwritten. *out is what is known by now; true: more
 * bytes will not change it. */
bool flight_read(struct span bytes, uint8_t *scratch, struct flight *out);
