#include "proxy/agent.h"

#include <errno.h>

#include "base/clock.h"
#include "proxy/doors/attempts.h"
#include "proxy/capture/captures.h"
#include "proxy/doors/doors.h"
#include "proxy/doors/gate.h"
#include "proxy/identity/identity.h"
#include "proxy/keeper/keeper.h"
#include "proxy/pods/lifecycle.h"
#include "proxy/limits.h"
#include "proxy/dns/names.h"
#include "proxy/telemetry/neighbours.h"
#include "proxy/passthrough.h"
#include "proxy/succession/predecessor.h"
#include "proxy/dns/resolver.h"
#include "proxy/telemetry/sessions.h"
#include "proxy/sockets.h"
#include "proxy/telemetry/status.h"
#include "proxy/succession/successor.h"
#include "proxy/worker.h"

enum {
    LEAVES = 4096,
    SESSIONS = 2048,
    SESSIONS_BYTES = 16 << 20,
    CONTROL_EVENTS = 65536,
    /* Until what waits in the listeners' queues is accepted, and programs have asked whom they are
     * connected to. */
    OLDER_SECONDS = 60,
};

struct agent {
    struct event_base *base;
    struct bus *bus;
    struct bus_producer *producer;
    struct keeper *keeper;
    struct pods *pods;
    struct identity *identity;
    struct names *names;
    struct sockets *sockets;
    struct resolver *resolver;
    struct store *store;
    struct session_cache *session_cache;
    struct tickets *tickets;
    struct passthrough *passthrough;
    struct credentials *credentials; /* in force */
    struct limits limits;
    struct worker **workers;
    unsigned workers_len;
    struct attempts *attempts;
    struct doors *doors;
    struct gate
        *gate; /* in the place of keeper, pods, identity, resolver and all above, but workers */
    struct lifecycle *lifecycle;
    struct neighbours neighbours;
    struct sessions *sessions; /* NULL: nobody can ask */
    struct captures *captures;
    struct event *on_record, *on_flow_end, *on_flow_done, *step_due;
    int sockets_due; /* as sockets_step() said */
    struct predecessor *predecessor;
    bool draining, retired;
    bool leaving;            /* what the kernel knows stays as it is */
    struct event *older_due; /* when what an older build had attached goes */
};

/* ---- processes and sockets ---- */

/* A connection of a process that has just exited may still wait to be accepted, and its questions
 * in our listeners: what they lead to comes before the socket's close, and that before the exit. */
