/* options: pods whose programs' setsockopt() is followed (bpf/sockopt.bpf.c), each at its own
 * cgroup. Wherever such a program is attached, the kernel copies what it is given before anybody
 * looks which option it is, and so fails those that come as NULL with a length (AF_ALG's): all that
 * is no pod is to be left alone, and all of the machine where there is no kernel route.
 *
 * Where the keeper's programs are kept for the next agent, so is this: links are pinned within
 * their set, by the pods' ids. Control thread only. Called by:  pods/lifecycle.c; agent_build.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct backend;
struct keeper;
struct options;

/* Borrows keeper. Where backend has nothing that hears, nobody is followed. */
int options_new(struct options **out, struct keeper *keeper, const struct backend *backend,
                struct err *err);
/* Pods that are followed are so no more; but where they are kept, keeper_free() says so. */
void options_free(struct options **options);

/* A pod comes, with its cgroup (borrowed). */
int options_follow(struct options *options, uint64_t pod, int cgroup_fd, struct err *err);
void options_forget(struct options *options, uint64_t pod);
/* All pods are there: of those that an agent before followed, the others go. */
void options_sweep(struct options *options, bool (*is_there)(void *arg, uint64_t pod), void *arg);
