/* predecessor: the agent whose place this one takes, as this one knows it: it tells what it knows,
 * and later what becomes of the flows that it still has, and its events.
 *
 * Control thread only. successor.c is the other end.
 * Called by:  command/run.c and place.c, agent_succession.c (agent_adopt). */
#pragma once

#include <event2/event.h>
#include <stdbool.h>

#include "base/err.h"

struct predecessor;
struct bus_producer;
struct identity;
struct names;
struct ring;
struct sockets;

/* Whether an agent runs at this runtime directory that predecessor_ask() would make way. -EBUSY,
 * with a sentence: one that would not. */
int predecessor_would(const char *runtime_dir, bool replace, bool *would, struct err *err);
/* Asks the agent that runs at this runtime directory to make way. One that is ending does;
 * one that serves does so if `replace`, and refuses else. 0 with *out NULL: none runs. From success
 * on it accepts nothing: the pods wait for us. But it reads what the kernel tells, which two
 * cannot, so we do not, until predecessor_learn() has returned. */
int predecessor_ask(struct predecessor **out, const char *runtime_dir, bool replace,
                    struct err *err);
void predecessor_free(struct predecessor **predecessor);

/* Has it give us its place, and learns what it knows, until it says that nothing of its is in our
 * way any more. ring: NULL: there is no kernel route. */
int predecessor_learn(struct predecessor *predecessor, struct identity *identity,
                      struct names *names, struct sockets *sockets, struct ring *ring,
                      struct err *err);
/* Follows it on base until it ends: its events go to producer, what becomes of its flows to
 * sockets. All borrowed. */
int predecessor_follow(struct predecessor *predecessor, struct event_base *base,
                       struct sockets *sockets, struct bus_producer *producer, struct err *err);
bool predecessor_is_over(const struct predecessor *predecessor); /* it has ended */
