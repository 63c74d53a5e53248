/* connect: turn a pod's connect() towards the listener in its own network namespace, and remember
 * where it was going.
 *
 * No source port exists yet, so the note rides on the socket; sockops.bpf.c files it under the
 * source address before the SYN leaves, and proxy/doors/origin.c takes it from there at accept. A
 * connection that is not looked into is noted, too: it is told as well. getpeername() tells the
 * noted destination, so the program sees the peer it asked for. Datagram sockets: exchange.h.
 *
 * These hooks run for IPPROTO_TCP also under MPTCP, on the first subflow: steered as well, but
 * getpeername() then asks the MPTCP socket, which has no note, and shows the listener. */
#include <linux/bpf.h>

#include "bpf/bypass.h"
#include "bpf/exchange.h"
#include "bpf/judge.h"
#include "bpf/keyed.h"
#include "bpf/socket.h"
#include "bpf/turn.h"

/* A socket may connect again; what it said before, by whichever keys, is over. */
static __always_inline void forget(struct bpf_sock *sk, __u64 cookie)
{
    bpf_sk_storage_delete(&speeches, sk);
    bpf_sk_storage_delete(&keys, sk);
    bpf_map_delete_elem(&keyed, &cookie);
}

static __always_inline bool note(struct bpf_sock *sk, const struct abi_origin *origin,
                                 enum outcome outcome, bool judged)
{
    struct connection *noted =
        bpf_sk_storage_get(&connections, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

    if (!noted)
        return false;
    if (noted->told)
        tell_connection(ABI_SOCKET_CLOSE, noted, bpf_sk_storage_get(&speeches, sk, NULL, 0), false);
    forget(sk, origin->cookie);
    __builtin_memset(noted, 0, sizeof(*noted));
    noted->origin = *origin;
    noted->steered = outcome == STEERED;
    noted->bypassed = outcome == BYPASSED;
    noted->judged = judged;
    return true;
}

/* A subflow of MPTCP's can be read no more than one that is TLS of the kernel's already. */
static __always_inline bool is_bypassed(struct bpf_sock *sk, const struct request *request,
                                        __u32 verdict, __u16 port)
{
    const struct sock *sock;

    if (port == DNS_PORT || !takes_kernel_route(request->pod, request->pod_id, verdict))
        return false;
    sock = (const void *)bpf_skc_to_tcp_sock(sk);
    return sock && !BPF_CORE_READ_BITFIELD_PROBED(sock, sk_kern_sock);
}

/* enum outcome: decides, notes it on the socket, and moves *to to where that shall connect instead.
 * For the verifier a function of its own, as find_place() is. */
__weak __noinline int begin_connection(struct bpf_sock_addr *ctx, __u32 family, struct place *to)
{
    struct abi_origin origin = {.family = family};
    struct request request = {.ctx = ctx, .protocol = IPPROTO_TCP};
    struct bpf_sock *sk = SOCK(ctx);
    enum outcome outcome = UNTOUCHED;
    __u32 said = 0, verdict = 0, kind;
    bool looked_into, here, judged;

    if (!to)
        return REFUSED;
    request.pod = pod_of_current(&origin.pod);
    if (!request.pod) {
        forget(sk, bpf_get_socket_cookie(ctx));
        bpf_sk_storage_delete(&connections, sk);
        return UNTOUCHED; /* not ours: nothing about it changes */
    }
    request.pod_id = origin.pod;
    kind = fill_origin(ctx, to, &origin);
    here = kind & KIND_HERE;
    looked_into = port_is_steered(request.pod, origin.pod, to->port) && !(kind & KIND_BEYOND);
    /* a name server of the host's own is looked into like any other */
    if (kind & KIND_LOOPBACK && !(request.pod->flags & ABI_POD_LOOPBACK) && to->port != DNS_PORT)
        looked_into = false;
    if (request.pod->rules)
        said = judge(request.pod->rules, &origin, IPPROTO_TCP);
    verdict = verdict_there(request.pod, here, said);
    judged = is_judged(request.pod, here) || verdict;
    request.bypasses = is_bypassed(sk, &request, said, to->port);
    if (!judged && request.pod->rules && to->port != DNS_PORT)
        looked_into = false;        /* nor is it judged by the agent */
    if (verdict & ABI_VERDICT_DENY) /* but to a name server: the agent says so as one */
        looked_into = looked_into && to->port == DNS_PORT;
    else if (verdict)
        looked_into = !(kind & KIND_BEYOND);
    if (looked_into)
        outcome = turn(&request, origin.netns_cookie, here, to);
    outcome = permit(&request, &origin, verdict, outcome, looked_into);
    if (outcome != REFUSED && !note(sk, &origin, outcome, judged) && outcome != UNTOUCHED)
        return REFUSED; /* out of memory: it would arrive without its origin, or go unheard */
    return outcome;
}

static __always_inline enum outcome begin(struct bpf_sock_addr *ctx, __u32 family, struct place *to)
{
    switch (WORD(ctx->protocol)) {
    case IPPROTO_TCP:
        return begin_connection(ctx, family, to);
    case IPPROTO_UDP:
        return begin_exchange(ctx, family, true, to);
    default:
        return UNTOUCHED;
    }
}

SEC("cgroup/connect4")
int steer_connect4(struct bpf_sock_addr *ctx)
{
    struct place to = {ip_of_v4(WORD(ctx->user_ip4)), bpf_ntohs(WORD(ctx->user_port))};
    enum outcome outcome = begin(ctx, AF_INET, &to);

    return answer4(ctx, outcome, &to);
}

SEC("cgroup/connect6")
int steer_connect6(struct bpf_sock_addr *ctx)
{
    struct place to = {IP_READ(ctx->user_ip6), bpf_ntohs(WORD(ctx->user_port))};
    enum outcome outcome = begin(ctx, AF_INET6, &to);

    return answer6(ctx, outcome, &to);
}

/* Where a steered socket meant to go; NULL: the peer is the peer. */
static __always_inline const struct abi_origin *peer_asked_for(struct bpf_sock_addr *ctx)
{
    const struct connection *connection = bpf_sk_storage_get(&connections, SOCK(ctx), NULL, 0);
    const struct datagrams *all = bpf_sk_storage_get(&datagrams, SOCK(ctx), NULL, 0);
    const struct peer *peer = all ? &all->peers[CONNECTED_PEER] : NULL;

    if (connection)
        return connection->steered ? &connection->origin : NULL;
    if (peer && peer->flags & PEER_CONNECTED && peer->flags & PEER_STEERED)
        return &peer->origin;
    return NULL;
}

SEC("cgroup/getpeername4")
int tell_peer4(struct bpf_sock_addr *ctx)
{
    return show4(ctx, peer_asked_for(ctx));
}

SEC("cgroup/getpeername6")
int tell_peer6(struct bpf_sock_addr *ctx)
{
    return show6(ctx, peer_asked_for(ctx));
}

/* Rules are for what can be judged by address and port. */
enum { SOCK_STREAM = 1, SOCK_DGRAM = 2 }; /* <sys/socket.h> needs a libc for the target */

static __always_inline bool has_ports(__u32 type, __u32 protocol)
{
    return (type == SOCK_STREAM && protocol == IPPROTO_TCP) ||
           (type == SOCK_DGRAM && protocol == IPPROTO_UDP);
}

/* Raw sockets, pings, SCTP, MPTCP and the like. A program that is refused MPTCP goes on with TCP,
 * as it does where the kernel has none. */
SEC("cgroup/sock_create")
int refuse_kind(struct bpf_sock *ctx)
{
    __u32 type = WORD(ctx->type), protocol = WORD(ctx->protocol), verdict;
    struct abi_origin origin = {};
    const struct abi_pod *pod;

    if (has_ports(type, protocol))
        return ALLOW;
    pod = pod_of_current(&origin.pod);
    if (!pod || !pod->rules)
        return ALLOW;
    fill_asker(&origin);
    origin.family = WORD(ctx->family);
    origin.cookie = bpf_get_socket_cookie(ctx);
    origin.netns_cookie = bpf_get_netns_cookie(ctx);
    verdict = judge(pod->rules, &origin, ABI_ANY_PROTOCOL);
    if (!verdict)
        return ALLOW;
    tell_kind(&origin, type, protocol, verdict);
    if (verdict & ABI_VERDICT_TELL)
        return ALLOW;
    fail_with(protocol == IPPROTO_MPTCP ? EPROTONOSUPPORT : EPERM);
    return REFUSE;
}

/* The listeners' ports are the agent's even while the agent is gone: else a pod could listen there
 * and be taken for it. */
static __always_inline bool takes_our_port(struct bpf_sock_addr *ctx)
{
    __u32 protocol = WORD(ctx->protocol);
    __u16 port = bpf_ntohs(WORD(ctx->user_port));
    __u64 cookie, pod;
    const struct abi_net *net;

    if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) || !pod_of_current(&pod))
        return false;
    cookie = bpf_get_netns_cookie(ctx);
    net = bpf_map_lookup_elem(&nets, &cookie);
    if (!net)
        return false;
    if (protocol == IPPROTO_TCP)
        return net->port == port;
    for (int i = 0; i < ABI_PEERS; i++)
        if (net->datagram_ports[i] == port)
            return true;
    return false;
}

/* Who sends to a datagram socket that a program bound may be answered: see judge.h. */
static __always_inline void note_bound(struct bpf_sock_addr *ctx)
{
    struct datagrams *all;
    __u64 pod;

    if (WORD(ctx->protocol) != IPPROTO_UDP || !WORD(ctx->user_port) || !pod_of_current(&pod))
        return;
    all = bpf_sk_storage_get(&datagrams, SOCK(ctx), NULL, BPF_SK_STORAGE_GET_F_CREATE);
    if (!all)
        return;
    all->serves = true;
    all->asker.netns_cookie = bpf_get_netns_cookie(ctx);
}

static __always_inline int guard_bind(struct bpf_sock_addr *ctx)
{
    if (takes_our_port(ctx))
        return REFUSE;
    note_bound(ctx);
    return ALLOW;
}

SEC("cgroup/bind4")
int guard_bind4(struct bpf_sock_addr *ctx)
{
    return guard_bind(ctx);
}

SEC("cgroup/bind6")
int guard_bind6(struct bpf_sock_addr *ctx)
{
    return guard_bind(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
