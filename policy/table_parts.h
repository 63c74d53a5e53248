/* table_parts: what the files that make a table share. */
#pragma once

#include "policy/bits.h"
#include "policy/index.h"
#include "policy/table.h"

enum {
    TABLE_ASKED_MAX = 1 << 20, /* decisions that one table may take */
    TABLE_LINES_MAX = 1 << 18,
    TABLE_WHOS_MAX = 256,
};

struct table_rule {
    const struct policy_egress *egress; /* of the view's policies */
    bool everywhere;                    /* it leads to every destination */
    bool denies_here;                   /* it is of egressDeny, and has a network of loopback */
};

struct table_parts {
    struct policy_view *view;  /* a reference */
    struct binaries *binaries; /* borrowed */
    struct table_rule *rules;  /* of all policies, by number */
    size_t rules_len;
    struct index *where; /* by names and addresses, of BITS_MAX rules each */
    size_t where_len;
    uint32_t *everywhere; /* numbers of those that lead to every destination */
    size_t everywhere_len;
    struct policy_scope **scopes; /* by who */
    bool *reads;                  /* ... whether what cannot be seen may be refused for that */
    void *known_sets;             /* tsearch(3): which rules lead there -> class */
    void *known_lines;            /* tsearch(3): which lines -> class */
    uint32_t classes_len;
    size_t asked;
    size_t lines_room;
};

/* table_whos.c: fills whos, numbers, family, kinds, and the scopes. */
int table_find_whos(struct policy_table *table, struct err *err);

/* table_nets.c: fills nets. */
int table_find_nets(struct policy_table *table, struct err *err);

/* A rule that leads somewhere: by the address, or by a name alone, which opens less as long as no
 * program has said it. */
static inline uint32_t table_by_address(uint32_t rule)
{
    return 2 * rule;
}
static inline uint32_t table_by_name(uint32_t rule)
{
    return 2 * rule + 1;
}
static inline uint32_t table_rule_of(uint32_t leading)
{
    return leading / 2;
}

/* table_class.c: the class of what these lead to, an example of which is given. In order; without
 * rules that lead everywhere. */
int table_class_of(struct policy_table *table, const uint32_t *rules, size_t len,
                   const struct addr *example, const struct policy_names *names, uint32_t *class,
                   struct err *err);

/* table_lines.c: adds the lines of a class that is new. */
int table_add_lines(struct policy_table *table, uint32_t class, const uint32_t *rules, size_t len,
                    const struct addr *example, const struct policy_names *names, struct err *err);

int table_no_memory(struct err *err);
int table_too_large(const char *what, struct err *err);
