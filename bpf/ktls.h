/* ktls: what a send or receive's control data say of records. ktls.bpf.c's alone. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/tls.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

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

/* Whether what came is data of the other program's own: the kernel tells who asks the record's
 * type, and gives nothing else to who does not. */
static __always_inline bool received_data(__u64 control)
{
    struct record_type type = {};

    if (!control || bpf_probe_read_user(&type, sizeof(type), (void *)control))
        return true;
    return type.level != SOL_TLS || type.type != TLS_GET_RECORD_TYPE || type.value == DATA_RECORD;
}
