/* spell: what one direction of a connection says, read letter by letter: where heads of HTTP/1
 * begin and end, which rules they fit, and what of the rest anybody needs to see.
 *
 * Pure, and the same for the kernel's programs and the host's tests. What a byte leads to stands in
 * rows that the host wrote (spell_rows.h): a walk over them (spell_walk.h) looks at nothing but the
 * next row, until a transition is marked; what then is to be done is spell_act.h. Bodies, frames
 * and records are counted, not looked at. What two servers could read differently is no HTTP here:
 * it turns OTHER, or it fits no rule (proxy/wire/http1 refuses the same).
 *
 * The caller keeps a struct spell for each direction and spell_ties for both, zeroed, writes the
 * row of its spelling to `start` (0: none) whenever that changes, and calls for what was said, in
 * order:
 *
 *     spell_settle(spell, ties);          an answer may have come
 *     n = spell_skip(spell, left);        so many bytes need not even be read, if there are any
 *     n = spell_take(spell, ties, piece, len, &told);       else up to SPELL_PIECE of them, read
 *                                         (unless spell_is_counted(): then they need not be)
 *
 * until nothing is left. Each answer is one span of bytes that are alike: told->what says how. */
#pragma once

#include <stdbool.h>

#include "bpf/abi.h"
#include "bpf/spell_rows.h"

enum { SPELL_PIECE = 256, SPELL_TAIL = 64, SPELL_STEPS = 16, SPELL_KNOWN = 2 };

enum spell_mode {
    SPELL_FIRST, /* nothing is known yet */
    SPELL_HEAD,  /* HTTP/1: in a head, or before one */
    SPELL_LENGTH,
    SPELL_CHUNK,    /* in one */
    SPELL_CHUNKS,   /* between two, or behind the last */
    SPELL_REST,     /* a body until the connection ends */
    SPELL_SETTLING, /* a request asked to leave HTTP: the answer decides */
    SPELL_RAW,      /* it has left HTTP, by an upgrade: a WebSocket, as a rule */
    SPELL_LAST,     /* nothing may come any more */
    SPELL_FRAMES,   /* HTTP/2, its preface behind it */
    SPELL_TLS,      /* records that the program made itself */
    SPELL_OTHER,    /* none of these */
};

enum spell_flags {
    SPELL_ANSWERS = 1 << 0, /* its heads are answers */
    SPELL_HAS_HOST = 1 << 1,
    SPELL_HAS_LENGTH = 1 << 2,
    SPELL_CHUNKED = 1 << 3,
    SPELL_OLD = 1 << 4, /* HTTP/1.0 */
    SPELL_CLOSE = 1 << 5,
    SPELL_KEEP_ALIVE = 1 << 6,
    SPELL_UPGRADE = 1 << 7,     /* as an option of Connection */
    SPELL_HAS_UPGRADE = 1 << 8, /* ... as a field */
    SPELL_ABSOLUTE = 1 << 9,    /* the target names a host */
    SPELL_IN_TARGET = 1 << 10,
    SPELL_UNFIT = 1 << 11, /* no rule fits, whatever the rest says */
    SPELL_TRAILER = 1 << 12,
    SPELL_LEAVES = 1 << 13,   /* what follows its message may be no HTTP */
    SPELL_SPOKE = 1 << 14,    /* it is HTTP, or was before it turned: to some server, at least */
    SPELL_NO_HELLO = 1 << 15, /* records, of which the first is no ClientHello */
};

struct spell {
    __u64 left;  /* of a body, chunk, frame or record: bytes to come. In a head: its length */
    __u64 fits;  /* rules that fit so far; once a head has ended: that fit it */
    __u64 hash;  /* of Host, or of the target's host: what policy_spoken knows names by */
    __u64 asked; /* the target's, while Host is read; of records: the ClientHello's random bytes */
    __u32 at;    /* bytes of the head or line so far */
    __u32 since; /* where what is measured began */
    __u32 seen;  /* conditions on fields that hold */
    __u32 made;  /* the rows that the head is read by: told from those that take their place */
    __u16 start; /* the row by which the next head begins: the caller's */
    __u16 entry; /* ... by which this one began */
    __u16 row;
    __u16 flags;      /* enum spell_flags */
    __u16 port;       /* of Host, 0: none; of an answer: its status */
    __u16 asked_port; /* the target's */
    __u16 lines;      /* of a head; of records: enum spell_hello, whose alone is more there */
    __u8 mode;        /* enum spell_mode */
    __u8 method;      /* enum spell_method; of frames and records: their type */
};
_Static_assert(sizeof(struct spell) == 64, "spell: one for each direction of a socket");

