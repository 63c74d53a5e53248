/* judge: what a pod's policies say of where one of its programs wants to go: found here by address,
 * port and program, with nobody asked.
 *
 * proxy/enforce/kernel_rules.c has written down what policy_decide_connect() answers for every kind
 * of destination and program. What it did not write down is not decided here: a connection goes to
 * the agent, which knows more, and a datagram does not go. What a pod says to itself, over
 * loopback or its own addresses, has not left it: it is judged only where loopback is looked into,
 * or where a rule says that this is denied.
 *
 * Also here: the telling of what was refused, bounded for each pod. */
#pragma once

#include <linux/bpf.h>

#include "bpf/rules.h"
#include "bpf/socket.h"
#include "bpf/turn.h"

enum {
    TOLD_MAX = 500,
    EPERM = 1,
    EBUSY = 16,
    EPROTONOSUPPORT = 93,
    ENETUNREACH = 101,
    ECONNREFUSED = 111,
};
static const __u64 told_window_ns = 1000000000;

/* enum abi_verdict. For the verifier a function of its own, as find_place() is. */
__weak __noinline __u32 judge(__u32 id, const struct abi_origin *origin, __u32 protocol)
{
    struct abi_where where = {};
    const __u32 *verdict;

    if (!origin || !find_where(id, origin, protocol, bpf_ktime_get_ns(), &where))
        return ABI_VERDICT_AGENT;
    verdict = bpf_map_lookup_elem(&policy_ports, &where);
    if (!verdict)
        return ABI_VERDICT_AGENT;
    return protocol == IPPROTO_TCP ? *verdict : *verdict & ~ABI_VERDICT_ROUTES;
}

/* ---- what follows ---- */

/* REFUSE, with another errno than EPERM where the kernel has the helper. */
static __always_inline void fail_with(int error)
{
    if (error != EPERM && bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_set_retval))
        bpf_set_retval(-error);
}

static __always_inline int error_of(__u32 verdict)
{
    return verdict & ABI_VERDICT_RESET ? ECONNREFUSED : EPERM;
}

/* Whether there may be one more record of this pod's, and how many were not. */
static __always_inline bool may_tell(void *by_pod, __u64 pod, __u64 *missed)
{
    struct told_of_pod first = {.since_ns = bpf_ktime_get_ns(), .told = 1};
    struct told_of_pod *told = bpf_map_lookup_elem(by_pod, &pod);

    *missed = 0;
    if (!told) {
        bpf_map_update_elem(by_pod, &pod, &first, BPF_ANY);
        return true;
    }
    if (first.since_ns - told->since_ns >= told_window_ns) {
        told->since_ns = first.since_ns;
        told->told = 0;
    }
    if (told->told >= TOLD_MAX) {
        __sync_fetch_and_add(&told->missed, 1);
        return false;
    }
    told->told++;
    *missed = told->missed;
    told->missed = 0;
    return true;
}

static __always_inline void tell_record(const struct abi_origin *origin, __u8 protocol,
                                        __u16 src_port, __u16 error, __u8 flags)
{
    struct abi_socket *record;
    __u64 missed;

    if (!may_tell(&policy_told, origin->pod, &missed))
        return;
    record = begin_record(ABI_SOCKET_DENIED, origin);
    if (!record)
        return;
    __builtin_memcpy(record->src, origin->bound, sizeof(record->src));
    record->src_port = src_port;
    record->protocol = protocol;
    record->flags = flags;
    record->error = error;
    record->tx = missed;
    record->rx = 0;
    bpf_ringbuf_submit(record, 0);
}

static __always_inline void tell_denied(const struct abi_origin *origin, __u8 protocol, __u16 error,
                                        __u8 flags)
{
    tell_record(origin, protocol, 0, error, flags);
}

static __always_inline __u8 told_protocol(__u32 protocol)
{
    if (protocol == IPPROTO_MPTCP)
        return ABI_MPTCP;
    return protocol < ABI_MPTCP ? protocol : ABI_OTHER_PROTOCOL;
}

/* A socket of a kind that cannot be judged. */
static __always_inline void tell_kind(const struct abi_origin *origin, __u32 type, __u32 protocol,
                                      __u32 verdict)
{
    bool allowed = verdict & ABI_VERDICT_TELL;

    tell_record(origin, told_protocol(protocol), type, allowed ? 0 : EPERM,
                ABI_SOCKET_KIND | (allowed ? ABI_SOCKET_ALLOWED : 0));
}

/* Steered to the agent, or not: what becomes of a connect that is judged so. `looked_into`: it was
 * to be steered. */
static __always_inline enum outcome permit(const struct request *request,
                                           const struct abi_origin *origin, __u32 verdict,
                                           enum outcome outcome, bool looked_into)
{
    bool unseen = !(verdict & ABI_VERDICT_DENY);

    if (outcome == STEERED || outcome == BYPASSED || outcome == REFUSED || !verdict)
        return outcome;
    if (outcome == NO_WAY) { /* by what we know, which may be late: so it is not tried */
        fail_with(ENETUNREACH);
        return REFUSED;
    }
    if (unseen && looked_into)
        return outcome; /* nobody is there, and this pod may then go unseen */
    tell_denied(origin, request->protocol, error_of(verdict), unseen ? ABI_SOCKET_UNSEEN : 0);
    fail_with(error_of(verdict));
    return REFUSED;
}

/* ---- datagrams ---- */

/* Who sent to a socket that a program of a pod bound: it is answered whatever rules say, for the
 * exchange is not the pod's. But not who the pod itself may be (sockets.bpf.c). */
struct heard {
    __u64 cookie;
    __u8 ip[16];
    __u16 port;
    __u16 pad[3];
};
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, struct heard);
    __type(value, __u8);
} policy_heard SEC(".maps") __weak;

__weak __noinline __u32 judge_datagram(__u32 rules, const struct abi_origin *origin)
{
    __u32 verdict = judge(rules, origin, IPPROTO_UDP);
    struct heard from = {};

    if (!verdict || !origin)
        return verdict;
    from.cookie = origin->cookie;
    from.port = origin->port;
    __builtin_memcpy(from.ip, origin->ip, sizeof(from.ip));
    return bpf_map_lookup_elem(&policy_heard, &from) ? 0 : verdict;
}
