/* exchanging: a program, a name server and the resolver between them: real sockets on loopback;
 * keeper, identity, pods and the kernel's records are the test's own. What a program sees is looked
 * at by its own socket. For the tests of the resolver. */
#pragma once

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "proxy/identity/identity.h"
#include "proxy/keeper/keeper.h"
#include "proxy/dns/names.h"
#include "proxy/doors/origin.h"
#include "proxy/pods/pods.h"
#include "proxy/dns/resolver.h"
#include "tests/unit/dns/asked.h"

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

int origin_of_asker(struct keeper *bpf, const struct abi_tuple *key, struct origin *out,
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

static int bound_to(const struct addr *at)
{
    struct sockaddr_storage name;
    socklen_t len = addr_to_sockaddr(at, &name);
    int fd = socket(name.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, len), 0);
    return fd;
}

static int bound_socket(const char *ip)
{
    struct addr at = address(ip, 0);

    return bound_to(&at);
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
