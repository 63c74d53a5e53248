/* table_nets: the networks that rules are about, each with the class of the addresses that are in
 * no narrower one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/table_parts.h"

struct about { /* a rule is about a network, or leaves it out of one that it is about */
    struct match_cidr cidr;
    uint32_t rule;
    uint32_t number; /* of the rule's networks; those it leaves out have that one's */
    bool left_out;
};
struct abouts {
    struct about *list; /* wider ones before those that are in them */
    size_t len;
    uint32_t *around; /* numbers of marks: those around where we are, narrower ones last */
    size_t around_len;
    uint32_t *found; /* the class that a look-up finds in each of those, but for narrower ones */
    uint32_t *rules; /* that lead there */
};

static const struct addr every_v4 = {.ip = {[10] = 0xff, 0xff}};

static void abouts_fini(struct abouts *marks)
{
    free(TAKE(marks->list));
    free(TAKE(marks->around));
    free(TAKE(marks->found));
    free(TAKE(marks->rules));
}

static int by_network(const void *a, const void *b)
{
    const struct about *x = a, *y = b;
    int order = memcmp(x->cidr.network.ip, y->cidr.network.ip, sizeof(x->cidr.network.ip));

    if (order)
        return order;
    return (x->cidr.bits > y->cidr.bits) - (x->cidr.bits < y->cidr.bits);
}

/* As a trie sees it: addresses of both families are 128 bits. */
static bool has_prefix(const struct addr *address, const struct match_cidr *cidr)
{
    unsigned whole = cidr->bits / 8, rest = cidr->bits % 8;

    return memcmp(cidr->network.ip, address->ip, whole) == 0 &&
           (!rest || (cidr->network.ip[whole] ^ address->ip[whole]) >> (8 - rest) == 0);
}

static size_t count_marks(const struct table_parts *parts)
{
    size_t len = 2;

    for (size_t i = 0; i < parts->rules_len; i++)
        for (size_t j = 0; j < parts->rules[i].egress->cidrs_len; j++)
            len += 1 + parts->rules[i].egress->cidrs[j].except_len;
    return len;
}

static int find_marks(struct abouts *marks, const struct table_parts *parts)
{
    size_t room = count_marks(parts);

    marks->list = calloc(room, sizeof(*marks->list));
    marks->around = calloc(room, sizeof(*marks->around));
    marks->found = calloc(room, sizeof(*marks->found));
    marks->rules = calloc(parts->rules_len + 1, sizeof(*marks->rules));
    if (!marks->list || !marks->around || !marks->found || !marks->rules)
        return -ENOMEM;
    marks->list[marks->len++].rule = UINT32_MAX; /* the whole: of no rule */
    marks->list[marks->len++] = (struct about){.cidr = {every_v4, 96}, .rule = UINT32_MAX};
    for (uint32_t i = 0; i < parts->rules_len; i++)
        for (uint32_t j = 0; j < parts->rules[i].egress->cidrs_len; j++) {
            const struct policy_cidr *cidr = &parts->rules[i].egress->cidrs[j];

            marks->list[marks->len++] = (struct about){cidr->cidr, i, j, false};
            for (size_t k = 0; k < cidr->except_len; k++)
                marks->list[marks->len++] = (struct about){cidr->except[k], i, j, true};
        }
    qsort(marks->list, marks->len, sizeof(*marks->list), by_network);
    return 0;
}

/* ---- which rules lead there ---- */

