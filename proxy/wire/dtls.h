/* dtls: the ClientHello out of a client's datagrams, of DTLS 1.0 (RFC 4347), 1.2 (RFC 6347) and 1.3
 * (RFC 9147).
 *
 * It may come in fragments, over several records and datagrams, in any order; and again, with a
 * cookie, when the server has asked for one (HelloVerifyRequest): that is another message of the
 * same handshake.
 *
 * Pure: bytes in, facts out.
 * Called by:  ../handshakes/. */
#pragma once

#include "proxy/wire/gather.h"
#include "proxy/wire/hello.h"

enum dtls_status {
    DTLS_HELLO,   /* *out is filled; it borrows from the gather */
    DTLS_PARTIAL, /* ask again with the next datagram */
    DTLS_KNOWN, /* there is no hello in it that was not read: it comes again, or what follows it */
    DTLS_NOT,   /* no DTLS, or what contradicts itself */
};

/* The client's side of one exchange of datagrams. Zeroed: nothing has come. */
struct dtls {
    bool begun, read;
    uint16_t number; /* of the message that is gathered */
    uint32_t len;    /* ... and its length, without header */
};

/* gather: holds what has come of the hello; its content is this exchange's, for as long as dtls is.
 */
enum dtls_status dtls_take(struct dtls *dtls, struct span datagram, struct gather *gather,
                           struct hello *out);
