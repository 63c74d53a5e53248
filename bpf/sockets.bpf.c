/* sockets: what a pod's sockets did, in bytes: datagrams counted one by one, connections when the
 * program lets go of them. And here the SYNs of steered connections are kept back (hold.h).
 *
 * cgroup_skb runs for every packet of the cgroup's sockets, with the network header first: once for
 * a datagram, before it is cut into fragments and after they were put together, in the sender's
 * own context. An exchange begins with its first datagram: a connect() sends none, and the C
 * library connects datagram sockets just to see which address the kernel would choose. So here is
 * where it is told, where QUIC and what rules deny is refused (EPERM: programs fall back to TCP),
 * where handshakes by datagrams are looked at (hello.h), and where a question to a name server is
 * filed for proxy/dns/resolver.c, for only now it has a source port.
 *
 * sock_release comes when the last descriptor is closed, with nobody at the socket any more. */
#include <linux/bpf.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include "bpf/bypass.h"
#include "bpf/detour.h"
#include "bpf/encrypted.h"
#include "bpf/ending.h"
#include "bpf/hello.h"
#include "bpf/hold.h"
#include "bpf/judge.h"
#include "bpf/keyed.h"
#include "bpf/socket.h"

enum {
    FRAGMENT_OFFSET = 0x1fff,
    LOOPBACK_IFINDEX = 1, /* in every namespace */
    PACKET_LOOPBACK = 5,  /* <linux/if_packet.h> needs a libc for the target */
};
static const __u64 tell_again_ns = 60ull * 1000000000;

static __always_inline bool read_ports(struct __sk_buff *skb, __u32 at, struct datagram *out)
{
    struct udphdr header;

    if (bpf_skb_load_bytes(skb, at, &header, sizeof(header)))
        return false;
    out->src_port = bpf_ntohs(header.source);
    out->dst_port = bpf_ntohs(header.dest);
    out->at = at + sizeof(header);
    out->len = skb->len - out->at;
    return true;
}

static __always_inline bool read_v4(struct __sk_buff *skb, struct datagram *out)
{
    struct iphdr header;

    if (bpf_skb_load_bytes(skb, 0, &header, sizeof(header)) || header.protocol != IPPROTO_UDP ||
        header.frag_off & bpf_htons(FRAGMENT_OFFSET))
        return false;
    out->src = ip_of_v4(header.saddr);
    out->dst = ip_of_v4(header.daddr);
    return read_ports(skb, header.ihl * 4, out);
}

static __always_inline bool read_v6(struct __sk_buff *skb, struct datagram *out)
{
    struct ipv6hdr header;
    __u32 at;

    if (bpf_skb_load_bytes(skb, 0, &header, sizeof(header)))
        return false;
    at = find_v6(skb, header.nexthdr, IPPROTO_UDP);
    if (!at)
        return false;
    __builtin_memcpy(&out->src, &header.saddr, sizeof(out->src));
    __builtin_memcpy(&out->dst, &header.daddr, sizeof(out->dst));
    return read_ports(skb, at, out);
}

static __always_inline bool read_datagram(struct __sk_buff *skb, struct datagram *out)
{
    return skb->protocol == bpf_htons(ETH_P_IP) ? read_v4(skb, out) : read_v6(skb, out);
}

/* Of a TCP connection, one that ends or begins apart, which has no datagrams. */
static __always_inline struct bpf_sock *tcp_of(struct __sk_buff *skb)
{
    struct bpf_sock *sk = skb->sk;

    sk = sk ? bpf_sk_fullsock(sk) : NULL;
    return sk && WORD(sk->protocol) == IPPROTO_TCP ? sk : NULL;
}

static __always_inline struct datagrams *datagrams_of(struct __sk_buff *skb)
{
    struct bpf_sock *sk = skb->sk;

    if (sk)
        sk = bpf_sk_fullsock(sk);
    return sk ? bpf_sk_storage_get(&datagrams, sk, NULL, 0) : NULL;
}

/* Which of a socket's exchanges has its other end there. */
static __always_inline struct peer *find_peer(struct datagrams *all, const struct ip *ip,
                                              __u16 port)
{
    struct peer *rest = NULL;

    for (int i = 0; i < ABI_PEERS; i++) {
        struct peer *peer = &all->peers[i];
        struct ip wire = ip_load(peer->wire);

        if (!(peer->flags & PEER_USED))
            continue;
        if (peer->flags & PEER_REST)
            rest = peer;
        else if (peer->wire_port == port && ip_equal(&wire, ip))
            return peer;
    }
    return rest;
}

/* Before each question, not only the first: a socket that nobody bound has another port after it
 * disconnected, and who waited long may have been forgotten. */
