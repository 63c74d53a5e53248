#include "proxy/enforce/connects.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "bpf/abi.h"
#include "events/verdict.h"
#include "policy/table.h"
#include "proxy/doors/origin.h"
#include "proxy/enforce/act.h"
#include "proxy/enforce/policies.h"
#include "proxy/identity/identity.h"
#include "proxy/pods/pods.h"

struct connects {
    struct connects_parts parts;
};

int connects_new(struct connects **out, const struct connects_parts *parts, struct err *err)
{
    struct connects *connects = calloc(1, sizeof(*connects));

    if (!connects)
        return err_set(err, -ENOMEM, "what policies say of connects");
    connects->parts = *parts;
    *out = connects;
    return 0;
}

void connects_free(struct connects **connects)
{
    free(TAKE(*connects));
}

/* ---- whose rule it was ---- */

static struct addr addr_of(const uint8_t ip[16], uint16_t port)
{
    struct addr addr = {.port = port};

    memcpy(addr.ip, ip, sizeof(addr.ip));
    return addr;
}

static bool look_up(struct connects *connects, const struct abi_socket *record,
                    const struct process *process, struct connects_judged *out)
{
    *out = (struct connects_judged){.point = POLICY_POINT_CONNECT};
    out->view = policies_view(connects->parts.policies, record->pod);
    if (!out->view || policy_view_is_empty(out->view))
        return false;
    out->scope = policy_scope_new(out->view, process);
    return !policy_scope_is_empty(out->scope);
}

static struct policy_facts facts_of(struct connects *connects, const struct abi_socket *record,
                                    const struct addr *dst, struct names_trusted *names)
{
    names_find_trusted(connects->parts.names, record->pod, dst, clock_ns(), names);
    return (struct policy_facts){
        .protocol = record->protocol == IPPROTO_UDP ? PROTOCOL_UDP : PROTOCOL_TCP,
        .dst = dst,
        .resolved = names->names,
    };
}

void connects_judge(struct connects *connects, const struct abi_socket *record,
                    const struct process *process, struct connects_judged *out)
{
    const struct addr dst = addr_of(record->dst, record->dst_port);
    struct policy_facts facts;

    if (!look_up(connects, record, process, out))
        return;
    facts = facts_of(connects, record, &dst, &out->names);
    policy_decide_connect(out->scope, &facts, &out->verdict);
    out->any = out->verdict.policy;
}

void connects_judged_fini(struct connects_judged *judged)
{
    policy_scope_free(&judged->scope);
    policy_view_unref(&judged->view);
    names_trusted_fini(&judged->names);
}

/* ---- what comes to us ---- */

enum { DNS_PORT = 53 };

static bool may_dial(struct connects *connects, const struct origin *origin,
                     const struct policy_scope *scope)
{
    CLEANUP(names_trusted_fini) struct names_trusted names = {0};
    struct names *all = connects->parts.names;
    struct policy_facts facts = {
        .protocol = PROTOCOL_TCP,
        .dst = &origin->dst,
        .name_server = origin->dst.port == DNS_PORT && names_serves(all, origin->pod, &origin->dst),
    };
    struct policy_verdict verdict;

    names_find_trusted(all, origin->pod, &origin->dst, clock_ns(), &names);
    facts.resolved = names.names;
    policy_decide_connect(scope, &facts, &verdict);
    return verdict.verdict != VERDICT_DENY;
}

bool connects_may_dial(struct connects *connects, const struct origin *origin)
{
    CLEANUP(policy_view_unref)
    struct policy_view *view = policies_view(connects->parts.policies, origin->pod);
    CLEANUP(policy_scope_free) struct policy_scope *scope = NULL;
    struct process *process;

    if (!view || policy_view_is_empty(view))
        return true;
    process =
        identity_flow_begin(connects->parts.identity, origin->pid, origin->start_ns, origin->pod);
    scope = policy_scope_new(view, process);
    if (process)
        identity_flow_end(connects->parts.identity, &process);
    return scope && may_dial(connects, origin, scope);
}

/* ---- what the kernel refused ---- */

/* It would be allowed, if it could be looked into. */
static void judge_unseen(const struct connects_judged *judged, const struct policy_facts *facts,
                         struct policy_verdict *out)
{
    enum policy_unseen what;

    policy_decide_unseen(judged->scope, facts,
                         facts->protocol == PROTOCOL_UDP ? "datagrams cannot be looked into"
                                                         : "nobody can look into it there",
                         &what, out);
}

static void judge_denied(struct connects *connects, const struct abi_socket *record,
                         struct connects_judged *out)
{
    const struct addr dst = addr_of(record->dst, record->dst_port);
    struct policy_facts facts = facts_of(connects, record, &dst, &out->names);

    policy_decide_connect(out->scope, &facts, &out->verdict);
    if (out->verdict.verdict == VERDICT_DENY)
        return;
    out->point = POLICY_POINT_VISIBILITY;
    judge_unseen(out, &facts, &out->verdict);
}

/* ---- sockets of other kinds ---- */

static const char *kind_name(const struct abi_socket *record)
{
    if (record->src_port == SOCK_RAW) /* whatever protocol it is for */
        return "a raw socket";
    switch (record->protocol) {
    case IPPROTO_TCP:
        return "a connection by a route of the program's own";
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
        return "a socket for pings";
    case IPPROTO_SCTP:
        return "SCTP";
    case IPPROTO_UDPLITE:
        return "UDP-Lite";
    case IPPROTO_DCCP:
        return "DCCP";
    case ABI_OTHER_FAMILY:
        return "a socket of a family beyond IP";
    case ABI_MPTCP:
        return "MPTCP";
    default:
        return "a socket of another protocol";
    }
}

