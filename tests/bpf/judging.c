/* judging: what the rules of a pod refuse, where the kernel decides: nothing of it arrives, and it
 * is told. Of datagrams: judging_datagrams.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "judged.h"

/* ---- connections ---- */

static void a_connect_goes_where_rules_let_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        CLEANUP(fd_close)
        int allowed = serve(fx.bed.world, SOCK_STREAM, ways[i].family, ways[i].to, 9000);
        CLEANUP(fd_close)
        int denied = serve(fx.bed.world, SOCK_STREAM, ways[i].family, ways[i].to, 9001);
        struct dial dial = {.family = ways[i].family, .to = ways[i].to, .port = 9000};
        struct report report = dial_from_pod(dial);

        print_message("  %s\n", ways[i].name);
        assert_went_direct(&report, allowed);
        assert_int_equal(heard_count(ABI_SOCKET_DENIED, 0), 0);
        dial.port = 9001;
        report = dial_from_pod(dial);
        assert_int_equal(report.code, -EPERM);
        assert_told(IPPROTO_TCP, ways[i].peer, 9001, EPERM);
        assert_int_equal(accept_within(denied, 0), -1);
        report = dial_from("stranger", fx.bed.pod, dial);
        assert_went_direct(&report, denied);
        heard_forget();
    }
}

static void an_address_that_no_rule_has_is_denied_on_steered_ports_too(void **state)
{
    static const uint16_t ports[] = {22, 443};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
        struct report report =
            dial_from_pod((struct dial){.family = AF_INET, .to = "192.0.2.254", .port = ports[i]});

        assert_int_equal(report.code, -EPERM);
        assert_told(IPPROTO_TCP, "192.0.2.254", ports[i], EPERM);
        assert_int_equal(accept_within(keeper_net_listeners(fx.net)->stream.v4, 0), -1);
    }
}

static void a_denied_connect_may_be_refused_as_by_nobody(void **state)
{
    struct report report;

    (void)state;
    put_verdict(RULES, LISTED, 0, IPPROTO_TCP, 9001, ABI_VERDICT_DENY | ABI_VERDICT_RESET);
    report = dial_from_pod((struct dial){.family = AF_INET, .to = "198.51.100.1", .port = 9001});
    assert_int_equal(report.code, -ECONNREFUSED);
    assert_told(IPPROTO_TCP, "198.51.100.1", 9001, ECONNREFUSED);
}

static void what_must_be_looked_into_is_steered_whatever_its_port(void **state)
{
    static const uint32_t verdicts[] = {ABI_VERDICT_LOOK, ABI_VERDICT_AGENT};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
        struct dial dial = {.family = AF_INET, .to = "198.51.100.1", .port = 9001};
        struct report report;
        struct origin origin;

        put_verdict(RULES, LISTED, 0, IPPROTO_TCP, 9001, verdicts[i]);
        report = dial_from_pod(dial);
        assert_steered(&dial, &report, &origin);
        report = dial_from("pod", fx.bed.island, dial); /* where nobody listens: it is closed */
        assert_int_equal(report.code, -EPERM);
    }
}

static void a_name_server_is_the_agents_to_refuse(void **state)
{
    struct dial dial = {.family = AF_INET, .to = "192.0.2.254", .port = 53};
    struct report report = dial_from_pod(dial);
    struct origin origin;

    (void)state;
    assert_steered(&dial, &report, &origin);
    dial.type = SOCK_DGRAM;
    report = dial_from_pod(dial);
    assert_int_equal(report.code, 0);
    fd_close(&report.fd);
    assert_int_equal(heard_count(ABI_SOCKET_DENIED, 0), 0);
}

static void judge_loopback(bool wanted)
{
    uint64_t id = bed_cgroup_id(&fx.bed, "pod");
    struct abi_pod pod = {.flags = wanted ? ABI_POD_LOOPBACK : 0, .rules = RULES};

    put(pods, &id, &pod);
}

