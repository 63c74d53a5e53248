/* query: DNS messages through the real relay, between two socket pairs. */
#include "tests/unit/flow/query_bed.h"

static void a_question_and_its_answer_pass(void **state)
{
    struct names_found found;
    struct addr at = {.ip = {[10] = 0xff, 0xff, 203, 0, 113, 10}};

    (void)state;
    ask(QUESTION);
    say(server, ADDRESS);
    assert_int_equal(run(), FLOW_RELAYING);
    expect(program, ADDRESS);
    expect_told("ebpf.io. A\nebpf.io. A NOERROR 203.0.113.10 60s\n");
    names_find(worker->parts.names, pod.cgroup_id, &at, clock_ns(), &found);
    assert_int_equal(found.len, 1);
    names_found_fini(&found);
}

static void nothing_goes_on_before_it_is_whole(void **state)
{
    const struct span answer = ADDRESS;
    const uint8_t length[] = {0, (uint8_t)answer.len};

    (void)state;
    ask(QUESTION);
    for (size_t i = 0; i < sizeof(length) + answer.len; i++) {
        expect_nothing(program);
        write_all(server, i < sizeof(length) ? &length[i] : &answer.data[i - sizeof(length)], 1);
        assert_int_equal(run(), FLOW_RELAYING);
    }
    expect(program, ADDRESS);
}

static void many_are_asked_and_answered_in_any_order(void **state)
{
    (void)state;
    say(program, QUESTION);
    say(program, BYTES(QUERY("ie", IO, AAAA)));
    say(program, BYTES(QUERY("if", COM, A)));
    assert_int_equal(run(), FLOW_RELAYING);
    expect(server, QUESTION);
    expect(server, BYTES(QUERY("ie", IO, AAAA)));
    expect(server, BYTES(QUERY("if", COM, A)));
    say(server, BYTES(ANSWER("if", COM, A, ONE) IP4("\x0b")));
    say(server, BYTES(ANSWER("ie", IO, AAAA, NONE)));
    say(server, ADDRESS);
    assert_int_equal(run(), FLOW_RELAYING);
    expect(program, BYTES(ANSWER("if", COM, A, ONE) IP4("\x0b")));
    expect(program, BYTES(ANSWER("ie", IO, AAAA, NONE)));
    expect(program, ADDRESS);
}

static void what_was_not_asked_is_taken_out(void **state)
{
    (void)state;
    ask(QUESTION);
    ask(BYTES(QUERY("ie", IO, AAAA)));
    say(server, BYTES(ANSWER("ix", IO, A, ONE) IP4("\x66")));
    say(server, ADDRESS);
    say(server, ADDRESS);
    say(server, BYTES("rubbish"));
    say(server, BYTES(""));
    say(server, BYTES(ANSWER("ie", IO, AAAA, NONE)));
    assert_int_equal(run(), FLOW_RELAYING);
    expect(program, ADDRESS);
    expect(program, BYTES(ANSWER("ie", IO, AAAA, NONE)));
    expect_nothing(program);
}

static void an_answer_that_is_made_shorter_has_its_length(void **state)
{
    static const char h2[] = ANSWER("id", IO, HTTPS, ONE) "\xc0\x0c\0\x41\0\1" TTL "\0\x0a"
                                                          "\0\1\0"
                                                          "\0\1\0\3\2h2";

    (void)state;
    ask(BYTES(QUERY("id", IO, HTTPS)));
    ask(BYTES(QUERY("ie", IO, AAAA)));
    say(server, BYTES(ANSWER("id", IO, HTTPS, ONE) HTTPS_H3_ECH));
    say(server, BYTES(ANSWER("ie", IO, AAAA, NONE)));
    assert_int_equal(run(), FLOW_RELAYING);
    expect(program, span_of(h2, sizeof(h2) - 1));
    expect(program, BYTES(ANSWER("ie", IO, AAAA, NONE)));
}

static void a_malformed_answer_is_servfail(void **state)
{
    (void)state;
    ask(QUESTION);
    ask(BYTES(QUERY("ie", IO, AAAA)));
    say(server, BYTES("id")); /* shorter than what takes its place */
    say(server, BYTES(ANSWER("ie", IO, AAAA, NONE)));
    assert_int_equal(run(), FLOW_RELAYING);
    expect(program, BYTES(REFUSED("id", IO, A)));
    expect(program, BYTES(ANSWER("ie", IO, AAAA, NONE)));
}

static void a_long_malformed_answer_is_servfail(void **state)
{
    static const uint8_t rubbish[300] = "id";

    (void)state;
    ask(QUESTION);
    say(server, span_of(rubbish, sizeof(rubbish)));
    assert_int_equal(run(), FLOW_RELAYING);
    expect(program, BYTES(REFUSED("id", IO, A)));
}

