/* datagrams: a pod's questions to name servers come to our listeners, with their asker, and the
 * answers seem to come from whom was asked; all other datagrams are left alone. */
#include "asking.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "heard.h"

static void a_question_comes_with_its_asker_and_the_answer_from_its_server(void **state)
{
    (void)state;
    for (size_t i = 0; i < (size_t)WAYS * WAYS_TO_READ; i++) {
        const struct way *way = &ways[i % WAYS];
        struct ask ask = {.family = way->family, .connects = i % 2, .to = {way->to}, .port = 53};
        enum way_to_read how = (enum way_to_read)(i / WAYS);
        struct report report = ask_from_pod(ask);
        struct question question;

        print_message("  %s, %s, %d\n", way->name, ask.connects ? "connected" : "unconnected", how);
        hear(is_v4(&ask, 0), &question);
        assert_int_equal(question.peer, 0);
        assert_asker(&question, &report, 53);
        assert_false(question.origin.has_bound);
        assert_ip(&question.from, way->self);
        if (ask.connects) {
            assert_ip(&report.peer, way->peer);
            assert_int_equal(report.peer.port, 53);
            assert_ip(&report.self, way->self);
        }
        answer(&question);
        assert_answered(report.fd, &ask, how);
        fd_close(&report.fd);
    }
    assert_nothing_heard();
}

static void a_bound_source_is_kept_and_told(void **state)
{
    (void)state;
    for (int connects = 0; connects < 2; connects++) {
        struct ask ask = {.family = AF_INET,
                          .connects = connects,
                          .bind_to = "192.0.2.2",
                          .to = {"198.51.100.1"},
                          .port = 53};
        struct report report = ask_from_pod(ask);
        struct question question;

        hear(true, &question);
        assert_asker(&question, &report, 53);
        assert_true(question.origin.has_bound);
        assert_ip(&question.origin.bound, "192.0.2.2");
        assert_ip(&question.from, "192.0.2.2");
        answer(&question);
        assert_answered(report.fd, &ask, RECVFROM);
        fd_close(&report.fd);
    }
}

static void one_socket_may_ask_several_servers_at_once(void **state)
{
    static const struct ask cases[] = {
        {.family = AF_INET, .to = {"198.51.100.1", "198.51.100.2"}},
        {.family = AF_INET, .to = {"198.51.100.1", "198.51.100.2", "203.0.113.3", "203.0.113.4"}},
        {.family = AF_INET6, .to = {"2001:db8:2::1", "2001:db8:2::2"}},
        {.family = AF_INET6,
         .to = {"2001:db8:2::1", "2001:db8:2::2", "2001:db8:2::3", "2001:db8:2::4"}},
        {.family = AF_INET6, .to = {"::ffff:198.51.100.1", "::ffff:198.51.100.2"}},
        {.family = AF_INET6, .to = {"2001:db8:2::1", "::ffff:198.51.100.1", "2001:db8:2::2"}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ask ask = cases[i];
        struct question questions[SERVERS_MAX];
        struct report report;
        size_t count = 0;

        ask.port = 53;
        report = ask_from_pod(ask);
        for (; ask.to[count]; count++) {
            hear(is_v4(&ask, count), &questions[count]);
            assert_asker(&questions[count], &report, 53);
            assert_string_equal(questions[count].text, ask.to[count]);
        }
        while (count-- > 0) { /* the last one answers first */
            answer(&questions[count]);
            assert_answered(report.fd, &ask, RECVFROM);
        }
        fd_close(&report.fd);
    }
}

static const char *const six[] = {"198.51.100.1", "198.51.100.2", "198.51.100.3",
                                  "198.51.100.4", "198.51.100.5", "198.51.100.6"};

static void one_socket_may_ask_many_servers_in_turn(void **state)
{
    struct ask ask = {.family = AF_INET, .port = 53};
    struct report first = {.fd = -1};

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_SIZE(six); i++) { /* again, when they have lost their place */
        struct question question;
        struct report report;

        ask.to[0] = six[i % ARRAY_SIZE(six)];
        report = ask_from_pod(ask);
        if (i == 0)
            first = report;
        ask.fd = first.fd;
        hear(true, &question);
        assert_string_equal(question.text, ask.to[0]);
        assert_ip(&question.origin.dst, ask.to[0]);
        assert_int_equal(question.origin.cookie, first.cookie);
        answer(&question);
        assert_answered(first.fd, &ask, RECVFROM);
    }
    fd_close(&first.fd);
}

