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
#include "bpf/control.h"
#include "bpf/encrypted.h"
#include "bpf/hear.h"
#include "bpf/keyed.h"
#include "bpf/typed.h"

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
    struct sock *sk;
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

/* What the kernel shows from the first is the first element of memory; 0: it cannot be shown as it
 * is. */
static __always_inline __u32 first_shown(struct sk_msg_md *msg)
{
    __u64 end;

    asm volatile("%0 = *(u64 *)(%1 + 8)" : "=r"(end) : "r"(msg) : "memory");
    return end - (__u64)data_of(msg);
}

/* Has side->from be where what is between these two lies, and nothing else; false: it cannot be
 * shown. For the verifier a function of its own, as find_place() is, which may not return an
 * address. */
__weak __noinline bool show(struct sk_msg_md *msg, struct speech_side *side, __u32 from, __u32 to)
{
    if (!side)
        return false;
    if (from < to && to <= side->shown) {
        side->from = (__u64)data_of(msg) + from;
        return true;
    }
    side->shown = 0; /* from now on it is something else */
    if (bpf_msg_pull_data(msg, from, to, 0))
        return false;
    side->from = (__u64)data_of(msg);
    return true;
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
    return show(hearing->from, side, side->at, side->at + len) &&
           !bpf_probe_read_kernel(side->piece.bytes, SAID_BOUND(len, SPELL_PIECE),
                                  (const void *)side->from);
}

/* For the verifier likewise. */
__weak __noinline int tell_sent(struct sk_msg_md *msg, struct speech *speech, __u32 kind)
{
    struct speech_side *side;
    __u64 len;

    if (!speech)
        return 0;
    side = &speech->sides[ABI_TX];
    len = side->at - side->since;
    if (len > ABI_SAID_MAX)
        len = ABI_SAID_MAX; /* is never more */
#define LOAD(to, len) !bpf_probe_read_kernel(to, len, (const void *)side->from)
    if (!show(msg, side, side->since, side->since + len) ||
        !SAY(speech, side, ABI_TX, kind, len, LOAD))
        hear_untold(speech, side, len, kind);
    return 0;
}

static __always_inline enum abi_direction hear_direction(const struct hearing *hearing)
{
    return ABI_TX;
}

static void hear_tell(struct hearing *hearing, struct speech_side *side, enum abi_said_kind kind)
{
    tell_sent(hearing->from, hearing->speech, kind);
}

/* From now on the kernel encrypts, and we see what it is given: another conversation begins. */
static __always_inline void notice_keys(struct sk_msg_md *msg, struct speech_side *side)
{
    const struct sk_msg *kernels = (const void *)msg;

    if (side->keyed || (side->spell.mode != SPELL_FIRST && side->spell.mode != SPELL_TLS))
        return;
    if (!is_encrypted(BPF_CORE_READ(kernels, sk))) {
        if (side->keying)
            note_alone(side);
        return;
    }
    side->keyed = true;
    side->sealed = 0;
    __builtin_memset(&side->spell, 0, sizeof(side->spell));
}

/* What the program has the kernel encrypt as a record of another type than data comes here, too. */
enum control { CONTROL_NONE, CONTROL_PASSES, CONTROL_REFUSED };

/* As a record of which type this would be one of TLS's own messages, by its shape; 0: of none. */
static __always_inline __u8 control_shape(struct hearing *hearing, struct speech_side *side)
{
    const struct sk_msg *kernels = hearing->from;
    __u32 n = side->size < MESSAGE_HEAD ? 2 : MESSAGE_HEAD;
    __u8 head[MESSAGE_HEAD] = {}, type;

    if (side->size < n || !show(hearing->from, side, 0, n) ||
        bpf_probe_read_kernel(head, n, (const void *)side->from))
        return 0;
    type = control_type(head, side->size,
                        side->spell.mode == SPELL_FIRST && !side->spell.at && !side->finished &&
                            is_tls12(BPF_CORE_READ(kernels, sk)));
    if (type == HANDSHAKE_RECORD && head[0] == MESSAGE_FINISHED)
        side->finished = true;
    if (!type && head[0] == MESSAGE_TICKET && !hearing->speech->asks &&
        is_whole_message(head, side->size))
        type = HANDSHAKE_RECORD;
    return type;
}

/* The send says what it is (typed.h). Where nobody noted that, its shape does where a head cannot
 * have such bytes. Within a body it could have any, and the other end counts none of them that come
 * so: there nothing goes that could be either. */
