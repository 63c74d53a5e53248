/* steps: what the step files share; private to this folder.
 *
 * A step looks at its flow, does what can be done without waiting, and returns the state that
 * follows, or the flow's own state to wait for an edge or a time-out. flow.c moves. */
#pragma once

#include "base/clock.h"
#include "proxy/flow/flow.h"
#include "proxy/flow/refusal.h"
#include "proxy/wire/hello.h"
#include "proxy/worker.h"

enum { TURN_BYTES = 1 << 20 }; /* one flow's turn, then the others' */

enum flow_state peek(struct flow *flow);
enum flow_state judge(struct flow *flow);
enum flow_state dial(struct flow *flow);
enum flow_state open_pod(struct flow *flow);

/* What the pod's first bytes are. */
enum peek_kind {
    PEEK_WAIT,   /* too few to say */
    PEEK_TLS,    /* a ClientHello: *hello is filled */
    PEEK_HTTP,   /* plain HTTP/1 */
    PEEK_HTTP2,  /* plain HTTP/2, by prior knowledge (RFC 9113 section 3.3) */
    PEEK_DNS,    /* whatever it is, it goes to a name server */
    PEEK_SILENT, /* nobody spoke in time, or what was begun did not end */
    PEEK_OPAQUE, /* something else */
};
/* Pure. port: where it goes. scratch as hello_parse wants it. */
enum peek_kind peek_step(struct span seen, uint16_t port, bool timed_out, uint8_t *scratch,
                         struct hello *hello);

/* What a hello says of whom it asks for, and how, as facts. False: the name is none. */
bool peek_note_asked(struct flow *flow, const struct hello *hello);

/* Pure: why this TLS cannot be ended, or OPAQUE_NO_REASON when it can, whatever is spoken in it. */
enum opaque judge_unopenable(const struct hello *hello);

/* Pure: how that is relayed which both ends have agreed to speak by ALPN (empty: they have not). */
enum relay_kind open_relay_kind(struct span agreed);

/* suites.c. Pure: which of the cipher suites offered (two bytes each) we speak, a bit each. */
uint32_t suites_shared(struct span offered);
/* Pure: whether one of them is for the version that a server would choose. */
bool suites_fit(uint32_t shared, uint16_t version_max);
/* Pure: those of ours that are so called, as IANA names them. */
uint32_t suites_named(char *const *names, size_t len);
/* Pure: IANA's name of one, NULL: it is none of ours. */
const char *suites_name(uint16_t suite);
/* Has a client offer these and no others; false when OpenSSL cannot. */
bool suites_offer(SSL *ssl, uint32_t shared);

/* Has both legs' bytes pass untouched from here on: the state in which they do. */
enum flow_state pass_on(struct flow *flow);

/* How the TLS handshake with upstream failed. */
struct dial_failure {
    int alert;              /* upstream's, 0: none */
    bool old;               /* upstream chose a version that is too old for us */
    bool lost;              /* the connection was closed or reset */
    long verified;          /* X509_V_OK, or what is wrong with its certificate */
    bool wants_certificate; /* it asked for ours */
    uint16_t version_min;   /* what the pod offers at least; 0: it does not say */
};
/* Pure: why the pod and upstream are left to settle it between themselves, by passing their bytes
 * untouched: it might have gone well without us. OPAQUE_NO_REASON: they are not, for it would not.
 */
enum opaque dial_left_alone(const struct dial_failure *failure);
/* Pure: the TLS alert to answer a client with when its upstream was refused (RFC 8446 section 6.2):
 * upstream's own where it sent one, else what fits. */
int dial_alert(const struct dial_failure *failure);

/* Pure: what is wrong with a certificate, and the alert that says so: by the verification's result
 * (X509_V_ERR_…) and its depth in the chain. */
const char *verify_words(long result, int depth);
int verify_alert(long result);

/* Begins the TCP connect upstream, unless that was done before accept; a failure that is known at
 * once is in flow->why. */
int dial_begin(struct flow *flow);
/* Whether the connect is done: 0, -EAGAIN, or why it failed (flow->why has the sentence). */
int dial_connected(struct flow *flow);

/* Puts into flow->why what upstream's alert, sent where and when it may be, means. */
void dial_explain_alert(struct flow *flow);

/* Last words to a client that waits for a ServerHello: a fatal alert, in the clear. */
void open_refuse(struct flow *flow, int alert);

/* The name that a leaf is made for and upstream is checked against: the SNI, else whom a tunnel
 * leads to, else the address. Writes into out when it is the address. */
const char *asked_name(const struct flow *flow, char out[ADDR_TEXT_MAX]);
/* The port the pod speaks to, at a tunnel's other end if it asked for one. */
uint16_t asked_port(const struct flow *flow);

/* Events: see report.c. Each is told from flow->facts and, where something failed, flow->why. */
void report_tls(const struct flow *flow);
/* The server's, into a process_tls. */
void report_certificate(struct flow_event *event, const X509 *cert);
/* request: which one it is about, or NULL. */
/* As flow_event_text(), but tokens in it are masked. NULL for no text. */
const char *report_text(struct flow_event *event, struct span text);
void report_finding(const struct flow *flow, const struct finding *finding);
void report_policy(const struct flow *flow, enum policy_point point,
                   const struct policy_verdict *verdict, const struct facts_request *request);
/* The flow is over: sockets.c tells the close, with what became of it here. */
void report_done(struct flow *flow);
/* It speaks HTTP/2; of the kernel route, something was refused that policies do not deny: at once,
 * for its program's next connection may be about to come. */
void report_early(const struct flow *flow, bool http2, bool undecided);
/* The wall clock's time of what is being told: now, or when it was said. */
uint64_t report_now(const struct flow *flow);
struct flow_event *report_new(const struct flow *flow, enum flow_event_kind kind);
void report_emit(const struct flow *flow, struct flow_event **event);
