/* ktls: what a pod's programs say where the kernel encrypts and decrypts for them, seen before the
 * one and after the other.
 *
 * A socket in a sockhash cannot have kTLS on newer kernels, and send.bpf.c cannot see it. There an
 * LSM program stands at the head of every send and can refuse it; then the bytes are still the
 * program's, another thread of which may change them before they are encrypted, and a send may turn
 * out short. So it decides on a copy of what is known of the connection, and what was really sent
 * is taken, and told, where the tls module's own function returns. Of a head nothing may be pages
 * that a program splices: those the kernel keeps as they are, and encrypts when more comes. What
 * the program receives is read there alone, after it was decrypted; what it splices into a pipe is
 * only counted.
 *
 * Before 6.5, sendfile and splice pass the LSM hook by. On connections that rules are about they
 * are refused with EINVAL, on which programs go on to write. */
#include <linux/bpf.h>

#include <bpf/bpf_tracing.h>

/* Here it has been said, and what may not go was found before, in judge_send. */
#define HEAR_JUDGES(direction) false
#include "bpf/bypass.h"
#include "bpf/hear.h"
#include "bpf/keyed.h"
#include "bpf/ktls.h"

enum { EPERM = 1, SIGKILL = 9, EINVAL = 22, MSG_PEEK = 2, STEPS_MAX = 1 << 20 };

/* A thread in a send or receive. Not by CPU: programs that may sleep change theirs. */
struct talker {
    __u64 cookie;  /* of the socket of the call that is under way; 0: none */
    __u64 control; /* receive: where the type of the record goes */
    struct memory memory;
    struct speech_side side; /* copies, to judge by */
    struct spell_ties ties;
    __u32 direction; /* enum abi_direction, of what is heard */
    __u8 spliced;    /* what is judged are pages ... */
    __u8 loose; /* ... and not only of a body: they could say anything when they are encrypted */
    __u8 pad[2];
};
struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct talker);
} talkers SEC(".maps");

static __always_inline struct talker *talker_of_current(__u64 flags)
{
    return bpf_task_storage_get(&talkers, bpf_get_current_task_btf(), NULL, flags);
}

static __always_inline bool hear_turn(struct hearing *hearing, struct speech_side *side)
{
    struct talker *talker = hearing->from;
    bool more = memory_turn(&talker->memory);

    side->end = talker->memory.end;
    return more;
}

static __always_inline bool hear_fetch(struct hearing *hearing, struct speech_side *side, __u32 len)
{
    struct talker *talker = hearing->from;

    return MEMORY_READ(&talker->memory, side->piece.bytes, SAID_BOUND(len, SPELL_PIECE), side->at);
}

static __always_inline enum abi_direction hear_direction(const struct hearing *hearing)
{
    const struct talker *talker = hearing->from;

    return talker->direction;
}

static void hear_tell(struct hearing *hearing, struct speech_side *side, enum abi_said_kind kind)
{
    struct talker *talker = hearing->from;
    __u64 len = side->at - side->since;

    if (len > ABI_SAID_MAX)
        len = ABI_SAID_MAX; /* is never more */
#define LOAD(to, len) MEMORY_READ(&talker->memory, to, len, side->since)
    if (!SAY(hearing->speech, side, talker->direction, kind, len, LOAD))
        hear_untold(hearing->speech, side, len, kind);
}

static long step_sent(__u32 turn, struct hearing *hearing)
{
    return hear_step(hearing, ABI_TX);
}

static long step_received(__u32 turn, struct hearing *hearing)
{
    return hear_step(hearing, ABI_RX);
}

/* The first `len` bytes of the thread's memory were said. */
static __always_inline void hear(struct talker *talker, struct speech *speech,
                                 enum abi_direction direction, __u32 len)
{
    struct hearing hearing = {.from = talker, .speech = speech};
    struct speech_side *side = &speech->sides[direction];
    struct memory *memory = &talker->memory;

    if (len < memory->size)
        memory->size = len;
    if (memory->end > memory->size)
        memory->end = memory->size;
    talker->direction = direction;
    hear_begin(side, memory->size);
    side->end = memory->end;
    side->pid = direction == ABI_TX ? bpf_get_current_pid_tgid() >> 32 : 0;
    bpf_loop(STEPS_MAX, direction == ABI_TX ? step_sent : step_received, &hearing, 0);
    hear_end(&hearing, side);
}

/* ---- sent ---- */

/* How much of a message's head is in the first element of memory, which is in turn then; 0: not
 * enough to tell what it is. */
static __always_inline __u32 find_head(struct memory *memory)
{
    __u32 n = memory->size < MESSAGE_HEAD ? memory->size : MESSAGE_HEAD;

    if (!memory->end)
        memory_turn(memory);
    return n <= memory->end ? n : 0;
}

