/* limits: what the machine gives becomes what connections may take; who is over is refused, and
 * comes in again when another has left. */
#include "proxy/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"

#define MB        (UINT64_C(1) << 20)
#define UNLIMITED UINT64_MAX

static const struct {
    const char *name;
    struct limits_machine machine;
    uint64_t connections;
    enum limit then;
} machines[] = {
    {"a server: the files count",
     {1048576, 76, 1024 * 1024 * MB},
     (1048500 - 256) / 2,
     LIMIT_FILES},
    {"a laptop: the memory counts", {1048576, 76, 16384 * MB}, 52428, LIMIT_MEMORY},
    {"a shell's 1024 files", {1024, 76, 16384 * MB}, (948 - 256) / 2, LIMIT_FILES},
    {"128 files: half are set aside", {128, 88, 16384 * MB}, 10, LIMIT_FILES},
    {"fewer files than are open", {64, 80, 16384 * MB}, 0, LIMIT_FILES},
    {"a VM of 256 MB", {20000, 76, 128 * MB}, 409, LIMIT_MEMORY},
    {"hardly any memory: still a few", {20000, 76, 0}, 204, LIMIT_MEMORY},
    {"memory that nobody tells", {1024, 76, UNLIMITED}, 346, LIMIT_FILES},
};

static void as_many_come_in_as_the_machine_allows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
        struct limits limits;
        uint64_t connections = 0;
        enum limit lacking;

        print_message("  %s\n", machines[i].name);
        limits_init(&limits, &machines[i].machine);
        while ((lacking = limits_admit(&limits, NULL)) == LIMIT_NONE)
            connections++;
        assert_int_equal(connections, machines[i].connections);
        assert_int_equal(lacking, machines[i].then);
        assert_int_equal(limits.connections, connections);
        if (connections) {
            limits_leave(&limits, NULL);
            assert_int_equal(limits_admit(&limits, NULL), LIMIT_NONE);
        }
        while (connections--)
            limits_leave(&limits, NULL);
        if (limits.most[LIMIT_FILES])
            assert_int_equal(limits_admit(&limits, NULL), LIMIT_NONE);
    }
}

static void what_is_taken_on_top_is_not_there_for_others(void **state)
{
    static const struct limits_machine small = {128, 88, 128 * MB};
    struct limits limits;

    (void)state;
    limits_init(&limits, &small);
    assert_false(limits_take_spare(&limits, LIMIT_MEMORY, 16 * MB + 1));
    assert_true(limits_take_spare(&limits, LIMIT_MEMORY, 16 * MB));
    limits_give(&limits, LIMIT_MEMORY, 16 * MB);
    assert_true(limits_take(&limits, LIMIT_MEMORY, 32 * MB - LIMITS_FLOW_BYTES));
    assert_int_equal(limits_admit(&limits, NULL), LIMIT_NONE);
    assert_false(limits_take(&limits, LIMIT_MEMORY, 1));
    assert_int_equal(limits_admit(&limits, NULL), LIMIT_MEMORY);
    limits_give(&limits, LIMIT_MEMORY, LIMITS_FLOW_BYTES);
    assert_int_equal(limits_admit(&limits, NULL), LIMIT_NONE);
    assert_false(limits_take(&limits, LIMIT_MEMORY, UINT64_MAX));
    assert_true(limits_take(&limits, LIMIT_FILES, 16));
    assert_int_equal(limits_admit(&limits, NULL), LIMIT_FILES);
    /* who was refused for one thing has taken nothing of the other */
    limits_give(&limits, LIMIT_FILES, 16);
    assert_int_equal(limits_admit(&limits, NULL), LIMIT_MEMORY);
    assert_int_equal(limits.used[LIMIT_FILES], 2 * LIMITS_FLOW_FILES);
}

/* As many as come in for one pod after another, of 600 connections that the machine allows. */
static const struct {
    const char *name;
    bool shared;
    uint64_t want[4];
} crowds[] = {
    {"a pod alone takes it all", false, {600, 0, 0, 0}},
    {"one after the other: each finds some", true, {481, 96, 19, 4}},
};

static void no_pod_takes_what_others_want(void **state)
{
    static const struct limits_machine machine = {1456, 0, UNLIMITED};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(crowds); i++) {
        struct pod pods[4] = {{.refs = 1}, {.refs = 1}, {.refs = 1}, {.refs = 1}};
        struct limits limits;

        print_message("  %s\n", crowds[i].name);
        limits_init(&limits, &machine);
        limits_share(&limits, crowds[i].shared ? 4 : 1);
        for (size_t pod = 0; pod < ARRAY_SIZE(pods); pod++) {
            while (limits_admit(&limits, &pods[pod]) == LIMIT_NONE)
                ;
            assert_int_equal(pods[pod].connections, crowds[i].want[pod]);
        }
        if (crowds[i].shared) /* who has its share comes in again when another leaves */
            assert_int_equal(limits_admit(&limits, &pods[0]), LIMIT_SHARE);
        for (size_t pod = 1; pod < ARRAY_SIZE(pods); pod++)
            while (pods[pod].connections)
                limits_leave(&limits, &pods[pod]);
        if (crowds[i].shared)
            assert_int_equal(limits_admit(&limits, &pods[1]), LIMIT_NONE);
        limits_move(&pods[0], &pods[1]);
        assert_int_equal(pods[0].connections, crowds[i].want[0] - 1);
    }
}

