/* The control thread's turns, and what others ask of an agent. */
#include "proxy/agent_own.h"

#include "base/clock.h"
#include "proxy/capture/captures.h"
#include "proxy/doors/doors.h"
#include "proxy/doors/gate.h"
#include "proxy/enforce/act.h"
#include "proxy/enforce/policies.h"
#include "proxy/identity/identity.h"
#include "proxy/kernel/backend.h"
#include "proxy/kernel/programs.h"
#include "proxy/kernel/ring.h"
#include "proxy/pods/lifecycle.h"
#include "proxy/limits.h"
#include "proxy/telemetry/neighbours.h"
#include "proxy/passthrough.h"
#include "proxy/dns/resolver.h"
#include "proxy/telemetry/sessions.h"
#include "proxy/sockets.h"
#include "proxy/telemetry/status.h"
#include "proxy/worker.h"

/* ---- processes and sockets ---- */

/* A connection of a process that has just exited may still wait to be accepted, and its questions
 * in our listeners: what they lead to comes before the socket's close, and that before the exit. */
void agent_before_exits(void *arg)
{
    struct agent *agent = arg;

    sockets_collect(agent->sockets);
    identity_heard(agent->identity, sockets_heard_until(agent->sockets));
    if (!agent->draining) {
        doors_accept(agent->doors);
        resolver_drain(agent->resolver);
    }
    if (agent->ring)
        ring_drain(agent->ring);
    agent->sockets_due = sockets_step(agent->sockets);
}

/* The same where there are but flows. */
static int gate_step(struct agent *agent)
{
    sockets_collect(agent->sockets);
    if (agent->gate)
        gate_accept(agent->gate);
    return sockets_step(agent->sockets);
}

void agent_step(struct agent *agent)
{
    int due;

    if (agent->retired) {
        sockets_collect(agent->sockets); /* which go to the successor */
        return;
    }
    due = agent->identity ? identity_step(agent->identity) : gate_step(agent);

    if (due < 0 || (agent->sockets_due >= 0 && agent->sockets_due < due))
        due = agent->sockets_due;
    if (due >= 0) {
        struct timeval wait = {.tv_sec = due / 1000, .tv_usec = due % 1000 * 1000 + 1000};

        event_add(agent->step_due, &wait);
    }
}

void agent_on_step(evutil_socket_t fd, short what, void *arg)
{
    struct agent *agent = arg;

    (void)fd;
    (void)what;
    agent_step(agent);
    if (agent->doors && !agent->draining)
        doors_look_soon(agent->doors);
}

/* ---- what can be asked ---- */

int agent_serve(struct agent *agent, struct control *control, struct status *status,
                struct err *err)
{
    const struct sessions_parts parts = {
        .base = agent->base,
        .control = control,
        .keeper = agent->keeper,
        .names = agent->names,
        .sockets = agent->sockets,
        .workers = agent->workers,
        .workers_len = agent->workers_len,
    };
    int result = sessions_new(&agent->sessions, &parts, err);

    if (result == 0)
        result = captures_serve(agent->captures, control, agent->workers, agent->workers_len, err);
    if (result == 0)
        result = status_on(status, agent_tell, agent, err);
    if (result == 0 && agent->programs)
        result = status_on(status, programs_tell, agent->programs, err);
    agent->neighbours.lifecycle = agent->lifecycle;
    if (result == 0 && agent->keeper)
        result = status_on(status, neighbours_tell, &agent->neighbours, err);
    return result;
}

struct event_base *agent_base(struct agent *agent)
{
    return agent->base;
}

int agent_add_pod(struct agent *agent, const struct agent_pod *pod, struct err *err)
{
    return lifecycle_add(agent->lifecycle, pod, err);
}

int agent_thaw_pod(struct agent *agent, uint64_t cgroup_id, struct err *err)
{
    return act_thaw(agent->act, cgroup_id, err);
}

bool agent_pod_is_frozen(struct agent *agent, uint64_t cgroup_id)
{
    return act_is_frozen(agent->act, cgroup_id);
}

int agent_remove_pod(struct agent *agent, uint64_t cgroup_id, struct err *err)
{
    return lifecycle_remove(agent->lifecycle, cgroup_id, err);
}

int agent_trust_pod(struct agent *agent, uint64_t cgroup_id, struct pod_trust *trust,
                    const char *name, struct anchors_shown *shown, struct err *err)
{
    int result = pods_trust(agent->pods, cgroup_id, trust, agent->credentials, name, err);

    return result < 0
               ? result
               : anchors_show(shown, &pods_credentials(agent->pods, cgroup_id)->anchors, err);
}

bool agent_pod_is_quiet(struct agent *agent, uint64_t cgroup_id)
{
    return lifecycle_is_quiet(agent->lifecycle, cgroup_id);
}

