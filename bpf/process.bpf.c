/* process: who runs what in the registered pods: exec, fork and exit, told through a ring buffer.
 *
 * Raw tracepoints, because every kernel has them without BTF programs, kprobes or tracefs. They see
 * the whole host, so the first step is always to ask whether the process belongs to a pod. They run
 * with the CPU held, so per-CPU scratch is safe. bpf_d_path() is refused in them: paths are
 * walked by hand, from the last component to the first, without the kernel's locks, so a rename in
 * that very moment may show in a path.
 * Leads to: proxy/identity/identity.c. */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "bpf/abi.h"
#include "bpf/image.h"
#include "bpf/kernel.h"
#include "bpf/maps.h"
#include "bpf/pod.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum {
    COMPONENT_MAX = 255,      /* NAME_MAX */
    SIGNAL_GROUP_EXIT = 0x4,  /* include/linux/sched/signal.h */
    STEPS_MAX = ABI_PATH_MAX, /* a path's components and the mounts it crosses */
};

/* A path on its way from right to left. It lives in a map, not on the stack: what comes from a map
 * is unknown to the verifier, so it needs to look at a step but once. */
struct walk {
    struct dentry *dentry;
    struct mount *mount;
    struct dentry *root; /* the process's own root, where the path begins for it */
    struct mount *root_mount;
    __u64 at; /* text[at..] is walked */
    bool cut;
    char text[ABI_PATH_MAX + COMPONENT_MAX + 1]; /* the path ends at ABI_PATH_MAX; then slack */
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct walk);
} process_walk SEC(".maps");

/* 0: none. Not pod_of_current(): a fork is told by the parent's hand, and the child may have been
 * born into another cgroup. */
static __always_inline __u64 pod_of_task(struct task_struct *task)
{
    return pod_of_cgroup(BPF_CORE_READ(task, cgroups, dfl_cgrp));
}

static __always_inline void fill_namespaces(struct abi_process *record, struct task_struct *task)
{
    struct nsproxy *ns = BPF_CORE_READ(task, nsproxy);

    record->netns_cookie = BPF_CORE_READ(ns, net_ns, net_cookie);
    record->ns_uts = BPF_CORE_READ(ns, uts_ns, ns.inum);
    record->ns_ipc = BPF_CORE_READ(ns, ipc_ns, ns.inum);
    record->ns_mnt = BPF_CORE_READ(ns, mnt_ns, ns.inum);
    record->ns_net = BPF_CORE_READ(ns, net_ns, ns.inum);
    record->ns_cgroup = BPF_CORE_READ(ns, cgroup_ns, ns.inum);
    record->ns_time = BPF_CORE_READ(ns, time_ns, ns.inum);
    record->ns_user = BPF_CORE_READ(task, cred, user_ns, ns.inum);
}

static __always_inline void fill_credentials(struct abi_process *record, struct task_struct *task)
{
    const struct cred *cred = BPF_CORE_READ(task, cred);

    record->uid = BPF_CORE_READ(cred, uid.val);
    record->gid = BPF_CORE_READ(cred, gid.val);
    record->euid = BPF_CORE_READ(cred, euid.val);
    record->auid = -1; /* "never logged in" */
    if (bpf_core_field_exists(task->loginuid))
        record->auid = BPF_CORE_READ(task, loginuid.val);
    bpf_core_read(&record->cap_permitted, sizeof(__u64), &cred->cap_permitted);
    bpf_core_read(&record->cap_effective, sizeof(__u64), &cred->cap_effective);
    bpf_core_read(&record->cap_inheritable, sizeof(__u64), &cred->cap_inheritable);
}

/* All but the texts. A process is its thread group's leader: threads come and go. */
static __always_inline void fill(struct abi_process *record, enum abi_record_kind kind,
                                 struct task_struct *task, struct task_struct *parent, __u64 pod)
{
    struct task_struct *leader = BPF_CORE_READ(task, group_leader);
    struct pid *pid = BPF_CORE_READ(leader, thread_pid);
    unsigned int level = BPF_CORE_READ(pid, level);
    struct upid own = {};

