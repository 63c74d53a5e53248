/* turn: which of a pod's destinations are looked into, and where in its network namespace our
 * listener for them is: what the programs for connections and for datagrams decide alike.
 *
 * What must fail keeps failing as it did: a family without routes, a port of this very host where
 * nobody listens, broadcast. What may not pass unseen while the agent is gone fails with EPERM. */
#pragma once

#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_core_read.h>

#include "bpf/here.h"
#include "bpf/kernel.h"
#include "bpf/pod.h"
#include "bpf/steer.h"

enum outcome {
    UNTOUCHED, /* as if we were not there */
    REFUSED,   /* EPERM, or as fail_with() says */
    STEERED,
    BYPASSED, /* as if, but what it says is read: speech.h */
    NO_WAY,   /* ENETUNREACH, if nothing is done about it */
};

enum { DNS_PORT = 53, UNKNOWN_NS = 10000000 };

struct place {
    struct ip ip;
    __u16 port; /* host order */
};

/* What is asked for: by whom, where to. */
struct request {
    struct bpf_sock_addr *ctx;
    const struct abi_pod *pod;
    __u64 pod_id;
    __u32 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
    __u32 peer;     /* UDP: which of the socket's destinations it is */
    bool bypasses;  /* TCP: it takes the kernel route: where nobody is there to hear of it, it is
                       treated like one that is turned */
};

enum who { NOBODY, SOMEBODY, AN_AGENT };

/* enum who: in the socket's own namespace has this address and port open. For the verifier a
 * function of its own, as find_place() is. */
__weak __noinline int who_listens(struct bpf_sock_addr *ctx, const struct place *at, bool tcp)
{
    struct bpf_sock_tuple tuple = {};
    struct bpf_sock *sk;
    enum who who;

    if (!at)
        return NOBODY;
    if (ip_is_v4(&at->ip)) {
        tuple.ipv4.daddr = at->ip.word[3];
        tuple.ipv4.dport = bpf_htons(at->port);
        sk = tcp ? bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0)
                 : bpf_sk_lookup_udp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
    } else {
        __builtin_memcpy(tuple.ipv6.daddr, at->ip.word, sizeof(tuple.ipv6.daddr));
        tuple.ipv6.dport = bpf_htons(at->port);
        sk = tcp ? bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0)
                 : bpf_sk_lookup_udp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
    }
    if (!sk)
        return NOBODY;
    who = WORD(sk->priority) == ABI_PRIORITY ? AN_AGENT : SOMEBODY;
    bpf_sk_release(sk);
    return who;
}

/* Name servers are always looked into; else what the pod's settings say of TCP. */
static __always_inline bool port_is_steered(const struct abi_pod *pod, __u64 id, __u16 port)
{
    return port == DNS_PORT || port_is_looked_into(pod, id, port);
}

/* One address of one link (link-local: the scope would be lost) or of many (broadcast, multicast):
 * there is nobody there whom a proxy could reach as well. */
static __always_inline bool is_beyond_us(const struct ip *ip)
{
    return ip_is_of_many(ip) || bpf_ntohl(ip->word[0]) >> 22 == 0xfe80 >> 6;
}

/* The local address the program bound, or "any". */
static __always_inline struct ip bound_source(struct bpf_sock *sk)
{
    struct ip v4 = ip_of_v4(WORD(sk->src_ip4));
    struct ip ip = IP_READ(sk->src_ip6);

    return WORD(sk->family) == AF_INET ? v4 : ip;
}

/* A destination of 0.0.0.0 or :: means this host, by the kernel's choice: the bound address of an
 * IPv4 socket, else loopback. Written out, so that getpeername tells what it told before. */
static __always_inline void name_this_host(struct ip *ip, const struct ip *bound)
{
    if (!ip_is_v4(ip) && !ip_is_v4(bound))
        ip->word[3] = bpf_htonl(1);
    else if (ip_is_v4(ip) && ip_is_v4(bound) && !ip_is_any(bound))
        *ip = *bound;
    else
        *ip = ip_of_v4(bpf_htonl(0x7f000001));
}

static __always_inline void fill_asker(struct abi_origin *origin)
{
    struct task_struct *task = (void *)bpf_get_current_task();

    origin->cgroup = bpf_get_current_cgroup_id();
    origin->pid = bpf_get_current_pid_tgid() >> 32;
    origin->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
    origin->time_ns = bpf_ktime_get_ns();
}

/* What is to be known of an address. */
enum kind {
    KIND_LOOPBACK = 1 << 0, /* this host, as loopback or left to the kernel */
    KIND_BEYOND = 1 << 1,   /* is_beyond_us() */
    KIND_HERE = 1 << 2,     /* this very host, by whichever address */
};

/* enum kind, of where it goes; and who asks for it: all of an origin but the pod and the family.
 * For the verifier a function of its own, as find_place() is: it follows all that this can come to
 * once, and takes a number that it knows nothing of in its place. */
__weak __noinline __u32 fill_origin(struct bpf_sock_addr *ctx, struct place *to,
                                    struct abi_origin *origin)
{
    struct ip bound = bound_source(SOCK(ctx));
    __u32 kind = 0;

