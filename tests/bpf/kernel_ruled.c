/* kernel_ruled: policies as they are written, and which requests of a pod leave by the kernel route
 * by them. */
#include "spoken.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "heard.h"
#include "judged.h"
#include "policy/compile.h"
#include "proxy/dns/names.h"
#include "proxy/enforce/kernel_rules.h"
#include "proxy/enforce/kernel_spells.h"

#define POLICY                                                                                     \
    "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: p}\nspec:\n"               \
    "  route: kernel\n"
#define RULES(http)                                                                                \
    POLICY "  egress:\n  - toCIDR: [127.0.0.0/8]\n    toPorts:\n    - rules: {http: [" http "]}\n"
#define NOTHING POLICY "  egress: []\n"
#define DENIES(cidr, ports)                                                                        \
    POLICY "  egress:\n  - toEntities: [all]\n  egressDeny:\n  - toCIDR: [" cidr "]\n" ports
#define GET(path, host) "GET " path " HTTP/1.1\r\nHost: " host "\r\n\r\n"

static void use(const char *yaml)
{
    CLEANUP(policy_list_fini) struct policy_list list = {0};
    CLEANUP(policy_set_unref) struct policy_set *set = NULL;
    CLEANUP(policy_view_unref) struct policy_view *view = NULL;
    CLEANUP(faults_fini) struct faults faults = {0};
    uint64_t id = bed_cgroup_id(&fx.bed, "pod");

    if (policy_compile(&list, span_of_text(yaml), "test.yaml", &faults) < 0)
        fail_msg("%s", faults.len ? faults.list[0].text : "out of memory");
    set = policy_set_new(list.list, list.len, 1);
    view = policy_view_new(set, pods_find(fx.pods, id));
    assert_non_null(view);
    assert_ok(pods_use_view(fx.pods, id, view, &fx.err));
    heard_forget();
}

static int say(int fd, const void *text)
{
    return send_all(fd, text, strlen(text), SIZE_MAX);
}

static int say_in_pieces(int fd, const void *text)
{
    return send_all(fd, text, strlen(text), 5);
}

static void assert_leaves(const char *text, bool leaves)
{
    struct report report = speak(say, text, (struct span){0});

    print_message("  %.*s\n", (int)strcspn(text, "\r"), text);
    assert_int_equal(report.code, leaves ? 0 : -EACCES);
    assert_int_equal(arrived.len, leaves ? strlen(text) : 0);
    assert_int_equal(spoken[ABI_TX].denied, !leaves);
    report = speak(say_in_pieces, text, (struct span){0});
    assert_int_equal(report.code, leaves ? 0 : -EACCES);
    assert_true(leaves ? arrived.len == strlen(text) : arrived.len < strlen(text));
}

static void requests_leave_that_rules_allow(void **state)
{
    (void)state;
    use(RULES("{method: GET, path: '/v1/.*', host: '.*[.]example'}, {path: '/any', headers: "
              "['x-a: 1']}"));
    assert_leaves(GET("/v1/a?b=..", "A.example:9000"), true);
    assert_leaves(GET("/v2/a", "a.example"), false);
    assert_leaves(GET("/v1/../v2", "a.example"), false);
    assert_leaves(GET("/v1/a", "a.example.org"), false);
    assert_leaves("PUT /any HTTP/1.1\r\nx-A:1\r\nHost: b\r\n\r\n", true);
    assert_leaves("PUT /any HTTP/1.1\r\nx-A:2\r\nHost: b\r\n\r\n", false);
    assert_leaves(GET("/v1/a", "a.example") GET("/v1/b", "b.example"), true);
    assert_leaves("SSH-2.0-x\r\n", false);
}

/* The next rules hold from the next head on, whatever rows these had. */
static void rules_change(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        use(RULES("{path: '/a.*'}"));
        assert_leaves(GET("/a1", "a"), true);
        assert_leaves(GET("/b1", "a"), false);
        use(RULES("{path: '/b.*'}"));
        assert_leaves(GET("/a1", "a"), false);
        assert_leaves(GET("/b1", "a"), true);
    }
    use(POLICY "  egress:\n  - toCIDR: [127.0.0.0/8]\n");
    assert_leaves("SSH-2.0-x\r\n", true);
    use(POLICY "  egressDeny:\n  - toCIDR: [127.0.0.0/8]\n    toPorts:\n    - rules: {http: "
               "[{method: DELETE}]}\n");
    assert_leaves(GET("/a1", "a"), true);
    assert_leaves("DELETE / HTTP/1.1\r\nHost: b\r\n\r\n", false);
}

