/* sessions: the open connections of pods, for who asks at the control socket: verb "sessions".
 *
 * Flows are their workers' own. So each worker is asked by its own loop to copy what its flows are
 * like (flow/row.h), and when all have, the rows are rendered as the client reads them. Of those
 * that are no flows the control thread knows (../sockets_older.h).
 * Control thread, but for the copying.
 * Called by:  agent.c.
 * Leads to:   command/sessions.c, which shows them. */
#pragma once

#include "proxy/control/control.h"

struct keeper;
struct names;
struct sessions;
struct sockets;
struct worker;

struct sessions_parts { /* all borrowed; they outlive it, but the workers end before it does */
    struct event_base *base;
    struct control *control;
    struct keeper *keeper;
    struct names *names;
    struct sockets *sockets;
    struct worker *const *workers;
    unsigned workers_len;
};

/* Serves the verb. Optional members "namespace" and "pod" choose those of one; the answer has
 * "sessions", their number, then a line for each. */
int sessions_new(struct sessions **out, const struct sessions_parts *parts, struct err *err);
/* After the control socket, and the workers, have ended. */
/* The control socket goes: who waits for an answer gets none. */
void sessions_dismiss(struct sessions *sessions);
void sessions_free(struct sessions **sessions);
