/* The way to a worker: in order, bounded, and what has no room is counted. A real worker; what it
 * tells is heard in the place of the bus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <semaphore.h>
#include <stdio.h>

#include "proxy/kernel/lane.h"

#include "base/clock.h"
#include "proxy/dns/names.h"
#include "proxy/limits.h"
#include "proxy/sockets.h"
#include "proxy/worker.h"

static struct worker *worker;
static struct lane *lane;
static struct limits limits;
static struct bus *bus;
static struct tickets *tickets;
static struct names *names;
static struct pod pod = {.cgroup_id = 7, .space = (char *)"", .name = (char *)""};

static unsigned heard, out_of_order;
static unsigned closed;
static char error[512];

void __wrap_bus_emit(struct bus_producer *producer, struct flow_event **event);
void __wrap_sockets_flow_done(struct sockets *sockets, struct sockets_flow **flow);

/* Requests are told in the order of their numbers. */
void __wrap_bus_emit(struct bus_producer *producer, struct flow_event **event)
{
    unsigned number = UINT32_MAX;

    (void)producer;
    if (*event && (*event)->kind == FLOW_EVENT_HTTP)
        sscanf((*event)->http.url, "/%u", &number);
    out_of_order += number != heard;
    heard++;
    flow_event_free(event);
}

void __wrap_sockets_flow_done(struct sockets *sockets, struct sockets_flow **flow)
{
    (void)sockets;
    closed++;
    snprintf(error, sizeof(error), "%s", (*flow)->error);
    free(TAKE(*flow));
}

static int begin(void **state)
{
    struct worker_parts parts = {.limits = &limits};
    struct err err = {0};

    (void)state;
    heard = out_of_order = closed = 0;
    error[0] = 0;
    atomic_init(&pod.refs, 1);
    limits_init(&limits, &(struct limits_machine){.files = 1000, .memory = UINT64_C(1) << 32});
    if (tickets_new(&tickets, &err) < 0 || names_new(&names, &err) < 0 ||
        bus_new(&bus, NULL, 0, &err) < 0)
        return -1;
    parts.tickets = tickets;
    parts.names = names;
    parts.bus = bus;
    if (worker_new(&worker, &parts, 0, &err) < 0)
        return -1;
    lane = lane_new(worker);
    return lane ? 0 : -1;
}

/* Whatever is on its way arrives. */
static void finish(void)
{
    worker_free(&worker);
}

static int end(void **state)
{
    (void)state;
    worker_free(&worker);
    lane_free(&lane);
    bus_free(&bus);
    names_free(&names);
    tickets_free(&tickets);
    assert_int_equal(atomic_load(&limits.connections), 0);
    return 0;
}

/* As another agent left it, or NULL. */
static struct seat *open_again(struct stream_state *left)
{
    const struct lane_opening opening = {
        .origin = {.dst = {.ip = {[10] = 0xff, [11] = 0xff, 203, 0, 113, 10}, .port = 80}},
        .pod = &pod,
        .midway = left,
        .state = left,
    };

    assert_int_equal(limits_admit_stream(&limits, &pod), LIMIT_NONE);
    return lane_open(lane, &opening);
}

static struct seat *open_seat(void)
{
    return open_again(NULL);
}

static bool hear(struct seat *seat, enum abi_direction direction, uint8_t flags, uint64_t lost,
                 struct span bytes)
{
    static struct abi_said said;

    said.kind = ABI_SAID_BYTES;
    said.direction = direction;
    said.flags = flags;
    said.len = (uint32_t)bytes.len;
    memcpy(said.bytes, bytes.data, bytes.len);
    return lane_said(lane, seat, &said, lost);
}

static bool say(struct seat *seat, uint64_t lost, struct span bytes)
{
    return hear(seat, ABI_TX, ABI_SAID_BEGINS, lost, bytes);
}

