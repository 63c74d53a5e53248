/* query: DNS over a connection (RFC 1035 section 4.2.2): each message, its length before it, goes
 * on when lookups.c has read it and said so.
 *
 * Called by:  judge.c, open.c (query_init), relay.c, whenever bytes came.
 * Moves the pipelines' `parsed` and `ready`; never touches a socket. */
#pragma once

#include <stdbool.h>

struct flow;

void query_init(struct flow *flow);
/* What turns out to be something else becomes RELAY_RAW. False: an answer of ours has no room, or
 * that is not to pass unread: reset the flow. */
bool query_feed(struct flow *flow);
