#include "proxy/flow/streams.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "proxy/flow/steps.h"
#include "proxy/flow/streams_own.h"

enum { TOGETHER_MAX = 8192 }; /* more is worth a write of its own */

static struct leg *leg_of(struct flow *flow, enum http2_side side)
{
    return side == HTTP2_POD ? &flow->pod : &flow->upstream;
}

/* The pipeline whose sender is that side; its bytes are those for the other one. */
static struct pipeline *line_of(struct flow *flow, enum http2_side sender)
{
    return sender == HTTP2_POD ? &flow->relay.up : &flow->relay.down;
}

static enum http2_side opposite(enum http2_side side)
{
    return side == HTTP2_POD ? HTTP2_UPSTREAM : HTTP2_POD;
}

/* What was read before it was known to be HTTP/2 is its beginning. */
static void feed_read(struct flow *flow, enum http2_side from)
{
    struct relay *relay = &flow->relay;
    struct pipeline *line = line_of(flow, from);

    if (line->len)
        http2_feed(relay->http2, from, span_of(line->data, line->len), clock_ns());
    relay_release(line, flow->worker);
    if (line->ended)
        http2_ended(relay->http2, from);
}

/* What the kernel holds of one stream keeps the others' bytes waiting, whatever their priorities.
 */
static void hold_little(const struct leg *leg)
{
    static const int unsent = 128 << 10;

    setsockopt(leg->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
}

static int begin(struct flow *flow)
{
    if (http2_new(&flow->relay.http2, &streams_hooks, flow) < 0)
        return err_set(&flow->why, -ENOMEM, "refused: not enough memory to read HTTP/2");
    hold_little(&flow->pod);
    hold_little(&flow->upstream);
    if (!flow->pod.ssl) /* else it was agreed */
        report_early(flow, true, false);
    feed_read(flow, HTTP2_POD);
    feed_read(flow, HTTP2_UPSTREAM);
    return 0;
}

/* One read, and what came with it: servers write a record for each answer, and several that came
 * together are to go on as one. > 0: bytes came or the end was read; 0: nothing to do; < 0: broken.
 */
static ssize_t pull(struct flow *flow, enum http2_side from)
{
    struct relay *relay = &flow->relay;
    struct worker *worker = flow->worker;
    struct pipeline *line = line_of(flow, from);
    struct leg *leg = leg_of(flow, from);
    size_t len = 0;
    ssize_t n;

    if (line->ended || leg->connecting || !http2_wants(relay->http2, from))
        return 0;
    do {
        n = leg_read(leg, worker->scratch + len, sizeof(worker->scratch) - len);
        len += n > 0 ? (size_t)n : 0;
    } while (n > 0 && leg_holds(leg) && len < TOGETHER_MAX);
    if (len) {
        if (flow->taps && from == HTTP2_POD)
            tap_bytes(flow, TAP_PROGRAM, worker->scratch, len);
        relay->said = true;
        http2_feed(relay->http2, from, span_of(worker->scratch, len), clock_ns());
    }
    if (n > 0 || n == -EAGAIN)
        return (ssize_t)len;
    if (from == HTTP2_POD && leg->ssl)
        refusal_note(flow);
    relay->left = relay->left || (from == HTTP2_POD && !relay->down.ended);
    line->ended = true;
    line->ended_well = n == 0 && leg->ended_well;
    http2_ended(relay->http2, from);
    return n < 0 ? n : 1;
}

/* One write. The end is passed on when everything before it was. */
static ssize_t push(struct flow *flow, enum http2_side to)
{
    struct http2 *http2 = flow->relay.http2;
    struct pipeline *line = line_of(flow, opposite(to));
    struct leg *leg = leg_of(flow, to);
    ssize_t n = 0;

    if (leg->connecting || leg->shut)
        return 0;
    if (line->start == line->len && http2_has(http2, to)) {
        if (!line->data)
            line->data = worker_buffer_get(flow->worker, &line->size);
        if (!line->data)
            return -ENOMEM;
        line->start = 0;
        line->len = http2_pull(http2, to, line->data, line->size);
    }
    if (line->len) {
        n = leg_write(leg, line->data + line->start, line->len - line->start);
        if (n < 0)
            return n == -EAGAIN ? 0 : n;
        if (flow->taps && to == HTTP2_POD)
            tap_bytes(flow, TAP_SERVER, line->data + line->start, (size_t)n);
        line->start += (size_t)n;
    }
    if (line->start < line->len)
        return n;
    http2_written(http2, to);
    relay_release(line, flow->worker);
    if (!n && http2_finished(http2, to) && !(flow->relay.cut && to == HTTP2_POD))
        return leg_shut(leg, line->ended ? line->ended_well : true) == 0 ? 1 : 0;
    return n;
}

/* Both ends were passed on, or nobody can want anything more. */
static bool finished(const struct flow *flow)
{
    const struct relay *relay = &flow->relay;

    if (http2_fault(relay->http2))
        return flow->pod.shut && (flow->upstream.shut || relay->stuck);
    if (flow->pod.shut)
        return true; /* whatever upstream says would be nobody's */
    return relay->up.ended && flow->upstream.shut && !http2_open(relay->http2);
}

static void note_fault(struct flow *flow)
{
    const char *fault = http2_fault(flow->relay.http2);

    if (fault && !flow->why.text[0])
        err_set(&flow->why, -EPROTO, "%s", fault);
}

static void time_head(struct pipeline *line, const struct http2 *http2, enum http2_side from,
                      uint64_t now)
{
    if (line->ended || !http2_awaits(http2, from))
        line->head_ns = 0;
    else if (!line->head_ns)
        line->head_ns = now;
}

/* What broke: the end of the flow, or that of one side of it. */
static bool lost(struct flow *flow, const ssize_t n[4])
{
    struct relay *relay = &flow->relay;

    relay_note_failure(flow, n[1], &flow->upstream);
    relay_note_failure(flow, n[0] < 0 ? n[0] : n[3], &flow->pod);
    if (n[2] < 0) { /* what it said before may say why */
        relay->stuck = true;
        flow->upstream.readable = true;
    }
    return n[0] < 0 || n[3] < 0 ||
           (relay->cut && relay->down.start == relay->down.len &&
            http2_finished(relay->http2, HTTP2_POD));
}

enum flow_state streams_run(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    size_t moved = 0;
    ssize_t n[4];
    int result;

    if (!relay->http2 && begin(flow) < 0) {
        flow->reset = true;
        return FLOW_CLOSING;
    }
    do {
        /* upstream's first: its SETTINGS may be there, and say how many streams it takes */
        n[1] = pull(flow, HTTP2_UPSTREAM);
        n[0] = pull(flow, HTTP2_POD);
        if (flow->verdicts.over) {
            flow->reset = true;
            return FLOW_CLOSING;
        }
        /* tickets before the answer, as servers do */
        if (flow->resume.due && resume_tickets(flow) < 0) {
            flow->reset = true;
            return FLOW_CLOSING;
        }
        relay->cut = relay->cut || n[1] < 0;
        n[2] = relay->stuck || n[0] < 0 ? 0 : push(flow, HTTP2_UPSTREAM); /* no FIN before an RST */
        n[3] = n[0] < 0 ? 0 : push(flow, HTTP2_POD);
        if (n[3] < 0 && n[0] >= 0 && !relay->up.ended) { /* how did it leave? */
            flow->pod.readable = true;
            n[0] = pull(flow, HTTP2_POD);
        }
        note_fault(flow);
        if (lost(flow, n)) {
            flow->reset = n[0] < 0 || n[3] < 0 || http2_open(relay->http2);
            return FLOW_CLOSING;
        }
        if (finished(flow)) {
            /* the pod's last words have gone on; what upstream would say back is nobody's */
            leg_shut(&flow->upstream, !relay->up.ended || relay->up.ended_well);
            return FLOW_CLOSING;
        }
        for (size_t i = 0; i < ARRAY_SIZE(n); i++)
            moved += n[i] > 0 ? (size_t)n[i] : 0;
    } while ((n[0] > 0 || n[1] > 0 || n[2] > 0 || n[3] > 0) && moved < TURN_BYTES);
    result = moved ? 0 : leg_error(&flow->pod); /* there may be no room to read until it is said */
    if (result < 0) {
        relay_note_failure(flow, result, &flow->pod);
        flow->reset = true;
        return FLOW_CLOSING;
    }
    if (moved) {
        flow->active_ns = clock_ns();
        time_head(&relay->up, relay->http2, HTTP2_POD, flow->active_ns);
        time_head(&relay->down, relay->http2, HTTP2_UPSTREAM, flow->active_ns);
    }
    if (moved >= TURN_BYTES)
        event_active(&flow->again, EV_TIMEOUT, 0);
    return FLOW_RELAYING;
}

void streams_retire(struct flow *flow)
{
    if (flow->state != FLOW_RELAYING || !flow->relay.http2)
        return;
    http2_retire(flow->relay.http2);
    event_active(&flow->again, EV_TIMEOUT, 0);
}

void streams_end(struct flow *flow)
{
    if (!flow->relay.http2)
        return;
    http2_free(&flow->relay.http2);
    if (!flow->why.text[0])
        flow->why = flow->relay.late;
    if (flow->relay.unread) /* only now: the others of its requests were read */
        facts_set_opaque(&flow->facts, OPAQUE_OTHER_PROTOCOL);
}

bool streams_last(const struct flow *flow)
{
    const struct relay *relay = &flow->relay;

    return relay->http2 && http2_open(relay->http2) && !http2_fault(relay->http2) &&
           !relay->up.ended && !relay->down.ended;
}
