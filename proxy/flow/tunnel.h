/* tunnel: what a program says through a plain HTTP proxy that took its CONNECT.
 *
 * Both legs are still the same two plain sockets, so what follows is met as a flow of its own:
 * looked at, judged, its TLS ended, its HTTP read. How often one may lead into another is not
 * bounded: each costs the program a question to its proxy, and us no memory.
 *
 * Called by:  request.c, when a CONNECT is asked and taken; relay.c, when the answer has gone on.
 * Leads to:   peek.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proxy/wire/authority.h"

struct flow;
struct http1_head;
enum flow_state;

struct tunnel {
    /* the last CONNECT's; IPv6 without brackets; "": there was none */
    char host[256];
    uint16_t port;
    uint32_t requests; /* told outside of it, which those inside are counted on from */
};

/* An authority's host without the brackets of an IPv6 address. */
void tunnel_bare(const char *host, char out[AUTHORITY_HOST_MAX]);
/* Notes where a CONNECT asks to be led. */
void tunnel_asked(struct tunnel *tunnel, const struct http1_head *head, const uint8_t *base);
/* Whether what follows a CONNECT can be met: not inside TLS, whose bytes have left the sockets. */
bool tunnel_can_enter(const struct flow *flow);
/* The answer has gone on: all is as at accept, but that bytes may have been read already. */
enum flow_state tunnel_enter(struct flow *flow);
