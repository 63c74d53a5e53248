/* agent_own: what agent.c and the files beside it share; nobody else's. */
#pragma once

#include "proxy/agent.h"
#include "proxy/telemetry/neighbours.h"
#include "proxy/limits.h"

struct agent {
    struct event_base *base;
    struct bus *bus;
    struct bus_producer *producer;
    struct keeper *keeper;
    struct pods *pods;
    struct identity *identity;
    struct names *names;
    struct resolving *resolving;
    struct programs *programs;
    struct sockets *sockets;
    struct resolver *resolver;
    struct store *store;
    struct session_cache *session_cache;
    struct tickets *tickets;
    struct passthrough *passthrough;
    struct policies *policies;
    struct act *act;
    struct connects *connects;
    struct handshakes *handshakes;
    struct credentials *credentials; /* in force */
    struct limits limits;
    struct worker **workers;
    unsigned workers_len;
    struct backend *backend;
    struct options *options;
    struct ring *ring; /* NULL: there is no kernel route */
    struct ends *ends;
    struct attempts *attempts;
    struct doors *doors;
    struct existing *existing;
    struct gate
        *gate; /* in the place of keeper, pods, identity, resolver and all above, but workers */
    struct lifecycle *lifecycle;
    struct neighbours neighbours;
    struct sessions *sessions; /* NULL: nobody can ask */
    struct captures *captures;
    struct event *on_record, *on_flow_end, *on_flow_done, *step_due;
    int sockets_due; /* as sockets_step() said */
    struct predecessor *predecessor;
    struct successor *successor; /* borrowed, of one that is retired */
    bool draining;
    bool awaits;             /* agent_await() */
    bool made_way;           /* pods are another agent's */
    bool retired;            /* ... and what the kernel tells of them */
    bool leaving;            /* what the kernel knows stays as it is */
    struct event *older_due; /* when what an older build had attached goes */
};

/* Handles and tells what has come so far. */
void agent_step(struct agent *agent);
void agent_on_step(evutil_socket_t fd, short what, void *agent);
/* For policies_on_view(). */
int agent_on_view(void *agent, const struct pod *pod, struct policy_view *view, struct err *err);
/* For identity_before_exits(). */
void agent_before_exits(void *agent);
