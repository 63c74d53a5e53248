/* spell_message: where messages begin and end, and what follows from a head that is whole: whether
 * there is a body, and which rules still fit. Private to spell.h and spell_act.h. */
#pragma once

#include "bpf/spell_rows.h"

SPELL_INLINE __u8 spell_lower(__u8 byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte;
}

SPELL_INLINE __u16 spell_slot(const struct spell *spell, __u32 slot)
{
    const struct spell_rows *rows = spell_rows_find();

    return rows ? spell_next(rows, spell->entry, slot) & SPELL_ROW : 0;
}

/* What is known of the entry: the hash's key, and whether it is still the one of the head's begin.
 */
SPELL_INLINE __u64 spell_key(const struct spell *spell)
{
    const struct spell_about *entry = spell_about_find(spell->entry);

    return entry ? entry->fits : 0;
}

SPELL_INLINE bool spell_is_over(const struct spell *spell)
{
    return spell->at > (spell->mode == SPELL_CHUNKS && !(spell->flags & SPELL_TRAILER)
                            ? SPELL_LINE_MAX
                            : SPELL_HEAD_MAX);
}

SPELL_INLINE void spell_turn(struct spell *spell, struct spell_told *told)
{
    if (spell->mode > SPELL_FIRST && spell->mode <= SPELL_LAST)
        spell->flags |= SPELL_SPOKE;
    spell->mode = SPELL_OTHER;
    spell->fits = 0;
    told->what |= SPELL_TURNED;
}

/* ---- messages ---- */

SPELL_INLINE void spell_message_begins(struct spell *spell)
{
    const struct spell_about *entry = spell_about_find(spell->start);
    __u32 slot = SPELL_SLOT_FIRST;

    spell->entry = spell->start;
    spell->made = entry ? entry->made : 0;
    spell->left = spell->hash = spell->asked = 0;
    spell->fits = ~0ull;
    spell->seen = spell->since = 0;
    spell->port = spell->asked_port = spell->lines = 0;
    spell->method = 0;
    spell->flags &= SPELL_ANSWERS | SPELL_SPOKE;
    if (spell->mode == SPELL_HEAD)
        slot = spell->flags & SPELL_ANSWERS ? SPELL_SLOT_ANSWER : SPELL_SLOT_REQUEST;
    spell->row = spell_slot(spell, slot);
}

SPELL_INLINE bool spell_is_last(const struct spell *spell)
{
    return spell->flags & SPELL_CLOSE ||
           (spell->flags & SPELL_OLD && !(spell->flags & SPELL_KEEP_ALIVE));
}

SPELL_INLINE bool spell_is_interim(const struct spell *spell)
{
    return spell->flags & SPELL_ANSWERS && spell->port < 200 && spell->port != 101;
}

/* Nothing may follow but what is not HTTP, or the next message. */
SPELL_INLINE void spell_goes_on(struct spell *spell)
{
    spell->at = 0;
    spell->mode = SPELL_HEAD;
    if (!spell_is_last(spell) || spell_is_interim(spell))
        return;
    spell->mode = SPELL_LAST;
    spell->row = spell_slot(spell, SPELL_SLOT_LAST);
}

/* In a tunnel both begin again. */
SPELL_INLINE void spell_begins_again(struct spell *spell)
{
    __u16 start = spell->start;

    __builtin_memset(spell, 0, sizeof(*spell));
    spell->start = start;
}

SPELL_INLINE void spell_message_ends(struct spell *spell, struct spell_told *told)
{
    told->what |= SPELL_DONE;
    spell_goes_on(spell);
    if (!(spell->flags & SPELL_LEAVES))
        return;
    if (!(spell->flags & SPELL_ANSWERS))
        spell->mode = SPELL_SETTLING;
    else if (spell->port == 101)
        spell->mode = SPELL_RAW;
    else
        spell_begins_again(spell);
}

/* Whether the answer to a request that asked to leave HTTP has come, and what it says. */
SPELL_INLINE void spell_settle(struct spell *spell, struct spell_ties *ties)
{
    if (spell->mode != SPELL_SETTLING || ties->asked != ties->answered)
        return;
    if (ties->left != ties->asked) {
        spell_goes_on(spell);
    } else if (spell->method == SPELL_METHOD_CONNECT) {
        spell_begins_again(spell);
        ties->tunnel = 1;
    } else {
        spell->mode = SPELL_RAW;
    }
}