/* What ties answers to requests; a bit for each of the last requests. One side is written by the
 * direction that asks, the other by the one that answers. */
struct spell_ties {
    __u64 heads;    /* HEAD */
    __u64 connects; /* CONNECT */
    __u32 asked;
    __u32 answered;
    __u32 left;  /* so many were answered when an answer said: what follows is not HTTP */
    __u8 over;   /* more were asked than can be told apart */
    __u8 tunnel; /* who asks has got a tunnel, and asks on in it */
    __u8 pad[2];
};

/* A piece of a head, and what reading it came to. Who keeps a connection says nearly the same in
 * each head: what was read so before need not be read again, letter by letter. */
struct spell_known {
    struct spell before, after;
    __u32 len;  /* of the bytes; 0: none are known */
    __u32 ends; /* with the last of them the head does: 1 */
    __u8 bytes[SPELL_PIECE];
};

struct spell_piece {
    __u8 bytes[SPELL_PIECE];
    __u8 pad[8];
    struct spell_known known[SPELL_KNOWN]; /* of the pieces that heads begin with */
};

enum spell_what {
    SPELL_WANTED = 1 << 0, /* of a head, of what frames a body, of frames but DATA, of a handshake;
                              or not known yet */
    SPELL_BEGINS = 1 << 1, /* a head, with the first of them */
    SPELL_ENDS = 1 << 2,   /* a head, with the last of them: fits, hash, port are final */
    SPELL_DONE = 1 << 3,   /* a message, with the last of them */
    SPELL_TURNED = 1 << 4, /* with the last of them it is no HTTP: mode is SPELL_OTHER */
};
struct spell_told {
    __u32 what; /* enum spell_what */
    __u32 pad;
};

#ifdef __bpf__
/* For the verifier functions of their own, each looked at once. */
#define SPELL_FUNCTION __weak __noinline
#define SPELL_INLINE   static __always_inline
/* Likewise: so often, until a step returns 1. */
#define SPELL_LOOP(times, step, arg) bpf_loop(times, step, arg, 0)
/* Of a loop of which the compiler would make so many steps that they take all of the stack. */
#define SPELL_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define SPELL_FUNCTION static inline
#define SPELL_INLINE   static inline
#define SPELL_ROLLED
#define SPELL_LOOP(times, step, arg)                                                               \
    for (__u32 round_ = 0; round_ < (times) && !step(round_, arg); round_++)                       \
        ;
#endif

/* Eight bytes, the first one lowest; behind the last of a piece there is room for them. */
SPELL_INLINE __u64 spell_word(const __u8 *bytes, __u32 at)
{
    const __u8 *from = bytes + (at & (SPELL_PIECE - 1));
    __u64 word;

#ifdef __bpf__ /* the compiler would load them one by one */
    asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(word) : "r"(from));
#else
    __builtin_memcpy(&word, from, sizeof(word));
#endif
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

#include "bpf/spell_act.h"
#include "bpf/spell_hello.h"
#include "bpf/spell_known.h"
#include "bpf/spell_walk.h"

/* ---- what is counted ---- */

/* How many of the next `len` bytes are of no interest to anybody who does not look into bodies: at
 * once, without reading them. The last few of a body are, for they tell that it has ended; and of
 * HTTP/2's DATA the first few, which say how long a message of gRPC's is. */
SPELL_INLINE __u64 spell_skip(struct spell *spell, __u64 len)
{
    __u64 skipped = len;

    switch (spell->mode) {
    case SPELL_LENGTH:
    case SPELL_CHUNK:
        if (spell->left <= SPELL_TAIL)
            return 0;
        if (skipped > spell->left - SPELL_TAIL)
            skipped = spell->left - SPELL_TAIL;
        spell->left -= skipped;
        return skipped;
    case SPELL_FRAMES:
        if (spell->method != SPELL_FRAME_DATA || spell->at < SPELL_FRAME_HEADER || spell->since ||
            spell->left <= SPELL_TAIL)
            return 0;
        if (skipped > spell->left - SPELL_TAIL)
            skipped = spell->left - SPELL_TAIL;
        spell->left -= skipped;
        return skipped;
    case SPELL_TLS:
        if (spell->method != SPELL_RECORD_DATA)
            return 0;
        break;
    case SPELL_REST:
    case SPELL_OTHER:
        return len;
    default:
        return 0;
    }
    if (spell->at < SPELL_RECORD_HEADER)
        return 0;
    if (skipped > spell->left)
        skipped = spell->left;
    spell->left -= skipped;
    if (!spell->left)
        spell->at = 0;
    return skipped;
}

