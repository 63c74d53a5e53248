/* Promise: nobody takes a ring buffer for read while a record of it is being written, behind which
 * others lie: a connection does not end before what was said on it; and nobody takes what workers
 * have yet to handle for heard. */
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "proxy/identity/identity.h"
#include "proxy/kernel/lane.h"
#include "proxy/kernel/ring.h"
#include "proxy/limits.h"
#include "proxy/pods/pods.h"
#include "proxy/ringbuf.h"
#include "proxy/sockets.h"
#include "proxy/worker.h"
#include "tests/bpf/busy.h"

#include "busy.skel.h" /* which needs the one before */

static struct busy_bpf *bpf;
static pthread_t slow;
static cpu_set_t may; /* processors that we may use */
static struct pod pod = {.space = (char *)"shop", .name = (char *)"cart"};

/* ---- in the place of what ring.c leads to: what is told, in order ---- */

static char told[256];
static bool lane_is_behind; /* what it was sent */
static uint64_t heard_ns;

static void tell(const char *what, uint64_t number)
{
    size_t len = strlen(told);

    snprintf(told + len, sizeof(told) - len, "%s %u; ", what, (unsigned)number);
}

struct seat {
    uint64_t cookie;
};

struct lane *lane_new(struct worker *worker)
{
    return (struct lane *)worker;
}

void lane_free(struct lane **lane)
{
    *lane = NULL;
}

struct seat *lane_open(struct lane *lane, const struct lane_opening *opening)
{
    struct seat *seat = malloc(sizeof(*seat));

    (void)lane;
    assert_non_null(seat);
    seat->cookie = opening->origin.cookie;
    return seat;
}

bool lane_said(struct lane *lane, struct seat *seat, const struct abi_said *said, uint64_t lost)
{
    (void)lane;
    assert_int_equal(lost, 0);
    assert_int_equal(said->cookie, seat->cookie);
    tell("said", seat->cookie);
    return true;
}

void lane_close(struct lane *lane, struct seat *seat, const struct stream_closing *closing)
{
    (void)lane, (void)closing;
    tell("closed", seat->cookie);
    free(seat);
}

void lane_send(struct lane *lane)
{
    (void)lane;
}

void lane_mark(struct lane *lane)
{
    (void)lane;
}

bool lane_is_past_mark(const struct lane *lane)
{
    (void)lane;
    return !lane_is_behind;
}

void lane_refuse(struct lane *lane, const struct lane_opening *opening)
{
    (void)lane, (void)opening;
    fail();
}

void lane_ktls(struct lane *lane, struct seat *seat, const struct abi_ktls *record)
{
    (void)lane, (void)seat, (void)record;
    fail();
}

void lane_process(struct lane *lane, struct seat *seat, struct process *process)
{
    (void)lane, (void)seat, (void)process;
    fail();
}

void stream_state_free(struct stream_state **state)
{
    assert_null(*state);
}

void identity_catch_up(struct identity *identity)
{
    (void)identity;
}

struct process *identity_flow_begin(struct identity *identity, uint32_t pid, uint64_t start_ns,
                                    uint64_t pod_id)
{
    (void)identity, (void)pid, (void)start_ns, (void)pod_id;
    return NULL;
}

void identity_flow_end(struct identity *identity, struct process **process)
{
    (void)identity, (void)process;
    fail();
}

void sockets_heard(struct sockets *sockets, uint64_t until_ns)
{
    (void)sockets;
    heard_ns = until_ns;
}

void sockets_accepted(struct sockets *sockets, const struct origin *origin, struct process *process,
                      struct pod *of)
{
    (void)sockets, (void)origin, (void)process, (void)of;
}

void sockets_flow_done(struct sockets *sockets, struct sockets_flow **flow)
{
    (void)sockets, (void)flow;
    fail();
}

struct pod *pods_find(struct pods *pods, uint64_t cgroup_id)
{
    (void)pods, (void)cgroup_id;
    return &pod;
}

enum limit limits_admit_stream(struct limits *limits, struct pod *of)
{
    (void)limits, (void)of;
    return LIMIT_NONE;
}

const char *limits_reason(enum limit what)
{
    (void)what;
    return "";
}

size_t limits_refuse(struct limits *limits, enum limit what, uint64_t now_ns, char *line,
                     size_t size)
{
    (void)limits, (void)what, (void)now_ns, (void)line, (void)size;
    return 0;
}

unsigned worker_load(const struct worker *worker)
{
    (void)worker;
    return 0;
}

/* ---- what is said ---- */

static bool run(const struct bpf_program *program)
{
    LIBBPF_OPTS(bpf_test_run_opts, opts);

    return bpf_prog_test_run_opts(bpf_program__fd(program), &opts) == 0 && opts.retval == 0;
}

static void set_piece(uint64_t cookie)
{
    struct abi_said *piece = (void *)&bpf->bss->piece;

    piece->kind = ABI_SAID_BYTES;
    piece->direction = 0;
    piece->cookie = cookie;
    piece->time_ns = clock_read_ns(CLOCK_BOOTTIME);
    piece->len = sizeof(bpf->bss->piece.bytes);
}

static void say(uint64_t cookie)
{
    set_piece(cookie);
    assert_true(run(bpf->progs.say));
}

/* The first processor that we may use for us, or the second one for who takes it whole. */
static void stay_on(pthread_t thread, int which)
{
    cpu_set_t one;
    int at = 0;

    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &may) && at++ == which)
            CPU_SET(cpu, &one);
    assert_int_equal(pthread_setaffinity_np(thread, sizeof(one), &one), 0);
}