/* There are ABI_PEERS listeners, so that many questions can be told apart; more at once, which no
 * known resolver does on one socket, and the last ones are. */
static void of_six_servers_asked_at_once_the_last_four_are_told_apart(void **state)
{
    struct ask ask = {.family = AF_INET, .port = 53};
    struct question question;
    struct report report;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(six); i++)
        ask.to[i] = six[i];
    report = ask_from_pod(ask);
    for (size_t i = 0; i < ABI_PEERS; i++) {
        hear(true, &question);
        assert_asker(&question, &report, 53);
        answer(&question);
        assert_answered(report.fd, &ask, RECVFROM);
    }
    assert_nothing_heard();
    fd_close(&report.fd);
}

/* A datagram socket that nobody bound loses its port when it disconnects. */
static void who_asks_again_from_another_port_is_known_as_well(void **state)
{
    (void)state;
    for (int connects = 0; connects < 2; connects++) {
        struct sockaddr nothing = {.sa_family = AF_UNSPEC};
        struct ask ask = {
            .family = AF_INET, .connects = connects, .to = {"198.51.100.1"}, .port = 53};
        struct report first = ask_from_pod(ask), again;
        struct question question;

        hear(true, &question);
        assert_int_equal(connect(first.fd, &nothing, sizeof(nothing)), 0);
        ask.fd = first.fd;
        again = ask_from_pod(ask);
        assert_int_not_equal(again.self.port, first.self.port);
        hear(true, &question);
        assert_int_equal(question.from.port, again.self.port);
        assert_ip(&question.origin.dst, "198.51.100.1");
        answer(&question);
        assert_answered(first.fd, &ask, RECVFROM);
        fd_close(&first.fd);
    }
}

/* As any datagram, from the program to a server and back. */
static void assert_direct(struct ask ask, struct report *report, int server)
{
    struct pollfd wait = {.fd = server, .events = POLLIN};
    struct sockaddr_storage from;
    socklen_t len = sizeof(from);
    char text[TEXT_MAX] = "";
    ssize_t n;

    if (report->code < 0)
        fail_msg("asking: %s", strerror(-report->code));
    assert_int_equal(poll(&wait, 1, SOON_MS), 1);
    n = recvfrom(server, text, sizeof(text), 0, (struct sockaddr *)&from, &len);
    assert_true(n > 0);
    assert_int_equal(sendto(server, text, (size_t)n, 0, (struct sockaddr *)&from, len), n);
    assert_answered(report->fd, &ask, RECVFROM);
    fd_close(&report->fd);
    assert_nothing_heard();
}

static void other_ports_and_strangers_go_direct(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * WAYS; i++) {
        const struct way *way = &ways[i % WAYS];
        struct ask ask = {.family = way->family, .connects = i / WAYS, .to = {way->to}, .port = 53};
        CLEANUP(fd_close) int dns = serve(fx.bed.world, SOCK_DGRAM, way->family, way->to, 53);
        CLEANUP(fd_close) int other = serve(fx.bed.world, SOCK_DGRAM, way->family, way->to, 5353);
        struct report report = ask_from("stranger", fx.bed.pod, ask);

        print_message("  %s, %s\n", way->name, ask.connects ? "connected" : "unconnected");
        assert_direct(ask, &report, dns);
        ask.port = 5353;
        report = ask_from_pod(ask);
        assert_direct(ask, &report, other);
    }
}

