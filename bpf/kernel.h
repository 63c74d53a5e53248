/* kernel: what the programs read of the kernel's own types.
 *
 * Only the fields in use, in any order: their places are relocated when the programs are loaded
 * (CO-RE), by the names of struct and field. So this is no copy of one kernel's headers, and
 * building needs no BTF of the build machine. Included by bpf/ alone, after linux/bpf.h. */
#pragma once

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
    unsigned int inum;
};
struct uts_namespace {
    struct ns_common ns;
};
struct ipc_namespace {
    struct ns_common ns;
};
struct mnt_namespace {
    struct ns_common ns;
};
struct pid_namespace {
    struct ns_common ns;
};
struct cgroup_namespace {
    struct ns_common ns;
};
struct time_namespace {
    struct ns_common ns;
};
struct user_namespace {
    struct ns_common ns;
};
struct net {
    struct ns_common ns;
    __u64 net_cookie;
};
struct nsproxy {
    struct uts_namespace *uts_ns;
    struct ipc_namespace *ipc_ns;
    struct mnt_namespace *mnt_ns;
    struct time_namespace *time_ns;
    struct net *net_ns;
    struct cgroup_namespace *cgroup_ns;
};

struct upid {
    int nr;
    struct pid_namespace *ns;
};
struct pid {
    unsigned int level;
    struct upid numbers[1];
};

typedef struct {
    unsigned int val;
} kuid_t;
typedef struct {
    unsigned int val;
} kgid_t;
typedef struct {
    __u64 val; /* two halves, cap[2], before 6.3: the same 8 bytes on little-endian machines */
} kernel_cap_t;
struct cred {
    kuid_t uid, euid;
    kgid_t gid;
    kernel_cap_t cap_inheritable, cap_permitted, cap_effective;
    struct user_namespace *user_ns;
};

struct qstr {
    __u32 len;
    const unsigned char *name;
};
struct hlist_bl_node {
    struct hlist_bl_node **pprev;
};
struct dentry {
    struct hlist_bl_node d_hash;
    struct dentry *d_parent;
    struct qstr d_name;
};
struct vfsmount {
    struct dentry *mnt_root;
};
struct mount {
    struct mount *mnt_parent;
    struct dentry *mnt_mountpoint;
    struct vfsmount mnt;
};
struct path {
    struct vfsmount *mnt;
    struct dentry *dentry;
};
struct super_block {
    __u32 s_dev; /* major << 20 | minor */
};
struct inode {
    unsigned short i_mode;
    unsigned long i_ino;
    struct super_block *i_sb;
};
struct file {
    struct path f_path;
    struct inode *f_inode;
};
struct fs_struct {
    struct path root, pwd;
};
struct linux_binprm {
    const char *filename;
};
struct mm_struct {
    unsigned long arg_start, arg_end;
    struct file *exe_file;
};

struct kernfs_node {
    __u64 id;
};
struct cgroup {
    int level;
    struct kernfs_node *kn;
    struct cgroup *ancestors[1]; /* by level, the cgroup itself last */
};
struct css_set {
    struct cgroup *dfl_cgrp; /* in the version 2 hierarchy */
};

typedef struct {
    int counter;
} atomic_t;
struct signal_struct {
    atomic_t live; /* threads that have not begun to exit */
    unsigned int flags;
    int group_exit_code;
};

struct task_struct {
    unsigned int flags;
    int pid, tgid;
    int exit_code;
    __u64 start_boottime;
    kuid_t loginuid; /* absent where audit is not compiled in */
    struct task_struct *real_parent, *group_leader;
    struct mm_struct *mm;
    struct fs_struct *fs;
    struct nsproxy *nsproxy;
    struct signal_struct *signal;
    struct pid *thread_pid;
    const struct cred *cred;
    struct css_set *cgroups;
    void *worker_private; /* of a thread of the kernel's: what it is besides */
};

struct sock_common {
    unsigned long skc_flags;
    volatile unsigned char skc_state;
};
struct sock_cgroup_data {
    struct cgroup *cgroup; /* in the version 2 hierarchy */
};
struct socket;
struct sock {
    struct sock_common __sk_common;
    struct sock_cgroup_data sk_cgrp_data;
    struct socket *sk_socket; /* NULL: no program has it, yet or any more */
    int sk_err;
    __u32 sk_write_pending; /* sends that wait for room */
    __u8 sk_kern_sock : 1;  /* the kernel's own */
};
struct tcp_sock { /* begins with a struct sock */
    __u32 write_seq, snd_una, copied_seq, rcv_nxt;
    __u64 bytes_received, bytes_acked;
};

#pragma clang attribute pop