/* Of a body, which nobody reads. */
SPELL_INLINE bool spell_is_counted(const struct spell *spell)
{
    return spell->mode == SPELL_LENGTH || spell->mode == SPELL_CHUNK;
}

SPELL_INLINE __u32 spell_take_counted(struct spell *spell, struct spell_told *told, __u32 len)
{
    bool tail = spell->left <= SPELL_TAIL;
    __u64 most = tail ? spell->left : spell->left - SPELL_TAIL;

    if (len > most)
        len = most;
    spell->left -= len;
    told->what = tail ? SPELL_WANTED : 0;
    if (spell->left)
        return len;
    if (spell->mode == SPELL_LENGTH)
        spell_message_ends(spell, told);
    else
        spell->mode = SPELL_CHUNKS;
    return len;
}

/* A frame's header: length, type, flags, stream (RFC 9113 section 4.1); a record's: type, version,
 * length (RFC 8446 section 5.1). False: it is none. */
SPELL_INLINE bool spell_header_byte(struct spell *spell, __u8 byte)
{
    bool tls = spell->mode == SPELL_TLS;
    __u32 at = spell->at++;

    if (at == 0)
        spell->left = 0;
    if (tls ? at >= 3 : at < 3)
        spell->left = spell->left << 8 | byte;
    if (at == (tls ? 0 : 3))
        spell->method = byte;
    if (tls)
        return at ? at != 1 || byte == 3 : byte >= SPELL_RECORD_FIRST && byte <= SPELL_RECORD_LAST;
    if (spell->flags & SPELL_SPOKE)
        return true;
    /* a server's first frame, which nothing announced: SETTINGS (as proxy/wire/http2_preface.c) */
    if (at == 2)
        return spell->left % 6 == 0 && spell->left <= SPELL_FRAME_MAX;
    return at < 3 || byte == (at == 3 ? SPELL_FRAME_SETTINGS : 0);
}

SPELL_FUNCTION __u32 spell_take_header(struct spell *spell, const struct spell_piece *piece,
                                       struct spell_told *told, __u32 len, __u32 header)
{
    __u32 n = 0;

    if (!spell || !piece || !told)
        return 0;
    for (__u32 i = 0; i < SPELL_FRAME_HEADER; i++) {
        if (i >= len || spell->at >= header)
            break;
        n = i + 1;
        if (!spell_header_byte(spell, piece->bytes[i])) {
            spell_turn(spell, told);
            return n;
        }
    }
    if (spell->at >= header && spell->mode == SPELL_FRAMES)
        spell->flags |= SPELL_SPOKE;
    return n;
}

/* DATA's first and last few bytes are spans of their own. */
SPELL_INLINE __u32 spell_data_piece(const struct spell *spell, __u32 len)
{
    __u64 most = spell->since                ? spell->since
                 : spell->left <= SPELL_TAIL ? spell->left
                                             : spell->left - SPELL_TAIL;

    return len < most ? len : (__u32)most;
}

/* One header, or what follows one. */
SPELL_INLINE __u32 spell_take_framed(struct spell *spell, const struct spell_piece *piece,
                                     struct spell_told *told, __u32 len)
{
    bool tls = spell->mode == SPELL_TLS;
    __u32 header = tls ? SPELL_RECORD_HEADER : SPELL_FRAME_HEADER, n = len;
    bool data;

