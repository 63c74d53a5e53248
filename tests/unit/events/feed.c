/* feed: subscribers over real sockets behind a real bus. The events are exits; their number is
 * their status. */
#include "sample.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "events/feed.h"

enum { TEXT = 8 << 20 };

struct stage {
    struct bus *bus;
    struct bus_producer *producer;
    struct feed *feed;
};

static void stage_open(struct stage *stage)
{
    struct bus_tap tap;

    assert_int_equal(feed_new(&stage->feed, "n1", NULL), 0);
    assert_int_equal(bus_new(&stage->bus, NULL, 0, NULL), 0);
    tap = feed_tap(stage->feed);
    assert_int_equal(bus_add_tap(stage->bus, &tap, NULL), 0);
    assert_int_equal(bus_producer_new(&stage->producer, stage->bus, "test", 32768, NULL), 0);
}

static void stage_close(struct stage *stage)
{
    bus_free(&stage->bus);
    feed_free(&stage->feed);
}

static void emit_kind(struct stage *stage, enum flow_event_kind kind, uint32_t number)
{
    struct flow_event *event = flow_event_new(kind, &curl, NULL);

    event->exit.status = number;
    bus_emit(stage->producer, &event);
}

static void emit(struct stage *stage, uint32_t from, uint32_t to)
{
    for (uint32_t number = from; number <= to; number++)
        emit_kind(stage, FLOW_EVENT_EXIT, number);
    bus_flush(stage->bus);
}

/* The reader's end; the greeting was read from it, so it is in its place. */
static int follow(struct stage *stage, const char *types, uint64_t since_ns)
{
    struct feed_order order = {.greeting = "hello", .json = true, .since_ns = since_ns};
    char greeting[6];
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    order.fd = ends[1];
    assert_int_equal(filter_new(&order.filter, NULL), 0);
    if (types)
        assert_int_equal(filter_add(order.filter, FILTER_TYPES, types, NULL), 0);
    assert_int_equal(feed_add(stage->feed, &order, NULL), 0);
    assert_int_equal(order.fd, -1);
    assert_null(order.filter);
    assert_int_equal(recv(ends[0], greeting, 6, MSG_WAITALL), 6);
    assert_memory_equal(greeting, "hello\n", 6);
    return ends[0];
}

/* What a reader got, line by line. */
struct got {
    uint64_t lines, events, lost;
    uint32_t first, last;     /* statuses */
    unsigned long long begin; /* how many events came before the first loss */
    bool in_order;            /* seq without gap, statuses grow */
};

static void read_line(struct got *got, const char *line)
{
    const char *seq = strstr(line, "\"seq\":\""), *status = strstr(line, "\"status\":");
    const char *count = strstr(line, "\"count\":\"");

    assert_non_null(seq);
    got->in_order &= strtoull(seq + 7, NULL, 10) == ++got->lines;
    if (count) {
        got->lost += strtoull(count + 9, NULL, 10);
        if (!got->begin)
            got->begin = got->events;
    } else if (status) {
        uint32_t number = (uint32_t)strtoul(status + 9, NULL, 10);

        got->in_order &= !got->events || number > got->last;
        got->first = got->events ? got->first : number;
        got->last = number;
        got->events++;
    }
}

/* Reads until an exit with this status was told, or the end for status 0. */
static struct got read_until(int fd, uint32_t status)
{
    CLEANUP(text_free) char *text = malloc(TEXT);
    struct got got = {.in_order = true};
    size_t len = 0;

    while (!got.events || got.last != status) {
        ssize_t n = recv(fd, text + len, TEXT - len - 1, 0);
        char *line = text, *end;

        assert_true(n >= 0);
        if (n == 0)
            break;
        len += (size_t)n;
        while ((end = memchr(line, '\n', len - (size_t)(line - text)))) {
            *end = 0;
            read_line(&got, line);
            line = end + 1;
        }
        len -= (size_t)(line - text);
        memmove(text, line, len);
    }
    assert_int_equal(len, 0);
    return got;
}

