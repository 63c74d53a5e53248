/* exchange: a datagram socket is given a destination, by connect() or by a datagram that names one.
 *
 * A socket is followed to ABI_PEERS destinations at a time: a place each, with what was asked for,
 * where its datagrams really go, and counts. Questions to name servers go to our listener of that
 * very place, so a socket may ask several servers at once and each answer comes from its own. When
 * all places are taken the one that had its turn longest ago is told as closed and given away. A
 * socket that has had very many destinations is a server's: then they share one place and are
 * counted together, or each of its clients would be told. */
#pragma once

#include "bpf/socket.h"
#include "bpf/turn.h"

enum {
    CONNECTED_PEER = 0,        /* the place of connect()'s destination */
    REST_PEER = ABI_PEERS - 1, /* the place that very many share */
    MANY = 64,                 /* destinations that made way before that begins */
};

static __always_inline __u32 place_of(const struct datagrams *all, const struct place *to,
                                      bool connects, bool to_be_steered)
{
    if (connects)
        return CONNECTED_PEER;
    for (__u32 i = 0; i < ABI_PEERS; i++) {
        const struct peer *peer = &all->peers[i];
        struct ip ip = ip_load(peer->origin.ip);

        if (peer->flags & PEER_USED && peer->origin.port == to->port && ip_equal(&ip, &to->ip))
            return i;
    }
    for (__u32 i = 0; i < ABI_PEERS; i++)
        if (!(all->peers[i].flags & PEER_USED))
            return i;
    if (!to_be_steered && all->turned_out >= MANY)
        return REST_PEER;
    return all->turned_out % REST_PEER; /* the others, in turn */
}

/* The compiler knows that the number is in bounds and would drop the mask; the verifier does not.
 */
static __always_inline struct peer *peer_at(struct datagrams *all, __u64 number)
{
    asm volatile("%0 &= %1" : "+r"(number) : "i"(ABI_PEERS - 1));
    return &all->peers[number];
}

static __always_inline bool is_for(const struct peer *peer, const struct abi_origin *origin)
{
    struct ip noted = ip_load(peer->origin.ip), asked = ip_load(origin->ip);

    return peer->flags & PEER_USED && peer->origin.port == origin->port && ip_equal(&noted, &asked);
}

static __always_inline void take_place(struct datagrams *all, struct peer *peer,
                                       const struct abi_origin *origin, const struct place *wire,
                                       __u32 flags)
{
    if (peer->flags & PEER_TOLD)
        tell_exchange(ABI_SOCKET_CLOSE, peer);
    if (peer->flags & PEER_USED)
        all->turned_out++;
    peer->flags = 0; /* while it changes, no datagram is counted for it */
    peer->origin = *origin;
    ip_store(peer->wire, &wire->ip);
    peer->wire_port = wire->port;
    peer->tx = peer->rx = 0;
    peer->flags = flags;
}

static __always_inline void share_place(struct datagrams *all, const struct abi_origin *origin)
{
    static const struct place everywhere;
    struct peer *rest = &all->peers[REST_PEER];
    struct abi_origin of_all = *origin;

    if (rest->flags & PEER_REST)
        return;
    __builtin_memset(of_all.ip, 0, sizeof(of_all.ip));
    of_all.port = 0;
    take_place(all, rest, &of_all, &everywhere, PEER_USED | PEER_REST);
}

/* QUIC of a pod whose TLS is looked into is refused, so that the program falls back to TCP: at its
 * first datagram (sockets.bpf.c), never at connect. */
static __always_inline bool is_refused(const struct abi_pod *pod, __u64 id, const struct place *to,
                                       bool loopback)
{
    return to->port == HTTPS_PORT && port_is_steered(pod, id, HTTPS_PORT) &&
           (!loopback || pod->flags & ABI_POD_LOOPBACK);
}

/* Decides, notes it on the socket, and moves *to to where the datagrams shall go instead. */
static __always_inline enum outcome begin_exchange(struct bpf_sock_addr *ctx, __u16 family,
                                                   bool connects, struct place *to)
{
    struct abi_origin origin = {.family = family};
    struct request request = {.ctx = ctx, .protocol = IPPROTO_UDP};
    struct bpf_sock *sk = SOCK(ctx);
    enum outcome outcome = UNTOUCHED;
    struct datagrams *all;
    struct peer *peer;
    struct ip bound;
    bool loopback, asks;
    __u32 flags = PEER_USED | (connects ? PEER_CONNECTED : 0);

    request.pod = pod_of_current(&origin.pod);
    if (!request.pod)
        return UNTOUCHED; /* not ours: nothing about it changes */
    asks = to->port == DNS_PORT && !is_beyond_us(&to->ip);
    all = bpf_sk_storage_get(&datagrams, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
    if (!all) /* out of memory: a question would arrive without its asker */
        return asks ? agent_down(request.pod) : UNTOUCHED;
    bound = bound_source(sk);
    loopback = ip_is_any(&to->ip) || ip_is_loopback(&to->ip);
    if (ip_is_any(&to->ip))
        name_this_host(&to->ip, &bound);
    fill_origin(ctx, to, &bound, &origin);
    request.peer = place_of(all, to, connects, asks);
    peer = peer_at(all, request.peer);
    if (!connects && is_for(peer, &origin))
        flags |= peer->flags & PEER_CONNECTED; /* it names the destination it is connected to */
    if (asks)
        outcome = turn(&request, origin.netns_cookie, loopback, to);
    if (outcome == REFUSED)
        return REFUSED;
    if (outcome == STEERED)
        flags |= PEER_STEERED;
    else if (is_refused(request.pod, origin.pod, to, loopback))
        flags |= PEER_REFUSED;
    if (!connects && request.peer == REST_PEER && !asks && all->turned_out >= MANY)
        share_place(all, &origin);
    else if (!is_for(peer, &origin) || (peer->flags & ~PEER_TOLD) != flags)
        take_place(all, peer, &origin, to, flags);
    return outcome;
}
