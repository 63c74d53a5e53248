/* pod_files: what was written is there for the next agent; what is none of ours stays; what is
 * broken is set aside. */
#include "proxy/pods/pod_files.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/cleanup.h"

static char dir[64];

static const char *path_of(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void put(const char *name, const char *text)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static bool is_there(const char *name)
{
    struct stat file;

    return stat(path_of(name), &file) == 0;
}

static uint64_t visited;

/* What is to become of it is in the file. */
static enum pod_files_fate visit(void *arg, uint64_t id, const json_t *object, struct err *err)
{
    (void)arg;
    visited += id;
    err_set(err, -EINVAL, "as it says");
    return (enum pod_files_fate)json_integer_value(json_object_get(object, "fate"));
}

static void each_meets_its_fate(void **state)
{
    static const struct {
        const char *name, *text;
        bool stays, aside;
    } files[] = {
        {"1.json", "{\"fate\": 0}", true, false},
        {"20.json", "{\"fate\": 1}", false, false},
        {"300.json", "{\"fate\": 2}", false, true},
        {"4000.json", "{\"fate\": 0, \"fate\": 1}", false, true},
        {"5000.json", "", false, true},
        {"6000.json", "{\"fate\"", false, true},
        {"7000.json.broken", "{\"fate\": 1}", true, false},
        {"8000.jso", "{\"fate\": 1}", true, false},
        {"0.json", "{\"fate\": 1}", true, false},
        {"-1.json", "{\"fate\": 1}", true, false},
        {"note", "", true, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        put(files[i].name, files[i].text);
    pod_files_each(dir, visit, NULL);
    assert_int_equal(visited, 321);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        char aside[64];

        print_message("  %s %s\n", files[i].name, files[i].text);
        snprintf(aside, sizeof(aside), "%s.broken", files[i].name);
        assert_int_equal(is_there(files[i].name), files[i].stays);
        assert_int_equal(is_there(aside), files[i].aside);
        unlink(path_of(files[i].name));
        unlink(path_of(aside));
    }
}

static void what_is_written_is_ours_alone(void **state)
{
    json_t *object = json_pack("{s:i}", "fate", 1);
    struct err err = {0};
    struct stat file;

    (void)state;
    umask(0);
    assert_int_equal(pod_files_write(dir, 18446744073709551615u, object, &err), 0);
    assert_int_equal(stat(path_of("18446744073709551615.json"), &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    visited = 0;
    pod_files_each(dir, visit, NULL);
    assert_true(visited == UINT64_MAX);
    assert_false(is_there("18446744073709551615.json"));
    assert_int_equal(pod_files_write(dir, 7, object, &err), 0);
    pod_files_remove(dir, 7);
    assert_false(is_there("7.json"));
    assert_true(pod_files_write("/proc/none", 7, object, &err) < 0);
    json_decref(object);
}

static int begin(void **state)
{
    struct err err;
    char parent[] = "/tmp/sallyport-unit.XXXXXX";

    (void)state;
    if (!mkdtemp(parent))
        return -1;
    snprintf(dir, sizeof(dir), "%s/pods", parent);
    return pod_files_init(dir, &err) < 0 || pod_files_init(dir, &err) < 0;
}

static int end(void **state)
{
    (void)state;
    if (rmdir(dir) < 0)
        return -1;
    *strrchr(dir, '/') = 0;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_meets_its_fate),
        cmocka_unit_test(what_is_written_is_ours_alone),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
