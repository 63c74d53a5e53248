/* consent: what policies say of questions, by which server is asked; and which servers count. */
#include "proxy/dns/consent.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/dns/configured.h"
#include "proxy/dns/names.h"
#include "tests/unit/dns/policed.h"

#define OWN   "192.0.2.53"
#define OTHER "192.0.2.54"

#define BY_NAME                                                                                    \
    POLICY("by-name", "  egress:\n"                                                                \
                      "  - toFQDNs: [{matchPattern: '*.example.com'}]\n"                           \
                      "    toPorts:\n"                                                             \
                      "    - ports: [{port: '53', protocol: ANY}]\n"                               \
                      "      rules: {dns: [{matchPattern: '*.example.com', types: [A, AAAA]}]}\n")
#define BY_ADDRESS                                                                                 \
    POLICY("by-address", "  egress:\n"                                                             \
                         "  - toCIDR: [" OTHER "/32]\n"                                            \
                         "    toPorts: [{ports: [{port: '53', protocol: UDP}]}]\n")
#define MONITOR                                                                                    \
    POLICY("monitor", "  mode: monitor\n"                                                          \
                      "  egress:\n"                                                                \
                      "  - toCIDR: [" OTHER "/32]\n"                                               \
                      "    toPorts: [{ports: [{port: '53', protocol: ANY}]}]\n")
#define EVERYWHERE                                                                                 \
    POLICY("everywhere", "  egress:\n"                                                             \
                         "  - toEntities: [world]\n"                                               \
                         "    toPorts: [{ports: [{port: '53', protocol: ANY}]}]\n")
#define ALL_PORTS POLICY("all-ports", "  egress:\n  - toCIDR: [192.0.2.0/24]\n")
#define EXCEPT                                                                                     \
    POLICY("except", "  egress:\n"                                                                 \
                     "  - toCIDRSet: [{cidr: 192.0.2.0/24, except: [" OTHER "/32]}]\n"             \
                     "    toPorts: [{ports: [{port: '53', protocol: ANY}]}]\n")
#define DENIED                                                                                     \
    POLICY("denied", "  egressDeny:\n"                                                             \
                     "  - toPorts:\n"                                                              \
                     "    - ports: [{port: '53', protocol: ANY}]\n"                                \
                     "      rules: {dns: [{matchName: evil.example}]}\n")

static struct names *names;
static struct pod *pod;

static struct addr at(const char *ip, uint16_t port)
{
    struct addr addr = {.ip = {[10] = 0xff, [11] = 0xff}, .port = port};

    assert_int_equal(inet_pton(AF_INET, ip, addr.ip + 12), 1);
    return addr;
}

static int begin(void **state)
{
    struct configured *configured =
        configured_parse(BYTES("nameserver " OWN "\n"), span_of(NULL, 0));

    (void)state;
    pod = pod_new(7, "", "", NULL, 0);
    if (!pod || !configured || names_new(&names, NULL) < 0)
        return -1;
    names_configure(names, 7, &configured);
    return policed_begin(pod);
}

static int end(void **state)
{
    (void)state;
    policed_end();
    names_free(&names);
    pod_unref(&pod);
    return 0;
}

