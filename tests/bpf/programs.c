/* programs: proxy/kernel/programs.c over the real map: which programs bypass the proxy, as their
 * keys are handed to the kernel and their connections end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "policy/compile.h"
#include "policy/view.h"
#include "proxy/dns/names.h"
#include "proxy/enforce/policies.h"
#include "proxy/kernel/programs.h"
#include "proxy/pods/pods.h"
#include "sallyport.skel.h"
#include "told.h"

static struct programs *programs;
static struct names *names;
static pid_t sleeper;
static struct policy_view *view; /* what the pod's policies are; NULL: none */

/* In the place of the agent's. */
enum policy_route pods_route(const struct pods *pods, uint64_t cgroup_id)
{
    (void)pods;
    (void)cgroup_id;
    return POLICY_ROUTE_AUTO;
}

struct policy_view *policies_view(struct policies *policies, uint64_t cgroup_id)
{
    (void)policies;
    (void)cgroup_id;
    return policy_view_ref(view);
}

static int map_fd(void)
{
    return bpf_map__fd(watch.bpf->maps.ktls_programs);
}

static int begin(void **state)
{
    int result = told_begin(state);
    struct programs_parts parts = {.bpf = watch.bpf, .identity = identity};
    struct err err;

    if (result == 0)
        result = names_new(&names, &err);
    parts.names = names;
    if (result == 0)
        result = programs_new(&programs, &parts, &err);
    if (result == 0)
        sleeper = start_sleep();
    return result;
}

static int end(void **state)
{
    programs_forget_pod(programs, pod.cgroup_id);
    programs_free(&programs);
    names_free(&names);
    end_process(sleeper);
    policy_view_unref(&view);
    return told_end(state);
}

static struct process *process(void)
{
    return events[0]->process;
}

static void hand_keys_of(uint64_t inode, enum abi_direction direction)
{
    const struct abi_ktls record = {
        .kind = ABI_KTLS,
        .pid = process()->pid,
        .start_ns = process()->start_ns,
        .pod = pod.cgroup_id,
        .inode = inode,
        .device = 8 << 20 | 1,
        .version = 0x0304,
        .direction = (uint8_t)direction,
    };

    programs_on_ktls(programs, &record);
}

static void hand_keys(void)
{
    hand_keys_of(7, ABI_TX);
}

static const struct addr dst = {.ip = {[10] = 255, 255, 203, 0, 113, 10}, .port = 443};

static void close_as(const struct process *of, enum route route, enum visibility visibility)
{
    const struct programs_closed closed = {
        .process = of,
        .dst = &dst,
        .route = route,
        .visibility = visibility,
        .tls = route == ROUTE_PROXY,
        .tls_version = route == ROUTE_PROXY ? 0x0304 : 0,
    };

    programs_on_close(programs, &closed);
}

static void close_undecided(void)
{
    const struct programs_closed closed = {
        .process = process(),
        .dst = &dst,
        .route = ROUTE_KERNEL,
        .visibility = VISIBILITY_OPAQUE,
        .undecided = true,
    };

    programs_on_close(programs, &closed);
}

/* enum abi_program_use, of the file; 0: it is not there. */
static uint32_t use_of(uint64_t inode)
{
    struct abi_program key = {.pod = pod.cgroup_id, .inode = inode, .device = 8 << 20 | 1};
    uint32_t use = 0;

    return bpf_map_lookup_elem(map_fd(), &key, &use) == 0 ? use : 0;
}

static bool bypasses(uint64_t inode)
{
    return use_of(inode) & ABI_PROGRAM_BYPASSES;
}

static size_t in_kernel(void)
{
    struct abi_program key, *before = NULL;
    size_t len = 0;

    for (; bpf_map_get_next_key(map_fd(), before, &key) == 0; before = &key)
        len++;
    return len;
}

/* ---- one program ---- */

static void bypasses_when_its_keys_were_handed_over(void **state)
{
    struct programs_stats stats;

    (void)state;
    hand_keys_of(7, ABI_RX);
    assert_false(bypasses(7));
    hand_keys();
    assert_true(bypasses(7));
    assert_false(bypasses(8));
    programs_stats(programs, &stats);
    assert_int_equal(stats.ktls, 1);
    assert_int_equal(stats.bypasses, 1);
    programs_forget_pod(programs, pod.cgroup_id + 1);
    assert_int_equal(in_kernel(), 1);
    programs_forget_pod(programs, pod.cgroup_id);
    assert_int_equal(in_kernel(), 0);
    programs_stats(programs, &stats);
    assert_int_equal(stats.ktls, 0);
}

