/* exchange: a datagram socket is given a destination, by connect() or by a datagram that names one.
 *
 * A socket is followed to ABI_PEERS destinations at a time: a place each, with what was asked for,
 * where its datagrams really go, and counts. Questions to name servers go to our listener of that
 * very place, so a socket may ask several servers at once and each answer comes from its own. When
 * all places are taken the one that had its turn longest ago is told as closed and given away, but
 * not the one the socket is connected to. A socket that has had very many destinations is a
 * server's: then they share one place and are counted together, or each of its clients would be
 * told. Those that are more than counted, name servers and QUIC, never share.
 *
 * Rules refuse a datagram that names its destination here; what a connected socket sends, where it
 * leaves (sockets.bpf.c): connect() alone sends nothing, and the C library connects datagram
 * sockets just to see which address the kernel would choose. */
#pragma once

#include "bpf/judge.h"
#include "bpf/socket.h"
#include "bpf/turn.h"

enum {
    CONNECTED_PEER = 0,        /* the place of connect()'s destination */
    REST_PEER = ABI_PEERS - 1, /* the place that very many share */
    MANY = 64,                 /* destinations that made way before that begins */
};

static __always_inline bool is_at(const struct peer *peer, const struct place *place)
{
    struct ip ip = ip_load(peer->origin.ip);

    return peer->flags & PEER_USED && peer->origin.port == place->port && ip_equal(&ip, &place->ip);
}

/* Its place, ABI_PEERS when it has none. A function of its own, which the verifier follows once
 * instead of for everything that led here; it also wants to see that there are arguments. */
__weak __noinline __u32 find_place(const struct datagrams *all, const struct place *to)
{
    __u32 i = 0;

    if (!all || !to)
        return ABI_PEERS;
    while (i < ABI_PEERS && !is_at(&all->peers[i], to))
        i++;
    return i;
}

__weak __noinline __u32 place_of(const struct datagrams *all, const struct place *to,
                                 bool may_share)
{
    __u32 place = find_place(all, to);

    if (!all || place < ABI_PEERS)
        return place;
    for (__u32 i = 0; i < ABI_PEERS; i++)
        if (!(all->peers[i].flags & PEER_USED))
            return i;
    if (may_share && all->turned_out >= MANY)
        return REST_PEER;
    if (all->peers[CONNECTED_PEER].flags & PEER_CONNECTED) /* the others, in turn */
        return CONNECTED_PEER + 1 + all->turned_out % (REST_PEER - 1);
    return all->turned_out % REST_PEER;
}

/* The compiler knows that the number is in bounds and would drop the mask; the verifier does not.
 */
static __always_inline struct peer *peer_at(struct datagrams *all, __u64 number)
{
    asm volatile("%0 &= %1" : "+r"(number) : "i"(ABI_PEERS - 1));
    return &all->peers[number];
}

static __always_inline void make_way(struct datagrams *all, struct peer *peer)
{
    if (peer->flags & PEER_TOLD)
        tell_exchange(ABI_SOCKET_CLOSE, peer);
    if (peer->flags & PEER_USED)
        all->turned_out++;
    peer->flags = 0; /* while it changes, no datagram is counted for it */
}

static __always_inline void take_place(struct datagrams *all, struct peer *peer,
                                       const struct abi_origin *origin, const struct place *wire,
                                       __u32 flags)
{
    make_way(all, peer);
    peer->origin = *origin;
    ip_store(peer->wire, &wire->ip);
    peer->wire_port = wire->port;
    peer->tx = peer->rx = 0;
    peer->looked_ns = peer->judged_ns = 0;
    peer->judgement = peer->waiting = 0;
    peer->flags = flags;
}

/* A socket is connected to where it sent datagrams before: one destination must not be counted in
 * two places. It moves with its counts, unless the place is our listener's, too: then it ends. */
static __always_inline void bring_to_connected(struct datagrams *all, const struct place *asked,
                                               __u32 flags)
{
    struct peer *connected = &all->peers[CONNECTED_PEER], *peer;
    __u32 number = find_place(all, asked), known;

    if (number == CONNECTED_PEER || number >= ABI_PEERS)
        return;
    peer = peer_at(all, number);
    known = peer->flags;
    if (flags & PEER_STEERED || (known ^ flags) & ~PEER_PASSING) {
        make_way(all, peer);
        return;
    }
    make_way(all, connected);
    peer->flags = 0;
    *connected = *peer;
    connected->flags = known;
}

/* Keeps the place it has, with its counts, or begins anew there. For the verifier as find_place. */
__weak __noinline int settle(struct datagrams *all, __u32 number, const struct abi_origin *origin,
                             const struct place *wire, __u32 flags)
{
    struct place asked;
    struct peer *peer;

    if (!all || !origin || !wire)
        return 0;
    asked = (struct place){ip_load(origin->ip), origin->port};
    if (flags & PEER_CONNECTED)
        bring_to_connected(all, &asked, flags);
    peer = peer_at(all, number);
    if (!is_at(peer, &asked) || (peer->flags ^ flags) & ~PEER_PASSING)
        take_place(all, peer, origin, wire, flags);
    else if (flags & ~peer->flags)
        peer->flags |= flags;
    return 0;
}

