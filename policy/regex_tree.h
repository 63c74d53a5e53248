/* regex_tree: the text of a regular expression -> a tree, or what is wrong with it. Pure.
 *
 * POSIX extended syntax, read in favour of RE2 (what Cilium's policies really run under) where
 * POSIX leaves it open or RE2 differs: escapes mean the same inside of brackets, \d \w \s and their
 * opposites are known, (?:...) groups, "+?" is "+" (of a match that is whole, or any, laziness does
 * not show). Bytes, not characters: '.' is any byte but a newline, [^a] any byte but a; a character
 * beyond ASCII stands for its bytes and is repeated as a whole, but cannot be in a class.
 * What two engines read differently ("a{,5}", "a**", "{") is refused.
 * Called by:  regex.c, scan_set.c.
 * Leads to:   regex_program.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "policy/regex.h"

enum {
    REGEX_LENGTH_MAX = 4096,
    REGEX_DEPTH_MAX = 64,
    REGEX_REPEAT_MAX = 1000,  /* of one count, as RE2's */
    REGEX_COPIES_MAX = 2048,  /* what all repeats of an expression may add to its size */
    REGEX_NO_END = UINT16_MAX /* "{2,}": the most of a repeat */
};

struct byte_set {
    uint64_t bits[4];
};

static inline void byte_set_add(struct byte_set *set, unsigned first, unsigned last)
{
    for (unsigned byte = first; byte <= last; byte++)
        set->bits[byte / 64] |= UINT64_C(1) << byte % 64;
}
static inline bool byte_set_has(const struct byte_set *set, uint8_t byte)
{
    return set->bits[byte / 64] >> byte % 64 & 1;
}

struct byte_sets { /* each once; begins zeroed */
    struct byte_set *list;
    size_t len, room;
};
void byte_sets_fini(struct byte_sets *sets);

enum tree_kind {
    TREE_SET,    /* one byte of a set */
    TREE_CAT,    /* children one after the other */
    TREE_ALT,    /* one of the children */
    TREE_REPEAT, /* its child, least to most times */
    TREE_BEGIN,  /* ^ */
    TREE_END,    /* $ */
};
struct tree_node {
    enum tree_kind kind;
    uint16_t least, most;
    uint32_t set;         /* TREE_SET: place in sets */
    uint32_t child, next; /* places in the tree; 0: none */
    uint32_t size;        /* nodes of a program for it, at most */
    uint32_t shortest;    /* bytes that it matches; UINT32_MAX: very many */
};
struct tree { /* begins zeroed */
    struct tree_node *list;
    size_t len, room; /* place 0 is never used */
    uint32_t root;
};
void tree_fini(struct tree *tree);
/* 0; -EINVAL: fault says why; -ENOMEM. */
int tree_parse(struct tree *tree, struct byte_sets *sets, struct span expression,
               struct regex_fault *fault);

/* regex_class.c. What stands at *at, which moves on behind it; false: a fault. */
/* A class in brackets, *at behind the first. */
bool class_parse(struct span text, size_t *at, bool nocase, struct byte_set *set,
                 struct regex_fault *fault);
void byte_set_fold(struct byte_set *set); /* each letter in both cases */
/* What follows a backslash, *at behind it; *byte: the one byte it stands for, or -1: several. */
bool escape_parse(struct span text, size_t *at, struct byte_set *set, int *byte,
                  struct regex_fault *fault);
