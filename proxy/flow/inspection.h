/* inspection: what the policies of a flow want to know of what it carries: patterns in bodies and
 * messages; service accounts' tokens in heads, too; what goes beside a body (trailers) like the
 * body. Looked at before it goes on.
 *
 * A body is looked at as its encodings have it (decode.h), a WebSocket's or a gRPC call's messages
 * one by one. What cannot be seen (an encoding that nobody knows, a bomb) is told or refused as
 * onNoVisibility says.
 * Called by:  exchange.c; verdict.c for heads.
 * Leads to:   finding.c, which says what is to be done about it; verdict.c, which tells and acts.
 */
#pragma once

#include <stdbool.h>

#include "base/span.h"
#include "policy/facts.h"

struct flow;
struct inspection; /* of one request and its answer */

enum inspected {
    INSPECTED_FINE,
    INSPECTED_TOLD, /* something was: flow->verdicts.last is about it */
    INSPECTED_STOP, /* it does not go on: flow->verdicts.said says why */
};

/* A request's head, before any of it goes on. */
enum inspected inspection_head(struct flow *flow, const struct facts_request *request);

/* What of a request and its answer is to be looked at; *out NULL: nothing. False: no memory, so
 * nothing of it may go on. */
bool inspection_new(struct inspection **out, struct flow *flow,
                    const struct facts_request *request);
void inspection_free(struct inspection **inspection); /* accepts an empty one */
/* Whether bytes in that direction are looked at. */
bool inspection_wants(const struct inspection *inspection, bool up);
/* The head of its final answer. */
void inspection_answered(struct inspection *inspection, const struct facts_answer *answer);
/* Bytes of a body, without framing, or of what follows an upgrade; and their end. */
enum inspected inspection_body(struct flow *flow, struct inspection *inspection, bool up,
                               struct span bytes);
/* ... that nobody can look at. */
enum inspected inspection_skipped(struct flow *flow, struct inspection *inspection, bool up);
/* What goes with a body, beside it: chunk extensions, trailers. */
enum inspected inspection_aside(struct flow *flow, struct inspection *inspection, bool up,
                                struct span bytes);
enum inspected inspection_end(struct flow *flow, struct inspection *inspection, bool up);
