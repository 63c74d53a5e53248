#include "proxy/flow/streams.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include "proxy/flow/steps.h"
#include "proxy/http2/http2.h"
#include "proxy/limits.h"
#include "proxy/wire/authority.h"
#include "proxy/wire/websocket.h"

/* ---- what is told ---- */

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

/* False: it names whom it is for in a way that two servers could read differently. */
static bool facts_of(int32_t id, const struct http2_head *head, struct authority_parts *authority,
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

static bool on_request(void *arg, struct http2_stream *stream, int32_t id,
                       const struct http2_head *head, struct http2_refusal *refusal)
{
    struct flow *flow = arg;
    struct asked *asked = calloc(1, sizeof(*asked));
    struct exchange_decision decision = {VERDICT_DENY, 400, "an authority that makes no sense"};
    struct authority_parts authority;
    struct facts_request request;
    char address[ADDR_TEXT_MAX];

    if (!asked)
        return false;
    flow->relay.requests++;
    verdict_next(flow);
    http2_stream_set_user(stream, asked);
    if (facts_of(id, head, &authority, &request)) {
        exchange_name(flow, &request, address);
        decision = exchange_judge(&flow->facts, &request);
        if (decision.verdict != VERDICT_DENY)
            verdict_request(flow, &request, &decision);
    }
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
    facts_of(id, head, &authority, &request);
    snprintf(text, sizeof(text), "the program's HTTP/2: %s", reason);
    exchange_begin(flow, &exchange, &request);
    exchange_refused(flow, &exchange, &decision);
    exchange_end(flow, &exchange, NULL);
}

static const struct http2_hooks hooks = {
    .room = on_room,
    .request = on_request,
    .answer = on_answer,
    .body = on_body,
    .ended = on_ended,
    .trailers = on_trailers,
    .closed = on_closed,
    .malformed = on_malformed,
};

/* ---- the legs ---- */

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
    if (http2_new(&flow->relay.http2, &hooks, flow) < 0)
        return err_set(&flow->why, -ENOMEM, "refused: not enough memory to read HTTP/2");
    hold_little(&flow->pod);
    hold_little(&flow->upstream);
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
