/* agent: the parts, built in order, run, taken down in reverse.
 *
 * The thread that calls these is the control thread: it owns the loop that accepts, follows
 * namespaces and reads process events. */
#pragma once

#include <event2/event.h>
#include <jansson.h>

#include "base/addr.h"
#include "base/err.h"
#include "certs/credentials.h"
#include "events/bus.h"
#include "events/sink.h"
#include "proxy/limits.h"
#include "proxy/pods/pods.h"

struct agent;
struct control;
struct policy;
struct policy_set;
struct policy_view;
struct status;

struct agent_settings {              /* all borrowed, all outlive the agent */
    int cgroup_fd;                   /* where the programs are attached */
    const char *pin_dir;             /* in a bpffs */
    const char *runtime_dir;         /* pods outlive the agent, and the keeper process is met there;
                                        NULL: they do not */
    struct credentials *credentials; /* the first ones; the agent keeps a reference of its own */
    struct sink *sinks;
    size_t sinks_len;
    const struct bus_tap *taps;
    size_t taps_len;
    const char *node_name;
    unsigned workers;
    bool names_no_route;       /* nothing asks for the kernel route but programs that use kTLS */
    const struct addr *listen; /* any: no BPF, no pods, but what is sent there (gate.h) */
    size_t listen_len;
};

int agent_new(struct agent **out, const struct agent_settings *settings, struct err *err);
/* Ends flows (their close is told), tells exits that wait, flushes the sinks, takes all down; but
 * pods that are registered, where they outlive the agent, stay steered, and wait for the next. */
void agent_free(struct agent **agent);

/* All pods that were registered with an agent before are so again: what else it left goes. Until
 * then connections of any of them are steered, and wait. */
void agent_restored(struct agent *agent);

/* What of it can be asked for at the control socket: verb "sessions", and its part of the status.
 * Both are borrowed; control ends before the agent, status after it or with it. */
int agent_serve(struct agent *agent, struct control *control, struct status *status,
                struct err *err);

struct event_base *agent_base(struct agent *agent); /* the control loop; borrowed */

/* A pod to be; all borrowed for the call. */
struct agent_pod {
    uint64_t cgroup_id;       /* the inode of its directory */
    int cgroup_fd;            /* the directory: the pod goes when it does; -1: nobody removes it */
    int netns_fd;             /* where it lives; -1: where its processes are found */
    const char *space, *name; /* may be "" */
    const struct pod_label *labels;
    size_t labels_len;
    const struct pods_settings *settings;
    pid_t like; /* its programs resolve names as this process does; 0: as the first one in it */
};

/* Registers it, and listens in its namespace: from the return on its connects are steered. */
int agent_add_pod(struct agent *agent, const struct agent_pod *pod, struct err *err);
/* Has the processes of a frozen pod go on. */
int agent_thaw_pod(struct agent *agent, uint64_t cgroup_id, struct err *err);
bool agent_pod_is_frozen(struct agent *agent, uint64_t cgroup_id);
/* Forgets it: its next connects are those of the pod that its cgroup is below, or nobody's; flows
 * go on to their end. Its namespace is let go when they have ended. */
int agent_remove_pod(struct agent *agent, uint64_t cgroup_id, struct err *err);
/* Its programs trusted this before we came: who is shown which servers as trusted, and by which
 * roots, shown tells (the caller's). Takes what is in trust; name is for its authorities. */
int agent_trust_pod(struct agent *agent, uint64_t cgroup_id, struct pod_trust *trust,
                    const char *name, struct anchors_shown *shown, struct err *err);
/* Its programs are about to be started with an OpenSSL configuration that asks for kTLS. */
void agent_note_ktls(struct agent *agent, uint64_t cgroup_id);
/* Whether the exits of all its processes are told, and what they did before. */
bool agent_pod_is_quiet(struct agent *agent, uint64_t cgroup_id);
/* Called with (arg, cgroup_id) when a pod was forgotten as its cgroup is gone. May be NULL. */
void agent_on_pod_gone(struct agent *agent, void (*on_gone)(void *arg, uint64_t cgroup_id),
                       void *arg);

