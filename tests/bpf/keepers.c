/* keepers: the keeper process that outlives agents: what it gives, and what becomes of pods when it
 * dies, or is not heard of any more. */
#include "kept.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "proxy/keeper/keeper_process.h"

#define SECOND_NS UINT64_C(1000000000)

static const struct dial https = {.family = AF_INET, .to = "198.51.100.1", .port = 443};

static void its_sockets_come_from_the_keeper(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * KEEPER_AHEAD; i++) {
        uint64_t cookie;
        socklen_t len = sizeof(cookie);
        int fd = keeper_socket(fx.keeper, keeper_net_cookie(fx.net), i % 2 ? AF_INET : AF_INET6,
                               SOCK_STREAM, &fx.err);

        assert_true(fd >= 0);
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len), 0);
        assert_int_equal(cookie, keeper_net_cookie(fx.net));
        close(fd);
    }
    assert_int_equal(
        keeper_socket(fx.keeper, keeper_net_cookie(fx.net) + 77, AF_INET, SOCK_STREAM, &fx.err),
        -ENONET);
}

/* The keeper's death is seen by nobody: another one gets what the agent has. */
static void a_keeper_that_dies_is_replaced(void **state)
{
    pid_t first = keeper_pid(), second = 0;
    ino_t listener = inode_of(keeper_net_listeners(fx.net)->stream.v4);
    struct report waiting;
    struct origin origin;
    int fd;

    (void)state;
    kill(first, SIGKILL);
    waiting = dial_from_pod(https);
    assert_steered(&https, &waiting, &origin);
    fd = keeper_socket(fx.keeper, keeper_net_cookie(fx.net), AF_INET, SOCK_DGRAM, &fx.err);
    assert_true(fd >= 0);
    close(fd);
    for (int i = 0; i < SOON_MS && (!second || second == first); i++) {
        usleep(1000);
        second = keeper_pid();
    }
    assert_true(second > 0 && second != first);
    /* it has been given all when it answers what is asked behind that */
    fd = keeper_socket(fx.keeper, keeper_net_cookie(fx.net), AF_INET6, SOCK_DGRAM, &fx.err);
    assert_true(fd >= 0);
    close(fd);
    kept_end_agent();
    waiting = dial_from_pod(https);
    kept_begin_agent();
    fx.net = keeper_net_next(fx.keeper, NULL);
    assert_non_null(fx.net);
    assert_int_equal(inode_of(keeper_net_listeners(fx.net)->stream.v4), listener);
    assert_steered(&https, &waiting, &origin);
    register_pod(false);
    take_over();
}

/* Then the agent enters the namespace itself. */
static void a_keeper_may_die_over_a_question(void **state)
{
    pid_t keeper = keeper_pid(), killer;
    struct keeper_net *island;
    int status;

    (void)state;
    kill(keeper, SIGSTOP);
    killer = fork();
    if (killer == 0) {
        usleep(100000);
        kill(keeper, SIGKILL);
        _exit(0);
    }
    assert_ok(keeper_net_add(fx.keeper, &island, fx.bed.island, 0, &fx.err));
    assert_true(keeper_net_listeners(island)->stream.v4 >= 0);
    keeper_net_remove(fx.keeper, &island);
    waitpid(killer, &status, 0);
    for (int i = 0; i < 5 * SOON_MS && keeper_pid() == 0; i++)
        usleep(1000);
}

/* Connects wait for a moment, and not each time; what was kept by it is kept by the next. */
static void a_keeper_that_does_not_answer_is_replaced(void **state)
{
    pid_t first = keeper_pid(), second;
    uint64_t began = clock_ns(), longest = 0;
    ino_t listener = inode_of(keeper_net_listeners(fx.net)->stream.v4);

    (void)state;
    kill(first, SIGSTOP);
    do { /* as many as were made ahead, and more */
        uint64_t asked = clock_ns();
        int fd = keeper_socket(fx.keeper, keeper_net_cookie(fx.net), AF_INET, SOCK_STREAM, &fx.err);

        assert_true(fd >= 0);
        close(fd);
        if (clock_ns() - asked > longest)
            longest = clock_ns() - asked;
        usleep(1000);
        second = keeper_but(first);
    } while (!second && clock_ns() - began < 10 * SECOND_NS);
    kill(first, SIGKILL);
    assert_true(second > 0);
    assert_true(longest < 3 * SECOND_NS);
    kept_end_agent();
    kept_begin_agent();
    fx.net = keeper_net_next(fx.keeper, NULL);
    assert_non_null(fx.net);
    assert_int_equal(inode_of(keeper_net_listeners(fx.net)->stream.v4), listener);
    register_pod(false);
    take_over();
}

static void without_both_pods_fail_as_they_are_set(void **state)
{
    CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_STREAM, AF_INET, https.to, 443);
    struct report report;
    struct origin origin;
    pid_t keeper;

    (void)state;
    for (int open = 0; open < 2; open++) {
        assert_ok(pods_remove(fx.pods, bed_cgroup_id(&fx.bed, "pod"), &fx.err));
        register_pod(open);
        keeper = keeper_pid();
        kept_end_agent();
        kill(keeper, SIGKILL);
        expect_end(keeper);
        report = dial_from_pod(https);
        assert_int_equal(report.code, open ? 0 : -EPERM);
        CLEANUP(fd_close) int direct = accept_within(server, open ? SOON_MS : 0);

        assert_int_equal(direct >= 0, open);
        fd_close(&report.fd);
        kept_begin_agent();
        assert_null(keeper_net_next(fx.keeper, NULL));
        register_pod(open);
        assert_ok(keeper_net_add(fx.keeper, &fx.net, fx.bed.pod, 0, &fx.err));
        take_over();
        report = dial_from_pod(https);
        assert_steered(&https, &report, &origin);
    }
}

static void a_namespace_that_is_left_is_left_by_the_keeper(void **state)
{
    struct keeper_net *island;

    (void)state;
    assert_ok(keeper_net_add(fx.keeper, &island, fx.bed.island, 0, &fx.err));
    keeper_net_remove(fx.keeper, &island);
    kept_end_agent();
    kept_begin_agent();
    fx.net = keeper_net_next(fx.keeper, NULL);
    assert_non_null(fx.net);
    assert_null(keeper_net_next(fx.keeper, fx.net));
    assert_int_equal(inode_of(keeper_net_fd(fx.net)), inode_of(fx.bed.pod));
    register_pod(false);
    take_over();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        kept_test(its_sockets_come_from_the_keeper),
        kept_test(a_keeper_that_dies_is_replaced),
        kept_test(a_keeper_may_die_over_a_question),
        kept_test(a_keeper_that_does_not_answer_is_replaced),
        kept_test(without_both_pods_fail_as_they_are_set),
        kept_test(a_namespace_that_is_left_is_left_by_the_keeper),
    };
    int status;

    if (kept_was_keeper(argc, argv, &status))
        return status;
    return cmocka_run_group_tests(tests, kept_set_up, kept_take_down);
}
