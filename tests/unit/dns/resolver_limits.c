/* resolver: servers that cannot be reached, and programs that ask more than there is room for. */
#include "proxy/dns/resolver.h"

#include "proxy/dns/exchanges.h"
#include "tests/unit/dns/exchanging.h"

/* ---- servers that are not there ---- */

static void close_server(void)
{
    close(server);
    server = -1;
}

static void connect_to(int fd, const struct addr *to)
{
    struct sockaddr_storage name;
    socklen_t len = addr_to_sockaddr(to, &name);

    assert_int_equal(connect(fd, (struct sockaddr *)&name, len), 0);
}

/* What was told: a question, and what became of it. */
static void expect_failure(const char *how)
{
    char told_of[256], server_text[ADDR_TEXT_MAX];

    snprintf(told_of, sizeof(told_of), "ebpf.io. A\nebpf.io. A%s (%s: Connection refused)\n", how,
             addr_format(&filed.dst, server_text));
    expect_told(told_of);
}

static int error_of(int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);

    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
    return error;
}

static int wait_for_error(int fd)
{
    uint64_t end = clock_ns() + PATIENCE_MS * 1000000ull;
    int error;

    while (!(error = error_of(fd))) {
        assert_true(clock_ns() < end);
        turn();
    }
    return error;
}

/* Until the question and what became of it are told. */
static void wait_for_two_lines(void)
{
    uint64_t end = clock_ns() + PATIENCE_MS * 1000000ull;

    while (!strchr(told, '\n') || !strchr(strchr(told, '\n') + 1, '\n')) {
        assert_true(clock_ns() < end);
        turn();
    }
}

static void need_icmp(const char *ip)
{
    if ((strchr(ip, ':') ? net.listeners.icmp6 : net.listeners.icmp4) < 0)
        skip(); /* no such socket, or no IPv6 */
}

static void a_connected_socket_has_the_error_of(const char *ip)
{
    struct addr at = ear(ip, 1);

    need_icmp(ip);
    close(program);
    program = bound_socket(ip);
    close(server);
    server = bound_socket(ip);
    filed.dst = name_of(server);
    close_server();
    connect_to(program, &at);
    for (int i = 0; i < 3; i++) {
        send_to(program, &at, QUESTION);
        assert_int_equal(wait_for_error(program), ECONNREFUSED);
        assert_false(waits(program));
        expect_failure("");
    }
}

static void a_server_that_is_not_there_is_the_error_of_a_connected_socket(void **state)
{
    (void)state;
    a_connected_socket_has_the_error_of("127.0.0.1");
}

static void by_ipv6_too(void **state)
{
    (void)state;
    a_connected_socket_has_the_error_of("::1");
}

static void a_socket_that_is_not_connected_hears_nothing_of_it(void **state)
{
    struct addr at = ear("127.0.0.1", 0);

    (void)state;
    need_icmp("127.0.0.1");
    close_server();
    for (int i = 0; i < 3; i++) {
        send_to(program, &at, QUESTION);
        wait_for_two_lines();
        assert_false(waits(program));
        assert_int_equal(error_of(program), 0);
        expect_failure("");
    }
}

static void a_socket_that_wants_to_know_hears_it_with_its_question(void **state)
{
    static const int on = 1;
    struct addr at = ear("127.0.0.1", 0);
    struct iovec data = {(uint8_t[512]){0}, 512};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    const struct span question = QUESTION;
    ssize_t n;

    (void)state;
    need_icmp("127.0.0.1");
    close_server();
    assert_int_equal(setsockopt(program, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), 0);
    send_to(program, &at, QUESTION);
    assert_int_equal(wait_for_error(program), ECONNREFUSED);
    n = recvmsg(program, &message, MSG_ERRQUEUE);
    assert_int_equal(n, question.len);
    assert_memory_equal(data.iov_base, question.data, question.len);
}

static void one_refusal_is_of_one_question(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream, last;

    (void)state;
    need_icmp("127.0.0.1");
    upstream = ask(&at);
    close_server();
    send_to(program, &at, BYTES(QUERY("ie", COM, A)));
    while (!strstr(told, "refused"))
        turn();
    assert_null(strstr(told, "ebpf.io. A ("));
    server = bound_to(&filed.dst);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
    last = ask(&at);
    assert_int_equal(last.port, upstream.port);
}

