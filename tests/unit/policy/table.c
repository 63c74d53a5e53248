/* The table says of every connect what policy_decide_connect() and policy_decide_unseen() say: what
 * the kernel looks up in it is looked up here, for random policies, processes and destinations. */
#include "policy/table.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/bits.h"
#include "policy/compile.h"
#include "policy/route.h"

/* NULL: random policies may contradict themselves, which is a fault. */
static struct policy_view *view_of(const char *yaml)
{
    CLEANUP(policy_list_fini) struct policy_list list = {0};
    CLEANUP(policy_set_unref) struct policy_set *set = NULL;
    CLEANUP(pod_unref) struct pod *pod = pod_new(1, "", "pod", NULL, 0);
    CLEANUP(faults_fini) struct faults faults = {0};
    struct policy_view *view;

    if (policy_compile(&list, span_of_text(yaml), "test.yaml", &faults) < 0)
        return NULL;
    set = policy_set_new(list.list, list.len, 1);
    assert_non_null(set);
    view = policy_view_new(set, pod);
    assert_non_null(view);
    return view;
}

static struct addr addr_of(const char *text, uint16_t port)
{
    struct match_cidr cidr;

    assert_true(match_cidr_parse(text, &cidr));
    cidr.network.port = port;
    return cidr.network;
}

/* ---- as the kernel does it ---- */

/* As a trie of prefixes does it, to which addresses of both families are 128 bits. */
static bool has_prefix(const struct addr *address, const struct match_cidr *cidr)
{
    for (unsigned i = 0; i < cidr->bits; i++)
        if ((address->ip[i / 8] ^ cidr->network.ip[i / 8]) & 0x80 >> i % 8)
            return false;
    return true;
}

static uint32_t class_of(const struct policy_table *table, const struct addr *dst)
{
    const struct policy_table_net *best = NULL;

    for (size_t i = 0; i < table->nets_len; i++)
        if (has_prefix(dst, &table->nets[i].cidr) &&
            (!best || table->nets[i].cidr.bits > best->cidr.bits))
            best = &table->nets[i];
    assert_non_null(best);
    return best->class;
}

/* bpf/process.bpf.c notes the two for each process. */
static uint16_t who_of(const struct policy_table *table, const struct binaries *binaries,
                       const struct process *process)
{
    uint64_t own = binaries_of(binaries, process->binary), above = 0;

    for (const struct process *at = process->parent; at; at = at->parent)
        above |= binaries_of(binaries, at->binary);
    own &= table->numbers;
    own |= above & table->family;
    for (size_t i = 0; i < table->whos_len; i++)
        if (table->whos[i].binaries == own)
            return table->whos[i].who;
    fail_msg("nobody knows who that is: %s", process->binary);
    return 0;
}

static uint32_t class_by_names(struct policy_table *table, const struct addr *dst,
                               const struct policy_names *names)
{
    struct bits by_address = {0}, by_name = {0};
    const struct policy_table_led led = {dst, *names, by_address.words, by_name.words};
    uint32_t class;
    struct err err;

    policy_table_add_address(table, dst, by_address.words);
    for (size_t i = 0; i < names->len; i++)
        policy_table_add_name(table, names->list[i], by_name.words);
    assert_int_equal(policy_table_class(table, &led, &class, &err), 0);
    return class;
}

static uint32_t look_up(const struct policy_table *table, uint32_t class, uint16_t who,
                        enum protocol protocol, uint16_t port)
{
    const struct policy_table_line *best = NULL;

    for (size_t i = 0; i < table->lines_len; i++) {
        const struct policy_table_line *line = &table->lines[i];

        if (line->class == class && line->who == who && line->protocol == protocol &&
            (uint32_t)(line->port ^ port) >> (16 - line->bits) == 0 &&
            (!best || line->bits > best->bits))
            best = line;
    }
    assert_non_null(best);
    return best->verdict;
}

/* ---- as it is ---- */