    if (!to || !origin)
        return 0;
    if (is_beyond_us(&to->ip))
        kind |= KIND_BEYOND;
    if (ip_is_any(&to->ip) || ip_is_loopback(&to->ip))
        kind |= KIND_LOOPBACK | KIND_HERE;
    if (ip_is_any(&to->ip))
        name_this_host(&to->ip, &bound);
    ip_store(origin->ip, &to->ip);
    if (!ip_is_any(&bound))
        ip_store(origin->bound, &bound);
    origin->port = to->port;
    origin->cookie = bpf_get_socket_cookie(ctx);
    origin->netns_cookie = bpf_get_netns_cookie(ctx);
    fill_asker(origin);
    if (!(kind & KIND_HERE) && is_own(origin->netns_cookie, &to->ip))
        kind |= KIND_HERE;
    return kind;
}

/* Nobody would see this: each pod's own setting says whether it may be. */
static __always_inline enum outcome agent_down(const struct abi_pod *pod)
{
    return pod->flags & ABI_POD_OPEN ? UNTOUCHED : REFUSED;
}

/* Not more often than the agent can look for it. */
static __always_inline bool told_lately(__u64 netns_cookie)
{
    const __u64 *before = bpf_map_lookup_elem(&unknown_told, &netns_cookie);
    __u64 now = bpf_ktime_get_ns();

    if (before && now - *before < UNKNOWN_NS)
        return true;
    bpf_map_update_elem(&unknown_told, &netns_cookie, &now, BPF_ANY);
    return false;
}

static __always_inline void tell_entered(__u64 pod, __u64 netns_cookie)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct abi_entered *record;

    if (told_lately(netns_cookie))
        return;
    record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
    if (!record) {
        count_lost();
        return;
    }
    record->kind = ABI_NET_UNKNOWN;
    record->pid = bpf_get_current_pid_tgid() >> 32;
    record->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
    record->pod = pod;
    record->netns_cookie = netns_cookie;
    bpf_ringbuf_submit(record, 0);
}

static __always_inline __u16 datagram_port(const struct abi_net *net, __u64 peer)
{
    asm volatile("%0 &= %1" : "+r"(peer) : "i"(ABI_PEERS - 1)); /* for the verifier */
    return net->datagram_ports[peer];
}

/* Decides about a destination that is to be looked into, and moves *to to our listener. `here`: it
 * is this very host. */
static __always_inline enum outcome turn(const struct request *request, __u64 netns_cookie,
                                         bool here, struct place *to)
{
    const struct abi_net *net = bpf_map_lookup_elem(&nets, &netns_cookie);
    bool tcp = request->protocol == IPPROTO_TCP;
    struct place listener;

    if (!net) { /* a namespace nobody listens in, or not yet: from the next connect on */
        tell_entered(request->pod_id, netns_cookie);
        return agent_down(request->pod);
    }
    listener.port = tcp ? net->port : datagram_port(net, request->peer);
    if (here)
        listener.ip = to->ip; /* a local address stays, so the program's own one does, too */
    else
        listener.ip = ip_load(ip_is_v4(&to->ip) ? net->source4 : net->source6);
    /* before all that trusts net and own: they stop being true when the agent dies */
    if (who_listens(request->ctx, &listener, tcp) == NOBODY)
        return agent_down(request->pod);
    /* ECONNREFUSED; or an agent: ours, which knows no origin and closes, or one whose own programs
     * turned this connection before us (an `exec` inside ours: the deeper cgroup's come first) and
     * whose connection onwards comes to us again */
    if (here && who_listens(request->ctx, to, tcp) != SOMEBODY)
        return UNTOUCHED;
    if (request->bypasses)
        return BYPASSED;
    if (!here && !(net->flags & (ip_is_v4(&to->ip) ? ABI_NET_ROUTE4 : ABI_NET_ROUTE6)))
        return NO_WAY; /* ENETUNREACH, on which dual-stack programs go on to the other */
    *to = listener;
    return STEERED;
}

/* What a program answers, having put where its socket shall go instead into the context. */
static __always_inline int answer4(struct bpf_sock_addr *ctx, enum outcome outcome,
                                   const struct place *to)
{
    if (outcome == REFUSED)
        return REFUSE;
    if (outcome == STEERED) {
        WORD(ctx->user_ip4) = to->ip.word[3];
        WORD(ctx->user_port) = bpf_htons(to->port);
    }
    return ALLOW;
}

static __always_inline int answer6(struct bpf_sock_addr *ctx, enum outcome outcome,
                                   const struct place *to)
{
    if (outcome == REFUSED)
        return REFUSE;
    if (outcome == STEERED) {
        IP_WRITE(ctx->user_ip6, to->ip);
        WORD(ctx->user_port) = bpf_htons(to->port);
    }
    return ALLOW;
}

/* The other end is shown as what was asked for, if it was; an IPv4-mapped one as such. */
static __always_inline int show4(struct bpf_sock_addr *ctx, const struct abi_origin *asked)
{
    if (!asked)
        return ALLOW;
    WORD(ctx->user_ip4) = ip_load(asked->ip).word[3];
    WORD(ctx->user_port) = bpf_htons(asked->port);
    return ALLOW;
}

static __always_inline int show6(struct bpf_sock_addr *ctx, const struct abi_origin *asked)
{
    struct ip ip;

    if (!asked)
        return ALLOW;
    ip = ip_load(asked->ip);
    IP_WRITE(ctx->user_ip6, ip);
    WORD(ctx->user_port) = bpf_htons(asked->port);
    return ALLOW;
}
