/* kernel_spells: the rows by which the kernel reads requests: HTTP's grammar, and behind it the
 * automaton of each set of rules, in a map that the kernel walks over (bpf/spell_rows.h).
 *
 * Rows of a set are there, whole, before anything leads to them; when it goes its entry says so, so
 * that a head which is still being read by them fits nothing.
 * Called by:  kernel_rules.c. Control thread. */
#pragma once

#include "base/err.h"
#include "policy/table.h"

struct kernel_spells;
struct sallyport_bpf;

int kernel_spells_new(struct kernel_spells **out, struct sallyport_bpf *bpf, struct err *err);
void kernel_spells_free(struct kernel_spells **spells); /* accepts an empty one; rows stay */

/* By which names are hashed: spell_hash(). */
uint64_t kernel_spells_key(const struct kernel_spells *spells);

/* Makes the rows of a table and notes in it where they lie. Where they are too many, or there is no
 * room, that is noted, and told once: then no request goes that rules are about. -ENOMEM. */
int kernel_spells_write(struct kernel_spells *spells, uint32_t number, struct policy_table *table,
                        struct err *err);
void kernel_spells_erase(struct kernel_spells *spells, uint32_t number);
/* Erases what has a number that is not ours. */
void kernel_spells_sweep(struct kernel_spells *spells, bool (*is_ours)(void *arg, uint32_t number),
                         void *arg);
