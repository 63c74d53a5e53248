#include "proxy/telemetry/sessions.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "events/json_process.h"
#include "events/json_writer.h"
#include "events/redact.h"
#include "proxy/flow/flow.h"
#include "proxy/flow/row.h"
#include "proxy/dns/names.h"
#include "proxy/sockets_older.h"
#include "proxy/telemetry/counts.h"
#include "proxy/worker.h"

enum { GATHERS_MAX = 8 }; /* whoever does not read his keeps all rows in memory */

/* What one worker has; the last one is what the control thread has. */
struct part {
    struct worker_visit visit; /* first */
    struct gather *gather;
    struct flow_row *rows;
    size_t len, size;
    bool failed; /* no memory */
};

struct gather {
    LIST_ENTRY(gather) all;
    struct sessions *sessions;
    struct control_call *call; /* NULL: it is being answered */
    char *space, *pod;         /* only of these; NULL: of all */
    atomic_uint left;          /* workers that have not copied yet */
    size_t part, row;          /* next to be rendered */
    uint64_t now_ns;
    unsigned parts_len;
    struct part parts[];
};

struct sessions {
    struct sessions_parts parts;
    int done_fd; /* the last worker of a gather says so */
    struct event *on_done;
    LIST_HEAD(, gather) gathers;
    unsigned gathers_len;
};

/* ---- a gather ---- */

static void gather_free(struct gather **gather)
{
    struct gather *gone = TAKE(*gather);

    if (!gone)
        return;
    for (unsigned i = 0; i < gone->parts_len; i++) {
        while (gone->parts[i].len)
            flow_row_fini(&gone->parts[i].rows[--gone->parts[i].len]);
        free(gone->parts[i].rows);
    }
    LIST_REMOVE(gone, all);
    gone->sessions->gathers_len--;
    free(gone->space);
    free(gone->pod);
    free(gone);
}

static int gather_new(struct gather **out, struct sessions *sessions)
{
    unsigned len = sessions->parts.workers_len + 1;
    struct gather *gather = calloc(1, sizeof(*gather) + len * sizeof(gather->parts[0]));

    if (!gather)
        return -ENOMEM;
    gather->sessions = sessions;
    gather->parts_len = len;
    gather->now_ns = clock_ns();
    LIST_INSERT_HEAD(&sessions->gathers, gather, all);
    sessions->gathers_len++;
    *out = gather;
    return 0;
}

/* ---- on a worker's thread ---- */

static bool is_wanted(const struct gather *gather, const struct pod *pod)
{
    return (!gather->space || (pod && strcmp(pod->space, gather->space) == 0)) &&
           (!gather->pod || (pod && strcmp(pod->name, gather->pod) == 0));
}

static bool has_room(struct part *part, unsigned expected)
{
    size_t size = part->size ? part->size * 2 : expected + 1;
    struct flow_row *grown;

    if (part->len < part->size)
        return true;
    grown = realloc(part->rows, size * sizeof(*grown));
    if (!grown)
        return false;
    part->rows = grown;
    part->size = size;
    return true;
}

static void copy_flows(struct worker *worker, struct worker_visit *visit)
{
    struct part *part = (struct part *)visit;
    struct gather *gather = part->gather;
    int done_fd = gather->sessions->done_fd;

    for (const struct flow *flow = worker->flows; flow && !part->failed; flow = flow->next) {
        if (!is_wanted(gather, flow->facts.who.pod))
            continue;
        if (has_room(part, worker_load(worker)))
            flow_row_init(&part->rows[part->len++], flow);
        else
            part->failed = true;
    }
    if (atomic_fetch_sub(&gather->left, 1) == 1) /* from here on it is the control thread's */
        eventfd_write(done_fd, 1);
}

/* ---- on the control thread ---- */

static void copy_row(void *arg, const struct flow_row *row)
{
    struct part *part = arg;

    if (part->failed || !is_wanted(part->gather, row->pod))
        return;
    if (!has_room(part, 63)) {
        part->failed = true;
        return;
    }
    part->rows[part->len] = *row;
    process_ref(row->process);
    pod_ref(row->pod);
    part->len++;
}