    if (spell->at < header) {
        n = spell_take_header(spell, piece, told, len, header);
        data = tls && spell->method == SPELL_RECORD_DATA;
        if (tls && spell->at >= header && spell->lines == SPELL_HELLO_NONE &&
            (spell->method != SPELL_RECORD_HELLO || spell->left < SPELL_HELLO_MIN))
            spell->flags |= SPELL_NO_HELLO;
        spell->since = spell->at >= header && !tls ? SPELL_TAIL : 0;
    } else {
        data = spell->method == (tls ? SPELL_RECORD_DATA : SPELL_FRAME_DATA);
        if (data && !tls)
            n = spell_data_piece(spell, n);
        if (n > spell->left)
            n = spell->left;
        if (tls && spell->method == SPELL_RECORD_HELLO)
            spell_look_at_hello(spell, piece, n);
        data = data && !spell->since && (tls || spell->left > SPELL_TAIL);
        spell->since -= n < spell->since ? n : spell->since;
        spell->left -= n;
    }
    if (!data)
        told->what |= SPELL_WANTED;
    if (spell->at >= header && !spell->left)
        spell->at = 0;
    return n;
}

/* ---- what is taken ---- */

/* A part of a head, or what follows one in lines. */
SPELL_INLINE __u32 spell_take_lines(struct spell *spell, struct spell_ties *ties,
                                    struct spell_piece *piece, __u32 len, struct spell_told *told)
{
    __u32 which = spell_which(spell), n = spell_recall(spell, piece, which, len, told);

    if (!n) {
        if (which < SPELL_KNOWN)
            spell_note(piece, which, spell);
        n = spell_walk(spell, piece, len, told);
        if (which < SPELL_KNOWN)
            spell_remember(piece, which, spell, n, told->what);
    }
    if (told->what & SPELL_ENDS)
        spell_head_ends(spell, ties, told);
    return n;
}

/* Takes up to len (at least one, if there is one) of the piece's bytes: those of one span. Returns
 * how many. */
SPELL_FUNCTION __u32 spell_take(struct spell *spell, struct spell_ties *ties,
                                struct spell_piece *piece, __u32 len, struct spell_told *told)
{
    if (!spell || !ties || !piece || !told)
        return 0;
    told->what = 0;
    if (len > SPELL_PIECE)
        len = SPELL_PIECE;
    if (!len)
        return 0;
    switch (spell->mode) {
    case SPELL_LENGTH:
    case SPELL_CHUNK:
        return spell_take_counted(spell, told, len);
    case SPELL_FRAMES:
    case SPELL_TLS:
        return spell_take_framed(spell, piece, told, len);
    case SPELL_SETTLING: /* it does not wait for the answer, which alone tells what this is */
        spell_turn(spell, told);
        told->what |= SPELL_WANTED;
        return 1;
    case SPELL_RAW:
        told->what = SPELL_WANTED;
        return len;
    case SPELL_REST:
    case SPELL_OTHER:
        return len;
    }
    told->what = SPELL_WANTED;
    if (spell->mode == SPELL_FIRST && spell->at == 0 && piece->bytes[0] == 0) {
        spell->mode = SPELL_FRAMES;
        return spell_take_framed(spell, piece, told, len);
    }
    if (spell->at == 0 && (spell->mode == SPELL_FIRST || spell->mode == SPELL_HEAD)) {
        spell_message_begins(spell);
        told->what |= SPELL_BEGINS;
    }
    return spell_take_lines(spell, ties, piece, len, told);
}

/* Bytes that nobody could read: how many of `len` are of a body, so that it does not matter what
 * they are; taken. */
SPELL_INLINE __u64 spell_pass(struct spell *spell, __u64 len)
{
    struct spell_told told = {};
    __u64 passed = spell_skip(spell, len);

    if (passed < len && spell_is_counted(spell))
        passed += spell_take_counted(
            spell, &told, len - passed < SPELL_TAIL ? (__u32)(len - passed) : SPELL_TAIL);
    return passed;
}

/* What came in between is not known. */
SPELL_INLINE void spell_lost(struct spell *spell)
{
    spell->mode = SPELL_OTHER;
}

/* ---- what follows ---- */

/* Whether a request may go whose head has just ended. spoken: which of the spelling's `named` rules
 * its host fits, by policy_spoken (spell->hash, and where it goes). encrypted: the kernel encrypts
 * it. */
SPELL_INLINE bool spell_goes(const struct spell *spell, const struct abi_spelling *spelling,
                             __u64 spoken, bool encrypted)
{
    __u64 rules = spelling->rules & (spoken | ~spelling->named), denies = spelling->denies;

    if (!(spelling->flags & ABI_SPELL_JUDGED))
        return true;
    if (!encrypted) {
        rules &= ~spelling->tls;
        denies &= ~spelling->tls;
    }
    return !(spelling->flags & ABI_SPELL_AGENT) && spell->fits & rules && !(spell->fits & denies);
}
