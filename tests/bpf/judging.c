/* judging: what the rules of a pod refuse, where the kernel decides: nothing of it arrives, and it
 * is told. The rules are written here by hand; by whom they are written is tests/unit/enforce/. */
#include "fixture.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "heard.h"
#include "sallyport.skel.h"

enum { RULES = 7, NEXT_RULES, ELSEWHERE = 0, LISTED, NAMED };

/* ---- rules ---- */

#define put(map, key, value)                                                                       \
    assert_int_equal(                                                                              \
        bpf_map_update_elem(bpf_map__fd(keeper_bpf(fx.keeper)->maps.map), key, value, BPF_ANY), 0)

static void put_class(uint32_t rules, const char *ip, unsigned bits, uint32_t class)
{
    struct abi_prefix key = {.bits = 32 + bits, .rules = rules};

    assert_int_equal(inet_pton(AF_INET6, ip, key.ip), 1);
    put(policy_nets, &key, &class);
}

/* port 0: any. */
static void put_verdict(uint32_t rules, uint32_t class, uint16_t who, uint8_t protocol,
                        uint16_t port, uint32_t verdict)
{
    struct abi_where key = {.bits = ABI_WHERE_BITS + (port ? 16 : 0),
                            .rules = rules,
                            .class = class,
                            .who = who,
                            .protocol = protocol,
                            .port = {(uint8_t)(port >> 8), (uint8_t)port}};

    put(policy_ports, &key, &verdict);
}

static void judge_pod_by(uint32_t rules)
{
    uint64_t id = bed_cgroup_id(&fx.bed, "pod");
    struct abi_pod pod;

    assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(keeper_bpf(fx.keeper)->maps.pods), &id, &pod),
                     0);
    pod.rules = rules;
    put(pods, &id, &pod);
}

/* Denied is all, but what the test adds. */
static void put_rules(uint32_t rules, const struct abi_rules *about)
{
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};

    put(policy_rules, &rules, about);
    put_class(rules, "::", 0, ELSEWHERE);
    put_class(rules, "::ffff:198.51.100.0", 96 + 24, LISTED);
    put_class(rules, "2001:db8:2::", 48, LISTED);
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
        for (uint32_t class = ELSEWHERE; class <= NAMED; class ++)
            put_verdict(rules, class, 0, protocols[i], 0, ABI_VERDICT_DENY);
    put_verdict(rules, ABI_ANY_CLASS, 0, ABI_ANY_PROTOCOL, 0, ABI_VERDICT_DENY);
}

static int register_judged(void **state)
{
    int code = register_default(state);

    put_rules(RULES, &(struct abi_rules){0});
    put_verdict(RULES, LISTED, 0, IPPROTO_TCP, 9000, 0);
    put_verdict(RULES, LISTED, 0, IPPROTO_UDP, 9000, 0);
    put_verdict(RULES, LISTED, 0, IPPROTO_TCP, 9001, ABI_VERDICT_DENY); /* a test may change it */
    judge_pod_by(RULES);
    heard_forget();
    return code;
}

/* ---- what is told ---- */

static void assert_told(uint8_t protocol, const char *ip, uint16_t port, int error)
{
    const struct abi_socket *record = heard_one(ABI_SOCKET_DENIED, 0);
    struct addr dst = {.port = record->dst_port};

    memcpy(dst.ip, record->dst, sizeof(dst.ip));
    assert_ip(&dst, ip);
    assert_int_equal(record->dst_port, port);
    assert_int_equal(record->protocol, protocol);
    assert_int_equal(record->error, error);
    assert_int_equal(record->pod, bed_cgroup_id(&fx.bed, "pod"));
    heard_forget();
}

static void assert_nothing_came(int server)
{
    char byte;

    assert_true(recv(server, &byte, 1, MSG_DONTWAIT) < 0);
}

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
        struct abi_class value = {.class = NAMED, .until_ns = cases[i].until_ns};
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

/* ---- datagrams ---- */

