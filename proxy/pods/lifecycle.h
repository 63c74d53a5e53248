/* lifecycle: a pod comes, stays and goes: what the parts of the agent know of it, in one order.
 *
 * The kernel is told last when it comes and first when it goes, so that nobody is steered to where
 * nobody listens. A pod goes when it is removed, or with its cgroup.
 * Control thread only.
 * Called by:  agent.c, agent_build.c. */
#pragma once

#include <event2/event.h>

#include "base/err.h"
#include "proxy/agent.h"

struct act;
struct attempts;
struct doors;
struct ends;
struct existing;
struct identity;
struct identity_begin;
struct lifecycle;
struct limits;
struct options;
struct pods;
struct policies;
struct policy_view;
struct programs;
struct resolving;
struct resolver;
struct worker;

struct lifecycle_parts { /* all borrowed, all outlive it */
    struct event_base *base;
    struct pods *pods;
    struct policies *policies;
    struct act *act;
    struct options *options;
    struct doors *doors;
    struct identity *identity;
    struct programs *programs;
    struct ends *ends;
    struct resolving *resolving;
    struct resolver *resolver;
    struct limits *limits;
    struct existing *existing;
    struct worker *const *workers;
    unsigned workers_len;
    int cgroup_fd; /* of a pod that comes without: what the programs are attached to is it */
    /* Handles what the kernel has told until now: it is of the pod as it was. */
    void (*catch_up)(void *arg);
    void *arg;
};

int lifecycle_new(struct lifecycle **out, const struct lifecycle_parts *parts, struct err *err);
void lifecycle_free(struct lifecycle **lifecycle);

/* As agent.h has them. */
int lifecycle_add(struct lifecycle *lifecycle, const struct agent_pod *pod, struct err *err);
int lifecycle_remove(struct lifecycle *lifecycle, uint64_t cgroup_id, struct err *err);
/* All pods of an agent before were added again: the next ones are new. */
void lifecycle_restored(struct lifecycle *lifecycle);
/* It is about to have other policies. */
void lifecycle_on_view(struct lifecycle *lifecycle, const struct pod *pod,
                       const struct policy_view *view);
/* Each process that begins, in a pod or not: for identity_on_exec(). */
void lifecycle_on_begin(void *lifecycle, const struct identity_begin *begin);
bool lifecycle_is_quiet(struct lifecycle *lifecycle, uint64_t cgroup_id);
void lifecycle_on_gone(struct lifecycle *lifecycle, void (*on_gone)(void *arg, uint64_t cgroup_id),
                       void *arg);
/* Each pod's cgroup that is known; borrowed. */
void lifecycle_each_cgroup(const struct lifecycle *lifecycle, void (*visit)(void *arg, int fd),
                           void *arg);
