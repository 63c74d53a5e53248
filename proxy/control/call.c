#include "proxy/control/call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum {
    FIRST_BYTES = 1024, /* what a request may take at first */
    BATCH = 32768,      /* bytes of rows made at once, and sent in a turn */
};

/* ---- a client's end, and its beginnings ---- */

static void end_rows(struct control_call *call)
{
    struct control_rows rows = call->rows;

    call->rows = (struct control_rows){0};
    if (rows.done)
        rows.done(rows.arg);
}

static void close_fds(struct control_call *call)
{
    while (call->fds_len)
        fd_close(&call->fds[--call->fds_len]);
}

static void free_event(struct event **event)
{
    if (*event)
        event_free(TAKE(*event));
}

void call_drop(struct control_call *call)
{
    end_rows(call);
    free_event(&call->readable);
    free_event(&call->writable);
    free_event(&call->late);
    close_fds(call);
    fd_close(&call->fd);
    request_fini(&call->request);
    buffer_fini(&call->out);
    free(call->in);
    call->control->clients_len--;
    LIST_REMOVE(call, all);
    free(call);
}

static void enter(struct control_call *call, enum client_state state)
{
    const struct timeval patience = {.tv_sec = CONTROL_PATIENCE_S};

    call->state = state;
    call->since = clock_ns();
    event_del(call->readable);
    event_del(call->writable);
    event_del(call->late);
    if (state == CLIENT_ASKING)
        event_add(call->readable, NULL);
    if (state == CLIENT_ANSWERING)
        event_add(call->writable, NULL);
    if (state != CLIENT_WAITING)
        event_add(call->late, &patience);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    call_drop(arg);
}

/* ---- the answer ---- */

static int append_dumped(const char *bytes, size_t len, void *arg)
{
    struct buffer *out = arg;

    buffer_append(out, bytes, len);
    return out->failed ? -1 : 0;
}

/* False where a line cannot be made: a client must not take what it has for all there is. */
static bool make_rows(struct control_call *call)
{
    struct buffer *out = &call->out;

    out->len = call->out_at = 0;
    while (call->rows.next && out->len < BATCH && !out->failed)
        if (call->rows.next(call->rows.arg, out))
            buffer_append(out, "\n", 1);
        else
            end_rows(call);
    return !out->failed;
}

/* One send a turn: who reads fast and wants much must not hold up the loop. */
static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    const struct timeval patience = {.tv_sec = CONTROL_PATIENCE_S};
    struct control_call *call = arg;
    ssize_t n = send(fd, call->out.data + call->out_at, call->out.len - call->out_at, MSG_NOSIGNAL);

    (void)what;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        call_drop(call);
        return;
    }
    call->out_at += (size_t)n;
    event_add(call->late, &patience);
    if (call->out_at < call->out.len)
        return;
    if (!make_rows(call)) {
        call_drop(call);
    } else if (call->out.len == 0) {
        buffer_fini(&call->out);
        if (call->last)
            call_drop(call);
        else
            enter(call, CLIENT_ASKING);
    }
}

static void begin_answer(struct control_call *call, json_t *line)
{
    bool made = line && json_dump_callback(line, append_dumped, &call->out, JSON_COMPACT) == 0;

    json_decref(line);
    buffer_append(&call->out, "\n", 1);
    request_fini(&call->request);
    close_fds(call);
    enter(call, CLIENT_ANSWERING);
    if (!made || call->out.failed)
        call_drop(call); /* no memory */
}

void control_answer(struct control_call *call, json_t *object)
{
    control_answer_rows(call, object, NULL);
}

void control_answer_rows(struct control_call *call, json_t *object, const struct control_rows *rows)
{
    if (!object)
        object = json_object();
    if (rows)
        call->rows = *rows;
    if (json_object_set_new(object, "ok", json_true()) < 0)
        json_decref(TAKE(object));
    begin_answer(call, object);
}

void control_refuse(struct control_call *call, const struct err *err)
{
    char text[sizeof(err->text)];
    json_t *line;

    snprintf(text, sizeof(text), "%s", err->text);
    line = json_pack("{s:s}", "error", text);
    if (!line) { /* a stranger's bytes, or a character that was cut */
        for (char *at = text; *at; at++)
            if (*at & 0x80)
                *at = '?';
        line = json_pack("{s:s}", "error", text);
    }
    begin_answer(call, line);
}

/* ---- the request ---- */

/* What follows its line, or was too much, cannot be told from a request: so it is the last. */
static void fault(struct control_call *call, const struct err *err)
{
    call->last = true;
    control_refuse(call, err);
}

