#include "proxy/doors/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/doors/ready.h"
#include "proxy/identity/identity.h"
#include "proxy/limits.h"
#include "proxy/sockets.h"
#include "proxy/worker.h"

enum {
    ACCEPTS_A_TURN = 8192,    /* more than a backlog, so that a turn takes all that wait */
    PAUSE_US = 100 * 1000,    /* between looks whether there are descriptors again */
    PATIENCE_NS = 1000000000, /* who has waited that long for one is told */
};

struct watched {
    struct watched *next;
    struct acceptor *acceptor;
    int fd; /* borrowed */
    struct event *on_accept;
};

struct acceptor {
    struct acceptor_parts parts;
    struct watched *first;
    int ready;      /* of all listeners: see acceptor_run() */
    int reserve_fd; /* given up for a moment when there are no others left */
    struct event *resume_due;
    uint64_t paused_ns; /* since when; 0: accepting */
};

static struct worker *least_busy(struct acceptor *acceptor)
{
    struct worker *best = acceptor->parts.workers[0];

    for (unsigned i = 1; i < acceptor->parts.workers_len; i++)
        if (worker_load(acceptor->parts.workers[i]) < worker_load(best))
            best = acceptor->parts.workers[i];
    return best;
}

/* By a reset, as an overloaded host would; its close says why. Takes fd and process. */
static void refuse(struct acceptor *acceptor, int fd, struct arrival *arrival, enum limit why)
{
    const struct origin *origin = &arrival->origin;
    struct sockets_flow *done = malloc(sizeof(*done));
    char line[256];

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(fd);
    if (arrival->process)
        identity_flow_end(acceptor->parts.identity, &arrival->process);
    if (done) { /* else its close is told late, and without a reason */
        *done = (struct sockets_flow){
            .cookie = origin->cookie,
            .dst = origin->dst,
            .src_port = origin->src.port,
            .route = ROUTE_PROXY,
        };
        snprintf(done->error, sizeof(done->error), "%s", limits_reason(why));
        sockets_flow_done(acceptor->parts.sockets, &done);
    }
    if (limits_refuse(acceptor->parts.limits, why, clock_ns(), line, sizeof(line)))
        log_warn("%s", line);
}

/* exhausted: there is nothing for it but to be refused for that; LIMIT_NONE: what limits say. */
static void receive(struct acceptor *acceptor, int fd, enum limit exhausted)
{
    struct arrival arrival = {.upstream = -1};

    if (!acceptor->parts.meet(acceptor->parts.arg, fd, &arrival)) {
        close(fd);
        return;
    }
    sockets_accepted(acceptor->parts.sockets, &arrival.origin, arrival.process, arrival.pod);
    if (!exhausted && arrival.upstream < 0) /* else it was, when its SYN came */
        exhausted = limits_admit(acceptor->parts.limits, arrival.pod);
    if (!exhausted) {
        worker_give(least_busy(acceptor), fd, arrival.upstream, &arrival.origin, arrival.process,
                    arrival.pod,
                    arrival.credentials ? arrival.credentials : *acceptor->parts.credentials);
        return;
    }
    if (arrival.upstream >= 0)
        limits_leave(acceptor->parts.limits, arrival.pod);
    fd_close(&arrival.upstream);
    refuse(acceptor, fd, &arrival, exhausted);
}

/* Out of descriptors, or memory, although limits saw some left: those who come wait in the queue,
 * and nobody looks at it, for it would be readable all the time. */
static void pause_accepting(struct acceptor *acceptor)
{
    static const struct timeval pause = {.tv_usec = PAUSE_US};

    for (const struct watched *at = acceptor->first; at; at = at->next)
        event_del(at->on_accept);
    if (!acceptor->paused_ns)
        acceptor->paused_ns = clock_ns();
    if (!evtimer_pending(acceptor->resume_due, NULL))
        event_add(acceptor->resume_due, &pause);
}

/* One connection for which there was no descriptor takes the one kept in reserve, to be refused. */
static bool turn_away(struct acceptor *acceptor, int listener)
{
    int fd;

    fd_close(&acceptor->reserve_fd);
    fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        receive(acceptor, fd, LIMIT_FILES);
    acceptor->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd >= 0;
}

static bool somebody_waits(int listener)
{
    struct pollfd queue = {.fd = listener, .events = POLLIN};

    return poll(&queue, 1, 0) > 0;
}

