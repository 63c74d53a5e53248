/* pods: who is registered, and the BPF maps that say so. Control thread only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "policy/policy.h"

struct credentials;
struct kernel_rules;
struct pod_trust;
struct pods;
struct policy_view;
struct sallyport_bpf;

struct pods_settings {
    bool all_ports; /* else `ports` */
    bool loopback;
    bool open_when_down;     /* no listener: let connections go unseen */
    enum policy_route route; /* where no policy of the pod says otherwise */
    const uint16_t *ports;
    size_t ports_len;
};

/* TCP ports steered when nobody says otherwise. */
extern const uint16_t pods_default_ports[];
extern const size_t pods_default_ports_len;

int pods_new(struct pods **out, struct sallyport_bpf *bpf, struct err *err); /* borrows bpf */
void pods_free(struct pods **pods);

/* What judges the pods in the kernel; borrowed. */
struct kernel_rules *pods_rules(struct pods *pods);

/* The kernel's maps may hold what an agent before us was asked for. Of that, takes back all that is
 * not registered here. */
void pods_sweep(struct pods *pods);
/* From now on pods_free() leaves in the maps what is there: another agent goes on with it. */
void pods_leave(struct pods *pods);

/* Registers the pod's cgroup (its id is the inode of its directory) with all below it, but for what
 * has a pod of its own. Takes a reference. From the return on its connects are steered, as settings
 * have it, and, where they say more, its policies (view, NULL: none). */
int pods_add(struct pods *pods, struct pod *pod, const struct pods_settings *settings,
             struct policy_view *view, struct err *err);
/* It has other policies; all stays as it was on failure. */
int pods_use_view(struct pods *pods, uint64_t cgroup_id, struct policy_view *view, struct err *err);
int pods_remove(struct pods *pods, uint64_t cgroup_id, struct err *err);
/* Whether its connections to loopback are looked into. */
bool pods_loopback(const struct pods *pods, uint64_t cgroup_id);
size_t pods_count(const struct pods *pods);
/* Borrowed; NULL when not registered. */
struct pod *pods_find(struct pods *pods, uint64_t cgroup_id);
/* As it is wanted, whatever policies say; AUTO when not registered. */
enum policy_route pods_route(const struct pods *pods, uint64_t cgroup_id);
struct pod *pods_find_name(struct pods *pods, const char *space, const char *name);

/* The pod's programs trusted this before we came: its flows get credentials of its own by that
 * (name is for their authorities), and others when the agent has others. Takes what is in trust. */
int pods_trust(struct pods *pods, uint64_t cgroup_id, struct pod_trust *trust,
               struct credentials *agents, const char *name, struct err *err);
/* The agent has others: those of all such pods are made anew. */
void pods_renew_credentials(struct pods *pods, struct credentials *agents);
/* Borrowed; NULL: it has none of its own, or is not registered. */
struct credentials *pods_credentials(const struct pods *pods, uint64_t cgroup_id);
