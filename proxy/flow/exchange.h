/* exchange: one request and its answer, whichever HTTP carries them: facts in, a verdict and the
 * events out. Never touches a socket, nor what reads the bytes.
 *
 * Called by:  request.c for HTTP/1, streams_told.c for HTTP/2, and ../kernel/stream_*.c for either:
 *             begin, then refused, or answered; end in any case. body and trailers as they go by,
 *             in between.
 * Leads to:   report.c, which tells. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/span.h"
#include "policy/facts.h"

struct carried;
struct inspection;
struct flow;
struct flow_event;

struct exchange {
    struct flow_event *event; /* its process_http, filled but for the answer; NULL: told */
    uint64_t sent_ns;
    struct carried *carried;       /* what the bodies are looked at for; NULL: nothing */
    struct inspection *inspection; /* ... by policies; NULL: nothing */
    bool blind;                    /* ... but there was no memory for it: none goes on */
};

struct exchange_decision {
    enum verdict verdict;
    uint16_t code;      /* denied: what to answer with */
    const char *reason; /* denied: a short phrase */
};

/* A target's path: an absolute-form's authority and any query cut off. */
struct span exchange_path(struct span target);
/* HTTP/2, whose requests name whom they are for one by one: fills request->name and ->fits. scratch
 * is borrowed by the name. */
void exchange_name(const struct flow *flow, struct facts_request *request,
                   char scratch[ADDR_TEXT_MAX]);
/* Pure: the one step for the verdict. */
struct exchange_decision exchange_judge(const struct facts *facts,
                                        const struct facts_request *request);

/* What is asked goes on, or is about to be refused. Overwrites *exchange. */
void exchange_begin(struct flow *flow, struct exchange *exchange,
                    const struct facts_request *request);
/* It goes on: what of it policies want to look at. request NULL: what goes by is no request. */
void exchange_inspect(struct flow *flow, struct exchange *exchange,
                      const struct facts_request *request);
/* Whether bytes of a body are wanted in that direction, and its end. */
bool exchange_looks(const struct exchange *exchange, bool up);
/* It, or its answer, does not go on (any further): tells so; where its answer was told already, the
 * end of the connection does. */
void exchange_refused(struct flow *flow, struct exchange *exchange,
                      const struct exchange_decision *decision);
/* The head of its final answer (101 among them): tells it. */
void exchange_answered(struct flow *flow, struct exchange *exchange,
                       const struct facts_answer *answer);
/* Bytes of a body, without framing; or of what follows an upgrade. up: the request's. False: they
 * do not go on; flow->verdicts.said says why, ->over: both ways end. */
bool exchange_body(struct flow *flow, struct exchange *exchange, bool up, struct span bytes);
/* So many of them (0: nobody knows how many) went by, and nobody knows what they are. */
void exchange_skipped(struct flow *flow, struct exchange *exchange, bool up, uint64_t len);
/* That was all of it: whether its end goes on. */
bool exchange_body_ended(struct flow *flow, struct exchange *exchange, bool up);
/* The rest of a request's body that was answered before it came: what is needed of `from` for it.
 */
void exchange_rest(struct exchange *rest, struct exchange *from);
/* What goes with a body, beside it: chunk extensions and trailers as HTTP/1 has them; HTTP/2's
 * trailers. Whether they go on. */
bool exchange_aside(struct flow *flow, struct exchange *exchange, bool up, struct span bytes);
bool exchange_trailers(struct flow *flow, struct exchange *exchange, bool up,
                       const struct facts_field *fields, size_t len);
/* It is over; error: why before its time, or NULL. Tells what was not told yet. At ease with a
 * zeroed one, and leaves such behind. */
void exchange_end(struct flow *flow, struct exchange *exchange, const char *error);
