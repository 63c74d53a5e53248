/* sources_own: what sources.c and the files beside it share; nobody else's. */
#pragma once

#include <event2/event.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "proxy/enforce/applied.h"
#include "proxy/enforce/sources.h"

struct control_call;
struct watch;

/* One reading of files, or of what a client applies; the thread's until it has ended. */
struct reading {
    struct reading *next;
    struct control_call *call; /* who applies; NULL: the files are read */
    uint8_t *bundle;           /* what it applies; owned */
    size_t bundle_len;
    char **paths; /* what is read; owned */
    size_t paths_len;
    const char *dir;           /* borrowed */
    struct policy_list list;   /* what was found */
    struct applied fresh;      /* likewise, of what is applied */
    struct policy_story story; /* what is wrong */
    bool ok;
};

struct sources {
    struct sources_parts parts;
    char dir[PATH_MAX], state_dir[PATH_MAX];
    char **paths; /* owned */
    size_t paths_len;
    struct policy_list files; /* in force */
    struct applied applied;   /* likewise */
    struct stat index;        /* of what is on disk of these */
    uint64_t generation;
    struct watch *watch, *named; /* what is read; what rules name */
    bool retired;
    pthread_t thread;
    bool busy;                     /* it reads the first of these */
    struct reading *first, **last; /* in the order in which they were asked for */
    int done_fd;                   /* an eventfd: it has ended */
    struct event *on_done;
    uint64_t done, failed, at_ns; /* reloads */
    char error[1100];             /* why the last one failed; "": it did not */
};

/* What was done, and what is in force now. */
void sources_log(const struct sources *sources, const char *what);

/* Takes reading; it is read when those before it are. */
void sources_add(struct sources *sources, struct reading *reading);
/* Both together are in force from now on, or nothing changes; a policy of both is a fault, told in
 * story. Takes neither. */
int sources_put(struct sources *sources, const struct policy_list *files,
                const struct applied *applied, struct policy_story *story, struct err *err);

/* Follows the files that rules of the set name, and no others. */
void sources_watch_named(struct sources *sources, const struct policy_set *set);

/* What was applied is read: answers who did. */
void sources_finish_apply(struct sources *sources, struct reading *reading);

/* ---- sources_reading.c ---- */

/* Of all files that are named by now. NULL when out of memory. */
struct reading *reading_new(const struct sources *sources);
void reading_free(struct reading **reading);
/* Touches nothing but the files and *reading. */
void reading_do(struct reading *reading);

int sources_copy_paths(char ***out, size_t *out_len, char *const *paths, size_t len); /* -ENOMEM */
void sources_free_paths(char ***paths, size_t *len);
