#include "proxy/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/identity/identity.h"
#include "proxy/keeper.h"
#include "proxy/names.h"
#include "proxy/origin.h"
#include "proxy/worker.h"

enum {
    LEAVES = 4096,
    CONTROL_EVENTS = 65536,
    ACCEPTS_A_TURN = 8192, /* more than the backlog, so that a turn takes all that wait */
    GUESTS_MAX = 256,      /* a namespace takes some five to twenty descriptors */
    LOOK_US = 200 * 1000,
};

/* A namespace we listen in, with what the loop watches of it. We are a guest in one that a pod's
 * program entered by itself: no longer there than it is. */
struct agent_net {
    struct agent_net *next;
    struct agent *agent;
    struct keeper_net *net;
    ino_t inode; /* no other namespace's while keeper_net holds this one */
    bool guest;
    bool inhabited, deserted; /* see look_for_deserted() */
    struct event *on_accept4, *on_accept6, *on_change;
};

struct agent {
    struct event_base *base;
    struct bus *bus;
    struct bus_producer *producer;
    struct keeper *keeper;
    struct pods *pods;
    struct identity *identity;
    struct store *store;
    struct names *names;
    struct worker **workers;
    unsigned workers_len;
    struct event *on_process, *on_flow_end, *exit_due, *look_due;
    struct agent_net *nets;
    bool told_guests_max;
    int reserve_fd; /* given up for a moment when there are no others left */
    uint64_t turned_away_ns;
};

/* ---- accepting ---- */

static struct worker *least_busy(struct agent *agent)
{
    struct worker *best = agent->workers[0];

    for (unsigned i = 1; i < agent->workers_len; i++)
        if (worker_load(agent->workers[i]) < worker_load(best))
            best = agent->workers[i];
    return best;
}

static void receive(struct agent *agent, int fd)
{
    struct origin origin;
    struct process *process;
    struct pod *pod;
    struct err err;

    /* no record: a stranger who dialled the listener itself. Nobody is told anything. */
    if (origin_take(keeper_bpf(agent->keeper), fd, &origin, &err) < 0) {
        close(fd);
        return;
    }
    pod = pods_find(agent->pods, origin.pod);
    process = identity_flow_begin(agent->identity, origin.pid, origin.start_ns, origin.pod);
    worker_give(least_busy(agent), fd, &origin, process, pod);
}

/* Out of descriptors: a connection that could only wait is reset, by means of the one kept in
 * reserve, so that its program knows; else the loop would spin on it. Told once a second. */
static void turn_away(struct agent *agent, int listener)
{
    uint64_t now = clock_ns();
    struct origin origin;

    fd_close(&agent->reserve_fd);
    CLEANUP(fd_close) int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        origin_take(keeper_bpf(agent->keeper), fd, &origin, NULL);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
                   sizeof(struct linger));
        fd_close(&fd);
    }
    agent->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (now - agent->turned_away_ns < 1000000000u)
        return;
    agent->turned_away_ns = now;
    log_error("connections are turned away: too many open files; raise the limit (ulimit -n)");
}

static void accept_all(struct agent *agent, int listener)
{
    for (int i = 0; listener >= 0 && i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0)
            receive(agent, fd);
        else if (errno == EMFILE || errno == ENFILE)
            turn_away(agent, listener);
        else if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    accept_all(arg, fd);
}

/* ---- namespaces ---- */

static void on_change(evutil_socket_t fd, short what, void *arg)
{
    struct agent_net *net = arg;
    struct err err;

    (void)fd;
    (void)what;
    if (keeper_net_refresh(net->agent->keeper, net->net, &err) < 0)
        log_warn("%s", err.text);
}

static void agent_net_free(struct agent_net **net)
{
    struct agent_net *gone = TAKE(*net);

    if (!gone)
        return;
    if (gone->on_accept4)
        event_free(gone->on_accept4);
    if (gone->on_accept6)
        event_free(gone->on_accept6);
    if (gone->on_change)
        event_free(gone->on_change);
    if (gone->net)
        keeper_net_remove(gone->agent->keeper, &gone->net);
    free(gone);
}

static struct event *watch(struct agent *agent, int fd, event_callback_fn call, void *arg)
{
    struct event *event =
        fd < 0 ? NULL : event_new(agent->base, fd, EV_READ | EV_PERSIST, call, arg);

    if (event && event_add(event, NULL) == 0)
        return event;
    if (event)
        event_free(event);
    return NULL;
}

