/* spell_act: what is done at marked places of a walk (spell_walk.h). Private to that. */
#pragma once

#include "bpf/spell_message.h"

enum spell_acted {
    SPELL_GO_ON,
    SPELL_STOP, /* the span ends with this byte */
};

/* ---- fields ---- */

/* What http1_rules.c says of them. False: refused. */
SPELL_INLINE bool spell_framing(struct spell *spell, __u32 flag)
{
    __u32 both = SPELL_CHUNKED | SPELL_HAS_LENGTH;

    if (spell->flags & (SPELL_TRAILER | flag))
        return false;
    spell->flags |= flag;
    return (spell->flags & both) != both &&
           !(spell->flags & SPELL_CHUNKED && spell->flags & SPELL_OLD);
}

SPELL_INLINE bool spell_host_field(struct spell *spell)
{
    if (spell->flags & SPELL_TRAILER)
        return false;
    if (spell->flags & SPELL_ANSWERS) {
        spell->row = spell_slot(spell, SPELL_SLOT_VALUE);
        return true;
    }
    if (spell->flags & SPELL_HAS_HOST)
        return false;
    spell->flags |= SPELL_HAS_HOST;
    if (spell->flags & SPELL_ABSOLUTE) {
        spell->asked = spell->hash;
        spell->asked_port = spell->port;
    }
    return true;
}

/* Its first byte, or the one before it. */
SPELL_INLINE void spell_host_begins(struct spell *spell, __u32 at)
{
    spell->since = at;
    spell->port = 0;
    spell->hash = spell_key(spell);
    spell->row =
        spell_slot(spell, spell->method == SPELL_METHOD_CONNECT && spell->flags & SPELL_IN_TARGET
                              ? SPELL_SLOT_GUEST
                              : SPELL_SLOT_HOST);
}

/* Goes on behind a host and its port, at the byte that ended them. False: it may not be that. */
SPELL_INLINE bool spell_behind_host(struct spell *spell, __u8 byte)
{
    const struct spell_about *path;
    bool target = spell->flags & SPELL_IN_TARGET;

    if (!target) {
        spell->row = spell_slot(spell, byte == '\r' ? SPELL_SLOT_RETURN : SPELL_SLOT_BLANK);
        return byte == '\r' || byte == ' ' || byte == '\t';
    }
    spell->flags &= ~SPELL_IN_TARGET;
    if (spell->method == SPELL_METHOD_CONNECT) {
        spell->row = spell_slot(spell, SPELL_SLOT_VERSION);
        return byte == ' ' && spell->port;
    }
    if (byte == '/') {
        spell->row = spell_slot(spell, SPELL_SLOT_PATH);
        return true;
    }
    if (byte == '?') { /* is there a path? readers differ */
        spell->flags |= SPELL_UNFIT;
        spell->row = spell_slot(spell, SPELL_SLOT_QUERY);
        return true;
    }
    path = spell_about_find(spell_slot(spell, SPELL_SLOT_PATH)); /* it is "/" */
    spell->fits &= path ? path->fits : 0;
    spell->row = spell_slot(spell, SPELL_SLOT_VERSION);
    return byte == ' ';
}

SPELL_INLINE bool spell_host_ends(struct spell *spell, __u64 fits, __u8 byte)
{
    __u32 len = spell->at - 1 - spell->since;

    spell->fits &= fits;
    if (len > SPELL_HOST_MAX)
        return false;
    if (byte != ':')
        return spell_behind_host(spell, byte);
    spell->row = spell_slot(spell, SPELL_SLOT_PORT);
    spell->since = spell->at;
    return true;
}

SPELL_INLINE bool spell_port_digit(struct spell *spell, __u8 byte)
{
    __u32 port = spell->port * 10u + (byte - '0');

    spell->port = port;
    return port <= 65535 && spell->at - spell->since <= 5;
}

