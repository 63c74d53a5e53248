/* hooks: the kernel programs of bpf/, loaded and attached.
 *
 * Called by:  keeper.c, which owns them. */
#pragma once

#include "base/err.h"

struct hooks;
struct sallyport_bpf;

/* Loads all programs, attaches the cgroup ones to cgroup_fd (borrowed) and pins their links in
 * pin_dir, by the name of their hook: "connect4", "sockops". The tracepoints are attached unpinned:
 * nobody would read what they tell. Must not run twice at the same time: libbpf's voice is global.
 */
int hooks_new(struct hooks **out, int cgroup_fd, const char *pin_dir, struct err *err);
/* Unpins and detaches. */
void hooks_free(struct hooks **hooks);

struct sallyport_bpf *hooks_bpf(struct hooks *hooks); /* borrowed */
