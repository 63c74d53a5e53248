/* quic: the ClientHello out of a client's Initial packets, of QUIC version 1 (RFC 9000, RFC 9001)
 * and version 2 (RFC 9369).
 *
 * They are encrypted, but by keys that follow from what stands in their header (RFC 9001
 * section 5.2), so whoever sees them can read them. The hello may lie in several packets and
 * datagrams, in any order. A client that starts over (Retry, another connection on the same socket)
 * has other keys: what opens by none we have is tried with those of its own header.
 *
 * Pure but for OpenSSL: bytes in, facts out.
 * Called by:  ../handshakes/. */
#pragma once

#include "base/err.h"
#include "proxy/wire/gather.h"
#include "proxy/wire/hello.h"

enum quic_status {
    QUIC_HELLO,   /* *out is filled; it borrows from the gather */
    QUIC_PARTIAL, /* of a connection that is not known yet: ask again with the next datagram */
    QUIC_KNOWN,   /* of the connection whose hello was read: there is nothing new in it */
    QUIC_OTHER,   /* QUIC of a version that cannot be read here */
    QUIC_NOT,     /* no QUIC, or what nobody could read */
};

enum {
    QUIC_VERSION_1 = 0x00000001,
    QUIC_VERSION_2 = 0x6b3343cf,
    QUIC_CID_MAX = 20, /* bytes of a connection id */
    QUIC_KEY = 16,
    QUIC_IV = 12,
};

/* What is needed of OpenSSL, fetched once. For one thread. */
struct quic_opener;
int quic_opener_new(struct quic_opener **out, struct err *err);
void quic_opener_free(struct quic_opener **opener);

/* The client's side of one exchange of datagrams. Zeroed: nothing has come. */
struct quic {
    uint32_t version; /* 0: there are no keys */
    bool read;        /* its hello was read; what comes again must be the same */
    uint8_t key[QUIC_KEY], iv[QUIC_IV], mask_key[QUIC_KEY];
};

/* gather: holds what has come of the hello; its content is this exchange's, for as long as quic is.
 */
enum quic_status quic_take(struct quic *quic, struct quic_opener *opener, struct span datagram,
                           struct gather *gather, struct hello *out);