static void before_exits(void *arg)
{
    struct agent *agent = arg;

    sockets_collect(agent->sockets);
    if (!agent->draining) {
        doors_accept(agent->doors);
        resolver_drain(agent->resolver);
    }
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

static void step(struct agent *agent)
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

static void on_step(evutil_socket_t fd, short what, void *arg)
{
    struct agent *agent = arg;

    (void)fd;
    (void)what;
    step(agent);
    if (agent->doors && !agent->draining)
        doors_look_soon(agent->doors);
}

/* ---- building and taking down ---- */

static int take_captures(struct agent *agent, struct err *err)
{
    const struct captures_parts parts = {
        .base = agent->base,
        .pods = agent->pods,
        .producer = agent->producer,
    };

    return captures_new(&agent->captures, &parts, err);
}

static int make_workers(struct agent *agent, const struct agent_settings *settings, struct err *err)
{
    const struct worker_parts parts = {
        .keeper = agent->keeper,
        .identity = agent->identity,
        .store = agent->store,
        .session_cache = agent->session_cache,
        .tickets = agent->tickets,
        .passthrough = agent->passthrough,
        .bus = agent->bus,
        .sockets = agent->sockets,
        .names = agent->names,
        .limits = &agent->limits,
        .captures = captures_table(agent->captures),
    };

    agent->workers = calloc(settings->workers, sizeof(*agent->workers));
    if (!agent->workers)
        return err_set(err, -ENOMEM, "%u workers", settings->workers);
    for (unsigned i = 0; i < settings->workers; i++) {
        int result = worker_new(&agent->workers[i], &parts, i, err);

        if (result < 0)
            return result;
        agent->workers_len++;
    }
    return 0;
}

/* Who knows what pods do: processes, sockets, names. */
static int build_knowledge(struct agent *agent, const struct agent_settings *settings,
                           struct err *err)
{
    int result = identity_new(&agent->identity, keeper_bpf(agent->keeper), agent->pods,
                              agent->producer, settings->node_name, err);

    if (result == 0) {
        const struct resolver_parts parts = {
            .base = agent->base,
            .keeper = agent->keeper,
            .identity = agent->identity,
            .pods = agent->pods,
            .names = agent->names,
            .producer = agent->producer,
        };

        result = resolver_new(&agent->resolver, &parts, err);
    }
    return result;
}

static int build_sockets(struct agent *agent, struct err *err)
{
    const struct sockets_parts parts = {
        .identity = agent->identity,
        .pods = agent->pods,
        .names = agent->names,
        .resolver = agent->resolver,
        .producer = agent->producer,
    };

    return sockets_new(&agent->sockets, &parts, err);
}

/* When all else is open: what is left is for connections. */
static void set_limits(struct agent *agent)
{
    struct limits_machine machine;

    limits_read_machine(&machine);
    limits_init(&agent->limits, &machine);
}

static int hold_connects(struct agent *agent, struct err *err)
{
    const struct attempts_parts parts = {
        .base = agent->base,
        .keeper = agent->keeper,
        .sockets = agent->sockets,
        .limits = &agent->limits,
        .pods = agent->pods,
    };

    return attempts_new(&agent->attempts, &parts, err);
}

static int open_doors(struct agent *agent, struct err *err)
{
    const struct doors_parts parts = {
        .base = agent->base,
        .keeper = agent->keeper,
        .pods = agent->pods,
        .identity = agent->identity,
        .sockets = agent->sockets,
        .resolver = agent->resolver,
        .attempts = agent->attempts,
        .credentials = &agent->credentials,
        .limits = &agent->limits,
        .workers = agent->workers,
        .workers_len = agent->workers_len,
    };

    return doors_new(&agent->doors, &parts, err);
}

static void catch_up(void *agent)
{
    step(agent);
}

static int follow_pods(struct agent *agent, struct err *err)
{
    const struct lifecycle_parts parts = {
        .base = agent->base,
        .pods = agent->pods,
        .doors = agent->doors,
        .identity = agent->identity,
        .names = agent->names,
        .resolver = agent->resolver,
        .limits = &agent->limits,
        .workers = agent->workers,
        .workers_len = agent->workers_len,
        .catch_up = catch_up,
        .arg = agent,
    };

    return lifecycle_new(&agent->lifecycle, &parts, err);
}

static struct event *watch(struct agent *agent, int fd)
{
    struct event *event = event_new(agent->base, fd, EV_READ | EV_PERSIST, on_step, agent);

    if (event && event_add(event, NULL) == 0)
        return event;
    if (event)
        event_free(event);
    return NULL;
}

static int begin_watching(struct agent *agent, struct err *err)
{
    identity_on_exec(agent->identity, doors_on_exec, agent->doors);
    identity_on_socket(agent->identity, sockets_on_record, agent->sockets);
    identity_on_syn(agent->identity, attempts_on_record, agent->attempts);
    identity_before_exits(agent->identity, before_exits, agent);
    agent->on_record = watch(agent, identity_fd(agent->identity));
    agent->on_flow_end = watch(agent, identity_wake_fd(agent->identity));
    agent->on_flow_done = watch(agent, sockets_wake_fd(agent->sockets));
    agent->step_due = evtimer_new(agent->base, on_step, agent);
    if (!agent->on_record || !agent->on_flow_end || !agent->on_flow_done || !agent->step_due)
        return err_set(err, -ENOMEM, "the control loop");
    return 0;
}

/* How connections come by the kernel's steering. */
static int steer(struct agent *agent, struct err *err)
{
    int result = hold_connects(agent, err);

    if (result == 0)
        result = open_doors(agent, err);
    if (result == 0)
        result = follow_pods(agent, err);
    return result == 0 ? begin_watching(agent, err) : result;
}

/* What --listen has instead of all that. */
static int open_gate(struct agent *agent, const struct agent_settings *settings, struct err *err)
{
    const struct gate_parts parts = {
        .base = agent->base,
        .sockets = agent->sockets,
        .credentials = &agent->credentials,
        .limits = &agent->limits,
        .workers = agent->workers,
        .workers_len = agent->workers_len,
    };
    int result = gate_new(&agent->gate, &parts, settings->listen, settings->listen_len, err);

    if (result < 0)
        return result;
    agent->on_flow_done = watch(agent, sockets_wake_fd(agent->sockets));
    agent->step_due = evtimer_new(agent->base, on_step, agent);
    if (!agent->on_flow_done || !agent->step_due)
        return err_set(err, -ENOMEM, "the control loop");
    return 0;
}

static int build(struct agent *agent, const struct agent_settings *settings, struct err *err)
{
    bool steers = !settings->listen_len;
    int result;

    agent->base = event_base_new();
    if (!agent->base)
        return err_set(err, -ENOMEM, "the control loop");
    result = bus_new(&agent->bus, settings->sinks, settings->sinks_len, err);
    for (size_t i = 0; result == 0 && i < settings->taps_len; i++)
        result = bus_add_tap(agent->bus, &settings->taps[i], err);
    if (result == 0)
        result = bus_producer_new(&agent->producer, agent->bus, "control", CONTROL_EVENTS, err);
    if (result == 0)
        result = names_new(&agent->names, err);
    if (result == 0 && steers)
        result = settings->runtime_dir
                     ? keeper_new_kept(&agent->keeper, settings->cgroup_fd, settings->pin_dir,
                                       settings->runtime_dir, err)
                     : keeper_new(&agent->keeper, settings->cgroup_fd, settings->pin_dir, err);
    if (result == 0 && steers)
        result = pods_new(&agent->pods, keeper_bpf(agent->keeper), err);
    if (result == 0 && steers)
        result = build_knowledge(agent, settings, err);
    if (result == 0)
        result = build_sockets(agent, err);
    if (result == 0)
        result = store_new(&agent->store, LEAVES, err);
    if (result == 0)
        result = session_cache_new(&agent->session_cache, SESSIONS, SESSIONS_BYTES, err);
    if (result == 0)
        result = tickets_new(&agent->tickets, err);
    if (result == 0)
        result = passthrough_new(&agent->passthrough, err);
    if (result == 0)
        result = take_captures(agent, err);
    if (result == 0)
        result = make_workers(agent, settings, err);
    if (result == 0)
        result = steers ? steer(agent, err) : open_gate(agent, settings, err);
    set_limits(agent);
    if (result == 0)
        doors_adopt(agent->doors);
    return result;
}

int agent_new(struct agent **out, const struct agent_settings *settings, struct err *err)
{
    CLEANUP(agent_free) struct agent *agent = calloc(1, sizeof(*agent));
    int result;

    if (!agent)
        return err_set(err, -ENOMEM, "agent");
    agent->sockets_due = -1;
    agent->credentials = credentials_ref(settings->credentials);
    agent->neighbours.cgroup_fd = settings->cgroup_fd;
    agent->neighbours.pin_dir = settings->pin_dir;
    result = build(agent, settings, err);
    if (result < 0)
        return result;
    *out = TAKE(agent);
    return 0;
}

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
        step(agent); /* what waits to be accepted has its workers yet; or it is the next agent's */
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
    if (gone->leaving && gone->pods)
        pods_leave(gone->pods);
    if (gone->captures)
        captures_end(gone->captures, "the agent ends");
    say_last_words(gone);
    sessions_free(&gone->sessions);
    captures_free(&gone->captures);
    free(gone->workers);
    lifecycle_free(&gone->lifecycle);
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
    resolver_free(&gone->resolver);
    names_free(&gone->names);
    identity_free(&gone->identity);
    pods_free(&gone->pods);
    keeper_free(&gone->keeper);
    if (gone->base)
        event_base_free(gone->base);
    free(gone);
}

