/* An agent goes on with what another one left, or makes way. */
#include "proxy/agent_own.h"

#include "base/log.h"
#include "proxy/doors/attempts.h"
#include "proxy/capture/captures.h"
#include "proxy/doors/doors.h"
#include "proxy/doors/gate.h"
#include "proxy/identity/identity.h"
#include "proxy/keeper/keeper.h"
#include "proxy/kernel/backend.h"
#include "proxy/kernel/ring.h"
#include "proxy/kernel/ring_handover.h"
#include "proxy/pods/existing.h"
#include "proxy/pods/lifecycle.h"
#include "proxy/pods/resolving.h"
#include "proxy/succession/predecessor.h"
#include "proxy/dns/resolver.h"
#include "proxy/sockets.h"
#include "proxy/telemetry/sessions.h"
#include "proxy/succession/successor.h"
#include "proxy/worker.h"

/* Until what waits in the listeners' queues is accepted, and programs have asked whom they are
 * connected to. */
enum { OLDER_SECONDS = 60, FLUSH_MS = 1000 };

static void remove_older(struct agent *agent)
{
    keeper_remove_older(agent->keeper);
    if (agent->backend)
        backend_is_alone(agent->backend);
}

static void on_older_due(evutil_socket_t fd, short what, void *arg)
{
    struct agent *agent = arg;

    (void)fd;
    (void)what;
    if (!agent->made_way) /* else they, and what the programs here can, are its successor's */
        remove_older(agent);
}

static bool is_registered(void *pods, uint64_t id)
{
    return pods_find(pods, id);
}

void agent_restored(struct agent *agent)
{
    static const struct timeval wait = {.tv_sec = OLDER_SECONDS};

    pods_sweep(agent->pods);
    resolving_sweep(agent->resolving, is_registered, agent->pods);
    if (agent->backend && keeper_older(agent->keeper, 0))
        log_warn("the kernel programs before were of another version: connections of the kernel "
                 "route that are open are neither told nor judged any more");
    keeper_disarm_older(agent->keeper);
    lifecycle_restored(agent->lifecycle);
    if (!agent->awaits)
        existing_restored(agent->existing);
    doors_look_soon(agent->doors); /* some that were adopted may be deserted */
    agent->older_due = evtimer_new(agent->base, on_older_due, agent);
    if (!agent->older_due || event_add(agent->older_due, &wait) < 0)
        remove_older(agent);
}

void agent_await(struct agent *agent)
{
    agent->awaits = true;
    identity_pause(agent->identity, true);
}

/* It may have begun elsewhere since its pod was taken up. */
static void meet_process(void *arg, const struct process *process, bool told)
{
    struct agent *agent = arg;

    if (told && process->pod)
        doors_meet(agent->doors, process->pid);
}

int agent_adopt(struct agent *agent, struct predecessor **predecessor, struct err *err)
{
    int result;

    agent->predecessor = TAKE(*predecessor);
    result = predecessor_learn(agent->predecessor, agent->identity, agent->names, agent->sockets,
                               agent->ring, err);
    agent->awaits = false;
    if (result == 0 && agent->ring)
        ring_release(agent->ring); /* whose words wait there is known */
    identity_each(agent->identity, meet_process, agent);
    existing_restored(agent->existing);
    if (result < 0)
        predecessor_free(&agent->predecessor); /* by which it lets go of its place */
    return result < 0 ? result
                      : predecessor_follow(agent->predecessor, agent->base, agent->sockets,
                                           agent->producer, err);
}

void agent_drain(struct agent *agent)
{
    agent_step(agent); /* what has come so far is served yet */
    agent->draining = true;
    sockets_accept_none(agent->sockets);
    for (unsigned i = 0; i < agent->workers_len; i++)
        worker_retire(agent->workers[i]);
    gate_free(&agent->gate);
    if (!agent->doors)
        return;
    doors_retire(agent->doors);
    resolver_retire(agent->resolver);
    attempts_retire(agent->attempts);
}

void agent_make_way(struct agent *agent)
{
    if (!agent->draining)
        agent_drain(agent);
    keeper_leave(agent->keeper, true); /* what is let go here is the successor's */
    if (agent->backend)
        backend_leave(agent->backend);
    pods_leave(agent->pods);
    lifecycle_free(&agent->lifecycle);
    agent->made_way = true;
}

/* What they told comes before. */
static void pass_on(void *arg, const struct sockets_flow *flows)
{
    struct agent *agent = arg;

    bus_flush_within(agent->bus, FLUSH_MS);
    successor_tell_flows(agent->successor, flows);
}

void agent_let_go(struct agent *agent)
{
    agent_step(agent);
    if (agent->ring)
        ring_pause(agent->ring);
    event_del(agent->on_record);
    event_del(agent->on_flow_end);
    existing_free(&agent->existing);
    identity_retire(agent->identity); /* by which the last connections are known, which may speak */
    if (agent->ring)
        ring_hand_over(agent->ring);
    sockets_collect(agent->sockets);
    sockets_step(agent->sockets);
    captures_end(agent->captures, "another agent goes on");
    agent->retired = true;
}

int agent_retire(struct agent *agent, struct successor *successor, struct sink *events,
                 struct err *err)
{
    agent_let_go(agent);
    bus_redirect(agent->bus, events, 1);
    agent->successor = successor;
    sockets_retire(agent->sockets, pass_on, agent);
    return successor_tell(successor, agent->identity, agent->names, agent->sockets, agent->ring,
                          err);
}

void agent_dismiss(struct agent *agent)
{
    if (agent->sessions)
        sessions_dismiss(agent->sessions);
}

void agent_leave(struct agent *agent)
{
    if (agent->attempts)
        attempts_retire(agent->attempts);
    agent->retired = true;
}

/* Connections that are only listened to go on without it. */
static size_t count_streams(const struct agent *agent)
{
    struct ring_stats stats = {0};

    if (agent->ring)
        ring_stats(agent->ring, &stats);
    return stats.streams;
}

bool agent_is_drained(const struct agent *agent)
{
    size_t flows = 0;

    for (unsigned i = 0; i < agent->workers_len; i++)
        flows += worker_load(agent->workers[i]);
    if (flows > count_streams(agent))
        return false;
    if (agent->predecessor && !predecessor_is_over(agent->predecessor))
        return false; /* what it tells goes through us */
    return !agent->doors ||
           (attempts_open(agent->attempts) == 0 && !resolver_is_asking(agent->resolver));
}
