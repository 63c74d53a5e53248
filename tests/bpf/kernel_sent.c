/* kernel_sent: what a pod's programs send by the kernel route comes up, whole and in order. */
#include "spoken.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "heard.h"

static const char get[] = "GET /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n";

static void send_get(int fd, const void *arg)
{
    (void)arg;
    if (send(fd, get, strlen(get), 0) != (ssize_t)strlen(get))
        _exit(1);
}

static void what_is_sent_comes_up(void **state)
{
    CLEANUP(fd_close) int server = spoken_server();
    struct report report = speak(send_get, NULL, server);
    CLEANUP(fd_close) int accepted = accept_within(server, SOON_MS);
    char arrived[sizeof(get)] = "";

    (void)state;
    assert_int_equal(report.code, 0);
    spoken_read(report.cookie);
    assert_int_equal(spoken[ABI_TX].len, strlen(get));
    assert_memory_equal(spoken[ABI_TX].bytes, get, strlen(get));
    assert_int_equal(spoken[ABI_TX].pid, report.pid);
    assert_int_equal(spoken[ABI_TX].lost, 0);
    assert_int_equal(recv(accepted, arrived, sizeof(arrived), 0), strlen(get));
    assert_string_equal(arrived, get);
    assert_true(heard_one(ABI_SOCKET_CONNECT, report.cookie)->flags & ABI_SOCKET_KERNEL);
    fd_close(&report.fd);
    assert_true(heard_one(ABI_SOCKET_CLOSE, report.cookie)->flags & ABI_SOCKET_KERNEL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(what_is_sent_comes_up),
    };

    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
