/* spell_rows: the rows that spell.h walks over, as the host writes them and the kernel reads them.
 *
 * A row is where reading stands: for each byte it says to which row that leads, and three bits
 * more. Rows from 0 on are HTTP's grammar without rules (proxy/kernel/grammar.c); behind them lie
 * the rows of policies (proxy/enforce/kernel_spells.c), each beginning with an entry: a row the
 * places of which are not bytes but slots, by which what is common finds what is the policy's own.
 */
#pragma once

#include <linux/types.h>

enum {
    SPELL_ROWS = 8192,
    SPELL_ROW = SPELL_ROWS - 1, /* of a transition: where to */
    SPELL_MARKED = 1 << 15,     /* ... the row has an action, to be done on the way */
    SPELL_HASHED = 1 << 14,     /* ... the byte is a host's */
    SPELL_DOT_BEFORE = 1 << 13, /* ... and a dot is, for one that ends a host does not count */
    SPELL_METHODS = 64,         /* a row is as many masks of rules as it has room for: by method */
    SPELL_CONDITIONS = 32,      /* ... or by condition */
    SPELL_HEAD_MAX = 1 << 20,   /* as proxy/wire/http1.h */
    SPELL_FIELDS_MAX = 256,
    SPELL_LINE_MAX = 4096, /* of a chunk */
    SPELL_HOST_MAX = 255,
    SPELL_LENGTH_DIGITS = 18,
    SPELL_SIZE_DIGITS = 16,
};

/* Rows that have their place. */
enum {
    SPELL_ROW_ENTRY, /* the grammar's */
    SPELL_ROW_ODD,
    SPELL_ROW_LINE, /* an LF was read */
    SPELL_ROW_TEXT, /* a value that does not matter: long, and skipped by words of bytes */
    SPELL_ROW_NAME, /* a field's name that does not: likewise */
};

struct spell_rows { /* the one value of the map `spell_table`, which the host maps: 4 MB */
    __u16 next[SPELL_ROWS][256];
};
struct spell_about { /* of each row, by its number: spell_abouts */
    __u64 fits;   /* rules that fit when what is matched ends here; of an entry: the hash's key */
    __u16 action; /* enum spell_action */
    __u16 what;   /* of it: which method, which digit */
    __u32 made;   /* of an entry: a number that no other has; 0: it is gone */
};

enum spell_slot {
    SPELL_SLOT_FIRST,   /* a direction begins */
    SPELL_SLOT_REQUEST, /* the next request does */
    SPELL_SLOT_ANSWER,
    SPELL_SLOT_LAST,    /* nothing may come but line ends */
    SPELL_SLOT_METHODS, /* masks: which rules take a method */
    SPELL_SLOT_TARGET,
    SPELL_SLOT_PATH,  /* ... behind the first '/' */
    SPELL_SLOT_WORDS, /* a line that may be a request to some server */
    SPELL_SLOT_QUERY, /* ... behind its '?' */
    SPELL_SLOT_VERSION,
    SPELL_SLOT_HOST,  /* its first byte */
    SPELL_SLOT_GUEST, /* ... of a host that no rule is about: CONNECT's */
    SPELL_SLOT_PORT,
    SPELL_SLOT_BLANK,  /* behind a host */
    SPELL_SLOT_NAME,   /* a line of fields begins */
    SPELL_SLOT_VALUE,  /* of a field that does not matter */
    SPELL_SLOT_RETURN, /* a CR was read: its LF follows */
    SPELL_SLOT_NEEDS,  /* masks: which rules want a condition; 0: none has any */
    SPELL_SLOT_CHUNK,  /* a line that says a chunk's size */
    SPELL_SLOT_CHUNK_END,
    SPELL_SLOT_TRAILER, /* a line of its fields begins */
    SPELL_SLOT_ODD,
    _SPELL_SLOT_MAX,
};

