#include "events/forward.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/facts.h"

enum { MAGIC = 0x53504632 };
enum field { FIELD_SPACE, FIELD_POD, FIELD_BINARY, FIELD_JSON, FIELD_TEXT, FIELD_MAX };

struct head {
    uint32_t magic;
    uint32_t kind; /* enum flow_event_kind */
    uint64_t time_ns;
    uint32_t len[FIELD_MAX]; /* of what follows, in this order */
    uint32_t pad;
};

/* ---- out ---- */

static void put(struct buffer *out, struct head *head, enum field field, const char *text)
{
    head->len[field] = (uint32_t)strlen(text);
    buffer_append(out, text, head->len[field]);
}

static void put_rest(struct buffer *out, struct head *head, enum field field, size_t from)
{
    head->len[field] = out->failed ? 0 : (uint32_t)(out->len - from);
}

void forward_render(struct sink *sink, const struct flow_event *event, struct buffer *out)
{
    struct head head = {.magic = MAGIC, .kind = event->kind, .time_ns = event->time_ns};
    const struct pod *pod = event->pod;
    size_t start = out->len, at;
    struct sink plain = {.node_name = sink->node_name};

    if (!pod && event->process)
        pod = event->process->pod;
    buffer_append(out, &head, sizeof(head));
    put(out, &head, FIELD_SPACE, pod ? pod->space : "");
    put(out, &head, FIELD_POD, pod ? pod->name : "");
    put(out, &head, FIELD_BINARY, event->process ? event->process->binary : "");
    at = out->len;
    json_render_member(event, out);
    put_rest(out, &head, FIELD_JSON, at);
    at = out->len;
    text_render(&plain, event, out);
    put_rest(out, &head, FIELD_TEXT, at);
    if (!out->failed)
        memcpy(out->data + start, &head, sizeof(head));
}

/* ---- in ---- */

static char *text_of(struct span span)
{
    char *text = malloc(span.len + 1);

    if (text) {
        memcpy(text, span.data, span.len);
        text[span.len] = 0;
    }
    return text;
}

static struct pod *pod_of(struct span space, struct span name)
{
    CLEANUP(pod_unref) struct pod *pod = calloc(1, sizeof(*pod));

    if (!pod)
        return NULL;
    atomic_init(&pod->refs, 1);
    pod->space = text_of(space);
    pod->name = text_of(name);
    return pod->space && pod->name ? TAKE(pod) : NULL;
}

/* What filters ask of a process; the rest of it is in what was rendered. */
static struct process *process_of(struct span binary)
{
    CLEANUP(process_unref) struct process *process = calloc(1, sizeof(*process));

    if (!process)
        return NULL;
    atomic_init(&process->refs, 1);
    process->binary = text_of(binary);
    process->exec_id = strdup("");
    process->parent_exec_id = strdup("");
    process->arguments = strdup("");
    process->cwd = strdup("");
    return process->binary && process->exec_id && process->parent_exec_id && process->arguments &&
                   process->cwd
               ? TAKE(process)
               : NULL;
}

static struct flow_event *event_of(const struct head *head, const struct span field[FIELD_MAX])
{
    CLEANUP(pod_unref) struct pod *pod = pod_of(field[FIELD_SPACE], field[FIELD_POD]);
    CLEANUP(process_unref) struct process *process = process_of(field[FIELD_BINARY]);
    CLEANUP(flow_event_free)
    struct flow_event *event = pod && process ? flow_event_new(head->kind, process, pod) : NULL;

    if (!event)
        return NULL;
    event->time_ns = head->time_ns;
    event->rendered_json = flow_event_text(event, field[FIELD_JSON]);
    event->rendered_text = flow_event_text(event, field[FIELD_TEXT]);
    return event->rendered_json && event->rendered_text ? TAKE(event) : NULL;
}

enum forward_status forward_read(struct span bytes, struct flow_event **out, size_t *used)
{
    struct span field[FIELD_MAX];
    struct head head;
    size_t at = sizeof(head);

    if (bytes.len < sizeof(head))
        return FORWARD_PARTIAL;
    memcpy(&head, bytes.data, sizeof(head));
    if (head.magic != MAGIC || head.kind >= FLOW_EVENT_MAX)
        return FORWARD_INVALID;
    for (int i = 0; i < FIELD_MAX; i++) {
        if (head.len[i] > FORWARD_MAX - at)
            return FORWARD_INVALID;
        at += head.len[i];
    }
    if (at > bytes.len)
        return FORWARD_PARTIAL;
    *used = at;
    at = sizeof(head);
    for (int i = 0; i < FIELD_MAX; i++) {
        field[i] = span_of(bytes.data + at, head.len[i]);
        at += head.len[i];
    }
    *out = event_of(&head, field);
    return *out ? FORWARD_DONE : FORWARD_NO_MEMORY;
}
