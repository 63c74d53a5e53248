/* socket: what is noted on the sockets of pods, and how it is told. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"
#include "bpf/kernel.h"
#include "bpf/maps.h"
#include "bpf/nearest.h"
#include "bpf/speech.h"
#include "bpf/steer.h"

/* A TCP socket of a pod, from its connect() on. Steered or not: every connection is told. */
struct connection {
    struct abi_origin origin; /* first: proxy/pods/existing_heard.c reads it */
    __u8 src[16];
    __u64 tx, rx;             /* what it came to when the kernel closed it */
    __u32 first_tx, first_rx; /* sequence numbers before the first byte of either side */
    __u16 src_port;
    __u16 error;
    __u8 steered, told, established, closed;
    __u8 fin_sent;
    __u8 held;     /* its SYN was: see hold.h */
    __u8 judged;   /* by rules */
    __u8 detour;   /* was told: see detour.h */
    __u8 bypassed; /* left alone, for what it says is read in the kernel: speech.h */
    __u8 enrolled; /* ... by send.bpf.c */
    __u8 unheard;  /* ... which it could not be */
    __u8 accepted; /* the pod's side did not make it */
};

enum { QUIC_PORT = 443 };

/* What a datagram socket exchanges with one destination. */
enum peer_flags {
    PEER_USED = 1 << 0,
    PEER_CONNECTED = 1 << 1, /* by connect() */
    PEER_STEERED = 1 << 2,
    PEER_REFUSED = 1 << 3, /* QUIC */
    PEER_TOLD = 1 << 4,    /* a datagram left */
    PEER_REST = 1 << 5,    /* all destinations that have no place of their own */
    PEER_DENIED = 1 << 6,  /* by rules */
    PEER_SAID = 1 << 7,    /* ... and that was told */
    PEER_JUDGED = 1 << 8,  /* there were rules to judge it by */
    PEER_HELD = 1 << 9,    /* by these only what a ClientHello says can let it pass: see hello.h */
    PEER_PASSING =
        PEER_CONNECTED | PEER_TOLD | PEER_SAID, /* what changes while it stays the same */
};
struct peer {
    struct abi_origin origin;
    __u8 wire[16]; /* where its datagrams go and come from: the destination, or our listener */
    __u8 src[16];
    __u16 wire_port, src_port; /* host order */
    __u32 flags;
    __u32 rules; /* by which it was judged */
    /* Of the handshakes in it (hello.h): the latest datagram that was told, and that was judged;
     * what that came to, by which rules; how many were told since. */
    __u64 looked_ns, judged_ns;
    __u32 judgement, judged_rules, waiting, pad;
    __u64 tx, rx;
    __u64 told_ns; /* boot clock */
};
enum quic_flags {
    QUIC_REFUSED = 1 << 0,
    QUIC_REFUSED_HERE = 1 << 1, /* to loopback, too */
};
struct datagrams {
    struct peer peers[ABI_PEERS];
    __u32 turned_out; /* how many had to make way for others */
    __u32 quic; /* enum quic_flags, as the pod's settings were at the last destination named */
    struct abi_origin asker; /* who named it: of this pod, pid, start, cookie, netns_cookie */
    __u8 serves;             /* a program bound it: who sends to it may be answered */
    __u8 pad[7];
};

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct connection);
} connections SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct datagrams);
} datagrams SEC(".maps") __weak;

/* QUIC of a pod whose TLS is looked into is refused, so that the program falls back to TCP: at its
 * first datagram (sockets.bpf.c), never at connect. Every datagram by where it goes itself: a
 * socket has only so many places for destinations, and its threads may take them from each other.
 */
__weak __noinline bool quic_is_refused(__u32 quic, const struct ip *to, __u32 port)
{
    if (!to || port != QUIC_PORT || ip_is_of_many(to))
        return false;
    return quic & (ip_is_loopback(to) ? QUIC_REFUSED_HERE : QUIC_REFUSED);
}

/* Which no later piece tells once more. */
static __always_inline void note_lost(struct abi_socket *record, struct speech *heard)
{
    record->lost[ABI_TX] = record->lost[ABI_RX] = 0;
    record->untold = 0;
    if (!heard)
        return;
    for (int i = 0; i < ABI_DIRECTIONS; i++) {
        record->lost[i] = heard->sides[i].lost;
        heard->sides[i].lost = 0;
    }
    record->untold = heard->sides[ABI_TX].untold;
    heard->sides[ABI_TX].untold = 0;
}

