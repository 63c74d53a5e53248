/* kernel_ruled: policies as they are written, and which requests of a pod leave by the kernel route
 * by them. */
#include "spoken.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "judged.h"
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
    use_policy(RULES("{method: GET, path: '/v1/.*', host: '.*[.]example'}, {path: '/any', headers: "
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
        use_policy(RULES("{path: '/a.*'}"));
        assert_leaves(GET("/a1", "a"), true);
        assert_leaves(GET("/b1", "a"), false);
        use_policy(RULES("{path: '/b.*'}"));
        assert_leaves(GET("/a1", "a"), false);
        assert_leaves(GET("/b1", "a"), true);
    }
    use_policy(POLICY "  egress:\n  - toCIDR: [127.0.0.0/8]\n");
    assert_leaves("SSH-2.0-x\r\n", true);
    use_policy(POLICY "  egressDeny:\n  - toCIDR: [127.0.0.0/8]\n    toPorts:\n    - rules: {http: "
                      "[{method: DELETE}]}\n");
    assert_leaves(GET("/a1", "a"), true);
    assert_leaves("DELETE / HTTP/1.1\r\nHost: b\r\n\r\n", false);
}

/* Which rules come when a part was said, by a word from the one who says it. */
static int midst_turns[2];
static uint32_t midst_with, midst_without; /* then the pod has these flags, and not those */
struct midst {
    const char *name, *before;
    struct span first;
    const char *after;
    struct span then;
    bool goes;
};
static struct span midst_answer; /* to what was said first, or none */
static bool midst_leaves;        /* it is out of the sockhash as soon as it can be */
static const struct midst midsts[] = {
    {"a head, without rules", "", BYTES("GET /a HTTP/1.1\r\nHo"), RULES("{path: /b}"),
     BYTES("st: a\r\n\r\n"), false},
    {"... which they allow", "", BYTES("GET /a HTTP/1.1\r\nHo"), RULES("{path: /a}"),
     BYTES("st: a\r\n\r\n"), false},
    {"... by others", RULES("{path: /a}"), BYTES("GET /a HTTP/1.1\r\nHo"), RULES("{path: /b}"),
     BYTES("st: a\r\n\r\n"), false},
    {"a body", RULES("{path: /a}"),
     BYTES("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na"), RULES("{path: /b}"),
     BYTES("bc"), true},
    {"... and a head", RULES("{path: /a}"),
     BYTES("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na"), RULES("{path: /b}"),
     BYTES("bc" GET("/a", "a")), false},
    {"what nobody can read", "", BYTES("SSH-2.0-x\r\n"), RULES("{path: /a}"), BYTES("ssh"), false},
    {"... and need not", "", BYTES("SSH-2.0-x\r\n"),
     POLICY "  egress:\n  - toCIDR: [127.0.0.0/8]\n", BYTES("ssh"), true},
};

static int say_before_and_after(int fd, const void *arg)
{
    const struct midst *midst = arg;
    int code = send_all(fd, midst->first.data, midst->first.len, SIZE_MAX);
    char answer[256];

    /* should nobody else end what is held back: this test would wait for it */
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &(int){5000}, sizeof(int));
    if (code == 0 && midst_answer.len && recv(fd, answer, sizeof(answer), 0) < 0)
        code = -errno;
    if (code == 0 && write(midst_turns[1], "x", 1) == 1 && read(midst_turns[1], &(char){0}, 1) == 1)
        code = send_all(fd, midst->then.data, midst->then.len, SIZE_MAX);
    return code < 0 ? code : wait_for_end(fd);
}

static int answer_what_was_said(int fd)
{
    char byte;

    if (!midst_answer.len)
        return 0;
    if (recv(fd, &byte, 1, MSG_PEEK) != 1)
        return -errno;
    return send_all(fd, midst_answer.data, midst_answer.len, SIZE_MAX);
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
        use_policy(midst->after);
    change_pod();
    return write(midst_turns[0], "x", 1) == 1 ? NULL : arg;
}

static void assert_midsts(const struct midst *list, size_t len)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, midst_turns), 0);
    /* where kTLS is not for sk_msg, what nobody can read leaves it, and is stopped as it leaves */
    spoken_route(ABI_ROUTE_PLAIN | (midst_leaves ? ABI_ROUTE_LEAVE : 0));
    spoken_prepare = answer_what_was_said;
    for (size_t i = 0; i < len; i++) {
        const struct midst *midst = &list[i];
        struct report report;
        pthread_t thread;

        print_message("  %s\n", midst->name);
        use_policy(midst->before[0] ? midst->before : POLICY "  mode: monitor\n  egress: []\n");
        assert_int_equal(pthread_create(&thread, NULL, rules_come, (void *)midst), 0);
        report = speak(say_before_and_after, midst, (struct span){0});
        pthread_join(thread, NULL);
        assert_int_equal(report.code, midst->goes ? 0 : midst_leaves ? -ETIMEDOUT : -EACCES);
        assert_int_equal(arrived.len, midst->first.len + (midst->goes ? midst->then.len : 0));
    }
    spoken_prepare = NULL;
    close(midst_turns[0]);
    close(midst_turns[1]);
}

