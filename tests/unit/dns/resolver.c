/* resolver: questions, answers, and how long what becomes of them is kept. */
#include "proxy/dns/resolver.h"

#include "tests/unit/dns/exchanging.h"

static void a_question_and_its_answer_pass(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream = ask(&at);

    (void)state;
    assert_int_equal(flows, 1);
    assert_int_not_equal(upstream.port, name_of(program).port);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
    expect_told("ebpf.io. A\nebpf.io. A NOERROR 203.0.113.10 60s\n");
}

static void an_answer_comes_from_the_address_that_was_asked(void **state)
{
    struct addr at = ear("127.9.8.7", 2), other = ear("127.9.8.7", 3), upstream = ask(&at);

    (void)state;
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
    upstream = ask(&other);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &other);
    assert_int_equal(flows, 2);
}

static void it_goes_by_ipv6(void **state)
{
    struct addr at = ear("::1", 1), upstream;

    (void)state;
    if (net.listeners.datagram[1].v6 < 0)
        return; /* no IPv6 here */
    close(program);
    close(server);
    program = bound_socket("::1");
    server = bound_socket("::1");
    filed.dst = name_of(server);
    upstream = ask(&at);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
}

static void an_upstream_socket_has_the_address_the_program_bound(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream;

    (void)state;
    filed.has_bound = true;
    filed.bound = address("127.0.0.99", 0);
    upstream = ask(&at);
    assert_memory_equal(upstream.ip, filed.bound.ip, sizeof(upstream.ip));
}

static void one_socket_asks_over_and_over(void **state)
{
    struct addr at = ear("127.0.0.1", 0), first = ask(&at), again;

    (void)state;
    for (int i = 0; i < 100; i++) {
        again = ask(&at);
        assert_int_equal(again.port, first.port);
    }
    assert_int_equal(flows, 1);
}

static void what_was_not_asked_is_not_released(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream = ask(&at);

    (void)state;
    send_to(server, &upstream, BYTES(ANSWER("ix", IO, A, ONE) IP4("\x66")));
    send_to(server, &upstream, BYTES(ANSWER("id", COM, A, ONE) IP4("\x66")));
    send_to(server, &upstream, BYTES("rubbish"));
    send_to(server, &upstream, BYTES(""));
    send_to(server, &upstream, ADDRESS);
    send_to(server, &upstream, ADDRESS);
    send_to(server, &upstream, BYTES(ANSWER("id", IO, A, ONE) IP4("\x66")));
    expect_from(program, ADDRESS, &at);
    upstream = ask(&at);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
    assert_false(waits(program));
}

static void nobody_but_the_server_is_heard(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream = ask(&at);
    int other = bound_socket("127.0.0.1");

    (void)state;
    send_to(other, &upstream, BYTES(ANSWER("id", IO, A, ONE) IP4("\x66")));
    close(other);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
}

static void malformed_answers_are_servfail(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream = ask(&at);

    (void)state;
    send_to(server, &upstream, BYTES(ANSWER("id", IO, A, ONE) "\xc0\x19\0\1\0\1" TTL "\0\0"));
    expect_from(program, BYTES(REFUSED("id", IO, A)), &at);
    expect_told("ebpf.io. A\nebpf.io. A SERVFAIL (the server's answer is malformed: a name points "
                "forward)\n");
}

static void a_long_answer_passes_whole(void **state)
{
    static uint8_t answer[60000] = ANSWER("id", IO, A, TWO) IP4("\x0a");
    static const uint8_t txt[] = "\0\0\x10\0\1\0\0\0\0";
    struct addr at = ear("127.0.0.1", 0), upstream = ask(&at);
    const size_t behind = sizeof(ANSWER("id", IO, A, TWO) IP4("\x0a")) - 1;
    const size_t rest = sizeof(answer) - behind - sizeof(txt) - 1;

    (void)state;
    memcpy(answer + behind, txt, sizeof(txt) - 1);
    answer[behind + 9] = (uint8_t)(rest >> 8);
    answer[behind + 10] = (uint8_t)rest;
    send_to(server, &upstream, span_of(answer, sizeof(answer)));
    expect_from(program, span_of(answer, sizeof(answer)), &at);
}

