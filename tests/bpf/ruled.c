/* ruled: policies as they are written, and what the kernel makes of a pod's connects by them. */
#include "fixture.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "heard.h"
#include "proxy/dns/names.h"
#include "proxy/enforce/kernel_rules.h"
#include "sallyport.skel.h"

#define POLICY(name)                                                                               \
    "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: " name "}\nspec:\n"

static size_t entries(const struct bpf_map *map)
{
    uint8_t keys[2][512];
    size_t count = 0;

    for (int code = bpf_map_get_next_key(bpf_map__fd(map), NULL, keys[0]); code == 0; count++)
        code = bpf_map_get_next_key(bpf_map__fd(map), keys[count % 2], keys[(count + 1) % 2]);
    return count;
}

/* ---- connects ---- */

static int connect_from_pod(const char *to, uint16_t port)
{
    struct report report = dial_from_pod((struct dial){.family = AF_INET, .to = to, .port = port});

    fd_close(&report.fd);
    return report.code;
}

static void a_connect_is_judged_by_address_and_port(void **state)
{
    CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_STREAM, AF_INET, "0.0.0.0", 9000);

    (void)state;
    use_policy(POLICY("a") "  egress:\n  - toCIDR: [198.51.100.0/24]\n"
                           "    toPorts: [{ports: [{port: \"9000\", protocol: TCP}]}]\n");
    heard_forget();
    assert_int_equal(connect_from_pod("198.51.100.1", 9000), 0);
    assert_int_equal(connect_from_pod("198.51.100.1", 9001), -EPERM);
    assert_int_equal(connect_from_pod("192.0.2.254", 9000), -EPERM);
    assert_int_equal(heard_count(ABI_SOCKET_DENIED, 0), 2);
    use_policy(POLICY("a") "  onDeny: reset\n  egressDeny:\n  - toCIDR: [198.51.100.0/24]\n");
    assert_int_equal(connect_from_pod("198.51.100.1", 9000), -ECONNREFUSED);
    assert_int_equal(connect_from_pod("192.0.2.254", 9000), 0);
    use_policy(POLICY("a") "  mode: monitor\n  egress: []\n");
    assert_int_equal(connect_from_pod("198.51.100.1", 9000), 0);
    assert_true(server >= 0);
}

static void what_policies_want_to_read_is_steered(void **state)
{
    struct dial dial = {.family = AF_INET, .to = "198.51.100.1", .port = 9000};
    struct report report;
    struct origin origin;

    (void)state;
    use_policy(
        POLICY("a") "  egress:\n  - toPorts: [{ports: [{port: \"9000\"}], rules: {http: [{}]}}]\n");
    report = dial_from_pod(dial);
    assert_steered(&dial, &report, &origin);
}

static void one_table_after_the_other_and_none_is_left(void **state)
{
    const struct sallyport_bpf *bpf = keeper_bpf(fx.keeper);

    (void)state;
    for (int i = 0; i < 3; i++) {
        use_policy(POLICY("a") "  egress: [{toCIDR: [198.51.100.0/24]}]\n");
        usleep(1100000); /* what is no more in use is kept for a second */
    }
    use_policy(POLICY("a") "  egress: []\n");
    assert_true(entries(bpf->maps.policy_rules) <= 2);
    use_policy("");
    usleep(1100000);
    use_policy("");
    assert_int_equal(entries(bpf->maps.policy_rules), 0);
    assert_int_equal(entries(bpf->maps.policy_nets), 0);
    assert_int_equal(entries(bpf->maps.policy_ports), 0);
    assert_int_equal(entries(bpf->maps.policy_whos), 0);
}

/* ---- names ---- */

static void resolve(struct names *names, const char *name, const char *to, uint32_t ttl)
{
    struct match_cidr cidr;

    assert_true(match_cidr_parse(to, &cidr));
    names_add(names, bed_cgroup_id(&fx.bed, "pod"), name, &cidr.network, ttl, true, clock_ns());
}

static void a_name_opens_what_it_was_resolved_to(void **state)
{
    static const char policy[] = POLICY("a") "  egress:\n"
                                             "  - toFQDNs: [{matchName: a.example.com}]\n"
                                             "    toPorts: [{ports: [{port: \"9000\"}]}]\n";
    struct dial dial = {.family = AF_INET, .to = "198.51.100.1", .port = 9000};
    CLEANUP(names_free) struct names *names = NULL;
    struct report report;
    struct origin origin;

    (void)state;
    assert_ok(names_new(&names, &fx.err));
    kernel_rules_learn_names(pods_rules(fx.pods), names);
    use_policy(policy);
    assert_int_equal(connect_from_pod("198.51.100.1", 9000), -EPERM);
    resolve(names, "b.example.com.", "198.51.100.1", 300);
    assert_int_equal(connect_from_pod("198.51.100.1", 9000), -EPERM);
    resolve(names, "a.example.com.", "198.51.100.1", 300);
    report = dial_from_pod(dial); /* the name will be said, and must be that */
    assert_steered(&dial, &report, &origin);
    assert_int_equal(connect_from_pod("198.51.100.1", 9001), -EPERM);
    assert_int_equal(connect_from_pod("192.0.2.254", 9000), -EPERM);
    use_policy(policy); /* by what was resolved before they were in force, too */
    report = dial_from_pod(dial);
    assert_steered(&dial, &report, &origin);
    kernel_rules_learn_names(pods_rules(fx.pods), NULL);
}