/* Records of another type than data: TLS's own affair, if they are what they pretend to be. Those
 * of a server are nobody's request. */
static __always_inline bool is_control(struct memory *memory, const struct speech *speech,
                                       __u8 type)
{
    __u8 head[MESSAGE_HEAD] = {};
    __u32 n = find_head(memory);

    if (type && !speech->asks)
        return true;
    if (!type || !n || !MEMORY_READ(memory, head, SAID_BOUND(n, MESSAGE_HEAD), 0))
        return false;
    return (type == HANDSHAKE_RECORD && is_whole_message(head, memory->size)) ||
           type == control_type(head, memory->size, false);
}

SEC("?fentry/tls_sw_sendmsg")
int BPF_PROG(begin_send, struct sock *sk, struct msghdr *msg)
{
    __u64 cookie = bpf_get_socket_cookie(sk);
    const struct speech *speech = bpf_map_lookup_elem(&keyed, &cookie);
    struct talker *talker;
    __u8 type;

    talker = speech ? talker_of_current(BPF_LOCAL_STORAGE_GET_F_CREATE) : NULL;
    if (!talker)
        return 0;
    type = sent_type(msg);
    memory_of(&talker->memory, msg);
    if (type != DATA_RECORD && is_control(&talker->memory, speech, type))
        return 0;
    memory_of(&talker->memory, msg); /* from its beginning */
    talker->cookie = cookie;
    return 0;
}

SEC("?fexit/tls_sw_sendmsg")
int BPF_PROG(end_send, struct sock *sk, struct msghdr *msg, __u64 size, int sent)
{
    __u64 cookie = bpf_get_socket_cookie(sk);
    struct talker *talker;
    struct speech *speech;

    speech = bpf_map_lookup_elem(&keyed, &cookie);
    if (!speech)
        return 0;
    talker = talker_of_current(0);
    if (!talker || talker->cookie != cookie)
        return 0;
    talker->cookie = 0;
    if (sent > 0)
        hear(talker, speech, ABI_TX, sent);
    return 0;
}

/* 6.1: sendfile and splice. */
SEC("?fexit/tls_sw_sendpage")
int BPF_PROG(end_send_page, struct sock *sk, struct page *page, int offset, __u64 size, int flags,
             int sent)
{
    __u64 cookie = bpf_get_socket_cookie(sk);
    struct talker *talker;
    struct speech *speech;
    __u64 address = 0;

    speech = bpf_map_lookup_elem(&keyed, &cookie);
    if (!speech || sent <= 0)
        return 0;
    talker = talker_of_current(BPF_LOCAL_STORAGE_GET_F_CREATE);
    if (!talker)
        return 0;
    /* the verifier allows no arithmetic with what it knows for a pointer */
    bpf_probe_read_kernel(&address, sizeof(address), &ctx[1]);
    memory_of_page(&talker->memory, address, offset, sent);
    hear(talker, speech, ABI_TX, sent);
    return 0;
}

/* ---- received ---- */

SEC("?fentry/tls_sw_recvmsg")
int BPF_PROG(begin_receive, struct sock *sk, struct msghdr *msg, __u64 size, int flags)
{
    __u64 cookie = bpf_get_socket_cookie(sk);
    struct talker *talker;

    if (flags & MSG_PEEK || !bpf_map_lookup_elem(&keyed, &cookie))
        return 0;
    talker = talker_of_current(BPF_LOCAL_STORAGE_GET_F_CREATE);
    if (!talker)
        return 0;
    talker->cookie = cookie;
    talker->control =
        BPF_CORE_READ(msg, msg_controllen) ? (__u64)BPF_CORE_READ(msg, msg_control) : 0;
    memory_of(&talker->memory, msg);
    return 0;
}

SEC("?fexit/tls_sw_recvmsg")
int BPF_PROG(end_receive, struct sock *sk, struct msghdr *msg, __u64 size, int flags,
             int *address_len, int received)
{
    __u64 cookie = bpf_get_socket_cookie(sk);
    struct talker *talker;
    struct speech *speech;

    speech = bpf_map_lookup_elem(&keyed, &cookie);
    if (!speech)
        return 0;
    talker = talker_of_current(0);
    if (!talker || talker->cookie != cookie)
        return 0;
    talker->cookie = 0;
    if (received > 0 && received_data(talker->control))
        hear(talker, speech, ABI_RX, received);
    return 0;
}

/* Into a pipe: that is not read, but what follows it may be. */
SEC("?fexit/tls_sw_splice_read")
int BPF_PROG(end_splice, struct socket *socket, __s64 *at, void *pipe, __u64 size,
             unsigned int flags, __s64 spliced)
{
    __u64 cookie = bpf_get_socket_cookie(socket->sk);
    struct speech *speech = bpf_map_lookup_elem(&keyed, &cookie);

    if (speech && spliced > 0)
        hear_missing(speech, &speech->sides[ABI_RX], ABI_RX, spliced);
    return 0;
}