static void *say_slowly(void *arg)
{
    (void)arg;
    stay_on(pthread_self(), 1);
    return run(bpf->progs.say_slowly) ? NULL : bpf;
}

/* It is being written until end_slowly(). */
static void begin_slowly(uint64_t cookie)
{
    set_piece(cookie);
    bpf->bss->reserved = bpf->bss->release = 0;
    assert_int_equal(pthread_create(&slow, NULL, say_slowly, NULL), 0);
    while (!bpf->bss->reserved)
        sched_yield();
}

static void end_slowly(void)
{
    void *failed;

    bpf->bss->release = 1;
    assert_int_equal(pthread_join(slow, &failed), 0);
    assert_null(failed);
}

static int count(void *arg, void *data, size_t len)
{
    size_t *most = arg;
    const struct abi_said *said = data;

    assert_int_equal(len, sizeof(struct busy_piece));
    tell("read", said->cookie);
    return --*most ? 0 : -EAGAIN;
}

/* ---- tests ---- */

static void test_a_turn_says_what_is_left(void **state)
{
    CLEANUP(ringbuf_free) struct ringbuf *ringbuf = NULL;
    size_t most = 2;
    struct err err;

    (void)state;
    assert_int_equal(ringbuf_new(&ringbuf, bpf_map__fd(bpf->maps.said), count, &most, &err), 0);
    assert_int_equal(ringbuf_read(ringbuf), RINGBUF_ALL);
    for (uint64_t cookie = 1; cookie <= 3; cookie++)
        say(cookie);
    assert_int_equal(ringbuf_read(ringbuf), RINGBUF_MORE);
    most = 9;
    assert_int_equal(ringbuf_read(ringbuf), RINGBUF_ALL);
    begin_slowly(4);
    say(5);
    assert_int_equal(ringbuf_read(ringbuf), RINGBUF_BUSY);
    end_slowly();
    assert_int_equal(ringbuf_read(ringbuf), RINGBUF_ALL);
    assert_string_equal(told, "read 1; read 2; read 3; read 4; read 5; ");
}

static void begin_connection(struct ring *ring, uint64_t cookie)
{
    const struct abi_socket record = {
        .kind = ABI_SOCKET_CONNECT,
        .flags = ABI_SOCKET_KERNEL,
        .protocol = IPPROTO_TCP,
        .cookie = cookie,
        .pod = 1,
        .time_ns = clock_read_ns(CLOCK_BOOTTIME),
    };

    ring_on_socket(ring, &record);
}

static void end_connection(struct ring *ring, uint64_t cookie)
{
    const struct abi_socket record = {
        .kind = ABI_SOCKET_CLOSE,
        .protocol = IPPROTO_TCP,
        .cookie = cookie,
        .time_ns = clock_read_ns(CLOCK_BOOTTIME),
    };

    ring_on_socket(ring, &record);
}

static struct ring *new_ring(struct event_base *base)
{
    static struct worker *const workers[] = {(struct worker *)&pod};
    const struct ring_parts parts = {
        .base = base,
        .said_fd = bpf_map__fd(bpf->maps.said),
        .workers = workers,
        .workers_len = 1,
    };
    struct ring *ring = NULL;
    struct err err;

    assert_int_equal(ring_new(&ring, &parts, &err), 0);
    return ring;
}

static void test_a_connection_ends_behind_what_was_said(void **state)
{
    CLEANUP(ring_free) struct ring *ring = new_ring(*state);

    begin_connection(ring, 1);
    begin_connection(ring, 2);
    begin_slowly(1);
    say(2);
    end_connection(ring, 2);
    ring_drain(ring);
    assert_string_equal(told, "");
    end_slowly();
    ring_drain(ring);
    assert_string_equal(told, "said 1; said 2; closed 2; ");
    ring_stop(ring);
    assert_string_equal(told, "said 1; said 2; closed 2; closed 1; ");
}

static void test_heard_is_what_workers_have_handled(void **state)
{
    CLEANUP(ring_free) struct ring *ring = new_ring(*state);
    uint64_t said_ns;

    begin_connection(ring, 1);
    say(1);
    end_connection(ring, 1);
    said_ns = clock_read_ns(CLOCK_BOOTTIME);
    ring_drain(ring);
    assert_string_equal(told, "said 1; closed 1; ");
    lane_is_behind = true;
    for (int i = 0; i < 3; i++)
        ring_drain(ring);
    assert_true(heard_ns < said_ns);
    lane_is_behind = false;
    ring_drain(ring);
    assert_true(heard_ns >= said_ns && heard_ns != UINT64_MAX);
    ring_stop(ring);
    assert_true(heard_ns == UINT64_MAX);
}

/* ---- set-up ---- */

static int begin(void **state)
{
    told[0] = 0;
    bpf = busy_bpf__open_and_load();
    *state = event_base_new();
    return bpf && *state ? 0 : -1;
}

static int end(void **state)
{
    event_base_free(*state);
    busy_bpf__destroy(bpf);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_turn_says_what_is_left, begin, end),
        cmocka_unit_test_setup_teardown(test_a_connection_ends_behind_what_was_said, begin, end),
        cmocka_unit_test_setup_teardown(test_heard_is_what_workers_have_handled, begin, end),
    };

    if (sched_getaffinity(0, sizeof(may), &may) < 0 || CPU_COUNT(&may) < 2) {
        printf("SKIP: who writes a record slowly takes the only processor\n");
        return 77;
    }
    stay_on(pthread_self(), 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