static void tells_each_what_it_asked_for(void **state)
{
    struct stage stage;
    struct got got;
    int all, some;

    (void)state;
    stage_open(&stage);
    all = follow(&stage, NULL, 0);
    some = follow(&stage, "exit", 0);
    for (uint32_t i = 0; i < 10; i++)
        emit_kind(&stage, FLOW_EVENT_EXEC, 0);
    emit(&stage, 1, 100);
    got = read_until(all, 100);
    assert_int_equal(got.lines, 110);
    assert_true(got.in_order);
    got = read_until(some, 100);
    assert_int_equal(got.lines, 100);
    assert_int_equal(got.first, 1);
    assert_true(got.in_order);
    stage_close(&stage);
    close(all);
    close(some);
}

/* One does not read at all while more than the history holds goes by; the other misses nothing. */
static void a_slow_one_loses_alone_and_is_told(void **state)
{
    enum { MANY = 60000, STEP = 2000 };
    struct stage stage;
    struct got fast = {.in_order = true}, slow;
    int fast_fd, slow_fd;

    (void)state;
    stage_open(&stage);
    fast_fd = follow(&stage, "exit", 0);
    slow_fd = follow(&stage, "exit", 0);
    for (uint32_t i = 0; i < MANY; i += STEP) {
        emit(&stage, i + 1, i + STEP);
        for (uint32_t j = 0; j < 100; j++)
            emit_kind(&stage, FLOW_EVENT_EXEC, 0); /* not theirs: not counted as lost */
        fast = read_until(fast_fd, i + STEP);
        assert_int_equal(fast.events, STEP);
        assert_int_equal(fast.first, i + 1);
        assert_int_equal(fast.lost, 0);
    }
    slow = read_until(slow_fd, MANY);
    assert_true(slow.in_order);
    assert_int_equal(slow.first, 1);
    assert_true(slow.lost > 0);
    assert_true(slow.begin > 0); /* what it was told before the gap */
    assert_true(slow.begin < slow.events);
    assert_int_equal(slow.events + slow.lost, MANY);
    assert_int_equal(feed_missed(stage.feed), slow.lost);
    emit(&stage, MANY + 1, MANY + 10); /* it has caught up */
    assert_int_equal(read_until(slow_fd, MANY + 10).events, 10);
    stage_close(&stage);
    close(fast_fd);
    close(slow_fd);
}

static void begins_in_the_past(void **state)
{
    struct stage stage;
    struct got got;
    uint64_t middle;
    int fd;

    (void)state;
    stage_open(&stage);
    emit(&stage, 1, 50);
    middle = flow_event_now();
    emit(&stage, 51, 100);
    fd = follow(&stage, "exit", 1);
    got = read_until(fd, 100);
    assert_int_equal(got.events, 100);
    assert_true(got.in_order);
    close(fd);
    fd = follow(&stage, "exit", middle);
    emit(&stage, 101, 110); /* goes on with what comes */
    got = read_until(fd, 110);
    assert_int_equal(got.first, 51);
    assert_int_equal(got.events, 60);
    close(fd);
    fd = follow(&stage, "exit", flow_event_now() + 1000000000);
    emit(&stage, 111, 111);
    assert_int_equal(read_until(fd, 111).events, 1);
    close(fd);
    assert_int_equal(feed_begins_ns(stage.feed), 0);
    stage_close(&stage);
}

/* More than a socket's buffer takes at once, and more than one turn gives. */
static void the_whole_history_comes(void **state)
{
    enum { LAST = (FEED_EVENTS / 100 + 2) * 100 };
    struct stage stage;
    struct got got;
    int fd;

    (void)state;
    stage_open(&stage);
    for (uint32_t i = 0; i < LAST; i += 100)
        emit(&stage, i + 1, i + 100);
    fd = follow(&stage, NULL, 1);
    got = read_until(fd, LAST);
    assert_true(got.in_order);
    assert_int_equal(got.lost, 0);
    assert_true(got.events > 1000 && got.events <= FEED_EVENTS);
    assert_int_not_equal(feed_begins_ns(stage.feed), 0);
    close(fd);
    stage_close(&stage);
}

static void who_has_left_is_forgotten(void **state)
{
    struct stage stage;
    char junk[100000] = "";
    int fds[FEED_SUBSCRIBERS];

    (void)state;
    stage_open(&stage);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < FEED_SUBSCRIBERS; i++)
            fds[i] = follow(&stage, NULL, 0);
        assert_int_equal(feed_subscribers(stage.feed), FEED_SUBSCRIBERS);
        emit(&stage, 1, 10);
        for (int i = 0; i < FEED_SUBSCRIBERS; i++) {
            send(fds[i], junk, sizeof(junk), MSG_DONTWAIT); /* followers have nothing to say */
            close(fds[i]);
        }
        for (int turn = 0; turn < 20; turn++)
            bus_flush(stage.bus);
        assert_int_equal(feed_subscribers(stage.feed), 0);
    }
    stage_close(&stage);
}

