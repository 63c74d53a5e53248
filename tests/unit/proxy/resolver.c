/* resolver: real sockets on loopback; keeper, identity, pods and the kernel's records are the
 * test's own. What a program sees is looked at by its own socket. */
#include "proxy/resolver.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "proxy/exchanges.h"
#include "proxy/identity/identity.h"
#include "proxy/keeper.h"
#include "proxy/names.h"
#include "proxy/origin.h"
#include "proxy/pods.h"
#include "tests/unit/proxy/asked.h"

enum { PATIENCE_MS = 5000, COOKIE = 4711 };

/* ---- in the place of what needs root ---- */

static struct keeper_net {
    struct listeners listeners;
} net;
static struct pod pod = {.cgroup_id = 7, .tls_read = true};
static unsigned flows; /* open ones of the process */
static struct process process;
static struct origin filed; /* of whoever writes to us, while has_filed */
static bool has_filed;
static unsigned forgotten;
static void (*while_asked)(void); /* what identity finds when it is asked; or NULL */

struct sallyport_bpf *keeper_bpf(struct keeper *keeper)
{
    (void)keeper;
    return NULL;
}

int keeper_socket(struct keeper *keeper, uint64_t netns_cookie, int family, int type,
                  struct err *err)
{
    (void)keeper;
    (void)err;
    assert_int_equal(netns_cookie, 1);
    return listener_socket(family, type);
}

uint64_t keeper_net_cookie(const struct keeper_net *at)
{
    (void)at;
    return 1;
}

const struct listeners *keeper_net_listeners(const struct keeper_net *at)
{
    return &at->listeners;
}

struct process *identity_flow_begin(struct identity *identity, uint32_t pid, uint64_t start_ns,
                                    uint64_t cgroup)
{
    (void)identity;
    assert_int_equal(pid, 42);
    assert_int_equal(start_ns, 43);
    assert_int_equal(cgroup, pod.cgroup_id);
    if (while_asked)
        while_asked();
    flows++;
    return process_ref(&process);
}

void identity_flow_end(struct identity *identity, struct process **flow)
{
    (void)identity;
    flows--;
    process_unref(flow);
}

struct pod *pods_find(struct pods *pods, uint64_t cgroup_id)
{
    (void)pods;
    return cgroup_id == pod.cgroup_id ? &pod : NULL;
}

int origin_of_asker(struct sallyport_bpf *bpf, const struct abi_tuple *key, struct origin *out,
                    struct err *err)
{
    (void)bpf;
    (void)err;
    assert_int_equal(key->netns_cookie, 1);
    if (!has_filed)
        return -ENOENT;
    *out = filed;
    memcpy(out->src.ip, key->ip, sizeof(key->ip));
    out->src.port = key->port;
    return 0;
}

void origin_forget_asker(struct sallyport_bpf *bpf, const struct abi_tuple *key)
{
    (void)bpf;
    (void)key;
    forgotten++;
}

/* ---- a program, a server, and the loop between them ---- */

static struct event_base *base;
static struct names *names;
static struct resolver *resolver;
static int program, server;
static int descriptors; /* open before the test */

static int count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static struct addr address(const char *ip, uint16_t port)
{
    struct addr addr = {.ip = {[10] = 0xff, 0xff}, .port = port};

    if (inet_pton(AF_INET, ip, addr.ip + 12) != 1)
        assert_int_equal(inet_pton(AF_INET6, ip, addr.ip), 1);
    return addr;
}

static int bound_socket(const char *ip)
{
    struct addr at = address(ip, 0);
    struct sockaddr_storage name;
    socklen_t len = addr_to_sockaddr(&at, &name);
    int fd = socket(name.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, len), 0);
    return fd;
}

static struct addr name_of(int fd)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    struct addr addr;

    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
    assert_true(addr_from_sockaddr(&name, &addr));
    return addr;
}

static void send_to(int fd, const struct addr *to, struct span bytes)
{
    struct sockaddr_storage name;
    socklen_t len = addr_to_sockaddr(to, &name);

    assert_int_equal(sendto(fd, bytes.data, bytes.len, 0, (struct sockaddr *)&name, len),
                     bytes.len);
}

/* Our listener for a peer, at one of the addresses of lo. */
static struct addr ear(const char *ip, size_t peer)
{
    return address(ip, net.listeners.datagram[peer].port);
}

static bool waits(int fd)
{
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) > 0;
}