SPELL_INLINE bool spell_length_digit(struct spell *spell, __u8 byte)
{
    spell->left = spell->left * 10 + (byte - '0');
    return spell->at - spell->since < SPELL_LENGTH_DIGITS;
}

/* ---- chunks ---- */

SPELL_INLINE bool spell_size_digit(struct spell *spell, __u8 byte)
{
    byte = byte <= '9' ? byte - '0' : (byte | 0x20) - 'a' + 10;
    spell->left = spell->left << 4 | byte;
    return spell->at <= SPELL_SIZE_DIGITS;
}

SPELL_INLINE bool spell_size_ends(struct spell *spell)
{
    if (spell->at > SPELL_LINE_MAX || spell->left > (1ull << 63) - 3) /* negative, for some */
        return false;
    spell->row = spell_slot(spell, spell->left ? SPELL_SLOT_CHUNK_END : SPELL_SLOT_TRAILER);
    spell->at = 0;
    spell->lines = 0;
    if (spell->left)
        spell->mode = SPELL_CHUNK;
    else
        spell->flags |= SPELL_TRAILER;
    return true;
}

/* ---- the whole ---- */

/* A line of fields begins. False: they are too many. */
SPELL_INLINE bool spell_line_ends(struct spell *spell)
{
    /* of a head, its first line is counted, too */
    return ++spell->lines <= SPELL_FIELDS_MAX + !(spell->flags & SPELL_TRAILER);
}

SPELL_INLINE bool spell_act_on_start(struct spell *spell, struct spell_told *told, __u32 action,
                                     __u32 what, __u8 byte)
{
    const struct spell_rows *rows = spell_rows_find();

    switch (action) {
    case SPELL_ACT_TLS:
        spell->mode = SPELL_TLS;
        spell->method = SPELL_RECORD_HELLO;
        spell->port = spell->lines = 0;
        spell->hash = spell->asked = 0;
        told->what = SPELL_WANTED;
        return true;
    case SPELL_ACT_FRAMES:
        spell->mode = SPELL_FRAMES;
        spell->flags |= SPELL_SPOKE;
        spell->at = 0;
        spell->left = 0;
        told->what = SPELL_WANTED;
        return true;
    case SPELL_ACT_ANSWER:
        spell->mode = SPELL_HEAD;
        spell->flags |= SPELL_ANSWERS;
        return true;
    case SPELL_ACT_METHOD:
        spell->mode = SPELL_HEAD;
        spell->method = what;
        spell->fits = rows ? spell_mask(rows, spell_slot(spell, SPELL_SLOT_METHODS), what) : 0;
        if (what == SPELL_METHOD_CONNECT) {
            spell->flags |= SPELL_IN_TARGET;
            spell_host_begins(spell, spell->at);
        } else {
            spell->row = spell_slot(spell, SPELL_SLOT_TARGET);
        }
        return true;
    case SPELL_ACT_ODD_HTTP:
        spell->mode = SPELL_HEAD;
        return false;
    case SPELL_ACT_OTHER:
        spell->mode = SPELL_FIRST;
        return false;
    case SPELL_ACT_CODE:
        spell->port = spell->port * 10 + (byte - '0');
        return true;
    }
    return false;
}

SPELL_INLINE bool spell_act_on_host(struct spell *spell, __u32 action, __u64 fits, __u8 byte)
{
    switch (action) {
    case SPELL_ACT_AUTHORITY:
        spell->flags |= SPELL_ABSOLUTE | SPELL_IN_TARGET;
        spell_host_begins(spell, spell->at);
        return true;
    case SPELL_ACT_HOST:
        return spell_host_field(spell);
    case SPELL_ACT_LITERAL:
        spell->since = spell->at;
        spell->port = 0;
        spell->hash = 0;
        spell->flags |= SPELL_UNFIT;
        return true;
    case SPELL_ACT_HOST_ENDS:
        return spell_host_ends(spell, fits, byte);
    case SPELL_ACT_PORT_DIGIT:
        return spell_port_digit(spell, byte);
    case SPELL_ACT_PORT_ENDS:
        return spell_behind_host(spell, byte);
    }
    return false;
}

