#include "proxy/pods/lifecycle.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "proxy/pods/cgroups.h"
#include "proxy/pods/existing.h"
#include "proxy/doors/doors.h"
#include "proxy/enforce/act.h"
#include "proxy/enforce/policies.h"
#include "proxy/flow/flow.h"
#include "proxy/identity/identity.h"
#include "proxy/identity/snapshot.h"
#include "proxy/kernel/ends.h"
#include "proxy/kernel/options.h"
#include "proxy/kernel/programs.h"
#include "proxy/limits.h"
#include "proxy/pods/pods.h"
#include "proxy/dns/resolver.h"
#include "proxy/pods/resolving.h"
#include "proxy/worker.h"

enum {
    LAST_WORDS_US = 400 * 1000
}; /* what a gone pod's flows have to deliver what they were told */

struct lifecycle {
    struct lifecycle_parts parts;
    struct cgroups *cgroups;
    struct event *sweep_due;
    bool restored;
    void (*on_gone)(void *arg, uint64_t cgroup_id);
    void *on_gone_arg;
};

/* ---- who lives in a pod ---- */

struct members {
    struct lifecycle *lifecycle;
    struct pod *pod; /* NULL: it is not registered yet */
};

/* What lies below a cgroup that has a pod of its own is that one's. */
static bool is_registered(void *arg, uint64_t id)
{
    const struct members *members = arg;

    return pods_find(members->lifecycle->parts.pods, id);
}

static void meet(void *arg, pid_t pid)
{
    const struct members *members = arg;
    const struct lifecycle_parts *parts = &members->lifecycle->parts;

    doors_meet(parts->doors, (uint32_t)pid);
    if (members->pod)
        identity_meet(parts->identity, (uint32_t)pid, members->pod);
}

static void meet_all(struct lifecycle *lifecycle, int cgroup_fd, struct pod *pod)
{
    struct members members = {.lifecycle = lifecycle, .pod = pod};

    if (cgroup_fd >= 0)
        cgroup_each_process(cgroup_fd, is_registered, meet, &members);
}

/* ---- one comes ---- */

struct oldest {
    struct members members; /* first: what is_registered() wants */
    pid_t pid;              /* 0: there is none */
    uint64_t start_ns;
};

static void note_oldest(void *arg, pid_t pid)
{
    CLEANUP(process_unref) struct process *process = snapshot_take((uint32_t)pid, 0);
    struct oldest *oldest = arg;

    if (process && (!oldest->pid || process->start_ns < oldest->start_ns)) {
        oldest->pid = pid;
        oldest->start_ns = process->start_ns;
    }
}

/* By what it resolves names, before its policies could ask. Of many processes the oldest counts: a
 * later one may have made itself other mounts. */
static void find_resolving(struct lifecycle *lifecycle, const struct agent_pod *wanted)
{
    struct resolving *resolving = lifecycle->parts.resolving;
    struct oldest oldest = {.members.lifecycle = lifecycle};

    if (resolving_recall(resolving, wanted->cgroup_id))
        return;
    if (wanted->like && resolving_learn(resolving, wanted->cgroup_id, wanted->like, 0))
        return;
    if (wanted->cgroup_fd >= 0)
        cgroup_each_process(wanted->cgroup_fd, is_registered, note_oldest, &oldest);
    if (oldest.pid)
        resolving_learn(resolving, wanted->cgroup_id, oldest.pid, oldest.start_ns);
}

static void let_go(const struct lifecycle_parts *parts, uint64_t cgroup_id)
{
    policies_remove_pod(parts->policies, cgroup_id);
    options_forget(parts->options, cgroup_id);
    act_remove_pod(parts->act, cgroup_id);
    resolving_forget(parts->resolving, cgroup_id);
}

/* Its policies are there before anybody is steered by them. */
static int steer(struct lifecycle *lifecycle, const struct agent_pod *wanted, struct pod *pod,
                 struct err *err)
{
    const struct lifecycle_parts *parts = &lifecycle->parts;
    CLEANUP(policy_view_unref) struct policy_view *view = NULL;
    int fd = wanted->cgroup_fd >= 0 ? wanted->cgroup_fd : parts->cgroup_fd;
    int result;

    if (pods_find(parts->pods, pod->cgroup_id)) /* which pods_add() refuses */
        return pods_add(parts->pods, pod, wanted->settings, NULL, err);
    find_resolving(lifecycle, wanted);
    result = act_add_pod(parts->act, pod, fd, err);
    if (result == 0)
        result = options_follow(parts->options, pod->cgroup_id, fd, err);
    if (result == 0)
        result = policies_add_pod(parts->policies, pod, err);
    if (result == 0) {
        view = policies_view(parts->policies, pod->cgroup_id);
        result = pods_add(parts->pods, pod, wanted->settings, view, err);
    }
    if (result < 0)
        let_go(parts, pod->cgroup_id);
    return result;
}

