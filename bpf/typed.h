/* typed: which threads are in a send of records of another type than data, where what they send is
 * seen by send.bpf.c, which is told of no type.
 *
 * Written by records.bpf.c when such a send begins, before anything of it is encrypted, and gone
 * when it has ended; read within it, by the same thread. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "bpf/control.h"
#include "bpf/memory.h"

struct typed {
    __u64 sk;   /* whose send it is */
    __u64 msg;  /* what is sent: struct msghdr */
    __u64 size; /* of the whole of it */
    __u64 type; /* 0: that is not clear */
};
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16384);
    __type(key, __u64); /* process and thread */
    __type(value, struct typed);
} typed SEC(".maps") __weak;

/* The type of the record that the current thread is about to have encrypted. One of data that was
 * still open is sent first, before anything of the message was taken. */
static __always_inline __u8 type_in_turn(const struct sock *sk)
{
    __u64 thread = bpf_get_current_pid_tgid();
    const struct typed *found = bpf_map_lookup_elem(&typed, &thread);
    const struct msghdr *msg;

    if (!found || found->sk != (__u64)sk)
        return DATA_RECORD;
    msg = (const void *)found->msg;
    return BPF_CORE_READ(msg, msg_iter.count) == found->size ? DATA_RECORD : found->type;
}
