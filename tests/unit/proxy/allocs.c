/* allocs: what the control thread does while a program lives, with the n-th allocation refused, for
 * every n there is: what runs, where it connects, what it asks and is answered, how it all ends.
 *
 * Identity, sockets, resolver and names are the real ones; the kernel's records are the test's.
 * What is told is told whole, what is not is counted, and the next program is told of as the first.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "proxy/identity/identity.h"
#include "proxy/identity/snapshot.h"
#include "proxy/keeper/keeper.h"
#include "proxy/dns/names.h"
#include "proxy/pods/pods.h"
#include "proxy/dns/resolver.h"
#include "proxy/ringbuf.h"
#include "proxy/sockets.h"
#include "sallyport.skel.h"
#include "tests/unit/failing.h"

enum { POD = 7, CHILD = 1 << 22 /* no pid */, FOREVER = 1 << 30, LINES = 32, LINE = 256 };
enum { ASKS = 1, CONNECTS, IS_REFUSED, IS_THE_CHILDS }; /* sockets, by cookie */

static struct pod pod = {
    .refs = 1, .cgroup_id = POD, .tls_read = true, .space = (char *)"", .name = (char *)""};
static struct sallyport_bpf bpf;
static struct keeper_net {
    struct listeners listeners;
} net;
static struct event_base *base;
static struct identity *identity;
static struct names *names;
static struct resolver *resolver;
static struct sockets *sockets;
static int program, server;
static struct addr server_addr;
static uint64_t start_ns, parent_start_ns; /* of this process: it is in /proc, too */

/* What one life told. */
static struct told {
    char lines[LINES][LINE];
    size_t len;
    unsigned lost;
} told, whole;
static uint64_t kernel_lost, kernel_lost_told;

/* ---- in the place of the kernel, and of what needs root
 * ------------------------------------------ */

static int (*on_record)(void *arg, void *data, size_t len);
static void *on_record_arg;
static struct {
    const void *data;
    size_t len;
} ring; /* the record that waits */

int ringbuf_new(struct ringbuf **out, int map_fd, int (*handle)(void *arg, void *data, size_t len),
                void *arg, struct err *err)
{
    (void)map_fd, (void)err;
    on_record = handle;
    on_record_arg = arg;
    *out = (struct ringbuf *)&ring;
    return 0;
}

enum ringbuf_turn ringbuf_read(struct ringbuf *of)
{
    const void *data = ring.data;

    (void)of;
    ring.data = NULL;
    return data && on_record(on_record_arg, (void *)data, ring.len) < 0 ? RINGBUF_MORE
                                                                        : RINGBUF_ALL;
}

void ringbuf_free(struct ringbuf **of)
{
    *of = NULL;
}

int ringbuf_fd(const struct ringbuf *of)
{
    (void)of;
    return -1;
}

int bpf_map__fd(const struct bpf_map *map)
{
    (void)map;
    return -1;
}

int bpf_map_lookup_elem(int fd, const void *key, void *value)
{
    (void)fd, (void)key;
    *(uint64_t *)value = kernel_lost;
    return 0;
}

struct pod *pods_find(struct pods *pods, uint64_t cgroup_id)
{
    (void)pods;
    return cgroup_id == POD ? &pod : NULL;
}

struct sallyport_bpf *keeper_bpf(struct keeper *keeper)
{
    (void)keeper;
    return NULL;
}

