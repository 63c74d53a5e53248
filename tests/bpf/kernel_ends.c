/* kernel_ends: what is held back of a connection of the kernel route does not wait for the kernel
 * programs to go: the connection ends, and its program learns of it. */
#include "spoken.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "heard.h"
#include "proxy/keeper/diag.h"
#include "proxy/kernel/ends.h"
#include "sallyport.skel.h"

#define GET  "GET /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n"
#define POST "POST /a HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 9999999\r\n\r\n"

enum { WAIT_NS = 1000000000, PATIENCE = 15, BODY = 1 << 20 };

static struct event_base *base;
static struct ends *ends;

/* ---- programs of the pod ---- */

struct at_work {
    int (*work)(int fd, const struct sockaddr_in *to);
    struct report report;
    pthread_t thread;
};

static void do_work(const void *arg, struct report *report)
{
    const struct at_work *at_work = arg;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(SPOKEN_PORT),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(report->cookie);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &report->cookie, &len);
    report->code = at_work->work(fd, &to);
    close(fd);
}

static void *run(void *arg)
{
    struct at_work *at_work = arg;

    bed_run(&fx.bed, "pod", fx.bed.pod, do_work, at_work, &at_work->report);
    return NULL;
}

/* What is written with a connect comes past send.bpf.c, and is found when it leaves. */
static int say_with_connect(int fd, const struct sockaddr_in *to)
{
    return sendto(fd, GET, sizeof(GET) - 1, MSG_FASTOPEN, (const struct sockaddr *)to,
                  sizeof(*to)) < 0
               ? -errno
               : 0;
}

static int say_and_wait(int fd, const struct sockaddr_in *to)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int code = say_with_connect(fd, to);
    char byte;

    if (code == 0 && poll(&wait, 1, PATIENCE * 1000) == 0)
        return -ETIMEDOUT; /* a recv() that waits gets EAGAIN in a sockhash, whatever comes */
    return code < 0 || recv(fd, &byte, 1, 0) >= 0 ? code : -errno;
}

static int allow_fast_open(const char *how)
{
    CLEANUP(fd_close)
    int fd = open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, how, 1) == 1 ? 0 : -errno;
}

/* ... or with the SYN itself. */
static int say_in_syn(int fd, const struct sockaddr_in *to)
{
    int code = allow_fast_open("5"); /* by clients, without a cookie */

    if (code == 0)
        code = say_with_connect(fd, to);
    allow_fast_open("1");
    return code;
}

/* More than the other end takes, all of it allowed. */
static int leave_much_behind(int fd, const struct sockaddr_in *to)
{
    static const char body[BODY];
    int code = connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0 ? -errno : 0;

    if (code == 0)
        code = send_all(fd, POST, sizeof(POST) - 1, SIZE_MAX);
    if (code < 0)
        return code;
    while (send(fd, body, sizeof(body), MSG_DONTWAIT) > 0)
        ;
    return errno == EAGAIN ? 0 : -errno;
}

/* ---- what is marked ---- */

static bool is_marked(bool held)
{
    int fd = bpf_map__fd(keeper_bpf(fx.keeper)->maps.endings);
    struct abi_ending ending;
    uint64_t cookie;

    return bpf_map_get_next_key(fd, NULL, &cookie) == 0 &&
           bpf_map_lookup_elem(fd, &cookie, &ending) == 0 && ending.held == held;
}

static void wait_until_held(void)
{
    uint64_t end = clock_ns() + UINT64_C(2) * PATIENCE * WAIT_NS;

    while (!is_marked(true) && clock_ns() < end)
        poll(NULL, 0, 1);
    assert_true(is_marked(true));
}

struct listed {
    uint64_t cookie;
    bool waits;
};

static void on_listed(void *arg, const struct diag_socket *socket)
{
    struct listed *listed = arg;

    listed->waits |= socket->cookie == listed->cookie && socket->waits > 1;
}

/* Something of it would leave yet. */
static bool would_send(uint64_t cookie)
{
    CLEANUP(fd_close) int fd = keeper_net_diag(fx.keeper, fx.net);
    struct listed listed = {.cookie = cookie};
    struct diag_request request;
    uint8_t answer[32768];
    bool done = false;

    diag_ask_sending(&request, AF_INET);
    assert_true(send(fd, &request, sizeof(request), 0) > 0);
    while (!done) {
        ssize_t n = recv(fd, answer, sizeof(answer), 0);

        assert_true(n > 0);
        assert_int_equal(diag_take(span_of(answer, (size_t)n), on_listed, &listed, &done, &fx.err),
                         0);
    }
    return listed.waits;
}

