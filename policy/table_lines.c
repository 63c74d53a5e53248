/* table_lines: every port of one class, asked about where a rule begins or ends, and what is
 * between written as prefixes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/route.h"
#include "policy/table_parts.h"

enum { PORTS = 65536, VERDICTS_MAX = 16 };

struct cuts { /* where another answer may begin, in order */
    uint32_t *list;
    size_t len;
};

static void cuts_fini(struct cuts *cuts)
{
    free(TAKE(cuts->list));
}

static size_t count(const struct policy_egress *egress)
{
    size_t len = 0;

    for (size_t i = 0; i < egress->to_ports_len; i++)
        len += 2 * egress->to_ports[i].ports_len;
    return len;
}

static void add_cuts(struct cuts *cuts, const struct policy_egress *egress, uint8_t protocol)
{
    for (size_t i = 0; i < egress->to_ports_len; i++) {
        const struct policy_to_ports *to_ports = &egress->to_ports[i];

        for (size_t j = 0; j < to_ports->ports_len; j++) {
            if (!(to_ports->ports[j].protocols & protocol))
                continue;
            cuts->list[cuts->len++] = to_ports->ports[j].first;
            cuts->list[cuts->len++] = to_ports->ports[j].last + 1u;
        }
    }
}

static int by_port(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Of the rules that lead there, and of those that lead everywhere. */
static const struct policy_egress *nth_rule(const struct table_parts *parts, const uint32_t *rules,
                                            size_t len, size_t n)
{
    uint32_t rule = n < len ? table_rule_of(rules[n]) : parts->everywhere[n - len];

    return parts->rules[rule].egress;
}

static int find_cuts(struct cuts *out, const struct table_parts *parts, const uint32_t *rules,
                     size_t rules_len, enum protocol protocol)
{
    uint8_t wanted = protocol == PROTOCOL_UDP ? POLICY_UDP : POLICY_TCP;
    size_t all = rules_len + parts->everywhere_len, room = 2, len = 0;

    for (size_t i = 0; i < all; i++)
        room += count(nth_rule(parts, rules, rules_len, i));
    out->list = calloc(room, sizeof(*out->list));
    if (!out->list)
        return -ENOMEM;
    out->list[out->len++] = 0;
    for (size_t i = 0; i < all; i++)
        add_cuts(out, nth_rule(parts, rules, rules_len, i), wanted);
    out->list[out->len++] = PORTS;
    qsort(out->list, out->len, sizeof(*out->list), by_port);
    for (size_t i = 0; i < out->len; i++)
        if (!len || out->list[i] != out->list[len - 1])
            out->list[len++] = out->list[i];
    out->len = len;
    return 0;
}

/* ---- what is answered ---- */

struct asked {
    const struct policy_facts *facts;
    bool here; /* a rule of egressDeny that leads there is about loopback */
};

static uint32_t how_denied(const struct policy_verdict *verdict, bool here)
{
    static const char expressly[] = "egressDeny";
    uint32_t bits = POLICY_TABLE_DENY;

    if (verdict->action == POLICY_RESET)
        bits |= POLICY_TABLE_RESET;
    if (here && strncmp(verdict->place->rule, expressly, sizeof(expressly) - 1) == 0)
        bits |= POLICY_TABLE_HERE;
    return bits;
}

static uint32_t how_routed(const struct policy_scope *scope, const struct policy_facts *facts)
{
    static const uint32_t bits[] = {
        [POLICY_WAY_ANY] = 0,
        [POLICY_WAY_SURE] = POLICY_TABLE_SURE,
        [POLICY_WAY_NEEDS_PROXY] = POLICY_TABLE_NEEDS,
        [POLICY_WAY_PROXY] = POLICY_TABLE_PROXY,
        [POLICY_WAY_KERNEL] = POLICY_TABLE_KERNEL,
    };

    return bits[policy_decide_route(scope, facts)];
}

static int find_verdict(struct policy_table *table, uint16_t who, const struct policy_facts *facts,
                        bool here, uint32_t *out)
{
    const struct policy_scope *scope = table->parts->scopes[who];
    struct policy_verdict verdict;
    enum policy_unseen what;
    int place;

    policy_decide_connect(scope, facts, &verdict);
    if (verdict.verdict == VERDICT_DENY) {
        *out = how_denied(&verdict, here);
        return 0;
    }
    *out = 0;
    if (table->parts->reads[who]) {
        policy_decide_unseen(scope, facts, "", &what, &verdict);
        *out = verdict.verdict == VERDICT_DENY ? POLICY_TABLE_LOOK : 0;
    }
    if (*out && facts->protocol == PROTOCOL_UDP && policy_hello_may_open(scope, facts))
        *out = POLICY_TABLE_HELLO;
    if (facts->protocol != PROTOCOL_TCP)
        return 0;
    *out |= how_routed(scope, facts);
    place = policy_spelling_at(table->spelling, scope, facts);
    *out |= place > 0 ? (uint32_t)place << POLICY_TABLE_PLACE_AT : 0;
    return place < 0 ? place : 0;
}

static int add_line(struct policy_table *table, const struct policy_table_line *line)
{
    struct table_parts *parts = table->parts;

    if (table->lines_len == parts->lines_room) {
        size_t room = parts->lines_room ? 2 * parts->lines_room : 64;
        struct policy_table_line *more =
            table->lines_len < TABLE_LINES_MAX ? realloc(table->lines, room * sizeof(*more)) : NULL;

        if (!more)
            return table->lines_len < TABLE_LINES_MAX ? -ENOMEM : -E2BIG;
        table->lines = more;
        parts->lines_room = room;
    }
    table->lines[table->lines_len++] = *line;
    return 0;
}

/* The ports from `first` to before `end`, as prefixes; how many without a table. */
static int add_range(struct policy_table *table, struct policy_table_line line, uint32_t first,
                     uint32_t end)
{
    int lines = 0, code = 0;

    while (first < end && code == 0) {
        uint32_t size = first ? first & -first : PORTS;

        while (size > end - first)
            size /= 2;
        line.port = (uint16_t)first;
        line.bits = (uint8_t)(16 - __builtin_ctz(size));
        if (table)
            code = add_line(table, &line);
        lines++;
        first += size;
    }
    return code < 0 ? code : lines;
}

/* The verdict that would take most lines is said of all ports, before the others. */
static uint32_t most_common(const struct cuts *cuts, const uint32_t *verdicts)
{
    uint32_t values[VERDICTS_MAX], best = verdicts[0];
    int costs[VERDICTS_MAX] = {0}, most = -1;
    size_t len = 0;

    for (size_t i = 0; i + 1 < cuts->len; i++) {
        size_t j = 0;

        while (j < len && values[j] != verdicts[i])
            j++;
        if (j == len && len < VERDICTS_MAX)
            values[len++] = verdicts[i];
        if (j < len)
            costs[j] +=
                add_range(NULL, (struct policy_table_line){0}, cuts->list[i], cuts->list[i + 1]);
    }
    for (size_t j = 0; j < len; j++)
        if (costs[j] > most) {
            most = costs[j];
            best = values[j];
        }
    return best;
}

static int write_lines(struct policy_table *table, const struct cuts *cuts,
                       const uint32_t *verdicts, struct policy_table_line line)
{
    uint32_t common = most_common(cuts, verdicts);
    int code;

    line.verdict = common;
    code = add_range(table, line, 0, PORTS);
    for (size_t i = 0; code >= 0 && i + 1 < cuts->len; i++) {
        line.verdict = verdicts[i];
        if (verdicts[i] != common)
            code = add_range(table, line, cuts->list[i], cuts->list[i + 1]);
    }
    return code < 0 ? code : 0;
}

static int add_answers(struct policy_table *table, const struct cuts *cuts,
                       const struct asked *asked, struct policy_table_line line)
{
    struct table_parts *parts = table->parts;
    uint32_t *verdicts = calloc(cuts->len, sizeof(*verdicts));
    struct addr dst = *asked->facts->dst;
    struct policy_facts facts = *asked->facts;
    int code = 0;

    if (!verdicts)
        return -ENOMEM;
    facts.dst = &dst;
    for (uint16_t who = 0; code == 0 && who < table->kinds_len; who++) {
        line.who = who;
        parts->asked += cuts->len;
        for (size_t i = 0; code == 0 && i + 1 < cuts->len; i++) {
            dst.port = (uint16_t)(cuts->list[i + 1] - 1);
            code = find_verdict(table, who, &facts, asked->here, &verdicts[i]);
        }
        if (code == 0)
            code = write_lines(table, cuts, verdicts, line);
        if (code == 0 && parts->asked > TABLE_ASKED_MAX)
            code = -E2BIG;
    }
    free(verdicts);
    return code;
}

int table_add_lines(struct policy_table *table, uint32_t class, const uint32_t *rules, size_t len,
                    const struct addr *example, const struct policy_names *names, struct err *err)
{
    int code = table->parts->asked > TABLE_ASKED_MAX ? -E2BIG : 0;
    bool here = false;

    for (size_t i = 0; i < len; i++)
        here = here || table->parts->rules[table_rule_of(rules[i])].denies_here;

    for (int protocol = PROTOCOL_TCP; code == 0 && protocol < PROTOCOL_MAX; protocol++) {
        CLEANUP(cuts_fini) struct cuts cuts = {0};
        const struct policy_facts facts = {
            .protocol = (enum protocol)protocol, .dst = example, .resolved = *names};

        code = find_cuts(&cuts, table->parts, rules, len, (enum protocol)protocol);
        if (code == 0)
            code = add_answers(
                table, &cuts, &(struct asked){&facts, here},
                (struct policy_table_line){.class = class, .protocol = (uint8_t)protocol});
    }
    if (code == -E2BIG)
        return table_too_large("too many addresses, ports and binaries together", err);
    return code < 0 ? table_no_memory(err) : 0;
}
