/* ktls: what the kernel knows of a send or receive beside its bytes: of which records they are, and
 * how they come. ktls.bpf.c's alone. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/tls.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "bpf/control.h"
#include "bpf/encrypted.h"
#include "bpf/kernel.h"
#include "bpf/memory.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct socket {
    struct sock *sk;
};
struct pt_regs___here {
    unsigned long orig_ax;
};

#pragma clang attribute pop

enum { SOL_TLS = 282 };

/* <sys/socket.h>'s struct cmsghdr, and the one byte that TLS puts behind. */
struct record_type {
    __u64 len;
    __s32 level, type;
    __u8 value, pad[7];
};

/* The type of the records that are sent; 0: that is not clear. */
static __always_inline __u8 sent_type(struct msghdr *msg)
{
    struct record_type control = {};
    __u64 len = BPF_CORE_READ(msg, msg_controllen);

    if (!len)
        return DATA_RECORD;
    if (len > sizeof(control))
        return 0; /* several, of which the last one counts: nobody does that in good faith */
    bpf_probe_read_kernel(&control, sizeof(control), BPF_CORE_READ(msg, msg_control));
    return control.level == SOL_TLS && control.type == TLS_SET_RECORD_TYPE ? control.value
                                                                           : DATA_RECORD;
}

/* Pages that are others', too: from 6.5 on, and no program can say so by itself. The kernel
 * encrypts them as they are when their record is full, or one sends without MSG_MORE. */
static __always_inline bool is_spliced(struct msghdr *msg)
{
    enum { MSG_SPLICE_PAGES = 1 << 27 };

    return BPF_CORE_READ(msg, msg_flags) & MSG_SPLICE_PAGES;
}

/* Whether the system call is one that writes what the program has in its memory: then it passes by
 * judge_send. What io_uring does has another number, or none. */
static __always_inline bool writes(void)
{
    enum { WRITE = 1, PWRITE64 = 18, WRITEV = 20, PWRITEV = 296, PWRITEV2 = 328 }; /* x86-64 */
    const struct pt_regs___here *registers =
        (const void *)bpf_task_pt_regs(bpf_get_current_task_btf());
    unsigned long call = BPF_CORE_READ(registers, orig_ax);

    return call == WRITE || call == WRITEV || call == PWRITE64 || call == PWRITEV ||
           call == PWRITEV2;
}

/* Whether what came is data of the other program's own: the kernel tells who asks the record's
 * type, and gives nothing else to who does not. */
static __always_inline bool received_data(__u64 control)
{
    struct record_type type = {};

    if (!control || bpf_probe_read_user(&type, sizeof(type), (void *)control))
        return true;
    return type.level != SOL_TLS || type.type != TLS_GET_RECORD_TYPE || type.value == DATA_RECORD;
}