static void turn(void)
{
    assert_true(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
}

/* What comes to a socket next, and from where. */
static struct span receive(int fd, struct addr *from)
{
    static uint8_t bytes[65536];
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    uint64_t end = clock_ns() + PATIENCE_MS * 1000000ull;
    ssize_t n;

    while (!waits(fd)) {
        assert_true(clock_ns() < end);
        turn();
        poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1);
    }
    n = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&name, &len);
    assert_true(n >= 0 && addr_from_sockaddr(&name, from));
    return span_of(bytes, (size_t)n);
}

static void expect(int fd, struct span wanted, struct addr *from)
{
    struct span got = receive(fd, from);

    assert_int_equal(got.len, wanted.len);
    assert_memory_equal(got.data, wanted.data, wanted.len);
}

static void expect_from(int fd, struct span wanted, const struct addr *wanted_from)
{
    struct addr from;

    expect(fd, wanted, &from);
    assert_int_equal(from.port, wanted_from->port);
    assert_memory_equal(from.ip, wanted_from->ip, sizeof(from.ip));
}

static void look_before_release(const struct flow_event *event)
{
    struct names_found found;
    struct addr at = address("203.0.113.10", 0);

    if (event->kind != FLOW_EVENT_DNS || !event->dns.ips_len)
        return;
    assert_false(waits(program));
    names_find(names, pod.cgroup_id, &at, clock_ns(), &found);
    assert_int_equal(found.len, 1);
    names_found_fini(&found);
    assert_ptr_equal(event->process, &process);
    assert_ptr_equal(event->pod, &pod);
    assert_int_equal(event->protocol, PROTOCOL_UDP);
    assert_int_equal(event->socket_cookie, COOKIE);
    assert_int_equal(event->src.port, name_of(program).port);
    assert_memory_equal(&event->dst, &filed.dst, sizeof(event->dst));
}

static int begin(void **state)
{
    struct resolver_parts parts = {0};

    (void)state;
    descriptors = count_descriptors();
    atomic_init(&pod.refs, 1);
    atomic_init(&process.refs, 1);
    flows = 0;
    told[0] = 0;
    forgotten = 0;
    base = event_base_new();
    listeners_init(&net.listeners);
    if (!base || listeners_open(&net.listeners) < 0 || names_new(&names, NULL) < 0)
        return -1;
    parts = (struct resolver_parts){.base = base, .names = names};
    if (resolver_new(&resolver, &parts, NULL) < 0 || resolver_watch(resolver, &net, NULL) < 0)
        return -1;
    program = bound_socket("127.0.0.1");
    server = bound_socket("127.0.0.1");
    filed = (struct origin){.dst = name_of(server),
                            .cookie = COOKIE,
                            .pod = pod.cgroup_id,
                            .netns_cookie = 1,
                            .pid = 42,
                            .start_ns = 43};
    has_filed = true;
    when_told = look_before_release;
    return 0;
}

static int end(void **state)
{
    (void)state;
    when_told = NULL;
    while_asked = NULL;
    close(program);
    close(server);
    resolver_free(&resolver);
    listeners_fini(&net.listeners);
    names_free(&names);
    event_base_free(base);
    assert_int_equal(flows, 0);
    assert_int_equal(process.refs, 1);
    assert_int_equal(pod.refs, 1);
    assert_int_equal(count_descriptors(), descriptors);
    return 0;
}

/* ---- what it promises ---- */

#define QUESTION BYTES(QUERY("id", IO, A))
#define ADDRESS  BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a"))

/* The question arrives at the server; returns whom to answer. */
static struct addr ask(const struct addr *at)
{
    struct addr from;

    send_to(program, at, QUESTION);
    expect(server, QUESTION, &from);
    return from;
}

static void a_question_and_its_answer_pass(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream = ask(&at);

    (void)state;
    assert_int_equal(flows, 1);
    assert_int_not_equal(upstream.port, name_of(program).port);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
    expect_told("ebpf.io. A\nebpf.io. A NOERROR 203.0.113.10 60s\n");
}

static void an_answer_comes_from_the_address_that_was_asked(void **state)
{
    struct addr at = ear("127.9.8.7", 2), other = ear("127.9.8.7", 3), upstream = ask(&at);

    (void)state;
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
    upstream = ask(&other);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &other);
    assert_int_equal(flows, 2);
}

