/* instance: what one `exec` owns on the machine, and how it goes away again.
 *
 *   /run/sallyport/exec/ID/lock     locked (flock) as long as the instance lives
 *   /run/sallyport/exec/ID/cgroup   the path of its cgroup
 *   /run/sallyport/exec/ID/bpf      a bpffs of its own: links pinned there outlive a killed agent,
 *                                   so that what it left running cannot connect unseen
 *   /run/sallyport/exec/ID/trust/   merged trust bundles, mounted over the pod's own
 *   OWN-CGROUP/sallyport-ID         the pod's cgroup
 *
 * A dead instance is one whose lock nobody holds; the next start removes it. A live one is never
 * touched. */
#pragma once

#include <limits.h>
#include <stdint.h>

#include "base/err.h"

struct instance {
    char dir[64];
    char cgroup[PATH_MAX];
    int cgroup_fd;      /* its directory */
    uint64_t cgroup_id; /* its inode */
    int lock_fd;
};

/* Sweeps dead instances away, then makes a new one. */
int instance_new(struct instance **out, struct err *err);
/* Kills what still runs in the cgroup and removes everything. */
void instance_free(struct instance **instance);

/* Puts a process into the instance's cgroup. */
int instance_enter(const struct instance *instance, pid_t pid, struct err *err);
/* Kills everything in the cgroup and waits, at most two seconds, until nothing lives there. */
int instance_kill(const struct instance *instance, struct err *err);
