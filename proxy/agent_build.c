/* The parts, built in order; agent_end.c takes them down in reverse. */
#include "proxy/agent_own.h"

#include <errno.h>
#include <openssl/rand.h>

#include "proxy/doors/attempts.h"
#include "proxy/capture/captures.h"
#include "proxy/doors/doors.h"
#include "proxy/doors/gate.h"
#include "proxy/enforce/act.h"
#include "proxy/enforce/connects.h"
#include "proxy/enforce/kernel_rules.h"
#include "proxy/enforce/policies.h"
#include "proxy/identity/identity.h"
#include "proxy/kernel/options.h"
#include "proxy/kernel/programs.h"
#include "proxy/keeper/keeper.h"
#include "proxy/kernel/backend.h"
#include "proxy/kernel/ends.h"
#include "proxy/kernel/ring.h"
#include "proxy/pods/existing.h"
#include "proxy/pods/lifecycle.h"
#include "proxy/pods/resolving.h"
#include "proxy/limits.h"
#include "proxy/dns/names.h"
#include "proxy/passthrough.h"
#include "proxy/dns/resolver.h"
#include "proxy/handshakes/handshakes.h"
#include "proxy/sockets.h"
#include "proxy/worker.h"

enum {
    LEAVES = 4096,
    SESSIONS = 2048,
    SESSIONS_BYTES = 16 << 20,
    CONTROL_EVENTS = 65536,
};

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
    struct worker_parts parts = {
        .keeper = agent->keeper,
        .identity = agent->identity,
        .store = agent->store,
        .session_cache = agent->session_cache,
        .tickets = agent->tickets,
        .passthrough = agent->passthrough,
        .policies = agent->policies,
        .act = agent->act,
        .bus = agent->bus,
        .sockets = agent->sockets,
        .names = agent->names,
        .limits = &agent->limits,
        .captures = captures_table(agent->captures),
    };

    if (RAND_bytes(parts.salt, sizeof(parts.salt)) != 1)
        return err_set(err, -EIO, "no random bytes");
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

    if (result == 0)
        result = resolving_new(&agent->resolving, agent->names, settings->runtime_dir, err);
    if (result == 0) {
        const struct resolver_parts parts = {
            .base = agent->base,
            .keeper = agent->keeper,
            .identity = agent->identity,
            .pods = agent->pods,
            .policies = agent->policies,
            .act = agent->act,
            .names = agent->names,
            .producer = agent->producer,
        };

        result = resolver_new(&agent->resolver, &parts, err);
    }
    return result;
}

static int build_connects(struct agent *agent, struct err *err)
{
    const struct connects_parts parts = {
        .identity = agent->identity,
        .pods = agent->pods,
        .policies = agent->policies,
        .names = agent->names,
        .act = agent->act,
        .producer = agent->producer,
    };

    kernel_rules_learn_names(pods_rules(agent->pods), agent->names);
    kernel_rules_learn_processes(pods_rules(agent->pods), agent->identity);
    return connects_new(&agent->connects, &parts, err);
}

static int build_programs(struct agent *agent, struct err *err)
{
    const struct programs_parts parts = {
        .bpf = keeper_bpf(agent->keeper),
        .identity = agent->identity,
        .pods = agent->pods,
        .policies = agent->policies,
        .names = agent->names,
    };

    return programs_new(&agent->programs, &parts, err);
}

static int build_handshakes(struct agent *agent, struct err *err)
{
    const struct handshakes_parts parts = {
        .bpf = keeper_bpf(agent->keeper),
        .identity = agent->identity,
        .policies = agent->policies,
        .names = agent->names,
        .act = agent->act,
        .producer = agent->producer,
    };

    return handshakes_new(&agent->handshakes, &parts, err);
}

