#include "proxy/control/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/clock.h"
#include "proxy/control/call.h"

enum {
    ACCEPTS = 16,          /* in a turn of the loop */
    PAUSE_US = 100000,     /* where no more can be accepted */
    GRACE_NS = 1000000000, /* what each has before it must make room for another one */
};

static void free_event(struct event **event)
{
    if (*event)
        event_free(TAKE(*event));
}

/* ---- who comes ---- */

static void turn_away(int fd)
{
    static const char line[] = "{\"error\":\"only root may ask the agent\"}\n";

    if (send(fd, line, sizeof(line) - 1, MSG_NOSIGNAL) < 0)
        return; /* then it is not told */
}

static void welcome(struct control *control, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
        (peer.uid == 0 || peer.uid == geteuid())) {
        call_begin(control, fd, &peer);
        return;
    }
    turn_away(fd);
    close(fd);
}

/* When all places are taken, whoever has kept one longest without need loses it. */
static bool make_room(struct control *control)
{
    struct control_call *call, *longest = NULL;

    if (control->clients_len < CONTROL_CLIENTS_MAX)
        return true;
    LIST_FOREACH(call, &control->clients, all)
    if (call->state != CLIENT_WAITING && (!longest || call->since < longest->since))
        longest = call;
    if (!longest || clock_ns() - longest->since < GRACE_NS)
        return false;
    call_drop(longest);
    return true;
}

/* Who is not accepted yet waits in the queue, which keeps the listener readable. */
static void on_client(evutil_socket_t fd, short what, void *arg)
{
    const struct timeval pause = {.tv_usec = PAUSE_US};
    struct control *control = arg;
    bool room = true;

    (void)what;
    for (int i = 0; i < ACCEPTS && (room = make_room(control)); i++) {
        int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (client >= 0) {
            welcome(control, client);
        } else {
            room = errno == EAGAIN || errno == ECONNABORTED || errno == EINTR;
            break;
        }
    }
    if (!room) {
        event_del(control->on_client);
        event_add(control->resume, &pause);
    }
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct control *control = arg;

    (void)fd;
    (void)what;
    event_add(control->on_client, NULL);
}

/* ---- the socket ---- */

static void ping(void *arg, struct control_call *call)
{
    (void)arg;
    control_answer(call, json_pack("{s:i}", "pid", (int)getpid()));
}

static int listen_at(struct control *control, const char *path, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int len = snprintf(address.sun_path, sizeof(address.sun_path), "%s.%d", path, (int)getpid());

    if (len < 0 || (size_t)len >= sizeof(address.sun_path))
        return err_set(err, -ENAMETOOLONG, "%s: too long for the path of a socket", path);
    control->path = strdup(path);
    control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (!control->path || control->fd < 0)
        return err_sys(err, -errno, "control socket");
    unlink(address.sun_path); /* of one that was killed and had our pid */
    /* the mode of a socket before bind(2) is the mode of its file from the first moment on */
    if (fchmod(control->fd, 0600) < 0 ||
        bind(control->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return err_sys(err, -errno, "control socket %s", path);
    if (listen(control->fd, SOMAXCONN) < 0 || lstat(address.sun_path, &control->bound) < 0 ||
        rename(address.sun_path, path) < 0) {
        int code = -errno;

        unlink(address.sun_path);
        return err_sys(err, code, "control socket %s", path);
    }
    return 0;
}

int control_new(struct control **out, struct event_base *base, const char *path, struct err *err)
{
    CLEANUP(control_free) struct control *control = calloc(1, sizeof(*control));
    int result;

    if (!control)
        return err_set(err, -ENOMEM, "control socket");
    control->base = base;
    control->fd = -1;
    LIST_INIT(&control->clients);
    result = listen_at(control, path, err);
    if (result == 0)
        result = control_on(control, "ping", ping, NULL, err);
    if (result < 0)
        return result;
    control->on_client = event_new(base, control->fd, EV_READ | EV_PERSIST, on_client, control);
    control->resume = evtimer_new(base, on_resume, control);
    if (!control->on_client || !control->resume || event_add(control->on_client, NULL) < 0)
        return err_set(err, -ENOMEM, "control socket");
    *out = TAKE(control);
    return 0;
}

void control_free(struct control **control)
{
    struct control *gone = TAKE(*control);
    struct stat there;

    if (!gone)
        return;
    while (!LIST_EMPTY(&gone->clients))
        call_drop(LIST_FIRST(&gone->clients));
    free_event(&gone->on_client);
    free_event(&gone->resume);
    if (gone->bound.st_ino && lstat(gone->path, &there) == 0 &&
        there.st_ino == gone->bound.st_ino && there.st_dev == gone->bound.st_dev)
        unlink(gone->path);
    fd_close(&gone->fd);
    free(gone->path);
    free(gone);
}

int control_on(struct control *control, const char *verb,
               void (*fn)(void *arg, struct control_call *call), void *arg, struct err *err)
{
    if (control->verbs_len == CONTROL_VERBS_MAX)
        return err_set(err, -ENOSPC, "control socket: no place for the verb '%s'", verb);
    control->verbs[control->verbs_len].name = verb;
    control->verbs[control->verbs_len].fn = fn;
    control->verbs[control->verbs_len++].arg = arg;
    return 0;
}