int keeper_socket(struct keeper *keeper, uint64_t netns_cookie, int family, int type,
                  struct err *err)
{
    (void)keeper, (void)netns_cookie, (void)err;
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

int origin_of_asker(struct keeper *at, const struct abi_tuple *key, struct origin *out,
                    struct err *err)
{
    (void)at, (void)err;
    *out = (struct origin){.dst = server_addr,
                           .src = {.port = key->port},
                           .cookie = ASKS,
                           .pod = POD,
                           .netns_cookie = 1,
                           .pid = (uint32_t)getpid(),
                           .start_ns = start_ns};
    memcpy(out->src.ip, key->ip, sizeof(key->ip));
    return 0;
}

void origin_forget_asker(struct sallyport_bpf *at, const struct abi_tuple *key)
{
    (void)at, (void)key;
}

static void append(char *line, const char *text)
{
    size_t len = strlen(line);

    snprintf(line + len, LINE - len, " %s", text ? text : "-");
}

/* In the place of the bus, and with its view of what is lost. */
void bus_emit(struct bus_producer *producer, struct flow_event **emitted)
{
    struct flow_event *event = *emitted;
    char *line = told.lines[told.len];

    (void)producer;
    if (!event || event->incomplete) {
        told.lost++;
        flow_event_free(emitted);
        return;
    }
    assert_true(told.len < LINES);
    if (event->kind == FLOW_EVENT_LOST) {
        kernel_lost_told += event->lost.count;
        flow_event_free(emitted);
        return;
    }
    snprintf(line, LINE, "%s", flow_event_name(event->kind));
    if (event->kind == FLOW_EVENT_EXEC) {
        append(line, event->process->binary);
        append(line, event->process->arguments);
    }
    for (size_t i = 0; i < event->names_len; i++)
        append(line, event->names[i]);
    if (event->kind == FLOW_EVENT_DNS) {
        append(line, event->dns.name);
        append(line, event->dns.rcode);
        for (size_t i = 0; i < event->dns.ips_len; i++)
            append(line, event->dns.ips[i]);
    }
    if (event->error)
        append(line, event->error);
    told.len++;
    flow_event_free(emitted);
}

/* ---- a program's life
 * ---------------------------------------------------------------------------- */

static void tell(const void *record, size_t len)
{
    ring.data = record;
    ring.len = len;
    identity_step(identity);
}

static struct abi_process process_record(enum abi_record_kind kind, uint32_t pid)
{
    struct abi_process record = {
        .kind = kind,
        .pid = pid,
        .ppid = pid == CHILD ? (uint32_t)getpid() : (uint32_t)getppid(),
        .start_ns = start_ns,
        .parent_start_ns = pid == CHILD ? start_ns : parent_start_ns,
        .time_ns = clock_read_ns(CLOCK_BOOTTIME),
        .pod = POD,
    };
    static const char texts[] = "/usr/bin/program"
                                "/"
                                "program"
                                "\0one\0two";

