/* stream_denied: what the kernel has refused: told as policies say, who were not asked. One send
 * may hold several requests, of which none has gone. */
#include <string.h>

#include "events/flow_event.h"
#include "proxy/kernel/stream_own.h"

static const char together[] = "not sent: in one send with what was refused";

static void refuse(struct flow *flow, struct exchange *exchange, const char *reason)
{
    const struct exchange_decision decision = {VERDICT_DENY, 0, reason};

    if (exchange->event)
        exchange_refused(flow, exchange, &decision);
    exchange_end(flow, exchange, NULL);
}

/* ---- why ---- */

static const char spliced[] = "it was sent by splice or sendfile, and its bytes could still change";
static const char http2_unread[] = "it is HTTP/2, the heads of which the kernel cannot read";

static bool has(struct span text, const char *what)
{
    return memmem(text.data, text.len, what, strlen(what));
}

/* What of a request that policies allow the kernel does not decide (README "Which requests go
 * there"): a phrase. */
static const char *why_undecided(struct flow *flow, const struct facts_request *request)
{
    static const char *const spellings[] = {"//", "/.", "%", "\\", ";"};

    if (flow->stream->spliced)
        return spliced;
    if (flow->stream->kind == STREAM_HTTP2)
        return http2_unread;
    if (flow->tunnel.host[0])
        return "it goes through a tunnel";
    if (span_equal(request->method, BYTES("CONNECT")))
        return "it asks for a tunnel";
    if (request->upgrade.len)
        return "it asks to become another protocol";
    if (!request->host)
        return "it has no Host";
    if (has(request->url, "https://"))
        return "its target says https";
    if (request->host[0] == '[')
        return "its Host is an IPv6 address";
    for (size_t i = 0; i < ARRAY_SIZE(spellings); i++)
        if (has(request->path, spellings[i]))
            return "servers could read its path in another spelling";
    if (request->cut)
        return "its head was not whole";
    return verdict_needs_proxy(flow) ? "policies want of it what only the proxy can keep"
                                     : "its rules want more than is read there";
}

/* What policies allow: the program's next connections do better by the proxy; which takes them as
 * it is, where there is what only it can keep. */
static void refuse_undecided(struct flow *flow, const char *why,
                             const struct facts_request *request)
{
    flow->stream->undecided = !verdict_needs_proxy(flow);
    verdict_unexplained(flow, why, request);
}

/* As policies say of what cannot be read. */
static void judge_unread(struct flow *flow, const char *why, const struct facts_request *request)
{
    if (verdict_settle_unseen(flow, why, request))
        verdict_unexplained(flow, why, request);
}

struct facts_request stream_request_told(const struct flow_event *event)
{
    if (!event)
        return (struct facts_request){0};
    return (struct facts_request){
        .method = span_of_text(event->http.method ? event->http.method : ""),
        .path = span_of_text(event->http.path ? event->http.path : ""),
        .host = event->http.host,
    };
}

/* ---- what is told ---- */

/* Of what the kernel has refused at once, one that policies allow: it is another one's fault, or
 * the kernel's. */
static void tell_unexplained(struct flow *flow, bool others)
{
    struct stream *stream = flow->stream;
    struct exchange *exchange = &stream->unexplained;
    struct flow_event *event = exchange->event;
    struct facts_request request;

    if (!event)
        return;
    if (others) {
        refuse(flow, exchange, together);
        return;
    }
    request = stream_request_told(event);
    verdict_next(flow);
    refuse_undecided(flow, stream->why_unexplained, &request);
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
        stream->why_unexplained = why_undecided(flow, request);
        return;
    }
    stream->explained = true;
    exchange_begin(flow, &exchange, request);
    verdict_onto(flow, exchange.event);
    refuse(flow, &exchange, decision.reason);
}

void stream_deny_odd(struct flow *flow, struct exchange *exchange, const char *reason)
{
    struct facts_request request = stream_request_told(exchange->event);

    tell_unexplained(flow, true);
    flow->stream->explained = true;
    verdict_next(flow);
    judge_unread(flow, reason, &request);
    verdict_onto(flow, exchange->event);
    refuse(flow, exchange, flow->verdicts.said);
}

bool stream_has_denied(const struct stream *stream)
{
    return stream->explained || stream->unexplained.event;
}

void stream_denied(struct flow *flow)
{
    struct stream *stream = flow->stream;

    if (!stream_has_denied(stream))
        refuse_undecided(flow,
                         stream->spliced                ? spliced
                         : stream->kind == STREAM_HTTP2 ? http2_unread
                                                        : "no request was seen in it",
                         NULL);
    tell_unexplained(flow, stream->explained);
    stream->explained = false;
}

void stream_denied_unread(struct flow *flow, const struct abi_said *said)
{
    bool again = said->flags & ABI_SAID_AGAIN, ktls = said->flags & ABI_SAID_KTLS;

    flow->stream->undecided = true;
    if (flow->stream->tls && !ktls && flow->facts.visibility != VISIBILITY_KTLS)
        stream_tls_tell(flow);
    else if (again || flow->stream->kind == STREAM_HTTP1)
        judge_unread(flow, "what was to leave could not be read as it was said", NULL);
    else if (verdict_unseen_opaque(flow, OPAQUE_UNKNOWN))
        verdict_unexplained(flow, "it is neither TLS nor HTTP", NULL);
}

/* ---- requests that had been read before ---- */

void stream_unsent(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    struct stream *stream = flow->stream;
    unsigned kept = 0;

    while (kept < relay->pending_len &&
           stream->asked_at[(relay->pending_at + kept) % RELAY_PENDING_MAX] < stream->unsent)
        kept++;
    for (unsigned i = kept; i < relay->pending_len; i++)
        refuse(flow, &relay->pending[(relay->pending_at + i) % RELAY_PENDING_MAX].exchange,
               together);
    relay->pending_len = kept;
}