SPELL_INLINE bool spell_act_on_field(struct spell *spell, __u32 action, __u32 what, __u64 fits,
                                     __u8 byte)
{
    switch (action) {
    case SPELL_ACT_OLD:
        spell->flags |= SPELL_OLD;
        return true;
    case SPELL_ACT_FITS:
        spell->fits &= fits;
        return true;
    case SPELL_ACT_UNFIT:
        spell->flags |= SPELL_UNFIT;
        return true;
    case SPELL_ACT_LENGTH:
        return spell_framing(spell, SPELL_HAS_LENGTH);
    case SPELL_ACT_LENGTH_BEGINS:
        spell->since = spell->at;
        spell->left = byte - '0';
        return true;
    case SPELL_ACT_LENGTH_DIGIT:
        return spell_length_digit(spell, byte);
    case SPELL_ACT_CODING:
        return spell_framing(spell, SPELL_CHUNKED);
    case SPELL_ACT_UPGRADE:
    case SPELL_ACT_OPTION:
        if (!(spell->flags & SPELL_TRAILER))
            spell->flags |= action == SPELL_ACT_UPGRADE ? SPELL_HAS_UPGRADE : what;
        return true;
    case SPELL_ACT_SEEN:
        spell->seen |= fits;
        return true;
    case SPELL_ACT_SIZE_DIGIT:
        return spell_size_digit(spell, byte);
    }
    return false;
}

/* At a byte that led from row `last` to spell->row, spell->at counting it. */
SPELL_FUNCTION __u32 spell_act(struct spell *spell, struct spell_told *told, __u32 last, __u32 byte)
{
    const struct spell_about *about, *before;
    __u32 action;
    bool fine;

    if (!spell || !told)
        return SPELL_STOP;
    about = spell_about_find(spell->row);
    before = spell_about_find(last & SPELL_ROW);
    if (!about || !before)
        return SPELL_STOP;
    action = about->action;
    if (action == SPELL_ACT_END && !spell_is_over(spell)) {
        if (spell->flags & SPELL_TRAILER)
            spell_message_ends(spell, told);
        else
            told->what |= SPELL_ENDS; /* spell_head_ends() follows */
        return SPELL_STOP;
    }
    if (action == SPELL_ACT_DATA_ENDS) {
        spell_chunk_begins(spell);
        return SPELL_STOP;
    }
    if (action == SPELL_ACT_SIZE_ENDS) {
        if (!spell_size_ends(spell))
            spell_turn(spell, told);
        return SPELL_STOP;
    }
    if (action == SPELL_ACT_HOST_BEGINS) { /* with this byte */
        const struct spell_rows *rows = spell_rows_find();
        __u16 next;

        spell_host_begins(spell, spell->at - 1);
        next = rows ? spell_next(rows, spell->row, byte) : 0;
        if (next & SPELL_HASHED)
            spell->hash = spell_hash(spell->hash, spell_lower(byte), spell_key(spell));
        spell->row = next & SPELL_ROW;
        fine = !(next & SPELL_MARKED); /* else it is no host's */
    } else if (action <= SPELL_ACT_CODE && action != SPELL_ACT_OLD) {
        fine = spell_act_on_start(spell, told, action, about->what, byte);
        if (spell->mode == SPELL_TLS || spell->mode == SPELL_FRAMES)
            return SPELL_STOP;
    } else if (action >= SPELL_ACT_AUTHORITY && action <= SPELL_ACT_PORT_ENDS) {
        fine = spell_act_on_host(spell, action, before->fits, byte);
    } else {
        fine = spell_act_on_field(spell, action, about->what, before->fits, byte);
    }
    if (fine)
        return SPELL_GO_ON;
    spell_turn(spell, told);
    return SPELL_STOP;
}
