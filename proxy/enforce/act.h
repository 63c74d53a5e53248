/* act: what a policy does to a program that breaks it: the process is killed, or its pod is frozen.
 *
 * A frozen pod stays so until somebody thaws it, whatever becomes of the agent: by `pods thaw`, or
 * by hand (cgroup.freeze). What the kernel says counts, so it does not matter by which.
 * Any thread, but where said otherwise.
 * Called by:  flow/, dns/, kernel_rules.c: by verdicts; pods/lifecycle.c: a pod comes, goes;
 *             pods/registry_verbs.c: thaw. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "policy/facts.h"

struct act;

int act_new(struct act **out, struct err *err);
void act_free(struct act **act);

/* cgroup_fd: the pod's directory, of which a copy is kept. Control thread. */
int act_add_pod(struct act *act, struct pod *pod, int cgroup_fd, struct err *err);
void act_remove_pod(struct act *act, uint64_t cgroup_id);

/* SIGKILL to that very process, not to one that got its pid since. NULL: nobody knows who it was.
 * -ESRCH: it is gone. */
int act_kill(const struct process *process, struct err *err);

/* Its processes stop where they are. From the return on none gets further than the system call it
 * is in. -ENOENT: it is no pod any more. */
int act_freeze(struct act *act, uint64_t cgroup_id, struct err *err);
int act_thaw(struct act *act, uint64_t cgroup_id, struct err *err);
/* Whether a pod is frozen, by whomever. */
bool act_is_frozen(struct act *act, uint64_t cgroup_id);
/* Whether we froze it and it still is: its flows wait. Quick where we did not. */
bool act_holds(struct act *act, struct pod *pod);
/* How many such pods there are. */
size_t act_count(struct act *act);
