/* sockets: when connects and closes are told, whatever comes first, late or never. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/proxy/sockets_bed.h"

static uint64_t later_ms; /* what the clocks are put on by */

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = __real_clock_gettime(clock, now);
    uint64_t ns = (uint64_t)now->tv_nsec + later_ms * 1000000;

    now->tv_sec += (time_t)(ns / 1000000000);
    now->tv_nsec = (long)(ns % 1000000000);
    return result;
}

static void what_is_not_looked_into_is_told_as_the_kernel_says(void **state)
{
    (void)state;
    connects(1, 80);
    connects(2, 81);
    expect_told("connect 1 direct ebpf.io.\nconnect 2 direct\n");
    closes(2, 81, 5, 6, ECONNRESET);
    closes(1, 80, 3, 4, 0);
    expect_told("close 2 direct 5/6: Connection reset by peer\nclose 1 direct 3/4 ebpf.io.\n");
    closes(1, 80, 9, 9, 0); /* once */
    assert_int_equal(step(), -1);
    expect_told("");
}

static void one_socket_may_have_several_destinations(void **state)
{
    (void)state;
    connects(1, 80);
    connects(1, 81);
    closes(1, 81, 1, 1, 0);
    step();
    closes(1, 80, 2, 2, 0);
    step();
    expect_told("connect 1 direct ebpf.io.\nconnect 1 direct\nclose 1 direct 1/1\n"
                "close 1 direct 2/2 ebpf.io.\n");
}

static void a_flow_done_before_the_program_closes(void **state)
{
    (void)state;
    connects(1, 443);
    accepted(1, 443);
    flow_done(1, 443, "refused");
    assert_int_equal(step(), -1);
    expect_told("connect 1 proxy\n");
    closes(1, 443, 10, 20, ECONNRESET);
    assert_int_equal(step(), -1);
    expect_told("close 1 proxy 10/20: refused\n");
}

static void a_program_that_closes_before_its_flow_is_done(void **state)
{
    (void)state;
    connects(1, 443);
    accepted(1, 443);
    closes(1, 443, 10, 20, 0);
    assert_in_range(step(), 1, 500);
    expect_told("connect 1 proxy\n");
    flow_done(1, 443, "");
    assert_int_equal(step(), -1);
    expect_told("close 1 proxy 10/20\n");
}

/* While their flows are waited for: from the middle, the end, and the beginning. */
static void sockets_that_connect_again_are_over(void **state)
{
    static const uint64_t order[] = {2, 3, 1};

    (void)state;
    for (uint64_t cookie = 1; cookie <= 3; cookie++) {
        connects(cookie, 443);
        accepted(cookie, 443);
        closes(cookie, 443, 10, 20, 0);
    }
    assert_in_range(step(), 1, 500);
    told[0] = 0;
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        connects(order[i], 443);
    expect_told("close 2 proxy 10/20\nconnect 2 proxy\nclose 3 proxy 10/20\nconnect 3 proxy\n"
                "close 1 proxy 10/20\nconnect 1 proxy\n");
    closes(3, 443, 0, 0, 0);
    assert_int_equal(step(), -1);
    expect_told("close 3 proxy 0/0\n");
}

/* The program has asked for the errno before the kernel's record could have it. */
static void a_refused_connect_says_so_at_least(void **state)
{
    struct origin origin = {.cookie = 1, .dst = to_port(443)};

    (void)state;
    connects(1, 443);
    sockets_refused(sockets, &origin, -ECONNREFUSED);
    closes(1, 443, 0, 0, 0);
    step();
    expect_told("connect 1 proxy\nclose 1 proxy 0/0: Connection refused\n");
}

/* Its SYN was never sent on to us; but of what came to be a flow, that knows what happened. */
static void a_connect_that_failed_says_how(void **state)
{
    (void)state;
    connects(1, 443);
    connects(2, 443);
    closes(1, 443, 0, 0, ECONNREFUSED);
    closes(2, 443, 0, 0, ECONNRESET);
    sockets_collect(sockets);
    accepted(2, 443);
    flow_done(2, 443, "");
    sockets_collect(sockets);
    expect_told("connect 1 proxy\nconnect 2 proxy\n");
    assert_int_equal(sockets_step(sockets), -1);
    expect_told("close 1 proxy 0/0: Connection refused\nclose 2 proxy 0/0\n");
}

