/* watch: every way in which people and machines replace files is noticed, once; what leaves them as
 * they are is not. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "proxy/watch.h"

/* In $D there is, before each case, as Kubernetes makes it:
 *   link/..data -> ..1, link/..1/f, link/f -> ..data/f; and plain/f, other/f, dir/sub/f */
static const char before[] =
    "rm -rf \"$D\"; mkdir -p \"$D\"/link/..1 \"$D\"/plain \"$D\"/other \"$D\"/dir/sub; cd \"$D\";"
    "ln -s ..1 link/..data; ln -s ..data/f link/f;"
    "for f in link/..1/f plain/f other/f dir/sub/f; do echo a >$f; done; ln -s ../plain/f dir/far";

static const struct {
    const char *name, *path, *change; /* change: a shell's, in $D */
    bool noticed;
} cases[] = {
    {"written anew", "plain/f", "echo b >plain/f", true},
    {"appended to", "plain/f", "echo b >>plain/f", true},
    {"renamed over", "plain/f", "echo b >plain/.f; mv plain/.f plain/f", true},
    {"renamed over by an equal one", "plain/f", "echo a >plain/.f; mv plain/.f plain/f", true},
    {"removed", "plain/f", "rm plain/f", true},
    {"made readable", "plain/f", "chmod 640 plain/f", true},
    {"a link put in its place", "plain/f", "ln -sf ../other/f plain/f", true},
    {"a hard link put in its place", "plain/f", "ln -f other/f plain/f", true},
    {"what its link leads to", "dir/far", "echo b >plain/f", true},
    {"..data swapped", "link/f",
     "mkdir link/..2; echo b >link/..2/f; ln -s ..2 link/..tmp; mv -T link/..tmp link/..data; "
     "rm -r link/..1",
     true},
    {"its directory replaced", "plain/f", "mkdir new; echo b >new/f; mv plain old; mv new plain",
     true},
    {"a link to its directory swapped", "now/f", "ln -s other now", true},
    {"made where it was missing", "plain/g", "echo b >plain/g", true},
    {"made where all above was missing", "x/y/z/f", "mkdir -p x/y/z; echo b >x/y/z/f", true},
    {"a file in the directory", "plain", "echo b >plain/g", true},
    {"a file in the directory, by ..data", "link",
     "mkdir link/..2; echo b >link/..2/f; ln -s ..2 link/..tmp; mv -T link/..tmp link/..data",
     true},
    {"the directory replaced", "plain", "mkdir new; mv plain old; mv new plain", true},
    {"a file beside it", "plain/f", "echo b >plain/g", false},
    {"read", "plain/f", "cat plain/f >/dev/null", false},
    {"opened for writing, and left as it was", "plain/f", ": >>plain/f", false},
    {"a file below the directory's directories", "dir", "echo b >dir/sub/f", false},
};

static char dir[] = "/tmp/sallyport-test.XXXXXX";
static unsigned noticed;

static void free_base(struct event_base **base)
{
    event_base_free(*base);
}

static void run(const char *script)
{
    assert_int_equal(system(script), 0);
}

static void on_change(void *arg)
{
    noticed++;
    event_base_loopbreak(arg);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

/* (event_base_loopexit() would leave a timer behind, to end a later turn.) */
static void turn(struct event_base *base, unsigned ms)
{
    struct timeval wait = {.tv_sec = (time_t)(ms / 1000),
                           .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    struct event *end = evtimer_new(base, on_time, base);

    event_add(end, &wait);
    event_base_dispatch(base);
    event_free(end);
}

static void notices_what_leads_elsewhere(void **state)
{
    CLEANUP(free_base) struct event_base *base = event_base_new();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(watch_free) struct watch *watch = NULL;
        CLEANUP(text_free) char *path = NULL, *script = NULL;
        const char *paths[2] = {NULL};

        print_message("  %s\n", cases[i].name);
        run(before);
        assert_true(asprintf(&path, "%s/%s", dir, cases[i].path) > 0);
        assert_true(asprintf(&script, "set -e; cd \"$D\"; %s", cases[i].change) > 0);
        paths[1] = path;
        assert_int_equal(watch_new(&watch, base, on_change, base, NULL), 0);
        assert_int_equal(watch_set(watch, paths, 2, NULL), 0);
        noticed = 0;
        run(script);
        turn(base, cases[i].noticed ? 5000 : 300);
        assert_int_equal(noticed, cases[i].noticed);
    }
}

static struct watch *watch_plain(struct event_base *base, const char *name, char **path)
{
    struct watch *watch = NULL;

    run(before);
    assert_true(asprintf(path, "%s/plain%s", dir, name) > 0);
    assert_int_equal(watch_new(&watch, base, on_change, base, NULL), 0);
    assert_int_equal(watch_set(watch, (const char *const *)path, 1, NULL), 0);
    noticed = 0;
    return watch;
}

static void append(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

    assert_int_equal(write(fd, "b", 1), 1);
    close(fd);
}

/* A busy machine may make us pause: then it was quiet, and we start over. */
static void appends_without_a_pause(struct event_base *base, const char *path, int times)
{
    uint64_t last = clock_ns();

    for (int i = 0; i < times; i++) {
        uint64_t earlier = last;

        last = clock_ns();
        append(path);
        turn(base, WATCH_QUIET_MS / 4);
        if (clock_ns() - earlier < UINT64_C(1000000) * WATCH_QUIET_MS) {
            assert_int_equal(noticed, 0);
            continue;
        }
        if (!noticed)
            turn(base, 5000);
        noticed = 0;
        last = clock_ns();
        i = -1;
    }
}

/* All that follows within a moment is one change; the next one is one of its own. */
static void waits_until_it_is_quiet(void **state)
{
    CLEANUP(free_base) struct event_base *base = event_base_new();
    CLEANUP(text_free) char *path = NULL;
    CLEANUP(watch_free) struct watch *watch = watch_plain(base, "/f", &path);

    (void)state;
    appends_without_a_pause(base, path, 6);
    turn(base, 5000);
    assert_int_equal(noticed, 1);
    turn(base, WATCH_QUIET_MS * 3 / 2);
    assert_int_equal(noticed, 1);
    append(path);
    turn(base, 5000);
    assert_int_equal(noticed, 2);
}

static void does_not_wait_for_ever(void **state)
{
    CLEANUP(free_base) struct event_base *base = event_base_new();
    CLEANUP(text_free) char *path = NULL;
    CLEANUP(watch_free) struct watch *watch = watch_plain(base, "/f", &path);
    uint64_t end = clock_ns() + 4 * UINT64_C(1000000) * WATCH_PATIENCE_MS;

    (void)state;
    while (!noticed && clock_ns() < end) {
        append(path);
        turn(base, WATCH_QUIET_MS / 10);
    }
    assert_int_equal(noticed, 1);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) && setenv("D", dir, 1) == 0 ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return system("rm -rf \"$D\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notices_what_leads_elsewhere),
        cmocka_unit_test(waits_until_it_is_quiet),
        cmocka_unit_test(does_not_wait_for_ever),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
