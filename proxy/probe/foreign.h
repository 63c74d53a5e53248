/* foreign: BPF programs of others on the hooks that are ours, too, and what follows.
 *
 * For a process programs run from its own cgroup upwards, to the root; those of one cgroup in the
 * order in which they were attached.
 * Called by:  probe.c, for what `exec` would start; telemetry/neighbours.c, for the pods that are
 * served. */
#pragma once

#include "proxy/probe/report.h"

/* On the way up from own_cgroup ("": there is none), below which ours would stand; and in the
 * network namespace, unless netns_fd is -1. */
void foreign_find(struct probe_report *report, const char *own_cgroup, int netns_fd);

/* The ids of our own programs, which are pinned, or their links, in pin_dir or directories in it.
 */
struct foreign_ours {
    uint32_t ids[256];
    size_t len;
};
void foreign_find_ours(struct foreign_ours *ours, const char *pin_dir);

/* Beside ours, at the cgroup `root`, and above it. */
void foreign_find_beside(struct probe_report *report, const char *root,
                         const struct foreign_ours *ours);
/* Before ours: on the way up from a pod's cgroup to `root`, where most of ours stand. May be called
 * again for other pods: what was found already is not noted twice. */
void foreign_find_before(struct probe_report *report, const char *pod, const char *root,
                         const struct foreign_ours *ours);
