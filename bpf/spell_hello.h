/* spell_hello: whether TLS begins as it does between programs that speak it, and whether what it
 * says first can be followed by a record that nobody can read and that is no request: the one by
 * which a client of TLS 1.3 ends its handshake. spell.h's alone.
 *
 * Before that a client of TLS 1.3 says ClientHellos and nothing else in the clear: one, or another
 * one with the same random bytes behind it if it was asked to try again (RFC 8446 section 4.1.2).
 * In older versions a handshake has more to it, be it encrypted. Who offers early data may ask with
 * the first record already, and so may whoever encrypts his offers (ECH). */
#pragma once

#include "bpf/spell_act.h"

enum {
    SPELL_HELLO_MAX = 0x40ff, /* 16 kB and a little */
    SPELL_EARLY_DATA = 42,    /* extensions */
    SPELL_ENCRYPTED_HELLO = 0xfe0d,
};

/* Parts of a ClientHello, in their order, while they are read; each but the last is a number. */
enum spell_hello {
    SPELL_HELLO_NONE, /* nothing was said yet */
    SPELL_HELLO_LENGTH,
    SPELL_HELLO_VERSION,
    SPELL_HELLO_RANDOM,
    SPELL_HELLO_SESSION, /* how long it is; it follows, and so with these: */
    SPELL_HELLO_SUITES,
    SPELL_HELLO_METHODS,
    SPELL_HELLO_EXTENSIONS, /* how long they are all together */
    SPELL_HELLO_KIND,       /* of one of them */
    SPELL_HELLO_DATA,       /* how long that is, too */
    SPELL_HELLO_WHOLE,      /* one was said, and nothing else */
    SPELL_HELLO_OTHER,      /* something else was */
};

/* The next part's number has so many bytes; before it, as many as `skipped` do not matter. */
SPELL_INLINE void spell_hello_goes_on(struct spell *spell, enum spell_hello part, __u16 bytes,
                                      __u64 skipped)
{
    spell->lines = part;
    spell->hash = 0;
    spell->asked_port = bytes;
    spell->port = skipped;
}

SPELL_INLINE void spell_hello_fails(struct spell *spell)
{
    spell->lines = SPELL_HELLO_OTHER;
    if (!spell->asked)
        spell->flags |= SPELL_NO_HELLO;
}

/* A number was read. */
SPELL_INLINE void spell_hello_part(struct spell *spell, __u64 number)
{
    switch (spell->lines) {
    case SPELL_HELLO_LENGTH:
        spell->seen = number;
        if (number > SPELL_HELLO_MAX)
            spell_hello_fails(spell);
        else
            spell_hello_goes_on(spell, SPELL_HELLO_VERSION, 2, 0);
        break;
    case SPELL_HELLO_VERSION:
        if (number >> 8 != 3)
            spell_hello_fails(spell);
        else
            spell_hello_goes_on(spell, SPELL_HELLO_RANDOM, 32, 0);
        break;
    case SPELL_HELLO_RANDOM: /* the last bytes of it */
        if (!number || (spell->asked && spell->asked != number)) {
            spell_hello_fails(spell);
            break;
        }
        spell->asked = number;
        spell_hello_goes_on(spell, SPELL_HELLO_SESSION, 1, 0);
        break;
    case SPELL_HELLO_SESSION:
        spell_hello_goes_on(spell, SPELL_HELLO_SUITES, 2, number);
        break;
    case SPELL_HELLO_SUITES:
        spell_hello_goes_on(spell, SPELL_HELLO_METHODS, 1, number);
        break;
    case SPELL_HELLO_METHODS:
        spell_hello_goes_on(spell, SPELL_HELLO_EXTENSIONS, 2, number);
        break;
    case SPELL_HELLO_EXTENSIONS:
        spell_hello_goes_on(spell, SPELL_HELLO_KIND, 2, 0);
        break;
    case SPELL_HELLO_KIND:
        if (number == SPELL_EARLY_DATA || number == SPELL_ENCRYPTED_HELLO)
            spell_hello_fails(spell);
        else
            spell_hello_goes_on(spell, SPELL_HELLO_DATA, 2, 0);
        break;
    case SPELL_HELLO_DATA:
        spell_hello_goes_on(spell, SPELL_HELLO_KIND, 2, number);
        break;
    }
}

SPELL_INLINE void spell_hello_byte(struct spell *spell, __u8 byte)
{
    enum { CLIENT_HELLO = 1 };

    if (spell->lines == SPELL_HELLO_NONE || spell->lines == SPELL_HELLO_WHOLE) {
        spell_hello_goes_on(spell, SPELL_HELLO_LENGTH, 3, 0);
        spell->seen = ~0u; /* that will say it */
        if (byte != CLIENT_HELLO)
            spell_hello_fails(spell);
        return;
    }
    spell->seen--;
    spell->hash = spell->hash << 8 | byte;
    if (!--spell->asked_port)
        spell_hello_part(spell, spell->hash);
}

/* Extensions may be missing, all of them. */
SPELL_INLINE void spell_hello_ends(struct spell *spell)
{
    if ((spell->lines != SPELL_HELLO_EXTENSIONS && spell->lines != SPELL_HELLO_KIND) ||
        spell->asked_port != 2 || spell->port)
        spell_hello_fails(spell);
    else
        spell->lines = SPELL_HELLO_WHOLE;
}

struct spell_hello_walk {
    struct spell *spell;
    const struct spell_piece *piece;
    __u32 len, i;
};

static long spell_hello_on(__u32 round, struct spell_hello_walk *walk)
{
    struct spell *spell = walk->spell;
    __u32 n = walk->len - walk->i;

    (void)round;
    if (walk->i >= walk->len || spell->lines == SPELL_HELLO_OTHER)
        return 1;
    if (spell->port) {
        if (n > spell->port)
            n = spell->port;
        if (n > spell->seen)
            n = spell->seen;
        spell->port -= n;
        spell->seen -= n;
    } else {
        n = 1;
        spell_hello_byte(spell, walk->piece->bytes[walk->i & (SPELL_PIECE - 1)]);
    }
    walk->i += n;
    if (!spell->seen && spell->lines < SPELL_HELLO_WHOLE)
        spell_hello_ends(spell);
    return 0;
}

/* Bytes of handshakes. */
SPELL_FUNCTION __u32 spell_look_at_hello(struct spell *spell, const struct spell_piece *piece,
                                         __u32 len)
{
    struct spell_hello_walk walk = {.spell = spell, .piece = piece, .len = len};

    if (!spell || !piece || len > SPELL_PIECE)
        return 0;
    SPELL_LOOP(SPELL_PIECE, spell_hello_on, &walk);
    return walk.i;
}
