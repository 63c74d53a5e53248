/* grammar: HTTP/1 heads, chunk lines and trailers as rows for bpf/spell.h: what http1_guard.c,
 * http1_rules.c and llhttp accept, letter by letter, without any rule of a policy.
 *
 * Pure. Called by:  automaton.c, whose rows lie behind these; kernel_spells.c; tests. */
#pragma once

#include "proxy/kernel/rows.h"

/* The whole: row 0 is its entry. key: of hashes. False: out of memory. */
bool grammar_make(struct rows *rows, uint64_t key);

/* Requests' methods, and by what number rows know each. NULL: there are no more. */
const char *grammar_method(size_t i, unsigned *number);

/* Parts that policies have of their own. Rows that others lead to are found by slot. */
uint16_t grammar_slot(const struct rows *grammar, enum spell_slot slot);
/* A line of fields begins: with further names; `others` is what every other byte of a name leads
 * to. */
uint16_t grammar_names(struct rows *rows, const struct rows *grammar, uint16_t *others);

bool grammar_is_name_byte(unsigned byte); /* of hosts */
