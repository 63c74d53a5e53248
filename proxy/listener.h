/* listener: the sockets we open inside a pod's network namespace, which must be the calling
 * thread's.
 *
 * Called by:  keeper.c, whose thread changes namespace. */
#pragma once

#include <stdint.h>

/* A non-blocking, close-on-exec TCP socket for an upstream leg; IPv6 ones are for IPv6 alone. The
 * descriptor, or a negative errno. */
int listener_socket(int family);

struct listener {
    int v4, v6;    /* v6 is -1 where the kernel has no IPv6 */
    uint16_t port; /* of both */
};

/* Listens on all addresses of both families, on a port that the kernel chooses, for connections
 * from inside the namespace alone. 0 or a negative errno, *out untouched then. */
int listener_open(struct listener *out);
