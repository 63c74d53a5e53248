/* pod_place: where a pod lives: its cgroup and its network namespace, as descriptors that somebody
 * else opened, and whether a pod may be there.
 *
 * Called by:  registry.c, registry_verbs.c. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct pod_place {
    int cgroup, netns;    /* borrowed; netns -1: not said */
    uint64_t id;          /* of the cgroup */
    uint64_t netns_inode; /* 0: not said */
    const char
        *netns_path; /* borrowed; by which it was opened, perhaps where we are not; or NULL */
    pid_t like;      /* its programs resolve names as this process does; 0: as those in it */
};

/* The cgroup is one, is there, is in `root`, and has not the agent in it; the namespace is one.
 * Fills the rest. */
int pod_place_check(struct pod_place *place, int root, struct err *err);
/* The path of the cgroup, and of the namespace, or what the kernel calls it, in our own mount
 * namespace, which need not be the one they were opened in; the caller's. */
char *pod_place_cgroup_path(const struct pod_place *place, int root);
char *pod_place_netns_path(const struct pod_place *place);
/* The namespace with this inode: by its path, if that still leads there; else where a process of
 * the cgroup is in it. A descriptor, or -1: nobody is. path NULL: none is wanted. */
int pod_place_find_netns(int cgroup, const char *path, uint64_t inode);