static bool ask(struct seat *seat, uint64_t lost, unsigned number)
{
    char text[64];

    snprintf(text, sizeof(text), "GET /%u HTTP/1.1\r\nHost: a.example\r\n\r\n", number);
    return say(seat, lost, span_of_text(text));
}

static void close_seat(struct seat *seat)
{
    lane_close(lane, seat, &(struct stream_closing){.time_ns = 1});
    lane_send(lane);
}

/* Over many batches, sent at odd moments. */
static void all_comes_in_order(void **state)
{
    struct seat *seat = open_seat();
    unsigned said = 0;

    (void)state;
    assert_non_null(seat);
    while (said < 20000) {
        if (ask(seat, 0, said))
            said++;
        if (said % 97 == 0)
            lane_send(lane);
    }
    close_seat(seat);
    finish();
    assert_int_equal(heard, 20000);
    assert_int_equal(out_of_order, 0);
    assert_int_equal(closed, 1);
    assert_string_equal(error, "");
}

static sem_t is_there, may_go_on;

static void wait_there(struct worker *at, struct worker_visit *visit)
{
    (void)at;
    (void)visit;
    sem_post(&is_there);
    sem_wait(&may_go_on);
}

/* One stream that says much while its worker is busy loses some; another does not. */
static void what_has_no_room_is_lost(void **state)
{
    struct worker_visit busy = {.fn = wait_there};
    struct seat *loud = open_seat(), *quiet = open_seat();
    uint8_t body[16000];
    unsigned taken = 0;

    (void)state;
    sem_init(&is_there, 0, 0);
    sem_init(&may_go_on, 0, 0);
    worker_visit(worker, &busy);
    sem_wait(&is_there);
    memset(body, 'x', sizeof(body));
    assert_true(say(loud, 0,
                    BYTES("POST /0 HTTP/1.1\r\nHost: a.example\r\nContent-Length: "
                          "100000000\r\n\r\n")));
    while (say(loud, 0, span_of(body, sizeof(body))))
        taken++;
    assert_in_range(taken, 200, 300); /* 4 MB */
    assert_true(ask(quiet, 0, 0));
    sem_post(&may_go_on);
    close_seat(quiet);
    while (!ask(loud, 16000, 1))
        ;
    close_seat(loud);
    finish();
    assert_int_equal(closed, 2);
    assert_int_equal(heard, 3);
    assert_string_equal(error, "16000 bytes of the connection were lost on their way to the agent");
    sem_destroy(&may_go_on);
    sem_destroy(&is_there);
}

/* Not when it was merely sent: its worker may have much to do before. */
static void a_mark_is_passed_when_what_is_before_it_was_told(void **state)
{
    struct worker_visit busy = {.fn = wait_there};
    struct seat *seat = open_seat();

    (void)state;
    assert_true(lane_is_past_mark(lane));
    sem_init(&is_there, 0, 0);
    sem_init(&may_go_on, 0, 0);
    worker_visit(worker, &busy);
    sem_wait(&is_there);
    assert_true(ask(seat, 0, 0));
    close_seat(seat);
    assert_true(lane_is_past_mark(lane)); /* an older one */
    lane_mark(lane);
    assert_false(lane_is_past_mark(lane));
    assert_int_equal(closed, 0);
    sem_post(&may_go_on);
    while (!lane_is_past_mark(lane))
        sched_yield();
    finish();
    assert_int_equal(heard, 1);
    assert_int_equal(closed, 1);
    sem_destroy(&may_go_on);
    sem_destroy(&is_there);
}

static struct stream_state *leave(struct seat *seat)
{
    struct stream_state *left = calloc(1, sizeof(*left));

    assert_non_null(left);
    lane_close(lane, seat, &(struct stream_closing){.time_ns = 1, .goes_on = true, .state = left});
    assert_true(lane_settle(lane, clock_ns() + UINT64_C(10000000000)));
    return left;
}

/* Each request is told once: one whose answer is to come here, one within whose head it goes over
 * there, as is one that comes afterwards. */
