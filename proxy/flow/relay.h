/* relay: bytes both ways between two legs, with backpressure and half-close; what is HTTP is read
 * by request.c on its way, DNS by query.c, and only what was read goes on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/span.h"
#include "proxy/dns/lookups.h"
#include "proxy/flow/exchange.h"
#include "proxy/wire/http1.h"

struct flow;
struct http2;
struct leg;
struct worker;
enum flow_state;

enum relay_kind {
    RELAY_UNDECIDED, /* inside TLS without ALPN: the first bytes tell */
    RELAY_HTTP,
    RELAY_HTTP2,
    RELAY_DNS,
    RELAY_RAW,
    RELAY_TUNNEL, /* a CONNECT was taken: once its answer has gone on, tunnel.c */
};

/* Bytes on their way: [start, ready) may go on, [ready, parsed) is a head that is not complete,
 * [parsed, len) was not looked at, or is a part of a DNS message. */
struct pipeline {
    uint8_t *data;
    size_t size, start, ready, parsed, len;
    bool in_head; /* between messages, or in a head: nothing of it goes on yet (of DNS: always) */
    bool ended;   /* the sender's end was read */
    bool ended_well;
    bool over;        /* ... and the parser was told */
    uint64_t head_ns; /* since when a head is not complete; 0: it is, or none has begun */
};

/* A request that waits for its answer. */
struct pending {
    struct exchange exchange;
    bool head, connect, upgrade;
};

enum {
    RELAY_HEAD_SECONDS = 60,      /* from the first byte of a head to its last */
    RELAY_UNDECIDED_SECONDS = 10, /* ... to those that tell whether it is one */
};
enum { RELAY_PENDING_MAX = 64 }; /* further pipelined requests wait in the pod's socket */

struct relay {
    enum relay_kind kind;
    bool said;                /* something came, from either side */
    struct pipeline up, down; /* pod to upstream, upstream to pod */
    struct http1 *request, *response;
    struct pending pending[RELAY_PENDING_MAX];
    unsigned pending_at, pending_len;
    struct exchange answering; /* whose answer's body is under way, or what it was upgraded to */
    uint32_t requests;         /* heads seen */
    bool settling; /* a request asked to leave HTTP: nothing goes up until it is answered */
    bool refused;  /* a request was refused: nothing more is read, the answer waits its turn */
    bool bodiless; /* ... its answer, as it was HEAD */
    bool lives;    /* ... and the connection goes on behind it, */
    bool draining; /* ... when all of the request's body is here, which goes nowhere */
    struct exchange refusal;         /* ... and is told then, too */
    struct exchange_decision denied; /* ... as this says */
    struct exchange rest;            /* whose answer is whole, but not its body */
    bool stopped;                    /* a body that is being read does not go on */
    bool ending;                     /* what is in `down` are the last bytes for the pod */
    bool stuck;             /* upstream takes no more: only its answer, if any, is still wanted */
    bool cut;               /* upstream broke: reset when what came before was passed on */
    bool parting;           /* the answer under way is the last one: not asked for, or refused */
    struct lookups lookups; /* of RELAY_DNS */
    bool left;              /* of RELAY_HTTP2: the program was the first to end */
    bool unread;            /* ... and what followed a CONNECT in one of its streams is no HTTP */
    struct http2 *http2;    /* of RELAY_HTTP2, whose pipelines have but bytes to be written */
    struct err late;        /* ... what first went wrong behind an answer's head, in one stream */
};

void relay_init(struct relay *relay, enum relay_kind kind);
void relay_fini(struct relay *relay, struct worker *worker); /* at ease with a zeroed one */
/* Why requests that wait for their answers get none, at the end; NULL: nobody knows. */
const char *relay_why_unanswered(const struct flow *flow);
/* Tells requests that were never answered; before relay_fini. */
void relay_tell_unanswered(struct flow *flow);

/* Pure: what is spoken in TLS whose ends agreed on nothing, by what either side has said; ended: no
 * more comes that would say. RELAY_UNDECIDED: too little to say. */
enum relay_kind relay_decide(struct span up, struct span down, bool ended);
/* Pure: a head (of DNS, a message) has begun, and what is missing is its sender's to say; what an
 * HTTP parser has not taken yet waits for something else, such as answers. */
bool relay_awaits_head(const struct pipeline *line, enum relay_kind kind);
/* Pure: whose head (of DNS, message) is waited for longest; NULL: nobody's. */
const struct pipeline *relay_late(const struct relay *relay);
/* Pure: when the time for it is over; 0: none is waited for. */
uint64_t relay_head_due_ns(const struct relay *relay);

/* For streams.c. What a failure of a leg was, into flow->why, if it is worth telling. */
void relay_note_failure(struct flow *flow, ssize_t result, const struct leg *leg);
/* Gives a pipeline's buffer back. */
void relay_release(struct pipeline *line, struct worker *worker);

/* The step of FLOW_RELAYING. */
enum flow_state relay(struct flow *flow);
