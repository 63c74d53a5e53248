/* place: whose an agent's directory is when `run` starts there.
 *
 * Called by:  run.c. Leads to:  runtime.h, ../succession/predecessor.h. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct runtime;

/* That of an agent which makes way for us (*replaces), or ours: its lock is taken then. One that
 * has the lock, but does not answer, is about to begin, or on its way out, and is waited for some
 * seconds. alone: nobody is asked, as it is making way already or none may.
 * replace: one that serves is to make way, too. */
int place_find(struct runtime *runtime, bool alone, bool replace, bool *replaces, struct err *err);