static void a_datagram_goes_where_rules_let_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        CLEANUP(fd_close)
        int allowed = serve(fx.bed.world, SOCK_DGRAM, ways[i].family, ways[i].to, 9000);
        CLEANUP(fd_close)
        int denied = serve(fx.bed.world, SOCK_DGRAM, ways[i].family, ways[i].to, 9001);
        struct dial dial = {
            .family = ways[i].family, .type = SOCK_DGRAM, .to = ways[i].to, .port = 9001};
        struct report report;

        for (int named = 0; named < 2; named++) {
            print_message("  %s, %s\n", ways[i].name, named ? "named" : "connected");
            dial.port = 9000;
            dial.then = named ? NAME_AND_CLOSE : SEND_AND_CLOSE;
            report = dial_from_pod(dial);
            assert_int_equal(report.code, 0);
            assert_int_equal(poll(&(struct pollfd){.fd = allowed, .events = POLLIN}, 1, SOON_MS),
                             1);
            recv(allowed, &report, 1, 0);
            heard_forget();
            dial.port = 9001;
            report = dial_from_pod(dial);
            assert_int_equal(report.code, -EPERM);
            assert_told(IPPROTO_UDP, ways[i].peer, 9001, EPERM);
            assert_nothing_came(denied);
        }
        dial.then = STAY; /* as the C library does, to learn its own address */
        report = dial_from_pod(dial);
        assert_int_equal(report.code, 0);
        assert_ip(&report.self, ways[i].self);
        fd_close(&report.fd);
        assert_int_equal(heard_count(ABI_SOCKET_DENIED, 0), 0);
    }
}

static void new_rules_are_for_sockets_that_were_connected_before(void **state)
{
    CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_DGRAM, AF_INET, "198.51.100.1", 9000);
    struct report report = dial_from_pod(
        (struct dial){.family = AF_INET, .type = SOCK_DGRAM, .to = "198.51.100.1", .port = 9000});

    (void)state;
    assert_int_equal(send(report.fd, "a", 1, 0), 1);
    assert_int_equal(poll(&(struct pollfd){.fd = server, .events = POLLIN}, 1, SOON_MS), 1);
    recv(server, &(char){0}, 1, 0);
    put_rules(NEXT_RULES, &(struct abi_rules){0});
    judge_pod_by(NEXT_RULES);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(send(report.fd, "a", 1, 0), -1);
        assert_int_equal(errno, EPERM);
    }
    assert_nothing_came(server);
    assert_told(IPPROTO_UDP, "198.51.100.1", 9000, EPERM);
    judge_pod_by(RULES);
    assert_int_equal(send(report.fd, "a", 1, 0), 1);
    fd_close(&report.fd);
}

struct exchange {
    int family;
    const char *on; /* where the pod's server is */
    int client;     /* a socket in the world */
    bool heard;     /* it says something first */
};

static void answer(const void *arg, struct report *report)
{
    const struct exchange *exchange = arg;
    struct sockaddr_storage own, client;
    socklen_t len = place(exchange->family, exchange->on, 7000, &own), client_len = sizeof(client);
    int fd = socket(exchange->family, SOCK_DGRAM, 0);
    char byte;

    getsockname(exchange->client, (struct sockaddr *)&client, &client_len);
    if (bind(fd, (struct sockaddr *)&own, len) < 0)
        report->code = -errno;
    if (exchange->heard &&
        (sendto(exchange->client, "a", 1, 0, (struct sockaddr *)&own, len) != 1 ||
         recv(fd, &byte, 1, 0) != 1))
        report->code = -errno;
    if (report->code == 0 && sendto(fd, "b", 1, 0, (struct sockaddr *)&client, client_len) != 1)
        report->code = -errno;
    close(fd);
}

static void a_server_answers_whom_it_heard_and_nobody_else(void **state)
{
    static const char *const on[] = {"192.0.2.1", "2001:db8:1::1", "::ffff:192.0.2.1"};

    (void)state;
    for (size_t i = 0; i < 2 * WAYS; i++) {
        const struct way *way = &ways[i / 2];
        CLEANUP(fd_close) int client = serve(fx.bed.world, SOCK_DGRAM, way->family, way->to, 9001);
        struct exchange exchange = {way->family, on[i / 2], client, i % 2};
        struct report report;
        char byte;

        print_message("  %s, %s\n", way->name, exchange.heard ? "heard" : "not heard");
        bed_run(&fx.bed, "pod", fx.bed.pod, answer, &exchange, &report);
        assert_int_equal(report.code, exchange.heard ? 0 : -EPERM);
        poll(&(struct pollfd){.fd = client, .events = POLLIN}, 1, exchange.heard ? SOON_MS : 0);
        assert_int_equal(recv(client, &byte, 1, 0), exchange.heard ? 1 : -1);
    }
}

struct forgery {
    const struct way *way;
    const char *name, *to; /* which way the pod's own datagram takes to its server */
};

