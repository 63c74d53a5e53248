/* grammar_own: what grammar.c and grammar_fields.c share: the few words that rows are written in;
 * nobody else's. */
#pragma once

#include "proxy/kernel/grammar.h"

enum { ENTRY = SPELL_ROW_ENTRY, ODD = SPELL_ROW_ODD, SELF = SPELL_ROWS };

static inline void set_slot(struct rows *rows, enum spell_slot slot, uint16_t row)
{
    rows_lead(rows, ENTRY, (uint8_t)slot, row);
}

static inline uint16_t get(const struct rows *rows, enum spell_slot slot)
{
    return rows_leads(rows, ENTRY, (uint8_t)slot);
}

static inline uint16_t add(struct rows *rows, enum spell_action action)
{
    return rows_add(rows, action, 0, ODD);
}

static inline uint16_t copy(struct rows *rows, uint16_t of, enum spell_action action)
{
    return rows_copy(rows, of, action, 0);
}

static inline void lead_blanks(struct rows *rows, uint16_t from, uint16_t to)
{
    rows_lead_all(rows, from, " \t", to);
}

static inline void lead_digits(struct rows *rows, uint16_t from, uint16_t to)
{
    rows_lead_range(rows, from, '0', '9', to);
}

static inline void lead_hex(struct rows *rows, uint16_t from, uint16_t to)
{
    lead_digits(rows, from, to);
    rows_lead_range(rows, from, 'a', 'f', to);
    rows_lead_range(rows, from, 'A', 'F', to);
}

/* RFC 9110 section 5.6.2. */
static inline void lead_token(struct rows *rows, uint16_t from, uint16_t to)
{
    lead_digits(rows, from, to);
    rows_lead_range(rows, from, 'a', 'z', to);
    rows_lead_range(rows, from, 'A', 'Z', to);
    rows_lead_all(rows, from, "!#$%&'*+-.^_`|~", to);
}

/* What may stand in a field's value (RFC 9110 section 5.5). */
static inline void lead_text(struct rows *rows, uint16_t from, uint16_t to)
{
    rows_lead(rows, from, '\t', to);
    rows_lead_range(rows, from, ' ', '~', to);
    rows_lead_range(rows, from, 0x80, 0xff, to);
}

/* Values of fields; then, when hosts are there, too, the lines. */
void grammar_add_values(struct rows *rows);
void grammar_add_fields(struct rows *rows);
