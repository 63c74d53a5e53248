/* host: what this machine must offer, found by looking, and where it keeps it. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "base/err.h"

/* --cgroup-root, or NULL: where cgroup v2 is mounted (hybrid layouts have it elsewhere than
 * /sys/fs/cgroup). *out, which is -1 before, is the caller's to close either way. */
int host_open_cgroup_root(const char *path, int *out, struct err *err);
/* This process's own cgroup as a path. -ENOENT with what to do when no cgroup v2 is mounted. */
int host_own_cgroup(char out[PATH_MAX], struct err *err);

/* Root, BTF, bpf(2), open files: 0, or the first thing missing as a sentence that says what follows
 * and what to do. (cgroup v2 is host_own_cgroup's to find.) */
int host_check(struct err *err);
/* The part of it that --listen needs, too: open files. */
int host_check_files(struct err *err);

/* Every flow is two sockets; what the shell allows is for one program. */
void host_raise_file_limit(struct rlimit *old);
unsigned host_cpus(void); /* this process may run on */

/* Whether the kernel has TLS (its module is loaded for that, if it is there). */
bool host_has_ktls(void);
