/* steering: connections of a pod come to our listener, with their origin, and seem not to. */
#include "fixture.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "sallyport.skel.h"

static void steers_every_family_and_shows_the_world_as_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct dial dial = {.family = ways[i].family, .to = ways[i].to, .port = 443};
        struct report report = dial_from_pod(dial);
        struct origin origin;

        print_message("  %s\n", ways[i].name);
        assert_steered(&dial, &report, &origin);
        assert_ip(&origin.dst, ways[i].peer);
        assert_ip(&report.peer, ways[i].peer);
        assert_ip(&report.self, ways[i].self);
        assert_ip(&origin.src, ways[i].self);
        assert_int_equal(origin.src.port, report.self.port);
        assert_false(origin.has_bound);
        assert_int_equal(origin.pod, bed_cgroup_id(&fx.bed, "pod"));
        assert_int_equal(origin.cgroup, origin.pod);
        assert_int_equal(origin.netns_cookie, keeper_net_cookie(fx.net));
        assert_int_equal(origin.start_ns / (1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK)),
                         report.start_ticks);
        assert_int_equal(records_waiting(), 0);
    }
}

static void a_cgroup_below_belongs_to_the_pod(void **state)
{
    struct dial dial = {.family = AF_INET, .to = "198.51.100.1", .port = 443};
    struct report report = dial_from("pod/ctr/deep", fx.bed.pod, dial);
    struct origin origin;

    (void)state;
    assert_steered(&dial, &report, &origin);
    assert_int_equal(origin.pod, bed_cgroup_id(&fx.bed, "pod"));
    assert_int_equal(origin.cgroup, bed_cgroup_id(&fx.bed, "pod/ctr/deep"));
}

static void a_bound_source_is_kept(void **state)
{
    struct dial dial = {
        .family = AF_INET, .bind_to = "192.0.2.2", .to = "198.51.100.1", .port = 443};
    struct report report = dial_from_pod(dial);
    struct origin origin;

    (void)state;
    assert_steered(&dial, &report, &origin);
    assert_true(origin.has_bound);
    assert_ip(&origin.bound, "192.0.2.2");
    assert_ip(&report.self, "192.0.2.2");
}

static void other_ports_and_strangers_go_direct(void **state)
{
    CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_STREAM, AF_INET, "198.51.100.1", 9000);
    CLEANUP(fd_close) int https = serve(fx.bed.world, SOCK_STREAM, AF_INET, "198.51.100.1", 443);
    CLEANUP(fd_close) int time = serve(fx.bed.world, SOCK_DGRAM, AF_INET, "198.51.100.1", 123);
    struct pollfd datagram = {.fd = time, .events = POLLIN};
    struct report report;

    (void)state;
    report = dial_from_pod((struct dial){.family = AF_INET, .to = "198.51.100.1", .port = 9000});
    assert_ip(&report.peer, "198.51.100.1");
    assert_went_direct(&report, server);
    report =
        dial_from_pod((struct dial){.family = AF_INET6, .to = "::ffff:198.51.100.1", .port = 9000});
    assert_went_direct(&report, server);
    report = dial_from("stranger", fx.bed.pod,
                       (struct dial){.family = AF_INET, .to = "198.51.100.1", .port = 443});
    assert_went_direct(&report, https);
    report = dial_from_pod((struct dial){.family = AF_INET,
                                         .type = SOCK_DGRAM,
                                         .to = "198.51.100.1",
                                         .port = 123,
                                         .then = SEND_AND_CLOSE});
    assert_int_equal(report.code, 0);
    assert_int_equal(poll(&datagram, 1, SOON_MS), 1);
}

static void quic_is_refused_at_the_first_datagram_never_at_connect(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        CLEANUP(fd_close)
        int quic = serve(fx.bed.world, SOCK_DGRAM, ways[i].family, ways[i].to, 443);
        struct dial dial = {
            .family = ways[i].family, .type = SOCK_DGRAM, .to = ways[i].to, .port = 443};
        struct report report = dial_from_pod(dial);
        char byte;

        print_message("  %s\n", ways[i].name);
        assert_int_equal(report.code, 0);
        assert_ip(&report.peer, ways[i].peer);
        assert_ip(&report.self, ways[i].self);
        fd_close(&report.fd);
        dial.then = SEND_AND_CLOSE;
        report = dial_from_pod(dial);
        assert_int_equal(report.code, -EPERM);
        assert_true(recv(quic, &byte, 1, 0) < 0);
        report = dial_from("stranger", fx.bed.pod, dial);
        assert_int_equal(report.code, 0);
        assert_int_equal(poll(&(struct pollfd){.fd = quic, .events = POLLIN}, 1, SOON_MS), 1);
    }
}

