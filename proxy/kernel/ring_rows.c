#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "proxy/kernel/ring_own.h"

enum { ROWS_FIRST = 256 };

static struct entry **row_of(struct entry **rows, size_t rows_len, uint64_t cookie)
{
    return &rows[cookie * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (rows_len - 1)];
}

int ring_rows_init(struct ring *ring)
{
    ring->rows_len = ROWS_FIRST;
    ring->rows = calloc(ring->rows_len, sizeof(struct entry *));
    return ring->rows ? 0 : -ENOMEM;
}

struct entry *ring_find(const struct ring *ring, uint64_t cookie, uint64_t time_ns)
{
    struct entry *entry = *row_of(ring->rows, ring->rows_len, cookie), *found = NULL;

    for (; entry; entry = entry->next)
        if (entry->origin.cookie == cookie && entry->began_ns <= time_ns &&
            (!found || entry->began_ns > found->began_ns))
            found = entry;
    return found;
}

/* Without memory rows grow longer. */
static void grow(struct ring *ring)
{
    size_t len = 2 * ring->rows_len;
    struct entry **rows = ring->len < ring->rows_len ? NULL : calloc(len, sizeof(struct entry *));

    if (!rows)
        return;
    for (size_t i = 0; i < ring->rows_len; i++)
        while (ring->rows[i]) {
            struct entry *entry = ring->rows[i], **row = row_of(rows, len, entry->origin.cookie);

            ring->rows[i] = entry->next;
            entry->next = *row;
            *row = entry;
        }
    free(ring->rows);
    ring->rows = rows;
    ring->rows_len = len;
}

void ring_insert(struct ring *ring, struct entry *entry)
{
    struct entry **row;

    grow(ring);
    row = row_of(ring->rows, ring->rows_len, entry->origin.cookie);
    entry->next = *row;
    *row = entry;
    ring->len++;
}

static void entry_free(struct entry **entry)
{
    struct entry *gone = TAKE(*entry);

    for (size_t i = 0; i < ABI_DIRECTIONS; i++)
        free(gone->ktls[i]);
    stream_state_free(&gone->state);
    free(gone);
}

void ring_forget(struct ring *ring, struct entry *entry)
{
    struct entry **at = row_of(ring->rows, ring->rows_len, entry->origin.cookie);

    while (*at != entry)
        at = &(*at)->next;
    ring_take(ring, at);
    entry_free(&entry);
}

struct entry *ring_take(struct ring *ring, struct entry **row)
{
    struct entry *entry = *row;

    *row = entry->next;
    ring->len--;
    return entry;
}

void ring_rows_fini(struct ring *ring)
{
    while (ring->handed) {
        struct entry *entry = ring->handed;

        ring->handed = entry->next_over;
        entry_free(&entry);
    }
    free(TAKE(ring->rows));
}
