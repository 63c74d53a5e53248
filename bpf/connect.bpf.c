/* connect: turn a pod's connect() towards the listener in its own network namespace, and remember
 * where it was going.
 *
 * No source port exists yet, so the note rides on the socket (map `asked`); sockops.bpf.c files it
 * under the source address before the SYN leaves, and proxy/origin.c takes it from there at accept.
 * getpeername() tells the noted destination, so the program sees the peer it asked for.
 *
 * What must fail keeps failing as it did: a family without routes, a port of this very host where
 * nobody listens, broadcast. What may not pass unseen while the agent is gone fails with EPERM.
 *
 * These hooks run for IPPROTO_TCP also under MPTCP, on the first subflow: steered as well, but
 * getpeername() then asks the MPTCP socket, which has no note, and shows the listener. */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_core_read.h>

#include "bpf/kernel.h"
#include "bpf/pod.h"
#include "bpf/steer.h"

enum outcome {
    UNTOUCHED, /* as if we were not there */
    REFUSED,   /* EPERM */
    STEERED,
};

struct place {
    struct ip ip;
    __u16 port; /* host order */
};

/* Somebody in the socket's own namespace has this address and port open for connections. */
static __always_inline bool somebody_listens(struct bpf_sock_addr *ctx, const struct place *at)
{
    struct bpf_sock_tuple tuple = {};
    struct bpf_sock *sk;

    if (ip_is_v4(&at->ip)) {
        tuple.ipv4.daddr = at->ip.word[3];
        tuple.ipv4.dport = bpf_htons(at->port);
        sk = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
    } else {
        __builtin_memcpy(tuple.ipv6.daddr, at->ip.word, sizeof(tuple.ipv6.daddr));
        tuple.ipv6.dport = bpf_htons(at->port);
        sk = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
    }
    if (!sk)
        return false;
    bpf_sk_release(sk);
    return true;
}

static __always_inline bool port_is_steered(const struct abi_pod *pod, __u64 id, __u16 port)
{
    struct abi_port key = {.pod = id, .port = port};

    return pod->flags & ABI_POD_ALL_PORTS || bpf_map_lookup_elem(&ports, &key);
}

/* One address of one link (link-local: the scope would be lost) or of many (broadcast, multicast):
 * TCP reaches nobody there whom a proxy could reach as well. */
static __always_inline bool is_beyond_us(const struct ip *ip)
{
    __u32 first = bpf_ntohl(ip->word[0]), v4 = bpf_ntohl(ip->word[3]);

    if (ip_is_v4(ip))
        return v4 >> 28 == 0xe || v4 == 0xffffffff;
    return first >> 24 == 0xff || (first >> 22) == 0xfe80 >> 6;
}

static __always_inline bool is_own(__u64 netns_cookie, const struct ip *ip)
{
    struct abi_own key = {.netns_cookie = netns_cookie};

    ip_store(key.ip, ip);
    return bpf_map_lookup_elem(&own, &key);
}

/* The local address the program bound, or "any". */
static __always_inline struct ip bound_source(struct bpf_sock *sk)
{
    struct ip v4 = ip_of_v4(WORD(sk->src_ip4));
    struct ip ip = IP_READ(sk->src_ip6);

    return WORD(sk->family) == AF_INET ? v4 : ip;
}

/* A socket may connect twice, and the second time not to a steered place. */
static __always_inline enum outcome untouched(struct bpf_sock *sk)
{
    bpf_sk_storage_delete(&asked, sk);
    return UNTOUCHED;
}

/* Nobody would see this connection: each pod's own setting says whether it may be made. */
static __always_inline enum outcome agent_down(struct bpf_sock *sk, const struct abi_pod *pod)
{
    return pod->flags & ABI_POD_OPEN ? untouched(sk) : REFUSED;
}

/* connect() to 0.0.0.0 or :: means this host, by the kernel's choice: the bound address of an IPv4
 * socket, else loopback. Written out, so that getpeername tells what it told before. */
static __always_inline void name_this_host(struct ip *ip, const struct ip *bound)
{
    if (!ip_is_v4(ip) && !ip_is_v4(bound))
        ip->word[3] = bpf_htonl(1);
    else if (ip_is_v4(ip) && ip_is_v4(bound) && !ip_is_any(bound))
        *ip = *bound;
    else
        *ip = ip_of_v4(bpf_htonl(0x7f000001));
}

static __always_inline bool note(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
                                 struct abi_origin *origin)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct abi_origin *noted;

    origin->cookie = bpf_get_socket_cookie(ctx);
    origin->cgroup = bpf_get_current_cgroup_id();
    origin->pid = bpf_get_current_pid_tgid() >> 32;
    origin->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
    origin->time_ns = bpf_ktime_get_ns();
    noted = bpf_sk_storage_get(&asked, sk, origin, BPF_SK_STORAGE_GET_F_CREATE);
    if (!noted)
        return false;
    *noted = *origin; /* one from an earlier connect was not replaced by _F_CREATE */
    return true;
}

