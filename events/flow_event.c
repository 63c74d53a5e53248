#include "events/flow_event.h"

#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

enum {
    CHUNK_SIZE =
        1000, /* the texts of one request by a plain client fit, and malloc(3) has it at hand */
    PROCESS_JSON = 600, /* names and numbers of a process as JSON, about */
};

struct flow_event_chunk {
    struct flow_event_chunk *next;
    size_t used, size;
    alignas(max_align_t) char room[];
};

static const char *const kind_names[] = {
    [FLOW_EVENT_EXEC] = "process_exec",
    [FLOW_EVENT_EXIT] = "process_exit",
    [FLOW_EVENT_CONNECT] = "process_connect",
    [FLOW_EVENT_DNS] = "process_dns",
    [FLOW_EVENT_TLS] = "process_tls",
    [FLOW_EVENT_HTTP] = "process_http",
    [FLOW_EVENT_GRPC] = "process_grpc",
    [FLOW_EVENT_WEBSOCKET] = "process_websocket",
    [FLOW_EVENT_SOCK_STATS] = "process_sock_stats",
    [FLOW_EVENT_CLOSE] = "process_close",
    [FLOW_EVENT_POLICY] = "process_policy",
    [FLOW_EVENT_CAPTURE] = "capture",
    [FLOW_EVENT_LOST] = "lost_events",
};
_Static_assert(ARRAY_SIZE(kind_names) == FLOW_EVENT_MAX, "name every kind");

uint64_t flow_event_now(void)
{
    return clock_read_ns(CLOCK_REALTIME);
}

struct flow_event *flow_event_new(enum flow_event_kind kind, struct process *process,
                                  struct pod *pod)
{
    /* not calloc(3), which takes none of those that this thread has freed (glibc's tcache) */
    struct flow_event *event = malloc(sizeof(*event));

    if (!event)
        return NULL;
    *event = (struct flow_event){.kind = kind, .time_ns = flow_event_now()};
    event->process = process_ref(process);
    event->pod = pod_ref(pod);
    return event;
}

void flow_event_free(struct flow_event **event)
{
    struct flow_event *gone = TAKE(*event);

    if (!gone)
        return;
    if (gone->held) {
        gone->held--;
        return;
    }
    while (gone->arena) {
        struct flow_event_chunk *next = gone->arena->next;

        free(gone->arena);
        gone->arena = next;
    }
    process_unref(&gone->process);
    pod_unref(&gone->pod);
    free(gone);
}

struct flow_event *flow_event_hold(struct flow_event *event)
{
    event->held++;
    return event;
}

/* Its strings, and the JSON that is made of them when it is first told. */
static size_t process_size(const struct process *process)
{
    size_t texts = strlen(process->exec_id) + strlen(process->parent_exec_id) +
                   strlen(process->binary) + strlen(process->arguments) + strlen(process->cwd);

    return sizeof(*process) + 2 * texts + PROCESS_JSON;
}

size_t flow_event_size(const struct flow_event *event)
{
    size_t size = sizeof(*event);

    for (const struct flow_event_chunk *chunk = event->arena; chunk; chunk = chunk->next)
        size += sizeof(*chunk) + chunk->size;
    if (event->kind == FLOW_EVENT_EXEC && event->process)
        size += process_size(event->process);
    return size;
}

/* Room in the newest chunk, or in a new one; what an old chunk has left is not used again. */
static void *arena_room(struct flow_event *event, size_t size, size_t align)
{
    struct flow_event_chunk *chunk = event->arena;
    size_t at = chunk ? (chunk->used + align - 1) & ~(align - 1) : 0;

    if (!chunk || at > chunk->size || chunk->size - at < size) {
        size_t room = size > CHUNK_SIZE ? size : CHUNK_SIZE;

        if (room > SIZE_MAX - sizeof(*chunk))
            return NULL;
        chunk = malloc(sizeof(*chunk) + room);
        if (!chunk)
            return NULL;
        *chunk = (struct flow_event_chunk){.next = event->arena, .size = room};
        event->arena = chunk;
        at = 0;
    }
    chunk->used = at + size;
    return chunk->room + at;
}

static void *arena_take(struct flow_event *event, size_t size, size_t align)
{
    void *room = arena_room(event, size, align);

    event->incomplete |= !room;
    return room;
}

/* Room for count things, zeroed. */
static void *arena_array(struct flow_event *event, size_t count, size_t size, size_t align)
{
    void *array;

    if (__builtin_mul_overflow(count, size, &size))
        return NULL;
    array = arena_take(event, size, align);
    return array ? memset(array, 0, size) : NULL;
}

const char *flow_event_text(struct flow_event *event, struct span text)
{
    char *copy = text.len < SIZE_MAX ? arena_take(event, text.len + 1, 1) : NULL;

    if (!copy)
        return NULL;
    if (text.len)
        memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    return copy;
}

struct flow_event_header *flow_event_headers(struct flow_event *event, size_t count)
{
    return arena_array(event, count, sizeof(struct flow_event_header),
                       alignof(struct flow_event_header));
}

bool flow_event_set_list(struct flow_event *event, const char *const *texts, size_t len,
                         const char ***out, size_t *out_len)
{
    const char **list =
        len ? arena_array(event, len, sizeof(const char *), alignof(const char *)) : NULL;
    bool whole = list || !len;

    for (size_t i = 0; list && i < len; i++) {
        list[i] = flow_event_text(event, span_of_text(texts[i]));
        whole &= list[i] != NULL;
    }
    *out = list;
    *out_len = list ? len : 0;
    return whole;
}

bool flow_event_set_names(struct flow_event *event, const char *const *names, size_t len)
{
    return flow_event_set_list(event, names, len, &event->names, &event->names_len);
}

const char *flow_event_name(enum flow_event_kind kind)
{
    return kind_names[kind];
}

const char *flow_event_signal(uint32_t number, char out[FLOW_EVENT_SIGNAL_MAX])
{
    const char *name = sigabbrev_np((int)number);

    if (name)
        snprintf(out, FLOW_EVENT_SIGNAL_MAX, "SIG%s", name);
    else /* a real-time signal: it has a number only */
        snprintf(out, FLOW_EVENT_SIGNAL_MAX, "SIG%u", number);
    return out;
}
