/* regex: POSIX extended regular expressions, in time linear in the text, whatever the expression.
 *
 * No back-references, so nothing to go back for. As Cilium's (RE2) \d \w \s and (?i) are known,
 * too. What is compiled never changes: any thread may match by it. Called by:  compile.c (fields of
 * http rules: the whole text must match), scanner for bodies. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

struct regex;

struct regex_fault {
    size_t at;        /* the byte of the expression that it is about, from 0 */
    const char *text; /* a phrase, static: "'(' is never closed" */
};

/* 0; -EINVAL: fault says why; -ENOMEM. */
int regex_new(struct regex **out, const char *expression, struct regex_fault *fault);
void regex_free(struct regex **regex); /* accepts an empty one */
/* Whether the whole text matches. Allocates nothing. */
bool regex_match(const struct regex *regex, struct span text);
size_t regex_size(const struct regex *regex); /* bytes of memory */

/* Byte by byte, for who makes a larger automaton of several. Only where it has a DFA: */
enum { REGEX_DEAD = 0 }; /* nothing matches any more */
bool regex_has_dfa(const struct regex *regex);
uint32_t regex_begins(const struct regex *regex);
uint32_t regex_leads(const struct regex *regex, uint32_t state, uint8_t byte);
bool regex_ends(const struct regex *regex, uint32_t state); /* a text that ends here matches */
