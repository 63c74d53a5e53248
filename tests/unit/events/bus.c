#include "sample.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "events/bus.h"

enum { PRODUCERS = 4, EACH = 20000 };

/* What the sinks of these tests were told; by the event thread, read when the bus is gone or
 * flushed. An exit's status is its number, its signal the producer's. */
static struct {
    uint32_t next[PRODUCERS]; /* the number expected of each */
    uint64_t delivered, lost, lines;
    uint32_t last; /* the status told last */
    bool in_order;
    char reason[64];
    pthread_mutex_t *gate; /* held by a test: the sink is stuck */
} told;

static void render_check(struct sink *sink, const struct flow_event *event, struct buffer *out)
{
    if (told.gate) {
        pthread_mutex_lock(told.gate);
        pthread_mutex_unlock(told.gate);
    }
    told.lines++;
    if (sink->seq + 1 != told.lines)
        told.in_order = false;
    buffer_append(out, "\n", 1);
    if (event->kind == FLOW_EVENT_LOST) {
        told.lost += event->lost.count;
        snprintf(told.reason, sizeof(told.reason), "%s", event->lost.reason);
        return;
    }
    if (event->exit.status < told.next[event->exit.signal] || event->ticket != told.delivered)
        told.in_order = false;
    told.next[event->exit.signal] = event->exit.status + 1;
    told.last = event->exit.status;
    told.delivered++;
}

struct stage {
    struct sink sink;
    int fd;
    struct bus *bus;
};

static void stage_open(struct stage *stage)
{
    memset(&told, 0, sizeof(told));
    told.in_order = true;
    stage->fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    sink_init(&stage->sink, render_check, stage->fd, "", false);
    assert_int_equal(bus_new(&stage->bus, &stage->sink, 1, NULL), 0);
}

static void stage_close(struct stage *stage)
{
    bus_free(&stage->bus);
    assert_null(stage->bus);
    sink_fini(&stage->sink);
    fd_close(&stage->fd);
}

static void emit(struct bus_producer *producer, uint32_t who, uint32_t number)
{
    struct flow_event *event = flow_event_new(FLOW_EVENT_EXIT, &curl, NULL);

    event->exit.signal = who;
    event->exit.status = number;
    bus_emit(producer, &event);
    assert_null(event);
}

struct worker {
    pthread_t thread;
    struct bus *bus;
    uint32_t who;
    size_t capacity;
};

static void *produce(void *arg)
{
    struct worker *worker = arg;
    struct bus_producer *producer;

    if (bus_producer_new(&producer, worker->bus, "worker", worker->capacity, NULL) < 0)
        abort();
    for (uint32_t i = 0; i < EACH; i++)
        emit(producer, worker->who, i);
    return NULL;
}

static void run_producers(struct bus *bus, size_t capacity)
{
    struct worker workers[PRODUCERS];

    for (uint32_t i = 0; i < PRODUCERS; i++) {
        workers[i] = (struct worker){.bus = bus, .who = i, .capacity = capacity};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, produce, &workers[i]), 0);
    }
    for (uint32_t i = 0; i < PRODUCERS; i++)
        pthread_join(workers[i].thread, NULL);
}

static void loses_nothing_in_big_rings(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    run_producers(stage.bus, EACH);
    stage_close(&stage);
    assert_int_equal(told.delivered, PRODUCERS * EACH);
    assert_int_equal(told.lost, 0);
    assert_true(told.in_order);
}

static void tells_every_loss_of_small_rings(void **state)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    struct stage stage;

    (void)state;
    stage_open(&stage);
    told.gate = &gate;
    pthread_mutex_lock(&gate); /* the sink is stuck until all was emitted */
    run_producers(stage.bus, 8);
    pthread_mutex_unlock(&gate);
    stage_close(&stage);
    assert_true(told.lost > 0);
    assert_true(told.delivered >= PRODUCERS * 8);
    assert_int_equal(told.delivered + told.lost, PRODUCERS * EACH);
    assert_true(told.in_order); /* also: what was delivered has tickets without a gap */
    assert_string_equal(told.reason, "worker ring full");
}

static void adds_up_while_rings_overflow_now_and_then(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    run_producers(stage.bus, 64);
    stage_close(&stage);
    assert_int_equal(told.delivered + told.lost, PRODUCERS * EACH);
    assert_true(told.in_order);
}

static void counts_an_event_there_was_no_memory_for(void **state)
{
    struct flow_event *none = NULL;
    struct bus_producer *producer;
    struct stage stage;

    (void)state;
    stage_open(&stage);
    assert_int_equal(bus_producer_new(&producer, stage.bus, "control", 4, NULL), 0);
    bus_emit(producer, &none);
    bus_emit(producer, &none);
    bus_flush(stage.bus);
    assert_int_equal(told.lost, 2);
    assert_string_equal(told.reason, "control out of memory");
    stage_close(&stage);
}

