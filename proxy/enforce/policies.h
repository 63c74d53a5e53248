/* policies: the policies in force, and what they say of each pod.
 *
 * Swapped whole: policies_use() by the control thread, policies_view() by any. A pod has a view as
 * soon as it is registered, before its first connect is steered.
 * Called by:  pods/lifecycle.c (a pod comes, goes), command/ (files and clients' policies), flow/,
 *             dns/ (what is in force now).
 * Leads to:   ../../policy/view.h; kernel_rules.h, which is told of each pod's view. */
#pragma once

#include "base/err.h"
#include "policy/view.h"

struct policies;

int policies_new(struct policies **out, struct err *err);
void policies_free(struct policies **policies);

/* What is in force from now on; takes a reference. Views of all pods are made anew, or nothing
 * changes (-ENOMEM). Control thread. */
int policies_use(struct policies *policies, struct policy_set *set, struct err *err);
struct policy_set *
policies_set(struct policies *policies); /* a reference; NULL: none. Any thread */

/* A pod comes (or its labels changed), and goes. Control thread. */
int policies_add_pod(struct policies *policies, const struct pod *pod, struct err *err);
void policies_remove_pod(struct policies *policies, uint64_t cgroup_id);

/* Changes whenever any view may have; to ask whether one that is held is the newest. Any thread. */
uint64_t policies_generation(const struct policies *policies);
/* What is in force for a pod: a reference; NULL: nothing is. Any thread. */
struct policy_view *policies_view(struct policies *policies, uint64_t cgroup_id);