/* Decides, and moves *to to where the socket shall connect instead. */
static __always_inline enum outcome steer(struct bpf_sock_addr *ctx, __u16 family, struct place *to)
{
    struct abi_origin origin = {.family = family};
    const struct abi_pod *pod = pod_of_current(&origin.pod);
    struct bpf_sock *sk = SOCK(ctx);
    const struct abi_net *net;
    struct place listener;
    struct ip bound;
    bool any, loopback, here;

    if (!pod || WORD(ctx->protocol) != IPPROTO_TCP)
        return untouched(sk); /* not ours: nothing about it changes */
    if (!port_is_steered(pod, origin.pod, to->port) || is_beyond_us(&to->ip))
        return untouched(sk); /* the pod's settings leave it alone */
    any = ip_is_any(&to->ip);
    bound = bound_source(sk);
    if (any)
        name_this_host(&to->ip, &bound);
    loopback = any || ip_is_loopback(&to->ip);
    if (loopback && !(pod->flags & ABI_POD_LOOPBACK))
        return untouched(sk);

    origin.netns_cookie = bpf_get_netns_cookie(ctx);
    net = bpf_map_lookup_elem(&nets, &origin.netns_cookie);
    if (!net)
        return agent_down(sk, pod); /* a namespace nobody listens in, or not yet */
    here = loopback || is_own(origin.netns_cookie, &to->ip);
    listener.port = net->port;
    if (here)
        listener.ip = to->ip; /* a local address stays, so the program's own one does, too */
    else
        listener.ip = ip_load(ip_is_v4(&to->ip) ? net->source4 : net->source6);
    /* before all that trusts net and own: they stop being true when the agent dies */
    if (!somebody_listens(ctx, &listener))
        return agent_down(sk, pod);
    if (here && (to->port == net->port || !somebody_listens(ctx, to)))
        return untouched(sk); /* ECONNREFUSED; or our listener, which knows no origin and closes */
    if (!here && !(net->flags & (ip_is_v4(&to->ip) ? ABI_NET_ROUTE4 : ABI_NET_ROUTE6)))
        return untouched(sk); /* ENETUNREACH, on which dual-stack programs go on to the other */

    ip_store(origin.ip, &to->ip);
    if (!ip_is_any(&bound))
        ip_store(origin.bound, &bound);
    origin.port = to->port;
    if (!note(ctx, sk, &origin))
        return agent_down(sk, pod); /* out of memory: it would arrive without its origin */
    *to = listener;
    return STEERED;
}

SEC("cgroup/connect4")
int steer_connect4(struct bpf_sock_addr *ctx)
{
    struct place to = {ip_of_v4(WORD(ctx->user_ip4)), bpf_ntohs(WORD(ctx->user_port))};
    enum outcome outcome = steer(ctx, AF_INET, &to);

    if (outcome == REFUSED)
        return REFUSE;
    if (outcome == STEERED) {
        WORD(ctx->user_ip4) = to.ip.word[3];
        WORD(ctx->user_port) = bpf_htons(to.port);
    }
    return ALLOW;
}

SEC("cgroup/connect6")
int steer_connect6(struct bpf_sock_addr *ctx)
{
    struct place to = {IP_READ(ctx->user_ip6), bpf_ntohs(WORD(ctx->user_port))};
    enum outcome outcome = steer(ctx, AF_INET6, &to);

    if (outcome == REFUSED)
        return REFUSE;
    if (outcome == STEERED) {
        IP_WRITE(ctx->user_ip6, to.ip);
        WORD(ctx->user_port) = bpf_htons(to.port);
    }
    return ALLOW;
}

SEC("cgroup/getpeername4")
int tell_peer4(struct bpf_sock_addr *ctx)
{
    const struct abi_origin *origin = bpf_sk_storage_get(&asked, SOCK(ctx), NULL, 0);

    if (!origin)
        return ALLOW; /* never steered: the peer is the peer */
    WORD(ctx->user_ip4) = ip_load(origin->ip).word[3];
    WORD(ctx->user_port) = bpf_htons(origin->port);
    return ALLOW;
}

SEC("cgroup/getpeername6")
int tell_peer6(struct bpf_sock_addr *ctx)
{
    const struct abi_origin *origin = bpf_sk_storage_get(&asked, SOCK(ctx), NULL, 0);
    struct ip ip;

    if (!origin)
        return ALLOW;
    ip = ip_load(origin->ip);
    IP_WRITE(ctx->user_ip6, ip);
    WORD(ctx->user_port) = bpf_htons(origin->port);
    return ALLOW;
}

/* The listener's port is the agent's even while the agent is gone: else a pod could listen there
 * and be taken for it. */
static __always_inline bool takes_our_port(struct bpf_sock_addr *ctx)
{
    __u64 cookie, pod;
    const struct abi_net *net;

    if (WORD(ctx->protocol) != IPPROTO_TCP || !pod_of_current(&pod))
        return false;
    cookie = bpf_get_netns_cookie(ctx);
    net = bpf_map_lookup_elem(&nets, &cookie);
    return net && net->port == bpf_ntohs(WORD(ctx->user_port));
}

SEC("cgroup/bind4")
int guard_bind4(struct bpf_sock_addr *ctx)
{
    return takes_our_port(ctx) ? REFUSE : ALLOW;
}

SEC("cgroup/bind6")
int guard_bind6(struct bpf_sock_addr *ctx)
{
    return takes_our_port(ctx) ? REFUSE : ALLOW;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