/* Without a flush: what was emitted may be in the rings yet. More than a turn gives, too. */
static void who_shuts_its_end_gets_the_rest(void **state)
{
    enum { ROUNDS = 10, MANY = 3000 };
    struct stage stage;
    struct got got;

    (void)state;
    stage_open(&stage);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t last = round + 1 < ROUNDS ? 3 : MANY;
        int fd = follow(&stage, "exit", 0);

        for (uint32_t number = 1; number <= last; number++)
            emit_kind(&stage, FLOW_EVENT_EXIT, number);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        got = read_until(fd, 0);
        assert_int_equal(got.events, last);
        assert_true(got.in_order);
        close(fd);
    }
    assert_int_equal(feed_missed(stage.feed), 0);
    stage_close(&stage);
}

static void lets_in_so_many(void **state)
{
    struct feed_order order = {.greeting = "hello"};
    int fds[FEED_SUBSCRIBERS], ends[2];
    struct stage stage;
    struct err err;

    (void)state;
    stage_open(&stage);
    for (int i = 0; i < FEED_SUBSCRIBERS; i++)
        fds[i] = follow(&stage, NULL, 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    order.fd = ends[1];
    assert_int_equal(filter_new(&order.filter, NULL), 0);
    assert_int_equal(feed_add(stage.feed, &order, &err), -EBUSY);
    assert_int_equal(order.fd, ends[1]); /* still ours */
    close(ends[0]);
    close(ends[1]);
    filter_free(&order.filter);
    for (int i = 0; i < FEED_SUBSCRIBERS; i++)
        close(fds[i]);
    stage_close(&stage);
}

/* Another agent takes over: readers get what was told until then, and go there. */
static void sends_all_to_the_next_one(void **state)
{
    struct feed_order order = {.greeting = "hello", .fd = -1};
    struct stage stage;
    struct got got;
    struct err err;
    int reader, slow;

    (void)state;
    stage_open(&stage);
    reader = follow(&stage, "exit", 0);
    slow = follow(&stage, "exit", 0);
    emit(&stage, 1, 1000);
    feed_dismiss(stage.feed);
    bus_flush(stage.bus); /* its turn ends before the next begins */
    emit(&stage, 1001, 2000);
    got = read_until(reader, 0);
    assert_int_equal(got.events, 1000);
    assert_int_equal(got.lost, 0);
    assert_int_equal(read_until(slow, 0).events, 1000);
    assert_int_equal(feed_subscribers(stage.feed), 0);
    assert_int_equal(feed_add(stage.feed, &order, &err), -ESHUTDOWN);
    stage_close(&stage);
    close(reader);
    close(slow);
}

/* The end: readers get what is left and the end of the stream; one who does not read is not waited
 * for for ever. */
static void says_its_last_words(void **state)
{
    struct stage stage;
    struct got got;
    int reader, sleeper;

    (void)state;
    stage_open(&stage);
    reader = follow(&stage, "exit", 0);
    sleeper = follow(&stage, "exit", 0);
    for (uint32_t i = 1; i <= 150; i++) /* as much as its socket takes */
        emit_kind(&stage, FLOW_EVENT_EXIT, i);
    stage_close(&stage);
    got = read_until(reader, 0);
    assert_int_equal(got.events, 150);
    assert_true(got.in_order);
    close(reader);
    close(sleeper);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_each_what_it_asked_for),
        cmocka_unit_test(a_slow_one_loses_alone_and_is_told),
        cmocka_unit_test(begins_in_the_past),
        cmocka_unit_test(the_whole_history_comes),
        cmocka_unit_test(who_has_left_is_forgotten),
        cmocka_unit_test(who_shuts_its_end_gets_the_rest),
        cmocka_unit_test(lets_in_so_many),
        cmocka_unit_test(sends_all_to_the_next_one),
        cmocka_unit_test(says_its_last_words),
    };

    return cmocka_run_group_tests(tests, NULL, sample_forget);
}
