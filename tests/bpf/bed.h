/* bed: what the kernel tests lie on: a cgroup, a bpffs, and two namespaces joined by a cable.
 *
 *   namespace "pod"                                namespace "world"
 *   192.0.2.1/24, 192.0.2.2    pod0 ===== world0   192.0.2.254
 *   2001:db8:1::1/64                               2001:db8:1::254
 *   default routes to the world                    lo: 198.51.100.1, 2001:db8:2::1
 *
 * cgroups below the test's own: ROOT (the programs are attached here), ROOT/pod, ROOT/pod/ctr/deep,
 * ROOT/stranger. All made anew, all gone with the process but the cgroups, which bed_fini removes.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"

struct bed {
    char cgroup[PATH_MAX]; /* ROOT */
    char pins[PATH_MAX];   /* a bpffs in a mount namespace of our own */
    int cgroup_fd;
    int pod, world, island; /* network namespaces; the island has no cable and no address */
};

void bed_init(struct bed *bed); /* exits 77 where root or a kernel feature is missing */
void bed_fini(struct bed *bed);

uint64_t bed_cgroup_id(const struct bed *bed, const char *name);
/* Runs ip(8) in a namespace; words split at blanks. */
void bed_ip(int netns, const char *words);

/* What a program in a cgroup and namespace reports of itself. */
struct report {
    int code; /* 0 or a negative errno */
    int fd;   /* the socket it leaves behind, or -1; the caller closes it */
    pid_t pid;
    uint64_t start_ticks; /* /proc/PID/stat */
    uint64_t cookie;
    struct addr peer, self;
};

/* Forks a program that runs work(arg, report), and waits for its report. */
void bed_run(const struct bed *bed, const char *cgroup, int netns,
             void (*work)(const void *arg, struct report *report), const void *arg,
             struct report *report);
