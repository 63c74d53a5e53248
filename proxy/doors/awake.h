/* awake: says to the kernel programs, again and again, that somebody is there to send on the SYNs
 * that they hold back (bpf/hold.h), where we may send packets at all.
 *
 * Called by:  attempts.c. */
#pragma once

#include <event2/event.h>

#include "base/err.h"

struct awake;
struct sallyport_bpf;

int awake_new(struct awake **out, struct event_base *base, struct sallyport_bpf *bpf,
              struct err *err);
/* From now on another agent says so. */
void awake_leave(struct awake *awake);
/* From now on nobody does, unless it was left. */
void awake_free(struct awake **awake);
