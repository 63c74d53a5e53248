/* untouched: what is not steered, and what fails as it did, or as it must. */
#include "fixture.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { QUIET_MS = 400 };

static void loopback_is_left_alone_by_default(void **state)
{
    CLEANUP(fd_close) int server = serve(fx.bed.pod, SOCK_STREAM, AF_INET6, "::", 443);
    static const struct {
        int family;
        const char *to;
    } cases[] = {{AF_INET, "127.0.0.1"}, {AF_INET, "0.0.0.0"}, {AF_INET6, "::1"}, {AF_INET6, "::"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct report report =
            dial_from_pod((struct dial){.family = cases[i].family, .to = cases[i].to, .port = 443});

        print_message("  %s\n", cases[i].to);
        assert_went_direct(&report, server);
    }
}

static void what_has_no_route_is_unreachable_until_it_has_one(void **state)
{
    struct dial dial = {.family = AF_INET6, .to = "2001:db8:2::1", .port = 443};
    struct pollfd changed = {.fd = keeper_net_watch(fx.net), .events = POLLIN};
    struct report report;
    struct origin origin;

    (void)state;
    bed_ip(fx.bed.pod, "-6 address flush dev pod0 scope global");
    bed_ip(fx.bed.pod, "-6 route flush default");
    assert_int_equal(poll(&changed, 1, SOON_MS), 1);
    assert_ok(keeper_net_refresh(fx.keeper, fx.net, &fx.err));
    report = dial_from_pod(dial);
    assert_int_equal(report.code, -ENETUNREACH);
    bed_ip(fx.bed.pod, "address add 2001:db8:1::1/64 dev pod0 nodad");
    bed_ip(fx.bed.pod, "-6 route add default via 2001:db8:1::254");
    assert_int_equal(poll(&changed, 1, SOON_MS), 1);
    assert_ok(keeper_net_refresh(fx.keeper, fx.net, &fx.err));
    report = dial_from_pod(dial);
    assert_steered(&dial, &report, &origin);
}

static void do_bind(const void *arg, struct report *report)
{
    const struct dial *dial = arg;
    struct sockaddr_storage at;
    socklen_t len = place(dial->family, dial->to, dial->port, &at);
    int fd = socket(dial->family, SOCK_STREAM, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    report->code = bind(fd, (struct sockaddr *)&at, len) < 0 ? -errno : 0;
    close(fd);
}

static void nobody_in_the_pod_binds_our_port(void **state)
{
    struct dial v4 = {.family = AF_INET, .to = "192.0.2.1", .port = our_port()};
    struct dial v6 = {.family = AF_INET6, .to = "2001:db8:1::1", .port = our_port()};
    struct dial other = {.family = AF_INET, .to = "192.0.2.1", .port = 7002};
    struct report report;

    (void)state;
    bed_run(&fx.bed, "pod", fx.bed.pod, do_bind, &v4, &report);
    assert_int_equal(report.code, -EPERM);
    bed_run(&fx.bed, "pod", fx.bed.pod, do_bind, &v6, &report);
    assert_int_equal(report.code, -EPERM);
    bed_run(&fx.bed, "pod", fx.bed.pod, do_bind, &other, &report);
    assert_int_equal(report.code, 0);
    bed_run(&fx.bed, "stranger", fx.bed.pod, do_bind, &v4, &report);
    assert_int_equal(report.code, -EADDRINUSE);
}

static void do_dial_briefly(const void *arg, struct report *report)
{
    const struct dial *dial = arg;
    int fd = socket(dial->family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    socklen_t len = sizeof(report->code);

    connect_to(fd, dial->family, dial->to, dial->port);
    if (poll(&wait, 1, QUIET_MS) == 0)
        report->code = -ETIMEDOUT;
    else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &report->code, &len) == 0)
        report->code = -report->code;
    close(fd);
}

static void nobody_outside_sees_the_listener(void **state)
{
    static const struct {
        int family;
        const char *to;
    } cases[] = {{AF_INET, "192.0.2.1"}, {AF_INET6, "2001:db8:1::1"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct dial dial = {.family = cases[i].family, .to = cases[i].to, .port = our_port()};
        struct report report;

        bed_run(&fx.bed, "stranger", fx.bed.world, do_dial_briefly, &dial, &report);
        assert_int_equal(report.code, -ETIMEDOUT);
        dial.port = 7003; /* the way is there: a closed port says so */
        bed_run(&fx.bed, "stranger", fx.bed.world, do_dial_briefly, &dial, &report);
        assert_int_equal(report.code, -ECONNREFUSED);
        assert_int_equal(accept_within(our_listener(&dial), 0), -1);
    }
}

static void an_unknown_namespace_is_closed(void **state)
{
    struct dial dial = {.family = AF_INET, .to = "198.51.100.1", .port = 443};
    struct report report = dial_from("pod", fx.bed.island, dial);

    (void)state;
    assert_int_equal(report.code, -EPERM);
    dial.port = 9000; /* a port that is not steered fails as it did */
    report = dial_from("pod", fx.bed.island, dial);
    assert_int_equal(report.code, -ENETUNREACH);
}

/* Ours are closed for good here, so this namespace is left and entered anew afterwards. */
static void shut_listeners(void)
{
    assert_int_equal(shutdown(keeper_net_listeners(fx.net)->stream.v4, SHUT_RDWR), 0);
    assert_int_equal(shutdown(keeper_net_listeners(fx.net)->stream.v6, SHUT_RDWR), 0);
}

static void reopen_listeners(void)
{
    keeper_net_remove(fx.keeper, &fx.net);
    assert_ok(keeper_net_add(fx.keeper, &fx.net, fx.bed.pod, 0, &fx.err));
}

static void without_a_listener_a_closed_pod_gets_eperm(void **state)
{
    (void)state;
    shut_listeners();
    for (size_t i = 0; i < WAYS; i++) {
        struct report report =
            dial_from_pod((struct dial){.family = ways[i].family, .to = ways[i].to, .port = 443});

        print_message("  %s\n", ways[i].name);
        assert_int_equal(report.code, -EPERM);
    }
    reopen_listeners();
}

static void without_a_listener_an_open_pod_goes_direct(void **state)
{
    CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_STREAM, AF_INET6, "::", 443);

    (void)state;
    shut_listeners();
    for (size_t i = 0; i < WAYS; i++) {
        struct report report =
            dial_from_pod((struct dial){.family = ways[i].family, .to = ways[i].to, .port = 443});

        print_message("  %s\n", ways[i].name);
        assert_ip(&report.peer, ways[i].peer);
        assert_went_direct(&report, server);
    }
    reopen_listeners();
}

#define with(settings, test) cmocka_unit_test_setup_teardown(test, settings, unregister)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with(register_default, loopback_is_left_alone_by_default),
        with(register_default, what_has_no_route_is_unreachable_until_it_has_one),
        with(register_default, nobody_in_the_pod_binds_our_port),
        with(register_default, nobody_outside_sees_the_listener),
        with(register_default, an_unknown_namespace_is_closed),
        with(register_default, without_a_listener_a_closed_pod_gets_eperm),
        with(register_open, without_a_listener_an_open_pod_goes_direct),
    };

    return cmocka_run_group_tests(tests, set_up, take_down);
}
