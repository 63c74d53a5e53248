/* packets: what a pod's programs are sent by the kernel route, in plain text: seen as the packets
 * come in, and never refused. What they send, once more, where rules judge it: send.bpf.c is not
 * asked of every message (sk_psock.eval), and threads come between one another. And what they send
 * as TLS after the socket has left the sockhash (sockops.bpf.c), as long as nobody
 * reads it before the kernel encrypts it (ktls.bpf.c): a record that nobody can read is told, and
 * does not leave where that is not to be.
 *
 * By sequence numbers: what comes twice is skipped, and what did not come yet when something behind
 * it did is lost to us, for the kernel will have it from elsewhere. Within a body, that is all the
 * same. Packets of one connection may come in on two CPUs at a time, before its socket is locked.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>

#include "bpf/encrypted.h"
#include "bpf/ending.h"
#include "bpf/hear.h"
#include "bpf/steer.h"

enum {
    STEPS_MAX = 1 << 18, /* a packet has a quarter as many bytes */
    TURNS_MAX = 1 << 14, /* that a CPU waits for another: a millisecond or so */
    TCP_WORD = 4,
    WINDOW_MAX = 1 << 30, /* RFC 7323 section 2.3: nothing beyond is of this connection */
    UNREADABLE = ~0u,     /* where a packet's bytes begin that nobody can find: find_bytes() */
};

static __always_inline bool hear_turn(struct hearing *hearing, struct speech_side *side)
{
    return false; /* all is in one */
}

static __always_inline bool hear_fetch(struct hearing *hearing, struct speech_side *side, __u32 len)
{
    return !bpf_skb_load_bytes(hearing->from, side->element + side->at, side->piece.bytes,
                               SAID_BOUND(len, SPELL_PIECE));
}

static __always_inline enum abi_direction hear_direction(const struct hearing *hearing)
{
    return hearing->side == ABI_RX ? ABI_RX : ABI_TX;
}

/* For the verifier a function of its own, as find_place() is. */
__weak __noinline int tell_packet(struct __sk_buff *skb, struct speech *speech, __u32 number,
                                  __u32 kind)
{
    struct speech_side *side;
    __u32 from;
    __u64 len;

    if (!speech || number >= SPEECH_SIDES)
        return 0;
    side = &speech->sides[number];
    if (kind == ABI_SAID_BYTES && number == LEAVING)
        return 0; /* told when they were said */
    if (number == LEAVING && side->since == side->at)
        side->since = 0; /* it was all heard before it was refused */
    from = side->element + side->since;
    len = side->at - side->since;
    if (len > ABI_SAID_MAX)
        len = ABI_SAID_MAX; /* is never more */
    if (number == LEAVING)
        side->flags |= ABI_SAID_AGAIN;
    if (kind == ABI_SAID_DENIED)
        side->flags |= ABI_SAID_HELD;
#define LOAD(to, len) !bpf_skb_load_bytes(skb, from, to, len)
    if (!SAY(speech, side, number == ABI_RX ? ABI_RX : ABI_TX, kind, len, LOAD))
        hear_untold(speech, side, len, kind);
    return 0;
}

static void hear_tell(struct hearing *hearing, struct speech_side *side, enum abi_said_kind kind)
{
    tell_packet(hearing->from, hearing->speech, hearing->side, kind);
}

static long step_received(__u32 turn, struct hearing *hearing)
{
    return hear_step(hearing, ABI_RX);
}

static long step_sent(__u32 turn, struct hearing *hearing)
{
    return hear_step(hearing, ABI_TX);
}

static long step_leaving(__u32 turn, struct hearing *hearing)
{
    return hear_step(hearing, LEAVING);
}

/* Where TCP's header begins; 0: it is none. */
static __always_inline __u32 find_tcp(struct __sk_buff *skb)
{
    __u8 first, next = 0;

    if (bpf_skb_load_bytes(skb, 0, &first, sizeof(first)))
        return 0;
    if (first >> 4 == 4) {
        bpf_skb_load_bytes(skb, __builtin_offsetof(struct iphdr, protocol), &next, sizeof(next));
        return next == IPPROTO_TCP ? (first & 0xf) * 4 : 0;
    }
    bpf_skb_load_bytes(skb, __builtin_offsetof(struct ipv6hdr, nexthdr), &next, sizeof(next));
    return find_v6(skb, next, IPPROTO_TCP);
}

/* Bytes that will not be seen: of a body it is enough that they were there. */
static __always_inline void skip_missing(struct speech_side *side, __u32 missing)
{
    __u64 skipped = spell_skip(&side->spell, missing);

    side->skipped += skipped;
    if (skipped == missing)
        return;
    side->lost += missing - skipped;
    spell_lost(&side->spell);
}

/* The same, and TCP's header, where nothing is before it but IP's: as it is nearly always, and in
 * one piece; 0: find_tcp() looks further. */