/* A record with all but addresses of our side, counts and what the kind adds; NULL: no room. */
static __always_inline struct abi_socket *begin_record(enum abi_record_kind kind,
                                                       const struct abi_origin *origin)
{
    struct abi_socket *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);

    if (!record) {
        count_lost();
        return NULL;
    }
    record->kind = kind;
    record->pid = origin->pid;
    record->start_ns = origin->start_ns;
    record->pod = origin->pod;
    record->cgroup = origin->cgroup;
    record->netns_cookie = origin->netns_cookie;
    record->cookie = origin->cookie;
    record->time_ns = bpf_ktime_get_boot_ns();
    __builtin_memcpy(record->dst, origin->ip, sizeof(record->dst));
    record->dst_port = origin->port;
    record->flags = 0;
    record->error = 0;
    note_lost(record, NULL);
    return record;
}

enum { SOCK_DONE = 1 }; /* include/net/sock.h: the other side's FIN came */

/* Before its program closes it. What the kernel decrypts is heard as it is read, all else as it
 * comes. */
static __always_inline bool fin_came(const void *sk, const struct speech *heard)
{
    const struct tcp_sock *tcp = sk;
    const struct sock *sock = sk;

    if (!heard || !(BPF_CORE_READ(sock, __sk_common.skc_flags) >> SOCK_DONE & 1))
        return false;
    return !heard->told[ABI_RX] || BPF_CORE_READ(tcp, copied_seq) == BPF_CORE_READ(tcp, rcv_nxt);
}

/* heard: what is known of what it said; NULL: nothing. */
static __always_inline void tell_connection(enum abi_record_kind kind,
                                            const struct connection *connection,
                                            struct speech *heard, bool fin)
{
    struct abi_socket *record = begin_record(kind, &connection->origin);

    if (!record)
        return;
    __builtin_memcpy(record->src, connection->src, sizeof(record->src));
    record->src_port = connection->src_port;
    record->protocol = IPPROTO_TCP;
    record->flags = (connection->steered ? ABI_SOCKET_STEERED : 0) |
                    (connection->judged ? ABI_SOCKET_JUDGED : 0) |
                    (connection->bypassed ? ABI_SOCKET_KERNEL : 0) | (fin ? ABI_SOCKET_FIN : 0);
    record->error = connection->error;
    record->tx = connection->tx;
    record->rx = connection->rx;
    note_lost(record, heard);
    bpf_ringbuf_submit(record, 0);
}

static __always_inline void tell_exchange(enum abi_record_kind kind, const struct peer *peer)
{
    struct abi_socket *record = begin_record(kind, &peer->origin);

    if (!record)
        return;
    __builtin_memcpy(record->src, peer->src, sizeof(record->src));
    record->src_port = peer->src_port;
    record->protocol = IPPROTO_UDP;
    if (peer->flags & PEER_STEERED)
        record->flags = ABI_SOCKET_STEERED;
    if (peer->flags & PEER_REFUSED)
        record->flags = ABI_SOCKET_REFUSED;
    if (peer->flags & PEER_JUDGED)
        record->flags |= ABI_SOCKET_JUDGED;
    record->tx = peer->tx;
    record->rx = peer->rx;
    bpf_ringbuf_submit(record, 0);
}

/* What the program wrote and read so far, by its own calls: not what was acknowledged, nor what
 * waits unread. By sequence numbers, of which SYN and FIN take one each (RFC 9293 section 3.4). */
static __always_inline void count_connection(struct connection *connection, const void *sk)
{
    const struct tcp_sock *tcp = sk;
    const struct sock *sock = sk;
    __u32 copied = BPF_CORE_READ(tcp, copied_seq);
    __u64 received = BPF_CORE_READ(tcp, bytes_received);
    bool fin_read = BPF_CORE_READ(sock, __sk_common.skc_flags) >> SOCK_DONE & 1 &&
                    copied == BPF_CORE_READ(tcp, rcv_nxt);

    if (!connection->established)
        return;
    if (connection->closed && !received)
        return; /* nothing ever came, or it was forgotten when the program disconnected */
    if (!connection->closed) /* else it is final, and the numbers may be another connection's */
        connection->tx = nearest(BPF_CORE_READ(tcp, bytes_acked), BPF_CORE_READ(tcp, write_seq) -
                                                                      connection->first_tx - 1 -
                                                                      connection->fin_sent);
    connection->rx = nearest(received, copied - connection->first_rx - fin_read);
}
