/* index: which of many numbered things take a text, or an address, without asking each of them.
 *
 * A thing is added with what a text must be (a whole text, a pattern of names, an expression), with
 * the first bits of an address, or with nothing, which takes everything. A pattern or an expression
 * is found by what a text must begin or end with, or where many have the same, by what must stand
 * within; only one of which nothing is known ("[ab].*") is tried for each text: so many of those
 * cost as many matches, each linear in the text.
 *
 * Pure; any thread once it is made. Borrows texts, expressions and networks from policies.
 * Called by:  segment.c, search.c. */
#pragma once

#include "base/span.h"
#include "policy/bits.h"
#include "policy/policy.h"

enum { INDEX_LENGTHS = 3 }; /* words: of keys there are of 0 to 128 bytes, or bits */

struct index_key;
struct index_leaf;
struct index {
    size_t words;    /* of bits: for as many as there are things */
    uint64_t *any;   /* they take everything; NULL: the index is empty */
    uint32_t *slots; /* by hash, of a key its place + 1; 0: none */
    size_t slots_mask;
    struct index_key *keys;
    struct index_leaf *leaves;
    uint8_t *bytes;  /* of the keys */
    uint32_t *pairs; /* of sets: first << 16 | how many, less one */
    uint64_t *dense; /* of sets that are shorter so */
    uint64_t heads[INDEX_LENGTHS], tails[INDEX_LENGTHS], inners[INDEX_LENGTHS],
        prefixes[INDEX_LENGTHS];
    size_t inner_keys;
    bool has_any, has_texts;
    size_t tried; /* how many must be tried for every text */
};
void index_fini(struct index *index);

/* Adds to bits what takes the text. wanted: nothing else need be found; NULL: all. Where patterns
 * of names were added, a NUL stands behind the text. */
void index_find(const struct index *index, struct span text, const uint64_t *wanted,
                uint64_t *bits);
void index_find_address(const struct index *index, const struct addr *address, uint64_t *bits);
void index_find_port(const struct index *index, enum protocol protocol, uint16_t port,
                     uint64_t *bits);

/* ---- making one ---- */

struct index_term;
struct index_terms { /* begins zeroed */
    struct index_term *list;
    size_t len, room;
    bool no_memory;
};
void index_terms_fini(struct index_terms *terms);

/* Each for n things from first on. */
void index_add_any(struct index_terms *terms, size_t first, size_t n);
void index_add_text(struct index_terms *terms, const char *text, size_t first, size_t n);
void index_add_name(struct index_terms *terms, const struct policy_name *name, size_t first,
                    size_t n);
/* lower: it is matched without regard to case, and texts are in lower case. */
void index_add_expression(struct index_terms *terms, const char *written, const struct regex *regex,
                          bool lower, size_t first, size_t n);
void index_add_cidr(struct index_terms *terms, const struct policy_cidr *cidr, size_t first,
                    size_t n);
void index_add_port(struct index_terms *terms, const struct policy_port *port, size_t first,
                    size_t n);
/* Of things with numbers below that. -ENOMEM: *out is as it was. */
int index_make(struct index *out, struct index_terms *terms, size_t things);