/* wanted_cookie as in keeper_net_add(), and 0 where a pod is registered: there we are no guest. */
static int listen_in(struct agent *agent, int netns_fd, uint64_t wanted_cookie, struct err *err)
{
    CLEANUP(agent_net_free) struct agent_net *net = calloc(1, sizeof(*net));
    struct stat file;
    int result;

    if (!net)
        return err_set(err, -ENOMEM, "network namespace");
    if (fstat(netns_fd, &file) < 0)
        return err_sys(err, -errno, "network namespace");
    net->agent = agent;
    net->inode = file.st_ino;
    net->guest = wanted_cookie != 0;
    result = keeper_net_add(agent->keeper, &net->net, netns_fd, wanted_cookie, err);
    if (result < 0)
        return result;
    for (struct agent_net *known = agent->nets; known; known = known->next)
        if (known->net == net->net) {
            net->net = NULL; /* watched already, and its owner removes it */
            known->guest = known->guest && net->guest;
            return 0;
        }
    net->on_accept4 = watch(agent, keeper_net_listeners(net->net)->stream.v4, on_accept, agent);
    net->on_accept6 = watch(agent, keeper_net_listeners(net->net)->stream.v6, on_accept, agent);
    net->on_change = watch(agent, keeper_net_watch(net->net), on_change, net);
    if (!net->on_accept4 && !net->on_accept6)
        return err_set(err, -ENOMEM, "watching the listeners of a network namespace");
    net->next = agent->nets;
    agent->nets = TAKE(net);
    return 0;
}

/* ---- processes ---- */

/* A pod's program that starts in another namespace (ip netns exec, nsenter, unshare): we listen
 * there before it has loaded its libraries. If it is faster, its connect gets EPERM. */
static void on_exec(void *arg, uint32_t pid, uint64_t netns_cookie)
{
    struct agent *agent = arg;
    unsigned guests = 0;
    char path[64];
    struct err err;
    int result;

    for (const struct agent_net *net = agent->nets; net; net = net->next) {
        if (keeper_net_cookie(net->net) == netns_cookie)
            return;
        guests += net->guest;
    }
    if (guests >= GUESTS_MAX) {
        if (!agent->told_guests_max)
            log_warn("programs run in more than %d network namespaces of their own: connections "
                     "from further ones are refused",
                     GUESTS_MAX);
        agent->told_guests_max = true;
        return;
    }
    snprintf(path, sizeof(path), "/proc/%u/ns/net", pid);
    CLEANUP(fd_close) int netns = open(path, O_RDONLY | O_CLOEXEC);

    if (netns < 0)
        return; /* gone already */
    result = listen_in(agent, netns, netns_cookie, &err);
    if (result < 0 && result != -ESTALE) /* gone, and another process has its pid */
        log_warn("process %u is in a network namespace that cannot be steered, its connections are "
                 "refused: %s",
                 pid, err.text);
}

/* A connection of a process that has just exited may still wait to be accepted: its events come
 * before the exit's. */
static void before_exits(void *arg)
{
    struct agent *agent = arg;

    for (struct agent_net *net = agent->nets; net; net = net->next) {
        accept_all(agent, keeper_net_listeners(net->net)->stream.v4);
        accept_all(agent, keeper_net_listeners(net->net)->stream.v6);
    }
}

static void step_processes(struct agent *agent)
{
    int due = identity_step(agent->identity);

    if (due >= 0) {
        struct timeval wait = {.tv_sec = due / 1000, .tv_usec = due % 1000 * 1000 + 1000};

        event_add(agent->exit_due, &wait);
    }
}

static void look_soon(struct agent *agent)
{
    static const struct timeval soon = {.tv_usec = LOOK_US};

    if (!evtimer_pending(agent->look_due, NULL))
        event_add(agent->look_due, &soon);
}

static void on_process(evutil_socket_t fd, short what, void *arg)
{
    struct agent *agent = arg;
    const struct agent_net *net = agent->nets;

    (void)fd;
    (void)what;
    step_processes(agent);
    while (net && !net->guest)
        net = net->next;
    if (net)
        look_soon(agent);
}

static void mark_inhabited(void *arg, const struct process *process)
{
    struct agent *agent = arg;

    for (struct agent_net *net = agent->nets; net; net = net->next)
        net->inhabited = net->inhabited || net->inode == process->ns.net;
}

/* Leaves the namespaces we are a guest in and that no pod's process began its image in, or was
 * forked in; what we hold there would keep them alive. (A process that only moved into one, without
 * an exec, has no say: its connects are refused as they would have been without the others.)
 * Deserted at two looks in a row, so that connections of those who went last have been dialled.
 * Only from the loop itself, for accepting walks the list of namespaces and comes to on_exec(). */
static void look_for_deserted(evutil_socket_t fd, short what, void *arg)
{
    struct agent *agent = arg;

    (void)fd;
    (void)what;
    step_processes(agent); /* who is there, by now; and accepts what waits */
    for (struct agent_net *net = agent->nets; net; net = net->next)
        net->inhabited = !net->guest;
    identity_each(agent->identity, mark_inhabited, agent);
    for (struct agent_net **at = &agent->nets; *at;) {
        struct agent_net *net = *at;

        if (!net->inhabited && net->deserted) {
            *at = net->next;
            agent_net_free(&net);
            continue;
        }
        net->deserted = !net->inhabited;
        if (net->deserted)
            look_soon(agent);
        at = &net->next;
    }
}

