/* scan_parts: what scan_set.c makes and scan.c reads. Private to them. */
#pragma once

#include "policy/regex_program.h"
#include "policy/scan.h"

struct scan_set {
    struct program *program;
    uint64_t serial;   /* of this set alone */
    uint64_t *start;   /* nodes where matches may begin, anywhere but at the stream's begin */
    uint64_t *begin;   /* ... and there; with the program's bit for that */
    uint64_t *matches; /* the nodes that are PROGRAM_MATCH */
    size_t *longest;
    size_t len;
    /* A bit for each two bytes, the first in the upper 8 bits: a match may begin with them. Where
     * the bit is 0, whatever began with the first byte is over with the second. */
    uint64_t pairs[65536 / 64];
};
