/* resolver: look-ups over datagrams. What a pod's program sends to port 53 comes to our listeners
 * in its namespace; it is read, sent on to the name server that was asked, and the answer is bound
 * to the pod and told before it is released. Control thread only.
 *
 * An exchange is what one socket of a program says to one server. It has an upstream socket of its
 * own, connected to that server, so nobody else is heard; it lasts until the program's socket is
 * gone, for an answer may come late. What the network says of its questions, that nobody listens at
 * the server or that there is no way, the program's socket is told. How many there are is bounded
 * for each pod and in all: the one that was quiet longest loses its upstream socket, and gets
 * another when it is used again. Called by:  agent.c. Leads to:   exchanges.c, lookups.c,
 * unreachable.c. Connections to port 53 are flows: flow/query.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

struct act;
struct resolver;
struct event_base;
struct keeper;
struct keeper_net;
struct identity;
struct pod;
struct pods;
struct policies;
struct names;
struct bus_producer;

/* All borrowed, all outlive the resolver; base and producer are the control thread's. */
struct resolver_parts {
    struct event_base *base;
    struct keeper *keeper;
    struct identity *identity;
    struct pods *pods;
    struct policies *policies;
    struct act *act;
    struct names *names;
    struct bus_producer *producer;
};

int resolver_new(struct resolver **out, const struct resolver_parts *parts, struct err *err);
void resolver_free(struct resolver **resolver);

/* Begins to listen in a namespace. It may be called from within identity's on_exec. */
int resolver_watch(struct resolver *resolver, struct keeper_net *net, struct err *err);
/* Ends what goes on there; before keeper_net_remove. A namespace that is not watched is none. */
void resolver_unwatch(struct resolver *resolver, const struct keeper_net *net);

/* Another agent listens from now on; what was asked is answered from here. */
void resolver_retire(struct resolver *resolver);
/* Whether a question waits for its answer. */
bool resolver_is_asking(const struct resolver *resolver);

/* Handles every datagram of pods that waits now, up to a bound: before a socket's or a process's
 * end is told. Not from within a record of identity's, which is asked who sent a datagram. */
void resolver_drain(struct resolver *resolver);
/* Whether all that this socket sent to this server was handled. From anywhere on the control
 * thread; when in doubt, false. */
bool resolver_is_done(const struct resolver *resolver, uint64_t cookie, const struct addr *server);
/* The program's socket is gone, or speaks to other servers now; when resolver_is_done(), or after
 * a drain. */
void resolver_forget(struct resolver *resolver, uint64_t cookie, const struct addr *server);
/* The pod is gone, and with it who could hear an answer. Not from inside the resolver. */
void resolver_forget_pod(struct resolver *resolver, const struct pod *pod);