static void it_goes_by_ipv6(void **state)
{
    struct addr at = ear("::1", 1), upstream;

    (void)state;
    if (net.listeners.datagram[1].v6 < 0)
        return; /* no IPv6 here */
    close(program);
    close(server);
    program = bound_socket("::1");
    server = bound_socket("::1");
    filed.dst = name_of(server);
    upstream = ask(&at);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
}

static void an_upstream_socket_has_the_address_the_program_bound(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream;

    (void)state;
    filed.has_bound = true;
    filed.bound = address("127.0.0.99", 0);
    upstream = ask(&at);
    assert_memory_equal(upstream.ip, filed.bound.ip, sizeof(upstream.ip));
}

static void one_socket_asks_over_and_over(void **state)
{
    struct addr at = ear("127.0.0.1", 0), first = ask(&at), again;

    (void)state;
    for (int i = 0; i < 100; i++) {
        again = ask(&at);
        assert_int_equal(again.port, first.port);
    }
    assert_int_equal(flows, 1);
}

static void what_was_not_asked_is_not_released(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream = ask(&at);

    (void)state;
    send_to(server, &upstream, BYTES(ANSWER("ix", IO, A, ONE) IP4("\x66")));
    send_to(server, &upstream, BYTES(ANSWER("id", COM, A, ONE) IP4("\x66")));
    send_to(server, &upstream, BYTES("rubbish"));
    send_to(server, &upstream, BYTES(""));
    send_to(server, &upstream, ADDRESS);
    send_to(server, &upstream, ADDRESS);
    send_to(server, &upstream, BYTES(ANSWER("id", IO, A, ONE) IP4("\x66")));
    expect_from(program, ADDRESS, &at);
    upstream = ask(&at);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
    assert_false(waits(program));
}

static void nobody_but_the_server_is_heard(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream = ask(&at);
    int other = bound_socket("127.0.0.1");

    (void)state;
    send_to(other, &upstream, BYTES(ANSWER("id", IO, A, ONE) IP4("\x66")));
    close(other);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
}

static void malformed_answers_are_servfail(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream = ask(&at);

    (void)state;
    send_to(server, &upstream, BYTES(ANSWER("id", IO, A, ONE) "\xc0\x19\0\1\0\1" TTL "\0\0"));
    expect_from(program, BYTES(REFUSED("id", IO, A)), &at);
    expect_told("ebpf.io. A\nebpf.io. A SERVFAIL (the server's answer is malformed: a name points "
                "forward)\n");
}

static void a_long_answer_passes_whole(void **state)
{
    static uint8_t answer[60000] = ANSWER("id", IO, A, TWO) IP4("\x0a");
    static const uint8_t txt[] = "\0\0\x10\0\1\0\0\0\0";
    struct addr at = ear("127.0.0.1", 0), upstream = ask(&at);
    const size_t behind = sizeof(ANSWER("id", IO, A, TWO) IP4("\x0a")) - 1;
    const size_t rest = sizeof(answer) - behind - sizeof(txt) - 1;

    (void)state;
    memcpy(answer + behind, txt, sizeof(txt) - 1);
    answer[behind + 9] = (uint8_t)(rest >> 8);
    answer[behind + 10] = (uint8_t)rest;
    send_to(server, &upstream, span_of(answer, sizeof(answer)));
    expect_from(program, span_of(answer, sizeof(answer)), &at);
}

static void a_server_that_is_not_there_is_servfail(void **state)
{
    struct addr at = ear("127.0.0.1", 0);
    char told_of[256], server_text[ADDR_TEXT_MAX];

    (void)state;
    close(server);
    server = -1;
    for (int i = 0; i < 3; i++) {
        send_to(program, &at, QUESTION);
        expect_from(program, BYTES(REFUSED("id", IO, A)), &at);
        snprintf(told_of, sizeof(told_of),
                 "ebpf.io. A\nebpf.io. A SERVFAIL (%s: Connection refused)\n",
                 addr_format(&filed.dst, server_text));
        expect_told(told_of);
    }
}

static void no_socket_for_it_is_servfail(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream;

    (void)state;
    filed.has_bound = true;
    filed.bound = address("198.51.100.1", 0); /* nobody's here */
    send_to(program, &at, QUESTION);
    expect_from(program, BYTES(REFUSED("id", IO, A)), &at);
    resolver_forget(resolver, COOKIE, &filed.dst);
    filed.has_bound = false;
    upstream = ask(&at);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
}

