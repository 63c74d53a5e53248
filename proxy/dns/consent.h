/* consent: what the policies in force say of what a program asks a name server, and whether they
 * list that server, so that its answers count.
 *
 * Called by:  lookups.c.
 * Leads to:   ../../policy/decide.h; names.h, which servers are the pod's own. */
#pragma once

#include "policy/decide.h"
#include "proxy/wire/dns.h"

struct names;
struct policies;

/* Of one exchange. Zeroed at first. */
struct consent {
    struct policy_view *view;   /* a reference; NULL: none */
    struct policy_scope *scope; /* what of it is for the process; NULL: nothing is */
    uint64_t generation;        /* of all policies, when these were looked up */
    bool unknown;               /* there was no memory to look them up: all is denied */
};
/* Who asks whom. All borrowed, policies, pod and process may be NULL. */
struct consent_parties {
    struct policies *policies;
    struct names *names;
    struct pod *pod;
    struct process *process;
    const struct addr *server;
    enum protocol protocol;
    bool tls;
    const char *server_name; /* whom TLS is with; NULL: no name was said */
};
void consent_fini(struct consent *consent); /* at ease with a zeroed one */

/* By the newest policies. *point is what the verdict was about. */
void consent_ask(struct consent *consent, const struct consent_parties *parties,
                 const struct dns *question, enum policy_point *point, struct policy_verdict *out);
/* The same of bytes, or of a message, that policies cannot look into; why: a phrase. */
void consent_ask_unseen(struct consent *consent, const struct consent_parties *parties,
                        const char *why, enum policy_point *point, struct policy_verdict *out);
/* Whether what this server answers counts. */
bool consent_trusts(struct consent *consent, const struct consent_parties *parties);
