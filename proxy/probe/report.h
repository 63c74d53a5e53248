/* report: what a probe found, and how it is told. Pure.
 *
 * Filled by:  probe.c, in memory shared with the process that tries; so nothing in it is allocated,
 *             and the `const char *` are literals.
 * Called by:  command/probe.c, which prints it. */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "events/buffer.h"

enum { PROBE_CHECKS_MAX = 64, PROBE_FOREIGN_MAX = 64 };

struct probe_check {
    const char *name;
    const char *consequence; /* of its absence; reads well behind "else" and "so" */
    bool found, required;    /* required: `exec` cannot work without */
    char detail[256];        /* what the try met */
};

/* A BPF program of somebody else on a hook that is ours, too. */
struct probe_foreign {
    const char *hook;
    const char *consequence;
    const char *type;
    char name[BPF_OBJ_NAME_LEN];
    uint32_t id;
    char at[256]; /* the cgroup or namespace it is attached to */
};

/* What reads and denies, in the kernel, what does not come by the proxy. None: plain HTTP by sk_msg
 * at most. */
enum kernel_route { KERNEL_ROUTE_NONE, KERNEL_ROUTE_SOCKMAP, KERNEL_ROUTE_LSM };

struct kernel_means {
    bool sk_msg;       /* sockets enter a sockhash, and an sk_msg program stands there */
    bool ktls;         /* the kernel encrypts, if asked */
    bool ktls_in_hash; /* ... for a socket in a sockhash, too */
    bool lsm;          /* a program at socket_sendmsg runs */
    bool fentry;       /* so does one at a function of the tls module */
};

struct probe_report {
    char kernel[65];
    struct probe_check checks[PROBE_CHECKS_MAX];
    size_t checks_len;
    struct probe_foreign foreign[PROBE_FOREIGN_MAX];
    size_t foreign_len;
    size_t foreign_more;     /* found beyond PROBE_FOREIGN_MAX */
    char foreign_error[128]; /* why not all of them could be seen; else "" */
    struct kernel_means means;
};

enum kernel_route kernel_route_choose(const struct kernel_means *means);
const char *kernel_route_name(enum kernel_route route);
const char *kernel_route_words(const struct kernel_means *means);

/* Whether everything that `exec` needs is there. */
bool probe_exec_works(const struct probe_report *report);

/* A line for each check, foreign program and the kernel route, and a last one that sums up. */
void probe_render_text(struct buffer *out, const struct probe_report *report, bool color);
/* One object on one line. */
void probe_render_json(struct buffer *out, const struct probe_report *report);
