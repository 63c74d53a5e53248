/* held: whose socket is which, come by and ended: our own, of a child and of one that is gone. */
#include "proxy/pods/held.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"

static uint64_t cookie_of(int fd)
{
    uint64_t cookie;
    socklen_t len = sizeof(cookie);

    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
    return cookie;
}

static uint64_t inode_of(int fd)
{
    struct stat file;

    assert_int_equal(fstat(fd, &file), 0);
    return file.st_ino;
}

static void connect_pair(int pair[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CLEANUP(fd_close) int listener = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof(at);

    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(connect(pair[0], (struct sockaddr *)&at, sizeof(at)), 0);
    pair[1] = accept(listener, NULL, NULL);
    assert_true(pair[1] >= 0);
}

/* A child that keeps what we have open, and does nothing. */
static pid_t fork_one(void)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    while (pid == 0)
        pause();
    return pid;
}

static void end_child(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void finds_who_has_a_socket_and_takes_it(void **state)
{
    CLEANUP(held_fini) struct held_list held = {0};
    CLEANUP(fd_close) int taken = -1;
    const struct held *found;
    unsigned turns = 0;
    int pair[2];
    pid_t child;

    (void)state;
    connect_pair(pair);
    child = fork_one();
    held_add_process(&held, child);
    held_add_process(&held, getpid());
    held_add_process(&held, 1 << 30); /* nobody */
    while (held_read(&held, 3))
        turns++;
    assert_true(turns > 2);
    assert_false(held.cut);
    found = held_find(&held, inode_of(pair[0]));
    assert_non_null(found);
    assert_int_equal(found->pid, getpid() < child ? getpid() : child);
    assert_int_equal(found->fd, pair[0]);
    assert_null(held_find(&held, 1));
    taken = held_take(found, cookie_of(pair[0]));
    if (taken == -EPERM)
        skip(); /* no CAP_SYS_PTRACE */
    assert_true(taken >= 0);
    assert_int_equal(cookie_of(taken), cookie_of(pair[0]));
    assert_int_equal(held_take(found, cookie_of(pair[1])), -ESTALE);
    end_child(child);
    assert_int_equal(held_take(&(struct held){.pid = child, .fd = pair[0]}, 1), -ESTALE);
    assert_int_equal(held_take(&(struct held){.pid = getpid(), .fd = 1000000}, 1), -ESTALE);
    close(pair[0]);
    close(pair[1]);
}

static void a_reset_is_seen_on_both_sides(void **state)
{
    char byte;
    int pair[2];

    (void)state;
    connect_pair(pair);
    assert_int_equal(held_reset(pair[0]), 0);
    assert_int_equal(recv(pair[0], &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    assert_int_equal(recv(pair[1], &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    assert_int_equal(held_reset(-1), -EBADF);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_who_has_a_socket_and_takes_it),
        cmocka_unit_test(a_reset_is_seen_on_both_sides),
    };

    return cmocka_run_group_tests_name("pods/held", tests, NULL, NULL);
}
