/* leg: nothing that comes is left in the socket, however few reads it takes to find out. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "proxy/flow/leg.h"
#include "proxy/worker.h"

static struct worker worker;
static struct leg leg;
static char got[64];
static size_t got_len;
static ssize_t last;
static bool drained; /* the last read that gave bytes told so */

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)arg;
    leg_ready(&leg, what);
    if (last <= 0 && last != -EAGAIN) /* it is over */
        return;
    while ((last = leg_read(&leg, got + got_len, sizeof(got) - got_len)) > 0) {
        got_len += (size_t)last;
        drained = !leg.readable;
    }
}

enum then { NOTHING, END, RESET };

static const struct {
    const char *first, *urgent, *second; /* what the peer sends, one after the other */
    enum then then;
    const char *want;
    ssize_t last;
} cases[] = {
    {"all", NULL, NULL, NOTHING, "all", -EAGAIN},
    {"all", NULL, " the rest", NOTHING, "all the rest", -EAGAIN},
    {"all", NULL, NULL, END, "all", 0},
    {"all", NULL, NULL, RESET, "all", -ECONNRESET},
    {"", NULL, NULL, RESET, "", -ECONNRESET},
    {"all", "!", " the rest", NOTHING, "all the rest", -EAGAIN},
    {"all", "!", " the rest", END, "all the rest", 0},
};

static void connect_pair(int pair[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(pair[0], (struct sockaddr *)&at, len), 0);
    pair[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(pair[1] >= 0);
    close(listener);
}

static void say(int fd, const char *text, int flags)
{
    if (text && *text)
        assert_int_equal(send(fd, text, strlen(text), flags), strlen(text));
}

static void run(size_t i, bool watched_before)
{
    const struct linger none = {.l_onoff = 1};
    uint64_t late = clock_ns() + UINT64_C(2000000000);
    int pair[2];

    connect_pair(pair);
    got_len = 0;
    last = 1;
    drained = false;
    leg_init(&leg, &worker);
    if (watched_before) {
        assert_int_equal(leg_watch(&leg, pair[1], on_ready, NULL), 0);
        event_base_loop(worker.base, EVLOOP_NONBLOCK);
    }
    say(pair[0], cases[i].first, 0);
    say(pair[0], cases[i].urgent, MSG_OOB);
    say(pair[0], cases[i].second, 0);
    if (cases[i].then == END)
        shutdown(pair[0], SHUT_WR);
    if (cases[i].then == RESET)
        setsockopt(pair[0], SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    if (cases[i].then == RESET)
        close(pair[0]);
    if (!watched_before)
        assert_int_equal(leg_watch(&leg, pair[1], on_ready, NULL), 0);
    while ((got_len < strlen(cases[i].want) || last != cases[i].last) && clock_ns() < late)
        event_base_loop(worker.base, EVLOOP_NONBLOCK);
    if (got_len != strlen(cases[i].want) || memcmp(got, cases[i].want, got_len) != 0 ||
        last != cases[i].last)
        fail_msg("case %zu, watched %s: '%.*s', then %zd", i, watched_before ? "before" : "after",
                 (int)got_len, got, last);
    if (cases[i].then == NOTHING && !cases[i].urgent)
        assert_true(drained);
    leg_fini(&leg, false);
    if (cases[i].then != RESET)
        close(pair[0]);
}

static void all_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        run(i, true);
        run(i, false);
    }
}

/* Another process may have the socket: what happens to it is no concern of a leg that is gone. */
static void a_leg_that_is_gone_hears_nothing(void **state)
{
    const struct linger none = {.l_onoff = 1};
    int pair[2], other;

    (void)state;
    connect_pair(pair);
    other = dup(pair[1]);
    leg_init(&leg, &worker);
    assert_int_equal(leg_watch(&leg, pair[1], on_ready, NULL), 0);
    leg_fini(&leg, false);
    setsockopt(pair[0], SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    close(pair[0]);
    event_base_loop(worker.base, EVLOOP_NONBLOCK);
    assert_false(leg.unsure);
    close(other);
}

static int begin(void **state)
{
    (void)state;
    worker.base = event_base_new();
    worker.errors = epoll_create1(EPOLL_CLOEXEC);
    worker.on_error =
        event_new(worker.base, worker.errors, EV_READ | EV_PERSIST, leg_on_errors, NULL);
    return event_add(worker.on_error, NULL);
}

static int end(void **state)
{
    (void)state;
    event_free(worker.on_error);
    close(worker.errors);
    event_base_free(worker.base);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_read),
        cmocka_unit_test(a_leg_that_is_gone_hears_nothing),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