/* Which rules come when a part was said, by a word from the one who says it. */
static int midst_turns[2];
static uint32_t midst_with, midst_without; /* then the pod has these flags, and not those */
struct midst {
    const char *name, *before, *first, *after, *then;
    bool goes;
};
static const struct midst midsts[] = {
    {"a head, without rules", "", "GET /a HTTP/1.1\r\nHo", RULES("{path: /b}"), "st: a\r\n\r\n",
     false},
    {"... which they allow", "", "GET /a HTTP/1.1\r\nHo", RULES("{path: /a}"), "st: a\r\n\r\n",
     false},
    {"... by others", RULES("{path: /a}"), "GET /a HTTP/1.1\r\nHo", RULES("{path: /b}"),
     "st: a\r\n\r\n", false},
    {"a body", RULES("{path: /a}"), "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na",
     RULES("{path: /b}"), "bc", true},
    {"... and a head", RULES("{path: /a}"),
     "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na", RULES("{path: /b}"),
     "bc" GET("/a", "a"), false},
    {"what nobody can read", "", "SSH-2.0-x\r\n", RULES("{path: /a}"), "ssh", false},
    {"... and need not", "", "SSH-2.0-x\r\n", POLICY "  egress:\n  - toCIDR: [127.0.0.0/8]\n",
     "ssh", true},
};

static int say_before_and_after(int fd, const void *arg)
{
    const struct midst *midst = arg;
    int code = say(fd, midst->first);

    if (code == 0 && write(midst_turns[1], "x", 1) == 1 && read(midst_turns[1], &(char){0}, 1) == 1)
        code = say(fd, midst->then);
    return code;
}

static void change_pod(void)
{
    int fd = bpf_map__fd(keeper_bpf(fx.keeper)->maps.pods);
    uint64_t id = bed_cgroup_id(&fx.bed, "pod");
    struct abi_pod pod;

    assert_int_equal(bpf_map_lookup_elem(fd, &id, &pod), 0);
    pod.flags = (pod.flags | midst_with) & ~midst_without;
    assert_int_equal(bpf_map_update_elem(fd, &id, &pod, BPF_ANY), 0);
}

static void *rules_come(void *arg)
{
    const struct midst *midst = arg;
    char byte;

    if (read(midst_turns[0], &byte, 1) == 1)
        use(midst->after);
    change_pod();
    return write(midst_turns[0], "x", 1) == 1 ? NULL : arg;
}

static void assert_midsts(const struct midst *list, size_t len)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, midst_turns), 0);
    /* where kTLS is not for sk_msg, what nobody can read leaves it, and is stopped as it leaves */
    spoken_route(ABI_ROUTE_PLAIN);
    for (size_t i = 0; i < len; i++) {
        const struct midst *midst = &list[i];
        struct report report;
        pthread_t thread;

        print_message("  %s\n", midst->name);
        use(midst->before[0] ? midst->before : POLICY "  mode: monitor\n  egress: []\n");
        assert_int_equal(pthread_create(&thread, NULL, rules_come, (void *)midst), 0);
        report = speak(say_before_and_after, midst, (struct span){0});
        pthread_join(thread, NULL);
        assert_int_equal(report.code, midst->goes ? 0 : -EACCES);
        assert_int_equal(arrived.len,
                         strlen(midst->first) + (midst->goes ? strlen(midst->then) : 0));
    }
    close(midst_turns[0]);
    close(midst_turns[1]);
}

static void rules_come_amid_what_is_said(void **state)
{
    (void)state;
    assert_midsts(midsts, ARRAY_SIZE(midsts));
}