static __always_inline void file_asker(const struct peer *peer, const struct datagram *question)
{
    struct abi_tuple tuple = {
        .netns_cookie = peer->origin.netns_cookie,
        .port = question->src_port,
        .local_port = peer->wire_port,
    };

    ip_store(tuple.ip, &question->src);
    __builtin_memcpy(tuple.local, peer->wire, sizeof(tuple.local));
    /* an old one makes way; should even that fail, the question is lost as datagrams are */
    bpf_map_update_elem(&askers, &tuple, &peer->origin, BPF_ANY);
}

static __always_inline void on_first(struct peer *peer, const struct datagram *datagram)
{
    ip_store(peer->src, &datagram->src);
    peer->src_port = datagram->src_port;
    peer->flags |= PEER_TOLD;
    peer->told_ns = bpf_ktime_get_boot_ns();
    tell_exchange(ABI_SOCKET_CONNECT, peer);
}

static __always_inline void tell_now_and_then(struct peer *peer)
{
    __u64 now = bpf_ktime_get_boot_ns();

    if (now - peer->told_ns < tell_again_ns)
        return;
    peer->told_ns = now;
    tell_exchange(ABI_SOCKET_STATS, peer);
}

/* Told with the destination it is for: not with what all others share, whose datagrams do go. */
static __always_inline int refuse_datagram(struct peer *peer, const struct datagram *datagram)
{
    if (peer && !(peer->flags & (PEER_TOLD | PEER_REST))) {
        peer->flags |= PEER_REFUSED;
        on_first(peer, datagram);
    }
    return REFUSE;
}

/* Once for as long as it has its place. */
static __always_inline void say_denied(struct peer *peer, const struct datagram *datagram,
                                       __u8 flags)
{
    if (peer->flags & PEER_SAID)
        return;
    ip_store(peer->origin.bound, &datagram->src);
    tell_record(&peer->origin, IPPROTO_UDP, datagram->src_port, EPERM, flags);
    peer->flags |= PEER_SAID;
}

/* By rules that are newer than what was decided, or for a destination that has no place: a socket's
 * threads may take them from each other. */
static __always_inline __u32 judge_again(const struct datagrams *all, struct peer *peer,
                                         const struct datagram *datagram, const struct abi_pod *pod)
{
    struct abi_origin origin = all->asker;
    __u32 verdict;
    bool here;

    ip_store(origin.ip, &datagram->dst);
    origin.port = datagram->dst_port;
    here = is_here(origin.netns_cookie, &datagram->dst);
    verdict = verdict_there(pod, here, judge_datagram(pod->rules, &origin));
    if (!peer || peer->flags & PEER_REST)
        return verdict;
    peer->rules = pod->rules;
    peer->flags &= ~(PEER_DENIED | PEER_SAID | PEER_HELD);
    if (verdict & ABI_VERDICT_HELLO) {
        peer->flags |= PEER_HELD;
        return 0;
    }
    if (verdict)
        peer->flags |= PEER_DENIED;
    return verdict;
}

static __always_inline bool is_denied(struct datagrams *all, struct peer *peer,
                                      const struct datagram *datagram, const struct abi_pod *pod)
{
    __u32 rules = pod ? pod->rules : 0, verdict;

    if (!rules || (peer && peer->flags & PEER_STEERED))
        return false;
    if (peer && peer->rules == rules && !(peer->flags & PEER_REST))
        verdict = peer->flags & PEER_DENIED ? ABI_VERDICT_DENY : 0;
    else
        verdict = judge_again(all, peer, datagram, pod);
    if (!verdict)
        return false;
    if (peer && !(peer->flags & PEER_REST))
        say_denied(peer, datagram, 0);
    return true;
}

/* It has written with its SYN, and there was no room to hear it: else packets.bpf.c does. */
static __always_inline bool is_ahead(struct bpf_sock *sk, const struct connection *connection)
{
    const struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

    if (!tcp || connection->established || bpf_sk_storage_get(&speeches, sk, NULL, 0))
        return false;
    return (__s32)(BPF_CORE_READ(tcp, write_seq) - connection->first_tx - 1) > 0;
}

/* A connection that was to be heard and is not, of a pod of which nothing may go unseen. For the
 * verifier a function of its own, as find_place() is. */
__weak __noinline bool is_unheard(struct __sk_buff *skb)
{
    struct bpf_sock *sk = skb->sk;
    struct connection *connection;

    sk = sk ? bpf_sk_fullsock(sk) : NULL;
    connection = sk ? bpf_sk_storage_get(&connections, sk, NULL, 0) : NULL;
    if (!connection || !connection->bypassed)
        return false;
    if (!connection->unheard && connection->judged && connection->told && !connection->accepted &&
        is_ahead(sk, connection) && is_to_be_heard(&connection->origin)) {
        connection->unheard = true;
        count_route(ABI_ROUTE_UNHEARD, 1);
        tell_denied(&connection->origin, IPPROTO_TCP, EPERM, ABI_SOCKET_UNSEEN);
        end_held(&connection->origin);
    }
    return connection->unheard;
}

