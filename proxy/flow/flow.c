#include "proxy/flow/flow.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/log.h"
#include "proxy/enforce/act.h"
#include "proxy/flow/inspection_plan.h"
#include "proxy/flow/steps.h"
#include "proxy/flow/streams.h"
#include "proxy/kernel/stream.h"

#define TO(state) (1u << (state))

/* last_words: wait for the pod to take its last bytes and go, then close */
static enum flow_state last_words(struct flow *flow);

static const struct {
    const char *name;
    uint32_t may_become;
    enum flow_state (*step)(struct flow *flow); /* NULL: the end */
    int seconds; /* until timed_out; renewed by moving bytes where `silence` */
    bool silence;
} flow_states[] = {
    [FLOW_MEETING] = {"meeting", TO(FLOW_JUDGING) | TO(FLOW_CLOSING), peek, 10, false},
    [FLOW_JUDGING] = {"judging",
                      TO(FLOW_DIALLING) | TO(FLOW_RELAYING) | TO(FLOW_SPLICING) | TO(FLOW_CLOSING),
                      judge, 10, false},
    [FLOW_DIALLING] = {"dialling",
                       TO(FLOW_OPENING) | TO(FLOW_RELAYING) | TO(FLOW_SPLICING) | TO(FLOW_CLOSING),
                       dial, 10, false},
    [FLOW_OPENING] = {"opening", TO(FLOW_RELAYING) | TO(FLOW_CLOSING), open_pod, 10, false},
    [FLOW_RELAYING] = {"relaying", TO(FLOW_MEETING) | TO(FLOW_CLOSING), relay, 3600, true},
    [FLOW_SPLICING] = {"splicing", TO(FLOW_CLOSING), splice_run, 3600, true},
    [FLOW_WATCHING] = {"watching", TO(FLOW_CLOSED), NULL, 0, false},
    [FLOW_CLOSING] = {"closing", TO(FLOW_CLOSED), last_words, 2, false},
    [FLOW_CLOSED] = {"closed", 0, NULL, 0, false},
};
_Static_assert(ARRAY_SIZE(flow_states) == FLOW_MAX, "name every state");

const char *flow_state_name(enum flow_state state)
{
    return flow_states[state].name;
}

enum { HALF_CLOSED_SECONDS = 300, HELD_SECONDS = 5 };
#define SECOND_NS UINT64_C(1000000000)

static int limit_seconds(const struct flow *flow)
{
    if (flow_states[flow->state].silence && flow->half_closed)
        return HALF_CLOSED_SECONDS;
    return flow_states[flow->state].seconds;
}

static uint64_t silence_ends_ns(const struct flow *flow)
{
    if (flow->state == FLOW_RELAYING && !flow->half_closed && streams_last(flow))
        return UINT64_MAX; /* a stream may be silent for as long as both ends like */
    return flow->active_ns + (uint64_t)limit_seconds(flow) * SECOND_NS;
}

/* Of a state in which silence counts, or a head that does not end. */
static uint64_t patience_ends_ns(const struct flow *flow)
{
    uint64_t end = silence_ends_ns(flow);
    uint64_t head = flow->state == FLOW_RELAYING ? relay_head_due_ns(&flow->relay) : 0;

    return head && head < end ? head : end;
}

static int arm(struct flow *flow)
{
    uint64_t now = clock_ns(), left = (uint64_t)limit_seconds(flow) * SECOND_NS;
    struct timeval wait;

    flow->due_ns = flow_states[flow->state].silence ? patience_ends_ns(flow) : now + left;
    left = (flow->due_ns > now ? flow->due_ns - now : 0) + 1000; /* not a moment too early */
    wait = (struct timeval){.tv_sec = (time_t)(left / SECOND_NS),
                            .tv_usec = (suseconds_t)(left % SECOND_NS / 1000)};
    if (event_add(&flow->timer, &wait) < 0)
        return err_set(&flow->why, -ENOMEM, "no memory for a connection's time-out");
    return 0;
}

