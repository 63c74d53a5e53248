/* registry: the pods that clients register with a running agent: what they ask is checked, done,
 * and kept in a file, from which the next agent takes it up again. The pod of an `exec --agent` is
 * kept by its connection instead (lease.h): its request says "trust", how many descriptors behind
 * the first two tell what its programs trust (certs/pod_trust.h), and the answer has "roots", in
 * PEM, for copies of what trusts each, by the numbers of certs/anchors.h.
 *
 * Control thread only.
 * Called by:  command/run.c; control/ (verbs pods.add, pods.remove, pods.thaw, pods.list).
 * Leads to:   pod_spec.h, agent.h, pod_files.h. */
#pragma once

#include "base/err.h"
#include "proxy/pods/pods.h"

struct agent;
struct control;
struct registry;

struct registry_parts { /* all borrowed, all outlive it */
    struct agent *agent;
    const char *runtime_dir;
    int cgroup_root; /* what pods must be in */
    /* What is in force for a pod of which nobody says otherwise. */
    struct pods_settings (*defaults)(void *arg);
    void *arg;
};

/* Registers again what is on disk. */
int registry_new(struct registry **out, const struct registry_parts *parts, struct err *err);
void registry_free(struct registry **registry);
int registry_serve(struct registry *registry, struct control *control, struct err *err);
