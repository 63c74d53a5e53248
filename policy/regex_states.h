/* regex_states: sets of a program's nodes, each kept once and known by a number: the states of a
 * DFA that is being made.
 *
 * Called by:  regex.c (grows until the DFA is whole), scan.c (of a fixed size, forgotten when
 * full).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct states {
    uint64_t *bits;  /* `words` for each */
    uint32_t *table; /* hash -> number plus 1; a power of 2 */
    size_t words, len, room, table_len;
};

/* -ENOMEM. */
int states_init(struct states *states, size_t words, size_t room);
void states_fini(struct states *states); /* at ease with zeroes */
int states_grow(struct states *states);  /* to twice the room; -ENOMEM */
/* The same in memory of the caller's (states_bytes() of it, aligned for uint64_t): not to be fini'd
 * or grown. */
size_t states_bytes(size_t words, size_t room);
/* How many fit into so many bytes, with so much beside each. */
size_t states_room(size_t words, size_t beside, size_t bytes);
void states_lay(struct states *states, void *memory, size_t words, size_t room);
void states_forget(struct states *states); /* all of them */

/* Its number; SIZE_MAX: it is new and there is no room. *fresh: it is new and has one now. */
size_t states_find(struct states *states, const uint64_t *nodes, bool *fresh);

static inline const uint64_t *states_at(const struct states *states, size_t number)
{
    return states->bits + number * states->words;
}