/* False when there were no descriptors for those who wait. (accept looks for one first.) */
static bool accept_all(struct acceptor *acceptor, int listener)
{
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0)
            receive(acceptor, fd, LIMIT_NONE);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            return !somebody_waits(listener);
        else if (errno != EINTR && errno != ECONNABORTED)
            break;
    }
    return true;
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    if (!accept_all(arg, fd))
        pause_accepting(arg);
}

/* Whoever has waited too long in vain is told. */
static bool accept_or_turn_away(struct acceptor *acceptor, int listener)
{
    bool late = clock_ns() - acceptor->paused_ns >= PATIENCE_NS;

    while (!accept_all(acceptor, listener))
        if (!late || !turn_away(acceptor, listener))
            return false;
    return true;
}

static void resume_accepting(evutil_socket_t fd, short what, void *arg)
{
    struct acceptor *acceptor = arg;
    bool done = true;

    (void)fd;
    (void)what;
    for (const struct watched *at = acceptor->first; at; at = at->next)
        done = accept_or_turn_away(acceptor, at->fd) && done;
    if (!done) {
        pause_accepting(acceptor);
        return;
    }
    acceptor->paused_ns = 0;
    for (const struct watched *at = acceptor->first; at; at = at->next)
        event_add(at->on_accept, NULL);
}

int acceptor_new(struct acceptor **out, const struct acceptor_parts *parts, struct err *err)
{
    CLEANUP(acceptor_free) struct acceptor *acceptor = calloc(1, sizeof(*acceptor));

    if (!acceptor)
        return err_set(err, -ENOMEM, "acceptor");
    acceptor->parts = *parts;
    acceptor->reserve_fd = -1;
    acceptor->ready = ready_new(err);
    if (acceptor->ready < 0)
        return acceptor->ready;
    acceptor->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    acceptor->resume_due = evtimer_new(parts->base, resume_accepting, acceptor);
    if (!acceptor->resume_due)
        return err_set(err, -ENOMEM, "acceptor");
    *out = TAKE(acceptor);
    return 0;
}

static void watched_free(struct watched **watched)
{
    struct watched *gone = TAKE(*watched);

    if (!gone)
        return;
    ready_unwatch(gone->acceptor->ready, gone->fd);
    if (gone->on_accept)
        event_free(gone->on_accept);
    free(gone);
}

void acceptor_free(struct acceptor **acceptor)
{
    if (!*acceptor)
        return;
    while ((*acceptor)->first) {
        struct watched *gone = (*acceptor)->first;

        (*acceptor)->first = gone->next;
        watched_free(&gone);
    }
    if ((*acceptor)->resume_due)
        event_free((*acceptor)->resume_due);
    fd_close(&(*acceptor)->reserve_fd);
    fd_close(&(*acceptor)->ready);
    free(TAKE(*acceptor));
}

int acceptor_watch(struct acceptor *acceptor, int listener, struct err *err)
{
    CLEANUP(watched_free) struct watched *watched = NULL;
    int result;

    if (listener < 0)
        return 0;
    watched = calloc(1, sizeof(*watched));
    if (!watched)
        return err_set(err, -ENOMEM, "watching a listener");
    watched->acceptor = acceptor;
    watched->fd = listener;
    watched->on_accept =
        event_new(acceptor->parts.base, listener, EV_READ | EV_PERSIST, on_accept, acceptor);
    if (!watched->on_accept || event_add(watched->on_accept, NULL) < 0)
        return err_set(err, -ENOMEM, "watching a listener");
    result = ready_watch(acceptor->ready, listener, watched, err);
    if (result < 0)
        return result;
    watched->next = acceptor->first;
    acceptor->first = TAKE(watched);
    return 0;
}

void acceptor_unwatch(struct acceptor *acceptor, int listener)
{
    struct watched **at = &acceptor->first, *gone;

    while (*at && (*at)->fd != listener)
        at = &(*at)->next;
    if (!(gone = *at))
        return;
    *at = gone->next;
    watched_free(&gone);
}

void acceptor_run(struct acceptor *acceptor)
{
    void *waited_at[READY_BATCH];
    size_t len = READY_BATCH;
    bool all = true;

    while (all && len == READY_BATCH) {
        len = ready_look(acceptor->ready, waited_at);
        for (size_t i = 0; i < len; i++) {
            const struct watched *at = waited_at[i];

            all = accept_all(acceptor, at->fd) && all;
        }
    }
    if (!all)
        pause_accepting(acceptor);
}

void acceptor_stop(struct acceptor *acceptor)
{
    event_del(acceptor->resume_due);
    for (const struct watched *at = acceptor->first; at; at = at->next)
        event_del(at->on_accept);
}