static void a_second_connect_elsewhere_forgets_the_first(void **state)
{
    CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_STREAM, AF_INET, "198.51.100.1", 9000);
    struct report report = dial_from_pod((struct dial){.family = AF_INET,
                                                       .first_to = "198.51.100.1",
                                                       .first_port = 443,
                                                       .to = "198.51.100.1",
                                                       .port = 9000});
    CLEANUP(fd_close) int first = accept_within(keeper_net_listeners(fx.net)->stream.v4, SOON_MS);

    (void)state;
    assert_int_equal(report.code, 0);
    assert_int_equal(report.peer.port, 9000);
    assert_true(first >= 0);
    assert_went_direct(&report, server);
}

static void who_dials_the_listener_has_no_origin(void **state)
{
    static const char *const who[] = {"pod", "stranger"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(who); i++) {
        struct report report =
            dial_from(who[i], fx.bed.pod,
                      (struct dial){.family = AF_INET, .to = "192.0.2.1", .port = our_port()});
        CLEANUP(fd_close)
        int accepted = accept_within(keeper_net_listeners(fx.net)->stream.v4, SOON_MS);
        struct origin origin;

        print_message("  %s\n", who[i]);
        assert_int_equal(report.code, 0);
        assert_true(accepted >= 0);
        assert_int_equal(origin_take(keeper_bpf(fx.keeper), accepted, &origin, &fx.err), -ENOENT);
        fd_close(&report.fd);
    }
}

static void a_record_goes_with_its_socket_unless_it_waits_in_the_queue(void **state)
{
    struct dial dial = {
        .family = AF_INET, .to = "198.51.100.1", .port = 443, .then = SEND_AND_CLOSE};
    struct report report = dial_from_pod(dial);
    struct origin origin;
    int accepted;

    (void)state;
    usleep(300000); /* until the FIN is acknowledged and the socket, for the kernel, at its end */
    assert_steered(&dial, &report, &origin);
    dial.then = RESET;
    report = dial_from_pod(dial);
    assert_int_equal(report.code, 0);
    assert_int_equal(records_waiting(), 0);
    accepted = accept_within(keeper_net_listeners(fx.net)->stream.v4, SOON_MS);
    assert_int_equal(origin_take(keeper_bpf(fx.keeper), accepted, &origin, NULL), -ENOENT);
    fd_close(&accepted);
}

static void loopback_and_own_addresses_are_steered_where_somebody_listens(void **state)
{
    CLEANUP(fd_close) int server = serve(fx.bed.pod, SOCK_STREAM, AF_INET6, "::", 7000);
    static const struct {
        int family;
        const char *to, *peer;
    } cases[] = {
        {AF_INET, "127.0.0.1", "127.0.0.1"},
        {AF_INET, "127.9.9.9", "127.9.9.9"},
        {AF_INET, "0.0.0.0", "127.0.0.1"},
        {AF_INET6, "::1", "::1"},
        {AF_INET6, "::", "::1"},
        {AF_INET6, "::ffff:127.0.0.1", "127.0.0.1"},
        {AF_INET, "192.0.2.2", "192.0.2.2"},
        {AF_INET6, "2001:db8:1::1", "2001:db8:1::1"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct dial dial = {.family = cases[i].family, .to = cases[i].to, .port = 7000};
        struct report report = dial_from_pod(dial);
        struct origin origin;

        print_message("  %s\n", cases[i].to);
        if (strcmp(cases[i].to, "::") == 0)
            dial.to = "::1";
        assert_steered(&dial, &report, &origin);
        assert_ip(&origin.dst, cases[i].peer);
        assert_ip(&report.peer, cases[i].peer);
        dial.port = 7001;
        report = dial_from_pod(dial);
        assert_int_equal(report.code, -ECONNREFUSED);
    }
    assert_int_equal(accept_within(server, 0), -1);
}

static void one_source_may_have_two_destinations_on_this_host(void **state)
{
    static const struct {
        int family;
        const char *from, *to[2];
    } cases[] = {
        {AF_INET, "127.0.0.1", {"127.0.0.1", "127.0.0.2"}},
        {AF_INET, "192.0.2.1", {"192.0.2.1", "192.0.2.2"}},
        {AF_INET6, "2001:db8:1::1", {"2001:db8:1::1", "::1"}},
        {AF_INET6, "::ffff:127.0.0.1", {"::ffff:127.0.0.1", "::ffff:127.0.0.2"}},
    };
    CLEANUP(fd_close) int server = serve(fx.bed.pod, SOCK_STREAM, AF_INET6, "::", 7000);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct report reports[2];
        struct dial dials[2];

        print_message("  from %s\n", cases[i].from);
        for (size_t j = 0; j < 2; j++) { /* both wait before the first is accepted */
            dials[j] = (struct dial){.family = cases[i].family,
                                     .bind_to = cases[i].from,
                                     .bind_port = (uint16_t)(20000 + i),
                                     .to = cases[i].to[j],
                                     .port = 7000};
            reports[j] = dial_from_pod(dials[j]);
        }
        assert_int_equal(reports[0].self.port, reports[1].self.port);
        assert_int_equal(records_waiting(), 2);
        for (size_t j = 0; j < 2; j++) {
            const char *mapped = strstr(cases[i].to[j], "ffff:");
            struct origin origin;

            assert_steered(&dials[j], &reports[j], &origin);
            assert_ip(&origin.dst, mapped ? mapped + 5 : cases[i].to[j]);
        }
    }
}

