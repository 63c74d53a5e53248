/* The parts, taken down in the reverse of the order in which agent_build.c made them. */
#include "proxy/agent_own.h"

#include "proxy/doors/attempts.h"
#include "proxy/capture/captures.h"
#include "proxy/doors/doors.h"
#include "proxy/doors/gate.h"
#include "proxy/enforce/act.h"
#include "proxy/enforce/connects.h"
#include "proxy/enforce/policies.h"
#include "proxy/identity/identity.h"
#include "proxy/kernel/programs.h"
#include "proxy/keeper/keeper.h"
#include "proxy/kernel/backend.h"
#include "proxy/kernel/ends.h"
#include "proxy/kernel/options.h"
#include "proxy/kernel/ring.h"
#include "proxy/pods/existing.h"
#include "proxy/pods/lifecycle.h"
#include "proxy/pods/resolving.h"
#include "proxy/dns/names.h"
#include "proxy/passthrough.h"
#include "proxy/succession/predecessor.h"
#include "proxy/dns/resolver.h"
#include "proxy/telemetry/sessions.h"
#include "proxy/handshakes/handshakes.h"
#include "proxy/sockets.h"
#include "proxy/worker.h"

/* Flows tell what they saw, then sockets their close, then processes their exit. */
static void say_last_words(struct agent *agent)
{
    if (agent->retired) { /* all but the flows is the successor's to tell */
        while (agent->workers_len)
            worker_free(&agent->workers[--agent->workers_len]);
        sockets_collect(agent->sockets);
        bus_free(&agent->bus);
        return;
    }
    if ((agent->doors || agent->gate) && !agent->leaving)
        agent_step(
            agent); /* what waits to be accepted has its workers yet; or it is the next agent's */
    if (agent->ring)
        ring_stop(agent->ring);
    gate_free(&agent->gate);
    while (agent->workers_len)
        worker_free(&agent->workers[--agent->workers_len]);
    if (agent->doors) {
        identity_before_exits(agent->identity, NULL, NULL);
        identity_step(agent->identity);
    }
    if (agent->sockets)
        sockets_finish(agent->sockets);
    if (agent->identity) {
        identity_on_exec(agent->identity, NULL, NULL);
        identity_on_socket(agent->identity, NULL, NULL);
        identity_on_syn(agent->identity, NULL, NULL);
        identity_on_ktls(agent->identity, NULL, NULL);
        identity_on_datagram(agent->identity, NULL, NULL);
        identity_finish(agent->identity);
    }
    bus_free(&agent->bus);
}

static void free_event(struct event **event)
{
    if (*event)
        event_free(TAKE(*event));
}

void agent_free(struct agent **agent)
{
    struct agent *gone = TAKE(*agent);

    if (!gone)
        return;
    predecessor_free(&gone->predecessor);
    gone->leaving = gone->keeper && keeper_leave(gone->keeper, gone->retired);
    if (gone->leaving && gone->backend)
        backend_leave(gone->backend);
    if (gone->leaving && gone->pods)
        pods_leave(gone->pods);
    if (gone->captures)
        captures_end(gone->captures, "the agent ends");
    say_last_words(gone);
    sessions_free(&gone->sessions);
    captures_free(&gone->captures);
    free(gone->workers);
    ring_free(&gone->ring);
    if (gone->ends && !gone->leaving)
        ends_finish(gone->ends);
    backend_free(&gone->backend);
    lifecycle_free(&gone->lifecycle);
    options_free(&gone->options);
    ends_free(&gone->ends);
    existing_free(&gone->existing);
    doors_free(&gone->doors);
    attempts_free(&gone->attempts);
    free_event(&gone->on_record);
    free_event(&gone->on_flow_end);
    free_event(&gone->on_flow_done);
    free_event(&gone->step_due);
    free_event(&gone->older_due);
    store_free(&gone->store);
    session_cache_free(&gone->session_cache);
    tickets_free(&gone->tickets);
    passthrough_free(&gone->passthrough);
    credentials_unref(&gone->credentials);
    sockets_free(&gone->sockets);
    handshakes_free(&gone->handshakes);
    programs_free(&gone->programs);
    connects_free(&gone->connects);
    resolver_free(&gone->resolver);
    resolving_free(&gone->resolving);
    names_free(&gone->names);
    identity_free(&gone->identity);
    policies_free(&gone->policies);
    act_free(&gone->act);
    pods_free(&gone->pods);
    keeper_free(&gone->keeper);
    if (gone->base)
        event_base_free(gone->base);
    free(gone);
}