static __always_inline void share_place(struct datagrams *all, struct abi_origin *origin)
{
    struct place everywhere = {};

    __builtin_memset(origin->ip, 0, sizeof(origin->ip));
    origin->port = 0;
    settle(all, REST_PEER, origin, &everywhere, PEER_USED | PEER_REST);
}

/* A datagram that names its destination; of one that does not, sockets.bpf.c. Told once for as long
 * as the destination has its place. */
static __always_inline enum outcome deny_datagram(struct peer *peer,
                                                  const struct abi_origin *origin, __u32 verdict,
                                                  enum outcome outcome)
{
    if (outcome == NO_WAY) {
        fail_with(ENETUNREACH);
        return REFUSED;
    }
    if (!peer || !(peer->flags & PEER_SAID))
        tell_denied(origin, IPPROTO_UDP, error_of(verdict),
                    verdict & ABI_VERDICT_DENY ? 0 : ABI_SOCKET_UNSEEN);
    if (peer)
        peer->flags |= PEER_SAID;
    fail_with(error_of(verdict));
    return REFUSED;
}

static __always_inline __u32 quic_of(const struct abi_pod *pod, __u64 id)
{
    if (!port_is_steered(pod, id, QUIC_PORT))
        return 0;
    return QUIC_REFUSED | (pod->flags & ABI_POD_LOOPBACK ? QUIC_REFUSED_HERE : 0);
}

/* enum outcome: decides, notes it on the socket, and moves *to to where the datagrams shall go
 * instead. For the verifier as find_place. */
__weak __noinline int begin_exchange(struct bpf_sock_addr *ctx, __u32 family, bool connects,
                                     struct place *to)
{
    struct abi_origin origin = {.family = family};
    struct request request = {.ctx = ctx, .protocol = IPPROTO_UDP};
    struct bpf_sock *sk = SOCK(ctx);
    enum outcome outcome = UNTOUCHED;
    struct datagrams *all;
    struct peer *peer;
    bool asks, quic, may_share, shares, here;
    __u32 settings, kind, verdict = 0, flags = PEER_USED | (connects ? PEER_CONNECTED : 0);

    if (!to)
        return REFUSED;
    request.pod = pod_of_current(&origin.pod);
    if (!request.pod)
        return UNTOUCHED; /* not ours: nothing about it changes */
    request.pod_id = origin.pod;
    kind = fill_origin(ctx, to, &origin);
    here = kind & KIND_HERE;
    asks = to->port == DNS_PORT && !(kind & KIND_BEYOND);
    settings = quic_of(request.pod, origin.pod);
    quic = quic_is_refused(settings, &to->ip, to->port);
    all = bpf_sk_storage_get(&datagrams, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
    if (!all && (quic || request.pod->rules)) /* out of memory, which a program can bring about for
                                                 its socket: no datagram could be refused later */
        return REFUSED;
    if (!all) /* a question would arrive without its asker */
        return asks ? agent_down(request.pod) : UNTOUCHED;
    all->quic = settings;
    may_share = !connects && !asks && !quic;
    request.peer = connects ? CONNECTED_PEER : place_of(all, to, may_share);
    peer = peer_at(all, request.peer);
    if (!connects && is_at(peer, to))
        flags |= peer->flags & PEER_CONNECTED; /* it names the destination it is connected to */
    if (request.pod->rules && !quic) {
        verdict = verdict_there(request.pod, here, judge_datagram(request.pod->rules, &origin));
        if (verdict || is_judged(request.pod, here))
            flags |= PEER_JUDGED;
    }
    if (asks)
        outcome = turn(&request, origin.netns_cookie, here, to);
    if (outcome == REFUSED)
        return REFUSED;
    if (outcome == STEERED || (outcome == UNTOUCHED && asks && !(verdict & ABI_VERDICT_DENY)))
        verdict = 0; /* the agent's to judge; or nobody is there, and this pod may go unseen */
    if (outcome == STEERED)
        flags |= PEER_STEERED;
    if (quic)
        flags |= PEER_REFUSED;
    shares = may_share && request.peer == REST_PEER && all->turned_out >= MANY;
    if (verdict & ABI_VERDICT_HELLO && !shares) {
        flags |= PEER_HELD;
        verdict = 0;
    }
    if (verdict)
        flags |= PEER_DENIED;
    all->asker = origin;
    if (shares) {
        share_place(all, &origin);
        return verdict ? deny_datagram(NULL, &all->asker, verdict, outcome) : UNTOUCHED;
    }
    settle(all, request.peer, &origin, to, flags);
    peer->rules = request.pod->rules;
    if (verdict && !connects)
        return deny_datagram(peer, &origin, verdict, outcome);
    return outcome == NO_WAY ? UNTOUCHED : outcome;
}