/* What of an exchange leaves that a handshake may begin in, or has begun in. */
__weak __noinline int pass_hello(struct __sk_buff *skb, struct peer *peer,
                                 const struct datagram *datagram, __u32 rules)
{
    __u32 found;
    bool held, open;

    if (!peer || !datagram)
        return ALLOW;
    held = is_held(peer, rules);
    take_judgement(peer);
    if (rules && peer->judgement == ABI_JUDGED_DENIED && peer->judged_rules == rules)
        return REFUSE;
    open = peer->judgement == ABI_JUDGED_OPEN && peer->judged_ns == peer->looked_ns;
    found = count_hellos(skb, datagram, held);
    if (found & HELLOS_AND_OTHERS && !open)
        found = 0; /* the others may not leave yet */
    if (found && !(peer->flags & PEER_TOLD))
        on_first(peer, datagram);
    if (tell_hellos(skb, peer, datagram, found, rules) || !held)
        return ALLOW;
    if (found || peer->judged_ns != peer->looked_ns)
        return LOSE;
    if (open)
        return ALLOW;
    say_denied(peer, datagram, ABI_SOCKET_UNSEEN);
    return REFUSE;
}

/* A connection's packet: one look-up, for it comes here for each. */
static __always_inline int pass_segment(struct __sk_buff *skb, struct bpf_sock *sk)
{
    struct connection *connection = bpf_sk_storage_get(&connections, sk, NULL, 0);

    if (!connection)
        return ALLOW; /* no pod's */
    if (is_detour(skb, connection) ||
        (connection->bypassed && (connection->unheard || !connection->established) &&
         is_unheard(skb)))
        return REFUSE;
    return WORD(sk->state) == BPF_TCP_SYN_SENT && hold_syn(skb, connection) ? REFUSE : ALLOW;
}

SEC("cgroup_skb/egress")
int count_egress(struct __sk_buff *skb)
{
    struct bpf_sock *sk = tcp_of(skb);
    const struct abi_pod *pod;
    struct datagram datagram;
    struct datagrams *all;
    struct peer *peer;
    int outcome;

    if (sk)
        return pass_segment(skb, sk);
    if (!read_datagram(skb, &datagram))
        return ALLOW; /* no UDP */
    all = datagrams_of(skb);
    if (!all)
        return ALLOW; /* no pod's, or older than its pod's registration */
    peer = find_peer(all, &datagram.dst, datagram.dst_port);
    if (quic_is_refused(all->quic, &datagram.dst, datagram.dst_port))
        return refuse_datagram(peer, &datagram);
    if (peer && peer->flags & PEER_STEERED && leaves(skb))
        return refuse_datagram(peer, &datagram);
    pod = bpf_map_lookup_elem(&pods, &all->asker.pod);
    if (is_denied(all, peer, &datagram, pod))
        return REFUSE;
    if (!peer)
        return ALLOW; /* its place was given away meanwhile */
    if (peer->flags & PEER_STEERED)
        file_asker(peer, &datagram);
    outcome = pass_hello(skb, peer, &datagram, pod ? pod->rules : 0);
    if (outcome != ALLOW) /* the verifier wants to see that it is one of these */
        return outcome == LOSE ? LOSE : REFUSE;
    if (!(peer->flags & PEER_TOLD))
        on_first(peer, &datagram);
    __sync_fetch_and_add(&peer->tx, datagram.len);
    tell_now_and_then(peer);
    return ALLOW;
}

/* What a program sends to itself can have any source: sockets may be bound to addresses of others
 * (IPV6_FREEBIND). It comes by lo; what it sends to a group or to all comes back by the way it goes
 * out. So by these nobody is heard but who is here. */
static __always_inline bool comes_from_source(struct __sk_buff *skb, const struct datagrams *all,
                                              const struct ip *source)
{
    return (skb->ifindex > LOOPBACK_IFINDEX && skb->pkt_type != PACKET_LOOPBACK) ||
           is_here(all->asker.netns_cookie, source);
}

static __always_inline void note_heard(struct __sk_buff *skb, const struct datagram *datagram)
{
    struct heard from = {.cookie = bpf_get_socket_cookie(skb), .port = datagram->src_port};
    __u8 present = 1;

    ip_store(from.ip, &datagram->src);
    if (!bpf_map_lookup_elem(&policy_heard,
                             &from)) /* which is cheap; who is read stays young, too */
        bpf_map_update_elem(&policy_heard, &from, &present, BPF_ANY);
}

