/* table: the processes that live, by pid, and those that ended a moment ago, in that order.
 *
 * A pid has one living process at a time; the kernel gives it to the next only after the last one's
 * exit. Control thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/facts.h"

struct table_entry {
    struct process *process; /* a reference: the image it runs, or ran last */
    bool told;               /* its exec was told, so its exit will be */
    /* ended */
    bool waits; /* its exit is yet to be told */
    uint32_t exit_code;
    uint64_t exit_ns; /* boot clock */
    uint64_t read_ns; /* ... when the kernel's record of it was read */
    struct table_entry *next;
};

struct table {
    struct table_entry **buckets;
    size_t buckets_len, len; /* len: the living */
    size_t told;             /* the living whose exec was told */
    struct table_entry *ended, **ended_tail;
};

int table_init(struct table *table);
void table_fini(struct table *table);

/* The living process with this pid, which began at start_ns (0: whenever); borrowed, or NULL. */
struct table_entry *table_find(const struct table *table, uint32_t pid, uint64_t start_ns);
/* The same among the ended. */
struct table_entry *table_find_ended(const struct table *table, uint32_t pid, uint64_t start_ns);

/* The entry of the process's pid: a new one, or that of an earlier image or process, which is let
 * go. Takes a reference on the process. NULL when out of memory. */
struct table_entry *table_put(struct table *table, struct process *process);

/* Its exec is told. */
void table_tell(struct table *table, struct table_entry *entry);
/* Moves a living one behind the ended. */
void table_end(struct table *table, struct table_entry *entry);
/* Drops the first of the ended. */
void table_drop_first_ended(struct table *table);
/* Calls visit(arg, process, told) for each living one. */
void table_each(const struct table *table,
                void (*visit)(void *arg, const struct process *process, bool told), void *arg);
/* Calls dead(arg, entry) for each living one and drops those for which it is true. */
void table_sweep(struct table *table, bool (*dead)(void *arg, struct table_entry *entry),
                 void *arg);
