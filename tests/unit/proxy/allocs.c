/* allocs: what the control thread does while a program lives, with the n-th allocation refused, for
 * every n there is: what runs, where it connects, what it asks and is answered, how it all ends.
 *
 * Identity, sockets, resolver and names are the real ones; the kernel's records are the test's.
 * What is told is told whole, what is not is counted, and the next program is told of as the first.
 */
#include "tests/unit/proxy/allocs_bed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "proxy/dns/names.h"
#include "proxy/dns/resolver.h"
#include "proxy/identity/snapshot.h"
#include "proxy/sockets.h"
#include "sallyport.skel.h"
#include "tests/unit/failing.h"

enum { CHILD = 1 << 22 /* no pid */, FOREVER = 1 << 30 };

static struct sallyport_bpf bpf;
static struct event_base *base;
static struct identity *identity;
static struct names *names;
static struct resolver *resolver;
static struct sockets *sockets;
static int program, server;
static uint64_t parent_start_ns; /* as start_ns */
static struct told whole;        /* what a whole life tells */

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
