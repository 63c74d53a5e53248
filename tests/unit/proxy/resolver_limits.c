/* resolver: programs that ask more than there is room for. */
#include "proxy/resolver.h"

#include "proxy/exchanges.h"
#include "tests/unit/proxy/exchanging.h"

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
        TEST(a_flood_has_its_turn_and_no_more),
        TEST(of_a_burst_nothing_is_lost),
        TEST(what_there_is_no_room_for_is_told_as_lost),
        TEST(exchanges_of_a_pod_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
