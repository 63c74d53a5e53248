/* successor: the agent that takes this one's place, as this one knows it: who is told what we know,
 * and then what becomes of the flows that we still have.
 *
 * By a stream that began as a request on the control socket; lines of JSON, which predecessor.c
 * reads. Control thread only; it waits for the other side, at most some seconds.
 * Called by:  agent_succession.c (agent_retire), command/succession.c. */
#pragma once

#include "base/err.h"

struct successor;
struct identity;
struct names;
struct ring;
struct sockets;
struct sockets_flow;

/* Takes stream, as control_take_stream() gave it. */
int successor_new(struct successor **out, int stream, struct err *err);
void successor_free(struct successor **successor);

/* It may go on as far as it can without what we know. */
int successor_welcome(struct successor *successor, struct err *err);
/* Tells what this agent knows. ring: handed over, or NULL. */
int successor_tell(struct successor *successor, struct identity *identity, struct names *names,
                   struct sockets *sockets, struct ring *ring, struct err *err);
/* Tells what became of flows: a list of them. */
void successor_tell_flows(struct successor *successor, const struct sockets_flow *flows);
/* That was all: it may begin. */
int successor_begin(struct successor *successor, struct err *err);
/* Readable when it wants the place, or is gone; borrowed. */
int successor_fd(const struct successor *successor);
