#include "proxy/flow/splice.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "proxy/flow/steps.h"
#include "proxy/limits.h"

/* What one direction holds at most before its sender waits, when there is memory for it; else a
 * quarter. */
enum { PIPE_BYTES = 256 * 1024 };

void splice_init(struct splice *splice)
{
    splice->up.pipe[0] = splice->up.pipe[1] = -1;
    splice->down.pipe[0] = splice->down.pipe[1] = -1;
}

static int way_open(struct splice_way *way, bool wide)
{
    if (pipe2(way->pipe, O_NONBLOCK | O_CLOEXEC) < 0)
        return -errno;
    /* best effort: an unprivileged limit leaves the default of 64 kB, which works as well */
    if (wide)
        (void)fcntl(way->pipe[1], F_SETPIPE_SZ, PIPE_BYTES);
    return 0;
}

bool splice_open(struct splice *splice, struct worker *worker)
{
    splice->counted = limits_take(worker->parts.limits, LIMIT_FILES, LIMITS_SPLICE_FILES);
    if (!splice->counted)
        return false;
    splice->wide = limits_take(worker->parts.limits, LIMIT_MEMORY, 2 * PIPE_BYTES);
    return way_open(&splice->up, splice->wide) == 0 && way_open(&splice->down, splice->wide) == 0;
}

static void way_fini(struct splice_way *way)
{
    fd_close(&way->pipe[0]);
    fd_close(&way->pipe[1]);
}

void splice_fini(struct splice *splice, struct worker *worker)
{
    way_fini(&splice->up);
    way_fini(&splice->down);
    if (splice->counted)
        limits_give(worker->parts.limits, LIMIT_FILES, LIMITS_SPLICE_FILES);
    if (splice->wide)
        limits_give(worker->parts.limits, LIMIT_MEMORY, 2 * PIPE_BYTES);
    splice->counted = splice->wide = false;
}

