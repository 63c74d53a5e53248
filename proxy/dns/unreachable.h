/* unreachable: that a datagram did not arrive: heard from the network by a socket of ours, and told
 * the program's socket by the same ICMP message (RFC 792, RFC 4443).
 *
 * The kernel finds the program's socket by the datagram that the message quotes, and does with it
 * what it would have done without us: a connected socket gets the errno of a final failure, one
 * that asked for all (IP_RECVERR) gets every one, any other hears nothing.
 * Called by:  resolver.c, with the sockets of listener.c. */
#pragma once

#include <stdbool.h>

#include "base/addr.h"
#include "base/span.h"

enum {
    UNREACHABLE_QUOTE_MAX = 512, /* bytes of the datagram; no path cuts what is so short */
    UNREACHABLE_MAX = 8 + 40 + 8 + UNREACHABLE_QUOTE_MAX,
};

struct unreachable {
    int error;       /* the errno it is for a socket, negative */
    int code;        /* of "destination unreachable" in the family; -1: it does not say that */
    size_t head_len; /* how the datagram began, as far as that is known */
    uint8_t head[UNREACHABLE_QUOTE_MAX];
};

/* A call on an upstream socket failed for this datagram, as the program's own would have. */
void unreachable_of_call(int error, bool v4, struct span datagram, struct unreachable *out);

/* From now on the kernel keeps for unreachable_hear() what the network says of what fd sends. 0 or
 * a negative errno. */
int unreachable_listen(int fd, bool v4);
/* The next that was said, without waiting. False when there is none. */
bool unreachable_hear(int fd, struct unreachable *out);

/* Pure: the message about a datagram that went between these two, of one family. Its checksum is
 * there for IPv4; for IPv6 the kernel adds it, of which the addresses are a part. Returns the
 * length. */
size_t unreachable_build(const struct unreachable *what, const struct addr *from,
                         const struct addr *to, uint8_t out[UNREACHABLE_MAX]);
/* Sends it by a raw ICMP socket of the family to the one who sent the datagram. 0 or a negative
 * errno. */
int unreachable_tell(int fd, const struct unreachable *what, const struct addr *from,
                     const struct addr *to);
