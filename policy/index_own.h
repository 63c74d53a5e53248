/* index_own: what an index is made of. For index.c, which reads, index_terms.c and index_build.c.
 */
#pragma once

#include "policy/index.h"
#include "policy/literal.h"

enum index_kind { INDEX_TEXT, INDEX_HEAD, INDEX_TAIL, INDEX_INNER, INDEX_PREFIX, INDEX_ANY };
enum { INDEX_INNER_STEP = 3 }; /* keys of what is within have a multiple of that many bytes */
enum index_check { INDEX_SURE, INDEX_PATTERN, INDEX_REGEX, INDEX_EXCEPT };

struct index_key {
    uint32_t inner; /* of INDEX_INNER: its number among them */
    uint32_t at;    /* in the index's bytes */
    uint16_t len;
    uint8_t kind;
    uint32_t leaf, leaves;
};
struct index_leaf { /* of one key: what else must hold, and for whom */
    enum index_check check;
    bool dense;
    const void *what; /* the pattern, the regex, the network */
    uint32_t at, len; /* in the index's pairs; in its dense ones */
};

/* Hashes go over a text byte by byte, from its begin or from its end. */
static inline uint64_t index_hash_byte(uint64_t hash, uint8_t byte)
{
    return (hash ^ byte) * UINT64_C(0x100000001b3);
}
enum { INDEX_HASH_SEED = 0x51f3 };

/* Of what is within, one that can be moved along: a polynomial. */
#define INDEX_HASH_INNER UINT64_C(0x9e3779b97f4a7c15)
static inline uint64_t index_hash_inner(uint64_t hash, uint8_t byte)
{
    return hash * INDEX_HASH_INNER + byte;
}

static inline size_t index_hash_end(uint64_t hash, enum index_kind kind, size_t len)
{
    hash ^= (uint64_t)kind << 32 ^ len;
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash ^ hash >> 32);
}

enum { INDEX_PORT_BITS = 24 }; /* the protocol in eight, and a port */

/* One way to find some things: at first as it was added, then with the key that was chosen. */
struct index_term {
    enum index_kind kind; /* of a pattern or an expression INDEX_HEAD, until the better is known */
    enum index_check check;
    const void *what;
    const char *written; /* same text, same check; NULL: what says it */
    const char *text;    /* the key, where it is longer than literal has room for */
    struct literal literal;
    size_t bits; /* of INDEX_PREFIX, whose bytes are in literal.head */
    uint32_t first, n;
    uint32_t head_peers; /* how many have the same */
};

/* Chooses for each of INDEX_HEAD what finds it best. */
void index_choose_keys(struct index_term **list, size_t len);
struct span index_key_of(const struct index_term *term);
int index_compare_spans(struct span a, struct span b);