/* ---- refused ---- */

/* A connection that the pod's side made, where the kernel encrypts what it sends: what was known
 * before it did. */
static __always_inline struct speech *find_encrypted(struct sock *sk)
{
    struct speech *speech = sk ? bpf_sk_storage_get(&speeches, sk, NULL, 0) : NULL;

    return speech && speech->asks && is_encrypted(sk) ? speech : NULL;
}

/* ... and since then; NULL: there was no room for it. */
static __always_inline struct speech *find_keyed(const struct speech *speech)
{
    __u64 cookie = speech->origin.cookie;

    return bpf_map_lookup_elem(&keyed, &cookie);
}

/* Where rules are looked up is nothing for a program that may sleep. Attached last, this is run
 * first. */
SEC("?lsm/socket_sendmsg")
int BPF_PROG(ask_rules, struct socket *socket)
{
    struct speech *before = find_encrypted(socket->sk),
                  *speech = before ? find_keyed(before) : NULL;

    if (!speech)
        speech = before;
    if (speech && !spelling_is_fresh(speech, ABI_TX))
        speech->over = true;
    return 0;
}

static __always_inline bool read_now(const struct talker *talker, struct speech_side *side,
                                     __u32 len)
{
    const struct memory *memory = &talker->memory;
    const void *from = (const void *)(memory->base + (side->at - memory->begin));

    if (memory->kind == MEMORY_USER) /* it may have to come from somewhere first */
        return !bpf_copy_from_user(side->piece.bytes, SAID_BOUND(len, SPELL_PIECE), from);
    return !bpf_probe_read_kernel(side->piece.bytes, SAID_BOUND(len, SPELL_PIECE), from);
}

/* Of records of another type only those that TLS cannot do without: who has a false key encrypt
 * them could have the other end find a request in what nobody was to read. */
static __always_inline void judge_control(struct talker *talker, struct speech_side *real,
                                          const struct sock *sk, __u8 type)
{
    struct speech_side *side = &talker->side;
    const struct spell *spell = &side->spell;
    __u32 n = find_head(&talker->memory);
    bool begins = spell->mode == SPELL_FIRST && !spell->at && !side->finished && is_tls12(sk);

    if (type && n && read_now(talker, side, n) &&
        type == control_type(side->piece.bytes, side->size, begins)) {
        if (side->piece.bytes[0] == MESSAGE_FINISHED)
            real->finished = true;
        return;
    }
    hear_refused(side, HEAR_UNSEEN);
}

/* As hear_step() does it, but nothing is told, and only a copy of what is known changes. */
static long judge_step(__u32 turn, struct hearing *hearing)
{
    struct talker *talker = hearing->from;
    struct speech_side *side = &talker->side;
    __u32 left = side->size - side->at, n;
    struct spell_told told = {};

    if (side->at >= side->size)
        return 1;
    if (side->at >= side->end && hear_turn(hearing, side))
        return 0;
    spell_settle(&side->spell, &talker->ties);
    n = spell_skip(&side->spell, left);
    if (n) {
        side->at += n;
        return 0;
    }
    if (!side->spell.at && side->spell.mode <= SPELL_HEAD)
        side->spell.start = hearing->speech->spelling.row;
    if (left > side->end - side->at)
        left = side->end - side->at;
    if (left > SPELL_PIECE)
        left = SPELL_PIECE;
    talker->loose |=
        talker->spliced && !spell_is_counted(&side->spell) && side->spell.mode != SPELL_RAW;
    n = left && read_now(talker, side, left)
            ? spell_take(&side->spell, &talker->ties, &side->piece, left, &told)
            : 0;
    if (!n || n > left) {
        side->refusal = HEAR_UNSEEN;
        return 1;
    }
    if (told.what & SPELL_BEGINS && !side->flags) {
        side->since = side->at;
        side->flags = ABI_SAID_BEGINS;
    }
    side->at += n;
    /* records within records are nothing that can be read */
    side->refusal = objection(hearing->speech, side, told.what, side->spell.mode == SPELL_TLS);
    if (side->refusal && told.what & SPELL_TURNED)
        side->at += hear_odd(side); /* it may tell why */
    return side->refusal != HEAR_GOES || (talker->loose && told.what & SPELL_ENDS);
}

/* What was read of a body's inside may change: it is counted. What was no HTTP before is none now,
 * but rules may have come that want it seen; nor is what follows known, where something said was
 * not to be read when it had been: its page was not there any more. */