static const struct {
    int family;
    const char *server, *nobody, *self; /* self: whom the server would see */
} here[] = {
    {AF_INET, "127.0.0.53", "127.0.0.54", "127.0.0.1"},
    {AF_INET6, "::ffff:127.0.0.53", "::ffff:127.0.0.54", "127.0.0.1"},
    {AF_INET, "192.0.2.2", "192.0.2.1", "192.0.2.1"},
    {AF_INET6, "2001:db8:1::1", NULL, "2001:db8:1::1"},
    {AF_INET6, "::1", NULL, "::1"},
};

static void resolvers_of_the_namespace_itself_are_looked_into(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_SIZE(here); i++) {
        size_t at = i % ARRAY_SIZE(here);
        struct ask ask = {.family = here[at].family,
                          .connects = i >= ARRAY_SIZE(here),
                          .to = {here[at].server},
                          .port = 53};
        CLEANUP(fd_close)
        int server = serve(fx.bed.pod, SOCK_DGRAM, here[at].family, here[at].server, 53);
        struct report report = ask_from_pod(ask);
        struct question question;

        print_message("  %s\n", here[at].server);
        hear(is_v4(&ask, 0), &question);
        assert_asker(&question, &report, 53);
        assert_ip(&question.to, question.text + (strncmp(question.text, "::ffff:", 7) ? 0 : 7));
        assert_ip(&question.from, here[at].self);
        answer(&question);
        assert_answered(report.fd, &ask, RECVFROM);
        fd_close(&report.fd);
        assert_int_equal(poll(&(struct pollfd){.fd = server, .events = POLLIN}, 1, 0), 0);
    }
}

static void where_no_resolver_is_the_port_is_closed_as_before(void **state)
{
    static const char *const who[] = {"stranger", "pod"};

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_SIZE(here); i++) {
        size_t at = i % ARRAY_SIZE(here);
        const char *to = here[at].nobody ? here[at].nobody : here[at].server;
        struct ask ask = {.family = here[at].family, .connects = true, .to = {to}, .port = 53};
        struct report report = ask_from(who[i / ARRAY_SIZE(here)], fx.bed.pod, ask);
        char byte;

        print_message("  %s\n", to);
        assert_int_equal(report.code, 0);
        assert_int_equal(recv(report.fd, &byte, 1, MSG_DONTWAIT), -1);
        assert_int_equal(errno, ECONNREFUSED);
        fd_close(&report.fd);
    }
    assert_nothing_heard();
}

static void what_has_no_route_is_unreachable_as_before(void **state)
{
    struct ask ask = {.family = AF_INET6, .to = {"2001:db8:2::1"}, .port = 53};
    struct pollfd changed = {.fd = keeper_net_watch(fx.net), .events = POLLIN};
    struct report report;

    (void)state;
    bed_ip(fx.bed.pod, "-6 address flush dev pod0 scope global");
    bed_ip(fx.bed.pod, "-6 route flush default");
    assert_int_equal(poll(&changed, 1, SOON_MS), 1);
    assert_ok(keeper_net_refresh(fx.keeper, fx.net, &fx.err));
    for (int connects = 0; connects < 2; connects++) {
        ask.connects = connects;
        report = ask_from("pod", fx.bed.pod, ask);
        assert_int_equal(report.code, -ENETUNREACH);
        fd_close(&report.fd);
    }
    bed_ip(fx.bed.pod, "address add 2001:db8:1::1/64 dev pod0 nodad");
    bed_ip(fx.bed.pod, "-6 route add default via 2001:db8:1::254");
    assert_int_equal(poll(&changed, 1, SOON_MS), 1);
    assert_ok(keeper_net_refresh(fx.keeper, fx.net, &fx.err));
}

