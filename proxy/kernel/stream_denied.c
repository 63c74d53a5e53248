/* stream_denied: what the kernel has refused: told as policies say, who were not asked. One send
 * may hold several requests, of which none has gone. */
#include "events/flow_event.h"
#include "proxy/kernel/stream_own.h"

static void refuse(struct flow *flow, struct exchange *exchange, const char *reason)
{
    const struct exchange_decision decision = {VERDICT_DENY, 0, reason};

    exchange_refused(flow, exchange, &decision);
    exchange_end(flow, exchange, NULL);
}

/* Of what the kernel has refused at once, one that policies allow: it is another one's fault, or
 * the kernel's. */
static void tell_unexplained(struct flow *flow, bool others)
{
    struct exchange *exchange = &flow->stream->unexplained;
    struct flow_event *event = exchange->event;
    struct facts_request request;

    if (!event)
        return;
    if (others) {
        refuse(flow, exchange, "sent together with what was refused");
        return;
    }
    request = (struct facts_request){
        .method = span_of_text(event->http.method),
        .path = span_of_text(event->http.path),
        .host = event->http.host,
    };
    verdict_next(flow);
    verdict_unexplained(flow, &request);
    verdict_onto(flow, event);
    refuse(flow, exchange, flow->verdicts.said);
}

void stream_deny(struct flow *flow, const struct facts_request *request)
{
    struct exchange_decision decision = {.verdict = VERDICT_ALLOW};
    struct stream *stream = flow->stream;
    struct exchange exchange;

    tell_unexplained(flow, true);
    verdict_next(flow);
    verdict_request(flow, request, &decision);
    if (decision.verdict != VERDICT_DENY) {
        exchange_begin(flow, &stream->unexplained, request);
        return;
    }
    stream->explained = true;
    exchange_begin(flow, &exchange, request);
    verdict_onto(flow, exchange.event);
    refuse(flow, &exchange, decision.reason);
}

void stream_denied(struct flow *flow)
{
    struct stream *stream = flow->stream;

    if (!stream->explained && !stream->unexplained.event)
        verdict_unexplained(flow, NULL); /* no request was seen in it */
    tell_unexplained(flow, stream->explained);
    stream->explained = false;
}