/* Nobody could connect there any more. */
static const struct midst closings[] = {
    {"nothing may be connected to", "", GET("/a", "a"), NOTHING, GET("/a", "a"), false},
    {"... with requests allowed before", RULES("{path: /a}"), GET("/a", "a"), NOTHING,
     GET("/a", "a"), false},
    {"... amid a head", "", "GET /a HTTP/1.1\r\nHo", NOTHING, "st: a\r\n\r\n", false},
    {"... amid a body", "", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na", NOTHING,
     "bc", true},
    {"... and a head", "", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na", NOTHING,
     "bc" GET("/a", "a"), false},
    {"... which is of nobody's interest", "", "SSH-2.0-x\r\n", NOTHING, "ssh", true},
    {"another address alone", "", GET("/a", "a"),
     POLICY "  egress:\n  - toCIDR: [192.0.2.1/32]\n    toPorts:\n    - rules: {http: [{path: "
            "/a}]}\n",
     GET("/a", "a"), false},
    {"a name alone", "", GET("/a", "a.example"),
     POLICY "  egress:\n  - toFQDNs: [{matchName: a.example}]\n", GET("/a", "a.example"), false},
    {"the address denied", "", GET("/a", "a"), DENIES("127.0.0.0/8", ""), GET("/a", "a"), false},
    {"the port denied", "", GET("/a", "a"),
     DENIES("0.0.0.0/0", "    toPorts: [{ports: [{port: '9000'}]}]\n"), GET("/a", "a"), false},
    {"another one denied", "", GET("/a", "a"),
     DENIES("0.0.0.0/0", "    toPorts: [{ports: [{port: '9001'}]}]\n"), GET("/a", "a"), true},
};
static void rules_close_where_a_connection_leads(void **state)
{
    (void)state;
    assert_midsts(closings, ARRAY_SIZE(closings));
}

/* What the pod says to itself goes on where nobody looks into that, unless it is denied expressly.
 */
static const struct midst apart[] = {
    {"nothing but itself", "", GET("/a", "a"), NOTHING, GET("/a", "a"), true},
    {"... denied expressly", "", GET("/a", "a"), DENIES("127.0.0.0/8", ""), GET("/a", "a"), false},
};
static void rules_are_not_about_the_pod_itself(void **state)
{
    (void)state;
    midst_without = ABI_POD_LOOPBACK;
    assert_midsts(apart, ARRAY_SIZE(apart));
    midst_without = 0;
}

/* What only the proxy can keep ends what took this route by its program's doing; a pod that is all
 * for the kernel goes on. */
#define BY_ITSELF(spec)                                                                            \
    "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: p}\nspec:\n"               \
    "  egress: [{toEntities: [all]}]\n" spec
#define TOKENS BY_ITSELF("  inspect: {tokens: deny}\n")
static const struct midst of_a_program[] = {
    {"tokens denied", "", GET("/a", "a"), TOKENS, GET("/a", "a"), false},
    {"... amid a body", "", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na", TOKENS,
     "bc", true},
    {"a name denied", "", GET("/a", "a"),
     BY_ITSELF("  egressDeny: [{toFQDNs: [{matchName: b.example}]}]\n"), GET("/a", "a"), false},
    {"... which is of nobody's interest", "", "SSH-2.0-x\r\n",
     BY_ITSELF("  egressDeny: [{toFQDNs: [{matchName: b.example}]}]\n"), "ssh", true},
    {"tokens told", "", GET("/a", "a"), BY_ITSELF("  inspect: {tokens: alert}\n"), GET("/a", "a"),
     true},
};
static const struct midst of_a_pod[] = {
    {"of a pod for the kernel", "", GET("/a", "a"), TOKENS, GET("/a", "a"), true},
    {"of a policy for it", "", GET("/a", "a"),
     POLICY "  egress: [{toEntities: [all]}]\n  inspect: {tokens: deny}\n", GET("/a", "a"), true},
};
static void what_only_the_proxy_can_keep_ends_what_is_open(void **state)
{
    (void)state;
    midst_with = ABI_POD_KERNEL;
    assert_midsts(of_a_pod, ARRAY_SIZE(of_a_pod));
    midst_with = 0;
    midst_without = ABI_POD_KERNEL;
    assert_midsts(of_a_program, ARRAY_SIZE(of_a_program));
    assert_midsts(&of_a_pod[1], 1);
    midst_without = 0;
}

