/* lookups: what becomes of an answer, and what is told and bound before it is released. */
#include "tests/unit/dns/lookups_bed.h"

#include <errno.h>

#include "proxy/dns/configured.h"

static const struct {
    const char *name;
    struct span question, answer;
    enum lookups_result want;
    const char *told;  /* of the answer */
    const char *bound; /* to 203.0.113.10 */
} answers[] = {
    {"an address", BYTES(QUERY("id", IO, A)), BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a")),
     LOOKUPS_RELAY, "ebpf.io. A NOERROR 203.0.113.10 60s\n", "ebpf.io. "},
    {"letters are not told apart", BYTES(QUERY("id", "\4eBpF\2iO\0", A)),
     BYTES(ANSWER("id", "\4EbPf\2Io\0", A, ONE) IP4("\x0a")), LOOKUPS_RELAY,
     "ebpf.io. A NOERROR 203.0.113.10 60s\n", "ebpf.io. "},
    {"a chain: every name of it is bound, the one asked for first", BYTES(QUERY("id", IO, A)),
     BYTES(ANSWER("id", IO, A, TWO) TO_COM COM_IP4("\x25", "\x0a")), LOOKUPS_RELAY,
     "ebpf.io. A NOERROR =example.com. 203.0.113.10 10s\n", "ebpf.io. example.com. "},
    {"no address", BYTES(QUERY("id", IO, AAAA)), BYTES(ANSWER("id", IO, AAAA, NONE)), LOOKUPS_RELAY,
     "ebpf.io. AAAA NOERROR\n", ""},
    {"no such name", BYTES(QUERY("id", IO, A)), BYTES("id\x81\x83\0\1\0\0\0\0\0\0" IO A "\0\1"),
     LOOKUPS_RELAY, "ebpf.io. A NXDOMAIN\n", ""},
    {"an address that nobody asked for is not bound", BYTES(QUERY("id", IO, A)),
     BYTES(ANSWER("id", IO, A, ONE) COM "\0\1\0\1" TTL "\0\4\xcb\0\x71\x0a"), LOOKUPS_RELAY,
     "ebpf.io. A NOERROR\n", ""},
    {"a server that takes no EDNS repeats no question", BYTES(QUERY("id", IO, A)),
     BYTES("id\x81\x81\0\0\0\0\0\0\0\0"), LOOKUPS_RELAY, "ebpf.io. A FORMERR\n", ""},
    {"... but says so", BYTES(QUERY("id", IO, A)), BYTES("id\x81\x80\0\0\0\0\0\0\0\0"),
     LOOKUPS_DROP, "- NOERROR (not released: an answer to no open question)\n", ""},
    {"an update is done: no zone repeated (RFC 2136)", BYTES(UPDATE("id", IO)),
     BYTES("id\xa8\0\0\0\0\0\0\0\0\0"), LOOKUPS_RELAY, "ebpf.io. SOA NOERROR\n", ""},
    {"a notice is heard: no zone repeated (RFC 1996)", BYTES(NOTIFY("id", IO)),
     BYTES("id\xa4\0\0\0\0\0\0\0\0\0"), LOOKUPS_RELAY, "ebpf.io. SOA NOERROR\n", ""},
    {"an update has no notice's answer", BYTES(UPDATE("id", IO)), BYTES("id\xa4\0\0\0\0\0\0\0\0\0"),
     LOOKUPS_DROP, "- NOERROR (not released: an answer to no open question)\n", ""},
    {"another id", BYTES(QUERY("id", IO, A)), BYTES(ANSWER("ix", IO, A, ONE) IP4("\x0a")),
     LOOKUPS_DROP, "ebpf.io. A NOERROR (not released: an answer to no open question)\n", ""},
    {"another name", BYTES(QUERY("id", IO, A)), BYTES(ANSWER("id", COM, A, ONE) IP4("\x0a")),
     LOOKUPS_DROP, "example.com. A NOERROR (not released: an answer to no open question)\n", ""},
    {"another type", BYTES(QUERY("id", IO, AAAA)), BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a")),
     LOOKUPS_DROP, "ebpf.io. A NOERROR (not released: an answer to no open question)\n", ""},
    {"the question itself", BYTES(QUERY("id", IO, A)), BYTES(QUERY("id", IO, A)), LOOKUPS_DROP,
     "ebpf.io. A (not released: a question where an answer belongs)\n", ""},
    {"a length that lies", BYTES(QUERY("id", IO, A)),
     BYTES(ANSWER("id", IO, A, ONE) "\xc0\x0c\0\1\0\1" TTL "\1\4\xcb\0\x71\x0a"), LOOKUPS_CHANGED,
     "ebpf.io. A SERVFAIL (the server's answer is malformed: the message ends inside a record)\n",
     ""},
    {"a name that points to itself", BYTES(QUERY("id", IO, A)),
     BYTES(ANSWER("id", IO, A, ONE) "\xc0\x19\0\1\0\1" TTL "\0\4\xcb\0\x71\x0a"), LOOKUPS_CHANGED,
     "ebpf.io. A SERVFAIL (the server's answer is malformed: a name points forward)\n", ""},
    {"an id alone", BYTES(QUERY("id", IO, A)), BYTES("id"), LOOKUPS_CHANGED,
     "ebpf.io. A SERVFAIL (the server's answer is malformed: shorter than a header)\n", ""},
    {"rubbish with another id", BYTES(QUERY("id", IO, A)), BYTES("xx\x81"), LOOKUPS_DROP,
     "- ? (not released: not a DNS message: shorter than a header)\n", ""},
    {"less than an id", BYTES(QUERY("id", IO, A)), BYTES("i"), LOOKUPS_DROP,
     "- ? (not released: not a DNS message: shorter than a header)\n", ""},
    {"no byte", BYTES(QUERY("id", IO, A)), BYTES(""), LOOKUPS_DROP,
     "- ? (not released: not a DNS message: shorter than a header)\n", ""},
    {"HTTP/3 and a hidden ClientHello", BYTES(QUERY("id", IO, HTTPS)),
     BYTES(ANSWER("id", IO, HTTPS, ONE) HTTPS_H3_ECH), LOOKUPS_CHANGED,
     "ebpf.io. HTTPS NOERROR -ech -h3\n", ""},
    {"HTTP/2 alone", BYTES(QUERY("id", IO, HTTPS)), BYTES(ANSWER("id", IO, HTTPS, ONE) HTTPS_H2),
     LOOKUPS_RELAY, "ebpf.io. HTTPS NOERROR\n", ""},
};

