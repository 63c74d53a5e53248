/* exec_measured: a command run as `exec` runs it, and what that took.
 *
 * Called by:  compare_round.c, in a process of its own for each run. */
#pragma once

#include "proxy/command/child.h"
#include "proxy/command/exec_options.h"

struct exec_cpu {
    uint64_t user_us, system_us;
};

struct exec_measured { /* in memory shared with who asks, and with the command's process */
    struct child_began began;
    uint64_t wall_ns;         /* from the command's first moment to its end */
    struct exec_cpu program;  /* of all processes of the command */
    struct exec_cpu agent;    /* of ours, from when the command began until all was told */
    uint64_t agent_rss_kb;    /* the most that ours had in memory meanwhile; 0: not known */
    uint64_t program_peak_kb; /* the most that the command's cgroup had; 0: nobody counts it */
    struct err err;           /* why the command was not started, or nothing */
};

/* measured: zeroed, or NULL. Returns the exit status of `exec`. */
int exec_perform(const struct exec_options *options, struct exec_measured *measured);