/* ---- the end of a head ---- */

/* Rules that want a condition which does not hold drop out. */
SPELL_INLINE void spell_drop_unmet(struct spell *spell)
{
    const struct spell_rows *rows = spell_rows_find();
    __u32 needs = spell_slot(spell, SPELL_SLOT_NEEDS);

    if (!needs || !rows)
        return;
    for (__u32 i = 0; i < SPELL_CONDITIONS; i++)
        if (!(spell->seen >> i & 1))
            spell->fits &= ~spell_mask(rows, needs, i);
}

/* A Host beside an absolute target must say the same (RFC 9112 section 3.2.2). */
SPELL_INLINE bool spell_agrees(const struct spell *spell)
{
    return !(spell->flags & SPELL_ABSOLUTE) || !(spell->flags & SPELL_HAS_HOST) ||
           (spell->hash == spell->asked &&
            (spell->port ? spell->port : 80) == (spell->asked_port ? spell->asked_port : 80));
}

/* False: it cannot be. */
SPELL_INLINE bool spell_request_ends(struct spell *spell, struct spell_ties *ties)
{
    const struct spell_about *entry = spell_about_find(spell->entry);
    __u32 flags = spell->flags;
    __u64 bit = 1ull << (ties->asked & 63);
    bool connect = spell->method == SPELL_METHOD_CONNECT;

    if (!(flags & SPELL_OLD) && !(flags & SPELL_HAS_HOST))
        return false;
    if (connect && (flags & SPELL_CHUNKED || spell->left))
        return false;
    if (connect || !(flags & (SPELL_HAS_HOST | SPELL_ABSOLUTE)) || flags & SPELL_UNFIT ||
        !spell_agrees(spell) || !entry || entry->made != spell->made)
        spell->fits = 0;
    spell_drop_unmet(spell);
    if (connect || (flags & SPELL_UPGRADE && flags & SPELL_HAS_UPGRADE))
        spell->flags |= SPELL_LEAVES;
    ties->heads = spell->method == SPELL_METHOD_HEAD ? ties->heads | bit : ties->heads & ~bit;
    ties->connects = connect ? ties->connects | bit : ties->connects & ~bit;
    ties->asked++;
    if (ties->asked - ties->answered > 64)
        ties->over = 1;
    return true;
}

/* RFC 9112 section 6.3, rules 1 and 2: whether there is no body, whatever the fields say. */
SPELL_INLINE bool spell_answer_ends(struct spell *spell, struct spell_ties *ties)
{
    __u64 bit = 1ull << (ties->answered & 63);
    bool known = ties->asked != ties->answered && !ties->over;
    __u32 code = spell->port;

    if (spell_is_interim(spell))
        return true;
    if (code == 101 || (known && ties->connects & bit && code < 300)) {
        spell->flags |= SPELL_LEAVES;
        ties->left = ties->answered + known;
    }
    if (known)
        ties->answered++;
    return spell->flags & SPELL_LEAVES || code == 204 || code == 304 ||
           (known && ties->heads & bit);
}

SPELL_INLINE void spell_chunk_begins(struct spell *spell)
{
    spell->mode = SPELL_CHUNKS;
    spell->row = spell_slot(spell, SPELL_SLOT_CHUNK);
    spell->at = 0;
    spell->left = 0;
}

SPELL_INLINE void spell_head_ends(struct spell *spell, struct spell_ties *ties,
                                  struct spell_told *told)
{
    bool answers = spell->flags & SPELL_ANSWERS, bodiless = false;

    told->what &= ~SPELL_ENDS;
    if (answers) {
        if (ties->over) {
            spell_turn(spell, told);
            return;
        }
        bodiless = spell_answer_ends(spell, ties);
    } else if (!spell_request_ends(spell, ties)) {
        spell_turn(spell, told);
        return;
    }
    told->what |= SPELL_ENDS;
    spell->flags |= SPELL_SPOKE;
    if (!bodiless && spell->flags & SPELL_CHUNKED) {
        spell_chunk_begins(spell);
    } else if (!bodiless && spell->left) {
        spell->mode = SPELL_LENGTH;
    } else if (!bodiless && answers && !(spell->flags & SPELL_HAS_LENGTH)) {
        spell->mode = SPELL_REST;
    } else {
        spell->left = 0;
        spell_message_ends(spell, told);
    }
}