static int build_sockets(struct agent *agent, struct err *err)
{
    const struct sockets_parts parts = {
        .identity = agent->identity,
        .pods = agent->pods,
        .names = agent->names,
        .resolver = agent->resolver,
        .connects = agent->connects,
        .programs = agent->programs,
        .handshakes = agent->handshakes,
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
        .connects = agent->connects,
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
    agent_step(agent);
}

static int find_existing(struct agent *agent, struct err *err)
{
    const struct existing_parts parts = {
        .base = agent->base,
        .keeper = agent->keeper,
        .pods = agent->pods,
        .identity = agent->identity,
        .policies = agent->policies,
        .names = agent->names,
        .sockets = agent->sockets,
        .ring = &agent->ring,
    };

    return existing_new(&agent->existing, &parts, err);
}

static int follow_pods(struct agent *agent, int cgroup_fd, struct err *err)
{
    const struct lifecycle_parts parts = {
        .base = agent->base,
        .pods = agent->pods,
        .policies = agent->policies,
        .act = agent->act,
        .options = agent->options,
        .cgroup_fd = cgroup_fd,
        .doors = agent->doors,
        .existing = agent->existing,
        .identity = agent->identity,
        .programs = agent->programs,
        .ends = agent->ends,
        .resolving = agent->resolving,
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
    struct event *event = event_new(agent->base, fd, EV_READ | EV_PERSIST, agent_on_step, agent);

    if (event && event_add(event, NULL) == 0)
        return event;
    if (event)
        event_free(event);
    return NULL;
}

static void on_begin(void *arg, const struct identity_begin *begin)
{
    struct agent *agent = arg;

    if (!agent->made_way) /* else the next one looks where they are (agent_adopt()) */
        doors_on_exec(agent->doors, begin->pid, begin->netns_cookie);
    if (agent->lifecycle)
        lifecycle_on_begin(agent->lifecycle, begin);
}

static void on_socket(void *arg, const struct abi_socket *record)
{
    struct agent *agent = arg;

    sockets_on_record(agent->sockets, record);
    if (agent->ring)
        ring_on_socket(agent->ring, record);
    ends_on_socket(agent->ends, record);
}

static void on_ktls(void *arg, const struct abi_ktls *record)
{
    struct agent *agent = arg;

    programs_on_ktls(agent->programs, record);
    if (agent->ring)
        ring_on_ktls(agent->ring, record);
}

static int begin_watching(struct agent *agent, struct err *err)
{
    identity_on_exec(agent->identity, on_begin, agent);
    identity_on_socket(agent->identity, on_socket, agent);
    identity_on_syn(agent->identity, attempts_on_record, agent->attempts);
    identity_on_ktls(agent->identity, on_ktls, agent);
    identity_on_datagram(agent->identity, sockets_on_datagram, agent->sockets);
    identity_before_exits(agent->identity, agent_before_exits, agent);
    agent->on_record = watch(agent, identity_fd(agent->identity));
    agent->on_flow_end = watch(agent, identity_wake_fd(agent->identity));
    agent->on_flow_done = watch(agent, sockets_wake_fd(agent->sockets));
    agent->step_due = evtimer_new(agent->base, agent_on_step, agent);
    if (!agent->on_record || !agent->on_flow_end || !agent->on_flow_done || !agent->step_due)
        return err_set(err, -ENOMEM, "the control loop");
    return 0;
}

/* A kernel that cannot carry it is no reason not to begin: all takes the proxy route then. */
static int take_kernel_route(struct agent *agent, const struct agent_settings *settings,
                             struct err *err)
{
    struct ring_parts parts = {
        .base = agent->base,
        .identity = agent->identity,
        .pods = agent->pods,
        .sockets = agent->sockets,
        .limits = &agent->limits,
        .workers = agent->workers,
        .workers_len = agent->workers_len,
        .held = settings->runtime_dir,
    };
    int result = backend_new(&agent->backend, agent->keeper, settings->cgroup_fd,
                             !settings->names_no_route, err);

    if (result == 0)
        result = options_new(&agent->options, agent->keeper, agent->backend, err);
    if (result == 0)
        result = ends_new(&agent->ends, agent->base, agent->keeper, err);
    parts.said_fd = agent->backend ? backend_said(agent->backend) : -1;
    if (result < 0 || parts.said_fd < 0)
        return result;
    return ring_new(&agent->ring, &parts, err);
}

/* How connections come by the kernel's steering. */
static int steer(struct agent *agent, const struct agent_settings *settings, struct err *err)
{
    int result = hold_connects(agent, err);

    if (result == 0)
        result = open_doors(agent, err);
    if (result == 0)
        result = find_existing(agent, err);
    if (result == 0)
        result = follow_pods(agent, settings->cgroup_fd, err);
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
    CLEANUP(pod_unref) struct pod *whoever = pod_new(0, "", "", NULL, 0);
    int result = whoever ? policies_add_pod(agent->policies, whoever, err)
                         : err_set(err, -ENOMEM, "--listen");

    if (result == 0)
        result = gate_new(&agent->gate, &parts, settings->listen, settings->listen_len, err);
    if (result < 0)
        return result;
    agent->on_flow_done = watch(agent, sockets_wake_fd(agent->sockets));
    agent->step_due = evtimer_new(agent->base, agent_on_step, agent);
    if (!agent->on_flow_done || !agent->step_due)
        return err_set(err, -ENOMEM, "the control loop");
    return 0;
}

static int take_policies(struct agent *agent, struct err *err)
{
    int result = policies_new(&agent->policies, err);

    if (result == 0)
        policies_on_view(agent->policies, agent_on_view, agent);
    return result;
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
    if (result == 0)
        result = take_policies(agent, err);
    if (result == 0 && steers)
        result = act_new(&agent->act, err);
    if (result == 0 && steers)
        result = settings->runtime_dir
                     ? keeper_new_kept(&agent->keeper, settings->cgroup_fd, settings->pin_dir,
                                       settings->runtime_dir, err)
                     : keeper_new(&agent->keeper, settings->cgroup_fd, settings->pin_dir, err);
    if (result == 0 && steers)
        result = pods_new(&agent->pods, keeper_bpf(agent->keeper), err);
    if (result == 0 && steers)
        result = build_knowledge(agent, settings, err);
    if (result == 0 && steers)
        result = build_connects(agent, err);
    if (result == 0 && steers)
        result = build_programs(agent, err);
    if (result == 0 && steers)
        result = build_handshakes(agent, err);
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
        result = steers ? take_kernel_route(agent, settings, err) : 0;
    if (result == 0)
        result = steers ? steer(agent, settings, err) : open_gate(agent, settings, err);
    set_limits(agent);
    if (result == 0 && agent->doors)
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
