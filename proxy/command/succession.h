/* succession: how `run` ends: drained, or in favour of another agent, with nobody refused
 * meanwhile.
 *
 * Serving until SIGTERM (then draining: nothing new is accepted, and what connects waits in the
 * listeners' queues for whoever comes), or until another agent asks for our place by the control
 * socket (then retired: that one accepts and reads what the kernel tells, and we tell it what
 * becomes of our flows). Either ends with the last flow, or after the drain time-out.
 * Called by:  run.c.
 * Leads to:   agent.h, successor.h. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct succession;
struct agent;
struct control;

struct succession_parts { /* borrowed */
    struct agent *agent;
    char *const *argv;        /* of this command, for its successor */
    unsigned (*drain_ms)(void *arg); /* how long flows have when we end */
    /* Another agent is to take our place: closes what it needs, and what changes pods. */
    void (*make_way)(void *arg);
    /* It knows what we knew: gives it the place. */
    void (*leave)(void *arg);
    void *arg;
    bool alone; /* nobody can take its place while it serves: it listens by itself */
};

int succession_new(struct succession **out, const struct succession_parts *parts,
                   struct control *control, struct err *err);
/* Before the agent, whose loop it is on. */
void succession_stop(struct succession *succession);
void succession_free(struct succession **succession); /* after the agent, which may use it */

/* The control loop ends when no flow is left, after the drain time-out at the latest; at once when
 * it is asked to again, a second later or more. */
void succession_drain(struct succession *succession);
/* Starts the program that is now where ours was started from, with our arguments, to take our
 * place. If it fails, it says why, and we go on. */
void succession_renew(struct succession *succession);
