/* scan_parts: what scan_set.c makes and scan.c reads. Private to them. */
#pragma once

#include "policy/regex_program.h"
#include "policy/scan.h"

/* Expressions are in two groups, as their shortest matches are short or not. */
enum { SCAN_GROUPS = 2, SCAN_DEPTH_MAX = 4 };

struct scan_set {
    struct program *program;
    uint64_t serial;   /* of this set alone */
    uint64_t *start;   /* nodes where matches may begin, anywhere but at the stream's begin */
    uint64_t *begin;   /* ... and there; with the program's bit for that */
    uint64_t *matches; /* the nodes that are PROGRAM_MATCH */
    size_t *longest;
    size_t len;
    /* How matches begin: of pairs[class << shift | class of the next byte] bit i (of group 1: bit
     * SCAN_DEPTH_MAX + i) is whether these two can be bytes i and i + 1 of a match. */
    uint8_t *pairs;
    unsigned shift;              /* SCAN_SHIFT or 8 */
    unsigned depth[SCAN_GROUPS]; /* bits used: any match is longer, or one of its bytes is enough */
};
enum { SCAN_SHIFT = 6 };