static void no_socket_for_it_is_servfail(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream;

    (void)state;
    filed.has_bound = true;
    filed.bound = address("198.51.100.1", 0); /* nobody's here */
    send_to(program, &at, QUESTION);
    expect_from(program, BYTES(REFUSED("id", IO, A)), &at);
    resolver_forget(resolver, COOKIE, &filed.dst);
    filed.has_bound = false;
    upstream = ask(&at);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
}

static void strangers_are_not_heard(void **state)
{
    struct addr at = ear("127.0.0.1", 0);

    (void)state;
    has_filed = false;
    send_to(program, &at, QUESTION);
    resolver_drain(resolver);
    turn();
    assert_false(waits(server));
    assert_int_equal(flows, 0);
    expect_told("");
}

static void what_is_no_dns_passes_and_is_told_once(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream;

    (void)state;
    send_to(program, &at, BYTES("ping"));
    expect(server, BYTES("ping"), &upstream);
    send_to(server, &upstream, BYTES("pong"));
    expect_from(program, BYTES("pong"), &at);
    expect_told("- (not a DNS message: shorter than a header)\n"
                "- ? (not a DNS message: shorter than a header)\n");
}

static void a_socket_that_is_gone_is_forgotten(void **state)
{
    struct addr at = ear("127.0.0.1", 0), other = ear("127.0.0.1", 1), upstream;
    int before = count_descriptors();

    (void)state;
    upstream = ask(&at);
    ask(&other);
    assert_int_equal(count_descriptors(), before + 2);
    resolver_forget(resolver, COOKIE + 1, &filed.dst);
    assert_int_equal(flows, 2);
    resolver_forget(resolver, COOKIE, &filed.dst);
    assert_int_equal(flows, 0);
    assert_int_equal(forgotten, 2);
    assert_int_equal(count_descriptors(), before);
    send_to(server, &upstream, ADDRESS); /* too late */
    turn();
    assert_false(waits(program));
}

/* From within a record that is read while one is asked who it is: what it sent is in our hands. */
static void look_while_asked(void)
{
    assert_false(resolver_is_done(resolver, COOKIE, &filed.dst));
}

static void a_socket_is_done_when_all_it_sent_was_handled(void **state)
{
    struct addr at = ear("127.0.0.1", 0), other = ear("127.0.0.1", 1), elsewhere = filed.dst;

    (void)state;
    elsewhere.port++;
    assert_false(resolver_is_done(resolver, COOKIE, &filed.dst)); /* never heard of */
    while_asked = look_while_asked;
    ask(&at);
    while_asked = NULL;
    assert_true(resolver_is_done(resolver, COOKIE, &filed.dst));
    assert_false(resolver_is_done(resolver, COOKIE, &elsewhere));
    assert_false(resolver_is_done(resolver, COOKIE + 1, &filed.dst));
    send_to(program, &at, QUESTION);
    assert_false(resolver_is_done(resolver, COOKIE, &filed.dst));
    resolver_drain(resolver);
    assert_true(resolver_is_done(resolver, COOKIE, &filed.dst));
    ask(&other);
}

static void one_server_is_forgotten_the_other_still_answers(void **state)
{
    struct addr at = ear("127.0.0.1", 0), other = ear("127.0.0.1", 1), first = filed.dst, upstream,
                from;
    int second = bound_socket("127.0.0.1");

    (void)state;
    when_told = NULL;
    upstream = ask(&at);
    filed.dst = name_of(second);
    send_to(program, &other, QUESTION);
    expect(second, QUESTION, &from);
    resolver_forget(resolver, COOKIE, &filed.dst);
    assert_int_equal(flows, 1);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
    resolver_forget(resolver, COOKIE, &first);
    assert_int_equal(flows, 0);
    close(second);
}

