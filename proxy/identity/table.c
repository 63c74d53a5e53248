#include "proxy/identity/table.h"

#include <errno.h>

#include "base/cleanup.h"

enum { BUCKETS_MIN = 256 };

static struct table_entry **bucket_of(const struct table *table, uint32_t pid)
{
    return &table->buckets[pid & (table->buckets_len - 1)]; /* pids are given out in turn */
}

static void drop(struct table_entry **entry)
{
    struct table_entry *gone = *entry;

    *entry = gone->next;
    process_unref(&gone->process);
    free(gone);
}

int table_init(struct table *table)
{
    *table = (struct table){.buckets_len = BUCKETS_MIN};
    table->buckets = calloc(table->buckets_len, sizeof(struct table_entry *));
    table->ended_tail = &table->ended;
    return table->buckets ? 0 : -ENOMEM;
}

void table_fini(struct table *table)
{
    for (size_t i = 0; table->buckets && i < table->buckets_len; i++)
        while (table->buckets[i])
            drop(&table->buckets[i]);
    while (table->ended)
        drop(&table->ended);
    free(TAKE(table->buckets));
}

struct table_entry *table_find(const struct table *table, uint32_t pid, uint64_t start_ns)
{
    struct table_entry *entry = *bucket_of(table, pid);

    while (entry && entry->process->pid != pid)
        entry = entry->next;
    return entry && (!start_ns || entry->process->start_ns == start_ns) ? entry : NULL;
}

struct table_entry *table_find_ended(const struct table *table, uint32_t pid, uint64_t start_ns)
{
    struct table_entry *entry = table->ended;

    while (entry && (entry->process->pid != pid || entry->process->start_ns != start_ns))
        entry = entry->next;
    return entry;
}

/* Keeps chains short. Out of memory they just grow longer. */
static void grow(struct table *table)
{
    struct table grown = {.buckets_len = 2 * table->buckets_len};

    grown.buckets = calloc(grown.buckets_len, sizeof(struct table_entry *));
    if (!grown.buckets)
        return;
    for (size_t i = 0; i < table->buckets_len; i++)
        while (table->buckets[i]) {
            struct table_entry *entry = table->buckets[i];
            struct table_entry **to = bucket_of(&grown, entry->process->pid);

            table->buckets[i] = entry->next;
            entry->next = *to;
            *to = entry;
        }
    free(table->buckets);
    table->buckets = grown.buckets;
    table->buckets_len = grown.buckets_len;
}

struct table_entry *table_put(struct table *table, struct process *process)
{
    struct table_entry *entry = table_find(table, process->pid, 0), **bucket;

    if (entry) {
        if (entry->told && entry->process->start_ns != process->start_ns) {
            entry->told = false; /* it ended, and nobody said so */
            table->told--;
        }
        process_unref(&entry->process);
        entry->process = process_ref(process);
        return entry;
    }
    entry = calloc(1, sizeof(*entry));
    if (!entry)
        return NULL;
    if (table->len == table->buckets_len)
        grow(table);
    entry->process = process_ref(process);
    bucket = bucket_of(table, process->pid);
    entry->next = *bucket;
    *bucket = entry;
    table->len++;
    return entry;
}

void table_tell(struct table *table, struct table_entry *entry)
{
    table->told += !entry->told;
    entry->told = true;
}

void table_end(struct table *table, struct table_entry *entry)
{
    struct table_entry **at = bucket_of(table, entry->process->pid);

    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    entry->next = NULL;
    *table->ended_tail = entry;
    table->ended_tail = &entry->next;
    table->len--;
    table->told -= entry->told;
}

void table_drop_first_ended(struct table *table)
{
    drop(&table->ended);
    if (!table->ended)
        table->ended_tail = &table->ended;
}

void table_each(const struct table *table,
                void (*visit)(void *arg, const struct process *process, bool told), void *arg)
{
    for (size_t i = 0; i < table->buckets_len; i++)
        for (const struct table_entry *entry = table->buckets[i]; entry; entry = entry->next)
            visit(arg, entry->process, entry->told);
}

void table_sweep(struct table *table, bool (*dead)(void *arg, struct table_entry *entry), void *arg)
{
    for (size_t i = 0; i < table->buckets_len; i++)
        for (struct table_entry **at = &table->buckets[i]; *at;)
            if (dead(arg, *at)) {
                table->len--;
                table->told -= (*at)->told;
                drop(at);
            } else {
                at = &(*at)->next;
            }
}
