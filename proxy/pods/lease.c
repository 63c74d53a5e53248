#include "proxy/pods/lease.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

/* Who was killed may have left programs running: they are not waited for. */
enum { QUIET_MS = 700, LOOK_US = 10000 };

struct lease {
    struct lease_parts parts;
    int fd;
    struct event *readable, *due;
    uint64_t until_ns;
};

static void look(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval turn = {.tv_usec = LOOK_US};
    struct lease *lease = arg;
    const struct lease_parts *parts = &lease->parts;

    (void)fd;
    (void)what;
    if (clock_ns() < lease->until_ns && !parts->is_quiet(parts->arg, parts->pod))
        event_add(lease->due, &turn);
    else
        parts->ended(parts->arg, parts->pod);
}

/* Nothing more is to be said, so anything is the end. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct lease *lease = arg;

    event_del(lease->readable);
    lease->until_ns = clock_ns() + QUIET_MS * UINT64_C(1000000);
    look(fd, what, lease);
}

int lease_new(struct lease **out, const struct lease_parts *parts, struct err *err)
{
    CLEANUP(lease_free) struct lease *lease = calloc(1, sizeof(*lease));

    if (!lease)
        return err_set(err, -ENOMEM, "a pod's connection");
    lease->parts = *parts;
    lease->fd = -1;
    lease->readable = event_new(parts->base, -1, 0, on_readable, lease);
    lease->due = evtimer_new(parts->base, look, lease);
    if (!lease->readable || !lease->due)
        return err_set(err, -ENOMEM, "a pod's connection");
    *out = TAKE(lease);
    return 0;
}

void lease_begin(struct lease *lease, int fd, json_t *answer)
{
    CLEANUP(text_free) char *line = json_dumps(answer, JSON_COMPACT);
    size_t len = line ? strlen(line) : 0;

    json_decref(answer);
    lease->fd = fd;
    event_assign(lease->readable, lease->parts.base, fd, EV_READ | EV_PERSIST, on_readable, lease);
    if (line)
        line[len++] = '\n'; /* in place of the closing NUL */
    /* it is the first on the connection, and shorter than what its buffer takes */
    if (!line || send(fd, line, len, MSG_NOSIGNAL) != (ssize_t)len ||
        event_add(lease->readable, NULL) < 0)
        event_active(lease->readable, EV_READ, 0);
}

void lease_free(struct lease **lease)
{
    struct lease *gone = TAKE(*lease);

    if (!gone)
        return;
    if (gone->readable)
        event_free(gone->readable);
    if (gone->due)
        event_free(gone->due);
    fd_close(&gone->fd);
    free(gone);
}
