/* kernel_rules: what each pod's policies say of a connect, told to the kernel, which decides by it
 * alone (bpf/judge.h).
 *
 * Pods with the same policies share a table. A pod's next table is there, whole, before the pod's
 * entry in the kernel points to it, and the last one goes some time after that.
 * What is too much for a table is decided by the agent: every connection of the pod is looked into,
 * and its datagrams, but for name servers, are refused.
 * Called by:  pods/pods.c, which steers pods; agent_build.c. Control thread, but for names.
 * Leads to:   ../../policy/table.h; kernel_tables.h (maps), kernel_names.h, kernel_images.h. */
#pragma once

#include "base/err.h"
#include "policy/view.h"

struct identity;
struct kernel_rules;
struct names;
struct pod;
struct sallyport_bpf;

int kernel_rules_new(struct kernel_rules **out, struct sallyport_bpf *bpf, struct err *err);
/* Takes the tables away, unless kernel_rules_leave() was called. */
void kernel_rules_free(struct kernel_rules **rules);
/* Whose names count, and who knows processes; both outlive the rules, or are taken back by NULL. */
void kernel_rules_learn_names(struct kernel_rules *rules, struct names *names);
void kernel_rules_learn_processes(struct kernel_rules *rules, struct identity *identity);

/* Makes a table for a pod, or finds one: *number is for its entry in the kernel's map (0: no policy
 * is for it; view NULL likewise). When that entry is written, or was not: kernel_rules_use(). */
int kernel_rules_prepare(struct kernel_rules *rules, const struct pod *pod,
                         struct policy_view *view, uint32_t *number, struct err *err);
void kernel_rules_use(struct kernel_rules *rules, uint64_t cgroup_id, bool written);
/* The pod's entry is gone. */
void kernel_rules_forget(struct kernel_rules *rules, uint64_t cgroup_id);

/* As pods.h has them. */
void kernel_rules_sweep(struct kernel_rules *rules);
void kernel_rules_leave(struct kernel_rules *rules);