static void says_what_becomes_of_an_answer(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        print_message("  %s\n", answers[i].name);
        assert_int_equal(lookups_ask(&lookups, answers[i].question, &denial), 0);
        told[0] = 0;
        assert_int_equal(answer(answers[i].answer), answers[i].want);
        expect_told(answers[i].told);
        expect_bound(10, answers[i].bound);
        end(state);
        begin(state);
    }
}

static void a_question_is_told(void **state)
{
    (void)state;
    assert_int_equal(lookups_ask(&lookups, BYTES(QUERY("id", IO, A)), &denial), 0);
    assert_int_equal(lookups_ask(&lookups, BYTES(QUERY("ie", COM, AAAA)), &denial), 0);
    expect_told("ebpf.io. A\nexample.com. AAAA\n");
}

static void a_malformed_answer_is_replaced(void **state)
{
    static const char refused[] = "id\x81\x82\0\1\0\0\0\0\0\0" IO A "\0\1";

    (void)state;
    lookups_ask(&lookups, BYTES(QUERY("id", IO, A)), &denial);
    assert_int_equal(answer(BYTES("id\x81\x80\0\1\0\xff\0\0\0\0" IO A "\0\1")), LOOKUPS_CHANGED);
    assert_int_equal(out_len, sizeof(refused) - 1);
    assert_memory_equal(out, refused, out_len);
    assert_int_equal(answer(BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a"))), LOOKUPS_DROP);
}

static void what_is_taken_out_is_gone(void **state)
{
    (void)state;
    lookups_ask(&lookups, BYTES(QUERY("id", IO, HTTPS)), &denial);
    assert_int_equal(answer(BYTES(ANSWER("id", IO, HTTPS, ONE) HTTPS_H3_ECH)), LOOKUPS_CHANGED);
    assert_non_null(memmem(out, out_len, "\2h2", 3));
    assert_null(memmem(out, out_len, "h3", 2));
    assert_null(memmem(out, out_len, "ech!", 4));
}

static void nothing_is_taken_out_where_no_tls_is_read(void **state)
{
    (void)state;
    pod.tls_read = false;
    lookups_ask(&lookups, BYTES(QUERY("id", IO, HTTPS)), &denial);
    told[0] = 0;
    assert_int_equal(answer(BYTES(ANSWER("id", IO, HTTPS, ONE) HTTPS_H3_ECH)), LOOKUPS_RELAY);
    expect_told("ebpf.io. HTTPS NOERROR\n");
}

static void a_question_has_one_answer(void **state)
{
    (void)state;
    lookups_ask(&lookups, BYTES(QUERY("id", IO, A)), &denial);
    assert_int_equal(answer(BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a"))), LOOKUPS_RELAY);
    assert_int_equal(answer(BYTES(ANSWER("id", IO, A, ONE) IP4("\x0b"))), LOOKUPS_DROP);
    expect_bound(11, "");
}

static void a_question_asked_twice_may_be_answered_twice(void **state)
{
    (void)state;
    lookups_ask(&lookups, BYTES(QUERY("id", IO, A)), &denial);
    lookups_ask(&lookups, BYTES(QUERY("id", IO, A)), &denial);
    assert_int_equal(answer(BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a"))), LOOKUPS_RELAY);
    assert_int_equal(answer(BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a"))), LOOKUPS_RELAY);
    assert_int_equal(answer(BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a"))), LOOKUPS_DROP);
}

static void answers_come_in_any_order(void **state)
{
    (void)state;
    lookups_ask(&lookups, BYTES(QUERY("id", IO, A)), &denial);
    lookups_ask(&lookups, BYTES(QUERY("id", IO, AAAA)), &denial); /* the same id */
    lookups_ask(&lookups, BYTES(QUERY("if", COM, A)), &denial);
    assert_int_equal(answer(BYTES(ANSWER("if", COM, A, ONE) IP4("\x0b"))), LOOKUPS_RELAY);
    assert_int_equal(answer(BYTES(ANSWER("id", IO, AAAA, ONE) IP6("\x01"))), LOOKUPS_RELAY);
    assert_int_equal(answer(BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a"))), LOOKUPS_RELAY);
    assert_int_equal(lookups.open_len, 0);
}

static void set_id(char *message, int id)
{
    message[0] = (char)(id >> 8);
    message[1] = (char)id;
}

static void the_oldest_question_makes_way(void **state)
{
    char query[] = QUERY("id", IO, A), late[] = ANSWER("id", IO, A, ONE) IP4("\x0a");

    (void)state;
    for (int i = 0; i <= LOOKUPS_OPEN_MAX; i++) {
        set_id(query, i);
        assert_int_equal(lookups_ask(&lookups, span_of(query, sizeof(query) - 1), &denial), 0);
    }
    assert_int_equal(lookups.open_len, LOOKUPS_OPEN_MAX);
    set_id(late, 0);
    assert_int_equal(answer(span_of(late, sizeof(late) - 1)), LOOKUPS_DROP);
    for (int i = LOOKUPS_OPEN_MAX; i > 0; i--) {
        set_id(late, i);
        assert_int_equal(answer(span_of(late, sizeof(late) - 1)), LOOKUPS_RELAY);
    }
    assert_int_equal(lookups.open_len, 0);
}

/* However long the question was, little is kept of it. */
static void a_question_of_64_kb_is_asked_and_answered(void **state)
{
    static uint8_t query[65535] = QUERY("id", IO, A);
    static const uint8_t txt[] = "\0\0\x10\0\1\0\0\0\0\xff\xdb"; /* a record as long as the rest */
    const size_t at = sizeof(QUERY("id", IO, A)) - 1;

    (void)state;
    query[11] = 1;
    memcpy(query + at, txt, sizeof(txt) - 1);
    assert_int_equal(lookups_ask(&lookups, span_of(query, sizeof(query)), &denial), 0);
    assert_int_equal(answer(BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a"))), LOOKUPS_RELAY);
}

static void a_zone_transfer_goes_on(void **state)
{
    (void)state;
    lookups_ask(&lookups, BYTES(QUERY("id", IO, AXFR)), &denial);
    assert_int_equal(answer(BYTES(ANSWER("id", IO, AXFR, ONE) IP4("\x0a"))), LOOKUPS_RELAY);
    assert_int_equal(
        answer(BYTES("id\x80\0\0\0\0\1\0\0\0\0" IO "\0\1\0\1" TTL "\0\4\xcb\0\x71\x0b")),
        LOOKUPS_RELAY);
    assert_int_equal(answer(BYTES(ANSWER("id", IO, AXFR, ONE) IP4("\x0c"))), LOOKUPS_RELAY);
}

static void what_is_no_question_is_told_and_its_answer_passed_on(void **state)
{
    (void)state;
    assert_int_equal(lookups_ask(&lookups, BYTES("hello"), &denial), -EBADMSG);
    expect_told("- (not a DNS message: shorter than a header)\n");
    assert_int_equal(answer(BYTES("hello yourself")), LOOKUPS_RELAY);
    assert_int_equal(answer(BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a"))), LOOKUPS_RELAY);
    expect_told("- ? (not a DNS message: a label is of an unknown kind)\n"
                "ebpf.io. A NOERROR (an answer to no open question)\n");
    expect_bound(10, "");
}

static void an_answer_is_no_question(void **state)
{
    (void)state;
    assert_int_equal(lookups_ask(&lookups, BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a")), &denial),
                     -EBADMSG);
    expect_told("ebpf.io. A NOERROR (an answer where a question belongs)\n");
    expect_bound(10, "");
}

static void rubbish_is_told_a_few_times(void **state)
{
    int lines = 0;

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(answer(BYTES("rubbish")), LOOKUPS_DROP);
    for (const char *at = told; (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines, LOOKUPS_FAULTS_MAX);
}

static void a_server_that_cannot_be_reached_is_a_servfail(void **state)
{
    (void)state;
    lookups_ask(&lookups, BYTES(QUERY("id", IO, A)), &denial);
    lookups_ask(&lookups, BYTES(QUERY("ie", IO, AAAA)), &denial);
    told[0] = 0;
    assert_int_equal(lookups_refuse(&lookups, -ECONNREFUSED, BYTES("ie"), out),
                     sizeof(REFUSED("ie", IO, AAAA)) - 1);
    assert_memory_equal(out, REFUSED("ie", IO, AAAA), sizeof(REFUSED("ie", IO, AAAA)) - 1);
    assert_int_equal(lookups_refuse(&lookups, -ECONNREFUSED, BYTES("ie"), out), 0);
    assert_int_equal(lookups_refuse(&lookups, -ECONNREFUSED, BYTES(""), out),
                     sizeof(REFUSED("id", IO, A)) - 1);
    assert_memory_equal(out, REFUSED("id", IO, A), sizeof(REFUSED("id", IO, A)) - 1);
    assert_int_equal(lookups_refuse(&lookups, -ECONNREFUSED, BYTES(""), out), 0);
    expect_told("ebpf.io. AAAA SERVFAIL (192.0.2.53:53: Connection refused)\n"
                "ebpf.io. A SERVFAIL (192.0.2.53:53: Connection refused)\n");
}

static void one_that_the_program_learns_of_otherwise_is_told_without_an_answer(void **state)
{
    (void)state;
    lookups_ask(&lookups, BYTES(QUERY("id", IO, A)), &denial);
    lookups_ask(&lookups, BYTES(QUERY("ie", IO, AAAA)), &denial);
    told[0] = 0;
    assert_int_equal(lookups_refuse(&lookups, -ECONNREFUSED, BYTES("i"), NULL), 0);
    assert_int_equal(lookups_refuse(&lookups, -EHOSTUNREACH, BYTES(QUERY("ie", IO, AAAA)), NULL),
                     0);
    assert_int_equal(lookups.open_len, 0);
    expect_told("ebpf.io. A (192.0.2.53:53: Connection refused)\n"
                "ebpf.io. AAAA (192.0.2.53:53: No route to host)\n");
}

static void a_program_of_no_pod_has_nothing_bound(void **state)
{
    (void)state;
    lookups.pod = NULL;
    lookups_ask(&lookups, BYTES(QUERY("id", IO, A)), &denial);
    assert_int_equal(answer(BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a"))), LOOKUPS_RELAY);
    expect_bound(10, "");
}

static void own_servers_are_believed(void **state)
{
    struct configured *configured =
        configured_parse(BYTES("nameserver 192.0.2.53\n"), span_of(NULL, 0));

    (void)state;
    lookups_ask(&lookups, BYTES(QUERY("id", COM, A)), &denial);
    answer(BYTES(ANSWER("id", COM, A, ONE) IP4("\x0a")));
    expect_trusted(10, ""); /* nobody knows whose server it is */
    names_configure(names, pod.cgroup_id, &configured);
    lookups_ask(&lookups, BYTES(QUERY("id", IO, A)), &denial);
    answer(BYTES(ANSWER("id", IO, A, TWO) TO_COM COM_IP4("\x25", "\x0a")));
    expect_trusted(10, "ebpf.io example.com ");
    lookups.dst.ip[15] = 54;
    lookups_ask(&lookups, BYTES(QUERY("id", IO, A)), &denial);
    answer(BYTES(ANSWER("id", IO, A, ONE) IP4("\x0b")));
    expect_trusted(11, "");
    expect_bound(11, "ebpf.io. ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(says_what_becomes_of_an_answer),
        TEST(a_question_is_told),
        TEST(a_malformed_answer_is_replaced),
        TEST(what_is_taken_out_is_gone),
        TEST(nothing_is_taken_out_where_no_tls_is_read),
        TEST(a_question_has_one_answer),
        TEST(a_question_asked_twice_may_be_answered_twice),
        TEST(answers_come_in_any_order),
        TEST(the_oldest_question_makes_way),
        TEST(a_question_of_64_kb_is_asked_and_answered),
        TEST(a_zone_transfer_goes_on),
        TEST(what_is_no_question_is_told_and_its_answer_passed_on),
        TEST(an_answer_is_no_question),
        TEST(rubbish_is_told_a_few_times),
        TEST(a_server_that_cannot_be_reached_is_a_servfail),
        TEST(one_that_the_program_learns_of_otherwise_is_told_without_an_answer),
        TEST(a_program_of_no_pod_has_nothing_bound),
        TEST(own_servers_are_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
