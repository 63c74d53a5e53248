/* automaton: the rules of a spelling (policy/spelling.h) as rows for bpf/spell.h, behind those of
 * the grammar: which rules a method, a path, a host and fields of a head fit.
 *
 * Each of these is a product of what the rules want of it, made by following all of them at once.
 * Pure. Called by:  enforce/kernel_spells.c. */
#pragma once

#include "policy/spelling.h"
#include "proxy/kernel/rows.h"

enum { AUTOMATON_ROWS = 2048 }; /* of one set of rules */

/* The first row is its entry. None (rows->len 0) where no rule looks at requests: then the
 * grammar's entry, row 0, will do. -ENOMEM; -E2BIG. */
int automaton_make(struct rows *rows, const struct rows *grammar,
                   const struct policy_spelling *spelling, uint64_t key, uint32_t made);
