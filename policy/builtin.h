/* builtin: the patterns that are built in, but for numbers.h's: what tells where one may end, and
 * what confirms it.
 *
 * Pure. Private to inspect.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

struct builtin {
    const char *name;
    const char *expression; /* ends where a match may end; means the same to both engines */
    /* The length of the match that ends with window; 0: there is none. first: window begins with
     * the stream's first byte. */
    size_t (*confirm)(struct span window, bool first);
    /* Whether it goes on with such a byte, and so does not end before it. NULL: nothing may follow
     * that would change anything. */
    bool (*goes_on)(uint8_t next);
};

enum { BUILTIN_JWT = 0, BUILTIN_MAX = 7 }; /* jwt: found by its beginning; see jwt.h */
extern const struct builtin builtins[BUILTIN_MAX];
const struct builtin *builtin_find(const char *name); /* NULL: none is called so */