enum spell_action {
    SPELL_ACT_NONE,
    SPELL_ACT_ODD,
    SPELL_ACT_ODD_HTTP, /* ... but it is meant to be HTTP */
    SPELL_ACT_OTHER,    /* ... and need not be */
    SPELL_ACT_TLS,
    SPELL_ACT_FRAMES,
    SPELL_ACT_ANSWER, /* "HTTP/1." was read */
    SPELL_ACT_METHOD, /* what: enum spell_method, or any other number */
    SPELL_ACT_OLD,
    SPELL_ACT_CODE,
    SPELL_ACT_FITS, /* what was matched ends: rules that do not fit drop out */
    SPELL_ACT_UNFIT,
    SPELL_ACT_AUTHORITY, /* a target's host begins */
    SPELL_ACT_HOST,      /* the name of Host was read */
    SPELL_ACT_HOST_BEGINS,
    SPELL_ACT_LITERAL, /* an IPv6 address, which no rule fits here */
    SPELL_ACT_HOST_ENDS,
    SPELL_ACT_PORT_DIGIT,
    SPELL_ACT_PORT_ENDS,
    SPELL_ACT_LENGTH, /* the name of Content-Length was read */
    SPELL_ACT_LENGTH_BEGINS,
    SPELL_ACT_LENGTH_DIGIT,
    SPELL_ACT_CODING,  /* the name of Transfer-Encoding was read */
    SPELL_ACT_UPGRADE, /* ... Upgrade */
    SPELL_ACT_OPTION,  /* of Connection: what is the flag */
    SPELL_ACT_SEEN,    /* a value ends: conditions that it meets hold */
    SPELL_ACT_LINE,    /* an LF was read */
    SPELL_ACT_END,     /* ... and the head or trailer has ended */
    SPELL_ACT_SIZE_DIGIT,
    SPELL_ACT_SIZE_ENDS, /* a chunk's data begin, or a trailer */
    SPELL_ACT_DATA_ENDS, /* the line end behind them was read */
    SPELL_ACT_TEXT,      /* text, or a name, begins that does not matter */
    SPELL_ACT_MASKS,     /* none: the row holds masks and is never walked to */
};

enum spell_method {
    SPELL_METHOD_OTHER,
    SPELL_METHOD_HEAD,
    SPELL_METHOD_CONNECT,
    SPELL_METHOD_MORE
};

enum {
    SPELL_FRAME_HEADER = 9,
    SPELL_FRAME_DATA = 0,
    SPELL_FRAME_SETTINGS = 4,
    SPELL_FRAME_MAX = 16384,
    SPELL_RECORD_HEADER = 5,
    SPELL_RECORD_FIRST = 20,
    SPELL_RECORD_HELLO = 22,
    SPELL_RECORD_DATA = 23,
    SPELL_HELLO_MIN = 45, /* bytes of a ClientHello, at least */
    SPELL_RECORD_LAST = 24,
};

#ifdef __bpf__

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct spell_rows);
} spell_table SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, SPELL_ROWS);
    __type(key, __u32);
    __type(value, struct spell_about);
} spell_abouts SEC(".maps") __weak;

static __always_inline const struct spell_rows *spell_rows_find(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&spell_table, &zero);
}

static __always_inline const struct spell_about *spell_about_find(__u32 row)
{
    return bpf_map_lookup_elem(&spell_abouts, &row);
}

#else

/* Whoever walks on the host says by which. */
extern const struct spell_rows *spell_rows_here;
extern const struct spell_about *spell_abouts_here;

static inline const struct spell_rows *spell_rows_find(void)
{
    return spell_rows_here;
}

static inline const struct spell_about *spell_about_find(__u32 row)
{
    return row < SPELL_ROWS ? &spell_abouts_here[row] : (const struct spell_about *)0;
}

#endif

static inline __attribute__((always_inline)) __u16 spell_next(const struct spell_rows *rows,
                                                              __u32 row, __u8 byte)
{
    return rows->next[row & SPELL_ROW][byte];
}

/* Masks that a row holds. */
static inline __attribute__((always_inline)) __u64 spell_mask(const struct spell_rows *rows,
                                                              __u32 row, __u32 which)
{
    const __u16 *at = &rows->next[row & SPELL_ROW][(which & (SPELL_METHODS - 1)) * 4];

    return at[0] | (__u64)at[1] << 16 | (__u64)at[2] << 32 | (__u64)at[3] << 48;
}

/* A host's bytes -> what policy_spoken knows its names by. By a key that no pod knows: two names
 * that it takes for one could be had otherwise. */
static inline __attribute__((always_inline)) __u64 spell_hash(__u64 hash, __u8 byte, __u64 key)
{
    hash = (hash ^ byte) * (key | 1);
    return hash ^ hash >> 32;
}