static __always_inline enum control find_control(struct hearing *hearing, struct speech_side *side)
{
    const struct sk_msg *kernels = hearing->from;
    const struct spell *spell = &side->spell;
    bool between = !spell->at && (spell->mode <= SPELL_HEAD || spell->mode == SPELL_FRAMES ||
                                  spell->mode == SPELL_LAST),
         noted = route_can() & ABI_ROUTE_SURE;
    __u8 type = DATA_RECORD, shape;

    if (!side->keyed || (!between && spell->mode >= SPELL_RAW && spell->mode != SPELL_FRAMES))
        return CONTROL_NONE; /* nobody counts */
    if (noted) {
        type = type_in_turn(BPF_CORE_READ(kernels, sk));
        if (type == DATA_RECORD && !hearing->speech->untyped)
            return CONTROL_NONE;
    }
    shape = control_shape(hearing, side);
    if (between || (noted && shape && shape == type))
        return shape ? CONTROL_PASSES : CONTROL_NONE;
    if (is_judged_speech(hearing->speech) && (noted || shape))
        return CONTROL_REFUSED;
    return type == DATA_RECORD ? CONTROL_NONE : CONTROL_PASSES;
}

/* Whether what was not shown to us is but of a body that nobody looks into. */
static __always_inline bool is_of_body(const struct speech *speech, const struct speech_side *side,
                                       __u32 len)
{
    return spell_is_counted(&side->spell) && len <= side->spell.left &&
           !wants_bodies(speech, ABI_TX);
}

/* Who does not wait has a part of a message taken, and sends the rest again, which was heard; and
 * for that the kernel keeps the verdict on the first part (sk_psock.eval), and does not ask. So the
 * sequence number says how much left: less than was heard, then so many bytes of this message were
 * heard before; or more, which is heard as it leaves, and this message behind it (packets.bpf.c).
 * Within a body it is all the same what they are. Elsewhere nobody may say one thing to us and then
 * another. */
static __always_inline __u32 heard_before(struct bpf_sock *sk, struct speech *speech,
                                          struct speech_side *side, __u32 size)
{
    const struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
    __s32 again;

    if (!tcp || side->keyed)
        return 0; /* what the kernel encrypts it takes whole */
    if (!speech->counted)
        speech->sent = tcp->write_seq;
    speech->counted = true;
    again = speech->sent - tcp->write_seq;
    if (again < 0) { /* of a body: is_of_body() */
        hear_missing(speech, side, ABI_TX, -again);
        speech->sent -= again;
        again = 0;
    }
    if ((__u32)again > side->body) {
        speech->doubted = true;
        spelling_is_fresh(speech, ABI_TX); /* perhaps no head begins for long */
        if (is_judged_speech(speech))
            side->refusal = HEAR_UNSEEN;
    }
    if ((__u32)again > size)
        again = size;
    speech->sent += size - again;
    side->next = speech->sent;
    return again;
}

static long step(__u32 turn, struct hearing *hearing)
{
    return hear_step(hearing, ABI_TX);
}

/* Whose program may hand the kernel keys, which it refuses to a socket of a sockhash: also behind
 * words of another protocol, of which nothing more is read here; where nothing of that is refused
 * either. */
static __always_inline bool is_to_leave(const struct speech *speech, const struct speech_side *side)
{
    return side->spell.mode == SPELL_TLS ||
           (side->spell.mode == SPELL_OTHER && !is_judged_speech(speech));
}

SEC("sk_msg")
int hear_sent(struct sk_msg_md *msg)
{
    struct hearing hearing = {.from = msg, .side = ABI_TX};
    struct bpf_sock *sk = msg->sk;
    struct speech_side *side;
    enum control control;
    __u32 missed;

    hearing.speech = sk ? bpf_sk_storage_get(&speeches, sk, NULL, 0) : NULL;
    if (sk && !hearing.speech)
        hearing.speech = adopt(sk);
    if (!hearing.speech || hearing.speech->over)
        return SK_PASS;
    side = &hearing.speech->sides[ABI_TX];
    notice_keys(msg, side);
    hearing.speech = speech_going_on(hearing.speech);
    side = &hearing.speech->sides[ABI_TX];
    hear_begin(side, msg->size);
    side->shown = first_shown(msg);
    control = find_control(&hearing, side);
    if (control == CONTROL_PASSES)
        return SK_PASS;
    missed = unheard(sk, hearing.speech);
    if (missed && !is_of_body(hearing.speech, side, missed))
        return SK_PASS;
    side->end = side->shown;
    side->element = side->shown ? 1 : 0;
    side->pid = bpf_get_current_pid_tgid() >> 32;
    side->at = side->since = heard_before(sk, hearing.speech, side, msg->size);
    if (side->refusal) { /* some of it is told */
        side->flags = ABI_SAID_AGAIN;
        side->since = 0;
        side->at = msg->size < ODD_MAX ? msg->size : ODD_MAX;
    } else {
        if (control == CONTROL_REFUSED)
            hear_refused(side, HEAR_UNSEEN);
        else
            hear_rules(hearing.speech, side);
        if (!side->refusal)
            bpf_loop(STEPS_MAX, step, &hearing, 0);
    }
    hear_end(&hearing, side);
    hearing.speech->mixed = side->body < msg->size;
    if (side->keyed)
        side->next += msg->size;
    if (route_can() & ABI_ROUTE_LEAVE && is_to_leave(hearing.speech, side))
        hearing.speech->leaves = true;
    return side->refusal ? SK_DROP : SK_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