static void where_errors_cannot_be_sent_it_is_servfail(void **state)
{
    struct addr at = ear("127.0.0.1", 0);

    (void)state;
    fd_close(&net.listeners.icmp4);
    close_server();
    for (int i = 0; i < 3; i++) {
        send_to(program, &at, QUESTION);
        expect_from(program, BYTES(REFUSED("id", IO, A)), &at);
        expect_failure(" SERVFAIL");
    }
}

/* ---- floods ---- */

/* While these count, nothing is kept of what is told. */
static unsigned told_questions, told_lost;

static void count_told(const struct flow_event *event)
{
    told[0] = 0;
    if (event->kind == FLOW_EVENT_LOST) {
        assert_string_equal(event->lost.reason,
                            "questions to name servers: our listener's buffer was full");
        told_lost += (unsigned)event->lost.count;
    } else if (!event->dns.response && !event->error) {
        told_questions++;
    }
}

static void begin_counting(void)
{
    told_questions = told_lost = 0;
    when_told = count_told;
}

static void a_flood_has_its_turn_and_no_more(void **state)
{
    struct addr at = ear("127.0.0.1", 0);

    (void)state;
    begin_counting();
    for (int i = 0; i < 1100; i++)
        send_to(program, &at, QUESTION);
    turn();
    assert_int_equal(told_questions, 1024);
}

static void burst(int count)
{
    struct addr at = ear("127.0.0.1", 0);

    begin_counting();
    for (int i = 0; i < count; i++)
        send_to(program, &at, QUESTION);
    resolver_drain(resolver);
    assert_int_equal(told_questions + told_lost, count);
}

static void of_a_burst_nothing_is_lost(void **state)
{
    (void)state;
    burst(10000);
    assert_int_equal(told_lost, 0);
}

static void what_there_is_no_room_for_is_told_as_lost(void **state)
{
    static const int room = 1;

    (void)state;
    assert_int_equal(
        setsockopt(net.listeners.datagram[0].v4, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
    burst(1000);
    assert_in_range(told_lost, 1, 999);
    burst(1); /* each is told once */
    assert_int_equal(told_lost, 0);
}

/* One program socket writes to many addresses of ours: each is an exchange. */
static void exchanges_of_a_pod_are_bounded(void **state)
{
    enum { MANY = EXCHANGES_OF_POD + 10 };
    struct addr at = ear("127.1.0.0", 0), upstream;
    int before = count_descriptors();

    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        at.ip[14] = (uint8_t)(i >> 8);
        at.ip[15] = (uint8_t)i;
        ask(&at);
        told[0] = 0;
    }
    assert_int_equal(flows, EXCHANGES_OF_POD);
    assert_int_equal(forgotten, MANY - EXCHANGES_OF_POD);
    assert_int_equal(count_descriptors(), before + EXCHANGES_OPEN_OF_POD);
    at.ip[14] = 0;
    at.ip[15] = 11; /* one whose upstream socket was taken away */
    upstream = ask(&at);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
    assert_int_equal(flows, EXCHANGES_OF_POD);
    assert_int_equal(count_descriptors(), before + EXCHANGES_OPEN_OF_POD);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_server_that_is_not_there_is_the_error_of_a_connected_socket),
        TEST(by_ipv6_too),
        TEST(a_socket_that_is_not_connected_hears_nothing_of_it),
        TEST(a_socket_that_wants_to_know_hears_it_with_its_question),
        TEST(one_refusal_is_of_one_question),
        TEST(where_errors_cannot_be_sent_it_is_servfail),
        TEST(a_flood_has_its_turn_and_no_more),
        TEST(of_a_burst_nothing_is_lost),
        TEST(what_there_is_no_room_for_is_told_as_lost),
        TEST(exchanges_of_a_pod_are_bounded),
    };

    if (geteuid() != 0) {
        puts("SKIP: our listeners need root");
        return 77;
    }

    return cmocka_run_group_tests(tests, NULL, NULL);
}