static int by_rule(const void *a, const void *b)
{
    const struct about *x = *(const struct about *const *)a, *y = *(const struct about *const *)b;

    if (x->rule != y->rule)
        return x->rule < y->rule ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* Of the marks around, and of the family of the example: a rule leads there by one of its networks
 * that does not leave it out. */
static int find_rules(const struct abouts *marks, const struct addr *example, size_t *len)
{
    const struct about **sorted = calloc(marks->around_len + 1, sizeof(*sorted));

    *len = 0;
    if (!sorted)
        return -ENOMEM;
    for (size_t i = 0; i < marks->around_len; i++)
        sorted[i] = &marks->list[marks->around[i]];
    qsort(sorted, marks->around_len, sizeof(*sorted), by_rule);
    for (size_t i = 0; i < marks->around_len;) {
        const struct about *first = sorted[i];
        bool leads = first->rule != UINT32_MAX;

        for (; i < marks->around_len && by_rule(&sorted[i], &first) == 0; i++)
            leads = leads && match_cidr(&sorted[i]->cidr, example) != sorted[i]->left_out;
        if (leads && (!*len || marks->rules[*len - 1] != table_by_address(first->rule)))
            marks->rules[(*len)++] = table_by_address(first->rule);
    }
    free(sorted);
    return 0;
}

/* ---- an address that is in no narrower network ---- */

static unsigned __int128 number_of(const struct addr *addr)
{
    unsigned __int128 number = 0;

    for (size_t i = 0; i < sizeof(addr->ip); i++)
        number = number << 8 | addr->ip[i];
    return number;
}

static unsigned __int128 last_of(const struct match_cidr *cidr)
{
    unsigned __int128 within =
        cidr->bits ? ((unsigned __int128)1 << (128 - cidr->bits)) - 1 : ~(unsigned __int128)0;

    return number_of(&cidr->network) | within;
}

/* False: narrower ones take all of it. `next`: the first mark behind those of this network. */
static bool find_example(const struct abouts *marks, const struct match_cidr *cidr, size_t next,
                         struct addr *out)
{
    unsigned __int128 at = number_of(&cidr->network), last = last_of(cidr);

    for (; next < marks->len && has_prefix(&marks->list[next].cidr.network, cidr); next++) {
        const struct match_cidr *narrower = &marks->list[next].cidr;
        unsigned __int128 end = last_of(narrower);

        if (number_of(&narrower->network) > at)
            break;
        if (end == last)
            return false;
        if (end >= at)
            at = end + 1;
    }
    *out = (struct addr){0};
    for (size_t i = sizeof(out->ip); i-- > 0; at >>= 8)
        out->ip[i] = (uint8_t)at;
    return true;
}

/* ---- the networks ---- */

static int add_net(struct policy_table *table, struct abouts *marks, size_t next,
                   const struct match_cidr *cidr, uint32_t *found, struct err *err)
{
    static const struct policy_names none = {0};
    struct addr example;
    uint32_t class;
    size_t len;
    int code;

    if (!find_example(marks, cidr, next, &example))
        return 0;
    if (find_rules(marks, &example, &len) < 0)
        return table_no_memory(err);
    code = table_class_of(table, marks->rules, len, &example, &none, &class, err);
    if (code == 0 && (!table->nets_len || class != *found))
        table->nets[table->nets_len++] = (struct policy_table_net){*cidr, class};
    *found = class;
    return code;
}

int table_find_nets(struct policy_table *table, struct err *err)
{
    CLEANUP(abouts_fini) struct abouts marks = {0};
    int code = 0;

    if (find_marks(&marks, table->parts) < 0)
        return table_no_memory(err);
    table->nets = calloc(marks.len, sizeof(*table->nets));
    if (!table->nets)
        return table_no_memory(err);
    for (uint32_t i = 0, next; code == 0 && i < marks.len; i = next) {
        const struct match_cidr *cidr = &marks.list[i].cidr;
        uint32_t found;

        while (marks.around_len &&
               !has_prefix(&cidr->network, &marks.list[marks.around[marks.around_len - 1]].cidr))
            marks.around_len--;
        found = marks.around_len ? marks.found[marks.around_len - 1] : 0;
        for (next = i; next < marks.len && by_network(&marks.list[next], &marks.list[i]) == 0;)
            marks.around[marks.around_len++] = next++;
        code = add_net(table, &marks, next, cidr, &found, err);
        marks.found[marks.around_len - 1] = found;
    }
    return code;
}
