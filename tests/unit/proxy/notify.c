/* notify: what systemd hears on a real socket, and that one who does not listen stops nobody. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <cmocka.h>

#include "proxy/notify.h"

/* A manager's socket; its name, as $NOTIFY_SOCKET would have it, into name. */
static int manager(char name[108], bool abstract)
{
    static unsigned number;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int len =
        snprintf(name, 108, "%s/sallyport-test.%d.%u", abstract ? "@" : "/tmp", getpid(), number++);

    memcpy(address.sun_path, name, (size_t)len);
    if (abstract)
        address.sun_path[0] = 0;
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)),
                     0);
    return fd;
}

static void assert_heard(int fd, const char *want)
{
    char got[512];
    ssize_t n = recv(fd, got, sizeof(got) - 1, 0);

    assert_true(n >= 0);
    got[n] = 0;
    assert_string_equal(got, want);
}

static void is_heard_by_path_and_by_abstract_name(void **state)
{
    (void)state;
    for (int abstract = 0; abstract < 2; abstract++) {
        char name[108];
        CLEANUP(fd_close) int fd = manager(name, abstract);

        assert_int_equal(notify_send(name, "READY=1\nSTATUS=a", -1), 0);
        assert_heard(fd, "READY=1\nSTATUS=a");
        setenv("NOTIFY_SOCKET", name, 1);
        notify_say("RELOADING=1\nMONOTONIC_USEC=%d", 7);
        assert_heard(fd, "RELOADING=1\nMONOTONIC_USEC=7");
        unsetenv("NOTIFY_SOCKET");
        notify_say("READY=1");
        assert_int_equal(recv(fd, name, sizeof(name), 0), -1);
        if (!abstract)
            unlink(name);
    }
}

/* The descriptor that came along, the caller's; -1: none did. */
static int hear_fd(int fd, const char *want)
{
    char got[512], control[CMSG_SPACE(4 * sizeof(int))];
    struct iovec data = {got, sizeof(got) - 1};
    struct msghdr datagram = {.msg_iov = &data,
                              .msg_iovlen = 1,
                              .msg_control = control,
                              .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(fd, &datagram, MSG_CMSG_CLOEXEC);
    struct cmsghdr *head = CMSG_FIRSTHDR(&datagram);
    int came = -1;

    assert_true(n >= 0);
    got[n] = 0;
    assert_string_equal(got, want);
    if (!head)
        return -1;
    assert_int_equal(head->cmsg_type, SCM_RIGHTS);
    assert_int_equal(head->cmsg_len, CMSG_LEN(sizeof(int)));
    memcpy(&came, CMSG_DATA(head), sizeof(came));
    return came;
}

static void hands_descriptors_over(void **state)
{
    char name[108], byte = 0;
    CLEANUP(fd_close) int fd = manager(name, true);
    CLEANUP(fd_close) int came = -1;
    int pair[2];

    (void)state;
    assert_int_equal(notify_store("nobody", 0), 0);
    assert_int_equal(notify_unstore("nobody"), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    assert_int_equal(pipe(pair), 0);
    assert_int_equal(notify_store("7A", pair[0]), 0);
    assert_int_equal(write(pair[1], "x", 1), 1);
    fd_close(&pair[0]);
    fd_close(&pair[1]);
    came = hear_fd(fd, "FDSTORE=1\nFDPOLL=0\nFDNAME=7A");
    assert_int_equal(read(came, &byte, 1), 1);
    assert_int_equal(byte, 'x');
    assert_int_equal(notify_unstore("7A"), 0);
    assert_int_equal(hear_fd(fd, "FDSTOREREMOVE=1\nFDNAME=7A"), -1);
    assert_int_equal(notify_store("closed", 999), -EBADF);
    unsetenv("NOTIFY_SOCKET");
}

static void waits_for_some_seconds(void **state)
{
    char name[108];
    CLEANUP(fd_close) int fd = manager(name, true);
    int result = 0;

    (void)state;
    for (int i = 0; result == 0 && i < 100000; i++)
        result = notify_send(name, "STATUS=nobody reads", -1);
    assert_int_equal(result, -EAGAIN); /* once, and not for ever */
}

static const struct {
    const char *socket;
    int want;
} odd[] = {
    {NULL, 0},
    {"", 0},
    {"vsock:2:1234", -EAFNOSUPPORT},
    {"relative", -EAFNOSUPPORT},
    {"/nowhere/socket", -ENOENT},
    {"/longlonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglong"
     "longlonglonglong",
     -ENAMETOOLONG},
};

static void says_what_is_odd(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
        assert_int_equal(notify_send(odd[i].socket, "READY=1", -1), odd[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_heard_by_path_and_by_abstract_name),
        cmocka_unit_test(hands_descriptors_over),
        cmocka_unit_test(waits_for_some_seconds),
        cmocka_unit_test(says_what_is_odd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