void agent_on_pod_gone(struct agent *agent, void (*on_gone)(void *arg, uint64_t cgroup_id),
                       void *arg)
{
    lifecycle_on_gone(agent->lifecycle, on_gone, arg);
}

static void kernel_stats(const struct agent *agent, struct agent_kernel_stats *stats)
{
    struct programs_stats programs = {0};
    struct ring_stats ring = {0};
    uint64_t untold = 0; /* by the kernel */

    if (agent->backend) {
        stats->backend = backend_name(agent->backend);
        stats->backend_words = backend_words(agent->backend);
        stats->backend_why = backend_why(agent->backend);
        stats->unheard = backend_unheard(agent->backend);
        untold = backend_untold(agent->backend);
    }
    if (agent->ring)
        ring_stats(agent->ring, &ring);
    if (agent->programs)
        programs_stats(agent->programs, &programs);
    stats->open = ring.streams;
    stats->opened = ring.opened;
    stats->bytes = ring.bytes;
    stats->lost = ring.lost;
    stats->untold = ring.untold + untold;
    stats->refused = ring.denied + untold;
    stats->programs = programs.ktls;
    stats->bypassing = programs.bypasses;
}

void agent_stats(const struct agent *agent, struct agent_stats *stats)
{
    *stats = (struct agent_stats){
        .pods = agent->pods ? pods_count(agent->pods) : 0,
        .frozen = agent->act ? act_count(agent->act) : 0,
        .namespaces = agent->doors ? doors_count(agent->doors) : 0,
        .workers = agent->workers_len,
        .admitted = atomic_load(&agent->limits.admitted),
        .signer = agent->credentials->authority->cert,
        .ca_not_after = agent->credentials->authority->not_after,
    };
    kernel_stats(agent, &stats->kernel);
    for (unsigned i = 0; i < agent->workers_len; i++)
        stats->flows += worker_load(agent->workers[i]);
    for (size_t i = 0; i < LIMIT_MAX; i++) {
        stats->used[i] = agent->limits.used[i];
        stats->most[i] = agent->limits.most[i];
        stats->refused[i] = agent->limits.refused[i];
    }
}

void agent_use_credentials(struct agent *agent, struct credentials *credentials)
{
    struct credentials *gone = agent->credentials;

    agent->credentials = credentials_ref(credentials);
    if (agent->pods)
        pods_renew_credentials(agent->pods, credentials);
    store_forget(agent->store, &gone->anchors, &credentials->anchors);
    credentials_unref(&gone);
}

static bool settled(const struct agent *agent)
{
    for (unsigned i = 0; i < agent->workers_len; i++)
        if (worker_load(agent->workers[i]))
            return false;
    return !agent->identity || identity_alive(agent->identity) == 0;
}

void agent_settle(struct agent *agent, unsigned ms)
{
    uint64_t end = clock_ns() + ms * UINT64_C(1000000);

    for (;;) {
        struct timeval turn = {.tv_usec = 5000};

        agent_step(agent);
        if (settled(agent) || clock_ns() >= end)
            return;
        event_base_loopexit(agent->base, &turn);
        event_base_dispatch(agent->base);
    }
}

int agent_pass_through(struct agent *agent, char *const *servers, size_t len, struct err *err)
{
    return passthrough_set(agent->passthrough, servers, len, err);
}

/* ---- policies ---- */

int agent_on_view(void *arg, const struct pod *pod, struct policy_view *view, struct err *err)
{
    struct agent *agent = arg;
    int result;

    if (!agent->pods || agent->made_way)
        return 0;
    result = pods_use_view(agent->pods, pod->cgroup_id, view, err);
    if (result == 0 && agent->lifecycle)
        lifecycle_on_view(agent->lifecycle, pod, view);
    return result;
}

int agent_use_policies(struct agent *agent, struct policy_set *set, struct err *err)
{
    return policies_use(agent->policies, set, err);
}

struct policy_set *agent_policies(struct agent *agent)
{
    return policies_set(agent->policies);
}

void agent_note_ktls(struct agent *agent, uint64_t cgroup_id)
{
    struct pod *pod = pods_find(agent->pods, cgroup_id);

    if (pod)
        atomic_store(&pod->asks_ktls, true);
}

struct policy_view *agent_view(struct agent *agent, const char *space, const char *name)
{
    const struct pod *pod = agent->pods ? pods_find_name(agent->pods, space, name) : NULL;
    bool whoever = !agent->pods && !*space && !*name;

    return pod || whoever ? policies_view(agent->policies, pod ? pod->cgroup_id : 0) : NULL;
}

size_t agent_count_pods(const struct agent *agent, const struct policy *policy)
{
    return policies_count_pods(agent->policies, policy);
}

void agent_flush(struct agent *agent)
{
    bus_flush(agent->bus);
}
