/* request: plaintext -> wire/ -> facts -> event, for both directions of a relay.
 *
 * Called by:  relay.c, whenever bytes came.
 * Moves the pipelines' `parsed` and `ready`; never touches a socket. */
#pragma once

struct flow;

enum request_result {
    REQUEST_OK,     /* parsed as far as possible */
    REQUEST_BROKEN, /* upstream's answer makes no sense, and part of it went on: reset */
    REQUEST_NO_MEMORY,
};

enum request_result request_feed_up(struct flow *flow);
enum request_result request_feed_down(struct flow *flow);
