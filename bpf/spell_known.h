/* spell_known: heads that say what those before them said, as a program's do that asks again and
 * again, are not read letter by letter: what a piece led to is kept beside it. spell.h's alone. */
#pragma once

#include "bpf/spell_act.h"

/* Which of `known` is about what comes next; SPELL_KNOWN: none, also where rows are being written.
 */
SPELL_INLINE __u32 spell_which(const struct spell *spell)
{
    __u32 which = spell->at / SPELL_PIECE;

    return spell->mode <= SPELL_HEAD && spell->made && which < SPELL_KNOWN ? which : SPELL_KNOWN;
}

SPELL_INLINE struct spell_known *spell_known_at(struct spell_piece *piece, __u64 which)
{
#ifdef __bpf__ /* the compiler knows that it is in bounds, the verifier does not */
    asm volatile("%0 &= %1" : "+r"(which) : "i"(SPELL_KNOWN - 1));
#endif
    return &piece->known[which];
}

SPELL_INLINE bool spell_equals(const struct spell *a, const struct spell *b)
{
    typedef __u64 __attribute__((may_alias)) word;
    const word *one = (const void *)a, *other = (const void *)b;
    __u64 differs = 0;

    for (__u32 i = 0; i < sizeof(*a) / sizeof(word); i++)
        differs |= one[i] ^ other[i];
    return !differs;
}

/* Whether the first bytes of a piece are those that are known. */
SPELL_FUNCTION bool spell_repeats(struct spell_piece *piece, __u32 which, __u32 size)
{
    const struct spell_known *known;
    __u64 differs = 0;

    if (!piece || which >= SPELL_KNOWN || size > SPELL_PIECE)
        return false;
    known = spell_known_at(piece, which);
    SPELL_ROLLED
    for (__u32 i = 0; i < SPELL_PIECE / 8 && i * 8 < size && !differs; i++) {
        differs = spell_word(piece->bytes, i * 8) ^ spell_word(known->bytes, i * 8);
        if (size - i * 8 < 8) /* and of what is behind them nothing is known */
            differs <<= 64 - 8 * (size - i * 8);
    }
    return !differs;
}

/* How many of the piece's bytes are known from where the spell is, which then is behind them; 0:
 * they are to be read. All that reading depends on is compared, and every byte: nothing is known by
 * resemblance. */
SPELL_FUNCTION __u32 spell_recall(struct spell *spell, struct spell_piece *piece, __u32 which,
                                  __u32 len, struct spell_told *told)
{
    const struct spell_known *known;
    __u32 size;

    if (!spell || !piece || !told || which >= SPELL_KNOWN)
        return 0;
    known = spell_known_at(piece, which);
    size = known->len;
    if (!size || size > len || (!known->ends && size != len) ||
        !spell_equals(&known->before, spell) || !spell_repeats(piece, which, size))
        return 0;
    *spell = known->after;
    told->what |= known->ends ? SPELL_ENDS : 0;
    return size;
}

/* From here on the piece is read. */
SPELL_INLINE void spell_note(struct spell_piece *piece, __u32 which, const struct spell *spell)
{
    struct spell_known *known = spell_known_at(piece, which);

    known->len = 0;
    known->before = *spell;
}

/* So many bytes of it led to where the spell is: to the end of a head, from which nothing followed
 * yet, or on in it. */
SPELL_INLINE void spell_remember(struct spell_piece *piece, __u32 which, const struct spell *spell,
                                 __u32 n, __u32 what)
{
    struct spell_known *known = spell_known_at(piece, which);
    bool ends = what & SPELL_ENDS;

    if (!ends && (n != SPELL_PIECE || spell->mode > SPELL_HEAD || what & SPELL_DONE))
        return;
    known->after = *spell;
    known->ends = ends;
    known->len = n;
    __builtin_memcpy(known->bytes, piece->bytes, sizeof(known->bytes));
}