static void what_a_pod_says_to_itself_is_judged_where_loopback_is_looked_into(void **state)
{
    static const struct {
        int family;
        const char *to;
    } own[] = {{AF_INET, "127.0.0.1"},
               {AF_INET, "127.9.9.9"},
               {AF_INET6, "::1"},
               {AF_INET, "192.0.2.2"},
               {AF_INET, "0.0.0.0"}};
    CLEANUP(fd_close) int server = serve(fx.bed.pod, SOCK_STREAM, AF_INET6, "::", 443);
    CLEANUP(fd_close) int datagrams = serve(fx.bed.pod, SOCK_DGRAM, AF_INET6, "::", 7000);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        struct dial dial = {.family = own[i].family, .to = own[i].to, .port = 443};
        struct dial sent = {.family = own[i].family,
                            .type = SOCK_DGRAM,
                            .to = own[i].to,
                            .port = 7000,
                            .then = SEND_AND_CLOSE};
        struct report report;

        print_message("  %s\n", own[i].to);
        judge_loopback(false);
        report = dial_from_pod(dial);
        assert_went_direct(&report, server); /* though the port is steered */
        assert_int_equal(dial_from_pod(sent).code, 0);
        judge_loopback(true);
        assert_int_equal(dial_from_pod(dial).code, -EPERM);
        assert_int_equal(dial_from_pod(sent).code, -EPERM);
        judge_loopback(false);
        put_verdict(RULES, ELSEWHERE, 0, IPPROTO_TCP, 0, ABI_VERDICT_DENY | ABI_VERDICT_HERE);
        put_verdict(RULES, ELSEWHERE, 0, IPPROTO_UDP, 0, ABI_VERDICT_DENY | ABI_VERDICT_HERE);
        assert_int_equal(dial_from_pod(dial).code, -EPERM);
        assert_int_equal(dial_from_pod(sent).code, -EPERM);
        put_verdict(RULES, ELSEWHERE, 0, IPPROTO_TCP, 0, ABI_VERDICT_DENY);
        put_verdict(RULES, ELSEWHERE, 0, IPPROTO_UDP, 0, ABI_VERDICT_DENY);
    }
    assert_true(datagrams >= 0);
}

static void a_name_opens_its_address_for_as_long_as_it_holds(void **state)
{
    static const struct {
        const char *name;
        uint64_t until_ns;
        int want;
    } cases[] = {{"it holds", UINT64_MAX, 0}, {"it is over", 1, -EPERM}};
    CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_STREAM, AF_INET, "192.0.2.254", 9000);
    struct abi_resolved key = {.pod = bed_cgroup_id(&fx.bed, "pod"), .rules = NEXT_RULES};

    (void)state;
    inet_pton(AF_INET6, "::ffff:192.0.2.254", key.ip);
    put_rules(NEXT_RULES, &(struct abi_rules){.flags = ABI_RULES_NAMES});
    put_verdict(NEXT_RULES, NAMED, 0, IPPROTO_TCP, 9000, 0);
    judge_pod_by(NEXT_RULES);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct abi_class value = {.by = {{.until_ns = cases[i].until_ns, .class = NAMED}}};
        struct report report;

        print_message("  %s\n", cases[i].name);
        put(policy_names, &key, &value);
        report = dial_from_pod((struct dial){.family = AF_INET, .to = "192.0.2.254", .port = 9000});
        assert_int_equal(report.code, cases[i].want);
        if (report.code == 0)
            assert_went_direct(&report, server);
    }
}

static void rules_that_are_not_there_let_nothing_pass_unseen(void **state)
{
    struct dial dial = {.family = AF_INET, .to = "198.51.100.1", .port = 9000};
    struct report report;
    struct origin origin;

    (void)state;
    judge_pod_by(99);
    report = dial_from_pod(dial);
    assert_steered(&dial, &report, &origin);
    dial.type = SOCK_DGRAM;
    dial.then = SEND_AND_CLOSE;
    report = dial_from_pod(dial);
    assert_int_equal(report.code, -EPERM);
}

static void who_asks_again_and_again_is_told_so_often_and_counted(void **state)
{
    enum { DIALS = 1200 };
    struct dial dial = {.family = AF_INET, .to = "198.51.100.1", .port = 9001};
    uint64_t told, missed = 0;

    (void)state;
    dial.again = DIALS;
    assert_int_equal(dial_from_pod(dial).code, -EPERM);
    told = heard_count(ABI_SOCKET_DENIED, 0);
    assert_true(told < DIALS);
    sleep(1);
    dial.again = 0;
    dial_from_pod(dial);
    assert_true(heard_count(ABI_SOCKET_DENIED, 0) > told);
    for (size_t i = 0; i < heard.len; i++)
        missed += heard.records[i].tx;
    assert_int_equal(heard.len + missed, DIALS + 2);
}

/* ---- sockets of other kinds ---- */

struct kind {
    const char *name;
    int family, type, protocol, want;
};

/* As far as the agent found: a kernel that should and does not is tests/vm's to notice. */
static bool has_lsm(void)
{
    return bpf_program__autoload(keeper_bpf(fx.keeper)->progs.refuse_family);
}

static void make_socket(const void *arg, struct report *report)
{
    const struct kind *kind = arg;

    report->fd = socket(kind->family, kind->type | SOCK_CLOEXEC, kind->protocol);
    report->code = report->fd < 0 ? -errno : 0;
}