static void it_is_read_on_where_it_was_left(void **state)
{
    struct span answer = BYTES("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    struct seat *seat = open_seat();
    struct stream_state *left;

    (void)state;
    assert_true(ask(seat, 0, 0));
    assert_true(say(seat, 0, BYTES("GET /1 HT")));
    left = leave(seat);
    assert_int_equal(heard, 1);
    assert_true(left->known);
    assert_int_equal(left->awaited, 1);
    assert_int_equal(left->up.kept_len, 9);
    seat = open_again(left);
    assert_non_null(seat);
    assert_true(hear(seat, ABI_TX, 0, 0, BYTES("TP/1.1\r\nHost: a.example\r\n\r\n")));
    assert_true(
        hear(seat, ABI_RX, ABI_SAID_BEGINS, 0, answer)); /* which belongs to what was told */
    assert_true(hear(seat, ABI_RX, ABI_SAID_BEGINS, 0, answer));
    assert_true(ask(seat, 0, 2));
    assert_true(hear(seat, ABI_RX, ABI_SAID_BEGINS, 0, answer));
    close_seat(seat);
    finish();
    assert_int_equal(heard, 3);
    assert_int_equal(out_of_order, 0);
    assert_int_equal(closed, 2);
    assert_string_equal(error, "");
}

/* Nor are answers to what followed a request that made no sense. */
static void what_was_not_read_is_not_read_there_either(void **state)
{
    struct span answer = BYTES("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    struct seat *seat = open_seat();
    struct stream_state *left;

    (void)state;
    assert_true(say(seat, 0, BYTES("FOO /0 HTTP/1.1\r\nHost: a.example\r\n\r\n")));
    left = leave(seat);
    assert_int_equal(heard, 1);
    assert_true(left->known);
    assert_true(left->unread);
    seat = open_again(left);
    assert_non_null(seat);
    for (int i = 0; i < 3; i++)
        assert_true(hear(seat, ABI_RX, ABI_SAID_BEGINS, 0, answer));
    close_seat(seat);
    finish();
    assert_int_equal(heard, 1);
    assert_int_equal(closed, 2);
}

/* Within a body its end is not known there: with the next head it goes on. */
static void within_a_body_the_next_head_is_waited_for(void **state)
{
    struct seat *seat = open_seat();
    struct stream_state *left;

    (void)state;
    assert_true(say(
        seat, 0, BYTES("POST /0 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 30\r\n\r\n0123")));
    left = leave(seat);
    assert_true(left->known);
    assert_true(left->up.waits);
    seat = open_again(left);
    assert_true(hear(seat, ABI_TX, 0, 0, BYTES("GET /9 HTTP/1.1\r\n\r\n012")));
    assert_true(ask(seat, 0, 1));
    close_seat(seat);
    finish();
    assert_int_equal(heard, 2);
    assert_int_equal(out_of_order, 0);
    assert_string_equal(error, "");
}

static void a_worker_may_end_first(void **state)
{
    struct seat *seat = open_seat();

    (void)state;
    assert_true(ask(seat, 0, 0));
    lane_send(lane);
    close_seat(seat);
    finish();
    assert_int_equal(heard, 1);
    assert_int_equal(closed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_comes_in_order, begin, end),
        cmocka_unit_test_setup_teardown(what_has_no_room_is_lost, begin, end),
        cmocka_unit_test_setup_teardown(a_mark_is_passed_when_what_is_before_it_was_told, begin,
                                        end),
        cmocka_unit_test_setup_teardown(it_is_read_on_where_it_was_left, begin, end),
        cmocka_unit_test_setup_teardown(what_was_not_read_is_not_read_there_either, begin, end),
        cmocka_unit_test_setup_teardown(within_a_body_the_next_head_is_waited_for, begin, end),
        cmocka_unit_test_setup_teardown(a_worker_may_end_first, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
