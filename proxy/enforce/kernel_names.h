/* kernel_names: what one pod's addresses were resolved from, as far as one table has rules about
 * names, told to the kernel: an address is of another class as long as a name holds.
 * Called by:  kernel_rules.c, one at a time. */
#pragma once

#include "base/err.h"
#include "policy/table.h"

struct kernel_names;
struct sallyport_bpf;

/* Borrows all. key: of hashes. */
int kernel_names_new(struct kernel_names **out, struct sallyport_bpf *bpf, uint64_t pod,
                     uint32_t number, struct policy_table *table, uint64_t key, struct err *err);
/* Erases them from the kernel's map, unless `leave`. */
void kernel_names_free(struct kernel_names **names, bool leave);

/* Without a closing dot; both times by the monotonic clock. A name whose time is over holds for who
 * connected before that, as long as there is room. What does not fit stays closed. */
void kernel_names_add(struct kernel_names *names, const char *name, const struct addr *address,
                      uint64_t until_ns, uint64_t now_ns);
/* Writes them down for the next agent, after what was before these has erased the same. */
void kernel_names_remember(const struct kernel_names *names);