static void a_port_that_another_socket_has_now_is_another_exchange(void **state)
{
    struct addr at = ear("127.0.0.1", 0), first = ask(&at), second;

    (void)state;
    filed.cookie++;
    when_told = NULL;
    second = ask(&at);
    assert_int_not_equal(first.port, second.port);
    assert_int_equal(forgotten, 0); /* the record is the new socket's */
    resolver_forget(resolver, COOKIE, &filed.dst);
    assert_int_equal(flows, 1);
    send_to(server, &second, ADDRESS);
    expect_from(program, ADDRESS, &at);
}

static void a_socket_that_asks_another_server_is_another_exchange(void **state)
{
    struct addr at = ear("127.0.0.1", 0), from;
    int other = bound_socket("127.0.0.1");

    (void)state;
    ask(&at);
    filed.dst = name_of(other);
    send_to(program, &at, QUESTION);
    expect(other, QUESTION, &from);
    send_to(other, &from, ADDRESS);
    expect_from(program, ADDRESS, &at);
    close(other);
    assert_int_equal(flows, 1);
}

static void a_namespace_we_leave_is_left(void **state)
{
    struct addr at = ear("127.0.0.1", 0);

    (void)state;
    ask(&at);
    resolver_unwatch(resolver, &net);
    assert_int_equal(flows, 0);
    resolver_unwatch(resolver, &net);
    send_to(program, &at, QUESTION);
    turn();
    resolver_drain(resolver);
    assert_false(waits(server));
}

static void a_drain_does_not_wait_for_the_loop(void **state)
{
    struct addr at = ear("127.0.0.1", 0), from;

    (void)state;
    for (int i = 0; i < 20; i++)
        send_to(program, &at, QUESTION);
    resolver_drain(resolver);
    for (int i = 0; i < 20; i++) {
        assert_true(waits(server));
        expect(server, QUESTION, &from);
    }
}

static void drain_while_asked(void)
{
    resolver_drain(resolver);
}

static void a_drain_within_a_batch_leaves_it_alone(void **state)
{
    struct addr at = ear("127.0.0.1", 0), from;
    char query[] = QUERY("id", IO, A);

    (void)state;
    while_asked = drain_while_asked;
    for (query[1] = 'a'; query[1] < 'a' + 20; query[1]++) /* more than a batch has */
        send_to(program, &at, span_of(query, sizeof(query) - 1));
    resolver_drain(resolver);
    for (query[1] = 'a'; query[1] < 'a' + 20; query[1]++)
        expect(server, span_of(query, sizeof(query) - 1), &from);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_question_and_its_answer_pass),
        TEST(an_answer_comes_from_the_address_that_was_asked),
        TEST(it_goes_by_ipv6),
        TEST(an_upstream_socket_has_the_address_the_program_bound),
        TEST(one_socket_asks_over_and_over),
        TEST(what_was_not_asked_is_not_released),
        TEST(nobody_but_the_server_is_heard),
        TEST(malformed_answers_are_servfail),
        TEST(a_long_answer_passes_whole),
        TEST(no_socket_for_it_is_servfail),
        TEST(strangers_are_not_heard),
        TEST(what_is_no_dns_passes_and_is_told_once),
        TEST(a_socket_that_is_gone_is_forgotten),
        TEST(a_socket_is_done_when_all_it_sent_was_handled),
        TEST(one_server_is_forgotten_the_other_still_answers),
        TEST(a_port_that_another_socket_has_now_is_another_exchange),
        TEST(a_socket_that_asks_another_server_is_another_exchange),
        TEST(a_namespace_we_leave_is_left),
        TEST(a_drain_does_not_wait_for_the_loop),
        TEST(a_drain_within_a_batch_leaves_it_alone),
    };

    if (geteuid() != 0) {
        puts("SKIP: our listeners need root");
        return 77;
    }

    return cmocka_run_group_tests(tests, NULL, NULL);
}
