/* letters: what stands around a match. Pure. Private to inspect.c's patterns. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

static inline bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static inline bool is_upper(int c)
{
    return c >= 'A' && c <= 'Z';
}

static inline bool is_alnum(int c)
{
    return is_digit(c) || is_upper(c) || (c >= 'a' && c <= 'z');
}

static inline bool is_hex(int c)
{
    return is_digit(c) || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

/* The byte back bytes before at; -1: there is none. */
static inline int letter_before(struct span text, size_t at, size_t back)
{
    return at >= back ? text.data[at - back] : -1;
}

/* What ends before at is an escape of a form ("%20") or of JSON ("\n"), whatever its last letter.
 */
static inline bool is_escaped(struct span text, size_t at)
{
    int last = letter_before(text, at, 1);

    if (letter_before(text, at, 3) == '%' && is_hex(letter_before(text, at, 2)) && is_hex(last))
        return true;
    return letter_before(text, at, 2) == '\\' && (last == 'n' || last == 'r' || last == 't');
}
