/* request: HTTP/1: plaintext -> wire/ -> facts, for both directions of a relay.
 *
 * Called by:  relay.c, whenever bytes came.
 * Leads to:   exchange.c, which judges and tells; tunnel.c, where a CONNECT was taken.
 * Moves the pipelines' `parsed` and `ready`; never touches a socket. */
#pragma once

#include <stdbool.h>

#include "policy/facts.h"
#include "proxy/wire/http1.h"

struct authority_parts;
struct flow;
struct relay;

/* Parses as far as possible. False: out of memory, which flow->why says. */
bool request_feed_up(struct flow *flow);
bool request_feed_down(struct flow *flow);

/* For ../kernel/stream_http1_told.c, too. What a head says, as facts that borrow from base, fields
 * and authority. */
struct facts_request request_facts(const struct http1_head *head, const uint8_t *base,
                                   struct facts_field fields[HTTP1_FIELDS_MAX],
                                   struct authority_parts *authority);
/* Its fields alone. Returns how many. */
size_t request_fields(const struct http1_head *head, const uint8_t *base,
                      struct facts_field out[HTTP1_FIELDS_MAX]);
/* One is whole: if it asked to leave HTTP, nothing behind it is read until it is answered; unless
 * it was already, before its body had come. */
void request_awaits_answer(struct relay *relay);
/* The number of a request that begins. */
uint32_t request_number(struct flow *flow);
