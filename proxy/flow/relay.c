#include "proxy/flow/relay.h"

#include <errno.h>
#include <string.h>

#include "proxy/flow/query.h"
#include "proxy/flow/request.h"
#include "proxy/flow/steps.h"
#include "proxy/flow/streams.h"
#include "proxy/http2/http2.h"
#include "proxy/wire/http2_preface.h"

#define SECOND_NS UINT64_C(1000000000)

void relay_init(struct relay *relay, enum relay_kind kind)
{
    relay->kind = kind;
    relay->up.in_head = relay->down.in_head = true;
}

void relay_release(struct pipeline *line, struct worker *worker)
{
    worker_buffer_put(worker, line->data, line->size);
    line->data = NULL;
    line->size = line->start = line->ready = line->parsed = line->len = 0;
}

void relay_fini(struct relay *relay, struct worker *worker)
{
    relay_release(&relay->up, worker);
    relay_release(&relay->down, worker);
    http1_free(&relay->request);
    http1_free(&relay->response);
    lookups_fini(&relay->lookups);
}

const char *relay_why_unanswered(const struct flow *flow)
{
    if (flow->why.text[0])
        return flow->why.text;
    return flow->relay.down.ended ? "the server closed without an answer" : NULL;
}

void relay_tell_unanswered(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    const char *why = relay_why_unanswered(flow);

    streams_end(flow);
    exchange_end(flow, &relay->answering, flow->why.text[0] ? flow->why.text : NULL);
    exchange_end(flow, &relay->rest, NULL);
    for (; relay->pending_len; relay->pending_len--) {
        exchange_end(flow, &relay->pending[relay->pending_at].exchange, why);
        relay->pending_at = (relay->pending_at + 1) % RELAY_PENDING_MAX;
    }
    if (relay->refusal.event)
        exchange_refused(flow, &relay->refusal, &relay->denied);
    exchange_end(flow, &relay->refusal, NULL);
}

/* Room for more: bytes that went on make way; a head, or a DNS message, that does not fit makes the
 * buffer grow, up to what http1 takes; else the sender waits: -EAGAIN. Without memory nothing would
 * ever come that ends the wait: -ENOMEM. */
static int make_room(struct pipeline *line, struct worker *worker)
{
    uint8_t *grown;

    if (!line->data) {
        line->data = worker_buffer_get(worker, &line->size);
        return line->data ? 0 : -ENOMEM;
    }
    if (line->len < line->size)
        return 0;
    if (line->start) {
        memmove(line->data, line->data + line->start, line->len - line->start);
        line->ready -= line->start;
        line->parsed -= line->start;
        line->len -= line->start;
        line->start = 0;
        return 0;
    }
    if (!line->in_head || line->ready || line->size > HTTP1_HEAD_MAX)
        return -EAGAIN;
    grown = worker_buffer_grow(worker, line->data, line->len, &line->size);
    if (!grown)
        return -ENOMEM;
    line->data = grown;
    return 0;
}

/* One read. > 0: bytes came or the end was read; 0: nothing to do; < 0: broken. */
static ssize_t pull(struct flow *flow, struct pipeline *line, struct leg *from)
{
    ssize_t n;

    if (line->ended || from->connecting || flow->relay.kind == RELAY_TUNNEL)
        return 0;
    n = make_room(line, flow->worker);
    if (n == -ENOMEM)
        err_set(&flow->why, -ENOMEM, "refused: not enough memory for a head");
    if (n < 0)
        return n == -EAGAIN ? 0 : n;
    n = leg_read(from, line->data + line->len, line->size - line->len);
    if (n > 0) {
        if (flow->taps && from == &flow->pod)
            tap_bytes(flow, TAP_PROGRAM, line->data + line->len, (size_t)n);
        line->len += (size_t)n;
        flow->relay.said = true;
        return n;
    }
    if (n != -EAGAIN && from == &flow->pod && from->ssl)
        refusal_note(flow);
    if (n == 0) {
        line->ended = true;
        line->ended_well = from->ended_well;
        return 1;
    }
    return n == -EAGAIN ? 0 : n;
}

/* All bytes were looked at; requests may still have to wait for those before them. Of DNS the rest
 * is a part of a message. */
static bool looked_through(const struct relay *relay, const struct pipeline *line)
{
    return relay->kind == RELAY_DNS || line->parsed == line->len;
}

/* One write of what is ready; the end is passed on when everything before it was. */
static ssize_t push(struct flow *flow, struct pipeline *line, struct leg *to)
{
    ssize_t n = 0;

    if (to->connecting)
        return 0;
    if (line->ready > line->start) {
        n = leg_write(to, line->data + line->start, line->ready - line->start);
        if (n == -EAGAIN)
            return 0;
        if (n < 0)
            return n;
        if (flow->taps && to == &flow->pod)
            tap_bytes(flow, TAP_SERVER, line->data + line->start, (size_t)n);
        line->start += (size_t)n;
    }
    if (line->data && line->start == line->len)
        relay_release(line, flow->worker);
    if (line->ended && line->start == line->ready && looked_through(&flow->relay, line) &&
        !to->shut)
        return leg_shut(to, line->ended_well) == 0 ? 1 : n;
    return n;
}