static __always_inline __u32 find_next(struct __sk_buff *skb, struct tcphdr *tcp)
{
    const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    const struct ipv6hdr *v6 = data;
    const struct iphdr *v4 = data;

    if (data + sizeof(*v4) + sizeof(*tcp) > end)
        return 0;
    if (v4->version == 4 && v4->ihl == sizeof(*v4) / 4 && v4->protocol == IPPROTO_TCP) {
        *tcp = *(const struct tcphdr *)(data + sizeof(*v4));
        return sizeof(*v4);
    }
    if (v6->version != 6 || v6->nexthdr != IPPROTO_TCP || data + sizeof(*v6) + sizeof(*tcp) > end)
        return 0;
    *tcp = *(const struct tcphdr *)(data + sizeof(*v6));
    return sizeof(*v6);
}

/* Where the packet's bytes begin; 0: there are none; UNREADABLE: it is one of TCP's, wrapped up in
 * headers that nobody knows here, or encrypted (IPsec, tunnels that a route leads into). */
static __always_inline __u32 find_bytes(struct __sk_buff *skb, struct tcphdr *tcp)
{
    __u32 at = find_next(skb, tcp), words;

    if (!at) {
        at = find_tcp(skb);
        if (!at || bpf_skb_load_bytes(skb, at, tcp, sizeof(*tcp)))
            return UNREADABLE;
    }
    words = tcp->doff;
    at += words * TCP_WORD;
    return at < skb->len && !tcp->rst ? at : 0;
}

/* From where to where in the packet there are bytes that are new; what is missing before them is
 * counted. False: there are none. */
static __always_inline bool find_new(const struct tcphdr *tcp, __u32 at, __u32 end,
                                     struct speech_side *side)
{
    __s32 ahead = bpf_ntohl(tcp->seq) + tcp->syn - side->next;
    __u32 len = end - at;

    if ((ahead < 0 && (__u32)-ahead >= len) || ahead > WINDOW_MAX)
        return false;
    if (ahead < 0) {
        at += -ahead;
        len -= -ahead;
    } else if (ahead > 0) {
        skip_missing(side, ahead);
    }
    side->next += (ahead > 0 ? ahead : 0) + len;
    hear_begin(side, len);
    side->end = len;
    side->element = at;
    return true;
}

struct waiting {
    struct speech *speech;
    bool taken;
};

static long take_turn(__u32 turn, struct waiting *waiting)
{
    waiting->taken = !__sync_val_compare_and_swap(&waiting->speech->busy, 0, 1);
    return waiting->taken;
}

static __always_inline void hear_packet(struct __sk_buff *skb, struct speech *speech)
{
    struct tcphdr tcp;
    __u32 at = find_bytes(skb, &tcp);
    struct hearing hearing = {.from = skb, .speech = speech, .side = ABI_RX};
    struct speech_side *side = &speech->sides[ABI_RX];
    struct waiting waiting = {.speech = speech};

    if (!at || at == UNREADABLE || tcp.syn)
        return;
    bpf_loop(TURNS_MAX, take_turn, &waiting, 0);
    if (!waiting.taken)
        return; /* the next packet will find it missing */
    if (find_new(&tcp, at, skb->len, side)) {
        bpf_loop(STEPS_MAX, step_received, &hearing, 0);
        hear_end(&hearing, side);
    }
    __sync_lock_test_and_set(&speech->busy, 0);
}

/* Read after it was decrypted: ktls.bpf.c. */
static __always_inline bool is_read_elsewhere(struct bpf_sock *sk, struct speech_side *side)
{
    const struct sock *sock;

    if (side->keyed || !side->keying)
        return side->keyed;
    sock = (const void *)bpf_skc_to_tcp_sock(sk);
    side->keyed = sock && is_decrypted(sock);
    return side->keyed;
}

SEC("cgroup_skb/ingress")
int hear_received(struct __sk_buff *skb)
{
    struct bpf_sock *sk = skb->sk;
    struct speech *speech;

    sk = sk ? bpf_sk_fullsock(sk) : NULL;
    speech = sk ? bpf_sk_storage_get(&speeches, sk, NULL, 0) : NULL;
    if (speech && !speech->over && !speech->closed &&
        !is_read_elsewhere(sk, &speech->sides[ABI_RX]))
        hear_packet(skb, speech);
    return ALLOW;
}

/* In this order: what it was when it was closed is noted before its keys go. */
static __always_inline bool was_encrypted(const struct sock *sock, const struct speech *speech)
{
    return is_encrypted(sock) || speech->encrypted;
}

/* Up to where the bytes in the packet are to be read here: what waited to be sent when the kernel
 * was given the keys still is, what lies behind it the kernel encrypted, and ktls.bpf.c reads. */
static __always_inline __u32 own_end(struct bpf_sock *sk, struct speech *speech,
                                     const struct tcphdr *tcp, __u32 at, __u32 end)
{
    const struct sock *sock = (const void *)bpf_skc_to_tcp_sock(sk);
    __s32 before = speech->keyed_from - bpf_ntohl(tcp->seq);

    if (!sock || !speech->sides[ABI_TX].keying)
        return end;
    if (!was_encrypted(sock, speech)) {
        if (before <= 0)
            note_alone(&speech->sides[ABI_TX]);
        return end;
    }
    if (before <= 0)
        return at;
    return (__u32)before < end - at ? at + before : end;
}