/* ---- the answer ---- */

static void append_process(struct buffer *out, const struct process *process)
{
    CLEANUP(buffer_fini) struct buffer storage = {0};
    size_t mark;

    if (!process)
        return;
    mark = json_begin(out, "process", '{');
    json_text(out, "exec_id", process->exec_id);
    json_number(out, "pid", process->pid);
    json_text(out, "binary", process->binary);
    json_text(out, "arguments", redact_arguments(process->arguments, &storage));
    json_end(out, mark, '}');
    out->failed |= storage.failed;
}

static void append_socket(struct buffer *out, const struct flow_row *row)
{
    char ip[ADDR_TEXT_MAX];
    size_t mark = json_begin(out, "socket", '{');

    json_text(out, "protocol", protocol_name(PROTOCOL_TCP));
    json_text(out, "saddr", addr_format_ip(&row->src, ip));
    json_number(out, "sport", row->src.port);
    json_text(out, "daddr", addr_format_ip(&row->dst, ip));
    json_number(out, "dport", row->dst.port);
    json_long(out, "cookie", row->cookie);
    json_end(out, mark, '}');
}

static void append_names(struct buffer *out, struct names *names, const struct flow_row *row,
                         uint64_t now_ns)
{
    struct names_found found = {0};

    names_find(names, row->cgroup_id, &row->dst, now_ns, &found);
    json_list(out, "destination_names", (const char *const *)found.text, found.len);
    names_found_fini(&found);
}

/* One that is heard in the kernel may have been ended behind its flow's back. */
static const char *state_of(const struct gather *gather, const struct flow_row *row)
{
    return sockets_was_reset(gather->sessions->parts.sockets, row->cookie) ? SOCKETS_RESET
                                                                           : row->state;
}

static void append_row(struct buffer *out, const struct gather *gather, const struct flow_row *row)
{
    size_t mark = json_begin(out, NULL, '{');

    append_process(out, row->process);
    json_pod(out, row->pod);
    append_socket(out, row);
    append_names(out, gather->sessions->parts.names, row, gather->now_ns);
    json_text(out, "host", row->host);
    json_text(out, "state", state_of(gather, row));
    json_text(out, "version", row->version);
    json_text(out, "alpn", row->alpn);
    json_long(out, "tx", row->tx);
    json_long(out, "rx", row->rx);
    json_long(out, "age_ns", gather->now_ns > row->began_ns ? gather->now_ns - row->began_ns : 0);
    json_text(out, "visibility", visibility_name(row->visibility));
    if (row->visibility == VISIBILITY_OPAQUE)
        json_text(out, "visibility_reason", opaque_name(row->opaque));
    json_text(out, "route", route_name(row->route));
    json_end(out, mark, '}');
    if (!out->failed)
        out->len--; /* the comma behind it */
}

static bool next_row(void *arg, struct buffer *line)
{
    struct gather *gather = arg;

    while (gather->part < gather->parts_len && gather->row == gather->parts[gather->part].len) {
        gather->part++;
        gather->row = 0;
    }
    if (gather->part == gather->parts_len)
        return false;
    append_row(line, gather, &gather->parts[gather->part].rows[gather->row++]);
    return true;
}

static void end_of_rows(void *arg)
{
    struct gather *gather = arg;

    gather_free(&gather);
}

static void answer(struct gather *gather)
{
    const struct control_rows rows = {.next = next_row, .done = end_of_rows, .arg = gather};
    struct control_call *call = TAKE(gather->call);
    json_int_t count = 0;
    bool failed = false;
    struct err err;

    for (unsigned i = 0; i < gather->parts_len; i++) {
        count += (json_int_t)gather->parts[i].len;
        failed |= gather->parts[i].failed;
    }
    if (!failed) {
        control_answer_rows(call, json_pack("{s:I}", "sessions", count), &rows);
        return;
    }
    err_set(&err, -ENOMEM, "no memory for a list of the sessions");
    control_refuse(call, &err);
    gather_free(&gather);
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
    struct sessions *sessions = arg;
    struct gather *gather = LIST_FIRST(&sessions->gathers), *next;
    eventfd_t count;

    (void)what;
    eventfd_read(fd, &count);
    for (; gather; gather = next) {
        next = LIST_NEXT(gather, all);
        if (gather->call && atomic_load(&gather->left) == 0)
            answer(gather);
    }
}

