/* hold: a steered connection's SYN is kept back, and what is put in its place does what the agent
 * needs of it: goes on to the listener, or ends the connect with the errno it stands for. */
#include "fixture.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "proxy/doors/syn.h"
#include "sallyport.skel.h"

enum { RECORDS_MAX = 16 };

static struct abi_syn records[RECORDS_MAX];
static size_t records_len;
static struct ring_buffer *ring;

static int on_record(void *arg, void *data, size_t size)
{
    const struct abi_syn *record = data;

    (void)arg;
    if (record->kind < ABI_SYN_HELD)
        return 0;
    assert_int_equal(size, record->kind == ABI_SYN_HELD ? sizeof(*record)
                                                        : offsetof(struct abi_syn, packet));
    assert_true(records_len < RECORDS_MAX);
    memcpy(&records[records_len++], data, size);
    return 0;
}

static int begin(void **state)
{
    int code = register_default(state);

    ring =
        ring_buffer__new(bpf_map__fd(keeper_bpf(fx.keeper)->maps.records), on_record, NULL, NULL);
    assert_non_null(ring);
    ring_buffer__consume(ring);
    records_len = 0;
    return code;
}

static void hold_until(uint64_t boot_ns)
{
    uint32_t zero = 0;

    assert_int_equal(bpf_map_update_elem(bpf_map__fd(keeper_bpf(fx.keeper)->maps.hold_until), &zero,
                                         &boot_ns, 0),
                     0);
}

static void hold(void)
{
    hold_until(clock_read_ns(CLOCK_BOOTTIME) + 60000000000u);
}

static int end(void **state)
{
    hold_until(0);
    ring_buffer__free(ring);
    return unregister(state);
}

/* Does not wait for its connect; the socket stays. */
static void do_begin(const void *arg, struct report *report)
{
    const struct dial *dial = arg;
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);

    report->fd = socket(dial->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    report->code = connect_to(report->fd, dial->family, dial->to, dial->port);
    if (getsockname(report->fd, (struct sockaddr *)&name, &len) == 0)
        addr_from_sockaddr(&name, &report->self);
    len = sizeof(report->cookie);
    getsockopt(report->fd, SOL_SOCKET, SO_COOKIE, &report->cookie, &len);
}

static struct report begin_from(const char *cgroup, const struct dial *dial)
{
    struct report report;

    bed_run(&fx.bed, cgroup, fx.bed.pod, do_begin, dial, &report);
    return report;
}

/* The errno of the connect, 0 when it succeeded, -1 while it goes on. */
static int outcome(int fd, int ms)
{
    struct pollfd done = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof(error);

    if (poll(&done, 1, ms) != 1)
        return -1;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error;
}

/* The only record, of this kind and socket. */
static const struct abi_syn *told(enum abi_record_kind kind, const struct report *report)
{
    records_len = 0;
    assert_true(ring_buffer__consume(ring) >= 0);
    assert_int_equal(records_len, 1);
    assert_int_equal(records[0].kind, kind);
    assert_int_equal(records[0].origin.cookie, report->cookie);
    return &records[0];
}

static void send_packet(bool v4, const struct addr *to, const uint8_t *packet, size_t len)
{
    const struct listeners *ours = keeper_net_listeners(fx.net);
    struct addr host = *to;
    struct sockaddr_storage name;
    socklen_t name_len;

    host.port = 0;
    name_len = addr_to_sockaddr(&host, &name);
    assert_int_equal(
        sendto(v4 ? ours->raw4 : ours->raw6, packet, len, 0, (struct sockaddr *)&name, name_len),
        len);
}

/* A connect that has begun, and its SYN. */
static struct report begin_held(const struct way *way, struct syn *syn)
{
    const struct dial dial = {.family = way->family, .to = way->to, .port = 443};
    struct report report = begin_from("pod", &dial);
    const struct abi_syn *record = told(ABI_SYN_HELD, &report);

    assert_int_equal(report.code, -EINPROGRESS);
    assert_int_equal(record->origin.port, 443);
    assert_int_equal(record->origin.pid, report.pid);
    assert_int_equal(record->origin.netns_cookie, keeper_net_cookie(fx.net));
    assert_true(syn_parse(span_of(record->packet, record->len), syn));
    assert_int_equal(syn->src.port, report.self.port);
    assert_int_equal(syn->to.port, our_port());
    assert_ip(&syn->src, way->self);
    return report;
}

