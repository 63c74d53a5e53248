/* flow: one intercepted connection: its states, its moves, its end.
 *
 * Everything about a flow happens on its worker's thread. Its path, file by file:
 *   peek.c   what does the pod say?            meeting   (the upstream connect is under way)
 *   judge.c  what to do with it?               judging   (verdict.c: what its policies say)
 *   dial.c   TLS with the upstream             dialling  (suites.c: which ciphers; verify.c: whom
 *                                                        to trust)
 *   open.c   TLS with the pod                  opening
 *   relay.c  bytes both ways; request.c, query.c read  relaying (exchange.c: what a request is)
 *   refusal.c does the pod want our certificate?
 *   resume.c what of either TLS may go on from before
 *   tunnel.c what CONNECT leads to is met as a flow of its own: meeting again
 *   splice.c passed untouched                  splicing
 *   tap.c    a copy for who asked for it
 * One of the kernel route has no legs: ../kernel/stream.c reads what goes by  watching */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/err.h"
#include "policy/facts.h"
#include "proxy/flow/leg.h"
#include "proxy/flow/relay.h"
#include "proxy/flow/resume.h"
#include "proxy/flow/splice.h"
#include "proxy/flow/tap.h"
#include "proxy/flow/tls_rules.h"
#include "proxy/flow/tunnel.h"
#include "proxy/flow/verdict.h"
#include "proxy/doors/origin.h"

enum flow_state {
    FLOW_MEETING, /* peeking at the pod while the upstream connect is under way */
    FLOW_JUDGING,
    FLOW_DIALLING, /* TLS upstream */
    FLOW_OPENING,  /* TLS with the pod */
    FLOW_RELAYING,
    FLOW_SPLICING,
    FLOW_WATCHING, /* of the kernel route: what it says goes by, and is told */
    FLOW_CLOSING,  /* last words: an alert, a 400, a FIN; then waiting for the pod's end */
    FLOW_CLOSED,
    FLOW_MAX
};

struct flow {
    struct worker *worker;
    enum flow_state state;
    struct facts facts;
    struct verdicts verdicts;
    struct origin origin;
    struct credentials *credentials; /* a reference on those in force when it was accepted */
    struct leg pod, upstream;
    struct event timer; /* the state's time-out; in relaying and splicing, of silence */
    struct event again; /* more to do after the others had their turn */
    uint64_t due_ns;    /* when it goes off, monotonic */
    uint64_t active_ns; /* when bytes last moved, likewise */
    bool timed_out;     /* the state's time is up: its step decides what that means */
    uint8_t *alpn; /* the protocols that the pod's ClientHello names, each behind its length: so
                      shall upstream's; owned, NULL: none, or it has had its say */
    size_t alpn_len;
    bool asks_status; /* ... asks for an OCSP response, so upstream is asked, too */
    bool needs_rsa;   /* ... has no use for a P-256 certificate */
    uint16_t version_min, version_max; /* ... offers these, so upstream's shall not more; max 0:
                                          there was none */
    uint32_t suites;                   /* ... and these of ours: see suites.c */
    struct tls_rules tls_rules;        /* what its policies want of this */
    bool mute;                         /* it ended before it said a word */
    enum relay_kind speaks;            /* in the clear */
    bool by_its_names;      /* the pod asked for no name: it is to judge those that upstream has */
    bool wants_certificate; /* upstream asked for the client's */
    const struct client_cert *shown; /* ... and saw this one, of credentials; NULL: none */
    uint64_t rx_opened;  /* ... and had sent this much when its handshake was done; 0: it is not */
    int bad_depth;       /* where in upstream's chain the certificate is that failed to verify */
    bool half_closed;    /* one end is done, the other is not */
    bool reset;          /* the end is an RST on both legs */
    bool reset_upstream; /* ... on that of upstream, which shall not take what it has for whole */
    struct relay relay;
    struct splice splice;
    struct resume resume;
    struct inspection_plan *plan; /* a reference: what is looked for in what it carries; NULL */
    struct tunnel tunnel;         /* what the program speaks through */
    const char *refused;          /* how the program refused our certificate: see refusal.h */
    struct err why;               /* what went wrong, told with the next event */
    struct stream *stream;        /* of the kernel route, which has no legs; NULL */
    uint64_t said_ns;             /* ... when what is being read was said, boot clock; 0: now */
    bool gone;                    /* ... and has gone already, whatever policies say of it */
    bool held;                    /* ... or was held back as it left: the connection ends */
    bool goes_on;                 /* ... and its program goes on: nobody listens any more */
    struct tap *taps;             /* who asked for its bytes or keys; NULL: nobody */
    struct sockets_flow *done;    /* room to tell the end */
    struct flow *next, **link;    /* in worker->flows, then worker->dead */
};

/* Begins a flow: takes fd, upstream (or -1: then it connects by itself) and process, borrows pod
 * and credentials. Returns NULL (and closed both) when out of memory. */
struct flow *flow_new(struct worker *worker, int fd, int upstream, const struct origin *origin,
                      struct process *process, struct pod *pod, struct credentials *credentials);
/* One of the kernel route, which stream reads: takes it, and process; judged by policies if its
 * program has asked for it, not if it was accepted. NULL when out of memory. */
struct flow *flow_watch(struct worker *worker, const struct origin *origin, struct process *process,
                        struct pod *pod, struct stream *stream, bool judged);
/* That has come to its end. */
void flow_watched(struct flow *flow);
const char *flow_state_name(enum flow_state state); /* "relaying" */
/* A fresh TCP connect upstream in the place of one that was tried in vain. */
int flow_redial(struct flow *flow);
/* Ends a flow at once, whatever it was doing (the agent goes down). */
void flow_abort(struct flow *flow);
/* For SSL_CTX_set_alpn_select_cb on the pods' side: a pod is answered with upstream's protocol, and
 * with none where upstream chose none. */
int open_choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                     const unsigned char *in, unsigned in_len, void *arg);
/* For SSL_CTX_set_cert_cb on the upstreams' side, when a server asks: it is shown the one for its
 * name, if there is one, and that it has asked is remembered. */
int dial_choose_certificate(SSL *ssl, void *arg);
/* For SSL_CTX_set_cert_verify_callback on the upstreams' side: chain, purpose, dates, strength and
 * name, as curl would. */
int verify_upstream(X509_STORE_CTX *chain, void *arg);
/* For SSL_CTX_set_tlsext_status_cb on the pods' side: a pod is stapled what open.c has put there.
 */
int open_staple(SSL *ssl, void *arg);
/* Only the worker's reaper, after the loop's turn: no callback may still point at it. */
void flow_free(struct flow **flow);
