/* lookups_denied: what a program is answered whose question its policies deny, and what is told of
 * it. */
#include "tests/unit/dns/lookups_bed.h"

#include <errno.h>

#define BY_NAME                                                                                    \
    POLICY("by-name", "  egress:\n"                                                                \
                      "  - toCIDR: [192.0.2.53/32]\n"                                              \
                      "    toPorts:\n"                                                             \
                      "    - ports: [{port: '53', protocol: ANY}]\n"                               \
                      "      rules: {dns: [{matchName: ebpf.io}]}\n")
#define EDNS "\0\0\x29\x10\0\0\0\0\0\0\0"
#define PROHIBITED                                                                                 \
    "\0\0\x29\x04\xd0\0\0\0\0\0\x0d\0\x0f\0\x09\0\x12"                                             \
    "by-name"

static void police(const char *policy)
{
    assert_int_equal(policed_begin(&pod), 0);
    policed_use(policy);
    lookups.policies = policies;
}

static void unpolice(void)
{
    lookups_fini(&lookups);
    policed_end();
}

static void expect_denied(struct span question, struct span wanted)
{
    assert_int_equal(lookups_ask(&lookups, question, &denial), -EACCES);
    assert_int_equal(denial.answer_len, wanted.len);
    assert_memory_equal(denial.answer, wanted.data, wanted.len);
    assert_int_equal(lookups.open_len, 0);
}

static void what_a_policy_denies_is_refused(void **state)
{
    (void)state;
    police(BY_NAME);
    expect_denied(BYTES(QUERY("id", COM, A)), BYTES("id\x81\x85\0\1\0\0\0\0\0\0" COM A "\0\1"));
    assert_string_equal(denial.reason, "denied by policy by-name: no rule allows the name "
                                       "example.com, type A");
    expect_told("example.com. A denied by by-name\n"
                "policy by-name reject dns: no rule allows the name example.com, type A\n");
    expect_denied(BYTES("id\1\0\0\1\0\0\0\0\0\1" COM AAAA "\0\1" EDNS),
                  BYTES("id\x81\x85\0\1\0\0\0\0\0\1" COM AAAA "\0\1" PROHIBITED));
    told[0] = 0;
    assert_int_equal(lookups_ask(&lookups, BYTES(QUERY("id", IO, A)), &denial), 0);
    expect_told("ebpf.io. A allowed by by-name\n");
    answer(BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a")));
    expect_trusted(10, "ebpf.io "); /* the policy lists the server */
    unpolice();
}

static void what_a_policy_cannot_read_is_dropped(void **state)
{
    static const struct {
        struct span message;
        const char *told;
    } rows[] = {
        {BYTES("hello"), "- (not a DNS message: shorter than a header)\n"
                         "policy by-name reset visibility: it is no question of the DNS"},
        {BYTES(ANSWER("id", IO, A, NONE)),
         "ebpf.io. A NOERROR (an answer where a question belongs)\n"
         "policy by-name reset visibility: it is no question of the DNS"},
        {BYTES("id\1\0\0\2\0\0\0\0\0\0" IO A "\0\1" COM A "\0\1"),
         "ebpf.io. A denied by by-name\n"
         "policy by-name reset visibility: it is no question with one name"},
        {BYTES(UPDATE("id", IO)),
         "ebpf.io. SOA denied by by-name\n"
         "policy by-name reset visibility: it is no question with one name"},
    };

    (void)state;
    police(BY_NAME);
    lookups.protocol = PROTOCOL_TCP;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        expect_denied(rows[i].message, BYTES(""));
        if (strncmp(told, rows[i].told, strlen(rows[i].told)) != 0)
            fail_msg("told: %s", told);
        told[0] = 0;
    }
    assert_false(lookups.foreign);
    unpolice();
}

/* REFUSED where there is nothing to reset, or the program shall go on when it is thawed. */
static void what_is_answered_depends_on_what_is_done(void **state)
{
    static const struct {
        const char *policy;
        bool udp, tcp; /* is answered */
    } rows[] = {
#define ON_DENY(action) POLICY("p", "  onDeny: " action "\n  egress: []\n")
        {ON_DENY("reject"), true, true},
        {ON_DENY("reset"), true, false},
        {ON_DENY("sigkill"), false, false},
        {ON_DENY("freeze"), true, true},
    };

    (void)state;
    police(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        policed_use(rows[i].policy);
        for (int tcp = 0; tcp < 2; tcp++) {
            lookups.protocol = tcp ? PROTOCOL_TCP : PROTOCOL_UDP;
            assert_int_equal(lookups_ask(&lookups, BYTES(QUERY("id", IO, A)), &denial), -EACCES);
            assert_int_equal(denial.answer_len > 0, tcp ? rows[i].tcp : rows[i].udp);
        }
    }
    unpolice();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(what_a_policy_denies_is_refused),
        TEST(what_a_policy_cannot_read_is_dropped),
        TEST(what_is_answered_depends_on_what_is_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
