#include "proxy/command/follow.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "events/buffer.h"

enum { CHUNK = 65536, PATIENCE_MS = 30000, TURN_MS = 100 };

struct follow {
    struct client events;
    struct buffer held; /* lines that are not written, and the beginning of one */
    int to;
    int stop_fd, done_fd; /* eventfds: for the thread, of the thread */
    pthread_t thread;
    bool running;
    _Atomic uint64_t moved_ns;
    atomic_int error;
};

/* ---- the thread ---- */

static bool wait_for(const struct follow *follow, int fd, short what)
{
    struct pollfd ends[2] = {{.fd = fd, .events = what}, {.fd = follow->stop_fd, .events = POLLIN}};

    while (poll(ends, 2, -1) < 0 && errno == EINTR)
        ;
    return !ends[1].revents;
}

/* As much as a pipe that has room takes at once, so that we can always be stopped. */
static int write_lines(struct follow *follow, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t some = len - at < PIPE_BUF ? len - at : PIPE_BUF;
        ssize_t n;

        if (!wait_for(follow, follow->to, POLLOUT))
            return -ECANCELED;
        n = write(follow->to, follow->held.data + at, some);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
        at += n > 0 ? (size_t)n : 0;
        atomic_store(&follow->moved_ns, clock_ns());
    }
    return 0;
}

static int pass_on(struct follow *follow)
{
    struct buffer *held = &follow->held;
    const char *last = held->len ? memrchr(held->data, '\n', held->len) : NULL;
    size_t whole = last ? (size_t)(last - held->data) + 1 : 0;
    int result = held->failed ? -ENOMEM : write_lines(follow, whole);

    if (result == 0 && whole) {
        memmove(held->data, held->data + whole, held->len - whole);
        held->len -= whole;
    }
    return result;
}

static void *copy(void *arg)
{
    struct follow *follow = arg;
    char bytes[CHUNK];
    int result = pass_on(follow);
    ssize_t n = 1;

    while (result == 0 && n > 0) {
        if (!wait_for(follow, follow->events.fd, POLLIN))
            break;
        do
            n = recv(follow->events.fd, bytes, sizeof(bytes), 0);
        while (n < 0 && errno == EINTR);
        atomic_store(&follow->moved_ns, clock_ns());
        if (n > 0) {
            buffer_append(&follow->held, bytes, (size_t)n);
            result = pass_on(follow);
        }
    }
    atomic_store(&follow->error, result);
    eventfd_write(follow->done_fd, 1);
    return NULL;
}

/* ---- its owner ---- */

/* Signals are the main thread's. */
static int start_thread(struct follow *follow)
{
    sigset_t all, before;
    int code;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    code = pthread_create(&follow->thread, NULL, copy, follow);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    follow->running = code == 0;
    return -code;
}

int follow_new(struct follow **out, struct client *events, int to, struct err *err)
{
    CLEANUP(follow_free) struct follow *follow = calloc(1, sizeof(*follow));
    int code;

    if (!follow)
        return err_set(err, -ENOMEM, "following events");
    follow->events = *events;
    *events = (struct client){.fd = -1};
    follow->to = to;
    follow->done_fd = -1;
    follow->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    follow->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (follow->stop_fd < 0 || follow->done_fd < 0)
        return err_sys(err, -errno, "following events");
    buffer_append(&follow->held, follow->events.data + follow->events.at,
                  follow->events.len - follow->events.at);
    code = start_thread(follow);
    if (code < 0)
        return err_sys(err, code, "following events");
    *out = TAKE(follow);
    return 0;
}

static bool wants_our_end(int signal_fd)
{
    struct signalfd_siginfo info;

    while (read(signal_fd, &info, sizeof(info)) == sizeof(info))
        if (info.ssi_signo == SIGHUP || info.ssi_signo == SIGINT || info.ssi_signo == SIGQUIT ||
            info.ssi_signo == SIGTERM)
            return true;
    return false;
}

static bool is_done(const struct follow *follow, int ms)
{
    return poll(&(struct pollfd){.fd = follow->done_fd, .events = POLLIN}, 1, ms) == 1;
}

void follow_finish(struct follow *follow, int signal_fd)
{
    shutdown(follow->events.fd, SHUT_WR); /* and the agent ends it behind what it knows */
    atomic_store(&follow->moved_ns, clock_ns());
    while (!is_done(follow, TURN_MS) && !wants_our_end(signal_fd) &&
           clock_ns() - atomic_load(&follow->moved_ns) < PATIENCE_MS * UINT64_C(1000000))
        ;
}

int follow_error(const struct follow *follow)
{
    return is_done(follow, 0) ? atomic_load(&follow->error) : -ETIMEDOUT;
}

void follow_free(struct follow **follow)
{
    struct follow *gone = TAKE(*follow);

    if (!gone)
        return;
    if (gone->running) {
        eventfd_write(gone->stop_fd, 1);
        if (!is_done(gone, TURN_MS))
            return; /* a terminal that takes nothing: it ends with the process */
        pthread_join(gone->thread, NULL);
    }
    client_fini(&gone->events);
    buffer_fini(&gone->held);
    fd_close(&gone->stop_fd);
    fd_close(&gone->done_fd);
    free(gone);
}