static void a_syn_is_held_and_can_be_sent_on(void **state)
{
    (void)state;
    hold();
    for (size_t i = 0; i < WAYS; i++) {
        struct dial dial = {.family = ways[i].family, .to = ways[i].to, .port = 443};
        struct origin origin;
        struct syn syn;
        struct report report = begin_held(&ways[i], &syn);
        CLEANUP(fd_close) int accepted = -1;

        print_message("  %s\n", ways[i].name);
        assert_int_equal(outcome(report.fd, 100), -1);
        assert_int_equal(accept_within(our_listener(&dial), 0), -1);
        send_packet(syn.v4, &syn.to, syn.packet, syn.len);
        assert_int_equal(outcome(report.fd, SOON_MS), 0);
        accepted = accept_within(our_listener(&dial), SOON_MS);
        assert_ok(origin_take(keeper_bpf(fx.keeper), accepted, &origin, &fx.err));
        assert_int_equal(origin.cookie, report.cookie);
        assert_ip(&origin.dst, ways[i].peer);
        fd_close(&report.fd);
    }
}

static void it_can_be_refused_in_each_way(void **state)
{
    static const struct {
        int told, seen4, seen6;
    } failures[] = {
        {ECONNREFUSED, ECONNREFUSED, ECONNREFUSED},
        {EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH},
        {ENETUNREACH, ENETUNREACH, ENETUNREACH},
        {EACCES, EHOSTUNREACH, EACCES},
        {EPROTO, EPROTO, EPROTO},
    };

    (void)state;
    hold();
    for (size_t i = 0; i < WAYS * ARRAY_SIZE(failures); i++) {
        const struct way *way = &ways[i % WAYS];
        int failure = failures[i / WAYS].told;
        uint8_t answer[SYN_ANSWER_MAX];
        struct syn syn;
        struct report report = begin_held(way, &syn);

        print_message("  %s: %s\n", way->name, strerror(failure));
        send_packet(syn.v4, &syn.src, answer, syn_refuse(&syn, -failure, answer));
        assert_int_equal(outcome(report.fd, SOON_MS),
                         syn.v4 ? failures[i / WAYS].seen4 : failures[i / WAYS].seen6);
        told(ABI_SYN_GONE, &report);
        assert_int_equal(records_waiting(), 0);
        fd_close(&report.fd);
    }
}

static void that_its_socket_gives_up_is_told(void **state)
{
    (void)state;
    hold();
    for (size_t i = 0; i < WAYS; i++) {
        struct syn syn;
        struct report report = begin_held(&ways[i], &syn);

        print_message("  %s\n", ways[i].name);
        fd_close(&report.fd);
        told(ABI_SYN_GONE, &report);
        assert_int_equal(records_waiting(), 0);
    }
}

static void it_is_repeated_as_if_it_had_been_lost(void **state)
{
    struct syn first, second;
    struct report report;
    const struct abi_syn *record;

    (void)state;
    hold();
    report = begin_held(&ways[0], &first);
    assert_int_equal(outcome(report.fd, 1500), -1);
    record = told(ABI_SYN_HELD, &report);
    assert_true(syn_parse(span_of(record->packet, record->len), &second));
    assert_true(syn_is_again(&first, &second));
    fd_close(&report.fd);
}

static void it_goes_to_the_listener_where_nobody_would_send_it_on(void **state)
{
    (void)state;
    for (int stale = 0; stale < 2; stale++)
        for (size_t i = 0; i < WAYS; i++) {
            struct dial dial = {.family = ways[i].family, .to = ways[i].to, .port = 443};
            struct origin origin;
            struct report report;

            hold_until(stale ? clock_read_ns(CLOCK_BOOTTIME) : 0);
            report = dial_from_pod(dial);
            assert_steered(&dial, &report, &origin);
        }
    ring_buffer__consume(ring);
    assert_int_equal(records_len, 0);
}

static void others_are_not_held(void **state)
{
    CLEANUP(fd_close) int https = serve(fx.bed.world, SOCK_STREAM, AF_INET, "198.51.100.1", 443);
    CLEANUP(fd_close) int other = serve(fx.bed.world, SOCK_STREAM, AF_INET, "198.51.100.1", 9000);
    struct dial dial = {.family = AF_INET, .to = "198.51.100.1", .port = 443};
    struct report report;

    (void)state;
    hold();
    report = dial_from("stranger", fx.bed.pod, dial);
    assert_went_direct(&report, https);
    dial.port = 9000;
    report = dial_from_pod(dial);
    assert_went_direct(&report, other);
    ring_buffer__consume(ring);
    assert_int_equal(records_len, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_syn_is_held_and_can_be_sent_on),
        TEST(it_can_be_refused_in_each_way),
        TEST(that_its_socket_gives_up_is_told),
        TEST(it_is_repeated_as_if_it_had_been_lost),
        TEST(it_goes_to_the_listener_where_nobody_would_send_it_on),
        TEST(others_are_not_held),
    };

    return cmocka_run_group_tests(tests, set_up, take_down);
}