static void strangers_are_not_heard(void **state)
{
    struct addr at = ear("127.0.0.1", 0);

    (void)state;
    has_filed = false;
    send_to(program, &at, QUESTION);
    resolver_drain(resolver);
    turn();
    assert_false(waits(server));
    assert_int_equal(flows, 0);
    expect_told("");
}

static void what_is_no_dns_passes_and_is_told_once(void **state)
{
    struct addr at = ear("127.0.0.1", 0), upstream;

    (void)state;
    send_to(program, &at, BYTES("ping"));
    expect(server, BYTES("ping"), &upstream);
    send_to(server, &upstream, BYTES("pong"));
    expect_from(program, BYTES("pong"), &at);
    expect_told("- (not a DNS message: shorter than a header)\n"
                "- ? (not a DNS message: shorter than a header)\n");
}

static void a_socket_that_is_gone_is_forgotten(void **state)
{
    struct addr at = ear("127.0.0.1", 0), other = ear("127.0.0.1", 1), upstream;
    int before = count_descriptors();

    (void)state;
    upstream = ask(&at);
    ask(&other);
    assert_int_equal(count_descriptors(), before + 2);
    resolver_forget(resolver, COOKIE + 1, &filed.dst);
    assert_int_equal(flows, 2);
    resolver_forget(resolver, COOKIE, &filed.dst);
    assert_int_equal(flows, 0);
    assert_int_equal(forgotten, 2);
    assert_int_equal(count_descriptors(), before);
    send_to(server, &upstream, ADDRESS); /* too late */
    turn();
    assert_false(waits(program));
}

/* From within a record that is read while one is asked who it is: what it sent is in our hands. */
static void look_while_asked(void)
{
    assert_false(resolver_is_done(resolver, COOKIE, &filed.dst));
}

static void a_socket_is_done_when_all_it_sent_was_handled(void **state)
{
    struct addr at = ear("127.0.0.1", 0), other = ear("127.0.0.1", 1), elsewhere = filed.dst;

    (void)state;
    elsewhere.port++;
    assert_false(resolver_is_done(resolver, COOKIE, &filed.dst)); /* never heard of */
    while_asked = look_while_asked;
    ask(&at);
    while_asked = NULL;
    assert_true(resolver_is_done(resolver, COOKIE, &filed.dst));
    assert_false(resolver_is_done(resolver, COOKIE, &elsewhere));
    assert_false(resolver_is_done(resolver, COOKIE + 1, &filed.dst));
    send_to(program, &at, QUESTION);
    assert_false(resolver_is_done(resolver, COOKIE, &filed.dst));
    resolver_drain(resolver);
    assert_true(resolver_is_done(resolver, COOKIE, &filed.dst));
    ask(&other);
}

static void one_server_is_forgotten_the_other_still_answers(void **state)
{
    struct addr at = ear("127.0.0.1", 0), other = ear("127.0.0.1", 1), first = filed.dst, upstream,
                from;
    int second = bound_socket("127.0.0.1");

    (void)state;
    when_told = NULL;
    upstream = ask(&at);
    filed.dst = name_of(second);
    send_to(program, &other, QUESTION);
    expect(second, QUESTION, &from);
    resolver_forget(resolver, COOKIE, &filed.dst);
    assert_int_equal(flows, 1);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
    resolver_forget(resolver, COOKIE, &first);
    assert_int_equal(flows, 0);
    close(second);
}

static void a_port_that_another_socket_has_now_is_another_exchange(void **state)
{
    struct addr at = ear("127.0.0.1", 0), first = ask(&at), second;

    (void)state;
    filed.cookie++;
    when_told = NULL;
    second = ask(&at);
    assert_int_not_equal(first.port, second.port);
    assert_int_equal(forgotten, 0); /* the record is the new socket's */
    resolver_forget(resolver, COOKIE, &filed.dst);
    assert_int_equal(flows, 1);
    send_to(server, &second, ADDRESS);
    expect_from(program, ADDRESS, &at);
}

static void a_socket_that_asks_another_server_is_another_exchange(void **state)
{
    struct addr at = ear("127.0.0.1", 0), from;
    int other = bound_socket("127.0.0.1");

    (void)state;
    ask(&at);
    filed.dst = name_of(other);
    send_to(program, &at, QUESTION);
    expect(other, QUESTION, &from);
    send_to(other, &from, ADDRESS);
    expect_from(program, ADDRESS, &at);
    close(other);
    assert_int_equal(flows, 1);
}

