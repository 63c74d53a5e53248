/* watch: tells when files that were read may be others now.
 *
 * Files are replaced more often than written: by rename, by a link that leads elsewhere
 * (Kubernetes swaps ..data), with their whole directory. So what is watched is the directories they
 * stand in, and those above; and what is compared, once all has been quiet for a moment, is what
 * the paths lead to.
 * Called by:  command/reload.c. */
#pragma once

#include <event2/event.h>
#include <stddef.h>

#include "base/err.h"

enum {
    WATCH_PATHS_MAX = 64,
    WATCH_QUIET_MS = 200,     /* so long nothing has happened: whoever writes is done */
    WATCH_PATIENCE_MS = 2000, /* ... but who never stops writing is read at last */
};

struct watch;

/* Calls on_change from the loop; what was seen when it is called is what changes are seen against
 * from then on. */
int watch_new(struct watch **out, struct event_base *base, void (*on_change)(void *arg), void *arg,
              struct err *err);
void watch_free(struct watch **watch);

/* Watches these instead of those before: files, or directories with all directly in them; they need
 * not exist. NULL ones are skipped. What is seen now is what later changes are seen against. */
int watch_set(struct watch *watch, const char *const *paths, size_t len, struct err *err);
