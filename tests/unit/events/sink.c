#include "sample.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* "SEQ STATUS\n" for exits, "SEQ lost COUNT REASON\n": easy to read back. */
static void render_plain(struct sink *sink, const struct flow_event *event, struct buffer *out)
{
    if (event->kind == FLOW_EVENT_LOST)
        buffer_format(out, "%llu lost %llu %s\n", (unsigned long long)sink->seq + 1,
                      (unsigned long long)event->lost.count, event->lost.reason);
    else
        buffer_format(out, "%llu %u\n", (unsigned long long)sink->seq + 1, event->exit.status);
}

static void write_exit(struct sink *sink, uint32_t status)
{
    struct flow_event event = {.kind = FLOW_EVENT_EXIT, .exit = {.status = status}};

    sink_write(sink, &event);
}

static void read_file(int fd, char *out, size_t size)
{
    ssize_t n = pread(fd, out, size - 1, 0);

    assert_true(n >= 0);
    out[n] = 0;
}

/* A full disk, as far as a process can make one: writes past the limit fail with EFBIG, and the
 * one that reaches it is short. */
static void limit_file_size(rlim_t size)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size < limit.rlim_max ? size : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void drops_whole_lines_and_tells_how_many(void **state)
{
    CLEANUP(fd_close) int fd = memfd_create("lines", MFD_CLOEXEC);
    CLEANUP(sink_fini) struct sink sink;
    char text[256];

    (void)state;
    sink_init(&sink, render_plain, fd, "", false);
    limit_file_size(6); /* "1 10\n" fits, "2 11\n" is cut, two more do not begin */
    for (uint32_t status = 10; status < 14; status++)
        write_exit(&sink, status);
    sink_flush(&sink);
    read_file(fd, text, sizeof(text));
    assert_string_equal(text, "1 10\n2");
    assert_int_equal(sink.lost, 2);
    assert_int_equal(sink.seq, 2);

    write_exit(&sink, 14); /* still full: the line that tells the loss is lost, the loss is not */
    sink_flush(&sink);
    assert_int_equal(sink.lost, 3);
    assert_int_equal(sink.seq, 2);

    limit_file_size(RLIM_INFINITY);
    write_exit(&sink, 15);
    sink_flush(&sink);
    read_file(fd, text, sizeof(text));
    assert_string_equal(text, "1 10\n2 11\n3 lost 3 could not be written: File too large\n4 15\n");
    assert_int_equal(sink.lost, 0);
}

static void counts_a_line_that_never_got_its_rest(void **state)
{
    CLEANUP(fd_close) int fd = memfd_create("lines", MFD_CLOEXEC);
    CLEANUP(sink_fini) struct sink sink;

    (void)state;
    sink_init(&sink, render_plain, fd, "", false);
    limit_file_size(6);
    write_exit(&sink, 10);
    write_exit(&sink, 11);
    sink_flush(&sink);
    write_exit(&sink, 12);
    sink_flush(&sink); /* does not even get the rest of the line before it written */
    assert_int_equal(sink.lost, 1);
    sink_give_up(&sink);
    sink_give_up(&sink); /* it is gone once */
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(sink.lost, 2);
    assert_int_equal(sink.seq, 1);
    assert_int_equal(sink.lost_code, EFBIG);
}

static void gives_up_nothing_that_was_written(void **state)
{
    CLEANUP(fd_close) int fd = memfd_create("lines", MFD_CLOEXEC);
    CLEANUP(sink_fini) struct sink sink;

    (void)state;
    sink_init(&sink, render_plain, fd, "", false);
    limit_file_size(6);
    write_exit(&sink, 10);
    write_exit(&sink, 11);
    sink_flush(&sink);
    limit_file_size(RLIM_INFINITY);
    sink_flush(&sink);
    sink_give_up(&sink);
    assert_int_equal(sink.lost, 0);
    assert_int_equal(sink.seq, 2);
}

static void tells_a_loss_although_nothing_follows(void **state)
{
    CLEANUP(fd_close) int fd = memfd_create("lines", MFD_CLOEXEC);
    CLEANUP(sink_fini) struct sink sink;
    char text[256];

    (void)state;
    sink_init(&sink, render_plain, fd, "", false);
    limit_file_size(0);
    write_exit(&sink, 10);
    sink_flush(&sink);
    limit_file_size(RLIM_INFINITY);
    sink_flush(&sink);
    read_file(fd, text, sizeof(text));
    assert_string_equal(text, "1 lost 1 could not be written: File too large\n");
}