static void flush_waits_for_what_came_before(void **state)
{
    struct bus_producer *producer;
    struct stage stage;

    (void)state;
    stage_open(&stage);
    assert_int_equal(bus_producer_new(&producer, stage.bus, "control", 16, NULL), 0);
    for (uint32_t i = 0; i < 200; i++) {
        emit(producer, 0, i);
        bus_flush(stage.bus);
        assert_int_equal(told.delivered, i + 1);
        assert_int_equal(stage.sink.pending.len, 0);
    }
    stage_close(&stage);
}

static void delivers_without_a_flush_or_a_full_ring(void **state)
{
    CLEANUP(sink_fini) struct sink sink;
    struct bus_producer *producer;
    struct bus *bus;
    char text[64];
    int ends[2];

    (void)state;
    memset(&told, 0, sizeof(told));
    assert_int_equal(pipe(ends), 0);
    sink_init(&sink, render_check, ends[1], "", false);
    assert_int_equal(bus_new(&bus, &sink, 1, NULL), 0);
    assert_int_equal(bus_producer_new(&producer, bus, "control", 1024, NULL), 0);
    emit(producer, 0, 0);
    assert_int_equal(read(ends[0], text, sizeof(text)), 1); /* blocks until the timer's turn */
    bus_free(&bus);
    close(ends[0]);
    close(ends[1]);
}

static void a_flush_tells_what_a_sink_could_not_write(void **state)
{
    CLEANUP(fd_close) int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct bus_producer *producer;
    struct stage stage;

    (void)state;
    stage_open(&stage);
    stage.sink.fd = full;
    assert_int_equal(bus_producer_new(&producer, stage.bus, "control", 16, NULL), 0);
    emit(producer, 0, 0);
    bus_flush(stage.bus);
    assert_int_equal(stage.sink.lost, 1);
    stage.sink.fd = stage.fd; /* it works again, and nothing else happens */
    bus_flush(stage.bus);
    assert_int_equal(stage.sink.lost, 0);
    assert_int_equal(told.lost, 1);
    stage_close(&stage);
}

/* "SEQ LOST\n", 0 for an event. */
static void render_count(struct sink *sink, const struct flow_event *event, struct buffer *out)
{
    buffer_format(out, "%llu %llu\n", (unsigned long long)sink->seq + 1,
                  event->kind == FLOW_EVENT_LOST ? (unsigned long long)event->lost.count : 0);
}

/* A full disk, as far as a process can make one: what would grow past the limit fails. */
static void limit_file_size(rlim_t size)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size < limit.rlim_max ? size : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Emits until the file has this size; returns how many. */
static uint64_t emit_until(struct bus_producer *producer, int fd, off_t size)
{
    uint64_t emitted = 0;
    struct stat stat;

    do {
        emit(producer, 0, 0);
        emitted++;
        assert_int_equal(fstat(fd, &stat), 0);
    } while (stat.st_size < size);
    return emitted;
}

/* Rings overflow and the disk is full, again and again: the file itself says what is missing. */
static void what_a_file_has_and_tells_lost_is_all(void **state)
{
    FILE *file = tmpfile();
    CLEANUP(sink_fini) struct sink sink;
    struct worker workers[PRODUCERS];
    unsigned long long seq, lost, lines = 0, delivered = 0, missing = 0;
    uint64_t emitted = PRODUCERS * EACH;
    struct bus_producer *producer;
    struct bus *bus;

    (void)state;
    assert_non_null(file);
    sink_init(&sink, render_count, fileno(file), "", false);
    assert_int_equal(bus_new(&bus, &sink, 1, NULL), 0);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        workers[i] = (struct worker){.bus = bus, .who = i, .capacity = 512};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, produce, &workers[i]), 0);
    }
    assert_int_equal(bus_producer_new(&producer, bus, "control", 64, NULL), 0);
    for (off_t full = 2001; full < 20000; full += 2001) { /* in the middle of lines, mostly */
        limit_file_size((rlim_t)full);
        emitted += emit_until(producer, fileno(file), full);
        bus_flush(bus); /* fails, and counts */
    }
    limit_file_size(RLIM_INFINITY);
    for (uint32_t i = 0; i < PRODUCERS; i++)
        pthread_join(workers[i].thread, NULL);
    bus_free(&bus);
    rewind(file);
    while (fscanf(file, "%llu %llu\n", &seq, &lost) == 2) {
        assert_int_equal(seq, ++lines);
        delivered += lost == 0;
        missing += lost;
    }
    assert_true(feof(file));
    assert_int_equal(sink.lost, 0);
    assert_true(missing > 0);
    assert_int_equal(delivered + missing, emitted);
    fclose(file);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Without the wake every round would take the timer's 20 ms, as each begins right after a turn;
 * the quickest counts, so that a busy machine does no harm. */
