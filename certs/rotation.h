/* rotation: which of a CA directory's authorities signs now, and what rotating it means.
 *
 * Pure: dates in, a decision out. A fresh authority is first published beside the one that signs,
 * so that pods can take up its root, and begins to sign at a time that was fixed then. Nobody has
 * to act at that time: whoever reads the directory comes to the same conclusion.
 * Called by:  ca_dir.c. */
#pragma once

#include <stdbool.h>
#include <time.h>

struct rotation {
    bool current;         /* there is one that is valid */
    time_t current_until; /* ... so long */
    bool next;            /* another one is published */
    time_t next_from;     /* signs from then on; it is valid from before it was published */
    time_t next_until;
};

enum rotation_signer {
    ROTATION_NOBODY, /* all have expired */
    ROTATION_CURRENT,
    ROTATION_NEXT, /* its time has come, or the current one's is over */
};
enum rotation_signer rotation_signer(const struct rotation *rotation, time_t now);

/* When rotation_signer() says something else; 0: never. */
time_t rotation_changes_at(const struct rotation *rotation, time_t now);

/* What `ca rotate` has to do. */
enum rotation_step {
    ROTATION_REFUSED, /* one is published and its time has not come */
    ROTATION_PUBLISH, /* a fresh one, beside the one that signs */
    ROTATION_PROMOTE, /* the one published signs from now on */
    ROTATION_REPLACE, /* a fresh one signs from now on */
};
/* at_once: pods are not to be waited for. Where rotation_signer() says NEXT, that one counts as the
 * current one, and there is no next. */
enum rotation_step rotation_step(const struct rotation *rotation, bool at_once, time_t now);

/* From when on it is high time to rotate: less than a third of the life, from `since`, of who signs
 * is left, and nobody comes after it. 0: at once, for nobody signs; -1: never, somebody comes. */
time_t rotation_due_at(const struct rotation *rotation, time_t since, time_t now);