/* A server that speaks first speaks neither HTTP; but of HTTP/2 its SETTINGS may come before the
 * client's preface is here. */
enum relay_kind relay_decide(struct span up, struct span down, bool ended)
{
    int http1 = down.len ? 0 : http1_looks_like_request(up);
    int http2 = down.len && !http2_looks_like_settings(down) ? 0 : http2_looks_like_preface(up);

    if (http2 == 1)
        return RELAY_HTTP2;
    if (http1 == 1)
        return RELAY_HTTP;
    return ended || (http1 == 0 && http2 == 0) ? RELAY_RAW : RELAY_UNDECIDED;
}

static void decide(struct relay *relay)
{
    const struct pipeline *up = &relay->up, *down = &relay->down;
    bool ended = up->ended || (down->ended && down->len);

    if (up->len || up->ended || down->len)
        relay->kind =
            relay_decide(span_of(up->data, up->len), span_of(down->data, down->len), ended);
}

/* False: it does not go on. */
static bool pass_raw(struct flow *flow, struct pipeline *line)
{
    struct exchange *upgraded = &flow->relay.answering;
    bool up = line == &flow->relay.up;

    if (exchange_looks(upgraded, up) && line->parsed < line->len &&
        !exchange_body(flow, upgraded, up,
                       span_of(line->data + line->parsed, line->len - line->parsed))) {
        err_set(&flow->why, -EACCES, "%s", flow->verdicts.said);
        return false;
    }
    line->parsed = line->ready = line->len;
    return true;
}

static bool think(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    if (relay->kind == RELAY_UNDECIDED)
        decide(relay);
    if (relay->kind == RELAY_HTTP && (!request_feed_up(flow) || !request_feed_down(flow)))
        return false;
    if (relay->kind == RELAY_DNS && !query_feed(flow))
        return false;
    if (relay->kind == RELAY_RAW) { /* also from inside the calls above */
        if (!relay->requests && flow->facts.visibility != VISIBILITY_OPAQUE &&
            (relay->up.len || relay->down.len)) {
            facts_set_opaque(&flow->facts, relay->up.len ? OPAQUE_UNKNOWN : OPAQUE_SERVER_FIRST);
            if (!relay->requests && !relay->answering.inspection)
                exchange_inspect(flow, &relay->answering, NULL);
            if (!verdict_unseen_opaque(flow, flow->facts.opaque))
                return false;
        }
        return pass_raw(flow, &relay->up) && pass_raw(flow, &relay->down);
    }
    return true;
}

bool relay_awaits_head(const struct pipeline *line, enum relay_kind kind)
{
    if (!line->in_head || line->len == line->ready || line->ended)
        return false;
    return kind != RELAY_HTTP || line->parsed == line->len;
}

static void time_head(struct pipeline *line, enum relay_kind kind, uint64_t now)
{
    if (!relay_awaits_head(line, kind))
        line->head_ns = 0;
    else if (!line->head_ns)
        line->head_ns = now;
}

const struct pipeline *relay_late(const struct relay *relay)
{
    uint64_t up = relay->up.head_ns, down = relay->down.head_ns;

    if (relay->kind == RELAY_RAW || (!up && !down))
        return NULL;
    return up && (!down || up <= down) ? &relay->up : &relay->down;
}

uint64_t relay_head_due_ns(const struct relay *relay)
{
    const struct pipeline *late = relay_late(relay);
    int seconds = relay->kind == RELAY_UNDECIDED ? RELAY_UNDECIDED_SECONDS : RELAY_HEAD_SECONDS;

    return late ? late->head_ns + (uint64_t)seconds * SECOND_NS : 0;
}

/* The timer went off. False: bytes that may have become HTTP are bytes to pass on, as they are in
 * the clear (peek.c): their sender may wait for an answer to them. */
static bool timed_out(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    uint64_t due = relay_head_due_ns(relay);

    if (!due || clock_ns() < due)
        return true;
    if (relay->kind == RELAY_UNDECIDED) {
        relay->kind = RELAY_RAW;
        relay->up.head_ns = relay->down.head_ns = 0;
        flow->timed_out = false;
        return false;
    }
    err_set(&flow->why, -ETIMEDOUT, "%s took over %d s for a head",
            relay_late(relay) == &relay->up ? "the program" : "the server", RELAY_HEAD_SECONDS);
    return true;
}

/* Both ends were passed on, or nobody can want anything more. */
static bool finished(const struct flow *flow)
{
    const struct relay *relay = &flow->relay;
    bool delivered = relay->down.start == relay->down.len;

    if (relay->ending)
        return delivered;
    if (flow->pod.shut && (flow->upstream.shut || relay->stuck))
        return true;
    return relay->kind == RELAY_HTTP && relay->up.ended && relay->up.start == relay->up.ready &&
           looked_through(relay, &relay->up) && relay->pending_len == 0 && relay->down.in_head &&
           delivered;
}