static void hand_over(struct control_call *call)
{
    struct control *control = call->control;
    struct err err;

    for (size_t i = 0; i < control->verbs_len; i++)
        if (strcmp(control->verbs[i].name, call->request.verb) == 0) {
            enter(call, CLIENT_WAITING);
            control->verbs[i].fn(control->verbs[i].arg, call);
            return;
        }
    err_set(&err, -ENOENT, "this agent knows no verb '%s'", call->request.verb);
    control_refuse(call, &err);
}

static void take_line(struct control_call *call, size_t len)
{
    bool more = len + 1 < call->in_len;
    char *line = TAKE(call->in);
    struct err err;
    int result = request_parse(span_of(line, len), &call->request, &err);

    free(line);
    call->in_len = call->in_size = 0;
    if (more)
        result = err_set(&err, -EINVAL, "a further request comes when this one is answered");
    if (result < 0)
        fault(call, &err);
    else
        hand_over(call);
}

/* All that came are ours to close, also those beyond what we keep. */
static bool keep_fds(struct control_call *call, struct msghdr *message)
{
    bool kept = !(message->msg_flags & MSG_CTRUNC);

    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
        size_t len = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < len; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(at) + i * sizeof(int), sizeof(int));
            if (call->fds_len < CONTROL_FDS_MAX) {
                call->fds[call->fds_len++] = fd;
            } else {
                close(fd);
                kept = false;
            }
        }
    }
    return kept;
}

static bool make_room_for_bytes(struct control_call *call)
{
    size_t size = call->in_size ? call->in_size * 2 : FIRST_BYTES;
    char *grown;

    if (call->in_len < call->in_size)
        return true;
    grown = realloc(call->in, size);
    if (!grown)
        return false;
    call->in = grown;
    call->in_size = size;
    return true;
}

static ssize_t receive(struct control_call *call, bool *fds_kept)
{
    char space[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))] __attribute__((aligned(8)));
    struct iovec bytes = {call->in + call->in_len, call->in_size - call->in_len};
    struct msghdr message = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
    ssize_t n = recvmsg(call->fd, &message, MSG_CMSG_CLOEXEC);

    if (n >= 0)
        *fds_kept = keep_fds(call, &message);
    return n;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct control_call *call = arg;
    bool fds_kept = true;
    struct err err;
    ssize_t n;
    char *end;

    (void)fd;
    (void)what;
    if (!make_room_for_bytes(call)) {
        call_drop(call);
        return;
    }
    n = receive(call, &fds_kept);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0 || (n == 0 && call->in_len == 0)) {
        call_drop(call);
        return;
    }
    end = memchr(call->in + call->in_len, '\n', (size_t)n);
    call->in_len += (size_t)n;
    if (!fds_kept) {
        err_set(&err, -EMFILE,
                "a request brings at most %d descriptors; or the agent has none left",
                CONTROL_FDS_MAX);
        fault(call, &err);
    } else if (end) {
        take_line(call, (size_t)(end - call->in));
    } else if (n == 0) {
        err_set(&err, -EPROTO, "the request ended before its newline");
        fault(call, &err);
    } else if (call->in_len >= REQUEST_BYTES_MAX) {
        err_set(&err, -EMSGSIZE, "a request has at most %d bytes", REQUEST_BYTES_MAX);
        fault(call, &err);
    }
}

const json_t *control_args(const struct control_call *call)
{
    return call->request.args;
}

const struct ucred *control_peer(const struct control_call *call)
{
    return &call->peer;
}

int control_take_fd(struct control_call *call, size_t i)
{
    return i < call->fds_len ? fd_take(&call->fds[i]) : -1;
}

int control_take_stream(struct control_call *call)
{
    int fd = fd_take(&call->fd);

    call_drop(call);
    return fd;
}

void call_begin(struct control *control, int fd, const struct ucred *peer)
{
    struct control_call *call = calloc(1, sizeof(*call));

    if (!call) {
        close(fd);
        return;
    }
    LIST_INSERT_HEAD(&control->clients, call, all);
    control->clients_len++;
    call->control = control;
    call->peer = *peer;
    call->fd = fd;
    call->readable = event_new(control->base, fd, EV_READ | EV_PERSIST, on_readable, call);
    call->writable = event_new(control->base, fd, EV_WRITE | EV_PERSIST, on_writable, call);
    call->late = evtimer_new(control->base, on_late, call);
    if (call->readable && call->writable && call->late)
        enter(call, CLIENT_ASKING);
    else
        call_drop(call);
}
