/* stream_http1_told: what is made of the messages that stream_http1.c finds: requests that wait for
 * their answers, judged and told. */
#include <errno.h>

#include "proxy/flow/request.h"
#include "proxy/kernel/stream_own.h"
#include "proxy/wire/authority.h"

/* Whose body goes by. */
static struct exchange *asking(struct relay *relay)
{
    if (relay->pending_len)
        return &stream_newest(relay)->exchange;
    return exchange_looks(&relay->rest, true) ? &relay->rest : &relay->answering;
}

static void look(struct flow *flow, struct exchange *exchange, bool up, enum http1_part part,
                 struct span bytes)
{
    if (flow->stream->skipping)
        exchange_skipped(flow, exchange, up, bytes.len);
    else if (part == HTTP1_BODY)
        exchange_body(flow, exchange, up, bytes);
    else
        exchange_aside(flow, exchange, up, bytes);
}

static void on_body_up(void *arg, enum http1_part part, struct span bytes)
{
    struct flow *flow = arg;

    look(flow, asking(&flow->relay), true, part, bytes);
}

static void on_body_down(void *arg, enum http1_part part, struct span bytes)
{
    struct flow *flow = arg;

    look(flow, &flow->relay.answering, false, part, bytes);
}

/* ---- requests ---- */

/* Answers that cannot be seen are waited for until the next request, before anything is told of
 * that. */
static void tell_unanswered(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    while (relay->pending_len && !stream_hears_answers(flow->stream)) {
        exchange_end(flow, &stream_oldest(relay)->exchange, NULL);
        stream_drop_oldest(relay);
    }
}

/* Those that do not come in time must not take the place of others. */
static void make_room(struct flow *flow)
{
    static const char many[] = "too many requests without an answer";
    struct relay *relay = &flow->relay;

    if (relay->pending_len < RELAY_PENDING_MAX)
        return;
    exchange_end(flow, &stream_oldest(relay)->exchange, many);
    stream_drop_oldest(relay);
    flow->stream->unowed++;
}

/* Whose answer is to come. at: where it begins. */
static struct pending *await(struct flow *flow, uint64_t at)
{
    struct relay *relay = &flow->relay;
    struct pending *pending;

    make_room(flow);
    relay->pending_len++;
    pending = stream_newest(relay);
    *pending = (struct pending){0};
    flow->stream->asked_at[pending - relay->pending] = at;
    return pending;
}

static bool is_judged(const struct flow *flow)
{
    return !flow->stream->opening.accepted;
}

/* at: where it begins. */
static void request_seen(struct flow *flow, const struct http1_head *head, const uint8_t *base,
                         uint64_t at)
{
    struct relay *relay = &flow->relay;
    struct facts_field fields[HTTP1_FIELDS_MAX];
    struct authority_parts authority;
    struct facts_request request = request_facts(head, base, fields, &authority);
    struct exchange_decision decision = {.verdict = VERDICT_ALLOW};
    struct pending *pending;

    tell_unanswered(flow);
    verdict_next(flow);
    request.stream = request_number(flow);
    if (flow->stream->denied) {
        http1_on_body(relay->request, NULL, NULL);
        stream_deny(flow, &request);
        return;
    }
    if (is_judged(flow))
        verdict_request(flow, &request, &decision);
    pending = await(flow, at);
    pending->head = span_equal(request.method, BYTES("HEAD"));
    pending->connect = span_equal(request.method, BYTES("CONNECT"));
    pending->upgrade = head->upgrade;
    exchange_begin(flow, &pending->exchange, &request);
    verdict_onto(flow, pending->exchange.event);
    if (is_judged(flow))
        exchange_inspect(flow, &pending->exchange, &request);
    http1_on_body(relay->request, exchange_looks(&pending->exchange, true) ? on_body_up : NULL,
                  flow);
    if (pending->connect)
        tunnel_asked(&flow->tunnel, head, base);
}

