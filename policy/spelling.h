/* spelling: what a view says of HTTP requests, written out for who reads them letter by letter and
 * keeps no more than a bit for each rule: the kernel (bpf/spell.h).
 *
 * What rules want of a request is numbered: each number is a condition on method, path, host and
 * headers, which proxy/kernel/automaton.c spells out. What of them counts at a place (an address, a
 * port, a kind of process) is a handful of masks. What is said is never more than what
 * policy_decide_http() allows; it is less
 * - for a path that is not normal (path.h) where any rule looks at paths;
 * - for CONNECT, without a Host, and for hosts that bpf/spell.h does not read: IPv6 addresses, that
 *   of an https:// target;
 * - for rules that cannot be spelled: of an expression too large for a DFA, of headers that frame a
 *   message (Host, Content-Length, ...), of more headers than SPELLING_HEADERS;
 * - for a name that the program resolved only after it had connected;
 * - for a name that egressDeny has: it is denied at every port;
 * - behind SPELLING_RULES rules.
 * TLS is known to be there or not; its server name is taken to be the host.
 * Pure. Called by:  table.c, table_lines.c; proxy/kernel/automaton.c, which makes rows of it. */
#pragma once

#include "policy/decide.h"

enum { SPELLING_RULES = 64, SPELLING_HEADERS = 32 };

struct spelling_rule {
    const struct policy_http *http; /* NULL: every request */
    const struct policy *policy;    /* with what follows: whose rules share this number */
    const struct policy_to_ports *to_ports;
    bool deny, by_name, tls;
    bool inexact; /* it cannot be spelled: of what it wants, as much as can be is */
    const struct policy_egress **egress; /* by_name: the host must fit the names of one of these */
    size_t egress_len;
    struct regex *names; /* owned: what is denied by name; whom TLS must be with; NULL: neither is
                            asked, or it is inexact */
};

enum spelling_flags {
    SPELLING_JUDGED = 1 << 0, /* as enum abi_spelling_flags */
    SPELLING_AGENT = 1 << 1,
    SPELLING_UNSEEN = 1 << 2,
    SPELLING_BODY_TX = 1 << 3,
    SPELLING_BODY_RX = 1 << 4,
    SPELLING_KILL = 1 << 5,
};
struct spelling_place {
    uint64_t rules, named, denies, tls; /* as struct abi_spelling has them */
    uint32_t flags;
    uint32_t pad; /* zero: they are compared as bytes */
};

struct spelling_grant; /* these are spelling.c's */
struct spelling_lead;
struct policy_spelling {
    struct spelling_rule rules[SPELLING_RULES]; /* the first two are for what is open: to all, and
                                                   to what is encrypted */
    size_t rules_len;
    bool over; /* there are more, and some of them deny */
    struct spelling_place *places;
    size_t places_len;
    struct spelling_grant *grants;
    size_t grants_len;
    struct spelling_lead *leads; /* by egress */
    size_t leads_len;
};

/* Borrows the view. NULL: out of memory. */
struct policy_spelling *policy_spelling_new(const struct policy_view *view);
void policy_spelling_free(struct policy_spelling **spelling);

/* What it says there: a number, 0: nothing; else one more than its place in places. -ENOMEM;
 * -E2BIG: there are more than 65535. */
int policy_spelling_at(struct policy_spelling *spelling, const struct policy_scope *scope,
                       const struct policy_facts *facts);
/* Which rules by name are about what this entry of egress leads to: a bit each. A name that fits
 * it, and was resolved, fits them. */
uint64_t policy_spelling_named(const struct policy_spelling *spelling,
                               const struct policy_egress *egress);

/* Whether a rule looks at paths; at any header that can be looked at. */
bool policy_spelling_has_paths(const struct policy_spelling *spelling);
bool policy_spelling_knows_header(const char *name);
