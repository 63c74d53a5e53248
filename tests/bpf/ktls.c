/* ktls: what a pod's program says where the kernel encrypts is seen as it said it, however it sends
 * it, and what it receives, too. Both ends have the keys from this test: no handshake is needed.
 *
 * Skipped where the kernel has no TLS. */
#include "spoken.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ktls_keys.h"

static const char get[] = "GET /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes";

/* ---- the pod's side ---- */

/* Leaves its keys with the kernel, says it, and takes the answer, if there is to be one. */
struct talk {
    ssize_t (*say)(int fd, const char *text, size_t len);
    const char *text;
    size_t len;
    bool answered;
};

static int do_talk(int fd, const void *arg)
{
    const struct talk *talk = arg;
    char got[sizeof(answer)] = "";

    if (start_tls(fd) < 0)
        return -errno;
    if (talk->say(fd, talk->text, talk->len) != (ssize_t)talk->len)
        return -errno;
    if (talk->answered && recv(fd, got, strlen(answer), MSG_WAITALL) != (ssize_t)strlen(answer))
        return -ENODATA;
    return 0;
}

static ssize_t by_send(int fd, const char *text, size_t len)
{
    return send(fd, text, len, MSG_NOSIGNAL);
}

static ssize_t by_write(int fd, const char *text, size_t len)
{
    return write(fd, text, len);
}

/* Cut where it hurts: within a word, and with nothing between. */
static ssize_t by_writev(int fd, const char *text, size_t len)
{
    const struct iovec parts[] = {{(void *)text, 2},
                                  {(void *)text, 0},
                                  {(void *)(text + 2), 7},
                                  {(void *)(text + 9), len - 9}};

    return writev(fd, parts, 4);
}

static ssize_t by_sendmsg(int fd, const char *text, size_t len)
{
    struct iovec parts[] = {{(void *)text, 5}, {(void *)(text + 5), len - 5}};
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static ssize_t by_bytes(int fd, const char *text, size_t len)
{
    size_t sent = 0;

    while (sent < len && send(fd, text + sent, 1, MSG_NOSIGNAL) == 1)
        sent++;
    return (ssize_t)sent;
}

static int file_of(const char *text, size_t len)
{
    int fd = memfd_create("said", MFD_CLOEXEC);

    if (write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) < 0)
        fd_close(&fd);
    return fd;
}

static ssize_t by_sendfile(int fd, const char *text, size_t len)
{
    CLEANUP(fd_close) int file = file_of(text, len);

    return sendfile(fd, file, NULL, len);
}

static ssize_t by_splice(int fd, const char *text, size_t len)
{
    CLEANUP(fd_close) int file = file_of(text, len);
    int ends[2];

    if (pipe(ends) < 0 || splice(file, NULL, ends[1], NULL, len, 0) != (ssize_t)len)
        return -1;
    return splice(ends[0], NULL, fd, NULL, len, 0);
}

static const struct {
    const char *name;
    ssize_t (*say)(int fd, const char *text, size_t len);
} sayings[] = {
    {"send", by_send},       {"write", by_write},    {"writev", by_writev},
    {"sendmsg", by_sendmsg}, {"by bytes", by_bytes}, {"sendfile", by_sendfile},
    {"splice", by_splice},
};

static struct report talk(const struct talk *talk)
{
    spoken_prepare = answer_tls;
    return speak(do_talk, talk, talk->answered ? BYTES(answer) : (struct span){0});
}

/* ---- what is heard ---- */

static void assert_said(const char *text, size_t len, uint32_t pid)
{
    assert_int_equal(spoken[ABI_TX].len, sizeof(hello) + len);
    assert_memory_equal(spoken[ABI_TX].bytes, hello, sizeof(hello));
    assert_memory_equal(spoken[ABI_TX].bytes + sizeof(hello), text, len);
    assert_int_equal(spoken[ABI_TX].begins, 1);
    assert_int_equal(spoken[ABI_TX].lost, 0);
    assert_int_equal(spoken[ABI_TX].skipped, 0);
    assert_true(spoken[ABI_TX].flags & ABI_SAID_KTLS);
    assert_int_equal(spoken[ABI_TX].pid, pid);
}

static void every_suite_is_heard_both_ways(void **state)
{
    const struct talk said = {.say = by_send, .text = get, .len = strlen(get), .answered = true};

    (void)state;
    for (size_t i = 0; i < SUITES; i++) {
        struct report report;

        suite = &suites[i];
        print_message("  %s\n", suite->name);
        report = talk(&said);
        assert_int_equal(report.code, 0);
        assert_said(get, strlen(get), report.pid);
        assert_int_equal(arrived.len, strlen(get));
        assert_int_equal(spoken[ABI_RX].len, sizeof(hello) + strlen(answer));
        assert_memory_equal(spoken[ABI_RX].bytes + sizeof(hello), answer, strlen(answer));
        assert_true(spoken[ABI_RX].flags & ABI_SAID_KTLS);
    }
    suite = suites;
}

static void every_way_to_send_is_heard(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sayings); i++) {
        const struct talk said = {.say = sayings[i].say, .text = get, .len = strlen(get)};
        struct report report;

        print_message("  %s\n", sayings[i].name);
        report = talk(&said);
        assert_int_equal(report.code, 0);
        assert_said(get, strlen(get), report.pid);
        assert_int_equal(arrived.len, strlen(get));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(every_suite_is_heard_both_ways),
        spoken_test(every_way_to_send_is_heard),
    };

    if (!kernel_has_tls()) {
        printf("SKIP: this kernel has no TLS of its own\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
