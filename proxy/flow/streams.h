/* streams: an HTTP/2 connection's legs, around the relay that knows the protocol (http2/http2.h):
 * what they bring is fed to it, what it has for them is written; its requests are told.
 *
 * Called by:  relay.c, where both ends have agreed on HTTP/2.
 * Leads to:   exchange.c, which judges and tells. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "policy/facts.h"
#include "proxy/flow/exchange.h"

struct authority_parts;
struct flow;
struct http2_head;
enum flow_state;

/* For ../kernel/stream_http2.c, too: what a request's head says, as facts that borrow from both.
 * False: it names whom it is for in a way that two servers could read differently. */
bool streams_facts(int32_t id, const struct http2_head *head, struct authority_parts *authority,
                   struct facts_request *request);
/* Whether whom it is for makes sense; named: as streams_facts() has found. Its reason is static;
 * NULL where it does. */
struct exchange_decision streams_judge(const struct flow *flow, bool named,
                                       const struct facts_request *request);
/* The step of FLOW_RELAYING, for HTTP/2. */
enum flow_state streams_run(struct flow *flow);
/* The program is asked to go on over another connection, where this one is HTTP/2's; called again,
 * it has to: what is open ends first. */
void streams_retire(struct flow *flow);
/* Tells what was not told; before relay_fini. */
void streams_end(struct flow *flow);
/* Some are open, and both ends are there: that no byte moves may be what they want, for hours. */
bool streams_last(const struct flow *flow);
