/* acceptor: connections that wait at listeners of ours become flows of the least busy worker, as
 * far as there is room; who comes when there is none is reset, as by an overloaded host. Control
 * thread only.
 *
 * Who came, and where to, is for its owner to say.
 * Called by:  doors.c, gate.c. Leads to:   worker.c. */
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
    struct credentials *credentials; /* borrowed: its pod's own; or NULL */
};

struct acceptor_parts { /* all borrowed, all outlive it */
    struct event_base *base;
    struct identity *identity; /* NULL: no arrival has a process */
    struct sockets *sockets;
    struct credentials *const *credentials; /* in force: of arrivals without their own */
    struct limits *limits;
    struct worker *const *workers;
    unsigned workers_len;
    /* False: nothing is to become of it, and it is closed. *out is zeroed, its upstream -1. */
    bool (*meet)(void *arg, int fd, struct arrival *out);
    void *arg;
};

int acceptor_new(struct acceptor **out, const struct acceptor_parts *parts, struct err *err);
void acceptor_free(struct acceptor **acceptor);

/* Accepts there (borrowed; < 0: nowhere) from now on; from within meet(), too. */
int acceptor_watch(struct acceptor *acceptor, int listener, struct err *err);
/* Before it is closed, as others may have it open. Not from within meet(), but for one watched
 * there. One that is not watched is none. */
void acceptor_unwatch(struct acceptor *acceptor, int listener);
/* Accepts now what waits at any of them. */
void acceptor_run(struct acceptor *acceptor);
/* Another agent accepts at all of them from now on. */
void acceptor_stop(struct acceptor *acceptor);