/* Ours are closed for good here, so this namespace is left and entered anew afterwards. */
static void shut_listeners(void)
{
    CLEANUP(fd_close) int nothing = eventfd(0, EFD_CLOEXEC);

    for (size_t i = 0; i < ABI_PEERS; i++) {
        const struct listener *listener = &keeper_net_listeners(fx.net)->datagram[i];

        assert_true(dup3(nothing, listener->v4, O_CLOEXEC) >= 0);
        assert_true(dup3(nothing, listener->v6, O_CLOEXEC) >= 0);
    }
}

static void reopen_listeners(void)
{
    keeper_net_remove(fx.keeper, &fx.net);
    assert_ok(keeper_net_add(fx.keeper, &fx.net, fx.bed.pod, 0, &fx.err));
}

static void without_our_listeners_a_closed_pod_gets_eperm(void **state)
{
    (void)state;
    shut_listeners();
    for (size_t i = 0; i < 2 * WAYS; i++) {
        struct report report = ask_from("pod", fx.bed.pod,
                                        (struct ask){.family = ways[i % WAYS].family,
                                                     .connects = i / WAYS,
                                                     .to = {ways[i % WAYS].to},
                                                     .port = 53});

        assert_int_equal(report.code, -EPERM);
        fd_close(&report.fd);
    }
    reopen_listeners();
}

static void without_our_listeners_an_open_pod_asks_direct(void **state)
{
    (void)state;
    shut_listeners();
    for (size_t i = 0; i < 2 * WAYS; i++) {
        const struct way *way = &ways[i % WAYS];
        CLEANUP(fd_close) int dns = serve(fx.bed.world, SOCK_DGRAM, way->family, way->to, 53);
        struct ask ask = {.family = way->family, .connects = i / WAYS, .to = {way->to}, .port = 53};
        struct report report = ask_from("pod", fx.bed.pod, ask);
        struct pollfd wait = {.fd = dns, .events = POLLIN};

        print_message("  %s, %s\n", way->name, ask.connects ? "connected" : "unconnected");
        assert_int_equal(report.code, 0);
        assert_int_equal(poll(&wait, 1, SOON_MS), 1);
        fd_close(&report.fd);
    }
    reopen_listeners();
}

static void do_bind(const void *arg, struct report *report)
{
    const struct dial *dial = arg;
    struct sockaddr_storage at;
    socklen_t len = place(dial->family, dial->to, dial->port, &at);
    int fd = socket(dial->family, dial->type, 0);

    report->code = bind(fd, (struct sockaddr *)&at, len) < 0 ? -errno : 0;
    close(fd);
}

static void nobody_in_the_pod_binds_our_ports(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * ABI_PEERS; i++) {
        struct dial dial = {.family = i % 2 ? AF_INET6 : AF_INET,
                            .type = SOCK_DGRAM,
                            .to = i % 2 ? "2001:db8:1::1" : "192.0.2.1",
                            .port = keeper_net_listeners(fx.net)->datagram[i / 2].port};
        struct report report;

        bed_run(&fx.bed, "pod", fx.bed.pod, do_bind, &dial, &report);
        assert_int_equal(report.code, -EPERM);
        bed_run(&fx.bed, "stranger", fx.bed.pod, do_bind, &dial, &report);
        assert_int_equal(report.code, -EADDRINUSE);
        dial.type = SOCK_STREAM; /* another thing altogether */
        bed_run(&fx.bed, "pod", fx.bed.pod, do_bind, &dial, &report);
        assert_int_equal(report.code, 0);
    }
}

