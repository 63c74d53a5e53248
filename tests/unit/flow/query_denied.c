/* query_denied: questions that policies deny, between others that they do not. */
#include "tests/unit/flow/query_bed.h"

#define BY_NAME                                                                                    \
    POLICY("by-name", "  egress:\n"                                                                \
                      "  - toPorts:\n"                                                             \
                      "    - rules: {dns: [{matchName: ebpf.io}]}\n")
#define DENIED BYTES(QUERY("ix", COM, A))
#define SAID   BYTES("ix\x81\x85\0\1\0\0\0\0\0\0" COM A "\0\1")

static void police(const char *policy)
{
    assert_int_equal(policed_begin(&pod), 0);
    policed_use(policy);
    flow.relay.lookups.policies = policies;
}

static void unpolice(void)
{
    lookups_fini(&flow.relay.lookups);
    policed_end();
}

static void what_a_policy_denies_is_refused(void **state)
{
    (void)state;
    police(BY_NAME);
    say(program, DENIED);
    assert_int_equal(run(), FLOW_RELAYING);
    expect(program, SAID);
    expect_nothing(server);
    say(program, QUESTION);
    say(program, DENIED);
    say(program, QUESTION);
    assert_int_equal(run(), FLOW_RELAYING);
    expect(program, SAID);
    expect(server, QUESTION);
    expect(server, QUESTION);
    expect_nothing(server);
    say(server, ADDRESS);
    say(server, ADDRESS);
    assert_int_equal(run(), FLOW_RELAYING);
    expect(program, ADDRESS);
    expect(program, ADDRESS);
    unpolice();
}

/* Between two messages of the server's, of which the second is not whole yet. */
static void a_refusal_does_not_tear_an_answer(void **state)
{
    static const char half[] = ANSWER("id", IO, A, ONE) IP4("\x0a");
    const uint8_t length[] = {0, sizeof(half) - 1};

    (void)state;
    police(BY_NAME);
    ask(QUESTION);
    write_all(server, length, sizeof(length));
    write_all(server, half, 7);
    assert_int_equal(run(), FLOW_RELAYING);
    say(program, DENIED);
    assert_int_equal(run(), FLOW_RELAYING);
    expect(program, SAID);
    write_all(server, half + 7, sizeof(half) - 1 - 7);
    assert_int_equal(run(), FLOW_RELAYING);
    expect(program, ADDRESS);
    unpolice();
}

/* Who asks and asks, and reads nothing, waits: what is kept for it has its bounds. */
static void refusals_that_nobody_reads_wait(void **state)
{
    enum { QUESTIONS = 20000, SLICE = 100 };
    size_t said = 0;

    (void)state;
    police(BY_NAME);
    for (int i = 0; i < QUESTIONS / SLICE; i++) {
        for (int j = 0; j < SLICE; j++) {
            const uint8_t length[] = {0, (uint8_t)DENIED.len};

            if (send(program, length, sizeof(length), MSG_NOSIGNAL) != sizeof(length))
                break;
            write_all(program, DENIED.data, DENIED.len);
            said++;
        }
        assert_int_equal(run(), FLOW_RELAYING);
        assert_true(flow.relay.down.size <= WORKER_BUFFER);
        told[0] = 0;
    }
    for (size_t i = 0; i < said; i++) {
        expect(program, SAID);
        assert_int_equal(run(), FLOW_RELAYING);
        told[0] = 0;
    }
    expect_nothing(server);
    expect_nothing(program);
    unpolice();
}

static void what_a_policy_cannot_read_is_reset(void **state)
{
    (void)state;
    police(BY_NAME);
    say(program, BYTES("hello"));
    assert_int_equal(run(), FLOW_CLOSING);
    assert_true(flow.reset);
    expect_nothing(server);
    assert_string_equal(flow.why.text, "denied by policy by-name: it is no question of the DNS");
    unpolice();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(what_a_policy_denies_is_refused),
        TEST(a_refusal_does_not_tear_an_answer),
        TEST(refusals_that_nobody_reads_wait),
        TEST(what_a_policy_cannot_read_is_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