static ssize_t move(int from, int to, size_t len)
{
    ssize_t n;

    do
        n = splice(from, NULL, to, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* How much of what waits in the socket goes next, and which bytes these are: while it is open
 * whether the flow turns to TLS, as much as can be looked at. -EAGAIN: nothing is there, and what
 * comes now was not looked at. < 0: broken. */
static ssize_t look(struct flow *flow, const struct leg *from, size_t room)
{
    struct worker *worker = flow->worker;
    ssize_t n;

    if (flow->splice.starttls.said != STARTTLS_LOOKING)
        return (ssize_t)room;
    if (room > sizeof(worker->peeked))
        room = sizeof(worker->peeked);
    do
        n = recv(from->fd, worker->peeked, room, MSG_PEEK);
    while (n < 0 && errno == EINTR);
    if (n < 0) /* an error is said once: splice(2) would take it for an end */
        return -errno;
    return n > 0 ? n : (ssize_t)room;
}

static void looked(struct flow *flow, const struct leg *from, size_t len)
{
    struct starttls *starttls = &flow->splice.starttls;
    struct span bytes = span_of(flow->worker->peeked, len);

    if (starttls->said != STARTTLS_LOOKING)
        return;
    if (from == &flow->pod)
        starttls_client(starttls, bytes);
    else
        starttls_server(starttls, bytes);
    if (starttls->said == STARTTLS_YES)
        flow->facts.opaque = OPAQUE_STARTTLS;
}

/* splice(2) stops before urgent data and says that this is the end, or that there is nothing: what
 * is behind goes through memory. (The urgent byte itself is not passed on.) 0: it is the end;
 * -EAGAIN: there is nothing; < 0: broken. */
static ssize_t move_by_hand(struct flow *flow, const struct splice_way *way, const struct leg *from)
{
    uint8_t *bytes = flow->worker->peeked;
    ssize_t n;

    do
        n = recv(from->fd, bytes, sizeof(flow->worker->peeked), MSG_PEEK);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        do
            n = write(way->pipe[1], bytes, (size_t)n);
        while (n < 0 && errno == EINTR);
    if (n > 0) /* what the pipe took; the same bytes again */
        n = recv(from->fd, bytes, (size_t)n, 0);
    return n < 0 ? -errno : n;
}

/* Into the pipe. A full pipe says EAGAIN, too: so only an empty one tells that the socket is
 * drained. > 0: something happened; < 0: broken. */
static ssize_t fill(struct flow *flow, struct splice_way *way, struct leg *from)
{
    ssize_t n;

    if (way->ended || way->dead || from->connecting || !from->readable || way->held >= PIPE_BYTES)
        return 0;
    n = look(flow, from, PIPE_BYTES - way->held);
    if (n > 0)
        n = move(from->fd, way->pipe[1], (size_t)n);
    if (n == 0 || (n == -EAGAIN && !way->held))
        n = move_by_hand(flow, way, from);
    if (n == -EAGAIN) {
        if (way->held == 0)
            from->readable = false;
        return 0;
    }
    if (n < 0)
        return n;
    if (n == 0) {
        way->ended = from->ended = from->ended_well = true;
        return 1;
    }
    looked(flow, from, (size_t)n);
    way->held += (size_t)n;
    from->rx += (uint64_t)n;
    return n;
}

static ssize_t drain(struct flow *flow, struct splice_way *way, struct leg *to)
{
    ssize_t n = 0;

    if (way->dead || to->connecting)
        return 0;
    if (way->held && to->writable) {
        n = move(way->pipe[0], to->fd, way->held);
        if (n == -EAGAIN) {
            to->writable = false;
            return 0;
        }
        if (n < 0)
            return n;
        way->held -= (size_t)n;
        to->tx += (uint64_t)n;
    }
    if (way->ended && !way->held && !to->shut && !flow->splice.broken)
        return leg_shut(to, true) == 0 ? 1 : n;
    return n;
}

/* A leg was lost. What it sent before may still be in its socket, and is passed on first. */
static void lose(struct flow *flow, struct leg *leg, ssize_t result)
{
    struct splice *ways = &flow->splice;
    bool pod = leg == &flow->pod;

    /* EPIPE: its end came before it took no more (tcp_reset() in CLOSE_WAIT), and still counts */
    if (result != -EPIPE) {
        ways->broken = true;
        if (!flow->why.text[0])
            err_sys(&flow->why, (int)result, pod ? "the program's side" : "the upstream's side");
    }
    *(pod ? &ways->down.dead : &ways->up.dead) = true;
    leg->readable = true;
}

static bool over(const struct splice_way *way)
{
    return way->dead || (way->ended && !way->held);
}

/* One turn in one direction. How much happened. */
static size_t turn(struct flow *flow, struct splice_way *way, struct leg *from, struct leg *to)
{
    ssize_t in = fill(flow, way, from), out = drain(flow, way, to);

    if (in == 0 && out == 0 && way->held) { /* no room to read on until an error */
        in = leg_error(from);
        way->dead |= in < 0 && from == &flow->pod; /* nobody is left who wants it delivered */
    }
    if (in < 0) {
        lose(flow, from, in);
        way->ended = true;
    }
    if (out < 0)
        lose(flow, to, out);
    return (size_t)(in < 0 ? 1 : in) + (size_t)(out < 0 ? 1 : out);
}

enum flow_state splice_run(struct flow *flow)
{
    struct splice *ways = &flow->splice;
    int result = dial_connected(flow);
    size_t moved = 0, now;

    if (result < 0 && result != -EAGAIN) {
        flow->reset = true;
        return FLOW_CLOSING;
    }
    if (flow->timed_out) { /* an end that neither side has sent must not look like one */
        flow->reset = true;
        return FLOW_CLOSING;
    }
    do {
        now = turn(flow, &ways->up, &flow->pod, &flow->upstream);
        now += turn(flow, &ways->down, &flow->upstream, &flow->pod);
        moved += now;
        if (over(&ways->up) && over(&ways->down)) {
            flow->reset = ways->broken;
            return FLOW_CLOSING;
        }
    } while (now && moved < TURN_BYTES);
    if (moved)
        flow->active_ns = clock_ns();
    if (moved >= TURN_BYTES)
        event_active(&flow->again, EV_TIMEOUT, 0);
    return FLOW_SPLICING;
}