static void sockets_that_cannot_be_judged_are_refused(void **state)
{
    static const struct kind kinds[] = {
        {"TCP", AF_INET, SOCK_STREAM, 0, 0},
        {"UDP", AF_INET6, SOCK_DGRAM, 0, 0},
        {"raw", AF_INET, SOCK_RAW, IPPROTO_TCP, -EPERM},
        {"raw, own headers", AF_INET, SOCK_RAW, IPPROTO_RAW, -EPERM},
        {"raw, IPv6", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6, -EPERM},
        {"UDP-Lite", AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE, -EPERM},
        {"MPTCP", AF_INET, SOCK_STREAM, IPPROTO_MPTCP, -EPROTONOSUPPORT},
        {"SCTP", AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP, -EPERM},
        {"a local one", AF_UNIX, SOCK_STREAM, 0, 0},
        {"netlink", AF_NETLINK, SOCK_RAW, 0, 0},
    };
    struct report report;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        print_message("  %s\n", kinds[i].name);
        bed_run(&fx.bed, "stranger", fx.bed.pod, make_socket, &kinds[i], &report);
        fd_close(&report.fd);
        if (report.code < 0 && kinds[i].want < 0)
            continue; /* this kernel has none */
        assert_int_equal(report.code, 0);
        bed_run(&fx.bed, "pod", fx.bed.pod, make_socket, &kinds[i], &report);
        fd_close(&report.fd);
        assert_int_equal(report.code, kinds[i].want);
        assert_int_equal(heard_count(ABI_SOCKET_DENIED, 0), kinds[i].want < 0);
        heard_forget();
    }
}

/* Before the kernel looks whether it has the family at all. */
static void families_beyond_ip_are_refused_where_lsm_programs_run(void **state)
{
    static const struct kind kinds[] = {
        {"RDS", AF_RDS, SOCK_SEQPACKET, 0, -EPERM},
        {"TIPC", AF_TIPC, SOCK_DGRAM, 0, -EPERM},
        {"RxRPC", AF_RXRPC, SOCK_DGRAM, AF_INET, -EPERM},
    };
    const struct abi_socket *record;
    struct report report;

    (void)state;
    if (!has_lsm())
        skip();
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        print_message("  %s\n", kinds[i].name);
        bed_run(&fx.bed, "stranger", fx.bed.pod, make_socket, &kinds[i], &report);
        fd_close(&report.fd);
        assert_int_not_equal(report.code, kinds[i].want);
        bed_run(&fx.bed, "pod", fx.bed.pod, make_socket, &kinds[i], &report);
        fd_close(&report.fd);
        assert_int_equal(report.code, kinds[i].want);
        record = heard_one(ABI_SOCKET_DENIED, 0);
        assert_int_equal(record->flags, ABI_SOCKET_KIND);
        assert_int_equal(record->protocol, ABI_OTHER_FAMILY);
        assert_int_equal(record->error, EPERM);
        heard_forget();
    }
    put_verdict(RULES, ABI_ANY_CLASS, 0, ABI_ANY_PROTOCOL, 0, ABI_VERDICT_TELL);
    bed_run(&fx.bed, "pod", fx.bed.pod, make_socket, &kinds[0], &report);
    fd_close(&report.fd);
    assert_int_not_equal(report.code, -EPERM);
    assert_int_equal(heard_one(ABI_SOCKET_DENIED, 0)->flags, ABI_SOCKET_KIND | ABI_SOCKET_ALLOWED);
}

static void rules_may_just_tell_of_them(void **state)
{
    static const struct kind raw = {"raw", AF_INET, SOCK_RAW, IPPROTO_TCP, 0};
    const struct abi_socket *record;
    struct report report;

    (void)state;
    put_verdict(RULES, ABI_ANY_CLASS, 0, ABI_ANY_PROTOCOL, 0, ABI_VERDICT_TELL);
    bed_run(&fx.bed, "pod", fx.bed.pod, make_socket, &raw, &report);
    fd_close(&report.fd);
    assert_int_equal(report.code, 0);
    record = heard_one(ABI_SOCKET_DENIED, 0);
    assert_int_equal(record->flags, ABI_SOCKET_KIND | ABI_SOCKET_ALLOWED);
    assert_int_equal(record->protocol, IPPROTO_TCP);
    assert_int_equal(record->src_port, SOCK_RAW);
    assert_int_equal(record->pid, report.pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        judged(a_connect_goes_where_rules_let_it),
        judged(an_address_that_no_rule_has_is_denied_on_steered_ports_too),
        judged(a_denied_connect_may_be_refused_as_by_nobody),
        judged(what_must_be_looked_into_is_steered_whatever_its_port),
        judged(a_name_server_is_the_agents_to_refuse),
        judged(what_a_pod_says_to_itself_is_judged_where_loopback_is_looked_into),
        judged(a_name_opens_its_address_for_as_long_as_it_holds),
        judged(rules_that_are_not_there_let_nothing_pass_unseen),
        judged(who_asks_again_and_again_is_told_so_often_and_counted),
        judged(sockets_that_cannot_be_judged_are_refused),
        judged(families_beyond_ip_are_refused_where_lsm_programs_run),
        judged(rules_may_just_tell_of_them),
    };

    return cmocka_run_group_tests(tests, set_up_judged, take_down_judged);
}