static void request_ends(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    struct exchange *exchange = asking(relay);

    if (flow->stream->denied)
        return;
    exchange_body_ended(flow, exchange, true);
    if (relay->pending_len && exchange->event)
        exchange->event->http.request_bytes = http1_body_bytes(relay->request);
    exchange_end(flow, &relay->rest, NULL);
    request_awaits_answer(relay);
}

/* What there is of a head that is not whole, or makes no sense. */
static struct facts_request begun_facts(struct flow *flow, struct span head,
                                        char host[AUTHORITY_HOST_MAX])
{
    const struct http1_head *parsed = http1_head(flow->relay.request);
    struct facts_request request = {.stream = request_number(flow), .cut = true};

    http1_words(head, &request.method, &request.url);
    request.path = exchange_path(request.url);
    /* as on the proxy route: with a field the request line is whole; where nothing was parsed yet,
     * what there is of a head is of the one before */
    if (!http1_idle(flow->relay.request) && parsed->fields_len &&
        http1_authority(parsed, head.data, host, AUTHORITY_HOST_MAX))
        request.host = host;
    return request;
}

/* It was told; its server may answer to what has gone of it. */
static void await_told(struct flow *flow, struct span head)
{
    const struct stream *stream = flow->stream;
    uint64_t at = stream->up.at - head.len;

    if (!stream->denied || at < stream->unsent)
        await(flow, at);
}

/* It has gone, for nothing that is enforced looks at it; what follows the kernel does not read. */
static void leave_odd(struct flow *flow, struct exchange *exchange, const char *reason)
{
    struct facts_request request = stream_request_told(exchange->event);

    flow->stream->unread = true;
    if (is_judged(flow))
        verdict_settle_unseen(flow, reason, &request);
    verdict_onto(flow, exchange->event);
    exchange_end(flow, exchange, reason);
}

static void head_is_odd(struct flow *flow, struct span head, const char *reason)
{
    char host[AUTHORITY_HOST_MAX];
    struct facts_request request = begun_facts(flow, head, host);
    struct exchange exchange;

    tell_unanswered(flow);
    verdict_next(flow);
    exchange_begin(flow, &exchange, &request);
    if (flow->stream->denied)
        stream_deny_odd(flow, &exchange, reason);
    else
        leave_odd(flow, &exchange, reason);
    await_told(flow, head);
}

/* It is HTTP no more, or was not. What is known of it is told. */
static void request_is_odd(struct flow *flow, struct span head)
{
    struct relay *relay = &flow->relay;
    const char *reason = http1_reason(relay->request);
    struct exchange none = {0};

    if (relay->up.in_head)
        head_is_odd(flow, head, reason);
    else if (stream_has_denied(flow->stream))
        return; /* its head was refused, too */
    else if (relay->pending_len && flow->stream->denied)
        stream_deny_odd(flow, &stream_newest(relay)->exchange, reason);
    else if (!flow->stream->denied)
        leave_odd(flow, relay->pending_len ? &stream_newest(relay)->exchange : &none, reason);
}

/* Its answer is here, but its head is not whole: nor will it be, if that is what its server
 * refuses, for the kernel does not read on what it knows to be no HTTP. */
static void answered_too_soon(struct flow *flow)
{
    const struct pipeline *line = &flow->relay.up;

    head_is_odd(flow, span_of(line->data, line->len), "answered before its head was whole");
    stream_http1_lost(flow, true);
}

/* ---- answers ---- */

/* What follows 101 is not HTTP/1 any more. */
static void note_upgrade(struct flow *flow, const struct http1_head *head, const uint8_t *base)
{
    struct span to;

    flow->stream->kind = STREAM_RAW;
    if (!http1_find(head, base, "upgrade", &to) || !span_equal_nocase(to, "websocket"))
        stream_turns_opaque(flow, OPAQUE_OTHER_PROTOCOL);
}

/* What follows is met as a connection of its own, as tunnel.c does it. */
static void enter_tunnel(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    exchange_end(flow, &relay->answering, NULL);
    flow->stream->kind = STREAM_MEETING;
    flow->tunnel.requests += relay->requests;
    relay->requests = 0;
    relay->settling = false;
    http1_free(&relay->request);
    http1_free(&relay->response);
    stream_tls_free(&flow->stream->tls);
    flow->facts.where.host[0] = 0;
    flow->facts.ja4[0] = 0;
    flow->version_max = 0;
    flow->facts.visibility = VISIBILITY_UNKNOWN;
    flow->facts.opaque = OPAQUE_NO_REASON;
}

