/* sockets: where pods' programs connect, how much they write and read, and when they let go of it,
 * as the kernel tells it: TCP and UDP, looked into or not.
 *
 * A socket's close is told when the program has closed it and, where it was looked into, its flow
 * is done and has told what it saw; at most half a second after it could have. Control thread only,
 * but for sockets_flow_done. The kernel's side: bpf/sockops.bpf.c, sockets.bpf.c.
 * Called by:  identity.c (records), agent.c, flow/flow.c (what became of a flow). */
#pragma once

#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "events/bus.h"
#include "policy/facts.h"
#include "proxy/doors/origin.h"

struct sockets;
struct abi_datagram;
struct abi_socket;
struct identity;
struct pods;
struct names;
struct resolver;
struct connects;
struct handshakes;
struct programs;

struct sockets_parts { /* all borrowed, all outlive it; producer is the control thread's */
    /* NULL, as are pods, names and resolver: the kernel tells nothing, there are but flows */
    struct identity *identity;
    struct pods *pods;
    struct names *names;
    struct resolver *resolver;
    struct connects *connects;     /* NULL: no policy has a say */
    struct programs *programs;     /* likewise */
    struct handshakes *handshakes; /* NULL: nobody reads what datagrams begin with */
    struct bus_producer *producer;
};

int sockets_new(struct sockets **out, const struct sockets_parts *parts, struct err *err);
void sockets_free(struct sockets **sockets);

/* Readable when a flow is done: then call sockets_step (an eventfd); borrowed. */
int sockets_wake_fd(const struct sockets *sockets);

/* For identity_on_socket(): a record of the kernel's. */
void sockets_on_record(void *sockets, const struct abi_socket *record);

/* For identity_on_datagram(). */
void sockets_on_datagram(void *sockets, const struct abi_datagram *record);

/* The connection has become a flow, whose sockets_flow_done will come. process and pod are
 * borrowed, and may be NULL. */
void sockets_accepted(struct sockets *sockets, const struct origin *origin, struct process *process,
                      struct pod *pod);

/* Its connect is about to fail with this errno (negative). The kernel's record says so, too, unless
 * the program has asked for the errno (SO_ERROR) before it could be noted. */
void sockets_refused(struct sockets *sockets, const struct origin *origin, int error);

/* What became of a flow. It is made, by malloc, when the flow begins, so that it can be told
 * however short memory is then. */
struct sockets_flow {
    struct sockets_flow *next; /* in a list; set by sockets.c */
    uint64_t cookie;
    struct addr dst;
    uint16_t src_port;
    enum route route;
    enum visibility visibility;
    enum opaque opaque;
    uint64_t tx, rx; /* as our side of the connection counted what the program wrote and read */
    bool tls;        /* the program speaks TLS, whoever ends it */
    uint16_t tls_version;   /* ... as was seen to be agreed on; 0: it was not */
    const char *tls_cipher; /* ... IANA's name, static; NULL */
    const char *refused;    /* how the program refused our certificate: one word, static; or NULL */
    bool goes_on;           /* on the kernel route, where the next agent listens */
    bool early;      /* it is not done: one of the following is told, and nothing else of it */
    bool http2;      /* it speaks HTTP/2 */
    bool undecided;  /* of the kernel route: programs_on_undecided() */
    char error[512]; /* "" or a sentence */
};
/* Everything else about the flow was told, unless it is but an early word. Takes flow. Any thread.
 */
void sockets_flow_done(struct sockets *sockets, struct sockets_flow **flow);

/* From here on sockets_step() may tell the closes that were read so far. In between, what may
 * belong to one of them must be seen to: connections that wait to be accepted, datagrams in our
 * listeners. */
void sockets_collect(struct sockets *sockets);
/* What was said on the kernel route before this time (boot clock) its workers have handled: until
 * then a close is not told whose flow is yet to hear it. UINT64_MAX, as in the beginning: nobody
 * reads. From the next sockets_collect() on. */
void sockets_heard(struct sockets *sockets, uint64_t until_ns);
uint64_t sockets_heard_until(const struct sockets *sockets);
/* Tells the closes that are due. Returns how many milliseconds until the next is due at the latest,
 * -1 when none waits. */
int sockets_step(struct sockets *sockets);
/* Nobody accepts here any more: a connection that its program closes in a listener's queue is the
 * next agent's to accept, so its close is told there, or by sockets_finish(). */
void sockets_accept_none(struct sockets *sockets);
/* Another agent follows the sockets from now on (sockets_handover.h): nothing is told here any
 * more, and sockets_collect() calls pass_on(arg, flows) for what becomes of flows: a list of them,
 * by next. */
void sockets_retire(struct sockets *sockets,
                    void (*pass_on)(void *arg, const struct sockets_flow *flows), void *arg);
/* Tells all that is open as closed; for take-down. */
void sockets_finish(struct sockets *sockets);
