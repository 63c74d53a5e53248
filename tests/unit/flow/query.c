/* query: DNS messages through the real relay, between two socket pairs. */
#include "proxy/flow/query.h"

#include <errno.h>
#include <sys/socket.h>

#include "proxy/flow/steps.h"
#include "proxy/dns/names.h"
#include "tests/unit/dns/asked.h"
#include "tests/unit/dns/policed.h"

static struct worker *worker;
static struct flow flow;
static struct pod pod = {.cgroup_id = 7, .tls_read = true};
static int program, server;

/* ---- in the place of the worker's and the dial's ---- */

uint8_t *worker_buffer_get(struct worker *at, size_t *size)
{
    (void)at;
    *size = WORKER_BUFFER;
    return malloc(WORKER_BUFFER);
}

uint8_t *worker_buffer_grow(struct worker *at, uint8_t *buffer, size_t len, size_t *size)
{
    (void)at;
    (void)len;
    *size *= 2;
    return realloc(buffer, *size);
}

void worker_buffer_put(struct worker *at, uint8_t *buffer, size_t size)
{
    (void)at;
    (void)size;
    free(buffer);
}

int dial_connected(struct flow *at)
{
    (void)at;
    return 0;
}

void dial_explain_alert(struct flow *at)
{
    (void)at;
}

/* ---- a program, a server, and the flow between them ---- */

static int make_leg(struct leg *leg)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    leg_init(leg, worker);
    leg->fd = pair[0];
    return pair[1];
}

static int begin(void **state)
{
    (void)state;
    atomic_init(&pod.refs, 1);
    told[0] = 0;
    worker = calloc(1, sizeof(*worker));
    if (!worker || names_new(&worker->parts.names, NULL) < 0)
        return -1;
    memset(&flow, 0, sizeof(flow));
    flow.worker = worker;
    flow.state = FLOW_RELAYING;
    flow.facts.who.pod = &pod;
    flow.facts.visibility = VISIBILITY_PLAINTEXT;
    program = make_leg(&flow.pod);
    server = make_leg(&flow.upstream);
    relay_init(&flow.relay, RELAY_DNS);
    query_init(&flow);
    return 0;
}

static int end(void **state)
{
    (void)state;
    relay_fini(&flow.relay, worker);
    leg_fini(&flow.pod, false);
    leg_fini(&flow.upstream, false);
    names_free(&worker->parts.names);
    free(worker);
    fd_close(&program);
    fd_close(&server);
    return 0;
}

/* As often as edges may tell. */
static enum flow_state run(void)
{
    enum flow_state next = FLOW_RELAYING;

    for (int i = 0; i < 8 && next == FLOW_RELAYING; i++) {
        flow.pod.readable = flow.pod.writable = true;
        flow.upstream.readable = flow.upstream.writable = true;
        next = relay(&flow);
    }
    return next;
}

static void write_all(int fd, const void *bytes, size_t len)
{
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

static void say(int fd, struct span message)
{
    const uint8_t length[] = {(uint8_t)(message.len >> 8), (uint8_t)message.len};

    write_all(fd, length, sizeof(length));
    write_all(fd, message.data, message.len);
}

static void expect_bytes(int fd, struct span wanted)
{
    static uint8_t got[65536];

    assert_int_equal(recv(fd, got, wanted.len, MSG_WAITALL), wanted.len);
    assert_memory_equal(got, wanted.data, wanted.len);
}

static void expect(int fd, struct span wanted)
{
    const uint8_t length[] = {(uint8_t)(wanted.len >> 8), (uint8_t)wanted.len};

    expect_bytes(fd, span_of(length, sizeof(length)));
    expect_bytes(fd, wanted);
}

static void expect_nothing(int fd)
{
    char byte;

    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EAGAIN);
}

static void expect_end(int fd)
{
    char byte;

    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

/* ---- what it promises ---- */

#define QUESTION BYTES(QUERY("id", IO, A))
#define ADDRESS  BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a"))

static void ask(struct span question)
{
    say(program, question);
    assert_int_equal(run(), FLOW_RELAYING);
    expect(server, question);
}

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
        TEST(what_a_policy_denies_is_refused),
        TEST(a_refusal_does_not_tear_an_answer),
        TEST(refusals_that_nobody_reads_wait),
        TEST(what_a_policy_cannot_read_is_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