static void counts_what_a_lost_line_told_of(void **state)
{
    struct flow_event event = {.kind = FLOW_EVENT_LOST, .lost = {.count = 40, .reason = "r"}};
    CLEANUP(fd_close) int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CLEANUP(sink_fini) struct sink sink;

    (void)state;
    sink_init(&sink, render_plain, fd, "", false);
    sink_write(&sink, &event);
    write_exit(&sink, 1);
    sink_flush(&sink);
    assert_int_equal(sink.lost, 41);
    assert_int_equal(sink.lost_code, ENOSPC);
    assert_int_equal(sink.seq, 0);
}

static void survives_a_reader_that_left(void **state)
{
    CLEANUP(sink_fini) struct sink sink;
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    sink_init(&sink, render_plain, ends[1], "", false);
    write_exit(&sink, 1);
    sink_flush(&sink);
    assert_int_equal(sink.lost, 1);
    assert_int_equal(sink.lost_code, EPIPE);
    close(ends[1]);
}

enum { SLOW_LINES = 30000 };

static void *read_slowly(void *arg)
{
    int *fd = arg;
    char *text = calloc(1, SLOW_LINES * 16);
    size_t len = 0;
    ssize_t n;

    while ((n = read(*fd, text + len, 997)) > 0)
        len += (size_t)n;
    return text;
}

static void waits_for_a_slow_reader(void **state)
{
    CLEANUP(sink_fini) struct sink sink;
    CLEANUP(text_free) char *got = NULL, *want = calloc(1, SLOW_LINES * 16);
    size_t len = 0;
    pthread_t reader;
    int ends[2];
    void *result;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, 0), 0); /* the reader's end blocks, ours does not */
    assert_int_equal(pthread_create(&reader, NULL, read_slowly, &ends[0]), 0);
    sink_init(&sink, render_plain, ends[1], "", false);
    for (uint32_t i = 1; i <= SLOW_LINES; i++) {
        write_exit(&sink, i);
        len += (size_t)sprintf(want + len, "%u %u\n", i, i);
    }
    sink_flush(&sink);
    close(ends[1]);
    pthread_join(reader, &result);
    got = result;
    assert_string_equal(got, want);
    assert_int_equal(sink.lost, 0);
    close(ends[0]);
}

enum { PAGE = 4096, PAGES = 12, LATE_MS = 150, PATIENCE_MS = 1000 };

/* Nearly twice as long as the sink's patience, but always something. */
static void *read_now_and_then(void *arg)
{
    char page[PAGE];
    int *fd = arg;

    for (int i = 0; i < PAGES; i++) {
        nanosleep(&(struct timespec){.tv_nsec = LATE_MS * 1000000L}, NULL);
        if (read(*fd, page, sizeof(page)) <= 0)
            return NULL;
    }
    return arg;
}

static void fill_pages(struct sink *sink, size_t pages)
{
    while (sink->pending.len < pages * PAGE)
        write_exit(sink, 4711);
}

static void gives_up_only_who_stopped_reading(void **state)
{
    CLEANUP(sink_fini) struct sink sink;
    pthread_t reader;
    char rest[PAGE];
    int ends[2];
    void *result;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[1], F_SETPIPE_SZ, PAGE), PAGE);
    sink_init(&sink, render_plain, ends[1], "", false);
    sink_hurry(&sink, PATIENCE_MS);
    assert_int_equal(pthread_create(&reader, NULL, read_now_and_then, &ends[0]), 0);
    fill_pages(&sink, PAGES);
    sink_flush(&sink);
    assert_int_equal(sink.lost, 0);
    pthread_join(reader, &result);
    assert_non_null(result);
    assert_true(read(ends[0], rest, sizeof(rest)) > 0); /* of the last line, past the pages */

    fill_pages(&sink, 3); /* two more than the pipe takes, and it ends inside a line */
    sink_flush(&sink);
    sink_give_up(&sink);
    assert_true(sink.lost > 0);
    assert_true(sink.torn);
    assert_string_equal(sink_why(&sink), "its reader stopped reading");
    close(ends[0]);
    close(ends[1]);
}

static void holds_little_however_much_is_written(void **state)
{
    CLEANUP(fd_close) int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CLEANUP(sink_fini) struct sink sink;

    (void)state;
    sink_init(&sink, render_plain, fd, "", false);
    for (uint32_t i = 0; i < 100000; i++) {
        write_exit(&sink, i);
        assert_true(sink.pending.len <= 64 * 1024);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drops_whole_lines_and_tells_how_many),
        cmocka_unit_test(counts_a_line_that_never_got_its_rest),
        cmocka_unit_test(gives_up_nothing_that_was_written),
        cmocka_unit_test(tells_a_loss_although_nothing_follows),
        cmocka_unit_test(counts_what_a_lost_line_told_of),
        cmocka_unit_test(survives_a_reader_that_left),
        cmocka_unit_test(waits_for_a_slow_reader),
        cmocka_unit_test(gives_up_only_who_stopped_reading),
        cmocka_unit_test(holds_little_however_much_is_written),
    };

    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