    bpf_core_read(&own, sizeof(own),
                  (const char *)&pid->numbers + level * bpf_core_type_size(struct upid));
    record->kind = kind;
    record->pid = BPF_CORE_READ(task, tgid);
    record->nspid = own.nr;
    record->ns_pid = BPF_CORE_READ(own.ns, ns.inum);
    record->ppid = BPF_CORE_READ(parent, tgid);
    record->start_ns = BPF_CORE_READ(leader, start_boottime);
    record->parent_start_ns = BPF_CORE_READ(parent, group_leader, start_boottime);
    record->time_ns = bpf_ktime_get_boot_ns();
    record->cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
    record->pod = pod;
    fill_credentials(record, task);
    fill_namespaces(record, task);
    record->exit_code = 0;
    record->flags = 0;
    record->path_len = record->cwd_len = record->file_len = record->args_len = 0;
}

/* Puts one component in front of the path, or steps from a mounted root to where it is mounted. */
static long walk_up(__u32 step, struct walk *const *of)
{
    struct walk *walk = *of;
    struct dentry *dentry = walk->dentry, *up = BPF_CORE_READ(dentry, d_parent);
    struct mount *mount = walk->mount;
    __u64 at = walk->at, len;

    if (dentry == walk->root && mount == walk->root_mount)
        return 1;
    if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
        struct mount *outer = BPF_CORE_READ(mount, mnt_parent);

        if (outer == mount)
            return 1;
        walk->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
        walk->mount = outer;
        return 0;
    }
    len = BPF_CORE_READ(dentry, d_name.len);
    if (len > COMPONENT_MAX || len + 1 > at) {
        walk->cut = true;
        return 1;
    }
    at -= len + 1;
    walk->at = at;
    /* the compiler knows these bounds and would drop the masks; the verifier does not */
    asm volatile("%0 &= 0xfff" : "+r"(at));
    asm volatile("%0 &= 0xff" : "+r"(len));
    walk->text[at] = '/';
    bpf_probe_read_kernel(&walk->text[at + 1], len, BPF_CORE_READ(dentry, d_name.name));
    walk->dentry = up;
    return dentry == up; /* memfd and the like: a name, but in no directory */
}

/* Appends `of` as the process would name it to the record, behind the `used` bytes of its texts.
 * Returns the path's length. */
static __always_inline __u64 append_path(struct abi_process *record, __u64 used, struct walk *walk,
                                         const struct path *of, const struct path *root)
{
    struct dentry *dentry = BPF_CORE_READ(of, dentry);
    struct vfsmount *mount = BPF_CORE_READ(of, mnt), *root_mount = BPF_CORE_READ(root, mnt);
    __u64 at, len;

    if (!dentry)
        return 0;
    walk->dentry = dentry;
    walk->mount = (void *)mount - bpf_core_field_offset(struct mount, mnt);
    walk->root = BPF_CORE_READ(root, dentry);
    walk->root_mount = (void *)root_mount - bpf_core_field_offset(struct mount, mnt);
    walk->cut = false;
    walk->at = ABI_PATH_MAX;
    if (bpf_loop(STEPS_MAX, walk_up, &walk, 0) == STEPS_MAX)
        walk->cut = true;
    at = walk->at;
    if (walk->cut) {
        record->flags |= ABI_PROCESS_PATH_CUT;
        at++; /* no slash in front: what is left of a path may not pass for a whole one */
    } else if (at == ABI_PATH_MAX) {
        at = ABI_PATH_MAX - 1;
        walk->text[at] = '/';
    }
    if (at > ABI_PATH_MAX)
        return 0;
    len = ABI_PATH_MAX - at;
    bpf_probe_read_kernel(&record->text[used], len, &walk->text[at]);
    return len;
}

/* As d_path() decides to write "(deleted)": unlinked while open, or a memfd, which never had a
 * link. */
static __always_inline bool is_unlinked(const struct path *of)
{
    struct dentry *dentry = BPF_CORE_READ(of, dentry);

    return dentry != BPF_CORE_READ(of, mnt, mnt_root) && !BPF_CORE_READ(dentry, d_hash.pprev);
}

