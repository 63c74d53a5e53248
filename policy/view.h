/* view: what a set of policies says of one pod, made ready for quick decisions.
 *
 * Immutable once it is made, counted by references; any thread. Made when a pod is registered or
 * relabelled, and when another set is put in force: not per flow.
 * Called by:  proxy/enforce/policies.c, command/policy.c.
 * Leads to:   decide.h. */
#pragma once

#include "policy/policy.h"

struct policy_view;

/* The policies of set (a reference is taken) that select the pod: one for all pods that the same
 * policies select. NULL: out of memory. */
struct policy_view *policy_view_new(struct policy_set *set, const struct pod *pod);
struct policy_view *policy_view_ref(struct policy_view *view);
void policy_view_unref(struct policy_view **view); /* accepts an empty one */

bool policy_view_is_empty(const struct policy_view *view);       /* no policy selects the pod */
uint64_t policy_view_generation(const struct policy_view *view); /* of its set */
size_t policy_view_len(const struct policy_view *view);
const struct policy *policy_view_at(const struct policy_view *view, size_t i); /* borrowed */

/* Those of a view that are for one process: found once a flow, used for each of its requests. */
struct policy_scope; /* owned by who made it; holds a reference on the view */
/* NULL: out of memory. process may be NULL. */
struct policy_scope *policy_scope_new(struct policy_view *view, const struct process *process);
void policy_scope_free(struct policy_scope **scope);
bool policy_scope_is_empty(const struct policy_scope *scope);
size_t policy_scope_len(const struct policy_scope *scope);
const struct policy *policy_scope_at(const struct policy_scope *scope, size_t i); /* borrowed */

enum { POLICY_VIEW_PORTS_MAX = 16 }; /* the kernel has room for about so many of each pod */
/* How pods are steered for it: whether every TCP port is (a rule has names, TLS or rules and says
 * no ports, or too many), else which beyond the usual. ports: the caller's; -ENOMEM. */
int policy_view_ports(const struct policy_view *view, bool *all, uint16_t **ports, size_t *len);
/* Whether any of them has programs let the kernel encrypt. */
bool policy_view_prefers_ktls(const struct policy_view *view);
enum policy_agent_down
policy_view_agent_down(const struct policy_view *view); /* the strictest said */
/* What becomes of connections that a process had before its pod was registered: they are reset
 * where any says so (one that enforces before one that monitors), else left where one says that.
 * *by: whose word it is, borrowed; NULL: nobody's. scope may be NULL. */
enum policy_existing policy_scope_existing(const struct policy_scope *scope,
                                           const struct policy **by);
