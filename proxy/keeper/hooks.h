/* hooks: the kernel programs of bpf/, loaded and attached.
 *
 * Called by:  keeper.c, which owns them. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct hooks;
struct sallyport_bpf;

/* Loads all programs, attaches the cgroup ones to cgroup_fd (borrowed) and pins their links in
 * pin_dir, by the name of their hook: "connect4", "sockops". The tracepoints are attached unpinned:
 * nobody would read what they tell. Must not run twice at the same time: libbpf's voice is global.
 */
int hooks_new(struct hooks **out, int cgroup_fd, const char *pin_dir, struct err *err);
/* For an agent whose pods outlive it: links, tracepoints among them, and maps are pinned in pin_dir
 * as a set (pins.h). A set of the same programs on the same cgroup is used as it is; else another
 * is put beside what is there, and hooks_disarm_older() makes the change when the new maps tell as
 * much as the old ones. */
int hooks_new_kept(struct hooks **out, int cgroup_fd, const char *pin_dir, struct err *err);
/* Every pod is in the new maps: sets of others steer nobody any more. They still tell pods' sockets
 * that were steered by them whom they talk to, and their origins wait in hooks_older(). */
void hooks_disarm_older(struct hooks *hooks);
void hooks_remove_older(struct hooks *hooks);
struct pins_older;
const struct pins_older *hooks_older(const struct hooks *hooks, size_t i); /* NULL: no more */

/* Whether anybody is registered in the maps, of whichever set. Kept ones only. */
bool hooks_have_pods(const struct hooks *hooks);
/* hooks_free() shall leave pins, and what is attached, to the next agent. */
void hooks_leave(struct hooks *hooks);
/* Where the set is pinned, into which others may put what belongs to it. False: it is none. */
bool hooks_set_dir(const struct hooks *hooks, char out[PATH_MAX]);
/* Unpins and detaches. */
void hooks_free(struct hooks **hooks);

struct sallyport_bpf *hooks_bpf(struct hooks *hooks); /* borrowed */
/* The program that is attached to pods, one by one: proxy/kernel/options.c does. Borrowed. */
int hooks_options_program(const struct hooks *hooks);
int hooks_hold_until(const struct hooks *hooks); /* a map; borrowed */