    if (kind == ABI_PROCESS_EXEC) {
        record.path_len = 16;
        record.cwd_len = 1;
        record.args_len = 16;
        memcpy(record.text, texts, sizeof(texts));
    }
    return record;
}

static void tell_process(enum abi_record_kind kind, uint32_t pid)
{
    struct abi_process record = process_record(kind, pid);

    tell(&record, sizeof(record));
}

static struct addr site(void)
{
    return (struct addr){.ip = {[10] = 0xff, 0xff, 203, 0, 113, 10}, .port = 443};
}

static void tell_socket(enum abi_record_kind kind, uint64_t cookie, uint16_t error)
{
    struct addr dst = cookie == ASKS ? server_addr : site();
    struct abi_socket record = {
        .kind = kind,
        .pid = cookie == IS_THE_CHILDS ? CHILD : (uint32_t)getpid(),
        .start_ns = start_ns,
        .pod = POD,
        .cookie = cookie,
        .time_ns = clock_read_ns(CLOCK_BOOTTIME),
        .dst_port = dst.port,
        .protocol = cookie == ASKS ? IPPROTO_UDP : IPPROTO_TCP,
        .flags = cookie <= CONNECTS ? ABI_SOCKET_STEERED : 0,
        .error = error,
    };

    memcpy(record.dst, dst.ip, sizeof(record.dst));
    tell(&record, sizeof(record));
}

static void turn(void)
{
    assert_true(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
}

/* As agent.c does it. */
static void before_exits(void *arg)
{
    (void)arg;
    sockets_collect(sockets);
    resolver_drain(resolver);
    sockets_step(sockets);
}

#define QUESTION "id\1\0\0\1\0\0\0\0\0\0\4ebpf\2io\0\0\1\0\1"
#define ANSWER                                                                                     \
    "id\x81\x80\0\1\0\1\0\0\0\0\4ebpf\2io\0\0\1\0\1\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xcb\0\x71\x0a"

/* Whether there was an answer; if so it is the right one. */
static bool ask(void)
{
    struct addr ear = {.ip = {[10] = 0xff, 0xff, 127, 0, 0, 1},
                       .port = net.listeners.datagram[0].port};
    struct sockaddr_storage to;
    socklen_t len = addr_to_sockaddr(&ear, &to);
    uint8_t got[512];
    ssize_t n;

    assert_true(sendto(program, QUESTION, sizeof(QUESTION) - 1, 0, (struct sockaddr *)&to, len) >
                0);
    turn();
    len = sizeof(to);
    n = recvfrom(server, got, sizeof(got), MSG_DONTWAIT, (struct sockaddr *)&to, &len);
    if (n < 0)
        return false;
    assert_int_equal(n, sizeof(QUESTION) - 1);
    sendto(server, ANSWER, sizeof(ANSWER) - 1, 0, (struct sockaddr *)&to, len);
    turn();
    n = recv(program, got, sizeof(got), MSG_DONTWAIT);
    if (n < 0)
        return false;
    assert_int_equal(n, sizeof(ANSWER) - 1);
    assert_memory_equal(got, ANSWER, sizeof(ANSWER) - 1);
    return true;
}

static void connect_through_us(void)
{
    const struct origin origin = {.cookie = CONNECTS, .dst = site(), .pod = POD};
    struct sockets_flow *done = __real_malloc(sizeof(*done));
    struct process *process = identity_flow_begin(identity, (uint32_t)getpid(), start_ns, POD);

    assert_non_null(done);
    *done = (struct sockets_flow){.cookie = CONNECTS, .dst = site(), .error = "of the flow"};
    sockets_accepted(sockets, &origin, process, &pod);
    sockets_flow_done(sockets, &done);
    identity_flow_end(identity, &process);
}

/* Whether its question was answered. */
static bool live(void)
{
    bool answered;

    told = (struct told){0};
    kernel_lost++;
    tell_process(ABI_PROCESS_EXEC, (uint32_t)getpid());
    tell_socket(ABI_SOCKET_CONNECT, ASKS, 0);
    answered = ask();
    tell_socket(ABI_SOCKET_CLOSE, ASKS, 0);
    tell_socket(ABI_SOCKET_CONNECT, CONNECTS, 0);
    connect_through_us();
    tell_socket(ABI_SOCKET_CLOSE, CONNECTS, 0);
    tell_socket(ABI_SOCKET_CONNECT, IS_REFUSED, 0);
    tell_socket(ABI_SOCKET_CLOSE, IS_REFUSED, ECONNREFUSED);
    tell_process(ABI_PROCESS_FORK, CHILD);
    tell_socket(ABI_SOCKET_CONNECT, IS_THE_CHILDS, 0);
    tell_socket(ABI_SOCKET_CLOSE, IS_THE_CHILDS, 0);
    tell_process(ABI_PROCESS_EXIT, CHILD);
    sockets_finish(sockets);
    tell_process(ABI_PROCESS_EXIT, (uint32_t)getpid());
    identity_finish(identity); /* an exchange whose connect was lost keeps an exit waiting */
    return answered;
}

/* ---- what it must have told
 * ---------------------------------------------------------------------- */

/* A name that could not be kept is not told later. */
static bool is_line(const char *line, const char *wanted)
{
    size_t len = strlen(line);
    const char *name = strstr(wanted, " ebpf.io.");

    return strcmp(line, wanted) == 0 ||
           (name && strncmp(line, wanted, (size_t)(name - wanted)) == 0 &&
            strcmp(line + (name - wanted), name + strlen(" ebpf.io.")) == 0 && len);
}

/* Nothing but what a whole life tells, in its order; what is missing was counted. */
static void expect_told(bool answered)
{
    size_t at = 0, missing = 0;

    for (size_t i = 0; i < whole.len; i++) {
        if (at < told.len && is_line(told.lines[at], whole.lines[i]))
            at++;
        else if (answered || !strstr(whole.lines[i], "NOERROR"))
            missing++;
    }
    if (at < told.len)
        fail_msg("told: %s", told.lines[at]);
    if (missing && !told.lost)
        fail_msg("%zu of %zu lines are missing", missing, whole.len);
}

static void refuse_each(unsigned long len)
{
    unsigned long n = 1;

    for (;; n++) {
        bool answered, refused_any;

        failing_kind = FAILING_TEST;
        failing_begin(FAILING_TEST, n, len);
        answered = live();
        refused_any = failing_end();
        failing_kind = FAILING_NOBODY;
        expect_told(answered);
        assert_true(live());
        assert_int_equal(told.lost, 0);
        assert_memory_equal(&told, &whole, sizeof(told));
        if (!refused_any)
            break;
    }
    print_message("  %lu allocations\n", n - 1);
    assert_int_equal(kernel_lost_told, kernel_lost);
}

static void each_allocation(void **state)
{
    (void)state;
    refuse_each(1);
}

static void each_three_allocations(void **state)
{
    (void)state;
    refuse_each(3);
}

static void all_allocations_from_one_on(void **state)
{
    (void)state;
    refuse_each(FOREVER);
}

/* ---- set-up
 * -------------------------------------------------------------------------------------- */

static uint64_t start_of(pid_t pid)
{
    CLEANUP(process_unref) struct process *process = snapshot_take((uint32_t)pid, 0);

    assert_non_null(process);
    return process->start_ns;
}

static int bound(struct addr *at)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_storage got;
    socklen_t len = sizeof(got);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&got, &len), 0);
    assert_true(addr_from_sockaddr(&got, at));
    return fd;
}

