#include "proxy/capture/captures.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/capture/wish.h"
#include "proxy/flow/tap.h"
#include "proxy/pods/pods.h"
#include "proxy/worker.h"

enum {
    TURN_BYTES = 1 << 20, /* sent to one, then the others of this thread have their turn */
    LOOK_MS = 200,        /* how often it is looked whether the pod is there yet */
    REST_MS = 2000,       /* to take what is left when it is over */
};
#define MS_NS UINT64_C(1000000)

/* One that is sent. */
struct stream {
    LIST_ENTRY(stream) all;
    struct captures *captures;
    struct capture *capture; /* a reference */
    int fd;
    uint32_t pid, uid, auid; /* who asked */
    char binary[PATH_MAX];   /* ... by which program, "" when that is not known */
    uint64_t began_ns, due_ns, began_time_ns;
    bool answered;
    const char *ended; /* why; NULL: it goes on */
    struct buffer out; /* what is being sent */
    size_t sent;       /* ... of it */
    bool last;         /* nothing comes behind it */
    struct event *readable, *writable, *look;
};

struct captures {
    struct captures_parts parts;
    struct capture_table table;
    struct worker *const *workers;
    unsigned workers_len;
    int wake_fd;
    struct event *on_wake;
    const char *closed; /* why no more are granted; NULL: they are */
    LIST_HEAD(, stream) streams;
};

/* ---- telling the workers ---- */

/* That somebody begins to ask, or asks no more. */
struct round {
    atomic_uint left;
    struct capture *capture; /* a reference */
    int wake_fd;
    struct turn {
        struct worker_visit visit; /* first */
        struct round *round;
    } turns[];
};

static void look_all(struct worker *worker, struct worker_visit *visit)
{
    struct round *round = ((struct turn *)visit)->round;

    tap_look_all(worker);
    if (atomic_fetch_sub(&round->left, 1) > 1)
        return;
    atomic_store(&round->capture->known, true);
    eventfd_write(round->wake_fd, 1);
    capture_unref(&round->capture);
    free(round);
}

static int tell_workers(const struct captures *captures, struct capture *capture)
{
    unsigned len = captures->workers_len;
    struct round *round = calloc(1, sizeof(*round) + len * sizeof(round->turns[0]));

    if (!round)
        return -ENOMEM;
    atomic_init(&round->left, len);
    round->capture = capture_ref(capture);
    round->wake_fd = captures->wake_fd;
    for (unsigned i = 0; i < len; i++)
        round->turns[i] = (struct turn){.visit.fn = look_all, .round = round};
    for (unsigned i = 0; i < len; i++) /* the last one frees it */
        worker_visit(captures->workers[i], &round->turns[i].visit);
    return 0;
}

/* ---- who asked ---- */

static void know(struct stream *stream, const struct ucred *peer)
{
    char path[32], text[16] = "";
    FILE *file;
    ssize_t n;

    stream->pid = (uint32_t)peer->pid;
    stream->uid = peer->uid;
    stream->auid = UINT32_MAX;
    snprintf(path, sizeof(path), "/proc/%d/exe", peer->pid);
    n = readlink(path, stream->binary, sizeof(stream->binary) - 1);
    stream->binary[n > 0 ? n : 0] = 0;
    snprintf(path, sizeof(path), "/proc/%d/loginuid", peer->pid);
    file = fopen(path, "re");
    if (file && fgets(text, sizeof(text), file))
        stream->auid = (uint32_t)strtoul(text, NULL, 10);
    if (file)
        fclose(file);
}

static void tell(const struct stream *stream)
{
    struct capture *capture = stream->capture;
    struct flow_event *event = flow_event_new(FLOW_EVENT_CAPTURE, NULL, capture->pod);

    if (event) {
        event->capture.what = capture_kind_name(capture->kind);
        event->capture.pid = stream->pid;
        event->capture.uid = stream->uid;
        event->capture.auid = stream->auid;
        event->capture.binary = flow_event_text(event, span_of_text(stream->binary));
        event->capture.ended = stream->ended;
    }
    if (event && stream->ended) { /* before, workers count */
        event->capture.duration_ns = clock_ns() - stream->began_ns;
        event->capture.bytes = capture->bytes;
        event->capture.missed = capture->missed;
    }
    bus_emit(stream->captures->parts.producer, &event);
}

/* ---- one stream ---- */

static void free_event(struct event **event)
{
    if (*event)
        event_free(TAKE(*event));
}

static void stream_free(struct stream **stream)
{
    struct stream *gone = TAKE(*stream);

    if (!gone)
        return;
    LIST_REMOVE(gone, all);
    free_event(&gone->readable);
    free_event(&gone->writable);
    free_event(&gone->look);
    fd_close(&gone->fd);
    capture_unref(&gone->capture);
    buffer_fini(&gone->out);
    free(gone);
}

