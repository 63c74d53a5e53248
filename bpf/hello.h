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
    HELLO_MIN = 5,      /* bytes by which one may be known */
    WALKED_MAX = 8,     /* packets, or records, of a datagram that are looked at */
    SEGMENTS_MAX = 128, /* the kernel's UDP_MAX_SEGMENTS */
    HELLOS_AND_OTHERS = 1u << 31,
};

struct datagram {
    struct ip src, dst;
    __u16 src_port, dst_port;
    __u32 at, len; /* of what is in it */
};

/* What a packet, or a record, in a datagram is. */
enum hello_part {
    PART_LAST,    /* no hello, and nothing behind it is read by anybody */
    PART_HELLO,   /* may be (a part of) one */
    PART_QUIC,    /* another one of QUIC with a long header, behind which one more may be */
    PART_DTLS,    /* ... of DTLS */
    PART_UNKNOWN, /* nobody could say where it ends */
};

/* For the verifier a function of its own, as find_place() is; so are those below: what is tried
 * again and again must be short. */
__weak __noinline enum hello_part part_at(struct __sk_buff *skb, __u32 at)
{
    enum {
        QUIC_LONG =
            0xc0, /* RFC 9000 section 17.2: the long header, and the bit that is always set */
        QUIC_TYPE = 0x30,
        QUIC_V1 = 0x00000001,
        QUIC_V2 = 0x6b3343cf, /* RFC 9369, where an Initial is of type 1, and a Retry of type 0 */
        DTLS_FIRST = 20,
        DTLS_HANDSHAKE = 22,
        DTLS_DATA = 23,
        DTLS_MAJOR = 0xfe,
    };
    __u8 first[HELLO_MIN];
    __u32 version, type;

    if (bpf_skb_load_bytes(skb, at, first, sizeof(first)))
        return PART_LAST;
    if (first[0] >= DTLS_FIRST && first[0] <= DTLS_DATA) {
        if (first[1] != DTLS_MAJOR || (first[2] != 0xff && first[2] != 0xfd))
            return PART_LAST;
        return first[0] == DTLS_HANDSHAKE && !first[3] && !first[4] /* in the clear: epoch 0 */
                   ? PART_HELLO
                   : PART_DTLS;
    }
    if ((first[0] & QUIC_LONG) != QUIC_LONG)
        return PART_LAST;
    version = (__u32)first[1] << 24 | (__u32)first[2] << 16 | (__u32)first[3] << 8 | first[4];
    type = (first[0] & QUIC_TYPE) >> 4;
    if (version == QUIC_V2)
        type = (type + 3) & 3;
    else if (version != QUIC_V1)
        return version ? PART_HELLO : PART_UNKNOWN;
    if (!type)
        return PART_HELLO;
    return type == 3 ? PART_UNKNOWN : PART_QUIC; /* a Retry says no length */
}

/* RFC 9000 section 17.2: version, both connection ids, and the length of what follows. Where the
 * next packet begins; 0: nobody could say. */
__weak __noinline __u32 behind_quic(struct __sk_buff *skb, __u32 at)
{
    enum { CID_MAX = 20, LEN_MAX = 8 };
    __u32 size, len;
    __u8 byte;

    at += HELLO_MIN;
    for (int ids = 0; ids < 2; ids++) {
        if (bpf_skb_load_bytes(skb, at, &byte, sizeof(byte)) || byte > CID_MAX)
            return 0;
        at += 1 + byte;
    }
    if (bpf_skb_load_bytes(skb, at, &byte, sizeof(byte)))
        return 0;
    size = 1u << (byte >> 6);
    len = byte & 0x3f;
    for (__u32 i = 1; i < LEN_MAX && i < size; i++) {
        if (len > 0xffff || bpf_skb_load_bytes(skb, at + i, &byte, sizeof(byte)))
            return 0;
        len = len << 8 | byte;
    }
    return len > 0xffff ? 0 : at + size + len;
}

