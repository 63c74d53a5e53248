/* table: what a view says of every connect, written out for who can only look things up: the kernel
 * (bpf/judge.h).
 *
 * Destinations that the same rules lead to are one class; processes that the same policies are for
 * are one kind (who). Of each class and who, the ports are asked about at every place where a rule
 * begins or ends, by policy_decide_connect() and policy_decide_unseen(), so the table says what
 * those say.
 * Pure. Called by:  proxy/enforce/kernel_rules.c. */
#pragma once

#include "base/err.h"
#include "policy/binaries.h"
#include "policy/decide.h"
#include "policy/spelling.h"
#include "policy/view.h"

enum policy_table_verdict { /* 0: it may go */
                            POLICY_TABLE_DENY = 1 << 0,
                            POLICY_TABLE_RESET = 1 << 1, /* ... as if nobody listened there */
                            POLICY_TABLE_LOOK = 1 << 2,  /* only where it is looked into */
                            POLICY_TABLE_TELL = 1 << 4,  /* it may go, but that is told */
                            POLICY_TABLE_HERE = 1 << 5,  /* ... denied by egressDeny, with a rule
                                                          * that is about loopback */
                            /* What may go takes which route (policy_decide_route()): */
                            POLICY_TABLE_KERNEL = 1 << 6, /* POLICY_WAY_KERNEL */
                            POLICY_TABLE_PROXY = 1 << 7,
                            POLICY_TABLE_SURE = 1 << 8,
                            POLICY_TABLE_NEEDS = 1 << 9, /* POLICY_WAY_NEEDS_PROXY */
                            /* of datagrams: only if they begin with a ClientHello, whose name
                             * decides */
                            POLICY_TABLE_HELLO = 1 << 10,
                            POLICY_TABLE_VERDICT = 0xffff, /* all of these; above them: */
                            POLICY_TABLE_PLACE_AT = 16,    /* what policy_spelling_at() says of
                                                            * requests there */
};

struct policy_table_net { /* an address is of the class of the longest prefix it has */
    struct match_cidr cidr;
    uint32_t class;
};
struct policy_table_who { /* what is known of a process (binaries.h) -> its kind */
    uint64_t binaries;
    uint16_t who;
};
struct policy_table_line { /* a port has the verdict of the longest prefix it has */
    uint32_t class;
    uint32_t verdict;
    uint16_t who;
    uint16_t port;
    uint8_t protocol; /* enum protocol */
    uint8_t bits;     /* of port that count */
    uint8_t pad[2];   /* zero: lines are compared as bytes */
};

struct policy_table {
    bool names;       /* what an address was resolved from matters */
    uint64_t numbers; /* of a process's binaries: those that matter, and of these the family's */
    uint64_t family;
    struct policy_table_net *nets;
    size_t nets_len;
    struct policy_table_who *whos;
    size_t whos_len;
    uint32_t *kinds; /* by who: verdict on sockets that cannot be judged by port (raw ones) */
    size_t kinds_len;
    struct policy_table_line *lines;
    size_t lines_len;
    size_t words;                     /* of a set of rules */
    struct policy_spelling *spelling; /* what is said of requests */
    uint16_t row;                     /* where its rows lie (kernel_spells.c); 0: it has none */
    bool unspelled;                   /* they are too many */
    struct table_parts *parts;        /* table_parts.h */
};

/* The view is not empty; a reference is taken. Lists of binaries are used, and released by _free().
 * -E2BIG: there is more in it than a table should have, and what. */
int policy_table_new(struct policy_table **out, struct policy_view *view, struct binaries *binaries,
                     struct err *err);
void policy_table_free(struct policy_table **table);

/* Adds to a set of `words` words, one bit for each rule, those that lead to an address; or by a
 * name (lower case, without a closing dot), wherever that is. Not those that lead everywhere. */
void policy_table_add_address(const struct policy_table *table, const struct addr *address,
                              uint64_t *rules);
void policy_table_add_name(const struct policy_table *table, const char *name, uint64_t *rules);
/* Of such a set by a name: which rules for requests it fits (policy_spelling_named()). */
uint64_t policy_table_named(const struct policy_table *table, const uint64_t *rules);

/* The class of an address that was resolved from these names. A new one adds lines. */
struct policy_table_led {
    const struct addr *address;
    struct policy_names names;
    const uint64_t *by_address, *by_name; /* which rules lead there, found as above */
};
int policy_table_class(struct policy_table *table, const struct policy_table_led *led,
                       uint32_t *class, struct err *err);
/* Whether it refuses anything, and so sockets that cannot be judged by address and port, too. */
bool policy_table_denies_any(const struct policy *policy);