/* No more is put in; what waits is sent yet. */
static void end(struct stream *stream, const char *why)
{
    if (stream->ended)
        return;
    capture_end(stream->capture);
    capture_table_remove(&stream->captures->table, stream->capture);
    tell_workers(stream->captures, stream->capture); /* else flows notice as they end */
    stream->ended = why;
    stream->due_ns = clock_ns() + REST_MS * MS_NS;
    tell(stream);
}

static void append_load(struct buffer *out, const struct buffer *bytes)
{
    uint32_t len = htonl((uint32_t)bytes->len);

    buffer_append(out, &len, sizeof(len));
    buffer_append(out, bytes->data, bytes->len);
}

static void append_end(struct stream *stream)
{
    CLEANUP(buffer_fini) struct buffer bytes = {0};
    const struct pcapng_counts counts = {
        .began_ns = stream->began_time_ns,
        .ended_ns = clock_read_ns(CLOCK_REALTIME),
        .came = stream->capture->came,
        .missed = stream->capture->missed,
    };

    if (stream->capture->kind == CAPTURE_PCAP) {
        pcapng_end(&bytes, &counts);
        append_load(&stream->out, &bytes);
    }
    buffer_append(&stream->out, "\0\0\0", 4); /* with its NUL */
    buffer_format(&stream->out, "{\"ended\":\"%s\",\"came\":%" PRIu64 ",\"missed\":%" PRIu64 "}\n",
                  stream->ended, counts.came, counts.missed);
    stream->last = true;
}

/* The answer, and what a file begins with. */
static void append_begin(struct stream *stream)
{
    CLEANUP(buffer_fini) struct buffer bytes = {0};

    buffer_text(&stream->out, "{\"ok\":true}\n");
    if (stream->capture->kind == CAPTURE_PCAP) {
        pcapng_begin(&bytes, "what a pod's programs said and heard inside TLS: packets are made "
                             "up, what they carry is not");
        append_load(&stream->out, &bytes);
    }
    stream->answered = true;
}

/* What comes next; false: nothing, for now. */
static bool refill(struct stream *stream)
{
    uint32_t len;

    stream->sent = stream->out.len = 0;
    if (stream->last || !atomic_load(&stream->capture->known))
        return false;
    if (!stream->answered) {
        append_begin(stream);
    } else if (capture_take(stream->capture, &stream->out)) {
        len = htonl((uint32_t)(stream->out.len - CAPTURE_HEAD));
        memcpy(stream->out.data, &len, sizeof(len));
    } else if (stream->ended) {
        append_end(stream);
    }
    return stream->out.len;
}

/* Sends what can be sent. False: who asked takes nothing more, or has all. */
static bool pump(struct stream *stream)
{
    size_t moved = 0;
    ssize_t n;

    while (moved < TURN_BYTES) {
        if (stream->sent == stream->out.len && !refill(stream))
            return !stream->last;
        if (stream->out.failed)
            return false;
        n = send(stream->fd, stream->out.data + stream->sent, stream->out.len - stream->sent,
                 MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n < 0)
            break;
        stream->sent += (size_t)n;
        moved += (size_t)n;
    }
    event_add(stream->writable, NULL);
    return true;
}

static void go_on(struct stream *stream)
{
    if (atomic_load(&stream->capture->full))
        end(stream, "the size that was asked for is reached");
    if (pump(stream))
        return;
    end(stream, "who asked is gone");
    stream_free(&stream);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    go_on(arg);
}

/* Whoever asked has nothing more to say, so it is the end of that: by wish, or of the program. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct stream *stream = arg;
    char bytes[256];
    ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    (void)what;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    event_del(stream->readable);
    end(stream, n == 0 ? "who asked ended it" : "who asked is gone");
    if (n == 0)
        go_on(stream);
    else
        stream_free(&stream);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct stream *stream = arg;
    bool due = clock_ns() >= stream->due_ns;

    (void)fd;
    (void)what;
    if (stream->ended && due) {
        stream_free(&stream); /* it does not even take what is left */
        return;
    }
    if (atomic_load(&stream->capture->pod->removed_ns))
        end(stream, "the pod was removed");
    if (due)
        end(stream, "its time is over");
    if (stream->ended)
        go_on(stream);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct captures *captures = arg;
    struct stream *stream = LIST_FIRST(&captures->streams), *next;
    eventfd_t count;

    (void)what;
    eventfd_read(fd, &count);
    for (; stream; stream = next) {
        next = LIST_NEXT(stream, all);
        if (!event_pending(stream->writable, EV_WRITE, NULL))
            go_on(stream);
    }
}

/* ---- the question ---- */

