/* send: what a pod's programs send by the kernel route, seen before it leaves.
 *
 * An sk_msg program of the sockhash `enrolled`: it runs inside the very send, with the socket
 * locked, on bytes that were copied from the program, which can change them no more. A send comes
 * as messages of 544 kB at most, in several pieces of memory, of which only the first can be
 * seen as it is; bpf_msg_pull_data() shows another one, and copies where several are asked for. */
#include <linux/bpf.h>

#include "bpf/say.h"

/* clang would fold `ctx + 8` into one address, which the verifier does not take for the context's.
 */
static __always_inline void *data_of(struct sk_msg_md *msg)
{
    void *data;

    asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(data) : "r"(msg));
    return data;
}

struct hearing {
    struct sk_msg_md *msg;
    struct speech *speech;
    __u32 at, size; /* in the message */
    __u32 pid;
};

static __always_inline __u64 bounded(__u64 len)
{
    len--;                                                        /* 0 is none */
    asm volatile("%0 &= %1" : "+r"(len) : "i"(ABI_SAID_MAX - 1)); /* for the verifier */
    return len + 1;
}

static long tell_piece(__u32 turn, struct hearing *hearing)
{
    __u32 len = hearing->size - hearing->at;
    struct abi_said *record;

    if (len > ABI_SAID_MAX)
        len = ABI_SAID_MAX;
    if (!len || bpf_msg_pull_data(hearing->msg, hearing->at, hearing->at + len, 0))
        return 1;
    record = begin_saying(hearing->speech, ABI_TX, ABI_SAID_MAX, len);
    if (record) {
        record->pid = hearing->pid;
        bpf_probe_read_kernel(record->bytes, bounded(len), data_of(hearing->msg));
        bpf_ringbuf_submit(record, 0);
    }
    hearing->at += len;
    return 0;
}

SEC("sk_msg")
int hear_sent(struct sk_msg_md *msg)
{
    struct hearing hearing = {.msg = msg, .size = msg->size};
    struct bpf_sock *sk = msg->sk;

    hearing.speech = sk ? bpf_sk_storage_get(&speeches, sk, NULL, 0) : NULL;
    if (!hearing.speech)
        return SK_PASS;
    hearing.pid = bpf_get_current_pid_tgid() >> 32;
    bpf_loop(64, tell_piece, &hearing, 0);
    return SK_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
