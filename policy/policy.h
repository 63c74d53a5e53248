/* policy: what TrafficPolicy documents say (README "Policies"), compiled: plain data that never
 * changes once it is shared, counted by references.
 *
 * A set holds every policy in force; it is swapped whole. A view (view.h) is what a set says of one
 * pod; decisions (decide.h) are taken by views.
 * Called by:  compile.c, which alone makes these; view.c, decide.c, explain.c, table.c, which read.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/facts.h"
#include "policy/fault.h"
#include "policy/match.h"

struct regex; /* regex.h */

enum policy_mode { POLICY_ENFORCE, POLICY_MONITOR, POLICY_MODE_MAX };
enum policy_action {
    POLICY_REJECT, /* a 403, REFUSED, a TLS alert, EPERM */
    POLICY_RESET,
    POLICY_SIGKILL,
    POLICY_FREEZE,
    POLICY_ACTION_MAX
};
enum policy_unseen {                        /* onNoVisibility */
                     POLICY_UNSEEN_DEFAULT, /* not said: alert, or drop where the policy looks
                                               into requests or bodies */
                     POLICY_UNSEEN_ALERT,
                     POLICY_UNSEEN_DROP,
                     POLICY_UNSEEN_SIGKILL,
                     POLICY_UNSEEN_FREEZE,
                     POLICY_UNSEEN_STEER,
                     POLICY_UNSEEN_MAX
};
enum policy_route {
    POLICY_ROUTE_AUTO,
    POLICY_ROUTE_PROXY,
    POLICY_ROUTE_KERNEL,
    POLICY_ROUTE_PASSTHROUGH,
    POLICY_ROUTE_MAX
};
enum policy_ktls { POLICY_KTLS_LEAVE, POLICY_KTLS_PREFER, POLICY_KTLS_MAX };
enum policy_learn { POLICY_LEARN_OFF, POLICY_LEARN_PASSTHROUGH, POLICY_LEARN_MAX };
enum policy_agent_down {
    POLICY_DOWN_DEFAULT,
    POLICY_DOWN_CLOSED,
    POLICY_DOWN_OPEN,
    POLICY_DOWN_MAX
};
enum policy_existing {
    POLICY_EXISTING_REPORT,
    POLICY_EXISTING_LEAVE,
    POLICY_EXISTING_RESET,
    POLICY_EXISTING_MAX
};
/* inspect: off, tell, or refuse. */
enum policy_inspect {
    POLICY_INSPECT_OFF,
    POLICY_INSPECT_ALERT,
    POLICY_INSPECT_DENY,
    POLICY_INSPECT_MAX
};

/* The words of these, as policies and events spell them: "enforce", "reject", ... */
const char *policy_mode_name(enum policy_mode mode);
const char *policy_action_name(enum policy_action action);
const char *policy_route_name(enum policy_route route);
/* False: there is no such route. */
bool policy_route_find(const char *name, enum policy_route *out);

/* Where something stands: what events and refusals call it, and its place in the file. */
struct policy_place {
    char *rule; /* "egress[0].toPorts[0].rules.http[0]" */
    struct mark mark;
};

enum policy_operator { /* of labels: the first four; of binaries: all but Exists */
                       POLICY_IN,
                       POLICY_NOT_IN,
                       POLICY_EXISTS,
                       POLICY_DOES_NOT_EXIST,
                       POLICY_PREFIX,
                       POLICY_NOT_PREFIX,
                       POLICY_POSTFIX,
                       POLICY_NOT_POSTFIX,
};
struct policy_requirement { /* one of podSelector's: all must hold */
    char *key;
    enum policy_operator operator;
    char **values;
    size_t values_len;
};
struct policy_binaries { /* one of matchBinaries': all must hold */
    enum policy_operator operator;
    char **values;
    size_t values_len;
    bool follow_children; /* a process some ancestor of which matched matches, too */
};

struct policy_name { /* toFQDNs, rules.dns, serverNames: as match.h has patterns; lower case,
                        without a closing dot */
    char *text;
    bool exact; /* no wildcard in it */
};
struct policy_cidr {
    struct match_cidr cidr;
    struct match_cidr *except; /* of toCIDRSet */
    size_t except_len;
};
enum { POLICY_TCP = 1 << 0, POLICY_UDP = 1 << 1 };
struct policy_port {
    uint16_t first, last; /* 0 and 65535: any */
    uint8_t protocols;    /* POLICY_TCP | POLICY_UDP */
};

