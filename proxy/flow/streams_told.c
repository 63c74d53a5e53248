/* streams_told: what HTTP/2's streams say, judged and told; the bytes are streams.c's. */
#include <errno.h>
#include <stdlib.h>

#include "proxy/flow/steps.h"
#include "proxy/flow/streams.h"
#include "proxy/flow/streams_own.h"
#include "proxy/limits.h"
#include "proxy/wire/authority.h"
#include "proxy/wire/websocket.h"

/* A stream, as it is told. */
struct asked {
    struct exchange exchange;
    bool connect; /* to what nobody here reads: what follows a 2xx is no HTTP */
};

enum { REFUSED_STREAM = 7 }; /* RFC 9113 section 7 */
enum { ERROR_MAX = sizeof(((struct err *)NULL)->text) };

static bool on_room(void *arg, int64_t bytes, bool needed)
{
    struct limits *limits = ((struct flow *)arg)->worker->parts.limits;

    if (bytes > 0)
        return (needed ? limits_take : limits_take_spare)(limits, LIMIT_MEMORY, (uint64_t)bytes);
    limits_give(limits, LIMIT_MEMORY, (uint64_t)-bytes);
    return true;
}

bool streams_facts(int32_t id, const struct http2_head *head, struct authority_parts *authority,
                   struct facts_request *request)
{
    struct span asked = head->authority.data
                            ? head->authority
                            : facts_find_field(head->fields, head->fields_len, "host");
    bool named = asked.data && authority_parse(asked, authority);

    *request = (struct facts_request){
        .protocol = "HTTP/2",
        .stream = (uint32_t)id,
        .method = head->method,
        /* of CONNECT; who put a password into it is refused, and that is not told */
        .url = head->path.data ? head->path
               : named         ? head->authority
                               : (struct span){0},
        .upgrade = head->protocol,
        .host = named ? authority->host : NULL,
        .port = named ? authority->port : 0,
        .fields = head->fields,
        .fields_len = head->fields_len,
    };
    request->path = exchange_path(request->url);
    return named || !asked.data;
}

struct exchange_decision streams_judge(const struct flow *flow, bool named,
                                       const struct facts_request *request)
{
    if (!named)
        return (struct exchange_decision){VERDICT_DENY, 400, "an authority that makes no sense"};
    return exchange_judge(&flow->facts, request);
}

static bool on_request(void *arg, struct http2_stream *stream, int32_t id,
                       const struct http2_head *head, struct http2_refusal *refusal)
{
    struct flow *flow = arg;
    struct asked *asked = calloc(1, sizeof(*asked));
    struct exchange_decision decision;
    struct authority_parts authority;
    struct facts_request request;
    char address[ADDR_TEXT_MAX];
    bool named;

    if (!asked)
        return false;
    flow->relay.requests++;
    verdict_next(flow);
    http2_stream_set_user(stream, asked);
    named = streams_facts(id, head, &authority, &request);
    if (named)
        exchange_name(flow, &request, address);
    decision = streams_judge(flow, named, &request);
    if (decision.verdict != VERDICT_DENY)
        verdict_request(flow, &request, &decision);
    asked->connect =
        span_equal(request.method, BYTES("CONNECT")) && !websocket_asked(request.upgrade);
    exchange_begin(flow, &asked->exchange, &request);
    verdict_onto(flow, asked->exchange.event);
    if (decision.verdict != VERDICT_DENY) {
        exchange_inspect(flow, &asked->exchange, &request);
        return true;
    }
    exchange_refused(flow, &asked->exchange, &decision);
    *refusal = (struct http2_refusal){decision.code ? decision.code : 403, decision.reason};
    return true;
}

static void on_answer(void *arg, struct http2_stream *stream, const struct http2_head *head)
{
    struct flow *flow = arg;
    struct asked *asked = http2_stream_user(stream);
    const struct facts_answer answer = {
        .code = head->code,
        .body = !head->end,
        .fields = head->fields,
        .fields_len = head->fields_len,
    };

    exchange_answered(flow, &asked->exchange, &answer);
    flow->relay.unread = flow->relay.unread || (asked->connect && answer.code / 100 == 2);
}

/* What is said in a stream does not go on. What was told of its answer is true: that it did not end
 * well is for the connection's close to tell. */
static void stop(struct flow *flow, struct asked *asked, struct http2_refusal *refusal)
{
    const struct exchange_decision decision = {VERDICT_DENY, 403, flow->verdicts.said};

    *refusal = (struct http2_refusal){decision.code, decision.reason};
    if (asked->exchange.event)
        exchange_refused(flow, &asked->exchange, &decision);
    else if (!flow->relay.late.text[0])
        err_set(&flow->relay.late, -EACCES, "%s", decision.reason);
}

