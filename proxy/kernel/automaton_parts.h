/* automaton_parts: what the files of an automaton share. */
#pragma once

#include "policy/regex.h"
#include "policy/regex_states.h"
#include "proxy/kernel/automaton.h"
#include "proxy/kernel/grammar.h"

/* What one rule, or several, want of a text; exactly one of these is not NULL. */
struct part {
    const struct regex *regex;
    const char *text;  /* that very text */
    const char *value; /* the same, and blanks behind it */
};
uint64_t part_begins(const struct part *part);
uint64_t part_leads(const struct part *part, uint64_t state, uint8_t byte);
bool part_ends(const struct part *part, uint64_t state);

/* All of them at once, beside a grammar of their own: a state is a mode, and one of each part. */
struct product {
    struct rows *rows;
    const struct rows *grammar;
    struct part *parts; /* owned */
    size_t parts_len;
    struct states states;
    uint16_t first; /* the row of its first state; one for each follows */
    const void *arg;
    /* Where a byte leads: a row that is none of these; or, negative, a state, *to, the transition
     * to which has flags. */
    int (*leads)(const struct product *product, const uint64_t *from, uint8_t byte, uint64_t *to,
                 uint16_t *flags);
    uint64_t (*fits)(const struct product *product, const uint64_t *state);
};
void product_fini(struct product *product);
/* The number of a part like this one, which is added if there is none. -ENOMEM. */
int product_part(struct product *product, struct part part);
/* Adds a row for each state that can be reached from `begin`, in that mode; its row is `first`.
 * begin NULL: all parts at their begin. */
int product_make(struct product *product, uint64_t mode, const uint64_t *begin);
/* Leads all parts by one byte. */
void product_lead(const struct product *product, const uint64_t *from, uint8_t byte, uint64_t *to);