SEC("cgroup_skb/ingress")
int count_ingress(struct __sk_buff *skb)
{
    struct datagram datagram;
    struct datagrams *all;
    struct peer *peer;

    if (tcp_of(skb) || !read_datagram(skb, &datagram))
        return ALLOW;
    all = datagrams_of(skb);
    if (!all)
        return ALLOW;
    if (all->serves && comes_from_source(skb, all, &datagram.src))
        note_heard(skb, &datagram);
    peer = find_peer(all, &datagram.src, datagram.src_port);
    if (peer)
        __sync_fetch_and_add(&peer->rx, datagram.len);
    return ALLOW;
}

/* What it wrote and read in all. Nobody saw it begin, so by what was acknowledged and what is not
 * yet: of the SYN, which the other side has acknowledged, and of a FIN no byte was written. */
static __always_inline void count_older(struct abi_socket *record, const void *sk)
{
    const struct tcp_sock *tcp = sk;
    const struct sock *sock = sk;
    __u32 copied = BPF_CORE_READ(tcp, copied_seq), next = BPF_CORE_READ(tcp, rcv_nxt);
    __u32 waits = BPF_CORE_READ(tcp, write_seq) - BPF_CORE_READ(tcp, snd_una);
    __u64 sent = BPF_CORE_READ(tcp, bytes_acked) + waits;
    __u64 received = BPF_CORE_READ(tcp, bytes_received) - (next - copied);
    __u8 state = BPF_CORE_READ(sock, __sk_common.skc_state);
    bool fin_sent = state == BPF_TCP_FIN_WAIT1 || state == BPF_TCP_FIN_WAIT2 ||
                    state == BPF_TCP_CLOSING || state == BPF_TCP_LAST_ACK;
    bool fin_read = copied == next && BPF_CORE_READ(sock, __sk_common.skc_flags) >> SOCK_DONE & 1;

    if (sent > fin_sent)
        record->tx = sent - 1 - fin_sent;
    if (received > fin_read)
        record->rx = received - fin_read;
}

static __always_inline void tell_older(const struct abi_socket *noted, const void *sk,
                                       struct speech *heard, bool connected_again)
{
    struct abi_socket *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
    const struct sock *sock = sk;

    if (!record) {
        count_lost();
        return;
    }
    *record = *noted;
    record->kind = ABI_SOCKET_CLOSE;
    record->time_ns = bpf_ktime_get_boot_ns();
    record->error = BPF_CORE_READ(sock, sk_err);
    record->flags |= fin_came(sk, heard) ? ABI_SOCKET_FIN : 0;
    note_lost(record, heard);
    if (!connected_again)
        count_older(record, sk);
    bpf_ringbuf_submit(record, 0);
}

/* It is over where it went on, too. What waits to leave still will, when the kernel's TLS is off
 * the socket. */
static __always_inline void end_speech(struct speech *speech, const void *sk)
{
    struct speech *going_on = bpf_map_lookup_elem(&keyed, &speech->origin.cookie);

    for (int i = 0; going_on && i < ABI_DIRECTIONS; i++)
        if (going_on->sides[i].keyed) { /* else it is what it was when keys came */
            speech->sides[i].lost += going_on->sides[i].lost;
            speech->sides[i].untold += going_on->sides[i].untold;
        }
    bpf_map_delete_elem(&keyed, &speech->origin.cookie);
    speech->encrypted = is_encrypted(sk);
    speech->closed = true;
}

SEC("cgroup/sock_release")
int tell_release(struct bpf_sock *ctx)
{
    const struct abi_socket *noted = bpf_sk_storage_get(&older, ctx, NULL, 0);
    struct connection *connection = bpf_sk_storage_get(&connections, ctx, NULL, 0);
    struct datagrams *all = bpf_sk_storage_get(&datagrams, ctx, NULL, 0);
    struct speech *speech = bpf_sk_storage_get(&speeches, ctx, NULL, 0);

    if (speech)
        end_speech(speech, ctx);
    if (speech && speech->asks && connection && !connection->closed &&
        is_to_be_heard(&connection->origin))
        end_left(&connection->origin);
    if (connection && connection->told) {
        count_connection(connection, ctx);
        connection->told = false; /* the kernel may close it later, with nobody at it */
        tell_connection(ABI_SOCKET_CLOSE, connection, speech, fin_came(ctx, speech));
    }
    if (noted)
        tell_older(noted, ctx, speech, connection);
    for (int i = 0; all && i < ABI_PEERS; i++)
        if (all->peers[i].flags & PEER_TOLD)
            tell_exchange(ABI_SOCKET_CLOSE, &all->peers[i]);
    return ALLOW;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