static const struct {
    const char *name, *policy, *server;
    enum protocol protocol;
    const char *asked;
    uint16_t type;
    enum verdict want;
    enum policy_point point;
} questions[] = {
    {"no policy", NULL, OTHER, PROTOCOL_UDP, "evil.example.", DNS_A, VERDICT_ALLOW,
     POLICY_POINT_DNS},
    {"what a rule names", BY_NAME, OWN, PROTOCOL_UDP, "a.example.com.", DNS_A, VERDICT_ALLOW,
     POLICY_POINT_DNS},
    {"... by TCP", BY_NAME, OWN, PROTOCOL_TCP, "a.example.com.", DNS_AAAA, VERDICT_ALLOW,
     POLICY_POINT_DNS},
    {"another name", BY_NAME, OWN, PROTOCOL_UDP, "evil.example.", DNS_A, VERDICT_DENY,
     POLICY_POINT_DNS},
    {"another type", BY_NAME, OWN, PROTOCOL_UDP, "a.example.com.", DNS_TXT, VERDICT_DENY,
     POLICY_POINT_DNS},
    {"a dot that is none", BY_NAME, OWN, PROTOCOL_UDP, "a\\.example.com.", DNS_A, VERDICT_DENY,
     POLICY_POINT_DNS},
    {"a server that is not the pod's own", BY_NAME, OTHER, PROTOCOL_UDP, "a.example.com.", DNS_A,
     VERDICT_DENY, POLICY_POINT_DNS},
    {"a server by its address", BY_ADDRESS, OTHER, PROTOCOL_UDP, "evil.example.", DNS_TXT,
     VERDICT_ALLOW, POLICY_POINT_DNS},
    {"... by another protocol", BY_ADDRESS, OTHER, PROTOCOL_TCP, "evil.example.", DNS_A,
     VERDICT_DENY, POLICY_POINT_DNS},
    {"... and the pod's own is not listed", BY_ADDRESS, OWN, PROTOCOL_UDP, "a.example.com.", DNS_A,
     VERDICT_DENY, POLICY_POINT_DNS},
    {"a policy that only tells", MONITOR, OWN, PROTOCOL_UDP, "a.example.com.", DNS_A, VERDICT_ALERT,
     POLICY_POINT_DNS},
    {"a name that is denied", DENIED, OTHER, PROTOCOL_UDP, "Evil.Example.", DNS_A, VERDICT_DENY,
     POLICY_POINT_DNS},
    {"... and any other", DENIED, OTHER, PROTOCOL_UDP, "a.example.com.", DNS_A, VERDICT_ALLOW,
     POLICY_POINT_DNS},
};

static struct consent_parties parties_of(const struct addr *server, enum protocol protocol)
{
    return (struct consent_parties){
        .policies = policies, .names = names, .pod = pod, .server = server, .protocol = protocol};
}

static void judges_questions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
        CLEANUP(consent_fini) struct consent consent = {0};
        const struct addr server = at(questions[i].server, 53);
        const struct consent_parties parties = parties_of(&server, questions[i].protocol);
        struct dns question = {.questions = 1, .type = questions[i].type, .class = 1};
        struct policy_verdict verdict;
        enum policy_point point;

        print_message("  %s\n", questions[i].name);
        policed_use(questions[i].policy);
        strcpy(question.name, questions[i].asked);
        consent_ask(&consent, &parties, &question, &point, &verdict);
        assert_int_equal(verdict.verdict, questions[i].want);
        assert_int_equal(point, questions[i].point);
        assert_int_equal(!verdict.reason[0], verdict.verdict == VERDICT_ALLOW);
    }
}

/* What rules about names would have to read, and cannot. */
static void judges_what_it_cannot_read(void **state)
{
    static const struct {
        const char *name, *policy, *server;
        enum verdict want;
        enum policy_point point;
    } rows[] = {
        {"no policy", NULL, OTHER, VERDICT_ALLOW, POLICY_POINT_CONNECT},
        {"rules about names", BY_NAME, OWN, VERDICT_DENY, POLICY_POINT_VISIBILITY},
        {"a server that no rule allows", BY_NAME, OTHER, VERDICT_DENY, POLICY_POINT_CONNECT},
        {"a server of which nothing need be read", BY_ADDRESS, OTHER, VERDICT_ALERT,
         POLICY_POINT_VISIBILITY},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        static const struct dns odd[] = {
            {.opcode = 5, .questions = 1, .type = DNS_SOA, .name = "a.example.com."},
            {.questions = 2, .type = DNS_A, .name = "a.example.com."},
            {.questions = 0},
        };
        CLEANUP(consent_fini) struct consent consent = {0};
        const struct addr server = at(rows[i].server, 53);
        const struct consent_parties parties = parties_of(&server, PROTOCOL_UDP);
        struct policy_verdict verdict;
        enum policy_point point;

        print_message("  %s\n", rows[i].name);
        policed_use(rows[i].policy);
        consent_ask_unseen(&consent, &parties, "why", &point, &verdict);
        assert_int_equal(verdict.verdict, rows[i].want);
        assert_int_equal(point, rows[i].point);
        for (size_t j = 0; j < ARRAY_SIZE(odd); j++) {
            consent_ask(&consent, &parties, &odd[j], &point, &verdict);
            assert_int_equal(verdict.verdict, rows[i].want);
        }
    }
}

