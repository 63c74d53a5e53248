/* exchanges: what is told of datagrams is what the program sent and received, to the byte, however
 * it sent them and to however many. */
#include "fixture.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heard.h"

/* What the program itself counted, and its peer, in memory that they share with the test. */
static struct tally {
    uint64_t tx, rx, cookie;
    uint64_t peer_got;
    atomic_bool serves;
} * tally;

enum how { PLAIN, SEGMENTED, CORKED };
struct sending {
    const char *name;
    bool connects;
    enum how how;
    size_t size, count; /* of each datagram, and how many */
    size_t reply;       /* size of the answer to each */
};
static const struct sending *sending;
static struct way way;

static const struct sending sendings[] = {
    {"a datagram of nothing", false, PLAIN, 0, 1, 1},
    {"unconnected", false, PLAIN, 1000, 20, 300},
    {"connected", true, PLAIN, 1000, 20, 300},
    {"connected, fragments", true, PLAIN, 60000, 5, 30000},
    {"unconnected, fragments", false, PLAIN, 5000, 5, 2000},
    {"connected, segmented by the kernel", true, SEGMENTED, 20000, 3, 10},
    {"unconnected, segmented by the kernel", false, SEGMENTED, 19999, 3, 10},
    {"connected, corked", true, CORKED, 900, 5, 100},
    {"unconnected, corked", false, CORKED, 3000, 5, 100},
};
enum { SEGMENT = 1000, PIECES = 3, PORT = 5000 };

static char bytes[65536];

static void receive(int fd, uint64_t *count)
{
    ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

    *count += n > 0 ? (uint64_t)n : 0;
}

static int send_one(int fd, const struct sockaddr_storage *to, socklen_t len)
{
    int pieces = sending->how == CORKED ? PIECES : 1;

    for (int i = 0; i < pieces; i++) {
        ssize_t n = sendto(fd, bytes, sending->size, i + 1 < pieces ? MSG_MORE : 0,
                           sending->connects ? NULL : (const struct sockaddr *)to,
                           sending->connects ? 0 : len);

        if (n < 0)
            return -errno;
        tally->tx += (uint64_t)n;
    }
    return 0;
}

static void do_send(const void *arg, struct report *report)
{
    struct sockaddr_storage to;
    socklen_t len = sizeof(tally->cookie), to_len = place(way.family, way.to, PORT, &to);
    int fd = socket(way.family, SOCK_DGRAM, 0), segment = SEGMENT;

    (void)arg;
    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &tally->cookie, &len);
    if (sending->how == SEGMENTED &&
        setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment)) < 0)
        report->code = -errno;
    if (sending->connects)
        report->code = connect_to(fd, way.family, way.to, PORT);
    for (size_t i = 0; report->code == 0 && i < sending->count; i++) {
        report->code = send_one(fd, &to, to_len);
        if (report->code == 0)
            receive(fd, &tally->rx);
    }
    close(fd);
}

/* Answers once for all that the program sends at a time. */
static pid_t start_peer(int server)
{
    pid_t pid = fork();

    if (pid == 0) {
        size_t pieces = sending->how == CORKED ? PIECES : 1;

        alarm(120);
        for (size_t i = 0; i < sending->count; i++) {
            uint64_t whole = tally->peer_got + sending->size * pieces;
            struct sockaddr_storage from;
            socklen_t len = sizeof(from);

            do {
                ssize_t n;

                poll(&(struct pollfd){.fd = server, .events = POLLIN}, 1, -1);
                n = recvfrom(server, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &len);
                tally->peer_got += n > 0 ? (uint64_t)n : 0;
            } while (tally->peer_got < whole);
            sendto(server, bytes, sending->reply, 0, (struct sockaddr *)&from, len);
        }
        _exit(0);
    }
    return pid;
}

/* All that was told of the socket's ends, together. */
static void sum_up(uint64_t cookie, uint64_t *tx, uint64_t *rx)
{
    *tx = *rx = 0;
    heard_read();
    for (size_t i = 0; i < heard.len; i++) {
        const struct abi_socket *record = &heard.records[i];

        if (record->kind != ABI_SOCKET_CLOSE || record->cookie != cookie)
            continue;
        *tx += record->tx;
        *rx += record->rx;
    }
}

static void datagrams_are_counted_to_the_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sendings) * WAYS; i++) {
        struct report report;
        const struct abi_socket *record;
        pid_t peer;

        way = ways[i % WAYS];
        sending = &sendings[i / WAYS];
        print_message("  %s, %s\n", sending->name, way.name);
        CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_DGRAM, way.family, way.to, PORT);
        heard_forget();
        memset(tally, 0, sizeof(*tally));
        peer = start_peer(server);
        bed_run(&fx.bed, "pod", fx.bed.pod, do_send, NULL, &report);
        assert_int_equal(report.code, 0);
        assert_int_equal(waitpid(peer, NULL, 0), peer);
        assert_int_equal(tally->rx, sending->reply * sending->count);
        assert_int_equal(tally->peer_got, tally->tx);
        record = heard_one(ABI_SOCKET_CONNECT, tally->cookie);
        assert_int_equal(record->pid, report.pid);
        assert_int_equal(record->flags, 0);
        assert_int_equal(record->tx + record->rx, 0);
        record = heard_one(ABI_SOCKET_CLOSE, tally->cookie);
        assert_int_equal(record->protocol, IPPROTO_UDP);
        assert_int_equal(record->dst_port, PORT);
        assert_int_equal(record->tx, tally->tx);
        assert_int_equal(record->rx, tally->rx);
        assert_int_equal(heard.len, 2);
    }
}

/* ---- very many destinations ---------------------------------------------------------------------
 */

