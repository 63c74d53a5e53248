/* ktls: what the kernel knows of a send or receive beside its bytes: of which records they are, and
 * how they come. ktls.bpf.c's and records.bpf.c's alone. */
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
struct io_wq_work {
    unsigned int flags;
};
struct io_worker { /* a thread of io_uring's that may block */
    struct io_wq_work *cur_work;
};
struct io_kiocb {
    __u8 opcode;
    struct io_wq_work work;
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

/* Whether the worker writes, of all it may be at: only there does io_uring splice, for that may
 * block. What cannot be read is no write. */
static __always_inline bool worker_writes(const struct io_worker *worker)
{
    enum { WRITEV = 2, WRITE_FIXED = 5, WRITE = 23 }; /* IORING_OP_ */
    const struct io_kiocb *request;
    const void *work;
    __u8 operation;

    if (!bpf_core_field_exists(struct io_worker, cur_work) ||
        !bpf_core_field_exists(struct io_kiocb, work))
        return false;
    work = BPF_CORE_READ(worker, cur_work);
    if (!work)
        return false;
    request = work - bpf_core_field_offset(struct io_kiocb, work);
    operation = BPF_CORE_READ(request, opcode);
    return operation == WRITEV || operation == WRITE_FIXED || operation == WRITE;
}

/* Whether who writes to a file sends pages, on kernels where those pass by judge_send: sendfile and
 * splice, of each of x86's tables. All else that writes to a socket comes to judge_send, whichever
 * system call it belongs to: of what io_uring puts off that is any, and none in its own threads. */
static __always_inline bool sends_pages(void)
{
    enum { PF_IO_WORKER = 0x10, X32 = 1 << 30 };
    enum { SENDFILE = 40, SPLICE = 275 };
    enum { I386_SENDFILE = 187, I386_SENDFILE64 = 239, I386_SPLICE = 313 };
    struct task_struct *task = bpf_get_current_task_btf();
    const struct pt_regs___here *registers = (const void *)bpf_task_pt_regs(task);
    const struct io_worker *worker;
    __u32 call; /* the kernel ignores the half above, which a program may set */

    if (BPF_CORE_READ(task, flags) & PF_IO_WORKER) {
        if (!bpf_core_field_exists(task->worker_private))
            return true;
        worker = BPF_CORE_READ(task, worker_private);
        return worker && !worker_writes(worker); /* none: it polls for requests, and never blocks */
    }
    call = (__u32)BPF_CORE_READ(registers, orig_ax) & ~X32;
    return call == SENDFILE || call == SPLICE || call == I386_SENDFILE || call == I386_SENDFILE64 ||
           call == I386_SPLICE;
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
