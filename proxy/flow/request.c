#include "proxy/flow/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proxy/flow/reply.h"
#include "proxy/flow/steps.h"
#include "proxy/wire/authority.h"

/* ---- what a head says, as facts ---- */

size_t request_fields(const struct http1_head *head, const uint8_t *base,
                      struct facts_field out[HTTP1_FIELDS_MAX])
{
    for (size_t i = 0; i < head->fields_len; i++) {
        const struct http1_field *field = &head->fields[i];

        out[i] = (struct facts_field){
            .name = span_of(base + field->name_at, field->name_len),
            .value = span_of(base + field->value_at, field->value_len),
        };
    }
    return head->fields_len;
}

uint32_t request_number(struct flow *flow)
{
    return flow->tunnel.requests + ++flow->relay.requests;
}

struct facts_request request_facts(const struct http1_head *head, const uint8_t *base,
                                   struct facts_field fields[HTTP1_FIELDS_MAX],
                                   struct authority_parts *authority)
{
    struct facts_request request = {
        .protocol = head->minor ? "HTTP/1.1" : "HTTP/1.0",
        .method = span_of(base + head->method_at, head->method_len),
        .url = span_of(base + head->target_at, head->target_len),
        .fields = fields,
        .fields_len = request_fields(head, base, fields),
    };

    request.path = exchange_path(request.url);
    if (http1_authority_parts(head, base, authority)) {
        request.host = authority->host;
        request.port = authority->port;
    }
    if (head->upgrade && !span_equal(request.method, BYTES("CONNECT")))
        request.upgrade = facts_find_field(fields, request.fields_len, "upgrade");
    return request;
}

/* ---- refusing ---- */

static struct pending *newest_pending(struct relay *relay)
{
    return &relay->pending[(relay->pending_at + relay->pending_len - 1) % RELAY_PENDING_MAX];
}

/* A request that makes no sense within its head: what is there of its line, and of its host. */
static void refuse_head(struct flow *flow, struct exchange_decision decision)
{
    const struct pipeline *up = &flow->relay.up;
    const uint8_t *base = up->data + up->ready;
    const struct http1_head *head = http1_head(flow->relay.request);
    struct facts_request request = {.stream = request_number(flow)};
    char host[AUTHORITY_HOST_MAX];

    http1_words(span_of(base, up->len - up->ready), &request.method, &request.url);
    request.path = exchange_path(request.url);
    /* with a field the request line is whole: no piece of its authority passes for the host */
    if (head->fields_len && http1_authority(head, base, host, sizeof(host)))
        request.host = host;
    reply_refuse(flow, &request, decision);
}

/* A request whose head went on already. */
static void refuse_open(struct flow *flow, struct exchange_decision decision)
{
    struct relay *relay = &flow->relay;

    relay->refused = true;
    if (relay->pending_len) {
        relay->denied = decision;
        relay->refusal = newest_pending(relay)->exchange;
        relay->pending_len--;
        return;
    }
    /* answered before it was whole: there is nothing left to tell it with but the end */
    err_set(&flow->why, -EPROTO, "the request was refused: %s", decision.reason);
    relay->parting = true;
    if (relay->down.in_head)
        reply_end(relay);
    else
        relay->cut = relay->stuck = true;
}

static void refuse_request(struct flow *flow)
{
    struct exchange_decision decision = {VERDICT_DENY, 400, http1_reason(flow->relay.request)};

    if (flow->relay.up.in_head)
        refuse_head(flow, decision);
    else
        refuse_open(flow, decision);
}

/* Something in a request's body does not go on: upstream shall not take what it has for all of it.
 */
static void stop_request(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    const struct exchange_decision decision = {VERDICT_DENY, 403, flow->verdicts.said};

    relay->up.len = relay->up.parsed = relay->up.ready;
    relay->lives = relay->draining = relay->stopped = false;
    flow->reset_upstream = true;
    refuse_open(flow, decision);
    verdict_onto(flow, relay->refusal.event);
}

/* ... in an answer's, of which the pod has a part: a reset, for a FIN could be the end of all of
 * it. */
static void stop_answer(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    err_set(&flow->why, -EACCES, "%s", flow->verdicts.said);
    relay->down.len = relay->down.parsed = relay->down.ready;
    relay->stopped = false;
    relay->cut = relay->stuck = relay->down.over = true;
    relay->down.ended = false;
}

/* ---- the two directions ---- */

static void to_raw(struct relay *relay)
{
    relay->kind = RELAY_RAW;
    relay->settling = false;
}

/* How much of its body has come; nobody adds that up where nobody looks at it. */
static void note_body(const struct relay *relay, struct exchange *exchange)
{
    if (exchange->event)
        exchange->event->http.request_bytes = http1_body_bytes(relay->request);
}

