/* snapshot: a process as /proc shows it, for those that began before the kernel told us of them, or
 * outside any pod, or whose record was lost. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "policy/facts.h"

/* What /proc says of this process. start_ns is its start on the boot clock, where it is known:
 * another process that has got the pid since is then not taken for it. 0: whoever has the pid; its
 * start is then only as fine as /proc tells it, 10 ms. What identity/ knows better is left empty:
 * pod, parent, ids and the start by the wall clock. A reference, or NULL: gone, or out of memory.
 */
struct process *snapshot_take(uint32_t pid, uint64_t start_ns);

/* What snapshot_take() takes this start for where nobody told it. */
uint64_t snapshot_start_ns(uint64_t start_ns);
/* It is there, if only as what is left of it; or its first thread has ended, and others go on. */
bool snapshot_is_same(uint32_t pid, uint64_t start_ns);
/* It is there and not a zombie. */
bool snapshot_is_alive(uint32_t pid, uint64_t start_ns);
