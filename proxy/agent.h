/* agent: the parts, built in order, run, taken down in reverse.
 *
 * The thread that calls these is the control thread: it owns the loop that accepts, follows
 * namespaces and reads process events. */
#pragma once

#include <event2/event.h>
#include <openssl/x509.h>

#include "base/addr.h"
#include "base/err.h"
#include "certs/anchors.h"
#include "events/sink.h"
#include "proxy/pods.h"

struct agent;

struct agent_settings {  /* all borrowed, all outlive the agent */
    int cgroup_fd;       /* where the programs are attached */
    const char *pin_dir; /* in a bpffs */
    const struct anchors *anchors;
    X509_STORE *roots; /* what upstreams are verified against */
    struct sink *sinks;
    size_t sinks_len;
    const char *node_name;
    unsigned workers;
    const struct addr *listen; /* any: no BPF, no pods, but what is sent there (gate.h) */
    size_t listen_len;
};

int agent_new(struct agent **out, const struct agent_settings *settings, struct err *err);
/* Ends flows (their close is told), tells exits that wait, flushes the sinks, takes all down. */
void agent_free(struct agent **agent);

struct event_base *agent_base(struct agent *agent); /* the control loop; borrowed */

/* Registers a pod and listens in the calling thread's network namespace. */
int agent_add_pod(struct agent *agent, uint64_t cgroup_id, const char *space, const char *name,
                  const struct pods_settings *settings, struct err *err);

/* Runs the control loop until every told process has exited and every flow is closed, at most
 * ms milliseconds. */
void agent_settle(struct agent *agent, unsigned ms);

/* Waits until everything seen so far is written to the sinks. */
void agent_flush(struct agent *agent);
