#include "proxy/flow/splice.h"

#include <errno.h>
#include <fcntl.h>

#include "proxy/flow/steps.h"
#include "proxy/limits.h"

enum {
    PIPE_BYTES = 256 * 1024, /* what one direction holds at most before its sender waits */
    TURN_BYTES = 1 << 20,
};

void splice_init(struct splice *splice)
{
    splice->up.pipe[0] = splice->up.pipe[1] = -1;
    splice->down.pipe[0] = splice->down.pipe[1] = -1;
}

static int way_open(struct splice_way *way)
{
    if (pipe2(way->pipe, O_NONBLOCK | O_CLOEXEC) < 0)
        return -errno;
    /* best effort: an unprivileged limit leaves the default of 64 kB, which works as well */
    (void)fcntl(way->pipe[1], F_SETPIPE_SZ, PIPE_BYTES);
    return 0;
}

bool splice_open(struct splice *splice, struct worker *worker)
{
    splice->counted = limits_take(worker->parts.limits, LIMIT_FILES, LIMITS_SPLICE_FILES);
    return splice->counted && way_open(&splice->up) == 0 && way_open(&splice->down) == 0;
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
    splice->counted = false;
}

static ssize_t move(int from, int to, size_t len)
{
    ssize_t n;

    do
        n = splice(from, NULL, to, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Into the pipe. A full pipe says EAGAIN, too: so only an empty one tells that the socket is
 * drained. > 0: something happened; < 0: broken. */
static ssize_t fill(struct splice_way *way, struct leg *from)
{
    ssize_t n;

    if (way->ended || from->connecting || !from->readable || way->held >= PIPE_BYTES)
        return 0;
    n = move(from->fd, way->pipe[1], PIPE_BYTES - way->held);
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
    way->held += (size_t)n;
    from->rx += (uint64_t)n;
    return n;
}

static ssize_t drain(struct splice_way *way, struct leg *to)
{
    ssize_t n = 0;

    if (to->connecting)
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
    if (way->ended && !way->held && !to->shut)
        return leg_shut(to, true) == 0 ? 1 : n;
    return n;
}

enum flow_state splice_run(struct flow *flow)
{
    struct splice *ways = &flow->splice;
    int result = dial_connected(flow);
    size_t moved = 0;
    ssize_t n[4];

    if (result < 0 && result != -EAGAIN) {
        flow->reset = true;
        return FLOW_CLOSING;
    }
    if (flow->timed_out)
        return FLOW_CLOSING;
    do {
        n[0] = fill(&ways->up, &flow->pod);
        n[1] = drain(&ways->up, &flow->upstream);
        n[2] = fill(&ways->down, &flow->upstream);
        n[3] = drain(&ways->down, &flow->pod);
        for (size_t i = 0; i < ARRAY_SIZE(n); i++) {
            if (n[i] < 0) {
                flow->reset = true;
                return FLOW_CLOSING;
            }
            moved += (size_t)n[i];
        }
        if (flow->pod.shut && flow->upstream.shut)
            return FLOW_CLOSING;
    } while ((n[0] || n[1] || n[2] || n[3]) && moved < TURN_BYTES);
    if (moved)
        flow->active_ns = clock_ns();
    if (moved >= TURN_BYTES)
        event_active(&flow->again, EV_TIMEOUT, 0);
    return FLOW_SPLICING;
}