static void a_question_is_told_from_its_first_datagram_to_its_close(void **state)
{
    const struct abi_socket *record;

    (void)state;
    for (size_t i = 0; i < 2 * WAYS; i++) {
        const struct way *way = &ways[i % WAYS];
        struct ask ask = {.family = way->family, .connects = i / WAYS, .to = {way->to}, .port = 53};
        struct report report;
        struct question question;

        heard_forget();
        report = ask_from_pod(ask);
        hear(is_v4(&ask, 0), &question);
        record = heard_one(ABI_SOCKET_CONNECT, report.cookie);
        assert_int_equal(record->protocol, IPPROTO_UDP);
        assert_int_equal(record->flags, ABI_SOCKET_STEERED);
        assert_int_equal(record->pid, report.pid);
        assert_int_equal(record->src_port, report.self.port);
        assert_memory_equal(record->src, question.from.ip, sizeof(record->src));
        assert_memory_equal(record->dst, question.origin.dst.ip, sizeof(record->dst));
        assert_int_equal(record->dst_port, 53);
        answer(&question);
        assert_answered(report.fd, &ask, RECVFROM);
        assert_int_equal(heard_count(ABI_SOCKET_CLOSE, report.cookie), 0);
        fd_close(&report.fd);
        record = heard_one(ABI_SOCKET_CLOSE, report.cookie);
        assert_int_equal(record->tx, strlen(way->to));
        assert_int_equal(record->rx, strlen(way->to));
    }
}

/* The C library connects datagram sockets just to see which address the kernel would choose. */
static void a_connect_alone_is_not_told(void **state)
{
    static const uint16_t ports[] = {53, 443, 5353};

    (void)state;
    heard_forget();
    for (size_t i = 0; i < WAYS * ARRAY_SIZE(ports); i++) {
        const struct way *way = &ways[i % WAYS];
        struct report report = dial_from_pod((struct dial){
            .family = way->family, .type = SOCK_DGRAM, .to = way->to, .port = ports[i / WAYS]});

        assert_int_equal(report.code, 0);
        fd_close(&report.fd);
    }
    heard_read();
    assert_int_equal(heard.len, 0);
    assert_nothing_heard();
}

static void refused_quic_is_told_as_that(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct report report;
        const struct abi_socket *record;

        heard_forget();
        report = dial_from_pod((struct dial){.family = ways[i].family,
                                             .type = SOCK_DGRAM,
                                             .to = ways[i].to,
                                             .port = 443,
                                             .then = SEND_AND_CLOSE});
        assert_int_equal(report.code, -EPERM);
        record = heard_one(ABI_SOCKET_CONNECT, report.cookie);
        assert_int_equal(record->flags, ABI_SOCKET_REFUSED);
        assert_int_equal(record->dst_port, 443);
        record = heard_one(ABI_SOCKET_CLOSE, report.cookie);
        assert_int_equal(record->tx + record->rx, 0);
    }
}

/* A test that failed may have left questions unread. */
static int begin(void **state, int (*settings)(void **state))
{
    heard_forget();
    asking_forget();
    return settings(state);
}

static int begin_default(void **state)
{
    return begin(state, register_default);
}

static int begin_open(void **state)
{
    return begin(state, register_open);
}

#define with(settings, test) cmocka_unit_test_setup_teardown(test, settings, unregister)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with(begin_default, a_question_comes_with_its_asker_and_the_answer_from_its_server),
        with(begin_default, a_bound_source_is_kept_and_told),
        with(begin_default, one_socket_may_ask_several_servers_at_once),
        with(begin_default, one_socket_may_ask_many_servers_in_turn),
        with(begin_default, of_six_servers_asked_at_once_the_last_four_are_told_apart),
        with(begin_default, who_asks_again_from_another_port_is_known_as_well),
        with(begin_default, other_ports_and_strangers_go_direct),
        with(begin_default, resolvers_of_the_namespace_itself_are_looked_into),
        with(begin_default, where_no_resolver_is_the_port_is_closed_as_before),
        with(begin_default, what_has_no_route_is_unreachable_as_before),
        with(begin_default, without_our_listeners_a_closed_pod_gets_eperm),
        with(begin_open, without_our_listeners_an_open_pod_asks_direct),
        with(begin_default, nobody_in_the_pod_binds_our_ports),
        with(begin_default, a_question_is_told_from_its_first_datagram_to_its_close),
        with(begin_default, a_connect_alone_is_not_told),
        with(begin_default, refused_quic_is_told_as_that),
    };

    return cmocka_run_group_tests(tests, asking_set_up, asking_take_down);
}
