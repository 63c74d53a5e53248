#include "events/sink.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"

enum { PENDING_MAX = 64 * 1024 }; /* bounds what a sink holds, but for the length of one line */

struct line {
    size_t start,
        end;         /* in pending; before the first start lies the rest of a line begun earlier */
    uint64_t events; /* how many are missing if it is: for a LOST line, all it tells of */
};

void sink_init(struct sink *sink,
               void (*render)(struct sink *, const struct flow_event *, struct buffer *), int fd,
               const char *node_name, bool color)
{
    struct stat stat;

    *sink = (struct sink){.render = render, .fd = fd, .node_name = node_name, .color = color};
    sink->is_file = fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode);
}

void sink_hurry(struct sink *sink, unsigned ms)
{
    uint64_t patience = ms * UINT64_C(1000000);

    if (atomic_load(&sink->hurried_ns) && atomic_load(&sink->patience_ns) <= patience)
        return;
    atomic_store(&sink->patience_ns, patience);
    atomic_store(&sink->hurried_ns, clock_ns());
}

const char *sink_why(const struct sink *sink)
{
    return sink->lost_code == ETIMEDOUT ? "its reader stopped reading" : strerror(sink->lost_code);
}

void sink_fini(struct sink *sink)
{
    buffer_fini(&sink->pending);
    buffer_fini(&sink->lines);
}

static void render_line(struct sink *sink, const struct flow_event *event)
{
    struct line line = {
        .start = sink->pending.len,
        .events = event->kind == FLOW_EVENT_LOST ? event->lost.count : 1,
    };

    sink->render(sink, event, &sink->pending);
    line.end = sink->pending.len;
    buffer_append(&sink->lines, &line, sizeof(line));
    if (sink->pending.failed || sink->lines.failed) {
        sink->pending.len = line.start;
        sink->pending.failed = sink->lines.failed = false;
        sink->lost += line.events;
        sink->lost_code = ENOMEM;
        return;
    }
    sink->seq++;
}

/* Tells what went missing before the next line, if anything did. */
static void tell_loss(struct sink *sink)
{
    struct flow_event event = {.kind = FLOW_EVENT_LOST};
    char reason[128];

    if (!sink->lost)
        return;
    snprintf(reason, sizeof(reason), "could not be written: %s", sink_why(sink));
    event.time_ns = flow_event_now();
    event.lost.count = sink->lost;
    event.lost.reason = reason;
    sink->lost = 0; /* render_line() counts it again if this line does not come about */
    render_line(sink, &event);
}

void sink_write(struct sink *sink, const struct flow_event *event)
{
    tell_loss(sink);
    render_line(sink, event);
    if (sink->pending.len >= PENDING_MAX)
        sink_flush(sink);
}

static bool patience_is_over(const struct sink *sink)
{
    uint64_t since = atomic_load(&sink->hurried_ns);

    if (!since)
        return false;
    if (since < sink->moved_ns)
        since = sink->moved_ns;
    return clock_ns() - since >= atomic_load(&sink->patience_ns);
}

/* Waits until something can be written: for ever while the agent works (the rings count what is
 * lost meanwhile), as long as the reader reads now and then once it goes down. */
static bool wait_for_room(struct sink *sink)
{
    enum { LOOK_MS = 100 };
    struct pollfd room = {.fd = sink->fd, .events = POLLOUT};

    while (poll(&room, 1, sink->stuck ? 0 : LOOK_MS) == 0) {
        sink->stuck = patience_is_over(sink);
        if (sink->stuck)
            return false;
    }
    return true;
}

/* How far writing got: all of it, or an errno in *code and less. A pipe with room takes PIPE_BUF
 * bytes without blocking, more it may not; what is not a pipe is not slowed by pieces either. */
static size_t write_pending(struct sink *sink, int *code)
{
    size_t done = 0;

    *code = 0;
    while (done < sink->pending.len) {
        size_t len = sink->pending.len - done;
        ssize_t n;

        if (!wait_for_room(sink)) {
            *code = ETIMEDOUT;
            break;
        }
        if (len > PIPE_BUF && !sink->is_file)
            len = PIPE_BUF;
        n = write(sink->fd, sink->pending.data + done, len);
        if (n > 0) {
            done += (size_t)n;
            sink->moved_ns = clock_ns();
            sink->stuck = false;
        } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
            *code = n == 0 ? EIO : errno;
            break;
        }
    }
    return done;
}

void sink_flush(struct sink *sink)
{
    const struct line *lines;
    size_t done, keep, len;
    int code;

    tell_loss(sink);
    if (sink->before_write && sink->pending.len && !sink->begun)
        sink->before_write(sink);
    done = write_pending(sink, &code);
    lines = (const struct line *)(const void *)sink->lines.data;
    len = sink->lines.len / sizeof(*lines);
    keep = len ? lines[0].start : sink->pending.len; /* up to here: a line begun */
    for (size_t i = 0; i < len; i++) {
        if (lines[i].start < done) {
            keep = lines[i].end;
            sink->begun = lines[i].events;
        } else { /* not begun: gone, and its number goes to another */
            sink->lost += lines[i].events;
            sink->seq--;
        }
    }
    if (code)
        sink->lost_code = code;
    keep = keep > done ? keep - done : 0;
    if (keep)
        memmove(sink->pending.data, sink->pending.data + done, keep);
    else
        sink->begun = 0;
    sink->pending.len = keep;
    sink->lines.len = 0;
}

void sink_give_up(struct sink *sink)
{
    if (!sink->begun)
        return;
    sink->torn = true;
    sink->lost += sink->begun;
    sink->seq--;
    sink->begun = 0;
    sink->pending.len = 0;
}
