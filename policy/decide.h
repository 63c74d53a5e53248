/* decide: policy x facts -> verdict, the rule that said so, and why. Pure; any thread.
 *
 * Semantics (README "Policies"):
 * - egressDeny of any policy wins. Else, when a policy of the scope has egress, what no policy's
 *   egress allows is denied. A rule without http rules allows every request to where it fits.
 * - Policies with mode monitor neither allow nor deny what is enforced: the verdict is that of the
 *   enforcing ones. When all together would deny what those allow, it is VERDICT_ALERT with mode
 *   POLICY_MONITOR.
 * - A destination fits toFQDNs when its address was answered to this pod for a name that fits; once
 *   the program said a name (SNI, authority), that very name must fit and be one that was answered
 *   for the address. A destination that fits toCIDR fits, whatever it is called.
 * Called by:  proxy/flow/ at each point, proxy/dns/, proxy/enforce/ for the kernel's table;
 * explain.c. */
#pragma once

#include "policy/view.h"

enum policy_point {
    POLICY_POINT_CONNECT,
    POLICY_POINT_DNS,
    POLICY_POINT_TLS,         /* the ClientHello: names and versions offered */
    POLICY_POINT_CERTIFICATE, /* upstream's: chain, version, cipher */
    POLICY_POINT_HTTP,
    POLICY_POINT_BODY,
    POLICY_POINT_TOKEN,
    POLICY_POINT_VISIBILITY, /* there is something that cannot be seen */
    POLICY_POINT_MAX
};
const char *policy_point_name(enum policy_point point); /* "connect", ..., "visibility" */

/* Names that this pod's name servers answered for an address. */
struct policy_names {
    const char *const *list; /* lower case, without a closing dot */
    size_t len;
};

struct policy_facts {
    enum protocol protocol;
    const struct addr *dst;       /* where to, with port */
    struct policy_names resolved; /* to dst */
    const char *name;    /* whom TLS is with: SNI, else NULL; of a tunnel: whom it leads to */
    bool cannot_resolve; /* name leads through a proxy or tunnel: its address is not ours to know */
    bool name_server; /* dst is one of the pod's own: at port 53 rules with toFQDNs fit it, too */
    bool plain;       /* it is known to speak no TLS: what wants TLS or a serverName never fits */
};
struct policy_question { /* of the DNS */
    const char *name;    /* as asked; any case, with or without a closing dot */
    uint16_t type;
    const char *type_name;
    bool configured; /* dst is one of the pod's own name servers (toFQDNs rules are for those) */
};
struct policy_hello {
    const char *server_name; /* NULL: none */
    uint16_t version_max;    /* offered; 0: not known */
};

struct policy_verdict {
    enum verdict verdict;        /* VERDICT_ALLOW, _DENY, _ALERT */
    enum policy_mode mode;       /* POLICY_MONITOR: of what it only tells */
    enum policy_action action;   /* of VERDICT_DENY (and what enforcing ones would do) */
    const struct policy *policy; /* whose rule decided; borrowed of the view; NULL: none, allowed */
    const struct policy_place *place; /* its rule; NULL: as above */
    char reason[192];                 /* denied or told: "no rule allows GET /admin" */
};

/* Of what there is no memory to judge. */
extern const struct policy_verdict policy_unjudged;

/* Each writes *out whole. scope NULL or empty: allowed. */
void policy_decide_connect(const struct policy_scope *scope, const struct policy_facts *facts,
                           struct policy_verdict *out);
void policy_decide_dns(const struct policy_scope *scope, const struct policy_facts *facts,
                       const struct policy_question *question, struct policy_verdict *out);
void policy_decide_hello(const struct policy_scope *scope, const struct policy_facts *facts,
                         const struct policy_hello *hello, struct policy_verdict *out);
/* version: negotiated with upstream; cipher: IANA's name. */
void policy_decide_session(const struct policy_scope *scope, const struct policy_facts *facts,
                           uint16_t version, const char *cipher, struct policy_verdict *out);
/* request->path raw; request->host the authority without port. bad: set when the request must be
 * answered 400 whatever rules say (an encoded '/', '\' or NUL in a path under http rules, no or
 * several Hosts): then verdict is VERDICT_DENY. */
void policy_decide_http(const struct policy_scope *scope, const struct policy_facts *facts,
                        const struct facts_request *request, bool *bad, struct policy_verdict *out);
/* Something cannot be seen (why: a phrase, "the program refused our certificate"). What to do is in
 * *what: POLICY_UNSEEN_ALERT and the like, never _DEFAULT; verdict is VERDICT_ALERT or _DENY. */
void policy_decide_unseen(const struct policy_scope *scope, const struct policy_facts *facts,
                          const char *why, enum policy_unseen *what, struct policy_verdict *out);
/* Of datagrams, which that denies: whether a ClientHello could let them pass, by its name. */
bool policy_hello_may_open(const struct policy_scope *scope, const struct policy_facts *facts);
/* Whether what is said must be read: to know whether it is allowed, or as a policy wants to look
 * into it; whatever they say is to be done where that cannot be. */
bool policy_must_read(const struct policy_scope *scope, const struct policy_facts *facts);
/* SNI, authority and resolved names disagree (inspect.consistency); host NULL: not known yet. */
void policy_decide_consistency(const struct policy_scope *scope, const struct policy_facts *facts,
                               const char *host, struct policy_verdict *out);

/* The TLS that rules want with this destination, of all rules that fit it and allow it: the
 * strictest version, the first trustedCA and clientCertificate said. All borrowed. */
struct policy_tls_wish {
    uint16_t version_min, version_max; /* 0: not said */
    const struct policy_tls *ciphers;  /* whose ciphers; NULL: not said */
    const struct policy_tls *trust;    /* whose trusted_ca; NULL */
    const struct policy_tls *client;   /* whose client_certificate; NULL */
    const struct policy *policy;       /* of the first of these */
};
void policy_tls_wish(const struct policy_scope *scope, const struct policy_facts *facts,
                     struct policy_tls_wish *out);
