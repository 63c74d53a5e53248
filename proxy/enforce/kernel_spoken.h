/* kernel_spoken: names that policies go by, written down in a map that is pinned with the rest: an
 * agent that was killed has told nobody, and programs that know an address do not ask for it again.
 * On the kernel route a request's host is looked for there (bpf/spell.h).
 * Called by:  kernel_names.c, kernel_rules.c. */
#pragma once

#include "base/addr.h"

struct names;
struct sallyport_bpf;

struct kernel_spoken {
    const char *name;
    uint64_t until_ns;
    uint32_t rules; /* the number of those by which it counts */
    uint64_t fits;  /* policy_spelling_named() */
};

/* Where there is no room, the next agent does not know it, and the kernel refuses who says it. key:
 * kernel_spells_key(). */
void kernel_spoken_put(struct sallyport_bpf *bpf, uint64_t key, uint64_t pod, const uint8_t ip[16],
                       const struct kernel_spoken *spoken);
void kernel_spoken_drop(struct sallyport_bpf *bpf, uint64_t key, uint64_t pod, const uint8_t ip[16],
                        const char *name);

/* What an agent before us wrote down of pods that the kernel knows, also if its time is over: so
 * connections go on that were made before. The rest is erased. */
void kernel_spoken_restore(struct sallyport_bpf *bpf, struct names *names);
/* Erases what counts by no rules that are ours. */
void kernel_spoken_sweep(struct sallyport_bpf *bpf, bool (*is_ours)(void *arg, uint32_t number),
                         void *arg);