/* argv as the new image finds it: for a script that is its interpreter's, with the script in it. */
static __always_inline __u64 append_args(struct abi_process *record, __u64 used,
                                         struct mm_struct *mm)
{
    unsigned long start = BPF_CORE_READ(mm, arg_start);
    __u64 len = BPF_CORE_READ(mm, arg_end) - start;

    if (len > ABI_ARGS_MAX) {
        len = ABI_ARGS_MAX;
        record->flags |= ABI_PROCESS_ARGS_CUT;
    }
    if (bpf_probe_read_user(&record->text[used], len, (void *)start)) {
        record->flags |= ABI_PROCESS_ARGS_CUT; /* paged out already */
        return 0;
    }
    return len;
}

static __always_inline void tell_exec(struct task_struct *task, const struct linux_binprm *bprm,
                                      __u64 pod)
{
    struct mm_struct *mm = BPF_CORE_READ(task, mm);
    struct file *image = BPF_CORE_READ(mm, exe_file);
    struct fs_struct *fs = BPF_CORE_READ(task, fs);
    __u32 zero = 0;
    struct abi_process *record = bpf_map_lookup_elem(&process_scratch, &zero);
    struct walk *walk = bpf_map_lookup_elem(&process_walk, &zero);
    __u64 used;
    long len;

    if (!record || !walk)
        return;
    fill(record, ABI_PROCESS_EXEC, task, BPF_CORE_READ(task, real_parent), pod);
    if (is_unlinked(&image->f_path))
        record->flags |= ABI_PROCESS_DELETED;
    used = record->path_len = append_path(record, 0, walk, &image->f_path, &fs->root);
    used += record->cwd_len = append_path(record, used, walk, &fs->pwd, &fs->root);
    len =
        bpf_probe_read_kernel_str(&record->text[used], ABI_PATH_MAX, BPF_CORE_READ(bprm, filename));
    if (len > 1)
        used += record->file_len = len - 1; /* without the NUL */
    note_exec(record);                      /* before the program can connect */
    used += record->args_len = append_args(record, used, mm);
    if (bpf_ringbuf_output(&records, record, __builtin_offsetof(struct abi_process, text) + used,
                           0))
        count_lost();
}

SEC("raw_tp/sched_process_exec")
int process_exec(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (void *)ctx->args[0];
    __u64 pod = pod_of_task(task);

    if (pod)
        tell_exec(task, (void *)ctx->args[2], pod);
    return 0;
}

/* A record without texts. */
static __always_inline void tell(enum abi_record_kind kind, struct task_struct *task,
                                 struct task_struct *parent, __u64 pod, __u32 exit_code)
{
    struct abi_process *record =
        bpf_ringbuf_reserve(&records, __builtin_offsetof(struct abi_process, text), 0);

    if (!record) {
        count_lost();
        return;
    }
    fill(record, kind, task, parent, pod);
    record->exit_code = exit_code;
    bpf_ringbuf_submit(record, 0);
}

SEC("raw_tp/sched_process_fork")
int process_fork(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *parent = (void *)ctx->args[0], *child = (void *)ctx->args[1];
    __u64 pod;

    if (BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid))
        return 0; /* a thread */
    pod = pod_of_task(child);
    if (!pod)
        return 0;
    note_fork(child, parent); /* before it can connect */
    tell(ABI_PROCESS_FORK, child, parent, pod, 0);
    return 0;
}

SEC("raw_tp/sched_process_exit")
int process_exit(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (void *)ctx->args[0];
    struct signal_struct *signal = BPF_CORE_READ(task, signal);
    __u64 pod;
    __u32 code;

    if (BPF_CORE_READ(signal, live.counter) != 0)
        return 0; /* other threads go on */
    forget_image(task);
    pod = pod_of_task(task);
    if (!pod)
        return 0;
    /* as wait(2) sees it: a leader that ended before its threads has the say, unless all were told
     * to go */
    if (BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT)
        code = BPF_CORE_READ(signal, group_exit_code);
    else
        code = BPF_CORE_READ(task, group_leader, exit_code);
    tell(ABI_PROCESS_EXIT, task, BPF_CORE_READ(task, real_parent), pod, code);
    return 0;
}