static uint32_t decide(struct policy_view *view, struct policy_spelling *spelling,
                       const struct process *process, const struct policy_facts *facts)
{
    CLEANUP(policy_scope_free) struct policy_scope *scope = policy_scope_new(view, process);
    static const uint32_t ways[] = {[POLICY_WAY_SURE] = POLICY_TABLE_SURE,
                                    [POLICY_WAY_NEEDS_PROXY] = POLICY_TABLE_NEEDS,
                                    [POLICY_WAY_PROXY] = POLICY_TABLE_PROXY,
                                    [POLICY_WAY_KERNEL] = POLICY_TABLE_KERNEL};
    struct policy_verdict verdict;
    enum policy_unseen what;
    uint32_t way;

    assert_non_null(scope);
    policy_decide_connect(scope, facts, &verdict);
    if (verdict.verdict == VERDICT_DENY)
        return POLICY_TABLE_DENY | (verdict.action == POLICY_RESET ? POLICY_TABLE_RESET : 0);
    policy_decide_unseen(scope, facts, "", &what, &verdict);
    way = facts->protocol == PROTOCOL_TCP ? ways[policy_decide_route(scope, facts)] : 0;
    way |= (uint32_t)policy_spelling_at(spelling, scope, facts) << POLICY_TABLE_PLACE_AT;
    return way | (verdict.verdict == VERDICT_DENY ? POLICY_TABLE_LOOK : 0);
}

/* ---- one by one ---- */

#define HEAD "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: a}\nspec:\n"

static void says_what_is_decided(void **state)
{
    static const char policy[] =
        HEAD "  egress:\n"
             "  - toCIDRSet: [{cidr: 198.51.100.0/24, except: [198.51.100.128/25]}]\n"
             "    toPorts: [{ports: [{port: \"8000\", endPort: 8999, protocol: TCP}]}]\n"
             "  - toFQDNs: [{matchPattern: '*.example.com'}]\n"
             "    toPorts: [{ports: [{port: \"443\", protocol: ANY}]}]\n"
             "  - toCIDR: ['2001:db8::/32']\n"
             "    toPorts: [{ports: [{port: \"80\"}], rules: {http: [{method: GET}]}}]\n"
             "  egressDeny:\n"
             "  - toCIDR: [198.51.100.7/32]\n"
             "  - toCIDR: [127.1.0.0/16, '::1/128']\n"
             "    toPorts: [{ports: [{port: \"25\"}]}]\n"
             "  - toEntities: [world]\n"
             "    toPorts: [{ports: [{port: \"26\"}]}]\n";
    static const struct {
        const char *name, *to, *called;
        enum protocol protocol;
        uint16_t port;
        uint32_t want;
    } cases[] = {
        {"in a network", "198.51.100.1", NULL, PROTOCOL_TCP, 8080, 0},
        {"... at the first port", "198.51.100.1", NULL, PROTOCOL_TCP, 8000, 0},
        {"... at the last", "198.51.100.1", NULL, PROTOCOL_TCP, 8999, 0},
        {"... behind it", "198.51.100.1", NULL, PROTOCOL_TCP, 9000, POLICY_TABLE_DENY},
        {"... as a datagram", "198.51.100.1", NULL, PROTOCOL_UDP, 8080, POLICY_TABLE_DENY},
        {"left out of it", "198.51.100.129", NULL, PROTOCOL_TCP, 8080, POLICY_TABLE_DENY},
        {"denied in it", "198.51.100.7", NULL, PROTOCOL_TCP, 8080, POLICY_TABLE_DENY},
        {"by a name", "203.0.113.1", "www.example.com", PROTOCOL_TCP, 443, POLICY_TABLE_NEEDS},
        {"... as a datagram", "203.0.113.1", "www.example.com", PROTOCOL_UDP, 443, 0},
        {"... at another port", "203.0.113.1", "www.example.com", PROTOCOL_TCP, 80,
         POLICY_TABLE_DENY},
        {"by another name", "203.0.113.1", "www.example.org", PROTOCOL_TCP, 443, POLICY_TABLE_DENY},
        {"by a name, denied all the same", "198.51.100.7", "www.example.com", PROTOCOL_TCP, 443,
         POLICY_TABLE_DENY},
        {"by a name, in a network", "198.51.100.1", "www.example.com", PROTOCOL_TCP, 8080, 0},
        {"what rules want to read", "2001:db8::1", NULL, PROTOCOL_TCP, 80,
         POLICY_TABLE_LOOK | POLICY_TABLE_SURE},
        {"the pod itself", "127.1.2.3", NULL, PROTOCOL_TCP, 25,
         POLICY_TABLE_DENY | POLICY_TABLE_HERE},
        {"... by IPv6", "::1", NULL, PROTOCOL_TCP, 25, POLICY_TABLE_DENY | POLICY_TABLE_HERE},
        {"... not allowed, but not denied", "127.1.2.3", NULL, PROTOCOL_TCP, 24, POLICY_TABLE_DENY},
        {"... denied as all the world", "127.2.2.3", NULL, PROTOCOL_TCP, 26, POLICY_TABLE_DENY},
        {"elsewhere", "192.0.2.1", NULL, PROTOCOL_TCP, 443, POLICY_TABLE_DENY},
    };
    CLEANUP(policy_view_unref) struct policy_view *view = view_of(policy);
    CLEANUP(binaries_fini) struct binaries binaries = {0};
    CLEANUP(policy_table_free) struct policy_table *table = NULL;
    struct err err;

    (void)state;
    assert_int_equal(policy_table_new(&table, view, &binaries, &err), 0);
    assert_true(table->names);
    assert_int_equal(table->kinds_len, 1);
    assert_int_equal(table->kinds[0], POLICY_TABLE_DENY);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct addr dst = addr_of(cases[i].to, cases[i].port);
        struct policy_names names = {&cases[i].called, cases[i].called ? 1 : 0};
        uint32_t class = class_of(table, &dst);

        print_message("  %s\n", cases[i].name);
        if (cases[i].called)
            class = class_by_names(table, &dst, &names);
        assert_int_equal(look_up(table, class, 0, cases[i].protocol, cases[i].port) &
                             POLICY_TABLE_VERDICT,
                         cases[i].want);
    }
}