static void names_are_those_that_were_resolved(void **state)
{
    CLEANUP(names_free) struct names *names = NULL;
    uint64_t pod = bed_cgroup_id(&fx.bed, "pod");
    struct match_cidr here;

    (void)state;
    assert_true(match_cidr_parse("127.0.0.1", &here));
    assert_ok(names_new(&names, &fx.err));
    kernel_rules_learn_names(pods_rules(fx.pods), names);
    use(POLICY "  egress:\n  - toFQDNs: [{matchName: a.example}, {matchPattern: '*.b.example'}]\n");
    names_add(names, pod, "a.example.", &here.network, 300, true, clock_ns());
    assert_leaves(GET("/", "a.example"), true);
    assert_leaves(GET("/", "A.Example.:9000"), true);
    assert_leaves(GET("/", "x.b.example"), false);
    assert_leaves("SSH-2.0-x y\r\n", true); /* to where that name leads */
    assert_leaves("FOO / HTTP/1.1\r\nHost: evil.example\r\n\r\n", false);
    assert_leaves("GET / HTTP/1.1\r\nHost: a.example\r\nHost: evil.example\r\n\r\n", false);
    names_add(names, pod, "x.b.example.", &here.network, 300, true, clock_ns());
    assert_leaves(GET("/", "x.b.example"), true);
    use(POLICY "  egress:\n  - toFQDNs: [{matchName: a.example}]\n");
    assert_leaves(GET("/", "a.example"), true);
    assert_leaves(GET("/", "x.b.example"), false);
    kernel_rules_learn_names(pods_rules(fx.pods), NULL);
}

/* ---- rows ---- */

enum { FIRST = 1000, SETS_MAX = 1000 };

static struct policy_table *table_of(const char *yaml, struct binaries *binaries)
{
    CLEANUP(policy_list_fini) struct policy_list list = {0};
    CLEANUP(policy_set_unref) struct policy_set *set = NULL;
    CLEANUP(policy_view_unref) struct policy_view *view = NULL;
    CLEANUP(faults_fini) struct faults faults = {0};
    struct policy_table *table = NULL;

    assert_int_equal(policy_compile(&list, span_of_text(yaml), "test.yaml", &faults), 0);
    set = policy_set_new(list.list, list.len, 1);
    view = policy_view_new(set, pods_find(fx.pods, bed_cgroup_id(&fx.bed, "pod")));
    assert_non_null(view);
    assert_ok(policy_table_new(&table, view, binaries, &fx.err));
    return table;
}

static bool is_second(void *arg, uint32_t number)
{
    (void)arg;
    return number == FIRST + 1;
}

/* As many sets of rules as there is room for; one more is not let go. What goes makes room. */
static void rows_run_out(void **state)
{
    CLEANUP(binaries_fini) struct binaries binaries = {0};
    CLEANUP(kernel_spells_free) struct kernel_spells *spells = NULL;
    CLEANUP(policy_table_free)
    struct policy_table *table =
        table_of(RULES("{path: '/a.*b.*c.*d'}, {path: '/.*x'}, {host: 'a.*'}"), &binaries);
    uint32_t sets = 0;
    uint16_t second = 0;

    (void)state;
    assert_ok(kernel_spells_new(&spells, keeper_bpf(fx.keeper), &fx.err));
    for (; sets < SETS_MAX; sets++) {
        assert_ok(kernel_spells_write(spells, FIRST + sets, table, &fx.err));
        if (table->unspelled)
            break;
        assert_true(table->row > 0);
        second = sets == 1 ? table->row : second;
    }
    print_message("%u sets\n", sets);
    assert_in_range(sets, 20, SETS_MAX - 1);
    kernel_spells_erase(spells, FIRST + 1);
    assert_ok(kernel_spells_write(spells, FIRST + 1, table, &fx.err));
    assert_false(table->unspelled);
    assert_int_equal(table->row, second);
    kernel_spells_sweep(spells, is_second, NULL);
    for (uint32_t i = 2; i < sets; i++) {
        assert_ok(kernel_spells_write(spells, FIRST + i, table, &fx.err));
        assert_false(table->unspelled);
        assert_int_not_equal(table->row, second);
    }
    for (uint32_t i = 1; i < sets; i++)
        kernel_spells_erase(spells, FIRST + i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(requests_leave_that_rules_allow),
        spoken_test(rules_change),
        spoken_test(rules_come_amid_what_is_said),
        spoken_test(rules_close_where_a_connection_leads),
        spoken_test(rules_are_not_about_the_pod_itself),
        spoken_test(what_only_the_proxy_can_keep_ends_what_is_open),
        spoken_test(names_are_those_that_were_resolved),
        spoken_test(rows_run_out),
    };

    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
