/* doors: the network namespaces we listen in, and what comes in there: connections become flows of
 * the least busy worker, questions to name servers go to the resolver. Control thread only.
 *
 * Where a pod is registered we stay; in a namespace that a pod's program entered by itself we are a
 * guest, and leave when nobody we know is there any more.
 * Called by:  agent.c. Leads to:   acceptor.c, resolver.c. */
#pragma once

#include <event2/event.h>
#include <stdint.h>

#include "base/err.h"

struct attempts;
struct credentials;
struct doors;
struct identity;
struct keeper;
struct limits;
struct pods;
struct resolver;
struct sockets;
struct worker;

struct doors_parts { /* all borrowed, all outlive the doors */
    struct event_base *base;
    struct keeper *keeper;
    struct pods *pods;
    struct identity *identity;
    struct sockets *sockets;
    struct attempts *attempts;
    struct resolver *resolver;
    struct credentials *const *credentials; /* in force: of pods without their own */
    struct limits *limits;
    struct worker *const *workers;
    unsigned workers_len;
};

int doors_new(struct doors **out, const struct doors_parts *parts, struct err *err);
void doors_free(struct doors **doors);

/* Listens in the namespace that netns_fd names (borrowed), as one more pod is registered with it.
 */
int doors_open(struct doors *doors, int netns_fd, uint64_t *netns_cookie, struct err *err);
/* One pod less is registered with it: where there is no other, and no program of one, we leave. */
void doors_release(struct doors *doors, uint64_t netns_cookie);
/* A process of a pod, older than that was registered: listens in its namespace as a guest. */
void doors_meet(struct doors *doors, uint32_t pid);
/* For identity_on_exec()'s: a process begins an image in this namespace; listens there as a guest.
 */
void doors_on_exec(void *doors, uint32_t pid, uint64_t netns_cookie);
/* In how many namespaces. */
size_t doors_count(const struct doors *doors);
/* Opens the door, as a guest, to every namespace that the keeper has from an agent before us, where
 * connections may wait to be accepted. */
void doors_adopt(struct doors *doors);
/* Another agent listens in all of them from now on. */
void doors_retire(struct doors *doors);
/* Accepts what waits to be accepted in any of them. */
void doors_accept(struct doors *doors);
/* Processes came or went: looks, soon, whether there is a namespace to leave. */
void doors_look_soon(struct doors *doors);
