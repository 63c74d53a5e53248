/* stream_http1: HTTP/1 as it goes by. Both directions are parsed by ../wire/http1.c, as on the
 * proxy route; what was not handed up of bodies is made up for by zeros. */
#include <errno.h>

#include "proxy/flow/request.h"
#include "proxy/kernel/stream_own.h"
#include "proxy/wire/authority.h"

/* What may wait for the answer that says whether it is HTTP. */
enum { SETTLING_MAX = 65536 };

static struct pending *oldest(struct relay *relay)
{
    return &relay->pending[relay->pending_at];
}

static struct pending *newest(struct relay *relay)
{
    return &relay->pending[(relay->pending_at + relay->pending_len - 1) % RELAY_PENDING_MAX];
}

static void drop_oldest(struct relay *relay)
{
    relay->pending_at = (relay->pending_at + 1) % RELAY_PENDING_MAX;
    relay->pending_len--;
}

/* Whose body goes by. */
static struct exchange *asking(struct relay *relay)
{
    if (relay->pending_len)
        return &newest(relay)->exchange;
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

/* Answers that cannot be seen are waited for until the next request; those that do not come in
 * time must not take the place of others. */
static void make_room(struct flow *flow)
{
    static const char many[] = "too many requests without an answer";
    struct relay *relay = &flow->relay;

    while (relay->pending_len && !stream_hears_answers(flow->stream)) {
        exchange_end(flow, &oldest(relay)->exchange, NULL);
        drop_oldest(relay);
    }
    if (relay->pending_len < RELAY_PENDING_MAX)
        return;
    exchange_end(flow, &oldest(relay)->exchange, many);
    drop_oldest(relay);
    flow->stream->unowed++;
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

    verdict_next(flow);
    request.stream = request_number(flow);
    if (flow->stream->denied) {
        http1_on_body(relay->request, NULL, NULL);
        stream_deny(flow, &request);
        return;
    }
    if (is_judged(flow))
        verdict_request(flow, &request, &decision);
    make_room(flow);
    relay->pending_len++;
    pending = newest(relay);
    flow->stream->asked_at[pending - relay->pending] = at;
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
    relay->settling = http1_head(relay->request)->upgrade;
}

/* What there is of a head that is not whole, or makes no sense. Its server may answer to what has
 * gone of one that was refused. */
static struct facts_request begun_facts(struct flow *flow, struct span head,
                                        char host[AUTHORITY_HOST_MAX])
{
    const struct http1_head *parsed = http1_head(flow->relay.request);
    struct stream *stream = flow->stream;
    struct facts_request request = {.stream = request_number(flow), .cut = true};

    http1_words(head, &request.method, &request.url);
    request.path = exchange_path(request.url);
    /* as on the proxy route: with a field the request line is whole */
    if (parsed->fields_len && http1_authority(parsed, head.data, host, AUTHORITY_HOST_MAX))
        request.host = host;
    if (stream->denied && stream->up.at - head.len < stream->unsent)
        stream->unowed++;
    return request;
}

/* It is HTTP no more, or was not. What is known of it is told. */
static void request_is_odd(struct flow *flow, struct span head)
{
    struct relay *relay = &flow->relay;
    const char *reason = http1_reason(relay->request);
    char host[AUTHORITY_HOST_MAX];
    struct facts_request request;
    struct exchange exchange;

    if (relay->up.in_head) {
        request = begun_facts(flow, head, host);
        exchange_begin(flow, &exchange, &request);
        if (flow->stream->denied)
            stream_deny_odd(flow, &exchange, reason);
        else
            exchange_end(flow, &exchange, reason);
    } else if (relay->pending_len) {
        if (flow->stream->denied)
            stream_deny_odd(flow, &newest(relay)->exchange, reason);
        else
            exchange_end(flow, &newest(relay)->exchange, reason);
        relay->pending_len--;
        flow->stream->unowed++;
    }
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
    flow->facts.visibility = VISIBILITY_UNKNOWN;
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
    if (stream->unowed && !relay->pending_len) {
        stream->unowed--;
        return; /* its request was told */
    }
    if (relay->pending_len) {
        pending = *oldest(relay);
        drop_oldest(relay);
    } else {
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

static void answer_is_odd(struct flow *flow)
{
    const char *reason = http1_reason(flow->relay.response);
    const struct relay *relay = &flow->relay;

    if (relay->down.in_head && flow->stream->unowed && !relay->pending_len) {
        flow->stream->unowed--;
        return; /* what it answers was told, perhaps as refused */
    }
    if (!flow->why.text[0])
        err_set(&flow->why, -EPROTO, "the upstream's answer could not be read: %s", reason);
    exchange_end(flow, &flow->relay.answering, flow->why.text);
}

/* ---- the two directions ---- */

/* From here on nothing is read in this direction before a head is known to begin. */
static void give_up(struct flow *flow, bool up)
{
    struct relay *relay = &flow->relay;
    struct pipeline *line = up ? &relay->up : &relay->down;

    relay_release(line, flow->worker);
    line->in_head = true;
    http1_free(up ? &relay->request : &relay->response);
    (up ? &flow->stream->up : &flow->stream->down)->waits = true;
}

static bool ready(struct flow *flow, bool up)
{
    struct http1 **parser = up ? &flow->relay.request : &flow->relay.response;

    if (*parser)
        return true;
    (up ? &flow->relay.up : &flow->relay.down)->in_head = true;
    *parser = http1_new(up ? HTTP1_REQUEST : HTTP1_RESPONSE);
    if (!*parser && !flow->why.text[0])
        err_set(&flow->why, -ENOMEM, "not enough memory to read HTTP");
    return *parser;
}

static enum http1_status step(struct flow *flow, bool up, struct span bytes, size_t *consumed)
{
    struct relay *relay = &flow->relay;

    if (!up && relay->pending_len && http1_idle(relay->response))
        http1_answers(relay->response, oldest(relay)->head, oldest(relay)->connect);
    return http1_feed(up ? relay->request : relay->response, bytes, consumed);
}

/* Something that the parser tells. head: the bytes from the head's, or message's, first one on.
 * False: no more is to be fed here. */
static bool handle(struct flow *flow, bool up, enum http1_status status, struct span head)
{
    struct relay *relay = &flow->relay;
    struct pipeline *line = up ? &relay->up : &relay->down;

    switch (status) {
    case HTTP1_MORE:
        return false;
    case HTTP1_HEAD:
        if (up)
            request_seen(flow, http1_head(relay->request), head.data,
                         flow->stream->up.at - head.len);
        else
            answer_seen(flow, http1_head(relay->response), head.data);
        line->in_head = false;
        return flow->stream->kind == STREAM_HTTP1;
    case HTTP1_DONE:
        if (up)
            request_ends(flow);
        else
            answer_ends(flow);
        line->in_head = true;
        return true;
    case HTTP1_RAW:
        if (flow->stream->kind == STREAM_HTTP1)
            stream_turns_opaque(flow, OPAQUE_OTHER_PROTOCOL);
        return false;
    case HTTP1_BAD:
        if (up)
            request_is_odd(flow, head);
        else
            answer_is_odd(flow);
        give_up(flow, up);
        return false;
    }
    return false;
}

/* To what is kept; false: no memory. */
static bool append(struct flow *flow, struct pipeline *line, struct span bytes)
{
    if (!line->data)
        line->data = worker_buffer_get(flow->worker, &line->size);
    while (line->data && line->size - line->len < bytes.len) {
        uint8_t *grown = worker_buffer_grow(flow->worker, line->data, line->len, &line->size);

        if (!grown)
            return false;
        line->data = grown;
    }
    if (!line->data)
        return false;
    if (bytes.len)
        memcpy(line->data + line->len, bytes.data, bytes.len);
    line->len += bytes.len;
    return true;
}

static void no_room(struct flow *flow, bool up)
{
    if (!flow->why.text[0])
        err_set(&flow->why, -ENOBUFS, "not enough memory to read %s's head",
                up ? "a request" : "an answer");
    stream_http1_lost(flow, up);
}

/* A head that is not whole, or what cannot be read before an answer has come: [from, bytes.len), of
 * which so much was parsed. It may be the line's own bytes. */
static void keep(struct flow *flow, bool up, struct span bytes, size_t from, size_t parsed)
{
    struct pipeline *line = up ? &flow->relay.up : &flow->relay.down;
    struct span left = span_of(bytes.data + from, bytes.len - from);

    if (line->data && bytes.data == line->data) {
        memmove(line->data, left.data, left.len);
        line->len = left.len;
    } else if (left.len && !append(flow, line, left)) {
        no_room(flow, up);
        return;
    }
    line->parsed = parsed - from;
    if (!line->len)
        relay_release(line, flow->worker);
}

/* What came behind an upgrade, or a tunnel's answer, is another protocol's. */
static void hand_on(struct flow *flow, bool up, struct span bytes)
{
    struct stream *stream = flow->stream;
    const struct abi_said said = {
        .direction = up != stream->opening.accepted ? ABI_TX : ABI_RX,
        .flags = (up ? stream->up : stream->down).ktls ? ABI_SAID_KTLS : 0,
        .time_ns = flow->said_ns,
    };

    if (!bytes.len)
        return;
    stream_take(flow, &said, bytes);
}

static void leave(struct flow *flow, bool up, struct span rest)
{
    struct relay *relay = &flow->relay;
    struct pipeline here = up ? relay->up : relay->down, other = up ? relay->down : relay->up;

    relay->up = relay->down = (struct pipeline){.in_head = true};
    hand_on(flow, !up, span_of(other.data, other.len));
    hand_on(flow, up, rest);
    relay_release(&here, flow->worker);
    relay_release(&other, flow->worker);
}

/* Answers cannot be seen, or have: what follows a request that asked to leave HTTP says itself
 * whether it did. */
static void settle(struct flow *flow, struct span bytes)
{
    struct relay *relay = &flow->relay;

    if (!relay->settling || stream_hears_answers(flow->stream) || !bytes.len)
        return;
    relay->settling = false;
    http1_upgraded(relay->request, http1_looks_like_request(bytes) != 1);
}

void stream_http1_feed(struct flow *flow, bool up, struct span bytes)
{
    struct relay *relay = &flow->relay;
    struct pipeline *line = up ? &relay->up : &relay->down;
    size_t from = 0, at = 0, consumed;
    enum http1_status status;
    bool more, was_settling = relay->settling;

    if (!ready(flow, up))
        return;
    if (line->len) {
        at = line->parsed;
        if (line->len + bytes.len > HTTP1_HEAD_MAX + SETTLING_MAX || !append(flow, line, bytes)) {
            no_room(flow, up);
            return;
        }
        bytes = span_of(line->data, line->len);
    }
    if (up)
        settle(flow, span_of(bytes.data + at, bytes.len - at));
    do {
        status = step(flow, up, span_of(bytes.data + at, bytes.len - at), &consumed);
        at += consumed;
        more = handle(flow, up, status, span_of(bytes.data + from, bytes.len - from));
        if (status == HTTP1_HEAD || status == HTTP1_DONE || !line->in_head)
            from = at;
    } while (more);
    if (flow->stream->kind != STREAM_HTTP1) {
        leave(flow, up, span_of(bytes.data + at, bytes.len - at));
        return;
    }
    if (status == HTTP1_BAD)
        return;
    keep(flow, up, bytes, from, at);
    if (!up && was_settling && !relay->settling && relay->up.len) /* its answer was awaited */
        stream_http1_feed(flow, true, (struct span){0});
}

void stream_http1_skip(struct flow *flow, bool up, uint64_t len)
{
    static const uint8_t zeros[16384];
    struct relay *relay = &flow->relay;
    struct http1 *parser = up ? relay->request : relay->response;

    if (!parser || (up ? &relay->up : &relay->down)->in_head) {
        stream_http1_lost(flow, up); /* nothing is under way of which it could be the body */
        return;
    }
    flow->stream->skipping = true;
    while (len && flow->stream->kind == STREAM_HTTP1) {
        size_t most = len < sizeof(zeros) ? (size_t)len : sizeof(zeros), consumed = 0;
        enum http1_status status = step(flow, up, span_of(zeros, most), &consumed);

        len -= consumed;
        if (status != HTTP1_MORE && !handle(flow, up, status, span_of(zeros, 0)))
            break;
        if (status == HTTP1_DONE && len) { /* more was skipped than its body */
            stream_http1_lost(flow, up);
            break;
        }
    }
    flow->stream->skipping = false;
}

void stream_http1_lost(struct flow *flow, bool up)
{
    static const char why[] = "bytes of it were lost on their way to the agent";
    struct relay *relay = &flow->relay;

    if (up) {
        if (!relay->up.in_head && relay->pending_len) /* its answer may come all the same */
            exchange_skipped(flow, &newest(relay)->exchange, true, 0);
        relay->settling = false;
    } else {
        exchange_end(flow, &relay->answering, why);
        for (; relay->pending_len > 1; drop_oldest(relay)) /* who waits for each answer, as most */
            exchange_end(flow, &oldest(relay)->exchange, why);
        flow->stream->unowed = 0;
    }
    give_up(flow, up);
}

void stream_http1_afresh(struct flow *flow)
{
    give_up(flow, true);
    flow->stream->up.waits = false;
}

void stream_http1_denied(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    char host[AUTHORITY_HOST_MAX];
    struct facts_request request;

    if (relay->request && relay->up.in_head && relay->up.len) { /* not even its head was whole */
        request = begun_facts(flow, span_of(relay->up.data, relay->up.len), host);
        stream_deny(flow, &request);
    }
    stream_denied(flow);
    relay_release(&relay->up, flow->worker);
    relay->up.in_head = true;
    http1_free(&relay->request);
}

void stream_http1_end(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    if (relay->up.in_head && relay->up.len && !relay->settling && !flow->why.text[0])
        err_set(&flow->why, -EPROTO, "closed within a request's head, of which %zu bytes had come",
                relay->up.len);
    if (!relay->response || (relay->down.in_head && !relay->down.len))
        return;
    if (http1_eof(relay->response) == HTTP1_DONE)
        answer_ends(flow);
    else if (!flow->why.text[0])
        err_set(&flow->why, -EPROTO, "the upstream's answer was cut short");
}