static void rules_come_amid_what_is_said(void **state)
{
    (void)state;
    assert_midsts(midsts, ARRAY_SIZE(midsts));
}

/* Rules that want all to be seen, but ask of no request what it is for: what can be read goes on,
 * as it would have from the beginning. */
#define ALL     POLICY "  egress: [{toEntities: [all]}]\n"
#define DROP    ALL "  onNoVisibility: drop\n"
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
#define PING                                                                                       \
    "\0\0\x08\6\0\0\0\0\0"                                                                         \
    "12345678"
#define POST(field) "POST /a HTTP/1.1\r\nHost: a\r\n" field "\r\n\r\n"
#define UPGRADE     "GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n"
#define UPGRADED    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n"
#define SOME_UNSEEN                                                                                \
    ALL "  onNoVisibility: alert\n  egressDeny:\n  - toCIDR: [127.0.0.0/8]\n    toPorts:\n"        \
        "    - rules: {http: [{method: DELETE}]}\n"
static const struct midst to_be_seen[] = {
    {"HTTP/2", "", BYTES(PREFACE), DROP, BYTES(PING), true},
    {"... whose tokens are denied", "", BYTES(PREFACE), ALL "  inspect: {tokens: deny}\n",
     BYTES(PING), true},
    {"... of which requests are denied", "", BYTES(PREFACE), RULES("{path: /a}"), BYTES(PING),
     false},
    {"a head", "", BYTES("GET /a HTTP/1.1\r\nHo"), DROP, BYTES("st: a\r\n\r\n" GET("/a", "a")),
     true},
    {"... that ends as none", "", BYTES("GET /a HTTP/1.1\r\nHo"), DROP, BYTES("\1: a\r\n\r\n"),
     false},
    {"... that never was one", "", BYTES("SS"), DROP, BYTES("H-2.0-x\r\n"), false},
    {"what is behind the last message", "",
     BYTES(POST("Connection: close\r\nContent-Length: 3") "a"), DROP, BYTES("bcSSH-2.0-x\r\n"),
     false},
    {"what is no chunk", "", BYTES(POST("Transfer-Encoding: chunked") "3\r\na"), DROP,
     BYTES("bc\r\nSSH-2.0-x\r\n"), false},
};
static const struct midst upgraded[] = {
    {"an upgrade", "", BYTES(UPGRADE), DROP, BYTES("\x81\5hello"), false},
    {"... that may go unseen", "", BYTES(UPGRADE), SOME_UNSEEN, BYTES("\x81\5hello"), true},
};
#define CHANGE "\x14\3\3\0\1\1"
#define SEALED                                                                                     \
    "\x17\3\3\0\x0a"                                                                               \
    "0123456789"
static const struct midst leaving[] = {
    {"a handshake", "", BYTES(CLIENT_HELLO), DROP, BYTES(CHANGE), true},
    {"... and what nobody can read", "", BYTES(CLIENT_HELLO CHANGE SEALED), DROP, BYTES(SEALED),
     false},
    {"... of which requests are denied", "", BYTES(CLIENT_HELLO), RULES("{path: /a}"),
     BYTES(CHANGE), true},
    {"another protocol", "", BYTES("SSH-2.0-x\r\n"), DROP, BYTES("ssh"), false},
    {"... that may go unseen", "", BYTES("SSH-2.0-x\r\n"), SOME_UNSEEN, BYTES("ssh"), true},
};
static void rules_want_all_to_be_seen(void **state)
{
    (void)state;
    assert_midsts(to_be_seen, ARRAY_SIZE(to_be_seen));
    assert_midsts(leaving, ARRAY_SIZE(leaving));
    midst_answer = BYTES(UPGRADED);
    assert_midsts(upgraded, ARRAY_SIZE(upgraded));
    midst_answer = (struct span){0};
    midst_leaves = true;
    assert_midsts(leaving, ARRAY_SIZE(leaving));
    midst_leaves = false;
}

