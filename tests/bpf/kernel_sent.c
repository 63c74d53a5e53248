/* kernel_sent: what a pod's programs send by the kernel route comes up, whole and in order, however
 * they send it, and of bodies how long they are. */
#include "spoken.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "heard.h"

/* ---- ways to send ---- */

struct sending {
    struct span bytes;
    size_t pieces; /* of at most so many bytes; 0: all at once */
};

static size_t piece_of(const struct sending *sending)
{
    return sending->pieces ? sending->pieces : sending->bytes.len;
}

static int by_send(int fd, const void *arg)
{
    const struct sending *sending = arg;

    return send_all(fd, sending->bytes.data, sending->bytes.len, piece_of(sending));
}

static int by_write(int fd, const void *arg)
{
    const struct sending *sending = arg;

    for (size_t at = 0; at < sending->bytes.len;) {
        size_t left = sending->bytes.len - at;
        ssize_t n = write(fd, sending->bytes.data + at,
                          left < piece_of(sending) ? left : piece_of(sending));

        if (n < 0)
            return -errno;
        at += (size_t)n;
    }
    return 0;
}

enum { VECTOR = 64 };

/* Each piece an element of a vector. */
static int by_vector(int fd, const struct sending *sending,
                     ssize_t (*put)(int fd, struct iovec *vector, size_t len))
{
    for (size_t at = 0; at < sending->bytes.len;) {
        struct iovec vector[VECTOR];
        size_t len = 0, to = at;
        ssize_t n;

        for (; len < VECTOR && to < sending->bytes.len; len++) {
            size_t left = sending->bytes.len - to;

            vector[len].iov_base = (void *)(sending->bytes.data + to);
            vector[len].iov_len = left < piece_of(sending) ? left : piece_of(sending);
            to += vector[len].iov_len;
        }
        n = put(fd, vector, len);
        if (n < 0)
            return -errno;
        at += (size_t)n;
    }
    return 0;
}

static ssize_t put_written(int fd, struct iovec *vector, size_t len)
{
    return writev(fd, vector, (int)len);
}

static ssize_t put_sent(int fd, struct iovec *vector, size_t len)
{
    struct msghdr message = {.msg_iov = vector, .msg_iovlen = len};

    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static int by_writev(int fd, const void *arg)
{
    return by_vector(fd, arg, put_written);
}

static int by_sendmsg(int fd, const void *arg)
{
    return by_vector(fd, arg, put_sent);
}

static int file_of(const struct sending *sending)
{
    int file = memfd_create("sent", MFD_CLOEXEC);

    if (file < 0 ||
        write(file, sending->bytes.data, sending->bytes.len) != (ssize_t)sending->bytes.len)
        return -1;
    return file;
}

static int by_sendfile(int fd, const void *arg)
{
    const struct sending *sending = arg;
    CLEANUP(fd_close) int file = file_of(sending);
    off_t at = 0;

    while (at < (off_t)sending->bytes.len)
        if (sendfile(fd, file, &at, piece_of(sending)) <= 0)
            return -errno;
    return 0;
}

static int by_splice(int fd, const void *arg)
{
    const struct sending *sending = arg;
    CLEANUP(fd_close) int file = file_of(sending);
    loff_t at = 0;
    int ends[2];

    if (pipe(ends) < 0)
        return -errno;
    while (at < (loff_t)sending->bytes.len) {
        ssize_t n = splice(file, &at, ends[1], NULL, piece_of(sending), 0);

        for (ssize_t out; n > 0; n -= out) {
            out = splice(ends[0], NULL, fd, NULL, (size_t)n, 0);
            if (out <= 0)
                return -errno;
        }
    }
    return 0;
}

/* As who does not wait: a part is taken, and the rest sent when there is room. */
static int by_parts(int fd, const void *arg)
{
    const struct sending *sending = arg;
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    size_t parts = 0;

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){20000}, sizeof(int));
    for (size_t at = 0; at < sending->bytes.len; parts++) {
        ssize_t n = send(fd, sending->bytes.data + at, sending->bytes.len - at,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            return -errno;
        at += n < 0 ? 0 : (size_t)n;
        if (poll(&room, 1, 10 * SOON_MS) != 1)
            return -ETIMEDOUT;
    }
    return parts > 1 ? 0 : -ENOENT;
}

static const struct {
    const char *name;
    int (*send)(int fd, const void *arg);
} ways_to_send[] = {
    {"send", by_send},       {"write", by_write},       {"writev", by_writev},
    {"sendmsg", by_sendmsg}, {"sendfile", by_sendfile}, {"splice", by_splice},
};

/* ---- what is sent ---- */

static const char get[] = "GET /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n";

#define LARGE "GET /large HTTP/1.1\r\nHost: a\r\n"
static uint8_t large[2 << 20];