static bool on_body(void *arg, struct http2_stream *stream, enum http2_side from, struct span bytes,
                    struct http2_refusal *refusal)
{
    struct flow *flow = arg;
    struct asked *asked = http2_stream_user(stream);

    if (exchange_body(flow, &asked->exchange, from == HTTP2_POD, bytes))
        return true;
    stop(flow, asked, refusal);
    return false;
}

static bool on_ended(void *arg, struct http2_stream *stream, enum http2_side from,
                     struct http2_refusal *refusal)
{
    struct flow *flow = arg;
    struct asked *asked = http2_stream_user(stream);

    if (exchange_body_ended(flow, &asked->exchange, from == HTTP2_POD))
        return true;
    stop(flow, asked, refusal);
    return false;
}

static bool on_trailers(void *arg, struct http2_stream *stream, enum http2_side from,
                        const struct http2_head *head, struct http2_refusal *refusal)
{
    struct flow *flow = arg;
    struct asked *asked = http2_stream_user(stream);

    if (exchange_trailers(flow, &asked->exchange, from == HTTP2_POD, head->fields,
                          head->fields_len))
        return true;
    stop(flow, asked, refusal);
    return false;
}

static const char *whose(enum http2_side side)
{
    return side == HTTP2_POD ? "the program" : "the upstream";
}

static const char *how(const struct http2_end *end)
{
    bool refused = end->by == HTTP2_UPSTREAM && end->code == REFUSED_STREAM; /* by GOAWAY, too */

    return refused ? "did not take the request" : "reset the stream";
}

/* Why a stream ended before its time; NULL: it did not. */
static const char *error_of(const struct flow *flow, const struct http2_end *end,
                            char out[ERROR_MAX])
{
    const char *fault = http2_fault(flow->relay.http2);

    if (end->whole)
        return NULL;
    if (end->reason)
        snprintf(out, ERROR_MAX, "%s's HTTP/2: %s", whose(end->by), end->reason);
    else if (flow->state != FLOW_CLOSED)
        snprintf(out, ERROR_MAX, "%s %s: %s", whose(end->by), how(end), http2_code_name(end->code));
    else if (flow->why.text[0] || fault)
        snprintf(out, ERROR_MAX, "%s", flow->why.text[0] ? flow->why.text : fault);
    else if (flow->relay.left)
        snprintf(out, ERROR_MAX, "the program left before the end");
    else if (flow->relay.down.ended)
        snprintf(out, ERROR_MAX, "the server closed without an answer");
    else
        return NULL;
    return out;
}

/* What was wrong with what was said. Where the answer's head was told, what is left to tell it with
 * is the close, as long as the connection has no fault of its own; to other streams it is nothing.
 */
static void tell_fault(struct flow *flow, struct exchange *exchange, const struct http2_end *end,
                       const char *error)
{
    const struct exchange_decision decision = {VERDICT_DENY, end->by == HTTP2_UPSTREAM ? 502 : 0,
                                               error};

    if (exchange->event)
        exchange_refused(flow, exchange, &decision);
    else if (!flow->relay.late.text[0])
        err_set(&flow->relay.late, -EPROTO, "%s", error);
}

static void on_closed(void *arg, struct http2_stream *stream, const struct http2_end *end)
{
    struct flow *flow = arg;
    struct asked *asked = http2_stream_user(stream);
    char text[ERROR_MAX];
    const char *error;

    if (!asked)
        return;
    error = error_of(flow, end, text);
    if (end->reason && !end->whole)
        tell_fault(flow, &asked->exchange, end, error);
    exchange_end(flow, &asked->exchange, error);
    free(asked);
}

static void on_malformed(void *arg, int32_t id, const struct http2_head *head, uint16_t code,
                         const char *reason)
{
    struct flow *flow = arg;
    struct exchange exchange;
    struct authority_parts authority;
    struct facts_request request;
    char text[ERROR_MAX];
    const struct exchange_decision decision = {VERDICT_DENY, code, text};

    flow->relay.requests++;
    streams_facts(id, head, &authority, &request);
    snprintf(text, sizeof(text), "the program's HTTP/2: %s", reason);
    exchange_begin(flow, &exchange, &request);
    exchange_refused(flow, &exchange, &decision);
    exchange_end(flow, &exchange, NULL);
}

const struct http2_hooks streams_hooks = {
    .room = on_room,
    .request = on_request,
    .answer = on_answer,
    .body = on_body,
    .ended = on_ended,
    .trailers = on_trailers,
    .closed = on_closed,
    .malformed = on_malformed,
};
