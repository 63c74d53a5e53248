/* datagram: datagrams of which our own address matters, too: the one they were sent to, and the one
 * an answer must come from.
 *
 * Called by:  resolver.c, with the sockets of listener.c. */
#pragma once

#include "base/addr.h"
#include "base/err.h"
#include "base/span.h"

enum {
    DATAGRAM_MAX = 65536, /* no datagram is longer */
    DATAGRAM_BATCH = 8,   /* as many as one call may bring */
};

struct datagram {
    struct addr from;
    struct addr to;    /* port 0 */
    struct span bytes; /* borrowed from the batch, until the next one */
};

struct datagrams; /* room for a batch */
int datagrams_new(struct datagrams **out, struct err *err);
void datagrams_free(struct datagrams **datagrams);

/* What waits, without waiting: how many there were, of which out has those whose addresses are
 * known; or a negative errno, -EAGAIN when nothing waits. */
int datagrams_receive(struct datagrams *datagrams, int fd, struct datagram out[DATAGRAM_BATCH],
                      size_t *out_len);
/* How many datagrams found no room in the socket since the last call. The kernel counts what the
 * socket's filter refused, too: so it is asked before and after reading, and its number believed
 * when there was little room left. */
struct datagram_drops { /* zeroed at first */
    uint32_t count;
    bool was_full;
};
uint32_t datagrams_dropped(int fd, struct datagram_drops *known);

/* From an own address (the port is the socket's), without waiting. 0 or a negative errno. */
int datagram_send(int fd, const struct addr *from, const struct addr *to, struct span bytes);