static void asks_the_newest_policies(void **state)
{
    CLEANUP(consent_fini) struct consent consent = {0};
    const struct addr server = at(OWN, 53);
    const struct consent_parties parties = parties_of(&server, PROTOCOL_UDP);
    const struct dns question = {.questions = 1, .type = DNS_A, .name = "evil.example."};
    struct policy_verdict verdict;
    enum policy_point point;

    (void)state;
    policed_use(NULL);
    consent_ask(&consent, &parties, &question, &point, &verdict);
    assert_int_equal(verdict.verdict, VERDICT_ALLOW);
    policed_use(BY_NAME);
    consent_ask(&consent, &parties, &question, &point, &verdict);
    assert_int_equal(verdict.verdict, VERDICT_DENY);
    assert_string_equal(verdict.policy->id, "by-name");
    policed_use(NULL);
    consent_ask(&consent, &parties, &question, &point, &verdict);
    assert_int_equal(verdict.verdict, VERDICT_ALLOW);
}

static const struct {
    const char *name, *policy, *server;
    uint16_t port;
    enum protocol protocol;
    bool trusted;
} servers[] = {
    {"the pod's own", NULL, OWN, 53, PROTOCOL_UDP, true},
    {"... by TLS", NULL, OWN, 853, PROTOCOL_TCP, true},
    {"... at a port where anybody may listen", NULL, OWN, 5353, PROTOCOL_UDP, false},
    {"another", NULL, OTHER, 53, PROTOCOL_UDP, false},
    {"... under a policy that has names alone", BY_NAME, OTHER, 53, PROTOCOL_UDP, false},
    {"one that is listed", BY_ADDRESS, OTHER, 53, PROTOCOL_UDP, true},
    {"... for another protocol", BY_ADDRESS, OTHER, 53, PROTOCOL_TCP, false},
    {"... for another port", BY_ADDRESS, OTHER, 853, PROTOCOL_UDP, false},
    {"... beside which the pod's own stays that", BY_ADDRESS, OWN, 53, PROTOCOL_UDP, true},
    {"listed where all only monitors", MONITOR, OTHER, 53, PROTOCOL_UDP, true},
    {"... but not beside one that enforces", MONITOR "---\n" BY_NAME, OTHER, 53, PROTOCOL_UDP,
     false},
    {"all the world is nobody", EVERYWHERE, OTHER, 53, PROTOCOL_UDP, false},
    {"a network for all ports names no server", ALL_PORTS, OTHER, 53, PROTOCOL_UDP, false},
    {"an exception", EXCEPT, OTHER, 53, PROTOCOL_UDP, false},
    {"... and its neighbour", EXCEPT, "192.0.2.55", 53, PROTOCOL_UDP, true},
};

static void knows_whose_answers_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
        CLEANUP(consent_fini) struct consent consent = {0};
        const struct addr server = at(servers[i].server, servers[i].port);
        const struct consent_parties parties = parties_of(&server, servers[i].protocol);

        print_message("  %s\n", servers[i].name);
        policed_use(servers[i].policy);
        assert_int_equal(consent_trusts(&consent, &parties), servers[i].trusted);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(judges_questions),
        TEST(judges_what_it_cannot_read),
        TEST(asks_the_newest_policies),
        TEST(knows_whose_answers_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
