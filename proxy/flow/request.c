#include "proxy/flow/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proxy/flow/steps.h"

/* ---- what a head says, into an event ---- */

static const char *copy(struct flow_event *event, const uint8_t *base, uint32_t at, uint32_t len)
{
    return flow_event_text(event, span_of(base + at, len));
}

static struct flow_event_header *copy_fields(struct flow_event *event,
                                             const struct http1_head *head, const uint8_t *base,
                                             size_t *len)
{
    struct flow_event_header *headers = flow_event_headers(event, head->fields_len);

    *len = headers ? head->fields_len : 0;
    for (size_t i = 0; i < *len; i++) {
        const struct http1_field *field = &head->fields[i];

        headers[i].key = copy(event, base, field->name_at, field->name_len);
        headers[i].value = copy(event, base, field->value_at, field->value_len);
    }
    return headers;
}

/* The target's path: an absolute-form's authority and any query cut off. */
static struct span path_of(struct span target)
{
    const uint8_t *scheme = memmem(target.data, target.len, "://", 3);
    const uint8_t *end;

    if (target.len && target.data[0] != '/' && scheme) {
        size_t skip = (size_t)(scheme - target.data) + 3;
        const uint8_t *slash = memchr(target.data + skip, '/', target.len - skip);

        if (!slash)
            return BYTES("/");
        target = span_of(slash, target.len - (size_t)(slash - target.data));
    }
    end = memchr(target.data, '?', target.len);
    return end ? span_of(target.data, (size_t)(end - target.data)) : target;
}

static void fill_target(struct flow_event *event, struct span target)
{
    event->http.url = flow_event_text(event, target);
    event->http.path = flow_event_text(event, path_of(target));
}

static const char *protocol(const struct http1_head *head)
{
    return head->minor ? "HTTP/1.1" : "HTTP/1.0";
}

static void fill_host(struct flow_event *event, const struct flow *flow,
                      const struct http1_head *head, const uint8_t *base)
{
    char host[256];

    if (head && http1_authority(head, base, host, sizeof(host)))
        event->http.host = flow_event_text(event, span_of_text(host));
    else if (flow->facts.where.host[0])
        event->http.host = flow_event_text(event, span_of_text(flow->facts.where.host));
}

static struct flow_event *request_event(struct flow *flow, const struct http1_head *head,
                                        const uint8_t *base)
{
    struct flow_event *event = report_new(flow, FLOW_EVENT_HTTP);

    if (!event)
        return NULL;
    fill_host(event, flow, head, base);
    event->http.method = copy(event, base, head->method_at, head->method_len);
    fill_target(event, span_of(base + head->target_at, head->target_len));
    event->http.protocol = protocol(head);
    event->http.stream = flow->tunnel.requests + flow->relay.requests;
    event->http.verdict = VERDICT_ALLOW;
    event->http.request_headers = copy_fields(event, head, base, &event->http.request_headers_len);
    return event;
}

static void tell_answered(struct flow *flow, const struct http1_head *head, const uint8_t *base)
{
    struct relay *relay = &flow->relay;
    struct pending *pending = &relay->pending[relay->pending_at];
    struct flow_event *event = TAKE(pending->event);
    struct span length;

    relay->pending_at = (relay->pending_at + 1) % RELAY_PENDING_MAX;
    relay->pending_len--;
    if (event) {
        event->http.code = head->code;
        event->http.latency_ns = clock_ns() - pending->sent_ns;
        event->http.response_headers =
            copy_fields(event, head, base, &event->http.response_headers_len);
        /* told before the body went by: what it says of itself */
        if (head->body && http1_find(head, base, "content-length", &length))
            for (size_t i = 0; i < length.len; i++)
                event->http.response_bytes =
                    event->http.response_bytes * 10 + (uint64_t)(length.data[i] - '0');
        if (!relay->pending_len && !relay->up.in_head) /* its body is still on its way */
            event->http.request_bytes = http1_body_bytes(relay->request);
    }
    report_emit(flow, &event);
}