static void a_half_full_ring_does_not_wait_for_the_timer(void **state)
{
    CLEANUP(sink_fini) struct sink sink;
    uint64_t quickest = UINT64_MAX;
    struct bus_producer *producer;
    struct bus *bus;
    int ends[2];

    (void)state;
    memset(&told, 0, sizeof(told));
    assert_int_equal(pipe(ends), 0);
    sink_init(&sink, render_check, ends[1], "", false);
    assert_int_equal(bus_new(&bus, &sink, 1, NULL), 0);
    assert_int_equal(bus_producer_new(&producer, bus, "control", 64, NULL), 0);
    for (uint32_t round = 0; round < 20; round++) {
        uint64_t start = now_ns();
        char byte;

        for (uint32_t i = 0; i < 48; i++)
            emit(producer, 0, round * 48 + i);
        for (uint32_t i = 0; i < 48; i++)
            assert_int_equal(read(ends[0], &byte, 1), 1);
        if (now_ns() - start < quickest)
            quickest = now_ns() - start;
    }
    assert_true(quickest < 10000000);
    bus_free(&bus);
    close(ends[0]);
    close(ends[1]);
}

/* Two threads pass a baton: each emits one, then lets the other. What happened before is told
 * before, although it waits in another ring. */
struct baton {
    struct bus_producer *producers[2];
    atomic_uint turn;
};

static void *play_second(void *arg)
{
    struct baton *baton = arg;

    for (uint32_t i = 0; i < EACH; i++) {
        while (atomic_load(&baton->turn) != 2 * i + 1)
            sched_yield();
        emit(baton->producers[1], 0, 2 * i + 1);
        atomic_store(&baton->turn, 2 * i + 2);
    }
    return NULL;
}

static void tells_in_the_order_things_happened(void **state)
{
    struct baton baton = {.turn = 0};
    struct stage stage;
    pthread_t second;

    (void)state;
    stage_open(&stage);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(bus_producer_new(&baton.producers[i], stage.bus, "w", EACH, NULL), 0);
    assert_int_equal(pthread_create(&second, NULL, play_second, &baton), 0);
    for (uint32_t i = 0; i < EACH; i++) {
        while (atomic_load(&baton.turn) != 2 * i)
            sched_yield();
        emit(baton.producers[0], 0, 2 * i);
        atomic_store(&baton.turn, 2 * i + 1);
    }
    pthread_join(second, NULL);
    stage_close(&stage);
    assert_int_equal(told.delivered, 2 * EACH);
    assert_int_equal(told.last, 2 * EACH - 1);
    assert_true(told.in_order);
}

static void other_sinks_take_over_between_two_events(void **state)
{
    struct stage stage;
    struct bus_producer *producer;
    struct sink other;

    (void)state;
    stage_open(&stage);
    assert_int_equal(bus_producer_new(&producer, stage.bus, "one", EACH, NULL), 0);
    sink_init(&other, render_check, stage.fd, "", false);
    for (uint32_t i = 0; i < 100; i++)
        emit(producer, 0, i);
    bus_redirect(stage.bus, &other, 1);
    assert_int_equal(told.delivered, 100);
    assert_int_equal(stage.sink.seq, 100);
    told.lines = 0; /* the other counts for itself */
    for (uint32_t i = 100; i < 250; i++)
        emit(producer, 0, i);
    bus_flush(stage.bus);
    assert_int_equal(told.delivered, 250);
    assert_int_equal(stage.sink.seq, 100);
    assert_int_equal(other.seq, 150);
    assert_true(told.in_order);
    stage_close(&stage);
    sink_fini(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_sinks_take_over_between_two_events),
        cmocka_unit_test(loses_nothing_in_big_rings),
        cmocka_unit_test(tells_every_loss_of_small_rings),
        cmocka_unit_test(adds_up_while_rings_overflow_now_and_then),
        cmocka_unit_test(counts_an_event_there_was_no_memory_for),
        cmocka_unit_test(flush_waits_for_what_came_before),
        cmocka_unit_test(delivers_without_a_flush_or_a_full_ring),
        cmocka_unit_test(a_flush_tells_what_a_sink_could_not_write),
        cmocka_unit_test(what_a_file_has_and_tells_lost_is_all),
        cmocka_unit_test(a_half_full_ring_does_not_wait_for_the_timer),
        cmocka_unit_test(tells_in_the_order_things_happened),
    };

    signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
