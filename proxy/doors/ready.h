/* ready: which of many sockets have something to read, at the cost of those that have. (Each of
 * some hundred namespaces has ten listeners, and they are looked at whenever a process ends.)
 *
 * Called by:  acceptor.c, ears.c, resolver.c. */
#pragma once

#include <stddef.h>

#include "base/err.h"

enum { READY_BATCH = 64 };

/* A descriptor, the caller's to close; or a negative errno. */
int ready_new(struct err *err);
/* fd < 0: nothing. A watched one is unwatched before it is closed, as others may have it open. */
int ready_watch(int ready, int fd, void *arg, struct err *err);
void ready_unwatch(int ready, int fd);
/* The args of at most READY_BATCH of those that have something to read; how many. When there are
 * more, the next call has others. */
size_t ready_look(int ready, void *args[READY_BATCH]);