static struct stream *stream_new(struct captures *captures, const struct wish *wish,
                                 struct pod *pod)
{
    CLEANUP(stream_free) struct stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        return NULL;
    LIST_INSERT_HEAD(&captures->streams, stream, all);
    stream->captures = captures;
    stream->fd = -1;
    stream->began_ns = clock_ns();
    stream->began_time_ns = clock_read_ns(CLOCK_REALTIME);
    stream->due_ns = stream->began_ns + (uint64_t)wish->seconds * 1000 * MS_NS;
    stream->capture = capture_new(wish->kind, pod, (uint64_t)wish->bytes, captures->wake_fd);
    return stream->capture ? TAKE(stream) : NULL;
}

/* From here on whoever asked hears of it by the connection alone. */
static int begin(struct stream *stream, struct control_call *call)
{
    static const struct timeval often = {.tv_usec = LOOK_MS * 1000};
    struct captures *captures = stream->captures;
    struct event_base *base = captures->parts.base;

    know(stream, control_peer(call));
    stream->fd = control_take_stream(call);
    stream->readable = event_new(base, stream->fd, EV_READ | EV_PERSIST, on_readable, stream);
    stream->writable = event_new(base, stream->fd, EV_WRITE, on_writable, stream);
    stream->look = event_new(base, -1, EV_PERSIST, on_look, stream);
    if (!stream->readable || !stream->writable || !stream->look ||
        event_add(stream->readable, NULL) < 0 || event_add(stream->look, &often) < 0)
        return -ENOMEM;
    tell(stream);
    log_info("process %u of uid %u is given the %s of pod %s%s%s", stream->pid, stream->uid,
             stream->capture->kind == CAPTURE_KEYS ? "TLS keys" : "decrypted bytes",
             stream->capture->pod->space, *stream->capture->pod->space ? "/" : "",
             stream->capture->pod->name);
    return tell_workers(captures, stream->capture);
}

static int grant(struct stream **out, struct captures *captures, const json_t *args,
                 struct err *err)
{
    CLEANUP(stream_free) struct stream *stream = NULL;
    struct wish wish;
    struct pod *pod;
    int result = wish_read(args, &wish, err);

    if (result < 0)
        return result;
    if (captures->closed)
        return err_set(err, -EBUSY, "%s", captures->closed);
    pod = captures->parts.pods ? pods_find_name(captures->parts.pods, wish.space, wish.name) : NULL;
    if (!pod)
        return err_set(err, -ENOENT, "there is no pod %s%s%s", wish.space, *wish.space ? "/" : "",
                       wish.name);
    stream = stream_new(captures, &wish, pod);
    if (!stream)
        return err_set(err, -ENOMEM, "no memory for a capture");
    if (!capture_table_add(&captures->table, stream->capture))
        return err_set(err, -EBUSY, "%d captures are under way already: let one of them end",
                       CAPTURES_MAX);
    *out = TAKE(stream);
    return 0;
}

static void on_capture(void *arg, struct control_call *call)
{
    struct stream *stream = NULL;
    struct err err;

    if (grant(&stream, arg, control_args(call), &err) < 0) {
        control_refuse(call, &err);
    } else if (begin(stream, call) < 0) {
        end(stream, "out of memory");
        stream_free(&stream);
    }
}

/* ---- all of them ---- */

int captures_new(struct captures **out, const struct captures_parts *parts, struct err *err)
{
    CLEANUP(captures_free) struct captures *captures = calloc(1, sizeof(*captures));

    if (!captures)
        return err_set(err, -ENOMEM, "captures");
    captures->parts = *parts;
    capture_table_init(&captures->table);
    captures->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (captures->wake_fd < 0)
        return err_sys(err, -errno, "captures");
    captures->on_wake =
        event_new(parts->base, captures->wake_fd, EV_READ | EV_PERSIST, on_wake, captures);
    if (!captures->on_wake || event_add(captures->on_wake, NULL) < 0)
        return err_set(err, -ENOMEM, "captures");
    *out = TAKE(captures);
    return 0;
}

void captures_free(struct captures **captures)
{
    struct captures *gone = TAKE(*captures);

    if (!gone)
        return;
    while (!LIST_EMPTY(&gone->streams)) {
        struct stream *stream = LIST_FIRST(&gone->streams);

        stream_free(&stream);
    }
    free_event(&gone->on_wake);
    fd_close(&gone->wake_fd);
    capture_table_fini(&gone->table);
    free(gone);
}

struct capture_table *captures_table(struct captures *captures)
{
    return &captures->table;
}

int captures_serve(struct captures *captures, struct control *control,
                   struct worker *const *workers, unsigned workers_len, struct err *err)
{
    captures->workers = workers;
    captures->workers_len = workers_len;
    return control_on(control, "capture", on_capture, captures, err);
}

void captures_end(struct captures *captures, const char *why)
{
    struct stream *stream = LIST_FIRST(&captures->streams), *next;

    captures->closed = why;
    for (; stream; stream = next) {
        next = LIST_NEXT(stream, all);
        end(stream, why);
        go_on(stream);
    }
}