/* The flow is over: told, off the books, and freed after the loop's turn. */
static void bury(struct flow *flow)
{
    struct worker *worker = flow->worker;

    kernel_stream_end(flow);
    relay_tell_unanswered(flow);
    report_done(flow);
    tap_end(flow);
    event_del(&flow->timer);
    event_del(&flow->again);
    relay_fini(&flow->relay, worker);
    splice_fini(&flow->splice, worker);
    resume_fini(&flow->resume);
    inspection_plan_unref(&flow->plan);
    leg_fini(&flow->upstream, flow->reset || flow->reset_upstream);
    leg_fini(&flow->pod, flow->reset);
    if (flow->facts.who.process)
        identity_flow_end(worker->parts.identity, &flow->facts.who.process);
    *flow->link = flow->next;
    if (flow->next)
        flow->next->link = flow->link;
    flow->next = worker->dead;
    worker->dead = flow;
    event_active(worker->reaper, EV_TIMEOUT, 0);
}

static void flow_move(struct flow *flow, enum flow_state to)
{
    if (!(flow_states[flow->state].may_become & TO(to))) {
        log_error("a flow wanted to go from %s to %s; it is ended, please report this",
                  flow_states[flow->state].name, flow_states[to].name);
        flow->reset = true;
        to = FLOW_CLOSED;
    }
    flow->timed_out = false;
    flow->state = to;
    if (to != FLOW_CLOSED && arm(flow) < 0) {
        flow->reset = true;
        flow->state = FLOW_CLOSED;
    }
    if (flow->state == FLOW_CLOSED)
        bury(flow);
}

static void flow_run(struct flow *flow)
{
    enum flow_state next;

    while (flow->state != FLOW_CLOSED) {
        next = flow_states[flow->state].step(flow);
        if (next == flow->state)
            break;
        flow_move(flow, next);
    }
    if (flow->state != FLOW_CLOSED && !flow->half_closed &&
        (flow->pod.shut || flow->upstream.shut || flow->splice.broken || flow->relay.cut))
        flow->half_closed = true; /* the end that is left has less time */
    if (flow_states[flow->state].silence && patience_ends_ns(flow) < flow->due_ns)
        (void)arm(flow); /* without memory it goes off later */
}

static enum flow_state last_words(struct flow *flow)
{
    uint8_t discarded[4096];
    ssize_t n;

    if (flow->reset || flow->timed_out)
        return FLOW_CLOSED;
    leg_fini(&flow->upstream, flow->reset_upstream);
    if (leg_shut(&flow->pod, true) < 0)
        return FLOW_CLOSING;
    /* closing with bytes unread would send RST, and that can overtake the last words */
    do
        n = recv(flow->pod.fd, discarded, sizeof(discarded), 0);
    while (n > 0 || (n < 0 && errno == EINTR));
    return n < 0 && errno == EAGAIN ? FLOW_CLOSING : FLOW_CLOSED;
}

/* Streams come on both legs of HTTP/2 at once: it runs when both have said what there is, so that
 * what they bring goes on in one write. */
static void leg_on_ready(struct flow *flow)
{
    if (flow->state == FLOW_RELAYING && flow->relay.http2)
        event_active(&flow->again, EV_TIMEOUT, 0);
    else
        flow_run(flow);
}

static void pod_on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct flow *flow = arg;

    (void)fd;
    leg_ready(&flow->pod, what);
    leg_on_ready(flow);
}

static void upstream_on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct flow *flow = arg;

    (void)fd;
    leg_ready(&flow->upstream, what);
    leg_on_ready(flow);
}

/* A program that a policy froze is not late: its flows wait, for it may be thawed; but for
 * those that are over. */
static bool is_held(struct flow *flow)
{
    struct pod *pod = flow->facts.who.pod;

    if (flow->state == FLOW_CLOSING || !pod || !flow->worker->parts.act ||
        !act_holds(flow->worker->parts.act, pod))
        return false;
    flow->active_ns = clock_ns();
    return true;
}

