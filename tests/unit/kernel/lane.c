/* The way to a worker: in order, bounded, and what has no room is counted. A real worker; what it
 * tells is heard in the place of the bus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <semaphore.h>
#include <stdio.h>

#include "proxy/kernel/lane.h"

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

static struct seat *open_seat(void)
{
    const struct lane_opening opening = {
        .origin = {.dst = {.ip = {[10] = 0xff, [11] = 0xff, 203, 0, 113, 10}, .port = 80}},
        .pod = &pod,
    };

    assert_int_equal(limits_admit(&limits, &pod), LIMIT_NONE);
    return lane_open(lane, &opening);
}

static bool say(struct seat *seat, uint64_t lost, struct span bytes)
{
    static struct abi_said said;

    said.kind = ABI_SAID_BYTES;
    said.flags = ABI_SAID_BEGINS;
    said.len = (uint32_t)bytes.len;
    memcpy(said.bytes, bytes.data, bytes.len);
    return lane_said(lane, seat, &said, lost);
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
    assert_string_equal(error, "16000 bytes of it were lost on their way to the agent");
    sem_destroy(&may_go_on);
    sem_destroy(&is_there);
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
        cmocka_unit_test_setup_teardown(a_worker_may_end_first, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