/* A program's second socket has the address of whom its first one may not send to. */
static int forge(const struct forgery *forgery, const struct sockaddr_storage *as, socklen_t len)
{
    int family = forgery->way->family, fd = socket(family, SOCK_DGRAM, 0), on = 1;
    struct sockaddr_storage to;
    socklen_t to_len = place(family, forgery->to, 7000, &to);

    if (family == AF_INET6) {
        ((struct sockaddr_in6 *)&to)->sin6_scope_id = if_nametoindex("pod0");
        setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on));
        setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on));
    } else {
        const struct ip_mreqn way = {.imr_ifindex = (int)if_nametoindex("pod0")};

        setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on));
        setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &way, sizeof(way));
    }
    if (bind(fd, (const struct sockaddr *)as, len) < 0 ||
        sendto(fd, "a", 1, 0, (struct sockaddr *)&to, to_len) != 1)
        return -errno;
    return close(fd);
}

static void answer_forged(const void *arg, struct report *report)
{
    const struct forgery *forgery = arg;
    int family = forgery->way->family, fd = socket(family, SOCK_DGRAM, 0);
    struct sockaddr_storage own, target;
    socklen_t len = place(family, family == AF_INET6 ? "::" : "0.0.0.0", 7000, &own);
    socklen_t target_len = place(family, forgery->way->to, 9001, &target);
    char byte;

    if (bind(fd, (struct sockaddr *)&own, len) < 0)
        report->code = -errno;
    else
        report->code = forge(forgery, &target, target_len);
    if (report->code == 0 && recv(fd, &byte, 1, 0) != 1)
        report->code = -errno;
    if (report->code == 0)
        report->code =
            sendto(fd, "b", 1, 0, (struct sockaddr *)&target, target_len) == 1 ? 1 : -errno;
    close(fd);
}

static void a_pod_cannot_let_its_server_hear_others(void **state)
{
    static const struct forgery forgeries[] = {
        {&ways[0], "by loopback", "127.0.0.1"},
        {&ways[0], "by its own address", "192.0.2.1"},
        {&ways[0], "by all hosts", "224.0.0.1"},
        {&ways[1], "by loopback", "::1"},
        {&ways[1], "by its own address", "2001:db8:1::1"},
        {&ways[1], "by all nodes", "ff02::1"},
    };

    (void)state;
    put_class(RULES, "::ffff:224.0.0.0", 96 + 4, NAMED);
    put_class(RULES, "ff00::", 8, NAMED);
    put_verdict(RULES, NAMED, 0, IPPROTO_UDP, 7000, 0);
    for (size_t i = 0; i < ARRAY_SIZE(forgeries); i++) {
        struct report report;

        print_message("  %s, %s\n", forgeries[i].way->name, forgeries[i].name);
        bed_run(&fx.bed, "pod", fx.bed.pod, answer_forged, &forgeries[i], &report);
        assert_int_equal(report.code, -EPERM);
        assert_int_equal(heard_count(ABI_SOCKET_DENIED, 0), 1);
        assert_told(IPPROTO_UDP, forgeries[i].way->peer, 9001, EPERM);
    }
}

/* ---- sockets of other kinds ---- */

struct kind {
    const char *name;
    int family, type, protocol, want;
};

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

static int set_up_all(void **state)
{
    int code = set_up(state);

    heard_init();
    return code;
}

static int take_down_all(void **state)
{
    heard_fini();
    return take_down(state);
}

#define with(test) cmocka_unit_test_setup_teardown(test, register_judged, unregister)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with(a_connect_goes_where_rules_let_it),
        with(an_address_that_no_rule_has_is_denied_on_steered_ports_too),
        with(a_denied_connect_may_be_refused_as_by_nobody),
        with(what_must_be_looked_into_is_steered_whatever_its_port),
        with(a_name_server_is_the_agents_to_refuse),
        with(what_a_pod_says_to_itself_is_judged_where_loopback_is_looked_into),
        with(a_name_opens_its_address_for_as_long_as_it_holds),
        with(rules_that_are_not_there_let_nothing_pass_unseen),
        with(who_asks_again_and_again_is_told_so_often_and_counted),
        with(a_datagram_goes_where_rules_let_it),
        with(new_rules_are_for_sockets_that_were_connected_before),
        with(a_server_answers_whom_it_heard_and_nobody_else),
        with(a_pod_cannot_let_its_server_hear_others),
        with(sockets_that_cannot_be_judged_are_refused),
        with(rules_may_just_tell_of_them),
    };

    return cmocka_run_group_tests(tests, set_up_all, take_down_all);
}
