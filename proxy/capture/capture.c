#include "proxy/capture/capture.h"

#include <string.h>
#include <sys/eventfd.h>

const char *capture_kind_name(enum capture_kind kind)
{
    static const char *const names[] = {[CAPTURE_KEYS] = "keys", [CAPTURE_PCAP] = "pcap"};

    _Static_assert(ARRAY_SIZE(names) == CAPTURE_KIND_MAX, "name every kind");
    return names[kind];
}

struct capture *capture_new(enum capture_kind kind, struct pod *pod, uint64_t max, int wake_fd)
{
    struct capture *capture = calloc(1, sizeof(*capture));

    if (!capture)
        return NULL;
    atomic_init(&capture->refs, 1);
    pthread_mutex_init(&capture->lock, NULL);
    capture->kind = kind;
    capture->pod = pod_ref(pod);
    capture->max = max;
    capture->wake_fd = wake_fd;
    return capture;
}

struct capture *capture_ref(struct capture *capture)
{
    atomic_fetch_add(&capture->refs, 1);
    return capture;
}

void capture_unref(struct capture **capture)
{
    struct capture *gone = TAKE(*capture);

    if (!gone || atomic_fetch_sub(&gone->refs, 1) > 1)
        return;
    pod_unref(&gone->pod);
    buffer_fini(&gone->load);
    pthread_mutex_destroy(&gone->lock);
    free(gone);
}

/* ---- putting in ---- */

/* With the lock held: whether size bytes may be appended. */
static bool has_room(struct capture *capture, size_t size)
{
    static const char head[CAPTURE_HEAD];

    if (atomic_load(&capture->over))
        return false;
    if (capture->bytes + size > capture->max) {
        atomic_store(&capture->full, true);
        atomic_store(&capture->over, true);
        eventfd_write(capture->wake_fd, 1);
        return false;
    }
    capture->came++;
    if (capture->load.len + size > CAPTURE_ROOM) {
        capture->missed++;
        return false;
    }
    if (!capture->load.len)
        buffer_append(&capture->load, head, sizeof(head));
    return true;
}

/* The same, after it: what found no memory is as if it had found no room. */
static void put(struct capture *capture, size_t before, size_t size)
{
    if (capture->load.failed) {
        capture->load.failed = false;
        capture->load.len = before;
        capture->missed++;
        return;
    }
    capture->bytes += size;
    if (!before)
        eventfd_write(capture->wake_fd, 1);
}

void capture_packet(struct capture *capture, const struct pcapng_packet *packet)
{
    size_t size = pcapng_packet_size(packet), before;

    if (capture->kind != CAPTURE_PCAP || atomic_load(&capture->over))
        return;
    pthread_mutex_lock(&capture->lock);
    before = capture->load.len;
    if (has_room(capture, size)) {
        pcapng_packet(&capture->load, packet);
        put(capture, before, size);
    }
    pthread_mutex_unlock(&capture->lock);
}

void capture_line(struct capture *capture, const char *line)
{
    size_t size = strlen(line) + 1, before;

    if (capture->kind != CAPTURE_KEYS || atomic_load(&capture->over))
        return;
    pthread_mutex_lock(&capture->lock);
    before = capture->load.len;
    if (has_room(capture, size)) {
        buffer_append(&capture->load, line, size - 1);
        buffer_append(&capture->load, "\n", 1);
        put(capture, before, size);
    }
    pthread_mutex_unlock(&capture->lock);
}

/* ---- taking out ---- */

bool capture_take(struct capture *capture, struct buffer *load)
{
    struct buffer empty = *load;

    pthread_mutex_lock(&capture->lock);
    if (capture->load.len) {
        *load = capture->load;
        capture->load = empty;
    }
    pthread_mutex_unlock(&capture->lock);
    return load->len;
}

void capture_end(struct capture *capture)
{
    pthread_mutex_lock(&capture->lock);
    atomic_store(&capture->over, true);
    pthread_mutex_unlock(&capture->lock);
}

/* ---- those under way ---- */

void capture_table_init(struct capture_table *table)
{
    *table = (struct capture_table){.used = 0};
    pthread_mutex_init(&table->lock, NULL);
}

void capture_table_fini(struct capture_table *table)
{
    for (size_t i = 0; i < CAPTURES_MAX; i++)
        capture_unref(&table->slots[i]);
    pthread_mutex_destroy(&table->lock);
}

bool capture_table_add(struct capture_table *table, struct capture *capture)
{
    size_t i = 0;

    pthread_mutex_lock(&table->lock);
    while (i < CAPTURES_MAX && table->slots[i])
        i++;
    if (i < CAPTURES_MAX) {
        table->slots[i] = capture_ref(capture);
        atomic_fetch_add(&table->used, 1);
        if (capture->kind == CAPTURE_KEYS)
            atomic_fetch_add(&table->keys, 1);
    }
    pthread_mutex_unlock(&table->lock);
    return i < CAPTURES_MAX;
}

void capture_table_remove(struct capture_table *table, struct capture *capture)
{
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < CAPTURES_MAX; i++) {
        if (table->slots[i] != capture)
            continue;
        atomic_fetch_sub(&table->used, 1);
        if (capture->kind == CAPTURE_KEYS)
            atomic_fetch_sub(&table->keys, 1);
        capture_unref(&table->slots[i]);
    }
    pthread_mutex_unlock(&table->lock);
}

unsigned capture_table_find(struct capture_table *table, const struct pod *pod,
                            struct capture *out[CAPTURES_MAX])
{
    unsigned found = 0;

    if (!pod || !atomic_load_explicit(&table->used, memory_order_relaxed))
        return 0;
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < CAPTURES_MAX; i++)
        if (table->slots[i] && table->slots[i]->pod == pod)
            out[found++] = capture_ref(table->slots[i]);
    pthread_mutex_unlock(&table->lock);
    return found;
}