/* RFC 6347 section 4.1: epoch and number, and the length of what follows. */
__weak __noinline __u32 behind_dtls(struct __sk_buff *skb, __u32 at)
{
    enum { LENGTH_AT = 11, HEADER = 13 };
    __u8 len[2];

    if (bpf_skb_load_bytes(skb, at + LENGTH_AT, len, sizeof(len)))
        return 0;
    return at + HEADER + ((__u32)len[0] << 8 | len[1]);
}

/* A datagram, from at up to end. held: rules want a name, so what cannot be told is taken for one.
 */
__weak __noinline bool may_be_hello(struct __sk_buff *skb, __u32 at, __u32 end, bool held)
{
    for (int i = 0; i < WALKED_MAX; i++) {
        enum hello_part part = part_at(skb, at);
        __u32 next = 0;

        if (part == PART_LAST || part == PART_HELLO)
            return part == PART_HELLO;
        if (part == PART_QUIC)
            next = behind_quic(skb, at);
        else if (part == PART_DTLS)
            next = behind_dtls(skb, at);
        if (next <= at || next > end)
            return held;
        if (end - next < HELLO_MIN)
            return false;
        at = next;
    }
    return held;
}

/* One packet may be several datagrams, all as long as the first but for the last (UDP_SEGMENT). */
static __always_inline __u32 segment_of(struct __sk_buff *skb, const struct datagram *datagram)
{
    __u32 size = WORD(skb->gso_size);

    return size && size < datagram->len ? size : datagram->len;
}

/* The datagrams of a packet, one after the other. */
struct segments {
    struct __sk_buff *skb;
    struct peer *peer;
    __u32 at, end, size;
    __u32 hellos, others;
    __u32 rules;
    bool held;
};

static __always_inline __u32 segment_end(const struct segments *all)
{
    return all->end - all->at < all->size ? all->end : all->at + all->size;
}

static long count_segment(__u32 number, struct segments *all)
{
    __u32 end = segment_end(all), hello = may_be_hello(all->skb, all->at, end, all->held);

    all->hellos += hello; /* without a branch: the verifier would follow each count */
    all->others |= !hello;
    all->at = end;
    return end == all->end || (all->others && !all->held) || all->hellos > ABI_HELLOS_MAX;
}

/* How many there are, if each of them may be one; else 0, or HELLOS_AND_OTHERS where rules want a
 * name: behind what was allowed another one may come between. */
__weak __noinline __u32 count_hellos(struct __sk_buff *skb, const struct datagram *datagram,
                                     bool held)
{
    struct segments all = {.skb = skb, .held = held};

    if (!datagram || datagram->dst_port == DNS || !datagram->len)
        return 0;
    all.at = datagram->at;
    all.end = datagram->at + datagram->len;
    all.size = segment_of(skb, datagram);
    bpf_loop(SEGMENTS_MAX, count_segment, &all, 0);
    if (!all.hellos || !all.others)
        return all.hellos;
    return held ? all.hellos | HELLOS_AND_OTHERS : 0;
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

/* Whether rules want a name before anything else leaves. */
static __always_inline bool is_held(const struct peer *peer, __u32 rules)
{
    return rules && peer->flags & PEER_HELD;
}

static long tell_segment(__u32 number, struct segments *all)
{
    __u32 end = segment_end(all);

    if (may_be_hello(all->skb, all->at, end, all->held) &&
        !tell_hello(all->skb, all->peer, all->at, end - all->at, all->rules))
        return 1;
    all->at = end;
    return end == all->end;
}

/* Whether all of them were. */
__weak __noinline bool tell_hellos(struct __sk_buff *skb, struct peer *peer,
                                   const struct datagram *datagram, __u32 found, __u32 rules)
{
    struct segments all = {.skb = skb, .peer = peer, .rules = rules};

    found &= ~HELLOS_AND_OTHERS;
    if (!peer || !datagram || !found || peer->flags & (PEER_REST | PEER_STEERED) ||
        found + peer->waiting > ABI_HELLOS_MAX)
        return false;
    all.at = datagram->at;
    all.end = datagram->at + datagram->len;
    all.size = segment_of(skb, datagram);
    all.held = is_held(peer, rules);
    bpf_loop(SEGMENTS_MAX, tell_segment, &all, 0);
    return all.at == all.end;
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
