/* judging_datagrams: which datagrams the rules of a pod let go, from whom, and who may be answered.
 */
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "judged.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        judged(a_datagram_goes_where_rules_let_it),
        judged(new_rules_are_for_sockets_that_were_connected_before),
        judged(a_server_answers_whom_it_heard_and_nobody_else),
        judged(a_pod_cannot_let_its_server_hear_others),
    };

    return cmocka_run_group_tests(tests, set_up_judged, take_down_judged);
}