/* From now on these are what flows get that are accepted, and what those of pods with trust of
 * their own are made from; those under way keep what they have. Takes a reference. */
void agent_use_credentials(struct agent *agent, struct credentials *credentials);

/* From now on connections to these servers (passthrough.h) are passed on unread. */
int agent_pass_through(struct agent *agent, char *const *servers, size_t len, struct err *err);

/* From now on these policies are in force, all of them and no others; flows under way are judged by
 * them from their next request on. Takes a reference; nothing changes on failure. */
int agent_use_policies(struct agent *agent, struct policy_set *set, struct err *err);
/* Those in force: a reference. */
struct policy_set *agent_policies(struct agent *agent);
/* What they say of a registered pod (both "": of whom comes to --listen): a reference. NULL: there
 * is no such pod. */
struct policy_view *agent_view(struct agent *agent, const char *space, const char *name);
/* How many pods this one selects. */
size_t agent_count_pods(const struct agent *agent, const struct policy *policy);

struct agent_kernel_stats { /* the kernel route */
    /* kernel/backend.h; NULL: --listen, which has none */
    const char *backend, *backend_words, *backend_why;
    size_t open; /* connections read there now */
    uint64_t opened, bytes, lost, refused, untold, unheard;
    size_t programs, bypassing; /* that let the kernel encrypt; ... and bypass the proxy by that */
};
struct agent_stats {
    struct agent_kernel_stats kernel;
    size_t pods, namespaces, workers;
    size_t frozen;      /* pods, by policies */
    size_t flows;       /* open now */
    uint64_t admitted;  /* so far */
    const X509 *signer; /* borrowed until the credentials change */
    time_t ca_not_after;
    uint64_t used[LIMIT_MAX], most[LIMIT_MAX], refused[LIMIT_MAX]; /* as struct limits */
};
void agent_stats(const struct agent *agent, struct agent_stats *stats);
/* For status_on(): the same for people. See agent_tell.c. */
void agent_tell(void *agent, json_t *answer);

/* Runs the control loop until every told process has exited and every flow is closed, at most
 * ms milliseconds. */
void agent_settle(struct agent *agent, unsigned ms);

/* ---- one agent after the other ----
 *
 * The pods, what the kernel programs know of them, and the listeners stay; who serves them changes.
 */

struct predecessor;
struct successor;

/* Learns what an agent knows that has made way, and follows it while it ends its flows. Before the
 * control loop runs. Takes predecessor. */
int agent_adopt(struct agent *agent, struct predecessor **predecessor, struct err *err);
/* An agent that has made way still reads what the kernel tells, which is read by one alone: not
 * here, before agent_adopt(). */
void agent_await(struct agent *agent);
/* Makes way: takes in what has come so far, then accepts nothing more, and leaves the kernel as it
 * is; but reads what that tells until agent_retire() or agent_let_go(). */
void agent_make_way(struct agent *agent);
/* Takes in what has come so far, then reads nothing the kernel tells: that is another agent's from
 * here on. Flows go on. */
void agent_let_go(struct agent *agent);
/* The same, and tells successor what it knows. Events of flows go to events; both are borrowed
 * until agent_free. */
int agent_retire(struct agent *agent, struct successor *successor, struct sink *events,
                 struct err *err);
/* agent_free() shall leave the kernel to another agent, whose it still is. */
void agent_leave(struct agent *agent);
/* The control socket is about to go: who waits there for an answer of the agent's gets none. */
void agent_dismiss(struct agent *agent);
/* Without a successor: accepts nothing more, but tells what becomes of the flows. */
void agent_drain(struct agent *agent);
/* Whether none of its flows is left. */
bool agent_is_drained(const struct agent *agent);

/* Waits until everything seen so far is written to the sinks. */
void agent_flush(struct agent *agent);