/* ---- the question ---- */

/* A text that may be missing; false when it is something else, or there is no memory. */
static bool take_text(const json_t *args, const char *key, char **out)
{
    const json_t *value = json_object_get(args, key);

    *out = value && json_is_string(value) ? strdup(json_string_value(value)) : NULL;
    return !value || *out;
}

static int begin(struct gather **out, struct sessions *sessions, const json_t *args,
                 struct err *err)
{
    CLEANUP(gather_free) struct gather *gather = NULL;

    if (sessions->gathers_len == GATHERS_MAX)
        return err_set(err, -EBUSY, "%d others are reading the sessions; ask again", GATHERS_MAX);
    if (gather_new(&gather, sessions) < 0)
        return err_set(err, -ENOMEM, "no memory for a list of the sessions");
    if (!take_text(args, "namespace", &gather->space) || !take_text(args, "pod", &gather->pod))
        return err_set(err, -EINVAL, "'namespace' and 'pod' are texts");
    *out = TAKE(gather);
    return 0;
}

static void list_sessions(void *arg, struct control_call *call)
{
    struct sessions *sessions = arg;
    struct gather *gather = NULL;
    struct part *own;
    struct err err;

    if (begin(&gather, sessions, control_args(call), &err) < 0) {
        control_refuse(call, &err);
        return;
    }
    gather->call = call;
    for (unsigned i = 0; i < gather->parts_len; i++)
        gather->parts[i].gather = gather;
    own = &gather->parts[gather->parts_len - 1];
    sockets_each_row(sessions->parts.sockets, copy_row, own);
    counts_take(sessions->parts.keeper, own->rows, own->len);
    atomic_init(&gather->left, sessions->parts.workers_len);
    for (unsigned i = 0; i < sessions->parts.workers_len; i++) {
        gather->parts[i].visit.fn = copy_flows;
        worker_visit(sessions->parts.workers[i], &gather->parts[i].visit);
    } /* the rest is on_done's, which runs on this thread, too */
}

int sessions_new(struct sessions **out, const struct sessions_parts *parts, struct err *err)
{
    CLEANUP(sessions_free) struct sessions *sessions = calloc(1, sizeof(*sessions));
    int result;

    if (!sessions)
        return err_set(err, -ENOMEM, "the list of sessions");
    sessions->parts = *parts;
    LIST_INIT(&sessions->gathers);
    sessions->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (sessions->done_fd < 0)
        return err_sys(err, -errno, "the list of sessions");
    sessions->on_done =
        event_new(parts->base, sessions->done_fd, EV_READ | EV_PERSIST, on_done, sessions);
    if (!sessions->on_done || event_add(sessions->on_done, NULL) < 0)
        return err_set(err, -ENOMEM, "the list of sessions");
    result = control_on(parts->control, "sessions", list_sessions, sessions, err);
    if (result < 0)
        return result;
    *out = TAKE(sessions);
    return 0;
}

void sessions_dismiss(struct sessions *sessions)
{
    struct gather *gather;

    event_del(sessions->on_done);
    LIST_FOREACH(gather, &sessions->gathers, all)
    gather->call = NULL;
}

void sessions_free(struct sessions **sessions)
{
    struct sessions *gone = TAKE(*sessions);

    if (!gone)
        return;
    while (!LIST_EMPTY(&gone->gathers)) {
        struct gather *gather = LIST_FIRST(&gone->gathers);

        gather_free(&gather);
    }
    if (gone->on_done)
        event_free(gone->on_done);
    fd_close(&gone->done_fd);
    free(gone);
}
