/* request: HTTP/1: plaintext -> wire/ -> facts, for both directions of a relay.
 *
 * Called by:  relay.c, whenever bytes came.
 * Leads to:   exchange.c, which judges and tells; tunnel.c, where a CONNECT was taken.
 * Moves the pipelines' `parsed` and `ready`; never touches a socket. */
#pragma once

#include <stdbool.h>

struct flow;

/* Parses as far as possible. False: out of memory, which flow->why says. */
bool request_feed_up(struct flow *flow);
bool request_feed_down(struct flow *flow);
