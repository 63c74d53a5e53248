/* scan_parts: what scan_set.c makes and scan.c reads. Private to them. */
#pragma once

#include "policy/regex_program.h"
#include "policy/scan.h"

enum {
    SCAN_GROUPS = 8,
    SCAN_DEPTH = 4,    /* bits of a group */
    SCAN_LETTERS = 64, /* kinds of bytes, as pairs tells them apart; a power of 2 */
};

struct scan_set {
    struct program *program;
    uint64_t serial;   /* of this set alone */
    uint64_t *start;   /* nodes where matches may begin, anywhere but at the stream's begin */
    uint64_t *begin;   /* ... and there; with the program's bit for that */
    uint64_t *matches; /* the nodes that are PROGRAM_MATCH */
    size_t len;
    /* How matches begin. Patterns are in groups; bit i of group g, of the pair of two letters, is
     * whether these can be bytes i and i + 1 of a match of one of the group. As many as its bit in
     * `enough` says must fit: all its matches are longer, or begin so whatever follows. */
    uint32_t pairs[SCAN_LETTERS * SCAN_LETTERS];
    uint32_t enough;
    uint8_t letter_of[256];
};

/* scan_pairs.c: fills pairs, enough and letter_of. shortest: of each pattern's matches; stack: for
 * the program. -ENOMEM. */
int scan_find_pairs(struct scan_set *set, const uint32_t *shortest, uint16_t *stack);
