/* send: what a pod's programs send by the kernel route, seen before it leaves, and refused.
 *
 * An sk_msg program of the sockhash `enrolled`: it runs inside the very send, with the socket
 * locked, on bytes that were copied from the program, which can change them no more. A send comes
 * as messages of 544 kB at most, in elements of memory. bpf_msg_pull_data() shows a part of one as
 * it is; asked for parts of several, it would copy them all into one, so nothing crosses their
 * ends. Pages that others can write to (sendfile, zero-copy) it copies first.
 *
 * SK_DROP fails the send with EACCES, and all later ones: the verdict stays with the socket. So all
 * of a message goes, or nothing. Never bpf_msg_cork_bytes(): what is shorter waits for ever. */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>

#include "bpf/adopt.h"
#include "bpf/bypass.h"
#include "bpf/hear.h"

enum { STEPS_MAX = 1 << 20 }; /* a message has half as many bytes */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct scatterlist {
    unsigned int length;
};
struct sk_msg_sg {
    __u32 start;
    struct scatterlist data[1]; /* a ring */
};
struct sk_msg {
    struct sk_msg_sg sg;
};

#pragma clang attribute pop

/* clang would fold `ctx + 8` into one address, which the verifier does not take for the context's.
 */
static __always_inline void *data_of(struct sk_msg_md *msg)
{
    void *data;

    asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(data) : "r"(msg) : "memory");
    return data;
}

/* Shows what lies there, and nothing else. */
static __always_inline bool show(struct hearing *hearing, __u32 from, __u32 to)
{
    return !bpf_msg_pull_data(hearing->from, from, to, 0);
}

static __always_inline bool hear_turn(struct hearing *hearing, struct speech_side *side)
{
    const struct sk_msg *msg = hearing->from;
    __u32 elements = bpf_core_field_size(msg->sg.data) / bpf_core_type_size(struct scatterlist);
    __u32 start = BPF_CORE_READ(msg, sg.start), length = 0;
    __u64 at;

    if (side->element >= elements)
        return false;
    at = (start + side->element++) % elements * bpf_core_type_size(struct scatterlist) +
         bpf_core_field_offset(msg->sg.data) + bpf_core_field_offset(struct scatterlist, length);
    bpf_probe_read_kernel(&length, sizeof(length), hearing->from + at);
    side->end += length;
    return true;
}

static __always_inline bool hear_fetch(struct hearing *hearing, struct speech_side *side, __u32 len)
{
    return show(hearing, side->at, side->at + len) &&
           !bpf_probe_read_kernel(side->piece.bytes, SAID_BOUND(len, SPELL_PIECE),
                                  data_of(hearing->from));
}

static void hear_tell(struct hearing *hearing, struct speech_side *side, enum abi_said_kind kind)
{
    __u64 len = side->at - side->since;

    if (len > ABI_SAID_MAX)
        len = ABI_SAID_MAX; /* is never more */
#define LOAD(to, len) !bpf_probe_read_kernel(to, len, data_of(hearing->from))
    if (!show(hearing, side->since, side->since + len) ||
        !SAY(hearing->speech, side, ABI_TX, kind, len, LOAD))
        side->lost += len;
}

static long step(__u32 turn, struct hearing *hearing)
{
    return hear_step(hearing, ABI_TX);
}

SEC("sk_msg")
int hear_sent(struct sk_msg_md *msg)
{
    struct hearing hearing = {.from = msg};
    struct bpf_sock *sk = msg->sk;
    struct speech_side *side;

    hearing.speech = sk ? bpf_sk_storage_get(&speeches, sk, NULL, 0) : NULL;
    if (sk && !hearing.speech)
        hearing.speech = adopt(sk);
    if (!hearing.speech || hearing.speech->over)
        return SK_PASS;
    side = &hearing.speech->sides[ABI_TX];
    hear_begin(side, msg->size);
    side->end = side->element = 0;
    side->pid = bpf_get_current_pid_tgid() >> 32;
    bpf_loop(STEPS_MAX, step, &hearing, 0);
    hear_end(&hearing, side);
    if (side->spell.mode == SPELL_TLS && route_can() & ABI_ROUTE_LEAVE)
        hearing.speech->leaves = true;
    return side->refusal ? SK_DROP : SK_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