static void on_older_due(evutil_socket_t fd, short what, void *arg)
{
    struct agent *agent = arg;

    (void)fd;
    (void)what;
    keeper_remove_older(agent->keeper);
}

void agent_restored(struct agent *agent)
{
    static const struct timeval wait = {.tv_sec = OLDER_SECONDS};

    pods_sweep(agent->pods);
    keeper_disarm_older(agent->keeper);
    doors_look_soon(agent->doors); /* some that were adopted may be deserted */
    agent->older_due = evtimer_new(agent->base, on_older_due, agent);
    if (!agent->older_due || event_add(agent->older_due, &wait) < 0)
        keeper_remove_older(agent->keeper);
}

/* ---- what can be asked ---- */

int agent_serve(struct agent *agent, struct control *control, struct status *status,
                struct err *err)
{
    const struct sessions_parts parts = {
        .base = agent->base,
        .control = control,
        .names = agent->names,
        .workers = agent->workers,
        .workers_len = agent->workers_len,
    };
    int result = sessions_new(&agent->sessions, &parts, err);

    if (result == 0)
        result = captures_serve(agent->captures, control, agent->workers, agent->workers_len, err);
    if (result == 0)
        result = status_on(status, agent_tell, agent, err);
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

void agent_stats(const struct agent *agent, struct agent_stats *stats)
{
    *stats = (struct agent_stats){
        .pods = agent->pods ? pods_count(agent->pods) : 0,
        .namespaces = agent->doors ? doors_count(agent->doors) : 0,
        .workers = agent->workers_len,
        .admitted = atomic_load(&agent->limits.admitted),
        .signer = agent->credentials->authority->cert,
        .ca_not_after = agent->credentials->authority->not_after,
    };
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

        step(agent);
        if (settled(agent) || clock_ns() >= end)
            return;
        event_base_loopexit(agent->base, &turn);
        event_base_dispatch(agent->base);
    }
}

