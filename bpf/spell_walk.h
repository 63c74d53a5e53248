/* spell_walk: how a piece of a head, or of what frames a body, is walked over: by rows, from byte
 * to byte, and in words of eight where only text or a name goes on. spell.h's alone. */
#pragma once

#include "bpf/spell_act.h"

/* How many of the bytes from `from` on are text: neither control bytes nor DEL; or, where a tab is
 * among them, fewer. */
SPELL_FUNCTION __u32 spell_text(const struct spell_piece *piece, __u32 from, __u32 len)
{
    const __u64 ones = 0x0101010101010101, tops = 0x80 * ones;
    __u32 at = from;

    if (!piece || len > SPELL_PIECE)
        return 0;
    for (__u32 i = 0; i < SPELL_PIECE / 8 && at < len; i++) {
        __u64 word = spell_word(piece->bytes, at), del = word ^ 0x7f * ones, hits;

        hits = (((word - ' ' * ones) & ~word) | ((del - ones) & ~del)) & tops;
        if (hits) { /* the lowest is a true one: count the bytes below it */
            at += ((((hits & -hits) - 1) & ones) * ones >> 56) - 1;
            break;
        }
        at += 8;
    }
    return (at < len ? at : len) - from;
}

/* Of a name likewise: how many are letters, digits and hyphens; others may be of it, too. */
SPELL_FUNCTION __u32 spell_name(const struct spell_piece *piece, __u32 from, __u32 len)
{
    const __u64 ones = 0x0101010101010101, tops = 0x80 * ones, rest = 0x7f * ones;
    __u32 at = from;

    if (!piece || len > SPELL_PIECE)
        return 0;
    for (__u32 i = 0; i < SPELL_PIECE / 8 && at < len; i++) {
        __u64 word = spell_word(piece->bytes, at), low = word & rest, small = low | 0x20 * ones;
        __u64 letters = (small + (0x80 - 'a') * ones) & ~(small + (0x7f - 'z') * ones);
        __u64 digits = (low + (0x80 - '0') * ones) & ~(low + (0x7f - '9') * ones);
        __u64 hyphens = ~((low ^ '-' * ones) + rest);
        __u64 others = ~(letters | digits | hyphens) | word;

        others &= tops;
        if (others) { /* count the bytes below the lowest */
            at += ((((others & -others) - 1) & ones) * ones >> 56) - 1;
            break;
        }
        at += 8;
    }
    return (at < len ? at : len) - from;
}

struct spell_walk {
    struct spell *spell;
    const struct spell_piece *piece;
    struct spell_told *told;
    const struct spell_rows *rows;
    __u64 hash, key;
    __u32 len, i; /* of the piece: how much of it was walked over */
    __u32 row, at;
    __u32 names; /* slot of where a line begins */
    __u32 stopped;
};

/* A marked transition. False: the walk ends with it. */
SPELL_INLINE bool spell_walk_marked(struct spell_walk *walk, __u32 last, __u32 row, __u8 byte)
{
    struct spell *spell = walk->spell;

    walk->row = row;
    if (row == SPELL_ROW_TEXT) {
        walk->i += spell_text(walk->piece, walk->i, walk->len);
        return true;
    }
    if (row == SPELL_ROW_NAME) {
        walk->i += spell_name(walk->piece, walk->i, walk->len);
        return true;
    }
    if (row == SPELL_ROW_LINE && spell_line_ends(spell)) {
        walk->row = spell_next(walk->rows, spell->entry, walk->names) & SPELL_ROW;
        return true;
    }
    spell->at = walk->at + walk->i;
    spell->hash = walk->hash;
    spell->row = row;
    walk->stopped = spell_act(spell, walk->told, last, byte);
    walk->row = spell->row;
    walk->hash = spell->hash;
    return !walk->stopped;
}

/* Some steps of a walk. Returns 1 where it ends. */
static long spell_walk_on(__u32 round, struct spell_walk *walk)
{
    const struct spell_piece *piece = walk->piece;
    const struct spell_rows *rows = walk->rows;
    __u32 i = walk->i, row = walk->row, len = walk->len;

    (void)round;
    for (__u32 step = 0; step < SPELL_STEPS && i < len; step++) {
        __u8 byte = piece->bytes[i & (SPELL_PIECE - 1)];
        __u16 next = spell_next(rows, row, byte);
        __u32 last = row;

        i++;
        row = next & SPELL_ROW;
        if (next <= SPELL_ROW)
            continue;
        if (next & SPELL_DOT_BEFORE)
            walk->hash = spell_hash(walk->hash, '.', walk->key);
        if (next & SPELL_HASHED)
            walk->hash = spell_hash(walk->hash, spell_lower(byte), walk->key);
        if (!(next & SPELL_MARKED))
            continue;
        walk->i = i;
        if (!spell_walk_marked(walk, last, row, byte))
            return 1;
        i = walk->i;
        row = walk->row;
    }
    walk->i = i;
    walk->row = row;
    return i >= len;
}

/* Walks over rows from byte to byte. */
SPELL_FUNCTION __u32 spell_walk(struct spell *spell, const struct spell_piece *piece, __u32 len,
                                struct spell_told *told)
{
    struct spell_walk walk = {
        .spell = spell, .piece = piece, .told = told, .rows = spell_rows_find()};

    if (!spell || !piece || !told || !walk.rows || len > SPELL_PIECE)
        return 0;
    walk.len = len;
    walk.row = spell->row;
    walk.hash = spell->hash;
    walk.at = spell->at;
    walk.key = spell_key(spell);
    walk.names = spell->flags & SPELL_TRAILER ? SPELL_SLOT_TRAILER : SPELL_SLOT_NAME;
    if (walk.row == SPELL_ROW_TEXT)
        walk.i = spell_text(piece, 0, len);
    SPELL_LOOP(SPELL_PIECE / SPELL_STEPS, spell_walk_on, &walk);
    if (walk.stopped)
        return walk.i;
    spell->row = walk.row;
    spell->hash = walk.hash;
    spell->at = walk.at + walk.i;
    if (spell->at > SPELL_LINE_MAX && spell_is_over(spell))
        spell_turn(spell, told);
    return walk.i;
}
