/* bypass: which connections are left alone, because what they say is read in the kernel.
 *
 * Rules may name the route; else it is as the pod's settings say: for all its connections, or for
 * those of programs that were seen to let the kernel encrypt (proxy/kernel/programs.c). Neither
 * where this kernel cannot do it, nor where the agent itself has to decide: it would not be asked.
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>

#include "bpf/kernel.h"
#include "bpf/maps.h"

/* The image that the current task runs. */
static __always_inline struct abi_program program_of_current(__u64 pod)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct file *image = BPF_CORE_READ(task, mm, exe_file);
    struct abi_program program = {.pod = pod};

    program.inode = BPF_CORE_READ(image, f_inode, i_ino);
    program.device = BPF_CORE_READ(image, f_inode, i_sb, s_dev);
    return program;
}

/* enum abi_program_use. */
static __always_inline __u32 use_of_program(__u64 pod)
{
    struct abi_program program = program_of_current(pod);
    const __u32 *use = bpf_map_lookup_elem(&ktls_programs, &program);

    return use ? *use : 0;
}

static __always_inline __u32 route_can(void)
{
    __u32 zero = 0;
    const __u32 *can = bpf_map_lookup_elem(&route, &zero);

    return can ? *can : 0;
}

static __always_inline __u64 route_count(enum abi_route_count which)
{
    __u32 key = which;
    const __u64 *count = bpf_map_lookup_elem(&route_counts, &key);

    return count ? *count : 0;
}

static __always_inline void count_route(enum abi_route_count which, __s64 more)
{
    __u32 key = which;
    __u64 *count = bpf_map_lookup_elem(&route_counts, &key);

    if (count)
        __sync_fetch_and_add(count, more);
}

/* `verdict`: of rules, with what they say of the route. */
static __always_inline bool takes_kernel_route(const struct abi_pod *pod, __u64 id, __u32 verdict)
{
    __u32 can = route_can(), use;

    if (!can || verdict & (ABI_VERDICT_PROXY | ABI_VERDICT_AGENT) ||
        route_count(ABI_ROUTE_ENROLLED) >= ABI_ENROLLED_MAX)
        return false;
    if (verdict & ABI_VERDICT_KERNEL || pod->flags & ABI_POD_KERNEL)
        return true;
    if (verdict & ABI_VERDICT_NEEDS || (verdict & ABI_VERDICT_SURE && !(can & ABI_ROUTE_SURE)))
        return false; /* what must be denied there is known too late, or could be changed then */
    if (!(pod->flags & ABI_POD_AUTO) || !(can & ABI_ROUTE_KTLS))
        return false;
    use = use_of_program(id);
    return use & ABI_PROGRAM_BYPASSES && !(use & ABI_PROGRAM_HTTP2 && verdict & ABI_VERDICT_SURE);
}
