/* regex_program: trees -> one NFA (Thompson's), and its steps over sets of its nodes.
 *
 * A node is a number; a set of them a bit each, in words of the caller's. Nothing here allocates
 * but program_new().
 * Called by:  regex.c, scan_set.c, scan.c. */
#pragma once

#include "policy/regex_tree.h"

enum program_kind {
    PROGRAM_SET,   /* goes on when the next byte is of the set */
    PROGRAM_FORK,  /* goes on both ways */
    PROGRAM_BEGIN, /* goes on at the begin of the text */
    PROGRAM_END,   /* goes on at its end */
    PROGRAM_MATCH, /* pattern matches here */
};
struct program_node {
    uint16_t kind;
    uint16_t next;
    uint16_t other; /* PROGRAM_FORK: the second way; _SET: place in sets; _MATCH: the pattern */
};
struct program {
    struct program_node *nodes;
    size_t len;
    struct byte_set *sets;
    size_t sets_len;
    uint64_t *stops; /* all nodes but forks and begins: where one waits for a byte or the end */
    size_t words;    /* of a set of nodes, and one bit more (place len) of the caller's own */
    uint16_t start;
    size_t classes; /* bytes that no set tells apart are of one class */
    uint8_t class_of[256];
    uint8_t byte_of[256]; /* one byte of each class */
};
enum { PROGRAM_NODES_MAX = 8192, PROGRAM_WORDS_MAX = PROGRAM_NODES_MAX / 64 + 1 };

/* Tree i is pattern i; there is one at least. sets are moved into it. -ENOMEM; -E2BIG: it would
 * have more than PROGRAM_NODES_MAX nodes. */
int program_new(struct program **out, const struct tree *trees, size_t len, struct byte_sets *sets);
void program_free(struct program **program); /* accepts an empty one */
size_t program_size(const struct program *program);

struct program_at { /* where in the text */
    bool begin, end;
};
/* Adds what can be reached from node without a byte. stack: room for as many as there are nodes. */
void program_close(const struct program *program, uint16_t node, struct program_at at,
                   uint64_t *nodes, uint16_t *stack);
/* Adds to `to` where `from` goes by byte. */
void program_step(const struct program *program, const uint64_t *from, uint8_t byte, uint64_t *to,
                  uint16_t *stack);
/* Adds to `to` where `from` goes at the text's end (begin: it has no bytes). */
void program_end(const struct program *program, const uint64_t *from, bool begin, uint64_t *to,
                 uint16_t *stack);
/* Leaves of a set what is needed to go on from it, and the caller's bit. */
void program_keep(const struct program *program, uint64_t *nodes);
/* Whether any pattern matches in a set. */
bool program_matches(const struct program *program, const uint64_t *nodes);

static inline bool nodes_has(const uint64_t *nodes, size_t node)
{
    return nodes[node / 64] >> node % 64 & 1;
}
