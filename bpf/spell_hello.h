/* spell_hello: whether TLS begins as it does between programs that speak it. spell.h's alone. */
#pragma once

#include "bpf/spell_act.h"

/* What a ClientHello begins with: its type, length and version (RFC 8446 section 4). */
SPELL_INLINE bool spell_is_hello_byte(__u32 at, __u8 byte)
{
    enum { CLIENT_HELLO = 1, MOST = 0x40 }; /* 16 kB */

    switch (at) {
    case 0:
        return byte == CLIENT_HELLO;
    case 1:
        return byte == 0;
    case 2:
        return byte <= MOST;
    case 4:
        return byte == 3;
    default:
        return true;
    }
}

SPELL_INLINE void spell_look_at_hello(struct spell *spell, const struct spell_piece *piece,
                                      __u32 len)
{
    for (__u32 i = 0; i < SPELL_HELLO_BYTES; i++) {
        if (i >= len || spell->lines >= SPELL_HELLO_BYTES)
            return;
        if (!spell_is_hello_byte(spell->lines++, piece->bytes[i]))
            spell->flags |= SPELL_NO_HELLO;
    }
}