static void a_servfail_without_room_is_a_reset(void **state)
{
    static uint8_t rest[WORKER_BUFFER] = {0xff, 0xff};

    (void)state;
    ask(QUESTION);
    say(server, BYTES("id"));
    write_all(server, rest, sizeof(rest));
    assert_int_equal(run(), FLOW_CLOSING);
    assert_true(flow.reset);
}

static struct span longest(const char *head, size_t head_len)
{
    static uint8_t message[65535];
    static const uint8_t txt[] = "\0\0\x10\0\1\0\0\0\0";
    const size_t rest = sizeof(message) - head_len - sizeof(txt) - 1;

    memset(message, 0, sizeof(message));
    memcpy(message, head, head_len);
    memcpy(message + head_len, txt, sizeof(txt) - 1);
    message[head_len + 9] = (uint8_t)(rest >> 8);
    message[head_len + 10] = (uint8_t)rest;
    message[11] = 1; /* one more record */
    return span_of(message, sizeof(message));
}

static void the_longest_messages_pass(void **state)
{
    static const char question[] = QUERY("id", IO, A),
                      answer[] = ANSWER("id", IO, A, ONE) IP4("\x0a");

    (void)state;
    ask(QUESTION); /* something before them, too */
    ask(longest(question, sizeof(question) - 1));
    say(server, longest(answer, sizeof(answer) - 1));
    assert_int_equal(run(), FLOW_RELAYING);
    expect(program, longest(answer, sizeof(answer) - 1));
    say(server, longest(answer, sizeof(answer) - 1));
    say(server, ADDRESS); /* nobody asked a third time */
    assert_int_equal(run(), FLOW_RELAYING);
    expect(program, longest(answer, sizeof(answer) - 1));
    expect_nothing(program);
}

static void a_program_that_has_asked_all_waits_for_its_answers(void **state)
{
    (void)state;
    say(program, QUESTION);
    shutdown(program, SHUT_WR);
    assert_int_equal(run(), FLOW_RELAYING);
    expect(server, QUESTION);
    expect_end(server);
    say(server, ADDRESS);
    shutdown(server, SHUT_WR);
    assert_int_equal(run(), FLOW_CLOSING);
    assert_false(flow.reset);
    expect(program, ADDRESS);
    expect_end(program);
}

static void a_message_cut_short_goes_nowhere(void **state)
{
    (void)state;
    ask(QUESTION);
    write_all(program, "\0\x1did", 4);
    shutdown(program, SHUT_WR);
    assert_int_equal(run(), FLOW_RELAYING);
    expect_end(server);
    write_all(server, "\0\x2did", 4);
    shutdown(server, SHUT_WR);
    assert_int_equal(run(), FLOW_CLOSING);
    expect_end(program);
}

static void what_is_no_dns_passes_and_is_told_once(void **state)
{
    (void)state;
    write_all(program, "\0\5hello, and more of it", 23);
    assert_int_equal(run(), FLOW_RELAYING);
    expect_bytes(server, BYTES("\0\5hello, and more of it"));
    write_all(server, "and so on", 9);
    write_all(program, "more", 4);
    assert_int_equal(run(), FLOW_RELAYING);
    expect_bytes(program, BYTES("and so on"));
    expect_bytes(server, BYTES("more"));
    expect_told("- (not a DNS message: shorter than a header)\n");
    assert_int_equal(flow.facts.visibility, VISIBILITY_OPAQUE);
}

static void a_server_that_speaks_first_is_none(void **state)
{
    (void)state;
    write_all(server, "220 welcome\r\n", 13);
    assert_int_equal(run(), FLOW_RELAYING);
    expect_bytes(program, BYTES("220 welcome\r\n"));
    write_all(program, "QUIT\r\n", 6);
    assert_int_equal(run(), FLOW_RELAYING);
    expect_bytes(server, BYTES("QUIT\r\n"));
    expect_told("");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_question_and_its_answer_pass),
        TEST(nothing_goes_on_before_it_is_whole),
        TEST(many_are_asked_and_answered_in_any_order),
        TEST(what_was_not_asked_is_taken_out),
        TEST(an_answer_that_is_made_shorter_has_its_length),
        TEST(a_malformed_answer_is_servfail),
        TEST(a_long_malformed_answer_is_servfail),
        TEST(a_servfail_without_room_is_a_reset),
        TEST(the_longest_messages_pass),
        TEST(a_program_that_has_asked_all_waits_for_its_answers),
        TEST(a_message_cut_short_goes_nowhere),
        TEST(what_is_no_dns_passes_and_is_told_once),
        TEST(a_server_that_speaks_first_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
