/* segment: rules of many policies laid out for being found.
 *
 * A grant is one entry of toPorts, or a rule that has none; it has a number, and so have the rules
 * for requests and for questions beneath all grants. What a grant wants of a flow is a handful of
 * conditions; for each there is an index from what a flow shows to the grants that take it, as a
 * set of bits. Which grants fit is then a few ANDs over words, whatever the rules look like.
 * A segment has room for a fixed number of each, so that sets fit on the stack; who has more has
 * several.
 *
 * Pure; immutable once made.
 * Called by:  view.c, search.c. */
#pragma once

#include "policy/index.h"

struct segment_grant {
    const struct policy *policy;
    size_t policy_at; /* in the view */
    const struct policy_egress *egress;
    const struct policy_to_ports *to_ports; /* NULL: all ports, all they say */
    const struct policy_http *http;         /* of to_ports': those in this segment */
    const struct policy_http *path;         /* the first of them that looks at paths */
    const struct policy_dns *dns;
    size_t http_len, dns_len;
    size_t http_first, dns_first; /* the numbers of the first ones */
};
struct segment_run { /* grants of one policy */
    size_t policy_at, first, len;
};
struct segment {
    struct segment_grant *grants;
    size_t len, words;
    bool serves; /* there are serverNames */
    struct index where, ports, servers;
    struct index methods, hosts, paths;          /* of rules for requests */
    struct index questions;                      /* of rules for questions */
    uint64_t *named, *served, *tls, *http, *dns; /* grants with toFQDNs, serverNames, tls, rules */
    uint64_t *pathed;                            /* ... whose rules look at paths */
    const struct policy_http **https;            /* by their numbers */
    uint16_t *http_grants;                       /* ... and of which grant each is */
    size_t https_len;
    const struct policy_dns **dnss;
    uint16_t *dns_grants;
    size_t dnss_len;
    struct segment_run *runs;
    size_t runs_len;
    size_t mask_at; /* in a scope's mask */
};
struct segments { /* begins zeroed */
    struct segment *list;
    size_t len;
};

/* Of those policies of one mode; deny: their egressDeny, else egress. -ENOMEM. */
int segments_make(struct segments *out, const struct policy *const *policies, size_t len,
                  enum policy_mode mode, bool deny);
void segments_fini(struct segments *segments);
/* The first place of a rule that a grant has. */
const struct policy_place *segment_place(const struct segment_grant *grant);
