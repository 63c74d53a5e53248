/* memory: what a program sends or wants to receive, wherever it lies, piece by piece.
 *
 * As the kernel's iov_iter has it: one buffer, several, or pages (sendfile and splice). Kernels
 * differ in its fields and in the numbers of its kinds: both are found when programs are loaded. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "bpf/kernel.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct iovec {
    void *iov_base;
    unsigned long iov_len;
};
struct page {
    unsigned long flags;
};
struct bio_vec {
    struct page *bv_page;
    unsigned int bv_len, bv_offset;
};
struct iov_iter {
    __u8 iter_type;
    unsigned long iov_offset, count, nr_segs;
    void *ubuf;
    const struct iovec *__iov;
};
struct iov_iter___old { /* before 6.4 */
    const struct iovec *iov;
};
struct msghdr {
    struct iov_iter msg_iter;
    void *msg_control;
    unsigned long msg_controllen;
    unsigned int msg_flags;
};

#pragma clang attribute pop

enum iter_type { ITER_UBUF, ITER_IOVEC, ITER_BVEC, ITER_KVEC }; /* the kernel's numbers differ */

/* Where pages lie in the kernel's own memory: of x86 alone. */
extern const void page_offset_base __ksym __weak;
extern const void vmemmap_base __ksym __weak;
enum { PAGE_BITS = 12 };

enum memory_kind { MEMORY_NONE, MEMORY_USER, MEMORY_KERNEL, MEMORY_PAGES };

struct memory {
    __u64 base;  /* of the element in turn */
    __u32 begin; /* where that begins in the whole */
    __u32 end;
    __u64 next; /* what describes the one behind it */
    __u64 more; /* elements behind it */
    __u64 skip; /* bytes of the next one that are done with */
    __u32 size; /* of the whole */
    __u32 kind; /* enum memory_kind */
};

static __always_inline __u64 address_of(__u64 page)
{
    __u64 pages = 0, memory = 0;

    if (!&page_offset_base || !&vmemmap_base)
        return 0;
    bpf_probe_read_kernel(&memory, sizeof(memory), &page_offset_base);
    bpf_probe_read_kernel(&pages, sizeof(pages), &vmemmap_base);
    return memory + (((page - pages) / bpf_core_type_size(struct page)) << PAGE_BITS);
}

static __always_inline void memory_of_page(struct memory *memory, __u64 page, __u64 offset,
                                           __u32 size)
{
    __u64 base = address_of(page);

    __builtin_memset(memory, 0, sizeof(*memory));
    memory->kind = base ? MEMORY_KERNEL : MEMORY_NONE;
    memory->base = base + offset;
    memory->end = memory->size = size;
}

static __always_inline void memory_of(struct memory *memory, struct msghdr *msg)
{
    struct iov_iter *iter = &msg->msg_iter;
    struct iov_iter___old *old = (void *)iter;
    __u8 type = BPF_CORE_READ(iter, iter_type);

    __builtin_memset(memory, 0, sizeof(*memory));
    memory->size = BPF_CORE_READ(iter, count);
    memory->skip = BPF_CORE_READ(iter, iov_offset);
    if (type == bpf_core_enum_value(enum iter_type, ITER_UBUF)) {
        memory->kind = MEMORY_USER;
        memory->base = (__u64)BPF_CORE_READ(iter, ubuf) + memory->skip;
        memory->end = memory->size;
        return;
    }
    if (type == bpf_core_enum_value(enum iter_type, ITER_IOVEC))
        memory->kind = MEMORY_USER;
    else if (type == bpf_core_enum_value(enum iter_type, ITER_KVEC))
        memory->kind = MEMORY_KERNEL;
    else if (type == bpf_core_enum_value(enum iter_type, ITER_BVEC) && &page_offset_base)
        memory->kind = MEMORY_PAGES;
    memory->more = BPF_CORE_READ(iter, nr_segs);
    memory->next = (__u64)(bpf_core_field_exists(iter->__iov) ? BPF_CORE_READ(iter, __iov)
                                                              : BPF_CORE_READ(old, iov));
}

/* Goes on to the next element; false: there is none. */
static __always_inline bool memory_turn(struct memory *memory)
{
    __u64 base, len, skip = memory->skip;

    if (!memory->more || memory->end >= memory->size)
        return false;
    memory->more--;
    if (memory->kind == MEMORY_PAGES) {
        const struct bio_vec *pages = (const void *)memory->next;

        base = address_of((__u64)BPF_CORE_READ(pages, bv_page)) + BPF_CORE_READ(pages, bv_offset);
        len = BPF_CORE_READ(pages, bv_len);
        memory->next += bpf_core_type_size(struct bio_vec);
    } else {
        const struct iovec *buffer = (const void *)memory->next;

        base = (__u64)BPF_CORE_READ(buffer, iov_base);
        len = BPF_CORE_READ(buffer, iov_len);
        memory->next += bpf_core_type_size(struct iovec);
    }
    memory->skip = 0;
    memory->base = base + skip;
    len = len > skip ? len - skip : 0;
    if (len > memory->size - memory->end)
        len = memory->size - memory->end;
    memory->begin = memory->end;
    memory->end += len;
    return true;
}

/* len bytes from `at` of the whole on, which are in the element in turn; whether they could be
 * read. */
#define MEMORY_READ(memory, to, len, at)                                                           \
    ({                                                                                             \
        const void *from_ = (const void *)((memory)->base + ((at) - (memory)->begin));             \
                                                                                                   \
        (memory)->kind == MEMORY_USER ? !bpf_probe_read_user(to, len, from_)                       \
                                      : !bpf_probe_read_kernel(to, len, from_);                    \
    })
