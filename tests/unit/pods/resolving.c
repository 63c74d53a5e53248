#include "proxy/pods/resolving.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "proxy/dns/names.h"

static const struct addr server = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 53}, .port = 53};
static const struct addr host = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 1}, .port = 443};
static char dir[] = "/tmp/sallyport-resolving.XXXXXX";
static struct names *names;
static struct resolving *resolving;

static int begin(void **state)
{
    (void)state;
    return names_new(&names, NULL) < 0 || resolving_new(&resolving, names, dir, NULL) < 0;
}

static int end(void **state)
{
    (void)state;
    resolving_free(&resolving);
    names_free(&names);
    return 0;
}

static void again(void)
{
    end(NULL);
    assert_int_equal(begin(NULL), 0);
}

static const char *path_of(unsigned pod)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/resolving/%u", dir, pod);
    return path;
}

static void put(unsigned pod, const char *text)
{
    FILE *file = fopen(path_of(pod), "we");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static bool is_kept(unsigned pod)
{
    return access(path_of(pod), F_OK) == 0;
}

static void what_was_learnt_is_known_after_a_restart(void **state)
{
    (void)state;
    assert_false(resolving_recall(resolving, 7));
    assert_true(resolving_learn(resolving, 7, getpid(), 0));
    assert_true(is_kept(7));
    put(7, "nameserver 192.0.2.53\n192.0.2.1 api.example\n"); /* as if it had been so */
    again();
    assert_true(resolving_learn(resolving, 7, getpid(), 0)); /* what it has now does not matter */
    assert_true(names_serves(names, 7, &server));
    CLEANUP(names_trusted_fini) struct names_trusted found;

    names_find_trusted(names, 7, &host, 0, &found);
    assert_int_equal(found.names.len, 1);
    assert_string_equal(found.names.list[0], "api.example");
}

static void a_pod_that_goes_is_forgotten(void **state)
{
    (void)state;
    put(7, "nameserver 192.0.2.53\n");
    assert_true(resolving_recall(resolving, 7));
    resolving_forget(resolving, 7);
    assert_false(names_is_configured(names, 7));
    assert_false(is_kept(7));
    assert_false(resolving_recall(resolving, 7));
}

static void a_process_that_is_gone_has_no_files(void **state)
{
    (void)state;
    assert_false(resolving_learn(resolving, 7, getpid(), 1)); /* it began at another time */
    assert_false(names_is_configured(names, 7));
    assert_false(is_kept(7));
}

static bool is_eight(void *arg, uint64_t pod)
{
    (void)arg;
    return pod == 8;
}

static void what_no_pod_has_is_swept(void **state)
{
    (void)state;
    put(7, "");
    put(8, "");
    resolving_sweep(resolving, is_eight, NULL);
    assert_false(is_kept(7));
    assert_true(is_kept(8));
    resolving_forget(resolving, 8);
}

static void without_a_directory_nothing_is_kept(void **state)
{
    CLEANUP(resolving_free) struct resolving *own = NULL;

    (void)state;
    assert_int_equal(resolving_new(&own, names, NULL, NULL), 0);
    assert_true(resolving_learn(own, 9, getpid(), 0));
    assert_true(names_is_configured(names, 9));
    assert_false(is_kept(9));
    resolving_sweep(own, is_eight, NULL);
    resolving_forget(own, 9);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char path[128];

    (void)state;
    unlink(path_of(7));
    snprintf(path, sizeof(path), "%s/resolving", dir);
    rmdir(path);
    return rmdir(dir);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(what_was_learnt_is_known_after_a_restart), TEST(a_pod_that_goes_is_forgotten),
        TEST(a_process_that_is_gone_has_no_files),      TEST(what_no_pod_has_is_swept),
        TEST(without_a_directory_nothing_is_kept),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