static __always_inline void judge_data(struct talker *talker, struct hearing *hearing)
{
    struct speech_side *side = &talker->side;

    if (other_is_refused(hearing->speech, side)) {
        hear_refused(side, HEAR_UNSEEN);
        return;
    }
    talker->loose = false;
    bpf_loop(STEPS_MAX, judge_step, hearing, 0);
    if (!talker->loose || side->refusal)
        return;
    side->refusal = HEAR_DENIED;
    side->flags |= ABI_SAID_SPLICED;
}

/* What was refused, up to where that was known; the last piece says so. */
static long tell_refused(__u32 turn, struct hearing *hearing)
{
    struct talker *talker = hearing->from;
    struct speech_side *side = &talker->side;

    if (side->at >= side->size)
        return 1;
    if (side->at >= side->end)
        return !hear_turn(hearing, side);
    side->since = side->at;
    side->at = side->end < side->size ? side->end : side->size;
    if (side->at - side->since > ABI_SAID_MAX)
        side->at = side->since + ABI_SAID_MAX;
    hear_tell(hearing, side, side->at == side->size ? ABI_SAID_DENIED : ABI_SAID_BYTES);
    side->flags &= ~ABI_SAID_BEGINS;
    return 0;
}

static __always_inline void refuse(struct hearing *hearing, struct msghdr *msg,
                                   struct speech_side *real)
{
    struct talker *talker = hearing->from;
    struct speech_side *side = &talker->side;

    if (side->refusal == HEAR_UNSEEN)
        side->flags |= ABI_SAID_UNSEEN;
    side->pid = bpf_get_current_pid_tgid() >> 32;
    side->skipped = real->skipped + side->since; /* nor did those go */
    side->lost = real->lost;
    side->size = side->at;
    side->at = side->since;
    memory_of(&talker->memory, msg);
    side->end = talker->memory.end;
    bpf_loop(STEPS_MAX, tell_refused, hearing, 0);
    real->skipped = side->skipped;
    real->lost = side->lost;
}

/* Nobody can read it. */
static __always_inline int refuse_unheard(struct speech *speech)
{
    if (!is_judged_speech(speech))
        return 0;
    count_route(ABI_ROUTE_UNHEARD, 1);
    return -EPERM;
}

SEC("?lsm.s/socket_sendmsg")
int BPF_PROG(judge_send, struct socket *socket, struct msghdr *msg)
{
    struct sock *sk = socket->sk;
    struct speech *before = find_encrypted(sk), *speech = before ? find_keyed(before) : NULL;
    struct hearing hearing = {.speech = speech};
    struct talker *talker;
    __u8 type;

    if (!before)
        return 0;
    if (!speech)
        return refuse_unheard(before);
    if (!is_judged_speech(speech))
        return 0;
    talker = talker_of_current(BPF_LOCAL_STORAGE_GET_F_CREATE);
    if (!talker)
        return -EPERM; /* out of memory */
    hearing.from = talker;
    memory_of(&talker->memory, msg);
    __builtin_memcpy(&talker->side, &speech->sides[ABI_TX], SPEECH_STATE);
    talker->ties = speech->ties;
    talker->direction = ABI_TX;
    hear_begin(&talker->side, talker->memory.size);
    talker->side.end = talker->memory.end;
    talker->spliced = is_spliced(msg);
    type = sent_type(msg);
    if (type != DATA_RECORD)
        judge_control(talker, &speech->sides[ABI_TX], sk, type);
    else
        judge_data(talker, &hearing);
    if (!talker->side.refusal)
        return 0;
    refuse(&hearing, msg, &speech->sides[ABI_TX]);
    if (speech->spelling.flags & ABI_SPELL_KILL)
        bpf_send_signal(SIGKILL);
    return -EPERM;
}

/* Kernels before 6.5: sendfile and splice. */
SEC("?lsm/file_permission")
int BPF_PROG(guard_pages, struct file *file, int mask)
{
    enum { MAY_WRITE = 2, S_IFMT = 0170000, S_IFSOCK = 0140000 };
    struct speech *before, *speech;
    struct socket *socket;
    struct sock *sk;

    if (!(mask & MAY_WRITE) || (file->f_inode->i_mode & S_IFMT) != S_IFSOCK)
        return 0;
    socket = bpf_sock_from_file(file);
    sk = socket ? socket->sk : NULL;
    before = sk ? bpf_sk_storage_get(&speeches, sk, NULL, 0) : NULL;
    if (!before || !before->asks || !before->leaves || !sends_pages())
        return 0;
    speech = find_keyed(before);
    if (!speech)
        speech = before;
    if (!spelling_is_fresh(speech, ABI_TX))
        speech->over = true;
    return is_judged_speech(speech) ? -EINVAL : 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
