/* verdict: what the policies in force say of a flow, and what is done about it: told, the process
 * killed, its pod frozen. What becomes of the bytes is for who asked.
 *
 * A flow is judged by the policies it began under, each of its requests by the newest ones.
 * Called by:  the steps, where something becomes known that policies may be about, and always
 *             before a byte of it goes on.
 * Leads to:   ../../policy/decide.h; report.c, which tells; ../enforce/act.h, which kills. */
#pragma once

#include "policy/decide.h"
#include "proxy/dns/names.h"
#include "proxy/flow/exchange.h"

struct finding;
struct flow;
struct flow_event;
enum flow_state;

struct verdicts {
    struct policy_view *view;   /* a reference; NULL: none */
    struct policy_scope *scope; /* what of it is for the process; NULL: nothing is */
    uint64_t generation;        /* of all policies, when these were looked up */
    bool unknown;               /* there was no memory to look them up: all is denied */
    bool over;                  /* denied: the flow ends here, both ways, without a word */
    struct names_trusted names; /* that its address was answered for */
    bool named;                 /* ... they were looked up */
    struct policy_verdict last; /* the latest of the flow, or of its latest request */
    struct policy *held;        /* ... whose policy this is: a reference */
    enum policy_point point;    /* ... and what that was about */
    char said[320];             /* ... as a sentence, where it denies */
    struct policy_verdict told; /* the latest alert about the flow as such; compared alone, ... */
    uint64_t told_generation;   /* ... as long as its policies are in force */
};

/* Looks up what is in force. */
void verdict_begin(struct flow *flow);
void verdict_end(struct flow *flow);
/* Something of a policy is for this flow: it is worth asking. */
static inline bool verdict_any(const struct verdicts *verdicts)
{
    return verdicts->scope || verdicts->unknown;
}

/* All of these return whether the flow goes on; false: flow->why says why not, and
 * verdict_refused() is the state that follows. */

/* The address, which the kernel has judged before, but perhaps without knowing the program. */
bool verdict_connect(struct flow *flow);
/* What the program has said first: a ClientHello, HTTP in the clear, or neither. */
bool verdict_hello(struct flow *flow);
/* TLS with upstream: version and cipher (IANA's name) as agreed. */
bool verdict_session(struct flow *flow, uint16_t version, const char *cipher);
/* What follows cannot be read; why: a phrase. */
bool verdict_unseen(struct flow *flow, const char *why);
bool verdict_unseen_opaque(struct flow *flow, enum opaque why);
/* ... of a request; NULL: of the flow. */
bool verdict_settle_unseen(struct flow *flow, const char *why, const struct facts_request *request);
/* A rule about TLS, or what it asks for, cannot be kept; place: the rule. */
bool verdict_deny(struct flow *flow, enum policy_point point, const struct policy *policy,
                  const struct policy_place *place, const char *reason);
/* The server's certificate was refused; result: OpenSSL's why. False where that was a rule's doing,
 * for it says whom to trust. */
bool verdict_untrusted(struct flow *flow, long result);

/* What rules want of TLS; false: nothing. */
bool verdict_tls_wish(struct flow *flow, struct policy_tls_wish *out);

/* By a TLS alert, if the program waits for a ServerHello and its policy rejects; else by an RST. */
enum flow_state verdict_refused(struct flow *flow);

/* Whether it may pass unread, if a setting says so, without anything being told. */
bool verdict_may_pass(struct flow *flow);
/* ... or is to, as its policies say. */
bool verdict_passes(struct flow *flow);

/* Whether it passes from the next time on when its program refuses our certificate. */
bool verdict_learns(struct flow *flow);

/* Another request: what was said of those before is not about it. */
void verdict_next(struct flow *flow);
/* A request whose head was read, and nothing of it has gone on. decision is filled where it is
 * denied; flow->verdicts.over: there shall be no answer. */
void verdict_request(struct flow *flow, const struct facts_request *request,
                     struct exchange_decision *decision);
/* Something was found in what it carries: whether that goes on. */
bool verdict_found(struct flow *flow, const struct finding *finding);
/* The kernel has refused what policies allow; why: a phrase. */
void verdict_unexplained(struct flow *flow, const char *why, const struct facts_request *request);
/* Whether policies want what only the proxy can keep: policy/route.h. */
bool verdict_needs_proxy(struct flow *flow);
/* There is no memory to look at what it carries, so it does not go on. */
void verdict_blind(struct flow *flow);
/* The latest verdict, into an event that is about it. */
void verdict_onto(const struct flow *flow, struct flow_event *event);
