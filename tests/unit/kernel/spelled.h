/* spelled: policies as rows, and what bpf/spell.h says of a head by them. */
#pragma once

#include <errno.h>
#include <stdlib.h>

#include "bpf/spell.h"
#include "proxy/kernel/automaton.h"
#include "proxy/kernel/grammar.h"

const struct spell_rows *spell_rows_here;
const struct spell_about *spell_abouts_here;

enum { SPELLED_KEY = 0x5eed };

struct spelled {
    struct policy_spelling *spelling;
    struct rows grammar, rows;
    struct spell_rows *table;
    struct spell_about *abouts;
    int made; /* what automaton_make() said */
};

static inline void spelled_fini(struct spelled *spelled)
{
    policy_spelling_free(&spelled->spelling);
    rows_fini(&spelled->grammar);
    rows_fini(&spelled->rows);
    free(spelled->table);
    free(spelled->abouts);
}

static inline void spelled_init(struct spelled *out, const struct policy_view *view)
{
    size_t base;

    *out = (struct spelled){.spelling = policy_spelling_new(view)};
    out->table = calloc(1, sizeof(*out->table));
    out->abouts = calloc(SPELL_ROWS, sizeof(*out->abouts));
    assert_non_null(out->spelling);
    assert_true(out->table && out->abouts && grammar_make(&out->grammar, SPELLED_KEY));
    base = out->rows.base = (uint16_t)out->grammar.len;
    out->made = automaton_make(&out->rows, &out->grammar, out->spelling, SPELLED_KEY, 2);
    assert_true(out->made == 0 || out->made == -E2BIG);
    memcpy(out->table->next, out->grammar.next, base * sizeof(*out->grammar.next));
    memcpy(out->abouts, out->grammar.abouts, base * sizeof(*out->abouts));
    if (out->made == 0 && out->rows.len) {
        memcpy(out->table->next[base], out->rows.next, out->rows.len * sizeof(*out->rows.next));
        memcpy(out->abouts + base, out->rows.abouts, out->rows.len * sizeof(*out->abouts));
    }
    spell_rows_here = out->table;
    spell_abouts_here = out->abouts;
}

static inline struct abi_spelling spelled_at(struct spelled *spelled,
                                             const struct policy_scope *scope,
                                             const struct policy_facts *facts)
{
    int number = policy_spelling_at(spelled->spelling, scope, facts);
    const struct spelling_place *place;

    assert_true(number >= 0);
    if (!number)
        return (struct abi_spelling){0};
    place = &spelled->spelling->places[number - 1];
    return (struct abi_spelling){
        .row = spelled->rows.len ? spelled->rows.base : 0,
        .flags = place->flags | (spelled->made < 0 ? ABI_SPELL_AGENT : 0),
        .rules = place->rules,
        .named = place->named,
        .denies = place->denies,
        .tls = place->tls,
    };
}

/* What policy_spoken would say of a name that was resolved. */
static inline uint64_t spelled_spoken(const struct spelled *spelled, const char *name)
{
    uint64_t fits = 0;

    for (size_t i = 0; i < spelled->spelling->rules_len; i++) {
        const struct spelling_rule *rule = &spelled->spelling->rules[i];

        for (size_t j = 0; j < rule->egress_len; j++)
            for (size_t k = 0; k < rule->egress[j]->names_len; k++)
                if (match_pattern(rule->egress[j]->names[k].text, name))
                    fits |= policy_spelling_named(spelled->spelling, rule->egress[j]);
    }
    return fits;
}

/* Whether a head goes; seed: how it is cut. */
static inline bool spelled_goes(const struct abi_spelling *spelling, struct span head,
                                uint64_t spoken, bool encrypted, unsigned seed)
{
    struct spell spell = {.start = (uint16_t)spelling->row};
    struct spell_ties ties = {0};

    for (size_t at = 0; at < head.len;) {
        struct spell_piece piece = {0};
        struct spell_told told;
        size_t len = head.len - at;

        seed = seed * 1103515245u + 12345u;
        if (len > 1 + (seed >> 16) % 40)
            len = 1 + (seed >> 16) % 40;
        memcpy(piece.bytes, head.data + at, len);
        at += spell_take(&spell, &ties, &piece, (uint32_t)len, &told);
        if (told.what & SPELL_ENDS)
            return spell_goes(&spell, spelling, spoken, encrypted);
        if (told.what & SPELL_TURNED)
            return !(spelling->flags & ABI_SPELL_JUDGED);
    }
    return false;
}
