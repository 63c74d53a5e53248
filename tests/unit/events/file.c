#include "sample.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "events/file.h"

static char dir[] = "/tmp/sallyport-file.XXXXXX";

/* "SEQ\n", ten bytes; a loss "SEQ lost COUNT\n". */
static void render_ten(struct sink *sink, const struct flow_event *event, struct buffer *out)
{
    if (event->kind == FLOW_EVENT_LOST)
        buffer_format(out, "%09llu lost %llu\n", (unsigned long long)sink->seq + 1,
                      (unsigned long long)event->lost.count);
    else
        buffer_format(out, "%09llu\n", (unsigned long long)sink->seq + 1);
}

static char *path_of(const char *suffix)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/events%s", dir, suffix);
    return path;
}

static int clean(void **state)
{
    static const char *const suffixes[] = {"", ".1", ".2", ".3", ".new"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
        if (unlink(path_of(suffixes[i])) < 0)
            rmdir(path_of(suffixes[i]));
    return 0;
}

static void put(const char *suffix, const char *text)
{
    FILE *file = fopen(path_of(suffix), "we");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* "-" where there is none. */
static const char *content(const char *suffix)
{
    static char text[512];
    FILE *file = fopen(path_of(suffix), "re");

    if (!file)
        return "-";
    text[fread(text, 1, sizeof(text) - 1, file)] = 0;
    fclose(file);
    return text;
}

static struct events_file *open_file(struct sink *sink, uint64_t max_bytes, unsigned backups)
{
    const struct events_file_settings settings = {path_of(""), max_bytes, backups};
    struct events_file *file = NULL;
    struct err err = {0};

    if (events_file_open(&file, &settings, sink, render_ten, "", &err) < 0)
        fail_msg("%s", err.text);
    return file;
}

static void write_lines(struct sink *sink, int lines)
{
    struct flow_event event = {.kind = FLOW_EVENT_EXIT};

    while (lines--) {
        sink_write(sink, &event);
        sink_flush(sink);
    }
}

static void begins_anew_when_it_is_full(void **state)
{
    CLEANUP(events_file_free) struct events_file *file = NULL;
    CLEANUP(sink_fini) struct sink sink;
    struct stat stat;

    (void)state;
    file = open_file(&sink, 25, 2);
    assert_int_equal(fstat(sink.fd, &stat), 0);
    assert_int_equal(stat.st_mode & 07777, 0600);
    write_lines(&sink, 2);
    assert_string_equal(content(".1"), "-");
    write_lines(&sink, 1);
    assert_string_equal(content(""), "000000003\n");
    assert_string_equal(content(".1"), "000000001\n000000002\n");
    write_lines(&sink, 4);
    assert_string_equal(content(""), "000000007\n");
    assert_string_equal(content(".1"), "000000005\n000000006\n");
    assert_string_equal(content(".2"), "000000003\n000000004\n");
    assert_string_equal(content(".3"), "-");
    assert_string_equal(content(".new"), "-");
}

static void keeps_none_where_none_is_wanted(void **state)
{
    CLEANUP(events_file_free) struct events_file *file = NULL;
    CLEANUP(sink_fini) struct sink sink;

    (void)state;
    file = open_file(&sink, 25, 0);
    write_lines(&sink, 3);
    assert_string_equal(content(""), "000000003\n");
    assert_string_equal(content(".1"), "-");
}

static void a_batch_larger_than_a_file_stays_whole(void **state)
{
    CLEANUP(events_file_free) struct events_file *file = NULL;
    struct flow_event event = {.kind = FLOW_EVENT_EXIT};
    CLEANUP(sink_fini) struct sink sink;

    (void)state;
    file = open_file(&sink, 5, 1);
    for (int i = 0; i < 3; i++)
        sink_write(&sink, &event);
    sink_flush(&sink);
    assert_string_equal(content(""), "000000001\n000000002\n000000003\n");
    write_lines(&sink, 1);
    assert_string_equal(content(".1"), "000000001\n000000002\n000000003\n");
}

static void goes_on_behind_what_is_there(void **state)
{
    CLEANUP(events_file_free) struct events_file *file = NULL;
    CLEANUP(sink_fini) struct sink sink;

    (void)state;
    put("", "before\n");
    file = open_file(&sink, 0, 1);
    write_lines(&sink, 1);
    assert_string_equal(content(""), "before\n000000001\n");
    assert_string_equal(content(".1"), "-");
}

static void not_behind_half_a_line(void **state)
{
    CLEANUP(events_file_free) struct events_file *file = NULL;
    CLEANUP(sink_fini) struct sink sink;

    (void)state;
    put("", "whole\nha");
    file = open_file(&sink, 0, 1);
    write_lines(&sink, 1);
    assert_string_equal(content(""), "000000001\n");
    assert_string_equal(content(".1"), "whole\nha");
}

/* An agent that is replaced writes until its place is taken. */
static void whoever_wrote_it_before_ends_its_line(void **state)
{
    CLEANUP(events_file_free) struct events_file *file = NULL;
    CLEANUP(sink_fini) struct sink sink;

    (void)state;
    put("", "ha");
    file = open_file(&sink, 0, 1);
    put("", "half\n");
    write_lines(&sink, 1);
    assert_string_equal(content(""), "half\n000000001\n");
    assert_string_equal(content(".1"), "-");
}

static void whoever_wrote_it_before_begins_anew(void **state)
{
    CLEANUP(events_file_free) struct events_file *before = NULL, *file = NULL;
    CLEANUP(sink_fini) struct sink sink_before;
    CLEANUP(sink_fini) struct sink sink;

    (void)state;
    before = open_file(&sink_before, 25, 2);
    write_lines(&sink_before, 2);
    file = open_file(&sink, 25, 2);
    write_lines(&sink_before, 1);
    write_lines(&sink, 1);
    assert_string_equal(content(""), "000000003\n000000001\n");
    assert_string_equal(content(".1"), "000000001\n000000002\n");
    assert_string_equal(content(".2"), "-");
}

static void follows_who_moves_it_away(void **state)
{
    CLEANUP(events_file_free) struct events_file *file = NULL;
    CLEANUP(sink_fini) struct sink sink;
    char moved[128];

    (void)state;
    file = open_file(&sink, 0, 1);
    write_lines(&sink, 1);
    snprintf(moved, sizeof(moved), "%s", path_of(".3"));
    assert_int_equal(rename(path_of(""), moved), 0);
    write_lines(&sink, 1);
    assert_string_equal(content(""), "-");
    events_file_reopen(file);
    write_lines(&sink, 1);
    assert_string_equal(content(".3"), "000000001\n000000002\n");
    assert_string_equal(content(""), "000000003\n");
}

static void tries_again_what_it_cannot_open_behind_whoever_moved_it(void **state)
{
    CLEANUP(events_file_free) struct events_file *file = NULL;
    CLEANUP(sink_fini) struct sink sink;
    char moved[128];

    (void)state;
    file = open_file(&sink, 0, 1);
    snprintf(moved, sizeof(moved), "%s", path_of(".1"));
    assert_int_equal(rename(path_of(""), moved), 0);
    assert_int_equal(mkdir(path_of(""), 0700), 0); /* in the way */
    write_lines(&sink, 1);
    assert_string_equal(content(".1"), "000000001\n");
    assert_int_equal(rmdir(path_of("")), 0);
    write_lines(&sink, 1);
    assert_string_equal(content(".1"), "000000001\n");
    assert_string_equal(content(""), "000000002\n");
}

/* What cannot be moved goes on where it is, and moves as soon as it can. */
static void loses_nothing_where_it_cannot_move(void **state)
{
    CLEANUP(events_file_free) struct events_file *file = NULL;
    CLEANUP(sink_fini) struct sink sink;

    (void)state;
    assert_int_equal(mkdir(path_of(".1"), 0700), 0); /* in the way */
    file = open_file(&sink, 25, 1);
    write_lines(&sink, 4);
    assert_string_equal(content(""), "000000001\n000000002\n000000003\n000000004\n");
    assert_string_equal(content(".new"), "-");
    assert_int_equal(sink.lost, 0);
    assert_int_equal(rmdir(path_of(".1")), 0);
    write_lines(&sink, 1);
    assert_string_equal(content(""), "000000005\n");
}

/* A full disk, as far as a process can make one. */
static void limit_file_size(rlim_t size)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size < limit.rlim_max ? size : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_costs_what_did_not_fit_and_it_goes_on(void **state)
{
    CLEANUP(events_file_free) struct events_file *file = NULL;
    CLEANUP(sink_fini) struct sink sink;

    (void)state;
    file = open_file(&sink, 25, 1);
    limit_file_size(14); /* the second line is cut */
    write_lines(&sink, 4);
    assert_string_equal(content(""), "000000001\n0000");
    assert_string_equal(content(".1"), "-"); /* never inside a line */
    limit_file_size(RLIM_INFINITY);
    write_lines(&sink, 1);
    sink_flush(&sink);
    write_lines(&sink, 1);
    assert_string_equal(content(".1"), "000000001\n000000002\n000000003 lost 2\n000000004\n");
    assert_string_equal(content(""), "000000005\n");
}

static void says_why_it_cannot_be_opened(void **state)
{
    const struct events_file_settings settings = {"/nowhere/events", 0, 1};
    struct events_file *file = NULL;
    struct sink sink;
    struct err err;

    (void)state;
    assert_true(events_file_open(&file, &settings, &sink, render_ten, "", &err) < 0);
    assert_null(file);
    assert_string_equal(err.text, "/nowhere/events: No such file or directory");
}

#define TEST(name) cmocka_unit_test_teardown(name, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(begins_anew_when_it_is_full),
        TEST(keeps_none_where_none_is_wanted),
        TEST(a_batch_larger_than_a_file_stays_whole),
        TEST(goes_on_behind_what_is_there),
        TEST(not_behind_half_a_line),
        TEST(whoever_wrote_it_before_ends_its_line),
        TEST(whoever_wrote_it_before_begins_anew),
        TEST(follows_who_moves_it_away),
        TEST(tries_again_what_it_cannot_open_behind_whoever_moved_it),
        TEST(loses_nothing_where_it_cannot_move),
        TEST(a_full_disk_costs_what_did_not_fit_and_it_goes_on),
        TEST(says_why_it_cannot_be_opened),
    };
    int failed;

    signal(SIGXFSZ, SIG_IGN);
    if (!mkdtemp(dir))
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
