/* kernel_tables: tables in the kernel's maps, by their numbers. Called by:  kernel_rules.c. */
#pragma once

#include "base/err.h"
#include "policy/table.h"

struct sallyport_bpf;

/* Nothing is in the maps on failure. -ENOSPC: there is no room. table NULL: the agent decides. */
int kernel_tables_write(struct sallyport_bpf *bpf, uint32_t number,
                        const struct policy_table *table, struct err *err);
/* Lines that came to a table, from this one on. */
int kernel_tables_add_lines(struct sallyport_bpf *bpf, uint32_t number,
                            const struct policy_table *table, size_t from, struct err *err);
void kernel_tables_erase(struct sallyport_bpf *bpf, uint32_t number,
                         const struct policy_table *table);

/* The highest number there is; 0: none. */
uint32_t kernel_tables_last(struct sallyport_bpf *bpf);
/* Erases, of all maps, what has a number that is not ours. */
void kernel_tables_sweep(struct sallyport_bpf *bpf, bool (*is_ours)(void *arg, uint32_t number),
                         void *arg);
