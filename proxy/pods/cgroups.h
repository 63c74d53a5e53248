/* cgroups: directories of cgroup v2: what they are, who lives in them, and when one goes away.
 *
 * A directory that is removed says so to who watches its parent (inotify); none that holds one open
 * is told. Who holds a directory open keeps neither it nor anybody in it.
 * Called by:  lifecycle.c; registry.c, to judge what it was given. Control thread only. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Of a directory that is there: its id. -ENOTDIR, -ENOENT (it is gone). */
int cgroup_read_id(int fd, uint64_t *id, struct err *err);
bool cgroup_is_gone(int fd);
/* Whether it is `above`, or anywhere below that. */
bool cgroup_is_within(int fd, int above);
/* Its path below that, "" for that itself, whatever mount and mount namespace it was opened in; the
 * caller's. NULL: it is not within, or has been removed. */
char *cgroup_path_below(int fd, int above);
/* The first of it and those above it for which is_wanted(arg, id); 0: none. */
uint64_t cgroup_find_up(int fd, bool (*is_wanted)(void *arg, uint64_t id), void *arg);
/* Calls visit(arg, pid) for each process in it and below; not in those below, nor further down, for
 * which skip(arg, id). Processes come and go meanwhile. */
void cgroup_each_process(int fd, bool (*skip)(void *arg, uint64_t id),
                         void (*visit)(void *arg, pid_t pid), void *arg);

/* The same for the ids of it and those below. */
void cgroup_each(int fd, bool (*skip)(void *arg, uint64_t id),
                 void (*visit)(void *arg, uint64_t id), void *arg);

struct cgroups; /* those that are watched */

/* on_gone(arg, id) is called from the loop, once; the cgroup is not watched any more by then. */
int cgroups_new(struct cgroups **out, struct event_base *base,
                void (*on_gone)(void *arg, uint64_t id), void *arg, struct err *err);
void cgroups_free(struct cgroups **cgroups);
/* Keeps a copy of fd. -ENOENT: it is gone already. */
int cgroups_watch(struct cgroups *cgroups, int fd, uint64_t id, struct err *err);
/* The directory of one that is watched, borrowed; or -1. */
int cgroups_fd(const struct cgroups *cgroups, uint64_t id);
/* Each that is watched; its directory is borrowed. */
void cgroups_each(const struct cgroups *cgroups, void (*visit)(void *arg, int fd), void *arg);
void cgroups_unwatch(struct cgroups *cgroups, uint64_t id);
