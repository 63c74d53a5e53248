/* attend: signals and the terminal while the command of `exec` runs, and how it ended.
 *
 * Called by:  exec.c. */
#pragma once

#include <event2/event.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "proxy/instance.h"

struct attend {
    sigset_t old_mask;
    struct sigaction old_pipe, old_chld;
    int signal_fd;           /* SIGCHLD, and what is passed on to the command */
    struct event_base *base; /* borrowed; left when the command has ended */
    struct event *on_signal;
    const struct instance *instance; /* borrowed; NULL: nobody watches whether it is frozen */
    bool agent;                      /* ... it is a pod of the agent that runs */
    int frozen_fd;                   /* an inotify */
    bool frozen;                     /* as was told */
    struct event *on_frozen;
    pid_t child;       /* 0: there was none yet */
    int status;        /* -1 until the command ended */
    uint64_t ended_ns; /* ... when it did, monotonic clock */
};

/* Before any thread is made: what was is noted in old_*. */
int attend_catch_signals(struct attend *attend, struct err *err);
int attend_serve(struct attend *attend, struct event_base *base, struct err *err);
/* A policy may freeze the command: that is told, and what would end it does so even then. agent: it
 * is a pod of the agent that runs. */
int attend_watch_frozen(struct attend *attend, const struct instance *instance, bool agent,
                        struct err *err);
void attend_stop(struct attend *attend); /* before the base is freed */
void attend_fini(struct attend *attend);

/* The command has stopped by this signal: for child_plan.on_stop, too. */
void attend_stop_too(pid_t child, int signal);
bool attend_own_terminal(void);
void attend_give_terminal(pid_t group);