/* Whether it may leave: what send.bpf.c did not hear is, and told, of a connection that is not in
 * the sockhash any more, or because it was not asked. What was refused does not leave, and waits in
 * the socket, which ends. */
static __always_inline bool hear_departing(struct __sk_buff *skb, const struct tcphdr *tcp,
                                           __u32 at, __u32 end, struct speech *speech)
{
    struct hearing hearing = {.from = skb, .speech = speech, .side = ABI_TX};
    struct speech_side *side = &speech->sides[ABI_TX];

    if (find_new(tcp, at, end, side)) {
        hear_rules(speech, side);
        if (!side->refusal)
            bpf_loop(STEPS_MAX, step_sent, &hearing, 0);
        /* what is urgent, servers take out of its place, or not */
        if ((tcp->urg && is_judged_speech(speech)) || other_is_refused(speech, side))
            side->refusal = HEAR_UNSEEN; /* also for what was missed */
        hear_end(&hearing, side);
        speech->sent = side->next;
        speech->sides[LEAVING].refusal = side->refusal; /* no later packet may, either */
        if (side->refusal)
            end_held(&speech->origin);
    }
    return !side->refusal;
}

/* Whether it may leave, of a connection that rules judge: read as the other side will, whatever
 * came in between what the program said: a send of another thread, or one for which send.bpf.c was
 * not asked, or the rest of one that was taken in part. */
static __always_inline bool hear_leaving(struct __sk_buff *skb, const struct tcphdr *tcp, __u32 at,
                                         __u32 end, struct speech *speech)
{
    struct hearing hearing = {.from = skb, .speech = speech, .side = LEAVING};
    struct speech_side *side = &speech->sides[LEAVING];

    if (find_new(tcp, at, end, side)) {
        bpf_loop(STEPS_MAX, step_leaving, &hearing, 0);
        if (tcp->urg || other_is_refused(speech, side))
            side->refusal = HEAR_UNSEEN;
        if (side->refusal) {
            hear_end(&hearing, side);
            end_held(&speech->origin);
        }
    }
    return !side->refusal;
}

static __always_inline bool is_judged_now(struct speech *speech)
{
    if (!speech->asks || !speech->whole)
        return false;
    if (!speech->found)
        spelling_is_fresh(speech, LEAVING);
    return is_judged_speech(speech);
}

/* Whether a packet may leave that cannot be read: what send.bpf.c heard of it may not be what is in
 * it. */
static __always_inline bool leave_unread(struct __sk_buff *skb, struct speech *speech, bool heard)
{
    struct hearing hearing = {.from = skb, .speech = speech, .side = LEAVING};
    struct speech_side *side = &speech->sides[LEAVING];

    if (!speech->found)
        spelling_is_fresh(speech, LEAVING);
    if (!is_judged_speech(speech) || (heard && !speech->whole))
        return true;
    hear_begin(side, 0);
    side->refusal = HEAR_UNSEEN;
    hear_end(&hearing, side);
    end_held(&speech->origin);
    return false;
}

/* refused: once and for all. heard: by send.bpf.c. */
static __always_inline bool may_leave(struct __sk_buff *skb, struct bpf_sock *sk,
                                      struct speech *speech, bool refused, bool heard)
{
    struct tcphdr tcp = {};
    __u32 at = find_bytes(skb, &tcp), end = skb->len;

    if (refused && tcp.syn) /* it said what it may not with the first one */
        return false;
    if (!at || speech->sides[ABI_TX].keyed)
        return true;
    if (refused)
        return false;
    if (at == UNREADABLE)
        return leave_unread(skb, speech, heard);
    if (!heard) {
        end = own_end(sk, speech, &tcp, at, end);
        speech->sides[ABI_TX].keyed = speech->leaves && end == at; /* ktls.bpf.c reads that */
        if (end == at)
            return true;
        /* who has left began with no request, and was heard as it left ever since */
        speech->doubted |= speech->mixed && !speech->leaves;
        if (!hear_departing(skb, &tcp, at, end, speech))
            return false;
    }
    return !is_judged_now(speech) || !speech->reread || hear_leaving(skb, &tcp, at, end, speech);
}

SEC("cgroup_skb/egress")
int hear_sealed(struct __sk_buff *skb)
{
    struct bpf_sock *sk = skb->sk;
    struct speech *speech;
    bool refused, heard;

    sk = sk ? bpf_sk_fullsock(sk) : NULL;
    speech = sk ? bpf_sk_storage_get(&speeches, sk, NULL, 0) : NULL;
    if (!speech)
        return ALLOW;
    heard = !speech->leaves && !unheard(sk, speech);
    refused = speech->sides[LEAVING].refusal || (speech->leaves && speech->sides[ABI_TX].refusal);
    if (!refused && (speech->over || (heard && !is_judged_now(speech))))
        return ALLOW;
    return may_leave(skb, sk, speech, refused, heard) ? ALLOW : REFUSE;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