/* Before the pod is registered, so that the programs in it find a listener when they are steered;
 * and after that once more, for those that came in between, and for who they are. */
static int enter(struct lifecycle *lifecycle, const struct agent_pod *wanted, struct pod *pod,
                 struct err *err)
{
    struct pods *pods = lifecycle->parts.pods;
    int result = 0;

    meet_all(lifecycle, wanted->cgroup_fd, NULL);
    if (wanted->cgroup_fd >= 0)
        result = cgroups_watch(lifecycle->cgroups, wanted->cgroup_fd, wanted->cgroup_id, err);
    if (result < 0)
        return result;
    result = steer(lifecycle, wanted, pod, err);
    if (result < 0) {
        cgroups_unwatch(lifecycle->cgroups, wanted->cgroup_id);
        return result;
    }
    meet_all(lifecycle, wanted->cgroup_fd, pod);
    limits_share(lifecycle->parts.limits, pods_count(pods));
    if (wanted->cgroup_fd >= 0)
        existing_look(lifecycle->parts.existing, pod, wanted->cgroup_fd, !lifecycle->restored);
    return 0;
}

int lifecycle_add(struct lifecycle *lifecycle, const struct agent_pod *wanted, struct err *err)
{
    CLEANUP(pod_unref)
    struct pod *pod =
        pod_new(wanted->cgroup_id, wanted->space, wanted->name, wanted->labels, wanted->labels_len);
    struct doors *doors = lifecycle->parts.doors;
    int result = 0;

    if (!pod)
        return err_set(err, -ENOMEM, "pod %s", wanted->name);
    if (wanted->netns_fd >= 0)
        result = doors_open(doors, wanted->netns_fd, &pod->netns_cookie, err);
    if (result < 0)
        return result;
    result = enter(lifecycle, wanted, pod, err);
    if (result < 0) {
        if (pod->netns_cookie)
            doors_release(doors, pod->netns_cookie);
        doors_look_soon(doors);
    }
    return result;
}

void lifecycle_restored(struct lifecycle *lifecycle)
{
    struct members members = {.lifecycle = lifecycle};

    options_sweep(lifecycle->parts.options, is_registered, &members);
    lifecycle->restored = true;
}

void lifecycle_on_view(struct lifecycle *lifecycle, const struct pod *pod,
                       const struct policy_view *view)
{
    struct pod *known = pods_find(lifecycle->parts.pods, pod->cgroup_id);
    int cgroup_fd = cgroups_fd(lifecycle->cgroups, pod->cgroup_id);
    bool resets = false;

    for (size_t i = 0; view && i < policy_view_len(view); i++)
        resets |= policy_view_at(view, i)->existing == POLICY_EXISTING_RESET;
    if (resets && known && cgroup_fd >= 0 && lifecycle->restored)
        existing_look(lifecycle->parts.existing, known, cgroup_fd, false);
}

void lifecycle_on_begin(void *arg, const struct identity_begin *begin)
{
    struct lifecycle *lifecycle = arg;

    if (pods_find(lifecycle->parts.pods, begin->pod))
        resolving_learn(lifecycle->parts.resolving, begin->pod, (pid_t)begin->pid, begin->start_ns);
}

/* ---- one goes ---- */

static void forget(struct lifecycle *lifecycle, struct pod *pod)
{
    const struct lifecycle_parts *parts = &lifecycle->parts;

    atomic_store(&pod->removed_ns, clock_read_ns(CLOCK_BOOTTIME));
    ends_on_pod_gone(parts->ends, pod->cgroup_id);
    pods_remove(parts->pods, pod->cgroup_id, NULL);
    let_go(parts, pod->cgroup_id);
    programs_forget_pod(parts->programs, pod->cgroup_id);
    identity_forget_pod(parts->identity, pod);
    if (pod->netns_cookie)
        doors_release(parts->doors, pod->netns_cookie);
    doors_look_soon(parts->doors);
    limits_share(parts->limits, pods_count(parts->pods));
}