/* Silence is measured from the last byte, so moving bytes need not touch the timer. */
static void timer_on_due(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval held = {.tv_sec = HELD_SECONDS};
    struct flow *flow = arg;

    (void)fd;
    (void)what;
    if (is_held(flow) && event_add(&flow->timer, &held) == 0)
        return;
    if (flow_states[flow->state].silence && clock_ns() < patience_ends_ns(flow) && arm(flow) == 0)
        return;
    flow->due_ns = UINT64_MAX; /* who stays arms it anew */
    if (flow_states[flow->state].silence && !flow->why.text[0] &&
        clock_ns() >= silence_ends_ns(flow))
        err_set(&flow->why, -ETIMEDOUT, "no byte moved for %d s", limit_seconds(flow));
    flow->timed_out = true;
    flow_run(flow);
}

static void again_on_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    flow_run(arg);
}

int flow_redial(struct flow *flow)
{
    int result;

    leg_fini(&flow->upstream, false);
    leg_init(&flow->upstream, flow->worker);
    result = dial_begin(flow);
    if (result == 0)
        result = leg_watch(&flow->upstream, flow->upstream.fd, upstream_on_ready, flow);
    return result;
}

static struct flow *make(struct worker *worker, const struct origin *origin,
                         struct process *process, struct pod *pod)
{
    struct flow *flow = calloc(1, sizeof(*flow));

    if (flow)
        flow->done = malloc(sizeof(*flow->done));
    if (!flow || !flow->done) {
        free(flow);
        if (process)
            identity_flow_end(worker->parts.identity, &process);
        return NULL;
    }
    flow->worker = worker;
    flow->origin = *origin;
    flow->facts.who.process = process;
    flow->facts.who.pod = pod_ref(pod);
    flow->facts.where.src = origin->src;
    flow->facts.where.dst = origin->dst;
    flow->facts.where.socket_cookie = origin->cookie;
    flow->active_ns = clock_ns();
    flow->next = worker->flows;
    flow->link = &worker->flows;
    if (flow->next)
        flow->next->link = &flow->next;
    worker->flows = flow;
    leg_init(&flow->pod, worker);
    leg_init(&flow->upstream, worker);
    splice_init(&flow->splice);
    tap_look(flow);
    evtimer_assign(&flow->timer, worker->base, timer_on_due, flow);
    evtimer_assign(&flow->again, worker->base, again_on_turn, flow);
    return flow;
}

struct flow *flow_new(struct worker *worker, int fd, int upstream, const struct origin *origin,
                      struct process *process, struct pod *pod, struct credentials *credentials)
{
    struct flow *flow = make(worker, origin, process, pod);

    if (!flow) {
        close(fd);
        fd_close(&upstream);
        return NULL;
    }
    flow->credentials = credentials_ref(credentials);
    flow->upstream.fd = upstream;
    verdict_begin(flow);
    if (leg_watch(&flow->pod, fd, pod_on_ready, flow) < 0 || arm(flow) < 0 ||
        !verdict_connect(flow) || dial_begin(flow) < 0 ||
        leg_watch(&flow->upstream, flow->upstream.fd, upstream_on_ready, flow) < 0) {
        flow->reset = true;
        flow_move(flow, FLOW_CLOSING);
    }
    flow_run(flow);
    return flow;
}

struct flow *flow_watch(struct worker *worker, const struct origin *origin, struct process *process,
                        struct pod *pod, struct stream *stream, bool judged)
{
    struct flow *flow = make(worker, origin, process, pod);

    if (!flow) {
        kernel_stream_free(&stream);
        return NULL;
    }
    flow->state = FLOW_WATCHING;
    flow->facts.route = ROUTE_KERNEL;
    flow->stream = stream;
    flow->gone = true;
    if (judged)
        verdict_begin(flow);
    return flow;
}

void flow_watched(struct flow *flow)
{
    if (flow->state == FLOW_WATCHING)
        flow_move(flow, FLOW_CLOSED);
}

void flow_abort(struct flow *flow)
{
    if (flow->state == FLOW_CLOSED)
        return;
    flow->reset = true;
    flow->state = FLOW_CLOSED;
    bury(flow);
}

void flow_free(struct flow **flow)
{
    if (!*flow)
        return;
    tls_rules_fini(&(*flow)->tls_rules);
    verdict_end(*flow);
    pod_unref(&(*flow)->facts.who.pod);
    credentials_unref(&(*flow)->credentials);
    kernel_stream_free(&(*flow)->stream);
    free((*flow)->alpn);
    free(TAKE(*flow));
}