static void is_back_when_it_cannot_be_read(void **state)
{
    (void)state;
    hand_keys();
    for (int i = 0; i < 3; i++) {
        assert_true(bypasses(7));
        close_as(process(), ROUTE_KERNEL, VISIBILITY_PLAINTEXT); /* which is read, ... */
        close_as(process(), ROUTE_KERNEL, VISIBILITY_KTLS);      /* as is this */
        close_as(process(), ROUTE_KERNEL, VISIBILITY_OPAQUE);
    }
    assert_false(bypasses(7));
    hand_keys();
    assert_false(bypasses(7));
    hand_keys();
    assert_true(bypasses(7));
    for (int i = 0; i < 3; i++)
        close_as(process(), ROUTE_PROXY, VISIBILITY_OPAQUE); /* which says nothing of it */
    assert_true(bypasses(7));
}

/* Nor by the proxy, which it would be no better off with. */
static void stays_when_it_speaks_no_http(void **state)
{
    static const enum opaque reasons[] = {OPAQUE_UNKNOWN, OPAQUE_SERVER_FIRST,
                                          OPAQUE_OTHER_PROTOCOL};

    (void)state;
    hand_keys();
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
        programs_on_close(programs, &(struct programs_closed){.process = process(),
                                                              .dst = &dst,
                                                              .route = ROUTE_KERNEL,
                                                              .visibility = VISIBILITY_OPAQUE,
                                                              .opaque = reasons[i]});
    assert_true(bypasses(7));
}

static void set_policy(const char *spec)
{
    CLEANUP(policy_list_fini) struct policy_list list = {0};
    CLEANUP(policy_set_unref) struct policy_set *set = NULL;
    CLEANUP(faults_fini) struct faults faults = {0};
    char yaml[512];

    snprintf(yaml, sizeof(yaml),
             "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: a}\nspec: {%s}\n",
             spec);
    if (policy_compile(&list, span_of_text(yaml), "a.yaml", &faults) < 0)
        fail_msg("%s", faults.list[0].text);
    set = policy_set_new(list.list, list.len, 1);
    assert_non_null(set);
    view = policy_view_new(set, &pod);
    assert_non_null(view);
}

#define RULES "egress: [{toEntities: [all], toPorts: [{rules: {http: [{path: /a}]}}]}]"

/* What the proxy would read is refused for that it could not be read in the kernel. */
static void is_back_at_once_where_that_is_denied(void **state)
{
    static const char *const specs[] = {
        "onNoVisibility: steer",
        "onNoVisibility: drop",
        RULES,
        "onNoVisibility: alert",
        "mode: monitor, onNoVisibility: drop",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
        print_message("  %s\n", specs[i]);
        set_policy(specs[i]);
        hand_keys();
        assert_true(bypasses(7));
        close_as(process(), ROUTE_KERNEL, VISIBILITY_OPAQUE);
        assert_int_equal(bypasses(7), i >= 3);
        programs_forget_pod(programs, pod.cgroup_id);
        policy_view_unref(&view);
    }
}

static void is_back_at_once_when_it_is_not_decided(void **state)
{
    (void)state;
    set_policy(RULES);
    programs_on_undecided(programs, process()); /* of a program that nobody knows */
    hand_keys();
    programs_on_undecided(programs, process());
    assert_false(bypasses(7));
    hand_keys();
    hand_keys();
    assert_true(bypasses(7));
    close_undecided(); /* which was told */
    assert_true(bypasses(7));
}

static void is_known_to_speak_http2(void **state)
{
    (void)state;
    programs_on_flow(programs, process(), &dst);
    programs_on_http2(programs, process());
    assert_int_equal(in_kernel(), 0);
    hand_keys();
    assert_int_equal(use_of(7), ABI_PROGRAM_BYPASSES | ABI_PROGRAM_HTTP2);
    programs_forget_pod(programs, pod.cgroup_id);
    hand_keys();
    assert_int_equal(use_of(7), ABI_PROGRAM_BYPASSES);
    programs_on_http2(programs, process());
    assert_int_equal(use_of(7), ABI_PROGRAM_BYPASSES | ABI_PROGRAM_HTTP2);
}

static void a_few_files_at_a_path_are_it(void **state)
{
    (void)state;
    for (uint64_t inode = 1; inode <= 5; inode++)
        hand_keys_of(inode, ABI_TX);
    assert_int_equal(in_kernel(), 4);
    assert_false(bypasses(1));
    assert_true(bypasses(5));
    for (int i = 0; i < 3; i++)
        close_as(process(), ROUTE_KERNEL, VISIBILITY_OPAQUE);
    assert_int_equal(in_kernel(), 0);
}

/* ---- many, and others ---- */

static void a_pod_has_but_so_many(void **state)
{
    char path[32];
    struct process other = {.refs = 1, .pid = UINT32_MAX, .pod = &pod, .binary = path};
    json_t *answer = json_object(), *rows;

    (void)state;
    hand_keys();
    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof(path), "/tmp/program-%d", i);
        programs_on_flow(programs, &other, &dst);
        close_as(&other, ROUTE_PROXY, VISIBILITY_TERMINATED);
    }
    assert_true(bypasses(7)); /* the one that counts is kept */
    programs_tell(programs, answer);
    rows = json_object_get(answer, "programs");
    assert_int_equal(json_array_size(rows), 64);
    json_decref(answer);
}