static void assert_nothing_arrived(int server)
{
    CLEANUP(fd_close) int fd = accept_within(server, 0);
    char byte;

    if (fd >= 0)
        assert_true(recv(fd, &byte, 1, MSG_DONTWAIT) <= 0);
}

/* ---- tests ---- */

static const struct abi_spelling nothing_fits = {.flags = ABI_SPELL_JUDGED | ABI_SPELL_UNSEEN};
static const struct abi_spelling all_fits = {.flags = ABI_SPELL_JUDGED | ABI_SPELL_UNSEEN,
                                             .rules = 1};

static const struct {
    const char *name;
    int (*work)(int fd, const struct sockaddr_in *to);
} held[] = {
    {"who waits for an answer", say_and_wait},
    {"who is not connected yet", say_in_syn},
};

static void who_is_held_back_learns_of_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(held); i++) {
        CLEANUP(fd_close)
        int server = serve(fx.bed.pod, SOCK_STREAM, AF_INET, "127.0.0.1", SPOKEN_PORT);
        struct at_work at_work = {.work = held[i].work};
        const struct abi_socket record = {.kind = ABI_SOCKET_HELD};

        print_message("  %s\n", held[i].name);
        heard_forget();
        spoken_spell(&nothing_fits);
        assert_int_equal(pthread_create(&at_work.thread, NULL, run, &at_work), 0);
        wait_until_held();
        ends_on_socket(ends, &record);
        event_base_loop(base, EVLOOP_ONCE);
        pthread_join(at_work.thread, NULL);
        assert_int_equal(at_work.report.code, -ECONNABORTED);
        assert_int_equal(heard_count(ABI_SOCKET_HELD, at_work.report.cookie), 1);
        assert_false(is_marked(true));
        assert_nothing_arrived(server);
    }
}

static void what_is_held_back_does_not_stay_behind(void **state)
{
    CLEANUP(fd_close)
    int server = serve(fx.bed.pod, SOCK_STREAM, AF_INET, "127.0.0.1", SPOKEN_PORT);
    struct at_work at_work = {.work = say_with_connect};

    (void)state;
    spoken_spell(&nothing_fits);
    run(&at_work);
    assert_int_equal(at_work.report.code, 0);
    assert_true(is_marked(true));
    assert_true(would_send(at_work.report.cookie));
    ends_finish(ends);
    assert_false(is_marked(true));
    assert_false(would_send(at_work.report.cookie));
    assert_nothing_arrived(server);
}

static void what_is_left_behind_unread_ends(void **state)
{
    CLEANUP(fd_close)
    int server = serve(fx.bed.pod, SOCK_STREAM, AF_INET, "127.0.0.1", SPOKEN_PORT);
    struct at_work at_work = {.work = leave_much_behind};
    const struct abi_socket record = {.kind = ABI_SOCKET_HELD};

    (void)state;
    spoken_spell(&all_fits);
    run(&at_work);
    assert_int_equal(at_work.report.code, 0);
    assert_true(is_marked(false));
    ends_on_pod_gone(ends, bed_cgroup_id(&fx.bed, "stranger"));
    ends_on_socket(ends, &record);
    event_base_loop(base, EVLOOP_ONCE);
    assert_true(would_send(at_work.report.cookie)); /* that is none of theirs */
    ends_on_pod_gone(ends, bed_cgroup_id(&fx.bed, "pod"));
    assert_false(would_send(at_work.report.cookie));
    assert_false(is_marked(false));
}

static int set_up_ends(void **state)
{
    int code = set_up_spoken(state);

    base = event_base_new();
    assert_ok(ends_new(&ends, base, fx.keeper, &fx.err));
    event_base_loop(base, EVLOOP_ONCE);
    return code;
}

static int take_down_ends(void **state)
{
    ends_free(&ends);
    event_base_free(base);
    return take_down_spoken(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(who_is_held_back_learns_of_it),
        spoken_test(what_is_held_back_does_not_stay_behind),
        spoken_test(what_is_left_behind_unread_ends),
    };

    return cmocka_run_group_tests(tests, set_up_ends, take_down_ends);
}