/* ---- refusing ---- */

enum { ANSWER_MAX = 512, ANSWER_WORDS = 320 }; /* the status and the fields need 150 at most */

/* What is ready are the last bytes for the pod: of what came behind them nothing goes on. */
static void end_here(struct relay *relay)
{
    relay->ending = true;
    relay->down.len = relay->down.parsed = relay->down.ready;
}

/* What upstream says makes no sense, and the pod has a part of it: only a cut tells it so, never
 * an end that could pass for one of the answer. */
static void cut_here(struct relay *relay)
{
    relay->stuck = true;
    relay->down.over = relay->down.ended = true;
    relay->down.ended_well = false;
    relay->down.len = relay->down.parsed = relay->down.ready;
}

/* Whether an answer of our own fits behind what a slow reader has not taken yet. */
static bool room_for_answer(const struct pipeline *down)
{
    return !down->data || down->size - (down->ready - down->start) >= ANSWER_MAX;
}

/* Puts an answer of our own behind what the pod is still owed, or cuts where that cannot be. */
static void answer(struct flow *flow, const char *status, const char *reason)
{
    struct pipeline *down = &flow->relay.down;
    char text[ANSWER_MAX], words[ANSWER_WORDS];
    int said = snprintf(words, sizeof(words), "sallyport: %.300s\n", reason);
    int len = snprintf(text, sizeof(text),
                       "HTTP/1.1 %.40s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                       "Connection: close\r\n\r\n%s",
                       status, said, words);

    if (!down->data)
        down->data = worker_buffer_get(flow->worker, &down->size);
    if (!down->data || !room_for_answer(down)) {
        cut_here(&flow->relay);
        return;
    }
    end_here(&flow->relay);
    if (down->start) { /* what went on makes room */
        memmove(down->data, down->data + down->start, down->len - down->start);
        down->len = down->parsed = down->ready = down->len - down->start;
        down->start = 0;
    }
    memcpy(down->data + down->len, text, (size_t)len);
    down->len = down->parsed = down->ready = down->len + (size_t)len;
}

static struct pending *newest_pending(struct relay *relay)
{
    return &relay->pending[(relay->pending_at + relay->pending_len - 1) % RELAY_PENDING_MAX];
}

/* A request refused within its head: what is there of its line, and of its host. */
static struct flow_event *refused_event(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    const struct pipeline *up = &relay->up;
    const uint8_t *base = up->data + up->ready;
    const struct http1_head *head = http1_head(relay->request);
    struct flow_event *event = report_new(flow, FLOW_EVENT_HTTP);
    struct span method, target;

    if (!event)
        return NULL;
    http1_words(span_of(base, up->len - up->ready), &method, &target);
    /* with a field the request line is whole: no piece of its authority passes for the host */
    fill_host(event, flow, head->fields_len ? head : NULL, base);
    if (method.len)
        event->http.method = flow_event_text(event, method);
    if (target.len)
        fill_target(event, target);
    event->http.stream = flow->tunnel.requests + ++relay->requests;
    return event;
}

/* The refused request's event; the answer itself waits until the earlier ones have had theirs.
 * Where the fault is in a body, the request's head went on already: then this is its event. */
static void refuse_request(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    struct flow_event *event = NULL;

    relay->refused = true;
    if (relay->up.in_head) {
        event = refused_event(flow);
    } else if (relay->pending_len) {
        event = TAKE(newest_pending(relay)->event);
        relay->pending_len--;
    } else { /* answered before it was whole: there is nothing left to tell it with but the end */
        err_set(&flow->why, -EPROTO, "the request was refused: %s", http1_reason(relay->request));
        relay->parting = true;
        if (relay->down.in_head)
            end_here(relay);
        else
            relay->cut = relay->stuck = true;
        return;
    }
    if (event) {
        event->http.verdict = VERDICT_DENY;
        event->http.code = 400;
        event->error = flow_event_text(event, span_of_text(http1_reason(relay->request)));
    }
    relay->refusal = event;
}