static void a_flow_is_waited_for_half_a_second(void **state)
{
    (void)state;
    connects(1, 443);
    accepted(1, 443);
    closes(1, 443, 0, 0, 0);
    later_ms += 400;
    assert_in_range(step(), 1, 100);
    expect_told("connect 1 proxy\n");
    connects(2, 443);
    accepted(2, 443);
    closes(2, 443, 0, 0, 0);
    assert_in_range(step(), 1, 100); /* the first one's time goes on */
    later_ms += 100;
    assert_in_range(step(), 1, 400);
    expect_told("connect 2 proxy\nclose 1 proxy 0/0\n");
    flow_done(1, 443, ""); /* too late: nobody is there any more */
    assert_in_range(step(), 1, 400);
    expect_told("");
}

/* Nobody was there to read it. */
static void a_record_that_is_read_late_is_waited_for_as_long(void **state)
{
    struct abi_socket record = record_of(ABI_SOCKET_CLOSE, 1, 443);

    (void)state;
    record.time_ns -= 2000 * 1000000ull;
    connects(1, 443);
    accepted(1, 443);
    sockets_on_record(sockets, &record);
    assert_in_range(step(), 400, 500);
    flow_done(1, 443, "");
    assert_int_equal(step(), -1);
    expect_told("connect 1 proxy\nclose 1 proxy 0/0\n");
}

/* Of the kernel route; when it was closed. */
static uint64_t come_and_go(uint64_t cookie, uint16_t port)
{
    struct abi_socket record = record_of(ABI_SOCKET_CONNECT, cookie, port);

    sockets_heard(sockets, 0);
    record.flags = ABI_SOCKET_KERNEL;
    sockets_on_record(sockets, &record);
    accepted(cookie, port);
    record = record_of(ABI_SOCKET_CLOSE, cookie, port);
    sockets_on_record(sockets, &record);
    return record.time_ns;
}

static void what_is_yet_to_be_heard_is_waited_for(void **state)
{
    uint64_t closed_ns = come_and_go(1, 81);

    (void)state;
    later_ms += 2000;
    assert_in_range(step(), 1, 500);
    sockets_heard(sockets, closed_ns + 1);
    assert_in_range(step(), 1, 500); /* its worker has it now */
    expect_told("connect 1 kernel\n");
    later_ms += 500;
    assert_int_equal(step(), -1);
    expect_told("close 1 kernel 0/0\n");
}

/* However long a step takes, what a worker says within it is known before the close is told. */
static void what_was_heard_since_a_step_began_is_waited_for(void **state)
{
    uint64_t closed_ns = come_and_go(1, 81);

    (void)state;
    assert_in_range(step(), 1, 500);
    sockets_collect(sockets);
    later_ms += 2000;
    flow_done(1, 81, "much was lost");
    sockets_heard(sockets, closed_ns + 1);
    assert_in_range(sockets_step(sockets), 1, 500);
    expect_told("connect 1 kernel\n");
    assert_int_equal(step(), -1);
    expect_told("close 1 proxy 0/0: much was lost\n");
}

/* An agent before us has let go of it. */
static void one_that_goes_on_waits_for_who_listens_now(void **state)
{
    struct sockets_flow *before = calloc(1, sizeof(*before));
    struct abi_socket record;

    (void)state;
    connects(1, 443);
    accepted(1, 443);
    assert_non_null(before);
    *before = (struct sockets_flow){
        .cookie = 1, .dst = to_port(443), .route = ROUTE_KERNEL, .goes_on = true};
    sockets_flow_done(sockets, &before);
    step();
    record = record_of(ABI_SOCKET_CLOSE, 1, 443);
    sockets_on_record(sockets, &record);
    assert_in_range(step(), 1, 500);
    expect_told("connect 1 proxy\n");
    flow_done(1, 443, "lost");
    assert_int_equal(step(), -1);
    expect_told("close 1 proxy 0/0: lost\n");
}

/* The accepted connection is handled after the release was read and before it is told. */
static void an_accept_between_collect_and_step_is_waited_for(void **state)
{
    (void)state;
    connects(1, 443);
    closes(1, 443, 10, 20, 0);
    sockets_collect(sockets);
    accepted(1, 443);
    assert_in_range(sockets_step(sockets), 1, 500);
    expect_told("connect 1 proxy\n");
    flow_done(1, 443, "");
    step();
    expect_told("close 1 proxy 10/20\n");
}

/* Its connection may be in the queue still, and nobody has looked. */
static void what_is_released_after_collect_waits_for_the_next_step(void **state)
{
    (void)state;
    connects(1, 443);
    sockets_collect(sockets);
    closes(1, 443, 10, 20, 0);
    assert_int_equal(sockets_step(sockets), -1);
    expect_told("connect 1 proxy\n");
    step();
    expect_told("close 1 proxy 10/20\n");
}

static void a_connect_whose_record_is_read_after_its_accept_is_told_once(void **state)
{
    (void)state;
    accepted(1, 443);
    connects(1, 443);
    flow_done(1, 443, "");
    closes(1, 443, 10, 20, 0);
    step();
    expect_told("connect 1 proxy\nclose 1 proxy 10/20\n");
}

