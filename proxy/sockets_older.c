#include "proxy/sockets_older.h"

#include <search.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "events/verdict.h"
#include "proxy/flow/row.h"
#include "proxy/identity/identity.h"
#include "proxy/sockets_own.h"

/* The first part of the tree's order. */
static int by_cookie(const void *a, const void *b)
{
    const struct tracked *x = a, *y = b;

    return x->cookie < y->cookie ? -1 : x->cookie > y->cookie;
}

static struct tracked *find(const struct sockets *sockets, uint64_t cookie)
{
    const struct tracked key = {.cookie = cookie};
    struct tracked **found = tfind(&key, &sockets->tree, by_cookie);

    return found ? *found : NULL;
}

enum sockets_known sockets_know(const struct sockets *sockets, uint64_t cookie)
{
    const struct tracked *entry = find(sockets, cookie);

    if (!entry)
        return SOCKETS_NEW;
    return entry->visibility == VISIBILITY_PRE_EXISTING && !entry->error ? SOCKETS_MET
                                                                         : SOCKETS_KNOWN;
}

static void tell(struct sockets *sockets, const struct tracked *entry, enum flow_event_kind kind,
                 const struct policy_verdict *verdict)
{
    struct flow_event *event = sockets_event(sockets, entry, kind, entry->began_ns);

    if (event && verdict)
        flow_event_set_verdict(event, POLICY_POINT_CONNECT, verdict);
    bus_emit(sockets->parts.producer, &event);
}

static struct tracked *follow(struct sockets *sockets, const struct sockets_older *older)
{
    const struct tracked like = {
        .cookie = older->cookie,
        .src = older->src,
        .dst = older->dst,
        .protocol = PROTOCOL_TCP,
        .pod = older->pod,
        .route = older->route,
        .visibility = older->visibility,
        .tls = older->tls,
        .unheard = older->unheard,
        .began_ns = older->began_ns ? older->began_ns : clock_read_ns(CLOCK_BOOTTIME),
        .tx = older->tx,
        .rx = older->rx,
    };
    struct tracked *entry = sockets_track(sockets, &like, older->process);

    if (entry && !older->untold)
        tell(sockets, entry, FLOW_EVENT_CONNECT, older->verdict);
    return entry;
}

/* It may be another pod's by now. */
static void follow_again(struct sockets *sockets, struct tracked *entry,
                         const struct sockets_older *older)
{
    struct process *process = older->process;
    struct pod *pod = entry->pod;

    entry->pod = pod_ref(older->pod);
    pod_unref(&pod);
    if (!process)
        return;
    if (entry->process)
        identity_flow_end(sockets->parts.identity, &entry->process);
    entry->process = process;
}

void sockets_meet(struct sockets *sockets, const struct sockets_older *older)
{
    struct tracked *entry = find(sockets, older->cookie);

    if (entry)
        follow_again(sockets, entry, older);
    else
        entry = follow(sockets, older);
    if (!entry || !older->verdict)
        return;
    tell(sockets, entry, FLOW_EVENT_POLICY, older->verdict);
    if (!older->reset)
        return;
    entry->error = strdup("reset, as it was connected before its pod was registered");
    entry->incomplete = !entry->error;
}

/* ---- for `sessions` ---- */

static bool is_reset(const struct tracked *entry)
{
    return entry->visibility == VISIBILITY_PRE_EXISTING && entry->error;
}

bool sockets_was_reset(const struct sockets *sockets, uint64_t cookie)
{
    const struct tracked *entry = find(sockets, cookie);

    return entry && is_reset(entry);
}

struct visit {
    void (*visit)(void *arg, const struct flow_row *row);
    void *arg;
    uint64_t now_ns, boot_ns;
};

enum { TLS1_3 = 0x0304 }; /* the kernel has that and 1.2 */

static void visit_one(const void *node, VISIT when, void *closure)
{
    const struct tracked *entry = *(struct tracked *const *)node;
    const struct visit *visit = closure;
    uint64_t age = visit->boot_ns > entry->began_ns ? visit->boot_ns - entry->began_ns : 0;
    const struct flow_row row = {
        .process = entry->process,
        .pod = entry->pod,
        .src = entry->src,
        .dst = entry->dst,
        .cookie = entry->cookie,
        .cgroup_id = entry->pod ? entry->pod->cgroup_id : 0,
        .began_ns = visit->now_ns > age ? visit->now_ns - age : 0,
        .tx = entry->tx,
        .rx = entry->rx,
        .route = entry->route,
        .visibility = entry->visibility,
        .version = entry->tls == TLS1_3 ? "TLS1.3"
                   : entry->tls         ? "TLS1.2"
                                        : NULL,
        .state = is_reset(entry) ? SOCKETS_RESET : "open",
    };

    if ((when == postorder || when == leaf) && entry->protocol == PROTOCOL_TCP &&
        entry->route == ROUTE_DIRECT && !entry->has_flow && !entry->released)
        visit->visit(visit->arg, &row);
}

void sockets_each_row(const struct sockets *sockets,
                      void (*visit)(void *arg, const struct flow_row *row), void *arg)
{
    struct visit closure = {visit, arg, clock_ns(), clock_read_ns(CLOCK_BOOTTIME)};

    twalk_r(sockets->tree, visit_one, &closure);
}