/* Whose body is on its way up. */
static struct exchange *asking(struct relay *relay)
{
    if (relay->pending_len)
        return &newest_pending(relay)->exchange;
    return exchange_looks(&relay->rest, true) ? &relay->rest : &relay->answering;
}

static void look(struct flow *flow, struct exchange *exchange, bool up, enum http1_part part,
                 struct span bytes)
{
    if (!(part == HTTP1_BODY ? exchange_body : exchange_aside)(flow, exchange, up, bytes))
        flow->relay.stopped = true;
}

static void on_body_up(void *arg, enum http1_part part, struct span bytes)
{
    struct flow *flow = arg;

    look(flow, asking(&flow->relay), true, part, bytes);
}

/* False: it does not go on. */
static bool request_seen(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    const struct http1_head *head = http1_head(relay->request);
    const uint8_t *base = relay->up.data + relay->up.ready;
    struct facts_field fields[HTTP1_FIELDS_MAX];
    struct authority_parts authority;
    struct facts_request request = request_facts(head, base, fields, &authority);
    struct exchange_decision decision = exchange_judge(&flow->facts, &request);
    struct pending *pending;

    verdict_next(flow);
    request.stream = request_number(flow);
    if (decision.verdict != VERDICT_DENY)
        verdict_request(flow, &request, &decision);
    if (decision.verdict == VERDICT_DENY) {
        reply_refuse(flow, &request, decision);
        http1_on_body(flow->relay.request, NULL, NULL);
        if (decision.code == 403)
            reply_spare(&flow->relay, head, &request);
        verdict_onto(flow, flow->relay.refusal.event);
        return false;
    }
    pending = &relay->pending[(relay->pending_at + relay->pending_len++) % RELAY_PENDING_MAX];
    pending->head = span_equal(request.method, BYTES("HEAD"));
    pending->connect = span_equal(request.method, BYTES("CONNECT"));
    pending->upgrade = head->upgrade;
    exchange_begin(flow, &pending->exchange, &request);
    verdict_onto(flow, pending->exchange.event);
    exchange_inspect(flow, &pending->exchange, &request);
    http1_on_body(relay->request, exchange_looks(&pending->exchange, true) ? on_body_up : NULL,
                  flow);
    if (pending->connect)
        tunnel_asked(&flow->tunnel, head, base);
    return true;
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
    if (relay->draining)
        reply_drain(relay);
    while (!relay->refused && !relay->settling && relay->kind == RELAY_HTTP &&
           relay->pending_len < RELAY_PENDING_MAX) {
        status = http1_feed(relay->request, span_of(up->data + up->parsed, up->len - up->parsed),
                            &consumed);
        up->parsed += consumed;
        if (status == HTTP1_DONE && !exchange_body_ended(flow, asking(relay), true))
            relay->stopped = true;
        if (relay->stopped) {
            stop_request(flow);
            return !flow->verdicts.over;
        }
        switch (status) {
        case HTTP1_MORE:
            if (!up->in_head)
                up->ready = up->parsed;
            return true;
        case HTTP1_HEAD:
            if (!request_seen(flow))
                return !flow->verdicts.over;
            up->in_head = false;
            up->ready = up->parsed;
            break;
        case HTTP1_DONE:
            up->in_head = true;
            up->ready = up->parsed;
            if (relay->pending_len)
                note_body(relay, &newest_pending(relay)->exchange);
            exchange_end(flow, &relay->rest, NULL);
            request_awaits_answer(relay);
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

void request_awaits_answer(struct relay *relay)
{
    relay->settling = http1_head(relay->request)->upgrade && relay->pending_len;
    if (!relay->settling)
        http1_upgraded(relay->request, false);
}

/* What follows 101 is not HTTP/1 any more. False: then it is not to follow. */
static bool note_upgrade(struct flow *flow, const struct http1_head *head, const uint8_t *base)
{
    struct span to;

    if (http1_find(head, base, "upgrade", &to) && span_equal_nocase(to, "websocket"))
        return true;
    facts_set_opaque(&flow->facts, OPAQUE_OTHER_PROTOCOL);
    return verdict_unseen_opaque(flow, OPAQUE_OTHER_PROTOCOL);
}

static void on_body_down(void *arg, enum http1_part part, struct span bytes)
{
    struct flow *flow = arg;

    look(flow, &flow->relay.answering, false, part, bytes);
}

static void answered(struct flow *flow, const struct http1_head *head)
{
    struct relay *relay = &flow->relay;
    struct facts_field fields[HTTP1_FIELDS_MAX];
    const struct facts_answer answer = {
        .code = head->code,
        .body = head->body,
        .fields = fields,
        .fields_len = request_fields(head, relay->down.data + relay->down.ready, fields),
    };

    exchange_answered(flow, &relay->answering, &answer);
    http1_on_body(relay->response, exchange_looks(&relay->answering, false) ? on_body_down : NULL,
                  flow);
}

static void tell_answered(struct flow *flow, const struct http1_head *head)
{
    struct relay *relay = &flow->relay;
    struct exchange *exchange = &relay->answering;

    *exchange = relay->pending[relay->pending_at].exchange;
    relay->pending_at = (relay->pending_at + 1) % RELAY_PENDING_MAX;
    relay->pending_len--;
    if (!relay->pending_len && !relay->up.in_head) /* its body is still on its way */
        note_body(relay, exchange);
    answered(flow, head);
}

/* Nobody is told of it, but what it carries may be what shall not go on. */
static void look_at_unasked(struct flow *flow, const struct http1_head *head)
{
    exchange_inspect(flow, &flow->relay.answering, NULL);
    answered(flow, head);
}

/* An answer's head: told, and what it settles. False: the flow ends here. */
static bool answer_seen(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    const struct http1_head *head = http1_head(relay->response);
    const struct pending *pending = &relay->pending[relay->pending_at];
    bool upgraded, led;

    if (!relay->pending_len)
        look_at_unasked(flow, head);
    if (!relay->pending_len || (head->code < 200 && head->code != 101))
        return true; /* unasked, or an interim answer: it goes on, its request is still open */
    upgraded = pending->upgrade && head->code == 101;
    led = pending->connect && head->code / 100 == 2;
    tell_answered(flow, head);
    if (upgraded && !note_upgrade(flow, head, relay->down.data + relay->down.ready))
        return false;
    if (upgraded || led) {
        to_raw(relay);
        if (led)
            exchange_end(flow, &relay->answering, NULL);
        if (led && tunnel_can_enter(flow))
            relay->kind = RELAY_TUNNEL;
    } else if (relay->settling && !relay->pending_len) {
        relay->settling = false;
        http1_upgraded(relay->request, false);
    }
    return true;
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
    struct exchange_decision decision = {VERDICT_DENY, 502, flow->why.text};

    if (relay->refused && !relay->pending_len && relay->down.in_head) {
        reply_refused(flow); /* it began before the request that is owed one was refused */
        return;
    }
    err_set(&flow->why, -EPROTO, "the upstream's answer was refused: %s", reason);
    if (!relay->down.in_head) {
        reply_cut(relay);
        return;
    }
    if (!relay->pending_len) { /* nobody asked: the pod gets what it is owed, then the end */
        reply_end(relay);
        return;
    }
    exchange_refused(flow, &relay->pending[relay->pending_at].exchange, &decision);
    reply_answer(flow, &decision, true);
}

/* False: its end does not go on. */
static bool answer_ends(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    if (!exchange_body_ended(flow, &relay->answering, false))
        return false;
    if (!relay->pending_len && !relay->up.in_head) /* its body is still on its way */
        exchange_rest(&relay->rest, &relay->answering);
    relay->down.in_head = true;
    exchange_end(flow, &relay->answering, NULL);
    return true;
}

/* The end of upstream's bytes can be the end of an answer, or cut one short: then the pod's leg
 * ends as upstream's did, never as if the answer were whole. */
static void feed_end(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    relay->down.over = true;
    if (http1_eof(relay->response) == HTTP1_DONE)
        relay->stopped = !answer_ends(flow);
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
    while (!relay->ending && !down->over && relay->kind == RELAY_HTTP && !reply_is_due(relay)) {
        if (relay->pending_len && http1_idle(relay->response))
            http1_answers(relay->response, relay->pending[relay->pending_at].head,
                          relay->pending[relay->pending_at].connect);
        status =
            http1_feed(relay->response,
                       span_of(down->data + down->parsed, down->len - down->parsed), &consumed);
        down->parsed += consumed;
        if (status == HTTP1_DONE && !relay->stopped)
            relay->stopped = !answer_ends(flow);
        if (relay->stopped) {
            stop_answer(flow);
            return !flow->verdicts.over;
        }
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
        if (status == HTTP1_HEAD && !answer_seen(flow))
            return false;
        if (status == HTTP1_RAW)
            to_raw(relay);
        down->in_head = status == HTTP1_DONE;
        down->ready = down->parsed;
        if (status == HTTP1_DONE && relay->parting)
            reply_end(relay);
    }
    if (relay->kind == RELAY_HTTP && down->ended && !down->over && down->parsed == down->len)
        feed_end(flow);
    if (relay->stopped) {
        stop_answer(flow);
        return !flow->verdicts.over;
    }
    if (!relay->ending && reply_is_due(relay) && reply_fits(down)) /* a slow reader's */
        reply_refused(flow);
    return true;
}
