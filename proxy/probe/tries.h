/* tries: one function for each kind of try; private to this folder.
 *
 * They run in a process of their own, in the order of the table in probe.c, each with what the
 * earlier ones put into the bed. That process's end takes back what stays in it: its namespaces,
 * mounts, sockets, maps and programs; the cgroup is removed by who started it. */
#pragma once

#include <bpf/btf.h>
#include <limits.h>

#include "base/err.h"
#include "proxy/probe/report.h"

struct sallyport_bpf;

struct bed {
    const char *own_cgroup;         /* "" where there is none, */
    const struct err *no_cgroup;    /* ... for this reason */
    const char *cgroup;             /* ours to make, below own_cgroup */
    int cgroup_fd;                  /* -1 until it is made */
    bool mounts, net;               /* we are in mount and network namespaces of our own */
    bool pins;                      /* a bpffs is mounted on probe_pin_dir */
    struct btf *btf;                /* the kernel's; NULL until read */
    int map_fd;                     /* an array of one word, for bpf(2) */
    struct sallyport_bpf *skeleton; /* opened, not loaded: what `exec` is going to load */
    struct kernel_means *means;
};

extern const char probe_pin_dir[];

enum need {
    OPTIONAL,
    REQUIRED,
    AS_EXEC, /* required if there is such a program among exec's */
};

struct trial {
    const char *name;
    const char *consequence;
    enum need need;
    /* 0 or a negative errno; err tells the story either way, if there is one to tell */
    int (*run)(struct bed *bed, const struct trial *trial, struct err *err);
    const char *section; /* of the hook, where that is not the name */
    uint32_t helper;
};

/* host_tries.c: what is not BPF */
int try_capabilities(struct bed *bed, const struct trial *trial, struct err *err);
int try_mount_namespace(struct bed *bed, const struct trial *trial, struct err *err);
int try_net_namespace(struct bed *bed, const struct trial *trial, struct err *err);
int try_cgroup(struct bed *bed, const struct trial *trial, struct err *err);
int try_bpffs(struct bed *bed, const struct trial *trial, struct err *err);
int try_ipv6(struct bed *bed, const struct trial *trial, struct err *err);
int try_netns_cookie(struct bed *bed, const struct trial *trial, struct err *err);
int try_peer_name(struct bed *bed, const struct trial *trial, struct err *err);
int try_sock_diag(struct bed *bed, const struct trial *trial, struct err *err);
int try_sock_destroy(struct bed *bed, const struct trial *trial, struct err *err);

/* bpf_tries.c: what steering is made of */
int try_bpf(struct bed *bed, const struct trial *trial, struct err *err);
int try_btf(struct bed *bed, const struct trial *trial, struct err *err);
int try_jit(struct bed *bed, const struct trial *trial, struct err *err);
int try_hook(struct bed *bed, const struct trial *trial, struct err *err);
int try_helper(struct bed *bed, const struct trial *trial, struct err *err);
int try_exec_programs(struct bed *bed, const struct trial *trial, struct err *err);
/* Whether one of exec's programs is for the hook of this section. */
bool exec_has_program(const struct bed *bed, const char *section);

/* kernel_tries.c: what reads past the proxy */
int try_sk_msg(struct bed *bed, const struct trial *trial, struct err *err);
int try_ktls(struct bed *bed, const struct trial *trial, struct err *err);
int try_ktls_in_hash(struct bed *bed, const struct trial *trial, struct err *err);
int try_lsm(struct bed *bed, const struct trial *trial, struct err *err);
int try_fentry(struct bed *bed, const struct trial *trial, struct err *err);

/* A TCP connection over loopback in a network namespace of our own. */
struct pair {
    int client, server; /* the server's end is the accepted one */
};
int pair_open(struct pair *out, const struct bed *bed, int family, struct err *err);
void pair_close(struct pair *pair); /* for CLEANUP */
#define NO_PAIR                                                                                    \
    {                                                                                              \
        -1, -1                                                                                     \
    }