/* ---- building and taking down ---- */

static int make_workers(struct agent *agent, const struct agent_settings *settings, struct err *err)
{
    const struct worker_parts parts = {
        .keeper = agent->keeper,
        .identity = agent->identity,
        .store = agent->store,
        .names = agent->names,
        .roots = settings->roots,
        .bus = agent->bus,
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

static int build(struct agent *agent, const struct agent_settings *settings, struct err *err)
{
    int result;

    agent->base = event_base_new();
    if (!agent->base)
        return err_set(err, -ENOMEM, "the control loop");
    result = bus_new(&agent->bus, settings->sinks, settings->sinks_len, err);
    if (result == 0)
        result = bus_producer_new(&agent->producer, agent->bus, "control", CONTROL_EVENTS, err);
    if (result == 0)
        result = keeper_new(&agent->keeper, settings->cgroup_fd, settings->pin_dir, err);
    if (result == 0)
        result = pods_new(&agent->pods, keeper_bpf(agent->keeper), err);
    if (result == 0)
        result = identity_new(&agent->identity, keeper_bpf(agent->keeper), agent->pods,
                              agent->producer, settings->node_name, err);
    if (result == 0)
        result = store_new(&agent->store, settings->authority, LEAVES, err);
    if (result == 0)
        result = names_new(&agent->names, err);
    if (result == 0)
        result = make_workers(agent, settings, err);
    if (result < 0)
        return result;
    identity_on_exec(agent->identity, on_exec, agent);
    identity_before_exits(agent->identity, before_exits, agent);
    agent->on_process = watch(agent, identity_fd(agent->identity), on_process, agent);
    agent->on_flow_end = watch(agent, identity_wake_fd(agent->identity), on_process, agent);
    agent->exit_due = evtimer_new(agent->base, on_process, agent);
    agent->look_due = evtimer_new(agent->base, look_for_deserted, agent);
    if (!agent->on_process || !agent->on_flow_end || !agent->exit_due || !agent->look_due)
        return err_set(err, -ENOMEM, "the control loop");
    return 0;
}

int agent_new(struct agent **out, const struct agent_settings *settings, struct err *err)
{
    CLEANUP(agent_free) struct agent *agent = calloc(1, sizeof(*agent));
    int result;

    if (!agent)
        return err_set(err, -ENOMEM, "agent");
    agent->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    result = build(agent, settings, err);
    if (result < 0)
        return result;
    *out = TAKE(agent);
    return 0;
}

void agent_free(struct agent **agent)
{
    struct agent *gone = TAKE(*agent);

    if (!gone)
        return;
    while (gone->workers_len)
        worker_free(&gone->workers[--gone->workers_len]);
    free(gone->workers);
    if (gone->identity)
        identity_finish(gone->identity);
    bus_free(&gone->bus); /* everything was said */
    while (gone->nets) {
        struct agent_net *net = gone->nets;

        gone->nets = net->next;
        agent_net_free(&net);
    }
    if (gone->on_process)
        event_free(gone->on_process);
    if (gone->on_flow_end)
        event_free(gone->on_flow_end);
    if (gone->exit_due)
        event_free(gone->exit_due);
    if (gone->look_due)
        event_free(gone->look_due);
    store_free(&gone->store);
    names_free(&gone->names);
    identity_free(&gone->identity);
    pods_free(&gone->pods);
    keeper_free(&gone->keeper);
    if (gone->base)
        event_base_free(gone->base);
    fd_close(&gone->reserve_fd);
    free(gone);
}

struct event_base *agent_base(struct agent *agent)
{
    return agent->base;
}

int agent_add_pod(struct agent *agent, uint64_t cgroup_id, const char *space, const char *name,
                  const struct pods_settings *settings, struct err *err)
{
    CLEANUP(fd_close) int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int result;

    if (netns < 0)
        return err_sys(err, -errno, "/proc/self/ns/net");
    result = listen_in(agent, netns, 0, err);
    return result < 0 ? result : pods_add(agent->pods, cgroup_id, space, name, settings, err);
}

static bool settled(const struct agent *agent)
{
    for (unsigned i = 0; i < agent->workers_len; i++)
        if (worker_load(agent->workers[i]))
            return false;
    return identity_alive(agent->identity) == 0;
}

void agent_settle(struct agent *agent, unsigned ms)
{
    uint64_t end = clock_ns() + ms * UINT64_C(1000000);

    for (;;) {
        struct timeval turn = {.tv_usec = 5000};

        step_processes(agent);
        if (settled(agent) || clock_ns() >= end)
            return;
        event_base_loopexit(agent->base, &turn);
        event_base_dispatch(agent->base);
    }
}

void agent_flush(struct agent *agent)
{
    bus_flush(agent->bus);
}
