/* policies: the policies in force, and what they say of each pod.
 *
 * Swapped whole: policies_use() by the control thread, policies_view() by any. A pod has a view as
 * soon as it is registered, before its first connect is steered.
 * Called by:  agent.c (another set), pods/lifecycle.c (a pod comes, goes), flow/, dns/
 *             (what is in force now).
 * Leads to:   ../../policy/view.h; what else must know each pod's view: policies_on_view(). */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "policy/view.h"

struct policies;

/* An empty set is in force. */
int policies_new(struct policies **out, struct err *err);
void policies_free(struct policies **policies);

/* on_view(arg, pod, view) shall be told of each view before it is in force; and again of the one
 * that stays, where the new ones did not come to be after all. Control thread. */
void policies_on_view(struct policies *policies,
                      int (*on_view)(void *arg, const struct pod *pod, struct policy_view *view,
                                     struct err *err),
                      void *arg);

/* What is in force from now on; takes a reference. Views of all pods are made anew, or nothing
 * changes (-ENOMEM, or as on_view() says). Control thread. */
int policies_use(struct policies *policies, struct policy_set *set, struct err *err);
struct policy_set *policies_set(struct policies *policies); /* a reference. Any thread */

/* A pod comes (or its labels changed), and goes: flows of it that are left stay under its policies,
 * and get the view of each new set. Control thread. */
int policies_add_pod(struct policies *policies, struct pod *pod, struct err *err);
void policies_remove_pod(struct policies *policies, uint64_t cgroup_id);
/* How many registered pods the policy selects. Control thread. */
size_t policies_count_pods(const struct policies *policies, const struct policy *policy);

/* Changes whenever any view may have; to ask whether one that is held is the newest. Any thread. */
uint64_t policies_generation(const struct policies *policies);
/* What is in force for a pod (0: for whom comes to --listen): a reference; NULL: there is no such
 * pod. Any thread. */
struct policy_view *policies_view(struct policies *policies, uint64_t cgroup_id);