static void answer_seen(struct flow *flow, const struct http1_head *head, const uint8_t *base)
{
    struct relay *relay = &flow->relay;
    struct stream *stream = flow->stream;
    struct facts_field fields[HTTP1_FIELDS_MAX];
    const struct facts_answer answer = {
        .code = head->code,
        .body = head->body,
        .fields = fields,
        .fields_len = request_fields(head, base, fields),
    };
    const struct facts_request unseen = {.protocol = head->minor ? "HTTP/1.1" : "HTTP/1.0"};
    struct pending pending = {0};

    http1_on_body(relay->response, NULL, NULL);
    if (head->code < 200 && head->code != 101)
        return; /* its request is still open */
    if (stream->unowed) {
        stream->unowed--;
        return;
    }
    if (!relay->pending_len && relay->request && relay->up.in_head && relay->up.len)
        answered_too_soon(flow);
    if (relay->pending_len) {
        pending = *stream_oldest(relay);
        stream_drop_oldest(relay);
    } else if (!stream->unread) {
        exchange_begin(flow, &pending.exchange, &unseen);
    }
    relay->answering = pending.exchange;
    if (!relay->pending_len && relay->request && !relay->up.in_head && pending.exchange.event)
        pending.exchange.event->http.request_bytes = http1_body_bytes(relay->request);
    exchange_answered(flow, &relay->answering, &answer);
    if (exchange_looks(&relay->answering, false))
        http1_on_body(relay->response, on_body_down, flow);
    if (pending.upgrade && head->code == 101) {
        note_upgrade(flow, head, base);
    } else if (pending.connect && head->code / 100 == 2) {
        enter_tunnel(flow);
    } else if (relay->settling && !relay->pending_len) {
        relay->settling = false;
        if (relay->request)
            http1_upgraded(relay->request, false);
    }
}

static void answer_ends(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    exchange_body_ended(flow, &relay->answering, false);
    if (!relay->pending_len && !relay->up.in_head) /* its body is still on its way */
        exchange_rest(&relay->rest, &relay->answering);
    exchange_end(flow, &relay->answering, NULL);
}

/* It was the answer to what waits for one all the same: the next is another's. */
static void answer_is_odd(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    bool owed = relay->down.in_head && !flow->stream->unowed && relay->pending_len;
    struct exchange *exchange = owed ? &stream_oldest(relay)->exchange : &relay->answering;
    struct err odd;

    err_set(&odd, -EPROTO, "the upstream's answer could not be read: %s",
            http1_reason(relay->response));
    if (!flow->why.text[0] && (!owed || exchange->event)) /* else it was told, perhaps as refused */
        flow->why = odd;
    exchange_end(flow, exchange, odd.text);
    if (owed)
        stream_drop_oldest(relay);
    else if (relay->down.in_head && flow->stream->unowed)
        flow->stream->unowed--;
}

/* ---- what the parser has found ---- */

void stream_http1_head(struct flow *flow, bool up, struct span head)
{
    const struct relay *relay = &flow->relay;

    if (up)
        request_seen(flow, http1_head(relay->request), head.data, flow->stream->up.at - head.len);
    else
        answer_seen(flow, http1_head(relay->response), head.data);
}

void stream_http1_whole(struct flow *flow, bool up)
{
    if (up)
        request_ends(flow);
    else
        answer_ends(flow);
}

void stream_http1_odd(struct flow *flow, bool up, struct span head)
{
    if (up)
        request_is_odd(flow, head);
    else
        answer_is_odd(flow);
}

void stream_http1_begun(struct flow *flow, struct span head)
{
    char host[AUTHORITY_HOST_MAX];
    struct facts_request request = begun_facts(flow, head, host);

    tell_unanswered(flow);
    stream_deny(flow, &request);
    await_told(flow, head);
}