static void says_what_each_does(void **state)
{
    json_t *answer = json_object(), *row;

    (void)state;
    hand_keys();
    programs_tell(programs, answer);
    row = json_array_get(json_object_get(answer, "programs"), 0);
    assert_string_equal(json_string_value(json_object_get(row, "pod")), "shop/cart");
    assert_string_equal(json_string_value(json_object_get(row, "program")), process()->binary);
    assert_string_equal(json_string_value(json_object_get(row, "ktls")), "tx");
    assert_null(json_object_get(row, "not_sent"));
    assert_non_null(strstr(json_string_value(json_object_get(row, "not_received")), "OpenSSL 3.2"));
    assert_int_equal(json_integer_value(json_object_get(row, "sightings")), 1);
    assert_int_equal(json_integer_value(json_object_get(row, "sightings_needed")), 1);
    assert_int_equal(json_integer_value(json_object_get(row, "blind")), 0);
    assert_int_equal(json_integer_value(json_object_get(row, "blind_needed")), 3);
    /* nobody has said what the kernel route can do here: nothing */
    assert_string_equal(json_string_value(json_object_get(row, "route")), "proxy");
    json_decref(answer);
}

/* Which route its next connection takes, and why. */
static void expect_route(const char *route, const char *why)
{
    json_t *answer = json_object(), *row;

    programs_tell(programs, answer);
    row = json_array_get(json_object_get(answer, "programs"), 0);
    assert_string_equal(json_string_value(json_object_get(row, "to")), "203.0.113.10:443");
    assert_string_equal(json_string_value(json_object_get(row, "route")), route);
    assert_non_null(strstr(json_string_value(json_object_get(row, "why")), why));
    json_decref(answer);
}

static void says_what_policies_make_of_it(void **state)
{
    static const struct {
        const char *spec;
        uint32_t can;
        const char *route, *why;
    } rows[] = {
        {"egress: [{toEntities: [all]}]", ABI_ROUTE_KTLS, "kernel", "for it"},
        {RULES, ABI_ROUTE_KTLS, "proxy", "can be raced"},
        {RULES, ABI_ROUTE_KTLS | ABI_ROUTE_SURE, "kernel", "for it"},
        {RULES ", route: kernel", ABI_ROUTE_KTLS, "kernel", "policies say so"},
        {"route: passthrough", ABI_ROUTE_KTLS, "passthrough", "policies say so"},
        {"inspect: {tokens: deny}", ABI_ROUTE_KTLS, "proxy", "only the proxy can keep"},
        {"egress: [{toCIDR: [192.0.2.0/24], toPorts: [{rules: {http: [{path: /a}]}}]}, "
         "{toCIDR: [203.0.113.0/24]}]",
         ABI_ROUTE_KTLS, "kernel", "for it"},
    };

    (void)state;
    programs_on_flow(programs, process(), &dst);
    hand_keys();
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint32_t zero = 0, can = rows[i].can | ABI_ROUTE_PLAIN;

        print_message("  %s\n", rows[i].spec);
        assert_int_equal(
            bpf_map_update_elem(bpf_map__fd(watch.bpf->maps.route), &zero, &can, BPF_ANY), 0);
        set_policy(rows[i].spec);
        expect_route(rows[i].route, rows[i].why);
        policy_view_unref(&view);
    }
}

static void what_another_agent_knew_is_met_anew(void **state)
{
    const struct programs_parts parts = {.bpf = watch.bpf, .identity = identity};
    struct programs *next = NULL;
    struct err err;

    (void)state;
    hand_keys();
    assert_int_equal(in_kernel(), 1);
    assert_int_equal(programs_new(&next, &parts, &err), 0);
    assert_int_equal(in_kernel(), 0);
    programs_free(&next);
}

static void who_is_of_no_pod_is_nobody(void **state)
{
    struct process stranger = {.pid = 1, .binary = (char *)"/bin/sleep"};

    (void)state;
    programs_on_flow(programs, &stranger, &dst);
    close_as(&stranger, ROUTE_KERNEL, VISIBILITY_OPAQUE);
    programs_on_ktls(programs, &(struct abi_ktls){.kind = ABI_KTLS, .pod = pod.cgroup_id + 1});
    assert_int_equal(in_kernel(), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(bypasses_when_its_keys_were_handed_over),
        TEST(is_back_when_it_cannot_be_read),
        TEST(stays_when_it_speaks_no_http),
        TEST(is_back_at_once_where_that_is_denied),
        TEST(is_back_at_once_when_it_is_not_decided),
        TEST(is_known_to_speak_http2),
        TEST(a_few_files_at_a_path_are_it),
        TEST(a_pod_has_but_so_many),
        TEST(says_what_each_does),
        TEST(says_what_policies_make_of_it),
        TEST(what_another_agent_knew_is_met_anew),
        TEST(who_is_of_no_pod_is_nobody),
    };
    int failed;

    told_init();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    told_fini();
    return failed;
}
