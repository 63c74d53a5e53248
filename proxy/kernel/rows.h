/* rows: an automaton in the making, as bpf/spell.h walks over it. Pure.
 *
 * Rows are numbered from `base` on; what they lead to below that is somebody else's (the grammar).
 * Called by:  grammar.c, automaton.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/spell_rows.h"

struct rows { /* begins zeroed, but for base */
    uint16_t base;
    uint16_t (*next)[256];
    struct spell_about *abouts;
    size_t len, room;
    bool failed; /* out of memory, or there are more than SPELL_ROWS: what was added since is row 0
                  */
};
void rows_fini(struct rows *rows);

/* A row that every byte leads from to another (SPELL_ROWS: to itself); it lets every rule fit. */
uint16_t rows_add(struct rows *rows, enum spell_action action, unsigned what, uint16_t to);
/* One like another, with an action of its own. */
uint16_t rows_copy(struct rows *rows, uint16_t of, enum spell_action action, unsigned what);
/* Of rows that are its own: */
void rows_lead(struct rows *rows, uint16_t from, uint8_t byte, uint16_t to);
void rows_lead_all(struct rows *rows, uint16_t from, const char *bytes, uint16_t to);
void rows_lead_range(struct rows *rows, uint16_t from, unsigned first, unsigned last, uint16_t to);
uint16_t rows_leads(const struct rows *rows, uint16_t from, uint8_t byte);
struct spell_about *rows_about(struct rows *rows, uint16_t row);
void rows_set_mask(struct rows *rows, uint16_t row, unsigned which, uint64_t mask);

/* The row that a word leads to, in either case if nocase; those on the way are made where there are
 * none, as copies of `others`. */
uint16_t rows_word(struct rows *rows, uint16_t from, const char *word, bool nocase,
                   uint16_t others);

/* Makes one of rows from `first` on that no text tells apart; the row at first stays there.
 * -ENOMEM. Before rows_mark(). */
int rows_merge(struct rows *rows, uint16_t first);

/* Marks what leads to a row with an action. grammar: the rows below base. When all are there. */
void rows_mark(struct rows *rows, const struct rows *grammar);