static void what_is_only_listened_to_takes_no_files(void **state)
{
    static const struct limits_machine machine = {76, 76, 128 * MB};
    struct pod pods[2] = {{.refs = 1}, {.refs = 1}};
    struct limits limits;
    unsigned streams = 0;

    (void)state;
    limits_init(&limits, &machine);
    assert_int_equal(limits_admit(&limits, NULL), LIMIT_FILES);
    limits_share(&limits, 2);
    while (limits_admit_stream(&limits, &pods[0]) == LIMIT_NONE)
        streams++;
    assert_int_equal(pods[0].streams, streams);
    assert_int_equal(streams, 547); /* four fifths of 32 MB, and one */
    assert_int_equal(limits_admit_stream(&limits, &pods[1]), LIMIT_NONE);
    while (pods[0].streams)
        limits_leave_stream(&limits, &pods[0]);
    assert_int_equal(limits.used[LIMIT_MEMORY], LIMITS_STREAM_BYTES);
    assert_int_equal(limits.connections, 1);
}

static void what_is_taken_on_top_leaves_some_to_new_connections(void **state)
{
    static const struct limits_machine machine = {1456, 0, UNLIMITED};
    struct limits limits;

    (void)state;
    limits_init(&limits, &machine);
    limits_share(&limits, 2);
    assert_true(limits_take(&limits, LIMIT_FILES, 1050));
    assert_false(limits_take(&limits, LIMIT_FILES, 1));
    limits_share(&limits, 1);
    assert_true(limits_take(&limits, LIMIT_FILES, 150));
}

static void an_ebb_is_said_once_for_each_flood(void **state)
{
    static const struct limits_machine server = {1048576, 76, 1024 * 1024 * MB};
    struct limits limits;

    (void)state;
    limits_init(&limits, &server);
    for (int flood = 0; flood < 2; flood++) {
        int said = 0;

        for (int i = 0; i < 1000; i++) {
            assert_int_equal(limits_admit(&limits, NULL), LIMIT_NONE);
            assert_false(limits_ebbed(&limits));
        }
        for (int i = 999; i >= 0; i--) {
            limits_leave(&limits, NULL);
            said += limits_ebbed(&limits);
            assert_int_equal(said, i <= 125);
        }
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(limits_admit(&limits, NULL), LIMIT_NONE);
    for (int i = 0; i < 100; i++)
        limits_leave(&limits, NULL);
    assert_false(limits_ebbed(&limits)); /* that was none */
}

static const struct {
    uint64_t ms;
    enum limit what;
    const char *want;
} refusals[] = {
    {5000, LIMIT_FILES, "refused 1 connections beside 0 open ones: more open files than allowed"},
    {5001, LIMIT_FILES, NULL},
    {5002, LIMIT_MEMORY, NULL},
    {5999, LIMIT_FILES, NULL},
    {6000, LIMIT_FILES, "refused 3 connections beside"},
    {6500, LIMIT_FILES, NULL},
    {9000, LIMIT_MEMORY, "refused 2 connections beside 0 open ones: more memory than"},
    {9999, LIMIT_FILES, NULL},
    {10000, LIMIT_FILES, "refused 3 connections beside"},
};

static void refusals_are_counted_and_told_once_a_second(void **state)
{
    struct limits limits = {.most = {0}};
    char line[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        line[0] = 0;
        print_message("  after %d ms\n", (int)refusals[i].ms);
        if (!limits_refuse(&limits, refusals[i].what, refusals[i].ms * 1000000, line, sizeof(line)))
            assert_null(refusals[i].want);
        else if (assert_non_null(refusals[i].want), strstr(line, refusals[i].want) != line)
            fail_msg("%s", line);
    }
    assert_int_equal(limits.refused[LIMIT_FILES], 7);
    assert_int_equal(limits.refused[LIMIT_MEMORY], 2);
}

static const struct {
    const char *line;
    uint64_t want;
} lines[] = {
    {"MemAvailable:   23265000 kB\n", UINT64_C(23265000) << 10},
    {"MemTotal:       24684548 kB\n", 0},
    {"MemAvailable:", 0},
    {"", 0},
};

static void reads_what_the_kernel_says_is_available(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        assert_int_equal(limits_available(lines[i].line), lines[i].want);
}

static void the_machine_we_are_on_has_room(void **state)
{
    struct limits_machine machine;

    (void)state;
    limits_read_machine(&machine);
    assert_true(machine.files_open >= 3 && machine.files_open < machine.files);
    assert_true(machine.memory > MB);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_come_in_as_the_machine_allows),
        cmocka_unit_test(what_is_taken_on_top_is_not_there_for_others),
        cmocka_unit_test(no_pod_takes_what_others_want),
        cmocka_unit_test(what_is_only_listened_to_takes_no_files),
        cmocka_unit_test(what_is_taken_on_top_leaves_some_to_new_connections),
        cmocka_unit_test(an_ebb_is_said_once_for_each_flood),
        cmocka_unit_test(refusals_are_counted_and_told_once_a_second),
        cmocka_unit_test(reads_what_the_kernel_says_is_available),
        cmocka_unit_test(the_machine_we_are_on_has_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