/* Of datagrams the kernel lets go only what may be a ClientHello, where its name decides. */
static void a_name_may_open_datagrams(void **state)
{
#define NAMED                                                                                      \
    "  egress:\n"                                                                                  \
    "  - toCIDR: [198.51.100.0/24]\n"                                                              \
    "    toPorts: [{ports: [{port: '443', protocol: ANY}], serverNames: [a.example]}]\n"
#define OPEN "  egress: [{toCIDR: [198.51.100.0/24]}]\n"
#define ODD                                                                                        \
    "  egressDeny: [{toPorts: [{ports: [{port: '443', protocol: UDP}], serverNames: "              \
    "[b.example]}]}]\n"
    static const struct {
        const char *name, *policy;
        enum protocol protocol;
        uint32_t want;
    } cases[] = {
        {"a rule has names", HEAD NAMED, PROTOCOL_UDP, POLICY_TABLE_HELLO},
        {"... of a connection", HEAD NAMED, PROTOCOL_TCP, POLICY_TABLE_LOOK | POLICY_TABLE_NEEDS},
        {"... and what is not seen is only told", HEAD "  onNoVisibility: alert\n" NAMED,
         PROTOCOL_UDP, 0},
        {"... and is dropped, whoever it is for", HEAD "  onNoVisibility: drop\n" NAMED,
         PROTOCOL_UDP, POLICY_TABLE_LOOK},
        {"... and names must agree, which is not seen to the end",
         HEAD NAMED "  inspect: {consistency: deny}\n", PROTOCOL_UDP, POLICY_TABLE_LOOK},
        {"no name is asked for", HEAD OPEN, PROTOCOL_UDP, 0},
        {"one is denied", HEAD OPEN ODD, PROTOCOL_UDP, POLICY_TABLE_HELLO},
        {"one is denied, and nothing allowed", HEAD "  egress: []\n" ODD, PROTOCOL_UDP,
         POLICY_TABLE_DENY},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(policy_view_unref) struct policy_view *view = view_of(cases[i].policy);
        CLEANUP(binaries_fini) struct binaries binaries = {0};
        CLEANUP(policy_table_free) struct policy_table *table = NULL;
        struct addr dst = addr_of("198.51.100.1", 443);
        struct err err;

        print_message("  %s\n", cases[i].name);
        assert_int_equal(policy_table_new(&table, view, &binaries, &err), 0);
        assert_int_equal(look_up(table, class_of(table, &dst), 0, cases[i].protocol, 443) &
                             POLICY_TABLE_VERDICT,
                         cases[i].want);
    }
}

static void what_leads_to_the_same_is_one_class(void **state)
{
    static const char policy[] = HEAD "  egress:\n"
                                      "  - toCIDR: [198.51.100.0/24, 192.0.2.0/24]\n"
                                      "  - toCIDR: [203.0.113.0/24, 192.0.2.128/25]\n";
    CLEANUP(policy_view_unref) struct policy_view *view = view_of(policy);
    CLEANUP(binaries_fini) struct binaries binaries = {0};
    CLEANUP(policy_table_free) struct policy_table *table = NULL;
    struct err err;

    (void)state;
    assert_int_equal(policy_table_new(&table, view, &binaries, &err), 0);
    assert_int_equal(table->nets_len, 4);  /* what is in the second and the third is, too */
    assert_int_equal(table->lines_len, 4); /* allowed or not, TCP and UDP */
}