/* The ring was full: what our side of the connection counted is all there is. */
static void a_connection_the_kernel_said_nothing_of_ends_with_its_flow(void **state)
{
    (void)state;
    accepted(1, 443);
    expect_told("connect 1 proxy\n");
    flow_done(1, 443, "");
    step(); /* released here */
    step();
    expect_told("close 1 proxy 1/2\n");
    closes(1, 443, 10, 20, 0);
    step();
    expect_told("");
}

static void a_close_without_its_connect_is_not_told(void **state)
{
    (void)state;
    closes(1, 80, 1, 1, 0);
    step();
    expect_told("");
}

static void datagrams_tell_their_counts_and_who_is_gone(void **state)
{
    struct abi_socket stats = record_of(ABI_SOCKET_STATS, 1, 53);

    (void)state;
    connects(1, 53);
    stats.tx = 30;
    stats.rx = 40;
    sockets_on_record(sockets, &stats);
    expect_told("connect 1 proxy\nstats 1 proxy 30/40\n");
    done = true;
    assert_int_equal(gone_sum, 0);
    closes(1, 53, 31, 41, 0);
    assert_int_equal(gone_sum, 1);
    expect_told("stats 1 proxy 31/41\nclose 1 proxy 31/41\n"); /* at once */
    done = false;
    connects(2, 53);
    closes(2, 53, 32, 42, 0);
    expect_told("connect 2 proxy\n");
    assert_int_equal(gone_sum, 1);
    step(); /* after a drain */
    expect_told("stats 2 proxy 32/42\nclose 2 proxy 32/42\n");
    assert_int_equal(gone_sum, 3);
}

static void refused_quic_says_so(void **state)
{
    struct abi_socket record = record_of(ABI_SOCKET_CONNECT, 1, 443);

    (void)state;
    record.protocol = IPPROTO_UDP;
    record.flags = ABI_SOCKET_REFUSED;
    sockets_on_record(sockets, &record);
    assert_non_null(strstr(told, "connect 1 direct: QUIC is refused"));
}

/* Closes that were lost are told when their process is gone, as soon as there are very many. */
static void lost_closes_are_swept_up(void **state)
{
    enum { MANY = 4096 }; /* SWEEP_MIN */

    (void)state;
    for (uint64_t i = 1; i < MANY; i++) {
        connects(i, 80);
        told[0] = 0;
    }
    atomic_store(&life.exited, true);
    step();
    step();
    expect_told("");
    connects(MANY, 80);
    step(); /* sees that there are too many */
    closes_told = 0;
    step();
    told[0] = 0;
    assert_int_equal(closes_told, MANY);
    assert_int_equal(flows, 0);
}

static void take_down_tells_all_that_is_open(void **state)
{
    (void)state;
    connects(1, 80);
    connects(2, 443);
    accepted(2, 443);
    closes(2, 443, 5, 6, 0);
    connects(3, 443);
    accepted(3, 443);
    flow_done(3, 443, "");
    told[0] = 0;
    sockets_finish(sockets);
    assert_non_null(strstr(told, "close 1 direct 0/0 ebpf.io.\n"));
    assert_non_null(strstr(told, "close 2 proxy 5/6\n"));
    assert_non_null(strstr(told, "close 3 proxy 1/2\n"));
    assert_int_equal(flows, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with(what_is_not_looked_into_is_told_as_the_kernel_says),
        with(one_socket_may_have_several_destinations),
        with(a_flow_done_before_the_program_closes),
        with(a_program_that_closes_before_its_flow_is_done),
        with(sockets_that_connect_again_are_over),
        with(a_connect_that_failed_says_how),
        with(a_refused_connect_says_so_at_least),
        with(a_flow_is_waited_for_half_a_second),
        with(a_record_that_is_read_late_is_waited_for_as_long),
        with(what_is_yet_to_be_heard_is_waited_for),
        with(what_was_heard_since_a_step_began_is_waited_for),
        with(one_that_goes_on_waits_for_who_listens_now),
        with(an_accept_between_collect_and_step_is_waited_for),
        with(what_is_released_after_collect_waits_for_the_next_step),
        with(a_connect_whose_record_is_read_after_its_accept_is_told_once),
        with(a_connection_the_kernel_said_nothing_of_ends_with_its_flow),
        with(a_close_without_its_connect_is_not_told),
        with(datagrams_tell_their_counts_and_who_is_gone),
        with(refused_quic_says_so),
        with(lost_closes_are_swept_up),
        with(take_down_tells_all_that_is_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
