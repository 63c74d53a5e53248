#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proxy/probe/report.h"

#define THERE(name, required)                                                                      \
    {                                                                                              \
        name, "it does not work", true, required, "tried"                                          \
    }
#define GONE(name, required)                                                                       \
    {                                                                                              \
        name, "it does not work", false, required, "the reason"                                    \
    }
#define SOCKMAP_PLAIN "sk_msg programs can read and deny plain HTTP; there is no kTLS here"
#define NOTHING                                                                                    \
    "nothing in this kernel can read and deny what bypasses the proxy: all stays on the proxy"

static const struct {
    const char *what;
    struct probe_report report;
    bool exec, color;
    const char *text, *json;
} cases[] = {
    {
        "all is there",
        {.kernel = "6.1",
         .checks = {THERE("a needed one", true), THERE("one with a long name", false)},
         .checks_len = 2,
         .means = {.sk_msg = true}},
        true,
        false,
        "ok       a needed one          else it does not work\n"
        "ok       one with a long name  else it does not work\n"
        "ok       foreign programs      none on our hooks, from this cgroup up to the root\n"
        "sockmap  kernel route          " SOCKMAP_PLAIN "\n"
        "exec works here\n",
        "{\"kernel\":\"6.1\",\"checks\":["
        "{\"name\":\"a needed one\",\"found\":true,\"required\":true,\"detail\":\"tried\","
        "\"consequence\":\"it does not work\"},"
        "{\"name\":\"one with a long name\",\"found\":true,\"required\":false,\"detail\":\"tried\","
        "\"consequence\":\"it does not work\"}],\"foreign_programs\":[],"
        "\"kernel_route\":\"sockmap\",\"kernel_route_words\":\"" SOCKMAP_PLAIN
        "\",\"exec\":true}\n",
    },
    {
        "what is missing is summed up, if it is needed",
        {.checks = {GONE("x", true), GONE("y", false), GONE("z", true)}, .checks_len = 3},
        false,
        false,
        "missing  x                 so it does not work (the reason)\n"
        "absent   y                 so it does not work (the reason)\n"
        "missing  z                 so it does not work (the reason)\n"
        "ok       foreign programs  none on our hooks, from this cgroup up to the root\n"
        "none     kernel route      " NOTHING "\n"
        "exec cannot work here: x, z missing\n",
        NULL,
    },
    {
        "an optional one is not",
        {.checks = {THERE("x", true), GONE("y", false)}, .checks_len = 2},
        true,
        true,
        "\x1b[32mok     \x1b[0m  x                 else it does not work\n"
        "\x1b[33mabsent \x1b[0m  y                 so it does not work (the reason)\n"
        "\x1b[32mok     \x1b[0m  foreign programs  none on our hooks, from this cgroup up to the "
        "root\n"
        "\x1b[33mnone   \x1b[0m  kernel route      " NOTHING "\n"
        "\x1b[32mexec works here\x1b[0m\n",
        NULL,
    },
    {
        "strangers' programs, and cgroups with names that fool a terminal",
        {.foreign = {{"cgroup/connect4", "runs after ours", "cgroup_sock_addr", "cil_sock4", 12,
                      "/sys/fs/cgroup/\x1b[2J"},
                     {"sockops", "sees what ours does", NULL, "", 7, "/sys/fs/cgroup"}},
         .foreign_len = 2,
         .foreign_more = 3,
         .foreign_error = "asking failed"},
        true,
        false,
        "foreign  cgroup/connect4   cil_sock4 (id 12) at \"/sys/fs/cgroup/\\x1b[2J\": runs after "
        "ours\n"
        "foreign  sockops           unnamed (id 7) at /sys/fs/cgroup: sees what ours does\n"
        "foreign  foreign programs  and 3 more\n"
        "unknown  foreign programs  others may stand on our hooks (asking failed)\n"
        "none     kernel route      " NOTHING "\n"
        "exec works here\n",
        "{\"foreign_programs\":[{\"hook\":\"cgroup/connect4\",\"name\":\"cil_sock4\",\"id\":12,"
        "\"type\":\"cgroup_sock_addr\",\"at\":\"/sys/fs/cgroup/\\u001b[2J\","
        "\"consequence\":\"runs after ours\"},"
        "{\"hook\":\"sockops\",\"id\":7,\"at\":\"/sys/fs/cgroup\","
        "\"consequence\":\"sees what ours does\"}],\"foreign_programs_more\":3,"
        "\"foreign_programs_error\":\"asking failed\",\"kernel_route\":\"none\","
        "\"kernel_route_words\":\"" NOTHING "\",\"exec\":true}\n",
    },
};

static void assert_text(struct buffer *out, const char *wanted)
{
    assert_false(out->failed);
    buffer_append(out, "", 1);
    assert_string_equal(out->data, wanted);
}

static void tells_what_was_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(buffer_fini) struct buffer text = {0};
        CLEANUP(buffer_fini) struct buffer json = {0};

        print_message("  %s\n", cases[i].what);
        assert_int_equal(probe_exec_works(&cases[i].report), cases[i].exec);
        probe_render_text(&text, &cases[i].report, cases[i].color);
        assert_text(&text, cases[i].text);
        if (!cases[i].json)
            continue;
        probe_render_json(&json, &cases[i].report);
        assert_text(&json, cases[i].json);
    }
}

static const struct {
    const char *what;
    struct kernel_means means;
    enum kernel_route route;
} routes[] = {
    {"nothing", {0}, KERNEL_ROUTE_NONE},
    {"no kTLS, sk_msg", {.sk_msg = true}, KERNEL_ROUTE_SOCKMAP},
    {"no kTLS, sk_msg, LSM", {.sk_msg = true, .lsm = true, .fentry = true}, KERNEL_ROUTE_SOCKMAP},
    {"kTLS alone", {.ktls = true}, KERNEL_ROUTE_NONE},
    {"kTLS that a sockhash would switch off", {.sk_msg = true, .ktls = true}, KERNEL_ROUTE_NONE},
    {"the same with LSM, but nothing tells what was sent",
     {.sk_msg = true, .ktls = true, .lsm = true},
     KERNEL_ROUTE_NONE},
    {"the same with LSM",
     {.sk_msg = true, .ktls = true, .lsm = true, .fentry = true},
     KERNEL_ROUTE_LSM},
    {"LSM, and plain text cannot be read",
     {.ktls = true, .lsm = true, .fentry = true},
     KERNEL_ROUTE_NONE},
    {"kTLS in a sockhash",
     {.sk_msg = true, .ktls = true, .ktls_in_hash = true},
     KERNEL_ROUTE_SOCKMAP},
    {"both: the one that cannot be raced",
     {.sk_msg = true, .ktls = true, .ktls_in_hash = true, .lsm = true, .fentry = true},
     KERNEL_ROUTE_SOCKMAP},
};

static void chooses_the_kernel_route(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        print_message("  %s\n", routes[i].what);
        assert_int_equal(kernel_route_choose(&routes[i].means), routes[i].route);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_was_found),
        cmocka_unit_test(chooses_the_kernel_route),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