struct policy_header { /* headers, headerMatches */
    char *name;
    char *value; /* NULL: it must be there, whatever it says */
};
struct policy_http { /* all that is said must hold; nothing said: every request */
    struct policy_place place;
    char *method, *path, *host; /* as written; NULL: not said */
    struct regex *method_is, *path_is,
        *host_is;                              /* owned; NULL: not said, or said literally: below */
    char *method_text, *path_text, *host_text; /* it is a text without operators: compared as bytes
                                                  (host: lower case); NULL: it is not */
    struct policy_header *headers;
    size_t headers_len;
};
struct policy_dns {
    struct policy_place place;
    struct policy_name name; /* text NULL: any */
    uint16_t *types;         /* of questions; none: any */
    size_t types_len;
};
struct policy_tls {
    struct policy_place place;
    uint16_t version_min, version_max; /* 0x0303 and the like; 0: not said */
    char **ciphers;                    /* IANA names */
    size_t ciphers_len;
    char *trusted_ca;         /* path; NULL: not said */
    char *client_certificate; /* path; NULL: not said */
};
struct policy_to_ports {
    struct policy_place place;
    struct policy_port *ports; /* none: all */
    size_t ports_len;
    struct policy_name *server_names; /* none: not said */
    size_t server_names_len;
    struct policy_tls *tls;   /* NULL: not said */
    struct policy_http *http; /* none: not said */
    size_t http_len;
    struct policy_dns *dns; /* none: not said */
    size_t dns_len;
};
struct policy_egress { /* of egress or egressDeny. A destination fits when one of names or cidrs
                          does, or when neither is said; it is allowed for what one of to_ports
                          allows, or for everything when there is none */
    struct policy_place place;
    struct policy_name *names; /* toFQDNs */
    size_t names_len;
    struct policy_cidr *cidrs; /* toCIDR, toCIDRSet, toEntities: world and all */
    size_t cidrs_len;
    struct policy_to_ports *to_ports;
    size_t to_ports_len;
    bool nowhere; /* `toFQDNs: []` and the like: fits no destination */
};

enum policy_direction { POLICY_REQUEST = 1 << 0, POLICY_RESPONSE = 1 << 1, POLICY_BOTH = 3 };
struct policy_body_pattern { /* one of a body's: built in (name) or the user's own */
    char *name;              /* "payment-card", or what the user calls it */
    char *regex;             /* NULL: built in */
    struct mark mark;
};
struct policy_bodies {
    struct policy_place place;
    struct policy_body_pattern *patterns;
    size_t patterns_len;
    enum policy_direction direction;
    enum verdict action; /* VERDICT_DENY or VERDICT_ALERT */
    uint64_t max_bytes;  /* so much of a body is looked at; UINT64_MAX: all */
};

/* What Cilium's selectors call the pod's namespace, as if it were a label. */
#define POLICY_NAMESPACE_LABEL "io.kubernetes.pod.namespace"

struct policy {
    atomic_uint refs;
    char *name, *space; /* metadata; space "" when none: pods of every namespace */
    char *id;           /* "shop/cart", or "cart": what events call it. Of one of several `specs`
                           "shop/cart[1]" */
    char *file;         /* where it was read; "" for none */
    struct mark mark;   /* where its name stands there */
    struct policy_place place; /* of egress (what says that all else is denied), else of spec */
    struct policy_requirement *selector; /* none: every pod */
    size_t selector_len;
    struct policy_binaries *binaries; /* none: every process */
    size_t binaries_len;
    enum policy_mode mode;
    enum policy_route route;
    enum policy_ktls ktls;
    enum policy_unseen on_no_visibility;
    enum policy_learn learn;
    enum policy_agent_down on_agent_down;
    enum policy_action on_deny;
    enum policy_existing existing;
    bool has_egress; /* what it does not allow is denied */
    struct policy_egress *egress, *egress_deny;
    size_t egress_len, egress_deny_len;
    struct policy_bodies *bodies;
    size_t bodies_len;
    enum policy_inspect consistency, tokens;
    struct policy_place consistency_place, tokens_place;
};

struct policy *policy_ref(struct policy *policy);
void policy_unref(struct policy **policy); /* accepts an empty one */
/* Whether it is for such a pod. A pod without a namespace ("HOST") is selected by policies of none.
 */
bool policy_selects(const struct policy *policy, const struct pod *pod);
/* Whether it is for such a process; NULL (nobody knows it): only one that is for every process. */
bool policy_is_for(const struct policy *policy, const struct process *process);

struct policy_view; /* view.h */
struct policy_set {
    atomic_uint refs;
    uint64_t generation;  /* greater with each set that is put in force */
    struct policy **list; /* by id, each once */
    size_t len;
    pthread_mutex_t lock;      /* of views */
    struct policy_view *views; /* those alive, borrowed: view.c's, which gives one to all pods for
                                  which the same policies are */
};
/* Takes references of the list's. NULL: out of memory. */
struct policy_set *policy_set_new(struct policy *const *list, size_t len, uint64_t generation);
struct policy_set *policy_set_ref(struct policy_set *set);
void policy_set_unref(struct policy_set **set); /* accepts an empty one */
