/* acceptor: connections that wait at listeners of ours become flows of the least busy worker, as
 * far as there is room; who comes when there is none is reset, as by an overloaded host. Control
 * thread only.
 *
 * Who came, and where to, is for its owner to say.
 * Called by:  gate.c. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>

#include "base/err.h"
#include "proxy/doors/origin.h"

struct acceptor;
struct credentials;
struct identity;
struct limits;
struct pod;
struct process;
struct sockets;
struct worker;

/* One connection, as its owner knows it. */
struct arrival {
    struct origin origin;
    struct process *process; /* taken, its flow count raised; or NULL */
    struct pod *pod;         /* borrowed; or NULL */
    int upstream;            /* taken: connected already, and admitted by limits_admit(); or -1 */
};

struct acceptor_parts { /* all borrowed, all outlive it */
    struct event_base *base;
    struct identity *identity; /* NULL: no arrival has a process */
    struct sockets *sockets;
    struct credentials *const *credentials; /* those in force */
    struct limits *limits;
    struct worker *const *workers;
    unsigned workers_len;
    /* False: nothing is to become of it, and it is closed. *out is zeroed, its upstream -1. */
    bool (*meet)(void *arg, int fd, struct arrival *out);
    void *arg;
};

int acceptor_new(struct acceptor **out, const struct acceptor_parts *parts, struct err *err);
void acceptor_free(struct acceptor **acceptor);

/* Accepts there (borrowed) from now on. */
int acceptor_watch(struct acceptor *acceptor, int listener, struct err *err);
/* Accepts now what waits at any of them. */
void acceptor_run(struct acceptor *acceptor);
