/* listener: the sockets we open inside a pod's network namespace, which must be the calling
 * thread's.
 *
 * Called by:  keeper.c, whose thread changes namespace. */
#pragma once

#include <stdint.h>

#include "bpf/abi.h"

/* A non-blocking, close-on-exec socket for an upstream leg: type SOCK_STREAM (TCP) or SOCK_DGRAM
 * (UDP); IPv6 ones are for IPv6 alone. The descriptor, or a negative errno. */
int listener_socket(int family, int type);

/* One port of the namespace, by both families. */
struct listener {
    int v4, v6;    /* non-blocking; -1: closed; v6 also where the kernel has no IPv6 */
    uint16_t port; /* chosen by the kernel */
};

/* All that we listen to in a namespace: connections, and datagrams by peer (see struct abi_net),
 * from inside it alone. Datagram sockets tell the address a datagram was sent to (IP_PKTINFO,
 * IPV6_PKTINFO). */
struct listeners {
    struct listener stream, datagram[ABI_PEERS];
    int icmp4, icmp6; /* raw sockets to send errors by, which hear nothing; -1: not to be had */
    int raw4, raw6;   /* the same for whole IP packets, headers included */
};
void listeners_init(struct listeners *listeners); /* all closed */
void listeners_fini(struct listeners *listeners); /* closes what is open */
/* 0 or a negative errno; what was opened until then is *out's to close. */
int listeners_open(struct listeners *out);