/* The earlier requests have had their answers: now it is the refused one's turn, and nobody asked
 * for what upstream says behind them. */
static bool refusal_is_due(const struct relay *relay)
{
    return relay->refused && !relay->parting && !relay->pending_len && relay->down.in_head &&
           http1_idle(relay->response);
}

static void answer_refused(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    report_emit(flow, &relay->refusal);
    answer(flow, "400 Bad Request", http1_reason(relay->request));
}

/* ---- the two directions ---- */

static void to_raw(struct relay *relay)
{
    relay->kind = RELAY_RAW;
    relay->settling = false;
}

static void request_seen(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    const struct http1_head *head = http1_head(relay->request);
    const uint8_t *base = relay->up.data + relay->up.ready;
    struct span method = span_of(base + head->method_at, head->method_len);
    struct pending *pending =
        &relay->pending[(relay->pending_at + relay->pending_len++) % RELAY_PENDING_MAX];

    relay->requests++;
    *pending = (struct pending){
        .event = request_event(flow, head, base),
        .sent_ns = clock_ns(),
        .head = span_equal(method, BYTES("HEAD")),
        .connect = span_equal(method, BYTES("CONNECT")),
        .upgrade = head->upgrade,
    };
    if (pending->connect)
        tunnel_asked(&flow->tunnel, head, base);
}

static bool ready(struct flow *flow, struct http1 **parser, enum http1_kind kind)
{
    if (!*parser)
        *parser = http1_new(kind);
    if (!*parser)
        err_set(&flow->why, -ENOMEM, "refused: not enough memory to read HTTP");
    return *parser;
}

bool request_feed_up(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    struct pipeline *up = &relay->up;
    enum http1_status status;
    size_t consumed;

    if (!ready(flow, &relay->request, HTTP1_REQUEST))
        return false;
    while (!relay->refused && !relay->settling && relay->kind == RELAY_HTTP &&
           relay->pending_len < RELAY_PENDING_MAX) {
        status = http1_feed(relay->request, span_of(up->data + up->parsed, up->len - up->parsed),
                            &consumed);
        up->parsed += consumed;
        switch (status) {
        case HTTP1_MORE:
            if (!up->in_head)
                up->ready = up->parsed;
            return true;
        case HTTP1_HEAD:
            request_seen(flow);
            up->in_head = false;
            up->ready = up->parsed;
            break;
        case HTTP1_DONE:
            up->in_head = true;
            up->ready = up->parsed;
            if (relay->pending_len && newest_pending(relay)->event)
                newest_pending(relay)->event->http.request_bytes = http1_body_bytes(relay->request);
            relay->settling = http1_head(relay->request)->upgrade;
            break;
        case HTTP1_RAW:
            to_raw(relay);
            return true;
        case HTTP1_BAD:
            refuse_request(flow);
            break;
        }
    }
    return true;
}

/* What follows 101 is not HTTP/1 any more. */
static void note_upgrade(struct flow *flow, const struct http1_head *head, const uint8_t *base)
{
    struct span to;

    if (!http1_find(head, base, "upgrade", &to) || !span_equal_nocase(to, "websocket"))
        facts_set_opaque(&flow->facts, OPAQUE_OTHER_PROTOCOL);
}

/* An answer's head: told, and what it settles. */
static void answer_seen(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    const struct http1_head *head = http1_head(relay->response);
    const struct pending *pending = &relay->pending[relay->pending_at];
    bool upgraded, led;

    if (!relay->pending_len || (head->code < 200 && head->code != 101))
        return; /* unasked, or an interim answer: it goes on, its request is still open */
    upgraded = pending->upgrade && head->code == 101;
    led = pending->connect && head->code / 100 == 2;
    tell_answered(flow, head, relay->down.data + relay->down.ready);
    if (upgraded)
        note_upgrade(flow, head, relay->down.data + relay->down.ready);
    if (upgraded || led) {
        to_raw(relay);
        if (led && tunnel_can_enter(flow))
            relay->kind = RELAY_TUNNEL;
    } else if (relay->settling && !relay->pending_len) {
        relay->settling = false;
        http1_upgraded(relay->request, false);
    }
}

