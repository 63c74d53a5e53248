/* suggest: the word that somebody may have meant. Pure. */
#pragma once

#include <stddef.h>

/* Of those names the one nearest to word: the same but for case, or at most a third of its letters
 * (and no more than three) wrong, missing, too many or swapped. NULL: none is near. */
const char *suggest(const char *word, const char *const *names, size_t len);