int lifecycle_remove(struct lifecycle *lifecycle, uint64_t cgroup_id, struct err *err)
{
    struct pods *pods = lifecycle->parts.pods;
    struct members members = {.lifecycle = lifecycle};
    CLEANUP(pod_unref) struct pod *pod = pod_ref(pods_find(pods, cgroup_id));
    int cgroup_fd = cgroups_fd(lifecycle->cgroups, cgroup_id);

    if (!pod)
        return pods_remove(pods, cgroup_id, err);
    lifecycle->parts.catch_up(lifecycle->parts.arg);
    forget(lifecycle, pod);
    if (cgroup_fd >= 0) { /* those in it are now the pod's that it is below, if it is */
        uint64_t above = cgroup_find_up(cgroup_fd, is_registered, &members);

        if (above)
            meet_all(lifecycle, cgroup_fd, pods_find(pods, above));
    }
    cgroups_unwatch(lifecycle->cgroups, cgroup_id);
    return 0;
}

struct count {
    uint64_t cgroup_id;
    size_t told;
};

static void count_told(void *arg, const struct process *process, bool told)
{
    struct count *count = arg;

    count->told += told && process->pod && process->pod->cgroup_id == count->cgroup_id;
}

bool lifecycle_is_quiet(struct lifecycle *lifecycle, uint64_t cgroup_id)
{
    struct count count = {.cgroup_id = cgroup_id};

    lifecycle->parts.catch_up(lifecycle->parts.arg);
    identity_each(lifecycle->parts.identity, count_told, &count);
    return count.told == 0;
}

/* On a worker's thread. They would wait for answers to nobody, and keep the pod's namespace. */
static void end_flows(struct worker *worker, struct worker_visit *visit)
{
    struct flow *next;

    for (struct flow *flow = worker->flows; flow; flow = next) {
        const struct pod *pod = flow->facts.who.pod;

        next = flow->next;
        if (pod && atomic_load(&pod->gone))
            flow_abort(flow);
    }
    free(visit);
}

static void sweep(evutil_socket_t fd, short what, void *arg)
{
    const struct lifecycle *lifecycle = arg;

    (void)fd;
    (void)what;
    for (unsigned i = 0; i < lifecycle->parts.workers_len; i++) {
        struct worker_visit *visit = calloc(1, sizeof(*visit));

        if (!visit)
            return; /* their time-outs end them */
        visit->fn = end_flows;
        worker_visit(lifecycle->parts.workers[i], visit);
    }
}

static void cgroup_gone(void *arg, uint64_t cgroup_id)
{
    static const struct timeval soon = {.tv_usec = LAST_WORDS_US};
    struct lifecycle *lifecycle = arg;
    CLEANUP(pod_unref)
    struct pod *pod = pod_ref(pods_find(lifecycle->parts.pods, cgroup_id));

    if (!pod)
        return;
    lifecycle->parts.catch_up(lifecycle->parts.arg);
    atomic_store(&pod->gone, true);
    forget(lifecycle, pod);
    resolver_forget_pod(lifecycle->parts.resolver, pod);
    if (!evtimer_pending(lifecycle->sweep_due, NULL))
        event_add(lifecycle->sweep_due, &soon);
    if (lifecycle->on_gone)
        lifecycle->on_gone(lifecycle->on_gone_arg, cgroup_id);
}

void lifecycle_on_gone(struct lifecycle *lifecycle, void (*on_gone)(void *arg, uint64_t cgroup_id),
                       void *arg)
{
    lifecycle->on_gone = on_gone;
    lifecycle->on_gone_arg = arg;
}

/* ---- set-up ---- */

int lifecycle_new(struct lifecycle **out, const struct lifecycle_parts *parts, struct err *err)
{
    CLEANUP(lifecycle_free) struct lifecycle *lifecycle = calloc(1, sizeof(*lifecycle));
    int result;

    if (!lifecycle)
        return err_set(err, -ENOMEM, "life of pods");
    lifecycle->parts = *parts;
    lifecycle->sweep_due = evtimer_new(parts->base, sweep, lifecycle);
    if (!lifecycle->sweep_due)
        return err_set(err, -ENOMEM, "life of pods");
    result = cgroups_new(&lifecycle->cgroups, parts->base, cgroup_gone, lifecycle, err);
    if (result < 0)
        return result;
    *out = TAKE(lifecycle);
    return 0;
}

void lifecycle_free(struct lifecycle **lifecycle)
{
    if (!*lifecycle)
        return;
    cgroups_free(&(*lifecycle)->cgroups);
    if ((*lifecycle)->sweep_due)
        event_free((*lifecycle)->sweep_due);
    free(TAKE(*lifecycle));
}

void lifecycle_each_cgroup(const struct lifecycle *lifecycle, void (*visit)(void *arg, int fd),
                           void *arg)
{
    cgroups_each(lifecycle->cgroups, visit, arg);
}