static size_t write_post(size_t body)
{
    size_t len =
        (size_t)snprintf((char *)large, sizeof(large),
                         "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", body);

    memset(large + len, 'b', body);
    return len + body;
}

static void assert_told(const struct sending *sending, const struct report *report)
{
    const struct spoken *tx = &spoken[ABI_TX];

    if (report->code < 0)
        fail_msg("%s", strerror(-report->code));
    assert_int_equal(arrived.len, sending->bytes.len);
    assert_memory_equal(arrived.bytes, sending->bytes.data, sending->bytes.len);
    assert_int_equal(tx->lost, 0);
    assert_int_equal(tx->len + tx->skipped, sending->bytes.len);
    assert_false(tx->denied);
    assert_int_equal(tx->pid, report->pid);
}

static void what_is_sent_comes_up(void **state)
{
    const struct sending sending = {.bytes = span_of_text(get)};
    struct report report = speak(by_send, &sending, (struct span){0});

    (void)state;
    assert_told(&sending, &report);
    assert_memory_equal(spoken[ABI_TX].bytes, get, strlen(get));
    assert_int_equal(spoken[ABI_TX].begins, 1);
    assert_true(heard_one(ABI_SOCKET_CONNECT, report.cookie)->flags & ABI_SOCKET_KERNEL);
    assert_true(heard_one(ABI_SOCKET_CLOSE, report.cookie)->flags & ABI_SOCKET_KERNEL);
}

static void heads_come_up_whole_however_they_are_sent(void **state)
{
    static const size_t pieces[] = {0, 1, 7, 300};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ways_to_send); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(pieces); j++) {
            struct sending sending = {.bytes = span_of_text(get), .pieces = pieces[j]};
            struct report report = speak(ways_to_send[i].send, &sending, (struct span){0});

            print_message("  %s, pieces of %zu\n", ways_to_send[i].name, pieces[j]);
            assert_told(&sending, &report);
            assert_int_equal(spoken[ABI_TX].len, strlen(get));
            assert_memory_equal(spoken[ABI_TX].bytes, get, strlen(get));
            assert_int_equal(spoken[ABI_TX].begins, 1);
        }
    }
}

static void large_heads_come_up_whole(void **state)
{
    static const size_t pieces[] = {0, 100000, 16384, 4097};
    size_t len = write_large_head(large, sizeof(large), LARGE, "");

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ways_to_send); i++) {
        struct sending sending = {.bytes = {large, len}, .pieces = pieces[i % ARRAY_SIZE(pieces)]};
        struct report report = speak(ways_to_send[i].send, &sending, (struct span){0});

        print_message("  %s, pieces of %zu\n", ways_to_send[i].name, sending.pieces);
        assert_told(&sending, &report);
        assert_int_equal(spoken[ABI_TX].len, len);
        assert_memory_equal(spoken[ABI_TX].bytes, large, len);
        assert_int_equal(spoken[ABI_TX].begins, 1);
    }
}

/* More than the kernel shows us at a time, of which we are not asked again. */
static void what_is_taken_in_parts_comes_up_whole(void **state)
{
    static const struct abi_spelling spellings[] = {
        {0}, {.flags = ABI_SPELL_JUDGED | ABI_SPELL_UNSEEN, .rules = 1}};
    struct sending sending = {.bytes = {large, write_large_head(large, sizeof(large), LARGE, "")}};

    (void)state;
    memcpy(large + sending.bytes.len, get, strlen(get));
    sending.bytes.len += strlen(get);
    for (size_t i = 0; i < ARRAY_SIZE(spellings); i++) {
        struct report report;

        print_message("  %s\n", i ? "judged" : "not judged");
        spoken_spell(&spellings[i]);
        report = speak(by_parts, &sending, (struct span){0});
        assert_told(&sending, &report);
        assert_int_equal(spoken[ABI_TX].len, sending.bytes.len);
        assert_memory_equal(spoken[ABI_TX].bytes, large, sending.bytes.len);
        assert_int_equal(spoken[ABI_TX].begins, 2);
    }
}

static void bodies_are_only_counted(void **state)
{
    size_t len = write_post(1500000);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ways_to_send); i++) {
        struct sending sending = {.bytes = {large, len}, .pieces = i % 2 ? 0 : 65536};
        struct report report = speak(ways_to_send[i].send, &sending, (struct span){0});

        print_message("  %s\n", ways_to_send[i].name);
        assert_told(&sending, &report);
        assert_in_range(spoken[ABI_TX].len, 50, 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(what_is_sent_comes_up),
        spoken_test(heads_come_up_whole_however_they_are_sent),
        spoken_test(large_heads_come_up_whole),
        spoken_test(what_is_taken_in_parts_comes_up_whole),
        spoken_test(bodies_are_only_counted),
    };

    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
