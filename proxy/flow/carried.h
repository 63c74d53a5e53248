/* carried: what a request and its answer carry beyond themselves: a gRPC call's messages, or a
 * WebSocket's. Observes bytes that go by, and tells at the end what they were.
 *
 * Called by:  exchange.c.
 * Leads to:   wire/grpc.c, wire/websocket.c, which read; report.c, which tells. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "policy/facts.h"

struct flow;
struct carried;

/* What a request may carry; NULL: nothing that is looked at. */
struct carried *carried_new(struct flow *flow, const struct facts_request *request);
/* It carries nothing after all, and nothing is told. Accepts an empty one. */
void carried_free(struct carried **carried);

/* The head of its final answer: where that does not agree to it, it carries nothing. */
void carried_answered(struct carried **carried, const struct facts_answer *answer);
void carried_body(struct carried *carried, bool up, struct span bytes);
/* So many of them nobody has. */
void carried_skipped(struct carried *carried, bool up, uint64_t len);
void carried_trailers(struct carried *carried, bool up, const struct facts_field *fields,
                      size_t len);
/* Tells, and frees. error: why before its time, or NULL. Accepts an empty one. */
void carried_end(struct flow *flow, struct carried **carried, uint64_t duration_ns,
                 const char *error);