static void a_namespace_we_leave_is_left(void **state)
{
    struct addr at = ear("127.0.0.1", 0);

    (void)state;
    ask(&at);
    resolver_unwatch(resolver, &net);
    assert_int_equal(flows, 0);
    resolver_unwatch(resolver, &net);
    send_to(program, &at, QUESTION);
    turn();
    resolver_drain(resolver);
    assert_false(waits(server));
}

static void a_drain_does_not_wait_for_the_loop(void **state)
{
    struct addr at = ear("127.0.0.1", 0), from;

    (void)state;
    for (int i = 0; i < 20; i++)
        send_to(program, &at, QUESTION);
    resolver_drain(resolver);
    for (int i = 0; i < 20; i++) {
        assert_true(waits(server));
        expect(server, QUESTION, &from);
    }
}

static void drain_while_asked(void)
{
    resolver_drain(resolver);
}

static void a_drain_within_a_batch_leaves_it_alone(void **state)
{
    struct addr at = ear("127.0.0.1", 0), from;
    char query[] = QUERY("id", IO, A);

    (void)state;
    while_asked = drain_while_asked;
    for (query[1] = 'a'; query[1] < 'a' + 20; query[1]++) /* more than a batch has */
        send_to(program, &at, span_of(query, sizeof(query) - 1));
    resolver_drain(resolver);
    for (query[1] = 'a'; query[1] < 'a' + 20; query[1]++)
        expect(server, span_of(query, sizeof(query) - 1), &from);
}

static void a_flood_has_its_turn_and_no_more(void **state)
{
    struct addr at = ear("127.0.0.1", 0);
    int lines = 0;

    (void)state;
    for (int i = 0; i < 300; i++)
        send_to(program, &at, QUESTION);
    turn();
    for (const char *line = told; (line = strchr(line, '\n')); line++)
        lines++;
    assert_int_equal(lines, 256);
}

/* One program socket writes to many addresses of ours: each is an exchange. */
static void exchanges_of_a_pod_are_bounded(void **state)
{
    enum { MANY = EXCHANGES_OF_POD + 10 };
    struct addr at = ear("127.1.0.0", 0), upstream;
    int before = count_descriptors();

    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        at.ip[14] = (uint8_t)(i >> 8);
        at.ip[15] = (uint8_t)i;
        ask(&at);
        told[0] = 0;
    }
    assert_int_equal(flows, EXCHANGES_OF_POD);
    assert_int_equal(forgotten, MANY - EXCHANGES_OF_POD);
    assert_int_equal(count_descriptors(), before + EXCHANGES_OPEN_OF_POD);
    at.ip[14] = 0;
    at.ip[15] = 11; /* one whose upstream socket was taken away */
    upstream = ask(&at);
    send_to(server, &upstream, ADDRESS);
    expect_from(program, ADDRESS, &at);
    assert_int_equal(flows, EXCHANGES_OF_POD);
    assert_int_equal(count_descriptors(), before + EXCHANGES_OPEN_OF_POD);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_question_and_its_answer_pass),
        TEST(an_answer_comes_from_the_address_that_was_asked),
        TEST(it_goes_by_ipv6),
        TEST(an_upstream_socket_has_the_address_the_program_bound),
        TEST(one_socket_asks_over_and_over),
        TEST(what_was_not_asked_is_not_released),
        TEST(nobody_but_the_server_is_heard),
        TEST(malformed_answers_are_servfail),
        TEST(a_long_answer_passes_whole),
        TEST(a_server_that_is_not_there_is_servfail),
        TEST(no_socket_for_it_is_servfail),
        TEST(strangers_are_not_heard),
        TEST(what_is_no_dns_passes_and_is_told_once),
        TEST(a_socket_that_is_gone_is_forgotten),
        TEST(a_socket_is_done_when_all_it_sent_was_handled),
        TEST(one_server_is_forgotten_the_other_still_answers),
        TEST(a_port_that_another_socket_has_now_is_another_exchange),
        TEST(a_socket_that_asks_another_server_is_another_exchange),
        TEST(a_namespace_we_leave_is_left),
        TEST(a_drain_does_not_wait_for_the_loop),
        TEST(a_drain_within_a_batch_leaves_it_alone),
        TEST(a_flood_has_its_turn_and_no_more),
        TEST(exchanges_of_a_pod_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
