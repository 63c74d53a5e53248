/* worker: one loop a core, with its flows and what they share: TLS contexts, buffers, a ring.
 *
 * A flow lives and dies on its worker's thread; nothing in struct worker is touched by another one
 * but the hand-over queue behind worker_give(). */
#pragma once

#include <event2/event.h>
#include <openssl/ssl.h>

#include "base/err.h"
#include "base/span.h"
#include "certs/credentials.h"
#include "certs/session_cache.h"
#include "certs/store.h"
#include "certs/tickets.h"
#include "events/bus.h"
#include "proxy/identity/identity.h"
#include "proxy/keeper/keeper.h"
#include "proxy/doors/origin.h"
#include "proxy/sockets.h"

enum {
    WORKER_INBOX = 65536,      /* bytes one recv(2) may bring: four TLS records */
    WORKER_BUFFER = 65536,     /* bytes a direction holds before its sender must wait */
    WORKER_SMALL = 16384,      /* ... when memory is scarce */
    WORKER_SPARE_BUFFERS = 32, /* buffers kept for reuse */
};

struct act;
struct capture_table;
struct flow;
struct leg;
struct limits;
struct inspection_lane;
struct names;
struct passthrough;
struct policies;
struct rule_file;
struct worker;

/* Something to be done with what a worker owns. */
struct worker_visit {
    struct worker_visit *next; /* private to worker.c */
    void (*fn)(struct worker *worker, struct worker_visit *visit);
};

/* What every worker needs; all borrowed, all outlive the workers. */
struct worker_parts {
    struct keeper *keeper;     /* NULL: upstream legs are in our own namespace */
    struct identity *identity; /* NULL: no process is known */
    struct store *store;
    struct session_cache *session_cache; /* of sessions with servers */
    struct tickets *tickets;             /* of pods */
    struct names *names;
    struct passthrough *passthrough;
    struct policies *policies;
    struct act *act; /* NULL: there are no pods to act on */
    struct bus *bus;
    struct sockets *sockets;
    struct limits *limits;
    uint8_t salt[32];               /* for digests of what is found in bodies */
    struct capture_table *captures; /* who asks for pods' bytes or keys; NULL: nobody can */
};

/* The bytes of one recv(2). They belong to the leg that read last; when another leg wants to read
 * they move to the first one's own memory (leg_bio.c), which is rare: OpenSSL takes all it can. */
struct inbox {
    struct leg *owner;
    size_t at, len;
    uint8_t data[WORKER_INBOX];
};

struct worker {
    struct worker_parts parts;
    struct event_base *base;
    SSL_CTX *upstream_ctx, *pod_ctx;
    BIO_METHOD *leg_bio; /* of leg_bio.c */
    int errors;          /* of leg.c: an epoll for what libevent does not tell of the legs */
    struct event *on_error;
    struct bus_producer *producer;
    struct flow *flows; /* all live ones */
    struct flow *dead;  /* freed at the end of the loop's turn */
    struct event *reaper;
    struct event *retirer;         /* pending since worker_retire() */
    struct rule_file *rule_files;  /* of flow/tls_rules.c */
    struct inspection_lane *lanes; /* of flow/inspection_plan.c */
    uint8_t *spare[WORKER_SPARE_BUFFERS];
    size_t spare_len;
    struct inbox inbox;
    uint8_t peeked[65536 + 64]; /* flow/peek.c: bytes as MSG_PEEK shows them */
    uint8_t scratch[65536];     /* wire/hello.c: the ClientHello put together; flow/query.c */
    struct handover *handovers; /* private to worker.c */
};

/* Starts the thread. */
int worker_new(struct worker **out, const struct worker_parts *parts, unsigned number,
               struct err *err);
/* Closes every flow, ends the thread. */
void worker_free(struct worker **worker);

/* Hands over an accepted connection that limits_admit() let in: takes fd, upstream (a socket that
 * is connected, or about to be; -1: none) and process (a reference whose flow count was raised by
 * identity_flow_begin, or NULL); borrows pod and credentials for the call: the flow keeps
 * references of its own. Any thread. */
int worker_give(struct worker *worker, int fd, int upstream, const struct origin *origin,
                struct process *process, struct pod *pod, struct credentials *credentials);
/* Has visit->fn called once, on the worker's thread, between its flows' turns; borrows visit until
 * then. Any thread, while the worker lives: worker_free() waits for it. */
void worker_visit(struct worker *worker, struct worker_visit *visit);
/* No more flows will come: programs that can are asked to go on over new connections, which are
 * another agent's. Any thread. */
void worker_retire(struct worker *worker);
/* One more flow, admitted as above, which a visit will begin; any thread. Where none does, it is to
 * be forgotten again; on the worker's thread, or before it was visited. pod may be NULL.
 * stream: one of limits_admit_stream(). */
void worker_expect(struct worker *worker);
void worker_forget(struct worker *worker, struct pod *pod, bool stream);
/* How many flows it has or is about to have. Any thread. */
unsigned worker_load(const struct worker *worker);

/* A buffer of *size bytes: WORKER_BUFFER, or WORKER_SMALL when what connections may take of memory
 * is used up; NULL when there is none at all. */
uint8_t *worker_buffer_get(struct worker *worker, size_t *size);
/* Twice as many bytes, of which the first len are kept; takes buffer and sets *size. NULL, and
 * nothing has changed, when that is more than connections may take. */
uint8_t *worker_buffer_grow(struct worker *worker, uint8_t *buffer, size_t len, size_t *size);
/* Accepts NULL. */
void worker_buffer_put(struct worker *worker, uint8_t *buffer, size_t size);