/* ---- programs ---- */

static char programs[64]; /* a directory with copies of a shell */

static void run_shell(const void *arg, struct report *report)
{
    const char *const *command = arg;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        close(STDERR_FILENO); /* where a shell complains */
        execl(command[0], command[0], "-c", command[1], NULL);
        _exit(126);
    }
    report->code = waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The shell's exit status: 0 if it got through. */
static int shell(const char *name, const char *script)
{
    char path[128];
    const char *const command[] = {path, script};
    struct report report;

    snprintf(path, sizeof(path), "%s/%s", programs, name);
    bed_run(&fx.bed, "pod", fx.bed.pod, run_shell, command, &report);
    return report.code;
}

static void a_policy_may_be_for_some_programs(void **state)
{
    static const char dials[] = "exec 3<>/dev/tcp/198.51.100.1/9000";
    static const char has_other_dial[] =
        "$DIR/other -c 'exec 3<>/dev/tcp/198.51.100.1/9000'; exit $?";
    static const char becomes_other[] = "exec $DIR/other -c 'exec 3<>/dev/tcp/198.51.100.1/9000'";
    static const struct {
        const char *name, *binaries;
        bool listed, other, other_by_listed, other_after_listed; /* whether it gets through */
    } cases[] = {
        {"on a list", "{operator: In, values: [$DIR/listed]}", false, true, true, true},
        {"... with what descends", "{operator: In, values: [$DIR/listed], followChildren: true}",
         false, true, false, true},
        {"not on a list", "{operator: NotIn, values: [$DIR/listed]}", true, false, false, false},
        {"... nor what descends", "{operator: NotIn, values: [$DIR/listed], followChildren: true}",
         true, false, true, false},
        {"by the beginning", "{operator: Prefix, values: [$DIR/li]}", false, true, true, true},
        {"by all of it", "{operator: Prefix, values: [$DIR/listed]}", false, true, true, true},
        {"by the end", "{operator: Postfix, values: [sted]}", false, true, true, true},
        {"by another end", "{operator: NotPostfix, values: [/listed]}", true, false, false, false},
    };
    CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_STREAM, AF_INET, "0.0.0.0", 9000);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char yaml[512], *at;

        print_message("  %s\n", cases[i].name);
        snprintf(yaml, sizeof(yaml), POLICY("a") "  egress: []\n  matchBinaries: [%s]\n",
                 cases[i].binaries);
        at = strstr(yaml, "$DIR");
        if (at) { /* as long as what takes its place */
            memmove(at + strlen(programs), at + 4, strlen(at + 4) + 1);
            memcpy(at, programs, strlen(programs));
        }
        use_policy(yaml);
        assert_int_equal(shell("listed", dials) == 0, cases[i].listed);
        assert_int_equal(shell("other", dials) == 0, cases[i].other);
        assert_int_equal(shell("listed", has_other_dial) == 0, cases[i].other_by_listed);
        assert_int_equal(shell("listed", becomes_other) == 0, cases[i].other_after_listed);
        for (int got; (got = accept_within(server, 0)) >= 0;)
            close(got);
    }
    assert_int_equal(entries(keeper_bpf(fx.keeper)->maps.policy_images), 0); /* they have ended */
}

static int set_up_all(void **state)
{
    static const char *const names[] = {"listed", "other"};
    char command[256];
    int code = set_up(state);

    heard_init();
    snprintf(programs, sizeof(programs), "/mnt/programs"); /* of the bed's own */
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        snprintf(command, sizeof(command), "mkdir -p %s && cp /bin/bash %s/%s", programs, programs,
                 names[i]);
        assert_int_equal(system(command), 0);
    }
    setenv("DIR", programs, 1);
    return code;
}

static int take_down_all(void **state)
{
    heard_fini();
    return take_down(state);
}

#define with(test) cmocka_unit_test_setup_teardown(test, register_default, unregister)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with(a_connect_is_judged_by_address_and_port),
        with(what_policies_want_to_read_is_steered),
        with(one_table_after_the_other_and_none_is_left),
        with(a_name_opens_what_it_was_resolved_to),
        with(a_policy_may_be_for_some_programs),
    };

    return cmocka_run_group_tests(tests, set_up_all, take_down_all);
}