static void the_keeper_makes_sockets_where_they_are_wanted(void **state)
{
    static const int families[] = {AF_INET, AF_INET6}, types[] = {SOCK_STREAM, SOCK_DGRAM};

    (void)state;
    for (int i = 0; i < 80; i++) { /* more than are ever made ahead */
        uint64_t cookie = 0;
        socklen_t len = sizeof(cookie), type_len = sizeof(int);
        int type = 0;
        CLEANUP(fd_close)
        int fd = keeper_socket(fx.keeper, keeper_net_cookie(fx.net), families[i / 4 % 2],
                               types[i / 8 % 2], &fx.err);

        assert_ok(fd);
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len), 0);
        assert_int_equal(cookie, keeper_net_cookie(fx.net));
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len), 0);
        assert_int_equal(type, types[i / 8 % 2]);
    }
    assert_int_equal(keeper_socket(fx.keeper, 1ull << 60, AF_INET, SOCK_STREAM, NULL), -ENONET);
}

static void a_namespace_is_entered_once_and_left_clean(void **state)
{
    struct keeper_net *again = NULL;
    int nets = bpf_map__fd(keeper_bpf(fx.keeper)->maps.nets);
    int own = bpf_map__fd(keeper_bpf(fx.keeper)->maps.own);
    uint8_t key[64];

    (void)state;
    assert_ok(keeper_net_add(fx.keeper, &again, fx.bed.pod, 0, &fx.err));
    assert_ptr_equal(again, fx.net);
    keeper_net_remove(fx.keeper, &fx.net);
    assert_int_equal(bpf_map_get_next_key(nets, NULL, key), -ENOENT);
    assert_int_equal(bpf_map_get_next_key(own, NULL, key), -ENOENT);
    assert_ok(keeper_net_add(fx.keeper, &fx.net, fx.bed.pod, 0, &fx.err));
}

static void a_namespace_that_is_not_the_one_meant_is_not_entered(void **state)
{
    uint64_t cookie = keeper_net_cookie(fx.net);
    struct keeper_net *net = NULL;
    int nets = bpf_map__fd(keeper_bpf(fx.keeper)->maps.nets);
    uint64_t keys[2];

    (void)state;
    assert_ok(keeper_net_add(fx.keeper, &net, fx.bed.pod, cookie, &fx.err));
    assert_ptr_equal(net, fx.net);
    assert_int_equal(keeper_net_add(fx.keeper, &net, fx.bed.pod, cookie + 1, NULL), -ESTALE);
    assert_null(net);
    assert_int_equal(keeper_net_add(fx.keeper, &net, fx.bed.island, cookie, NULL), -ESTALE);
    assert_int_equal(bpf_map_get_next_key(nets, NULL, &keys[0]), 0);
    assert_int_equal(bpf_map_get_next_key(nets, &keys[0], &keys[1]), -ENOENT);
}

#define with(settings, test) cmocka_unit_test_setup_teardown(test, settings, unregister)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with(register_default, steers_every_family_and_shows_the_world_as_it_was),
        with(register_default, a_cgroup_below_belongs_to_the_pod),
        with(register_default, a_bound_source_is_kept),
        with(register_default, other_ports_and_strangers_go_direct),
        with(register_default, quic_is_refused_at_the_first_datagram_never_at_connect),
        with(register_default, a_second_connect_elsewhere_forgets_the_first),
        with(register_default, who_dials_the_listener_has_no_origin),
        with(register_loopback, who_dials_the_listener_has_no_origin),
        with(register_default, a_record_goes_with_its_socket_unless_it_waits_in_the_queue),
        with(register_loopback, loopback_and_own_addresses_are_steered_where_somebody_listens),
        with(register_loopback, one_source_may_have_two_destinations_on_this_host),
        cmocka_unit_test(the_keeper_makes_sockets_where_they_are_wanted),
        cmocka_unit_test(a_namespace_is_entered_once_and_left_clean),
        cmocka_unit_test(a_namespace_that_is_not_the_one_meant_is_not_entered),
    };

    return cmocka_run_group_tests(tests, set_up, take_down);
}