/* Every request that went up has had its whole answer. */
static bool answered_in_full(const struct relay *relay)
{
    if (relay->kind == RELAY_DNS)
        return relay->lookups.asked && !relay->lookups.open_len;
    if (relay->kind == RELAY_HTTP2)
        return relay->requests && !http2_open(relay->http2);
    return relay->kind == RELAY_HTTP && relay->requests && !relay->pending_len &&
           relay->down.in_head;
}

/* The first failure is told; but not that a connection which has served its purpose is reset:
 * programs close with our close_notify unread all the time. */
void relay_note_failure(struct flow *flow, ssize_t result, const struct leg *leg)
{
    const char *whose = leg == &flow->pod ? "the program's side" : "the upstream's side";

    if (result >= 0 || flow->why.text[0] || (answered_in_full(&flow->relay) && !leg->chatters))
        return;
    if (leg == &flow->upstream && leg->alert)
        dial_explain_alert(flow);
    else if (leg->alert)
        err_set(&flow->why, (int)result, "%s: TLS alert '%s'", whose, leg_alert_name(leg));
    else if (leg->chatters)
        err_set(&flow->why, (int)result, "%s: handshake messages (KeyUpdate and such) without end",
                whose);
    else if (result == -EPROTO)
        err_set(&flow->why, (int)result, "%s: its TLS makes no sense", whose);
    else
        err_sys(&flow->why, (int)result, "%s", whose);
}

/* What belongs to the CONNECT and its answer is where it goes, or cannot get there. */
static bool gone_on(const struct relay *relay)
{
    return relay->down.start == relay->down.ready &&
           (relay->stuck || relay->up.start == relay->up.ready);
}

/* The proxy takes no more: no tunnel leads through it. */
static enum flow_state lost_tunnel(struct flow *flow)
{
    if (!flow->why.text[0])
        err_set(&flow->why, -EPIPE, "the proxy's side was lost behind its answer to CONNECT");
    flow->reset = true;
    return FLOW_CLOSING;
}

enum flow_state relay(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    int result = dial_connected(flow);
    ssize_t n[4] = {0};
    size_t moved = 0;

    if (result < 0 && result != -EAGAIN) {
        flow->reset = true;
        return FLOW_CLOSING;
    }
    if (flow->timed_out && timed_out(flow)) {
        flow->reset = true; /* an end that neither side has sent must not look like one */
        return FLOW_CLOSING;
    }
    if (relay->kind == RELAY_HTTP2)
        return streams_run(flow);
    do {
        n[0] = (relay->refused && !relay->draining) || relay->stuck
                   ? 0
                   : pull(flow, &relay->up, &flow->pod);
        n[1] = relay->ending || relay->cut ? 0 : pull(flow, &relay->down, &flow->upstream);
        /* tickets before the answer, as servers do: who has read that may leave */
        if ((flow->resume.due && resume_tickets(flow) < 0) || !think(flow)) {
            flow->reset = true;
            return FLOW_CLOSING;
        }
        if (relay->kind == RELAY_HTTP2)
            return streams_run(flow);
        n[2] = relay->ending || relay->stuck ? 0 : push(flow, &relay->up, &flow->upstream);
        n[3] = push(flow, &relay->down, &flow->pod);
        if (n[2] < 0) { /* the answer that says why may have come already */
            relay->stuck = true;
            flow->upstream.readable = true;
            n[2] = 1;
        }
        relay->cut = relay->cut || n[1] < 0;
        relay_note_failure(flow, n[1], &flow->upstream);
        relay_note_failure(flow, n[0] < 0 ? n[0] : n[3], &flow->pod);
        if (n[0] < 0 || n[3] < 0 || (relay->cut && relay->down.start == relay->down.ready)) {
            /* a client in the middle of its upload gets time to read why it was stopped */
            flow->reset = n[0] < 0 || n[3] < 0 || !answered_in_full(relay);
            return FLOW_CLOSING;
        }
        for (size_t i = 0; i < ARRAY_SIZE(n); i++)
            moved += n[i] > 0 ? (size_t)n[i] : 0;
        if (finished(flow))
            return FLOW_CLOSING;
        if (relay->kind == RELAY_TUNNEL && gone_on(relay))
            return relay->stuck ? lost_tunnel(flow) : tunnel_enter(flow);
    } while ((n[0] > 0 || n[1] > 0 || n[2] > 0 || n[3] > 0) && moved < TURN_BYTES);
    result = moved ? 0 : leg_error(&flow->pod); /* there may be no room to read until it is said */
    if (result < 0) {
        relay_note_failure(flow, result, &flow->pod);
        flow->reset = true;
        return FLOW_CLOSING;
    }
    if (moved) {
        flow->active_ns = clock_ns();
        time_head(&relay->up, relay->kind, flow->active_ns);
        time_head(&relay->down, relay->kind, flow->active_ns);
    }
    if (moved >= TURN_BYTES)
        event_active(&flow->again, EV_TIMEOUT, 0);
    return FLOW_RELAYING;
}