static int begin(void **state)
{
    struct resolver_parts to_resolver;
    struct sockets_parts to_sockets;
    struct addr unused;

    (void)state;
    start_ns = start_of(getpid());
    parent_start_ns = start_of(getppid());
    base = event_base_new();
    listeners_init(&net.listeners);
    if (!base || listeners_open(&net.listeners) < 0 || names_new(&names, NULL) < 0 ||
        identity_new(&identity, &bpf, NULL, NULL, "node", NULL) < 0)
        return -1;
    to_resolver = (struct resolver_parts){.base = base, .names = names, .identity = identity};
    if (resolver_new(&resolver, &to_resolver, NULL) < 0 || resolver_watch(resolver, &net, NULL) < 0)
        return -1;
    to_sockets = (struct sockets_parts){.identity = identity, .names = names, .resolver = resolver};
    if (sockets_new(&sockets, &to_sockets, NULL) < 0)
        return -1;
    identity_on_socket(identity, sockets_on_record, sockets);
    identity_before_exits(identity, before_exits, NULL);
    program = bound(&unused);
    server = bound(&server_addr);
    for (int i = 0; i < 2; i++) /* the first differs: no name is known yet */
        assert_true(live() && !told.lost);
    whole = told;
    for (size_t i = 0; i < whole.len; i++)
        print_message("  %s\n", whole.lines[i]);
    return 0;
}

static int end(void **state)
{
    (void)state;
    sockets_free(&sockets);
    resolver_free(&resolver);
    identity_free(&identity);
    names_free(&names);
    listeners_fini(&net.listeners);
    event_base_free(base);
    close(program);
    close(server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation),
        cmocka_unit_test(each_three_allocations),
        cmocka_unit_test(all_allocations_from_one_on),
    };

    return failing_init() ? cmocka_run_group_tests(tests, begin, end) : 1;
}