/* Why an answer's head must not go on, or NULL.
 *
 * Nobody asked: a client could take it for the answer to its next request, and then be told about
 * wrongly from there on. A server may say that it is about to close (RFC 9110 section 15.5.9), or
 * refuse a request that it was not sent whole; that one goes on, as the last.
 * 101 is for who sent Upgrade (section 15.2.2), else what follows is answers to one reader and
 * anything to another. */
static const char *unasked(struct relay *relay)
{
    const struct http1_head *head = http1_head(relay->response);

    if (!relay->pending_len) {
        relay->parting = head->code >= 400;
        return relay->parting ? NULL : "an answer to no request";
    }
    if (head->code == 101 && !relay->pending[relay->pending_at].upgrade)
        return "101 to a request that did not ask to leave HTTP";
    return NULL;
}

static void refuse_answer(struct flow *flow, const char *reason)
{
    struct relay *relay = &flow->relay;
    struct flow_event *event;

    if (relay->refused && !relay->pending_len && relay->down.in_head) {
        answer_refused(flow); /* it began before the request that is owed one was refused */
        return;
    }
    err_set(&flow->why, -EPROTO, "the upstream's answer was refused: %s", reason);
    if (!relay->down.in_head) {
        cut_here(relay);
        return;
    }
    if (!relay->pending_len) { /* nobody asked: the pod gets what it is owed, then the end */
        end_here(relay);
        return;
    }
    event = relay->pending[relay->pending_at].event;
    if (event) {
        event->http.code = 502;
        event->http.verdict = VERDICT_DENY;
        event->error = flow_event_text(event, span_of_text(flow->why.text));
    }
    answer(flow, "502 Bad Gateway", flow->why.text);
}

/* The end of upstream's bytes can be the end of an answer, or cut one short: then the pod's leg
 * ends as upstream's did, never as if the answer were whole. */
static void feed_end(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    relay->down.over = true;
    if (http1_eof(relay->response) == HTTP1_DONE)
        relay->down.in_head = true;
    else
        err_set(&flow->why, -EPROTO, "the upstream's answer was cut short");
}

bool request_feed_down(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    struct pipeline *down = &relay->down;
    enum http1_status status;
    const char *reason;
    size_t consumed;

    if (!ready(flow, &relay->response, HTTP1_RESPONSE))
        return false;
    while (!relay->ending && !down->over && relay->kind == RELAY_HTTP && !refusal_is_due(relay)) {
        if (relay->pending_len && http1_idle(relay->response))
            http1_answers(relay->response, relay->pending[relay->pending_at].head,
                          relay->pending[relay->pending_at].connect);
        status =
            http1_feed(relay->response,
                       span_of(down->data + down->parsed, down->len - down->parsed), &consumed);
        down->parsed += consumed;
        if (status == HTTP1_MORE) {
            if (!down->in_head)
                down->ready = down->parsed;
            break;
        }
        reason = status == HTTP1_BAD    ? http1_reason(relay->response)
                 : status == HTTP1_HEAD ? unasked(relay)
                                        : NULL;
        if (reason) {
            refuse_answer(flow, reason);
            return true;
        }
        if (status == HTTP1_HEAD)
            answer_seen(flow);
        if (status == HTTP1_RAW)
            to_raw(relay);
        down->in_head = status == HTTP1_DONE;
        down->ready = down->parsed;
        if (status == HTTP1_DONE && relay->parting)
            end_here(relay);
    }
    if (relay->kind == RELAY_HTTP && down->ended && !down->over && down->parsed == down->len)
        feed_end(flow);
    if (!relay->ending && refusal_is_due(relay) && room_for_answer(down)) /* a slow reader's */
        answer_refused(flow);
    return true;
}
