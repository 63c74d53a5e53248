/* hello: read what matters out of a TLS ClientHello (RFC 8446 section 4.1.2, RFC 5246 7.4.1.2), or
 * of DTLS's (RFC 9147 section 5.3, RFC 6347 4.2.1).
 *
 * Pure: bytes in, facts out. No socket, no allocation, no OpenSSL.
 * Called by:  flow/peek.c, with what MSG_PEEK returned so far; quic.c, dtls.c;
 *             kernel/stream_tls.c.
 * Leads to:   flow/judge.c, which decides by the name and the protocols offered.
 *
 * The hello may be spread over many records (RFC 8446 section 5.1) and over any number of
 * segments; it is put together in the caller's scratch. */
#pragma once

#include "base/span.h"

enum { HELLO_MAX = 65536 }; /* bytes of handshake message we will read; larger is INVALID */

enum hello_status {
    HELLO_DONE,    /* *out is filled */
    HELLO_PARTIAL, /* well-formed so far: ask again with more bytes */
    HELLO_NOT_TLS, /* not a handshake record: treat as plain text */
    HELLO_INVALID, /* a handshake record that contradicts itself */
};

enum hello_transport { HELLO_TLS, HELLO_QUIC, HELLO_DTLS };

struct hello { /* the spans borrow from scratch or the input and live as long as they */
    struct span server_name; /* the host_name of the SNI extension (RFC 6066); empty when none */
    struct span alpn;        /* the protocol names, each behind its length byte (RFC 7301) */
    struct span ciphers;     /* cipher suites, two bytes each */
    struct span groups;      /* named groups, two bytes each; empty when none were sent */
    struct span signatures;  /* signature schemes, two bytes each; empty when none were sent */
    struct span extensions;  /* all of them, as on the wire; empty when there are none */
    struct span random;      /* the same in each hello of one handshake */
    enum hello_transport transport;
    uint16_t version_min; /* lowest version offered; 0: the client did not say */
    uint16_t version_max; /* highest version offered, GREASE ignored: 0x0304 is TLS 1.3. DTLS's
                             versions are told as the TLS that each was made of: 1.1, 1.2, 1.3 */
    bool ech;             /* encrypted_client_hello was offered (0xfe0d) */
    bool status;          /* an OCSP response is asked for (RFC 6066 section 8) */
};

/* scratch: at least HELLO_MAX bytes, may be overwritten. */
enum hello_status hello_parse(struct span bytes, uint8_t *scratch, struct hello *out);

/* The handshake message itself, without records: its header (type, length) and what follows. Never
 * HELLO_NOT_TLS. */
enum hello_status hello_read(struct span message, enum hello_transport transport,
                             struct hello *out);

/* Whether the ALPN list names protocol; false for an empty or malformed list. */
bool hello_offers(const struct hello *hello, const char *protocol);

/* Whether a server whose key is P-256 can serve this client, at the highest version it offers. */
bool hello_takes_p256(const struct hello *hello);
