/* literal: what every text that an expression matches must begin and end with, or have within.
 *
 * Pure, and careful rather than clever: what it does not understand could be anything.
 * Called by:  index_build.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { LITERAL_MAX = 64, LITERAL_INNER = 12 };

struct literal { /* of one alternative of an expression that must match a text from end to end */
    char head[LITERAL_MAX], tail[LITERAL_MAX];
    char inner[LITERAL_INNER]; /* the end of the longest in between */
    size_t head_len, tail_len, inner_len;
    bool whole; /* it is that text, head, and no other */
};

/* The next alternative from *at on, which begins at the expression's start. False: that were all.
 */
bool literal_next(const char **at, struct literal *out);
/* Of a pattern of names (match.h). */
void literal_of_pattern(const char *pattern, struct literal *out);