static void judge_kind(const struct abi_socket *record, struct connects_judged *out)
{
    enum policy_mode mode = record->flags & ABI_SOCKET_ALLOWED ? POLICY_MONITOR : POLICY_ENFORCE;

    out->point = POLICY_POINT_VISIBILITY;
    for (size_t i = 0; i < policy_scope_len(out->scope) && !out->verdict.policy; i++) {
        const struct policy *policy = policy_scope_at(out->scope, i);

        if (policy->mode == mode && policy_table_denies_any(policy))
            out->verdict = (struct policy_verdict){
                .mode = mode, .action = policy->on_deny, .policy = policy, .place = &policy->place};
    }
    snprintf(out->verdict.reason, sizeof(out->verdict.reason),
             "%s cannot be judged by address and port", kind_name(record));
}

/* ---- telling ---- */

static struct flow_event *new_event(struct connects *connects, enum flow_event_kind kind,
                                    const struct abi_socket *record, struct process *process,
                                    struct pod *pod)
{
    struct flow_event *event = flow_event_new(kind, process, pod);

    if (!event)
        return NULL;
    event->time_ns = identity_wall_ns(connects->parts.identity, record->time_ns);
    event->route = record->flags & ABI_SOCKET_STEERED ? ROUTE_PROXY : ROUTE_DIRECT;
    if (record->flags & ABI_SOCKET_KIND)
        return event;
    event->protocol = record->protocol == IPPROTO_UDP ? PROTOCOL_UDP : PROTOCOL_TCP;
    event->src = addr_of(record->src, record->src_port);
    event->dst = addr_of(record->dst, record->dst_port);
    if (addr_is_v4(&event->dst) && !addr_is_v4(&event->src))
        event->src.ip[10] = event->src.ip[11] = 0xff; /* it has none yet */
    event->socket_cookie = record->cookie;
    return event;
}

static void tell_decision(struct connects *connects, const struct abi_socket *record,
                          struct process *process, struct pod *pod,
                          const struct connects_judged *judged)
{
    struct flow_event *event = new_event(connects, FLOW_EVENT_POLICY, record, process, pod);

    if (event)
        flow_event_set_verdict(event, judged->point, &judged->verdict);
    bus_emit(connects->parts.producer, &event);
}

void connects_tell(struct connects *connects, const struct abi_socket *record,
                   struct process *process, struct pod *pod, const struct connects_judged *judged)
{
    if (judged->any && judged->verdict.verdict == VERDICT_ALERT)
        tell_decision(connects, record, process, pod, judged);
}

static void tell_connect(struct connects *connects, const struct abi_socket *record,
                         struct process *process, struct pod *pod,
                         const struct connects_judged *judged)
{
    struct flow_event *event = new_event(connects, FLOW_EVENT_CONNECT, record, process, pod);
    struct names_found names = {0};

    if (event) {
        names_find(connects->parts.names, record->pod, &event->dst, clock_ns(), &names);
        flow_event_set_names(event, (const char *const *)names.text, names.len);
        flow_event_set_verdict(event, judged->point, &judged->verdict);
        event->error = flow_event_text(event, span_of_text(strerror(record->error)));
        names_found_fini(&names);
    }
    bus_emit(connects->parts.producer, &event);
}

/* Those before it that there was no room to tell: a program tries again and again. */
static void tell_missed(struct connects *connects, const struct abi_socket *record)
{
    struct flow_event *event = record->tx ? flow_event_new(FLOW_EVENT_LOST, NULL, NULL) : NULL;

    if (!event)
        return;
    event->lost.count = record->tx;
    event->lost.reason = "a pod was denied more connects in a second than are told";
    bus_emit(connects->parts.producer, &event);
}

/* ---- what is done ---- */

static void act(struct connects *connects, const struct abi_socket *record,
                const struct process *process, const struct policy_verdict *verdict)
{
    struct err err;
    int code = 0;

    if (verdict->action == POLICY_SIGKILL)
        code = act_kill(process, &err);
    else if (verdict->action == POLICY_FREEZE)
        code = act_freeze(connects->parts.act, record->pod, &err);
    if (code < 0 && code != -ESRCH && code != -ENOENT)
        log_warn("%s", err.text);
}

void connects_denied(struct connects *connects, const struct abi_socket *record)
{
    struct pod *pod = pods_find(connects->parts.pods, record->pod);
    struct process *process =
        identity_flow_begin(connects->parts.identity, record->pid, record->start_ns, record->pod);
    CLEANUP(connects_judged_fini) struct connects_judged judged = {0};
    bool kind = record->flags & ABI_SOCKET_KIND;

    tell_missed(connects, record);
    if (look_up(connects, record, process, &judged) && kind)
        judge_kind(record, &judged);
    else if (judged.scope)
        judge_denied(connects, record, &judged);
    if (judged.verdict.verdict != VERDICT_DENY) { /* it was, when the kernel said so */
        judged.verdict.verdict = record->flags & ABI_SOCKET_ALLOWED ? VERDICT_ALERT : VERDICT_DENY;
        if (!judged.verdict.reason[0])
            snprintf(judged.verdict.reason, sizeof(judged.verdict.reason),
                     "the policies that were in force a moment ago did not allow it");
    }
    if (!kind)
        tell_connect(connects, record, process, pod, &judged);
    tell_decision(connects, record, process, pod, &judged);
    if (judged.verdict.verdict == VERDICT_DENY && judged.verdict.policy)
        act(connects, record, process, &judged.verdict);
    if (process)
        identity_flow_end(connects->parts.identity, &process);
}
