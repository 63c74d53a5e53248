/* reply: answers of our own to HTTP/1 requests that are refused, each in its turn, and what becomes
 * of the connection.
 *
 * Called by:  request.c. */
#pragma once

#include <stdbool.h>

#include "proxy/flow/exchange.h"

struct flow;
struct http1_head;
struct pipeline;
struct relay;

/* Notes that this request is refused; the answer waits until the earlier ones have had theirs. */
void reply_refuse(struct flow *flow, const struct facts_request *request,
                  struct exchange_decision decision);
/* Its head makes sense, so the connection may go on behind it, if little is still to come of it:
 * that is read and goes nowhere. */
void reply_spare(struct relay *relay, const struct http1_head *head,
                 const struct facts_request *request);
/* What has come of it since. */
void reply_drain(struct relay *relay);

/* The earlier requests have had their answers: now it is the refused one's turn, and nobody asked
 * for what upstream says behind them. */
bool reply_is_due(const struct relay *relay);
/* Whether an answer of our own fits behind what a slow reader has not taken yet. */
bool reply_fits(const struct pipeline *down);
/* Answers it, and tells. */
void reply_refused(struct flow *flow);
/* Puts an answer of our own behind what the pod is still owed, or cuts where that cannot be. last:
 * it is the connection's. */
void reply_answer(struct flow *flow, const struct exchange_decision *decision, bool last);

/* What is ready are the last bytes for the pod: of what came behind them nothing goes on. */
void reply_end(struct relay *relay);
/* What upstream says makes no sense, and the pod has a part of it: only a cut tells it so, never
 * an end that could pass for one of the answer. */
void reply_cut(struct relay *relay);