/* Nobody could connect there any more. */
static const struct midst closings[] = {
    {"nothing may be connected to", "", BYTES(GET("/a", "a")), NOTHING, BYTES(GET("/a", "a")),
     false},
    {"... with requests allowed before", RULES("{path: /a}"), BYTES(GET("/a", "a")), NOTHING,
     BYTES(GET("/a", "a")), false},
    {"... amid a head", "", BYTES("GET /a HTTP/1.1\r\nHo"), NOTHING, BYTES("st: a\r\n\r\n"), false},
    {"... amid a body", "", BYTES("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na"),
     NOTHING, BYTES("bc"), true},
    {"... and a head", "", BYTES("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na"),
     NOTHING, BYTES("bc" GET("/a", "a")), false},
    {"... which is of nobody's interest", "", BYTES("SSH-2.0-x\r\n"), NOTHING, BYTES("ssh"), true},
    {"another address alone", "", BYTES(GET("/a", "a")),
     POLICY "  egress:\n  - toCIDR: [192.0.2.1/32]\n    toPorts:\n    - rules: {http: [{path: "
            "/a}]}\n",
     BYTES(GET("/a", "a")), false},
    {"a name alone", "", BYTES(GET("/a", "a.example")),
     POLICY "  egress:\n  - toFQDNs: [{matchName: a.example}]\n", BYTES(GET("/a", "a.example")),
     false},
    {"the address denied", "", BYTES(GET("/a", "a")), DENIES("127.0.0.0/8", ""),
     BYTES(GET("/a", "a")), false},
    {"the port denied", "", BYTES(GET("/a", "a")),
     DENIES("0.0.0.0/0", "    toPorts: [{ports: [{port: '9000'}]}]\n"), BYTES(GET("/a", "a")),
     false},
    {"another one denied", "", BYTES(GET("/a", "a")),
     DENIES("0.0.0.0/0", "    toPorts: [{ports: [{port: '9001'}]}]\n"), BYTES(GET("/a", "a")),
     true},
};
static void rules_close_where_a_connection_leads(void **state)
{
    (void)state;
    assert_midsts(closings, ARRAY_SIZE(closings));
}

/* What the pod says to itself goes on where nobody looks into that, unless it is denied expressly.
 */
static const struct midst apart[] = {
    {"nothing but itself", "", BYTES(GET("/a", "a")), NOTHING, BYTES(GET("/a", "a")), true},
    {"... denied expressly", "", BYTES(GET("/a", "a")), DENIES("127.0.0.0/8", ""),
     BYTES(GET("/a", "a")), false},
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
    {"tokens denied", "", BYTES(GET("/a", "a")), TOKENS, BYTES(GET("/a", "a")), false},
    {"... amid a body", "", BYTES("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na"),
     TOKENS, BYTES("bc"), true},
    {"a name denied", "", BYTES(GET("/a", "a")),
     BY_ITSELF("  egressDeny: [{toFQDNs: [{matchName: b.example}]}]\n"), BYTES(GET("/a", "a")),
     false},
    {"... which is of nobody's interest", "", BYTES("SSH-2.0-x\r\n"),
     BY_ITSELF("  egressDeny: [{toFQDNs: [{matchName: b.example}]}]\n"), BYTES("ssh"), true},
    {"tokens told", "", BYTES(GET("/a", "a")), BY_ITSELF("  inspect: {tokens: alert}\n"),
     BYTES(GET("/a", "a")), true},
};
static const struct midst of_a_pod[] = {
    {"of a pod for the kernel", "", BYTES(GET("/a", "a")), TOKENS, BYTES(GET("/a", "a")), true},
    {"of a policy for it", "", BYTES(GET("/a", "a")),
     POLICY "  egress: [{toEntities: [all]}]\n  inspect: {tokens: deny}\n", BYTES(GET("/a", "a")),
     true},
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
    use_policy(POLICY
               "  egress:\n  - toFQDNs: [{matchName: a.example}, {matchPattern: '*.b.example'}]\n");
    names_add(names, pod, "a.example.", &here.network, 300, true, clock_ns());
    assert_leaves(GET("/", "a.example"), true);
    assert_leaves(GET("/", "A.Example.:9000"), true);
    assert_leaves(GET("/", "x.b.example"), false);
    assert_leaves("SSH-2.0-x y\r\n", true); /* to where that name leads */
    assert_leaves("FOO / HTTP/1.1\r\nHost: evil.example\r\n\r\n", false);
    assert_leaves("GET / HTTP/1.1\r\nHost: a.example\r\nHost: evil.example\r\n\r\n", false);
    names_add(names, pod, "x.b.example.", &here.network, 300, true, clock_ns());
    assert_leaves(GET("/", "x.b.example"), true);
    use_policy(POLICY "  egress:\n  - toFQDNs: [{matchName: a.example}]\n");
    assert_leaves(GET("/", "a.example"), true);
    assert_leaves(GET("/", "x.b.example"), false);
    kernel_rules_learn_names(pods_rules(fx.pods), NULL);
}

/* ---- rows ---- */

enum { FIRST = 1000, SETS_MAX = 1000 };

static struct policy_table *table_of(const char *yaml, struct binaries *binaries)
{
    CLEANUP(policy_view_unref) struct policy_view *view = view_of(yaml);
    struct policy_table *table = NULL;

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
        spoken_test(rules_want_all_to_be_seen),
        spoken_test(rules_close_where_a_connection_leads),
        spoken_test(rules_are_not_about_the_pod_itself),
        spoken_test(what_only_the_proxy_can_keep_ends_what_is_open),
        spoken_test(names_are_those_that_were_resolved),
        spoken_test(rows_run_out),
    };

    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
