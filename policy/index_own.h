/* index_own: what an index is made of. For index.c, which reads, and index_build.c. */
#pragma once

#include "policy/index.h"
#include "policy/literal.h"

enum index_kind { INDEX_TEXT, INDEX_HEAD, INDEX_TAIL, INDEX_PREFIX, INDEX_ANY };
enum index_check { INDEX_SURE, INDEX_PATTERN, INDEX_REGEX, INDEX_EXCEPT };

struct index_key {
    uint32_t at; /* in the index's bytes */
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

static inline size_t index_hash_end(uint64_t hash, enum index_kind kind, size_t len)
{
    hash ^= (uint64_t)kind << 32 ^ len;
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash ^ hash >> 32);
}

enum { INDEX_PORT_BITS = 24 }; /* the protocol in eight, and a port */