static void raw_sockets_are_refused_where_anything_is_enforced(void **state)
{
    static const struct {
        const char *policy;
        uint32_t want;
    } cases[] = {
        {HEAD "  egress: []\n", POLICY_TABLE_DENY},
        {HEAD "  egressDeny: [{toCIDR: [192.0.2.0/24]}]\n", POLICY_TABLE_DENY},
        {HEAD "  inspect: {tokens: deny}\n", POLICY_TABLE_DENY},
        {HEAD "  mode: monitor\n  egress: []\n", POLICY_TABLE_TELL},
        {HEAD "  inspect: {tokens: alert}\n", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(policy_view_unref) struct policy_view *view = view_of(cases[i].policy);
        CLEANUP(binaries_fini) struct binaries binaries = {0};
        CLEANUP(policy_table_free) struct policy_table *table = NULL;
        struct err err;

        assert_int_equal(policy_table_new(&table, view, &binaries, &err), 0);
        assert_int_equal(table->kinds[0], cases[i].want);
    }
}

static void what_is_too_much_is_said(void **state)
{
    CLEANUP(policy_view_unref) struct policy_view *view = NULL;
    CLEANUP(binaries_fini) struct binaries binaries = {0};
    CLEANUP(text_free) char *yaml = NULL;
    struct policy_table *table = NULL;
    size_t len = 0;
    struct err err;
    FILE *out = open_memstream(&yaml, &len);

    (void)state;
    for (int i = 0; i < 65; i++)
        fprintf(out,
                "%sapiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: p%d}\n"
                "spec:\n  matchBinaries: [{operator: In, values: [/bin/%d]}]\n  egress: []\n",
                i ? "---\n" : "", i, i);
    fclose(out);
    view = view_of(yaml);
    assert_int_equal(policy_table_new(&table, view, &binaries, &err), -E2BIG);
    assert_string_equal(err.text,
                        "the policies of one pod have more lists of matchBinaries than 64 "
                        "with all others");
    for (size_t i = 0; i < BINARIES_LISTS_MAX; i++)
        assert_int_equal(binaries.lists[i].users, 0);
}

/* ---- at random ---- */

static uint64_t seed;

static unsigned roll(unsigned sides)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(seed >> 33) % sides;
}

static const char *const nets[] = {
    "0.0.0.0/0",        "198.51.100.0/24",
    "198.51.100.0/25",  "198.51.100.128/25",
    "198.51.100.64/26", "198.51.100.200/32",
    "192.0.2.0/24",     "2001:db8::/32",
    "2001:db8:1::/48",  "::/0",
};
static const char *const addresses[] = {
    "198.51.100.1", "198.51.100.65",   "198.51.100.129", "198.51.100.200",
    "192.0.2.7",    "203.0.113.9",     "2001:db8::1",    "2001:db8:1::1",
    "2001:db9::1",  "255.255.255.255", "198.51.100.255",
};
static const char *const patterns[] = {"a.example.com", "*.example.com", "**.example.com", "*"};
static const char *const names[] = {"a.example.com", "b.example.com", "x.b.example.com",
                                    "example.org"};
static const char *const paths[] = {"/usr/bin/curl", "/usr/bin/wget",    "/usr/bin/env",
                                    "/opt/x/curl",   "/usr/sbin/curlie", "/curl",
                                    "/usr/bin/"};
static const char *const begins[] = {"/usr/", "/usr/bin/", "/opt/"};
static const char *const ends[] = {"/curl", "curl", "get"};
static const uint16_t ports[] = {1, 53, 80, 443, 444, 1023, 1024, 5000, 8080, 65535};

static void write_binaries(FILE *out)
{
    static const char *const operators[] = {"In",        "NotIn",   "Prefix",
                                            "NotPrefix", "Postfix", "NotPostfix"};
    unsigned kind = roll(6);
    const char *const *from = kind < 2 ? paths : kind < 4 ? begins : ends;

    fprintf(out, "  - operator: %s\n    values: [%s, %s]\n", operators[kind], from[roll(3)],
            from[roll(3)]);
    if (roll(2))
        fputs("    followChildren: true\n", out);
}

static void write_rule(FILE *out, bool deny)
{
    unsigned to = roll(5);

    if (to == 0)
        fprintf(out, "  - toFQDNs: [{matchPattern: '%s'}]\n", patterns[roll(4)]);
    else if (to == 1)
        fprintf(out, "  - toCIDRSet: [{cidr: 198.51.100.0/24, except: ['%s']}]\n",
                nets[2 + roll(4)]);
    else if (to == 2)
        fprintf(out, "  - toCIDR: ['%s']\n    toFQDNs: [{matchPattern: '%s'}]\n", nets[roll(10)],
                patterns[roll(4)]);
    else
        fprintf(out, "  - toCIDR: ['%s', '%s']\n", nets[roll(10)], nets[roll(10)]);
    if (roll(4) == 0)
        return;
    fprintf(out, "    toPorts:\n");
    for (unsigned i = 0; i <= roll(2); i++) {
        unsigned first = ports[1 + roll(8)];

        fprintf(out, "    - ports: [{port: \"%u\", endPort: %u, protocol: %s}]\n", first,
                first + roll(700), roll(2) ? "TCP" : "ANY");
        if (!deny && roll(3) == 0)
            fputs("      rules: {http: [{method: GET}]}\n", out);
    }
}