enum {
    DESTINATIONS = 200,
    ROUNDS = 3,
    MANY = 64, /* as bpf/exchange.h has it */
};

static void do_send_to_many(const void *arg, struct report *report)
{
    const struct dial *dial = arg;
    int fd = socket(dial->family, SOCK_DGRAM, 0);
    socklen_t len = sizeof(tally->cookie);

    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &tally->cookie, &len);
    for (int i = 0; report->code == 0 && i < DESTINATIONS * ROUNDS; i++) {
        char text[INET6_ADDRSTRLEN];
        struct sockaddr_storage to;
        socklen_t to_len;
        ssize_t n;

        snprintf(text, sizeof(text), "%s%d", dial->to, 2 + i % DESTINATIONS);
        to_len = place(dial->family, text, PORT, &to);
        n = sendto(fd, bytes, (size_t)i, 0, (struct sockaddr *)&to, to_len);
        report->code = n < 0 ? -errno : 0;
        tally->tx += n > 0 ? (uint64_t)n : 0;
    }
    close(fd);
}

static void very_many_destinations_are_told_together(void **state)
{
    static const struct dial dials[] = {
        {.family = AF_INET, .to = "198.51.100."},
        {.family = AF_INET6, .to = "2001:db8:2::"},
        {.family = AF_INET6, .to = "::ffff:198.51.100."},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(dials); i++) {
        struct report report;
        uint64_t tx, rx;

        heard_forget();
        memset(tally, 0, sizeof(*tally));
        bed_run(&fx.bed, "pod", fx.bed.pod, do_send_to_many, &dials[i], &report);
        assert_int_equal(report.code, 0);
        sum_up(tally->cookie, &tx, &rx);
        assert_int_equal(tx, tally->tx);
        assert_int_equal(rx, 0);
        assert_in_range(heard_count(ABI_SOCKET_CLOSE, tally->cookie), MANY, MANY + ABI_PEERS + 1);
        assert_int_equal(heard_count(ABI_SOCKET_CONNECT, tally->cookie),
                         heard_count(ABI_SOCKET_CLOSE, tally->cookie));
    }
}

/* ---- a server in the pod ------------------------------------------------------------------------
 */

enum { CLIENTS = 3, REQUESTS = 4, REQUEST = 100, REPLY = 250 };

static void do_serve(const void *arg, struct report *report)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof(tally->cookie), at_len = place(AF_INET, "192.0.2.1", PORT, &at);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    (void)arg;
    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &tally->cookie, &len);
    report->code = bind(fd, (struct sockaddr *)&at, at_len) < 0 ? -errno : 0;
    atomic_store(&tally->serves, true);
    for (int i = 0; report->code == 0 && i < CLIENTS * REQUESTS; i++) {
        socklen_t from_len = sizeof(at);
        ssize_t n = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&at, &from_len);

        tally->rx += n > 0 ? (uint64_t)n : 0;
        n = sendto(fd, bytes, REPLY, 0, (struct sockaddr *)&at, from_len);
        tally->tx += n > 0 ? (uint64_t)n : 0;
    }
    close(fd);
}

static pid_t start_clients(void)
{
    int fds[CLIENTS];
    pid_t pid;

    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = serve(fx.bed.world, SOCK_DGRAM, AF_INET, "198.51.100.1", (uint16_t)(6000 + i));
        assert_int_equal(connect_to(fds[i], AF_INET, "192.0.2.1", PORT), 0);
    }
    pid = fork();
    if (pid == 0) {
        alarm(120);
        while (!atomic_load(&tally->serves))
            poll(NULL, 0, 1);
        for (int i = 0; i < CLIENTS * REQUESTS; i++) {
            struct pollfd wait = {.fd = fds[i % CLIENTS], .events = POLLIN};

            send(wait.fd, bytes, REQUEST, 0);
            poll(&wait, 1, -1);
            recv(wait.fd, bytes, sizeof(bytes), 0);
        }
        _exit(0);
    }
    for (int i = 0; i < CLIENTS; i++)
        fd_close(&fds[i]);
    return pid;
}

/* An exchange begins with the program's first datagram: what it answers with that came before. */
static void a_servers_clients_are_told_from_its_first_answer_on(void **state)
{
    struct report report;
    uint64_t tx, rx;
    pid_t clients;

    (void)state;
    heard_forget();
    memset(tally, 0, sizeof(*tally));
    clients = start_clients();
    bed_run(&fx.bed, "pod", fx.bed.pod, do_serve, NULL, &report);
    assert_int_equal(report.code, 0);
    assert_int_equal(waitpid(clients, NULL, 0), clients);
    assert_int_equal(heard_count(ABI_SOCKET_CONNECT, tally->cookie), CLIENTS);
    assert_int_equal(heard_count(ABI_SOCKET_CLOSE, tally->cookie), CLIENTS);
    sum_up(tally->cookie, &tx, &rx);
    assert_int_equal(tx, tally->tx);
    assert_int_equal(rx, tally->rx - CLIENTS * REQUEST);
}

static int set_up_all(void **state)
{
    int code = set_up(state);

    heard_init();
    tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(tally, MAP_FAILED);
    return code;
}

static int take_down_all(void **state)
{
    munmap(tally, sizeof(*tally));
    heard_fini();
    return take_down(state);
}

#define with(settings, test) cmocka_unit_test_setup_teardown(test, settings, unregister)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with(register_default, datagrams_are_counted_to_the_byte),
        with(register_default, very_many_destinations_are_told_together),
        with(register_default, a_servers_clients_are_told_from_its_first_answer_on),
    };

    return cmocka_run_group_tests(tests, set_up_all, take_down_all);
}
