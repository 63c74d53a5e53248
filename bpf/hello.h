/* hello: what may have a ClientHello in it (QUIC's Initial packets, DTLS's handshake records) goes
 * up to proxy/handshakes/, which reads it, tells of it, and says whether the exchange may go on.
 *
 * The datagram itself leaves: who it is for is allowed by its address, and nobody waits here. Where
 * rules want a name (PEER_HELD), nothing but such datagrams leaves until they are judged: the
 * others are lost, as on a network, and come again. Of an exchange at most ABI_HELLOS_MAX go up
 * that were not judged, of a pod so many in a second (judge.h); where rules want a name, what is
 * more is lost. */
#pragma once

#include "bpf/judge.h"

enum {
    /* What a program of cgroup_skb/egress may answer, too: dropped, and the sender is not told
     * (NET_XMIT_DROP), as if it had been lost on its way. */
    LOSE = 2,
    DNS = 53,
    HELLO_MIN = 5, /* bytes by which one may be known */
};

struct datagram {
    struct ip src, dst;
    __u16 src_port, dst_port;
    __u32 at, len; /* of what is in it */
};

/* For the verifier a function of its own, as find_place() is; so are those below: what is tried
 * again and again must be short. */
__weak __noinline bool may_be_hello(struct __sk_buff *skb, __u32 at)
{
    enum {
        QUIC_LONG =
            0xc0, /* RFC 9000 section 17.2: the long header, and the bit that is always set */
        QUIC_TYPE = 0x30,
        QUIC_V1 = 0x00000001,
        QUIC_V2 = 0x6b3343cf, /* RFC 9369, where an Initial is of type 1 */
        DTLS_HANDSHAKE = 22,
        DTLS_MAJOR = 0xfe,
    };
    __u8 first[HELLO_MIN];
    __u32 version;

    if (bpf_skb_load_bytes(skb, at, first, sizeof(first)))
        return false;
    if (first[0] == DTLS_HANDSHAKE) /* in the clear, which is epoch 0 */
        return first[1] == DTLS_MAJOR && (first[2] == 0xff || first[2] == 0xfd) && !first[3] &&
               !first[4];
    version = (__u32)first[1] << 24 | (__u32)first[2] << 16 | (__u32)first[3] << 8 | first[4];
    if ((first[0] & QUIC_LONG) != QUIC_LONG || !version)
        return false;
    if (version == QUIC_V1)
        return !(first[0] & QUIC_TYPE);
    return version != QUIC_V2 || (first[0] & QUIC_TYPE) == 0x10;
}

/* One packet may be several datagrams, all as long as the first but for the last (UDP_SEGMENT). */
static __always_inline __u32 segment_of(struct __sk_buff *skb, const struct datagram *datagram)
{
    __u32 size = WORD(skb->gso_size);

    return size && size < datagram->len ? size : datagram->len;
}

/* How many there are, if each of them may be one; else 0. */
__weak __noinline __u32 count_hellos(struct __sk_buff *skb, const struct datagram *datagram)
{
    __u32 size, found = 0;

    if (!datagram || datagram->dst_port == DNS)
        return 0;
    size = segment_of(skb, datagram);
    if (!size)
        return 0;
    for (__u32 done = 0; found <= ABI_HELLOS_MAX && done < datagram->len; done += size) {
        if (!may_be_hello(skb, datagram->at + done))
            return 0;
        found++;
    }
    return found;
}

/* Each bound by itself: the compiler would make one comparison of both, of another number, and the
 * verifier of 6.1 does not see what that says of this one. */
static __always_inline bool load_hello(struct __sk_buff *skb, __u32 at, __u64 len,
                                       __u8 bytes[ABI_DATAGRAM_MAX])
{
    asm volatile("" : "+r"(len));
    if (len < HELLO_MIN)
        return false;
    asm volatile("" : "+r"(len));
    return len <= ABI_DATAGRAM_MAX && !bpf_skb_load_bytes(skb, at, bytes, len);
}

__weak __noinline bool tell_hello(struct __sk_buff *skb, struct peer *peer, __u32 at, __u64 len,
                                  __u32 rules)
{
    struct abi_datagram *record;
    __u64 missed;

    if (!peer || !may_tell(&hellos_told, peer->origin.pod, &missed))
        return false;
    record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
    if (!record) {
        count_lost();
        return false;
    }
    if (len > sizeof(record->bytes))
        len = sizeof(record->bytes);
    if (!load_hello(skb, at, len, record->bytes)) {
        bpf_ringbuf_discard(record, 0);
        return false;
    }
    record->kind = ABI_DATAGRAM;
    record->len = len;
    record->pod = peer->origin.pod;
    record->cookie = peer->origin.cookie;
    record->time_ns = bpf_ktime_get_boot_ns();
    __builtin_memcpy(record->dst, peer->origin.ip, sizeof(record->dst));
    record->dst_port = peer->origin.port;
    record->src_port = peer->src_port;
    record->rules = rules;
    record->flags = (rules && peer->flags & PEER_HELD ? ABI_DATAGRAM_HELD : 0) |
                    (peer->judgement == ABI_JUDGED_OPEN ? ABI_DATAGRAM_OPEN : 0);
    record->missed = missed;
    if (!peer->looked_ns) /* what was said of an exchange before this one is not about it */
        peer->judged_ns = record->time_ns - 1;
    peer->looked_ns = record->time_ns;
    peer->waiting++;
    bpf_ringbuf_submit(record, 0);
    return true;
}

/* Whether all of them were. */
__weak __noinline bool tell_hellos(struct __sk_buff *skb, struct peer *peer,
                                   const struct datagram *datagram, __u32 found, __u32 rules)
{
    __u32 size, done = 0;

    if (!peer || !datagram || !found || peer->flags & (PEER_REST | PEER_STEERED) ||
        found + peer->waiting > ABI_HELLOS_MAX)
        return false;
    size = segment_of(skb, datagram);
    for (int i = 0; i < ABI_HELLOS_MAX && done < datagram->len; i++) {
        __u32 left = datagram->len - done;

        if (!tell_hello(skb, peer, datagram->at + done, left < size ? left : size, rules))
            return false;
        done += size;
    }
    return true;
}

/* What the agent said meanwhile. */
__weak __noinline int take_judgement(struct peer *peer)
{
    struct abi_exchange key = {};
    const struct abi_judged *judged;

    if (!peer || peer->looked_ns == peer->judged_ns)
        return 0;
    key.cookie = peer->origin.cookie;
    key.port = peer->origin.port;
    __builtin_memcpy(key.ip, peer->origin.ip, sizeof(key.ip));
    judged = bpf_map_lookup_elem(&hellos_judged, &key);
    if (!judged || judged->time_ns <= peer->judged_ns)
        return 0;
    peer->judged_ns = judged->time_ns;
    peer->judgement = judged->judgement;
    peer->judged_rules = judged->rules;
    peer->waiting = 0;
    return 0;
}