static void write_policy(FILE *out, int number)
{
    static const char *const words[] = {"reject", "reset", "sigkill", "freeze"};
    static const char *const routes[] = {"kernel", "proxy"};
    unsigned binaries = roll(3), rules = roll(5);

    fprintf(out,
            "---\napiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: p%d}\nspec:\n"
            "  onDeny: %s\n  mode: %s\n",
            number, words[roll(4)], roll(4) ? "enforce" : "monitor");
    if (roll(4) == 0)
        fputs("  inspect: {tokens: deny}\n", out);
    if (roll(4) == 0)
        fprintf(out, "  route: %s\n", routes[roll(2)]);
    if (binaries)
        fputs("  matchBinaries:\n", out);
    while (binaries--)
        write_binaries(out);
    if (rules)
        fputs("  egress:\n", out);
    while (rules--)
        write_rule(out, false);
    fputs("  egressDeny:\n", out);
    write_rule(out, true);
}

static void compare(struct policy_view *view, struct policy_table *table,
                    const struct binaries *binaries, const char *yaml)
{
    struct process family[3];
    const struct process *process = &family[0];
    unsigned depth = 1 + roll(3), names_len = roll(3);
    const char *called[2] = {names[roll(4)], names[roll(4)]};
    struct addr dst = addr_of(addresses[roll(ARRAY_SIZE(addresses))],
                              roll(2) ? ports[roll(10)] : (uint16_t)(1 + roll(65535)));
    struct policy_facts facts = {.protocol = (enum protocol)roll(PROTOCOL_MAX),
                                 .dst = &dst,
                                 .resolved = {called, names_len}};
    uint32_t class = class_of(table, &dst), want, is;

    for (unsigned i = 0; i < depth; i++)
        family[i] = (struct process){.binary = (char *)paths[roll(ARRAY_SIZE(paths))],
                                     .parent = i + 1 < depth ? &family[i + 1] : NULL};
    if (names_len)
        class = class_by_names(table, &dst, &facts.resolved);
    want = decide(view, table->spelling, process, &facts);
    is = look_up(table, class, who_of(table, binaries, process), facts.protocol, dst.port);
    if (is != want) {
        char text[ADDR_TEXT_MAX];

        fputs(yaml, stderr); /* longer than what cmocka prints */
        fail_msg("%s %s, called %s, by %s: the table says %x, decided is %x",
                 addr_format(&dst, text), protocol_name(facts.protocol),
                 names_len ? called[0] : "nothing", process->binary, is, want);
    }
}

static void agrees_with_what_is_decided_at_random(void **state)
{
    int rounds = getenv("SALLYPORT_FULL") ? 20000 : 300, compared = 0;

    (void)state;
    for (int i = 0; i < rounds; i++) {
        CLEANUP(policy_view_unref) struct policy_view *view = NULL;
        CLEANUP(binaries_fini) struct binaries binaries = {0};
        CLEANUP(policy_table_free) struct policy_table *table = NULL;
        CLEANUP(text_free) char *yaml = NULL;
        size_t len = 0;
        struct err err;
        FILE *out;

        seed = (uint64_t)i;
        out = open_memstream(&yaml, &len);
        for (unsigned j = 0, end = 1 + roll(4); j < end; j++)
            write_policy(out, (int)j);
        fclose(out);
        view = view_of(yaml);
        if (!view)
            continue;
        compared++;
        if (policy_table_new(&table, view, &binaries, &err) < 0)
            fail_msg("%s\n%s", err.text, yaml);
        for (int j = 0; j < 60; j++)
            compare(view, table, &binaries, yaml);
    }
    assert_true(compared > rounds / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_is_decided),
        cmocka_unit_test(a_name_may_open_datagrams),
        cmocka_unit_test(what_leads_to_the_same_is_one_class),
        cmocka_unit_test(raw_sockets_are_refused_where_anything_is_enforced),
        cmocka_unit_test(what_is_too_much_is_said),
        cmocka_unit_test(agrees_with_what_is_decided_at_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
