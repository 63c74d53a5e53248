/* sockets_own: what sockets.c and the files beside it share; nobody else's. */
#pragma once

#include <pthread.h>

#include "proxy/dns/names.h"
#include "proxy/sockets.h"

/* One socket and destination: an entry of the tree from its connect to its close. */
struct tracked {
    uint64_t cookie; /* with dst and the port of src: the key */
    struct addr dst;
    struct addr src; /* a socket may connect to the same place again, from another port */
    enum protocol protocol;
    struct process *process; /* counted among its flows; NULL when nobody knows it */
    struct pod *pod;
    struct names_found names;
    enum route route;
    enum visibility visibility;
    enum opaque opaque;
    uint16_t tls; /* of an older one, where the kernel encrypts: the version; else 0 */
    bool unheard; /* the kernel's record was lost, and so may be that of its end */
    bool has_flow, flow_done;
    bool elsewhere; /* its flow is an agent's before us */
    bool undecided; /* as in struct sockets_flow */
    bool released;
    uint64_t began_ns, closed_ns; /* boot clock */
    uint64_t tx, rx;
    uint16_t failure; /* the errno that the program's socket ended with, or 0 */
    char *error;
    const char *refused; /* how the program refused our certificate: static, or NULL */
    bool tls_spoken;     /* as in struct sockets_flow, likewise what follows */
    uint16_t tls_version;
    const char *tls_cipher;
    bool incomplete;   /* there was no memory for an error */
    uint64_t waits_ns; /* boot clock: since when a released one waits for its flow alone */
    struct tracked *next_released, **at_released; /* what points to it */
};

struct sockets {
    struct sockets_parts parts;
    void *tree; /* tsearch(3) of struct tracked */
    size_t len, sweep_len;
    struct tracked *released, **released_tail; /* by the time they were */
    struct tracked *beyond; /* the first of `released` that the step must not tell yet */
    /* Set: the sockets are another agent's, and what becomes of flows is told there. */
    void (*pass_on)(void *arg, const struct sockets_flow *flows);
    void *pass_on_arg;
    uint64_t said_ns;  /* sockets_heard() */
    uint64_t heard_ns; /* ... and what workers had said of flows by then was taken */
    bool accepts_none; /* sockets_accept_none() */
    int wake_fd;
    pthread_mutex_t lock;
    struct sockets_flow *done, **done_tail; /* under lock */
};

/* NULL: not known. */
struct tracked *sockets_find(const struct sockets *sockets, uint64_t cookie, const struct addr *dst,
                             uint16_t src_port);
/* A copy of like, with the names of its destination where it has none. Takes process, which may be
 * NULL. NULL when out of memory: counted as a lost event. */
struct tracked *sockets_track(struct sockets *sockets, const struct tracked *like,
                              struct process *process);
/* The first one stands. */
void sockets_set_error(struct tracked *entry, const char *error);
/* Its program has closed it: sockets_step() tells that when it is due. */
void sockets_release(struct sockets *sockets, struct tracked *entry);
/* What is told of it, without a verdict; NULL when out of memory. */
struct flow_event *sockets_event(struct sockets *sockets, const struct tracked *entry,
                                 enum flow_event_kind kind, uint64_t boot_ns);
void sockets_emit(struct sockets *sockets, const struct tracked *entry, enum flow_event_kind kind,
                  uint64_t boot_ns);
/* What workers have said of flows since. */
void sockets_take_done(struct sockets *sockets);
