/* net: what a network namespace owns and can reach, as rtnetlink(7) tells it.
 *
 * net_view_add is pure: a dump's bytes in, facts out. The sockets belong to the namespace in which
 * they were opened, whoever uses them later.
 * Called by:  reach.c, which puts the facts into the kernel programs' maps. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct net_address {
    uint8_t ip[16];
    uint32_t link; /* interface index */
    bool usable;   /* global, and neither on probation nor on its way out */
};

/* How one family gets out of the namespace. */
struct net_way {
    bool reaches;     /* some route leads beyond loopback and link-local */
    bool has_default; /* the fields below are the best default route's */
    bool prefers;     /* it names the source address itself */
    uint8_t source[16];
    uint32_t link, metric;
};

struct net_view {
    struct net_address *own; /* neither loopback nor link-local */
    size_t own_len, own_room;
    struct net_way way4, way6;
    bool torn; /* the tables changed while they were read: read them again */
};

/* Takes in one datagram of an RTM_GETADDR or RTM_GETROUTE dump; *done says that it was the last. */
int net_view_add(struct net_view *view, struct span reply, bool *done, struct err *err);
void net_view_fini(struct net_view *view);

/* The address that programs of the namespace have as their own when they talk to the world, as the
 * kernel would choose it: the default route's, else the first usable one, else loopback. */
void net_view_source4(const struct net_view *view, uint8_t out[16]);
void net_view_source6(const struct net_view *view, uint8_t out[16]);

/* Sockets in the calling thread's namespace: a non-blocking one that becomes readable when links,
 * addresses or routes change, and one to ask with. The descriptor, or a negative errno. */
int net_open_watch(struct err *err);
int net_open_ask(struct err *err);

/* Reads away what waits: it says only that something changed. */
void net_drain(int watch_fd);
/* Asks anew for all addresses and routes. *out is untouched on failure, the caller's otherwise. */
int net_read(int ask_fd, struct net_view *out, struct err *err);