/* ---- one after the other ---- */

int agent_adopt(struct agent *agent, struct predecessor **predecessor, struct err *err)
{
    int result;

    agent->predecessor = TAKE(*predecessor);
    result =
        predecessor_learn(agent->predecessor, agent->identity, agent->names, agent->sockets, err);
    return result < 0 ? result
                      : predecessor_follow(agent->predecessor, agent->base, agent->sockets,
                                           agent->producer, err);
}

void agent_drain(struct agent *agent)
{
    step(agent); /* what has come so far is served yet */
    agent->draining = true;
    gate_free(&agent->gate);
    if (!agent->doors)
        return;
    doors_retire(agent->doors);
    resolver_retire(agent->resolver);
    attempts_retire(agent->attempts);
}

int agent_retire(struct agent *agent, struct successor *successor, struct sink *events,
                 struct err *err)
{
    if (!agent->draining)
        agent_drain(agent);
    keeper_leave(agent->keeper, true); /* what is let go here is the successor's */
    pods_leave(agent->pods);
    event_del(agent->on_record);
    event_del(agent->on_flow_end);
    sockets_collect(agent->sockets);
    lifecycle_free(&agent->lifecycle);
    identity_retire(agent->identity);
    sockets_step(agent->sockets);
    captures_end(agent->captures, "another agent goes on");
    agent->retired = true;
    bus_redirect(agent->bus, events, 1);
    return successor_tell(successor, agent->identity, agent->names, agent->sockets, err);
}

void agent_leave(struct agent *agent)
{
    agent->retired = true;
}

bool agent_is_drained(const struct agent *agent)
{
    for (unsigned i = 0; i < agent->workers_len; i++)
        if (worker_load(agent->workers[i]))
            return false;
    if (agent->predecessor && !predecessor_is_over(agent->predecessor))
        return false; /* what it tells goes through us */
    return !agent->doors ||
           (attempts_open(agent->attempts) == 0 && !resolver_is_asking(agent->resolver));
}

int agent_pass_through(struct agent *agent, char *const *servers, size_t len, struct err *err)
{
    return passthrough_set(agent->passthrough, servers, len, err);
}

void agent_flush(struct agent *agent)
{
    bus_flush(agent->bus);
}
