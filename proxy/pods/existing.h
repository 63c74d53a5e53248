/* existing: what a pod's programs had connected before the pod was registered. Nobody judged that,
 * nor can it be looked into; as the pod's policies say it is left alone, told, or reset, so that
 * the program connects again. What is told and is in plain text is heard from then on where the
 * kernel route can.
 *
 * A pod's processes, their descriptors and the namespaces' connections are read a bit a turn of the
 * control loop, one pod after the other. What the kernel programs have noted, or the agent follows,
 * is none of them, nor what others connected to the pod.
 * Control thread only.
 * Called by:  lifecycle.c. Leads to:   ../sockets_older.h. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>

#include "base/err.h"
#include "policy/facts.h"

struct existing;
struct identity;
struct keeper;
struct names;
struct pods;
struct policies;
struct ring;
struct sockets;

struct existing_parts { /* all borrowed, all outlive it */
    struct event_base *base;
    struct keeper *keeper;
    struct pods *pods;
    struct identity *identity;
    struct policies *policies;
    struct names *names;
    struct sockets *sockets;
    struct ring *const *ring; /* what it points to may be NULL: there is no kernel route */
};

int existing_new(struct existing **out, const struct existing_parts *parts, struct err *err);
void existing_free(struct existing **existing);

/* The pod has just been registered, or has other policies, by which some may have to be reset; or
 * (again) it was an agent's before us, which has told of those that it saw: of them only their end
 * is told. cgroup_fd is borrowed. A failure is told in the log: it takes nothing from what the pod
 * is. */
void existing_look(struct existing *existing, struct pod *pod, int cgroup_fd, bool again);
/* No more come again: what their connections say is heard when those are met. */
void existing_restored(struct existing *existing);
