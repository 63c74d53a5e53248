/* reason: why something was decided, in words that are safe to print, whoever chose their parts.
 *
 * Pure. Called by:  decide.c, unseen.c, explain.c. */
#pragma once

#include "base/addr.h"
#include "base/span.h"

/* Appends to the text in out, as far as there is room. */
void reason_add(char *out, size_t size, const char *words);
/* What a stranger chose: what is not printable ASCII as \xNN, and no more than most bytes of it,
 * nor what may be a token ("eyJ" begins each JWT), with "..." for what is left out. */
void reason_add_foreign(char *out, size_t size, struct span text, size_t most);
/* An address, without its port; 0.0.0.0 stands for one that nobody knows. */
void reason_add_ip(char *out, size_t size, const struct addr *addr);
bool reason_is_known(const struct addr *addr);
