/* hellos: what may be a ClientHello in datagrams is told, and where rules want one nothing else
 * leaves until it was judged. The agent's part is played here. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "judged.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { PORT = 9000, HELD_PORT = 9002, SEGMENT = 1200 };

static const char data[] = "@ data";

/* ---- what is told ---- */

static struct {
    struct abi_datagram last;
    int hellos, refused;
} seen;

static int on_record(void *arg, void *record, size_t size)
{
    const struct abi_socket *socket = record;

    (void)arg;
    if (socket->kind == ABI_DATAGRAM) {
        assert_int_equal(size, sizeof(seen.last));
        memcpy(&seen.last, record, size);
        seen.hellos++;
    }
    seen.refused += socket->kind == ABI_SOCKET_DENIED && socket->flags & ABI_SOCKET_UNSEEN;
    return 0;
}

static int read_records(void)
{
    struct ring_buffer *ring =
        ring_buffer__new(bpf_map__fd(keeper_bpf(fx.keeper)->maps.records), on_record, NULL, NULL);

    assert_non_null(ring);
    seen.hellos = seen.refused = 0;
    ring_buffer__consume(ring);
    ring_buffer__free(ring);
    return seen.hellos;
}

static void judge_last(enum abi_judgement judgement)
{
    struct abi_exchange key = {.cookie = seen.last.cookie, .port = seen.last.dst_port};
    const struct abi_judged judged = {seen.last.time_ns, seen.last.rules, judgement};

    memcpy(key.ip, seen.last.dst, sizeof(key.ip));
    put(hellos_judged, &key, &judged);
}

/* ---- what is sent ---- */

#define EARLY_OF(length)                                                                           \
    "\xd3\0\0\0\1\x08"                                                                             \
    "dest-id.\0" length "ab"
#define EARLY       EARLY_OF("\2")
#define ALERT       "\x15\xfe\xfd\0\0\0\0\0\0\0\1\0\2\1\0"
#define TWICE(what) what what

static const struct {
    const char *name;
    struct span begins;
    enum { DATA, HELLO, UNKNOWN } is;
} datagrams[] = {
    {"an Initial of QUIC 1", BYTES("\xc3\0\0\0\1\x08"), HELLO},
    {"... of QUIC 2", BYTES("\xd3\x6b\x33\x43\xcf\x08"), HELLO},
    {"what a version yet to come may begin with", BYTES("\xf0\1\2\3\4\x08"), HELLO},
    {"0-RTT", BYTES("\xd3\0\0\0\1\x08"), UNKNOWN},
    {"a handshake's packet of QUIC 1", BYTES("\xe3\0\0\0\1\x08"), UNKNOWN},
    {"an Initial's type in QUIC 1, which is none in QUIC 2", BYTES("\xc3\x6b\x33\x43\xcf\x08"),
     UNKNOWN},
    {"a version negotiation", BYTES("\xc3\0\0\0\0\x08"), UNKNOWN},
    {"a short header", BYTES("\x43\0\0\0\1\x08"), DATA},
    {"a handshake record of DTLS 1.2", BYTES("\x16\xfe\xfd\0\0\0"), HELLO},
    {"... of DTLS 1.0", BYTES("\x16\xfe\xff\0\0\0"), HELLO},
    {"... that is encrypted", BYTES("\x16\xfe\xfd\0\1\0"), UNKNOWN},
    {"data of DTLS", BYTES("\x17\xfe\xfd\0\0\0"), UNKNOWN},
    {"TLS", BYTES("\x16\3\1\0\0\0"), DATA},
    {"what is too short to tell", BYTES("\xc3\0\0\0"), DATA},
    {"an Initial behind 0-RTT", BYTES(EARLY "\xc3\0\0\0\1\x08"), HELLO},
    {"... of a length in two bytes", BYTES(EARLY_OF("\x40\2") "\xc3\0\0\0\1\x08"), HELLO},
    {"... in eight", BYTES(EARLY_OF("\xc0\0\0\0\0\0\0\2") "\xc3\0\0\0\1\x08"), HELLO},
    {"... of QUIC 2", BYTES("\xe3\x6b\x33\x43\xcf\0\0\2ab\xd3\x6b\x33\x43\xcf\x08"), HELLO},
    {"... behind a handshake's packet, too", BYTES(EARLY "\xe3\0\0\0\1\1a\1b\2ab\xc3\0\0\0\1\x08"),
     HELLO},
    {"0-RTT, to its end", BYTES(EARLY), DATA},
    {"0-RTT twice", BYTES(EARLY EARLY), DATA},
    {"... and padding", BYTES(EARLY "\0\0\0\0\0\0"), DATA},
    {"an Initial behind a short header", BYTES("\x43\0\0\0\1\xc3\0\0\0\1\x08"), DATA},
    {"a hello of DTLS behind an alert", BYTES(ALERT "\x16\xfe\xfd\0\0\0"), HELLO},
    {"what is encrypted behind it", BYTES(ALERT "\x16\xfe\xfd\0\1\0"), UNKNOWN},
    {"more packets than are looked at", BYTES(TWICE(TWICE(TWICE(EARLY))) "\xc3\0\0\0\1\x08"),
     UNKNOWN},
    {"0-RTT that ends nowhere", BYTES(EARLY_OF("\x40\xff")), UNKNOWN},
    {"... of which the length is missing", BYTES("\xd3\0\0\0\1\0\0"), UNKNOWN},
    {"a Retry", BYTES("\xf3\0\0\0\1\0\0\2ab"), UNKNOWN},
};

static int send_hello(int fd)
{
    uint8_t hello[SEGMENT] = {0xc3, 0, 0, 0, 1, 8};

    return send(fd, hello, sizeof(hello), 0) == sizeof(hello) ? 0 : -errno;
}

static int send_data(int fd)
{
    return send(fd, data, sizeof(data), 0) == sizeof(data) ? 0 : -errno;
}

/* How many datagrams are there: once the first `wanted` came (the first one to a neighbour goes
 * when the kernel has asked for it, and what a busy kernel puts off goes later), what is there. */
static int come(int server, int wanted)
{
    struct pollfd readable = {.fd = server, .events = POLLIN};
    char byte;
    int n = 0;

    while ((n >= wanted || poll(&readable, 1, 10000) == 1) &&
           recv(server, &byte, 1, MSG_DONTWAIT) == 1)
        n++;
    return n;
}

static int dial_held(void)
{
    struct report report = dial_from_pod((struct dial){
        .family = AF_INET, .type = SOCK_DGRAM, .to = "198.51.100.1", .port = HELD_PORT});

    assert_int_equal(report.code, 0);
    return report.fd;
}

static int serve_held(void)
{
    put_verdict(RULES, LISTED, 0, IPPROTO_UDP, HELD_PORT, ABI_VERDICT_HELLO);
    read_records();
    return serve(fx.bed.world, SOCK_DGRAM, AF_INET, "198.51.100.1", HELD_PORT);
}

/* ---- tests ---- */

static void tells_what_may_be_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(datagrams); i++) {
        const struct way *way = &ways[i % WAYS];
        CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_DGRAM, way->family, way->to, PORT);
        struct report report = dial_from_pod(
            (struct dial){.family = way->family, .type = SOCK_DGRAM, .to = way->to, .port = PORT});
        CLEANUP(fd_close) int fd = report.fd;
        struct span begins = datagrams[i].begins;

        print_message("  %s, %s\n", datagrams[i].name, way->name);
        read_records();
        assert_int_equal(send(fd, begins.data, begins.len, 0), begins.len);
        assert_int_equal(read_records(), datagrams[i].is == HELLO);
        assert_int_equal(come(server, 1), 1); /* no rule asks: it goes in any case */
        if (datagrams[i].is != HELLO)
            continue;
        assert_int_equal(seen.last.len, begins.len);
        assert_memory_equal(seen.last.bytes, begins.data, begins.len);
        assert_int_equal(seen.last.flags, 0);
        assert_int_equal(seen.last.dst_port, PORT);
    }
}

static void another_one_may_be_behind_other_packets(void **state)
{
    CLEANUP(fd_close) int server = serve_held(), fd = dial_held();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(datagrams); i++) {
        struct span begins = datagrams[i].begins;
        bool hello = datagrams[i].is != DATA; /* where rules want to know */

        print_message("  %s\n", datagrams[i].name);
        assert_int_equal(send_hello(fd), 0);
        assert_int_equal(read_records(), 1);
        judge_last(ABI_JUDGED_OPEN);
        assert_int_equal(send(fd, begins.data, begins.len, 0), begins.len);
        assert_int_equal(come(server, 2), 2);
        assert_int_equal(send_data(fd), 0);
        assert_int_equal(come(server, hello ? 0 : 1), hello ? 0 : 1); /* else it has to wait */
        assert_int_equal(read_records(), hello);
        if (hello)
            judge_last(ABI_JUDGED_OPEN);
    }
}

static void tells_no_more_than_eight(void **state)
{
    CLEANUP(fd_close) int server = serve_held(), fd = dial_held();

    (void)state;
    for (int i = 0; i < 12; i++)
        assert_int_equal(send_hello(fd), 0); /* those that are lost, too: nobody is told that */
    assert_int_equal(read_records(), ABI_HELLOS_MAX);
    assert_int_equal(come(server, ABI_HELLOS_MAX), ABI_HELLOS_MAX);
    assert_int_equal(seen.last.flags, ABI_DATAGRAM_HELD);
    judge_last(ABI_JUDGED_OPEN);
    assert_int_equal(send_hello(fd), 0);
    assert_int_equal(read_records(), 1);
    assert_int_equal(seen.last.flags, ABI_DATAGRAM_HELD | ABI_DATAGRAM_OPEN);
}

static void holds_what_follows_until_it_was_judged(void **state)
{
    CLEANUP(fd_close) int server = serve_held(), fd = dial_held();

    (void)state;
    assert_int_equal(send_hello(fd), 0);
    assert_int_equal(come(server, 1), 1);
    assert_int_equal(send_data(fd), 0); /* lost */
    assert_int_equal(come(server, 0), 0);
    read_records();
    judge_last(ABI_JUDGED_OPEN);
    assert_int_equal(send_data(fd), 0);
    assert_int_equal(come(server, 1), 1);
    /* another one on the same socket */
    assert_int_equal(send_hello(fd), 0);
    assert_int_equal(send_data(fd), 0);
    assert_int_equal(come(server, 1), 1);
    read_records();
    judge_last(ABI_JUDGED_DENIED);
    assert_int_equal(send_data(fd), -EPERM);
    assert_int_equal(send_hello(fd), -EPERM);
    assert_int_equal(come(server, 0), 0);
    assert_int_equal(seen.refused, 0);
}

static void refuses_what_no_handshake_precedes(void **state)
{
    CLEANUP(fd_close) int server = serve_held(), fd = dial_held();

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(send_data(fd), -EPERM);
    read_records();
    assert_int_equal(seen.refused, 1);
    assert_int_equal(come(server, 0), 0);
    put_verdict(RULES, LISTED, 0, IPPROTO_UDP, HELD_PORT, 0);
    put_rules(NEXT_RULES, &(struct abi_rules){0});
    put_verdict(NEXT_RULES, LISTED, 0, IPPROTO_UDP, HELD_PORT, 0);
    judge_pod_by(NEXT_RULES); /* which do not ask */
    assert_int_equal(send_data(fd), 0);
    assert_int_equal(come(server, 1), 1);
}

static void what_was_denied_is_so_by_these_rules(void **state)
{
    CLEANUP(fd_close) int server = serve_held(), fd = dial_held();

    (void)state;
    assert_int_equal(send_hello(fd), 0);
    read_records();
    judge_last(ABI_JUDGED_DENIED);
    assert_int_equal(send_hello(fd), -EPERM);
    put_rules(NEXT_RULES, &(struct abi_rules){0});
    put_verdict(NEXT_RULES, LISTED, 0, IPPROTO_UDP, HELD_PORT, ABI_VERDICT_HELLO);
    judge_pod_by(NEXT_RULES);
    assert_int_equal(send_hello(fd), 0);
    assert_int_equal(read_records(), 1);
    assert_int_equal(seen.last.rules, NEXT_RULES);
    judge_last(ABI_JUDGED_OPEN);
    assert_int_equal(come(server, 2), 2);
    assert_int_equal(send_data(fd), 0);
    assert_int_equal(come(server, 1), 1);
}

/* Several datagrams in one call, which the kernel cuts behind us. */
static void looks_at_each_segment(void **state)
{
    CLEANUP(fd_close) int server = serve_held(), fd = dial_held();
    int size = SEGMENT;
    uint8_t segments[3 * SEGMENT] = {0xc3, 0, 0, 0, 1, 8};

    (void)state;
    if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)) < 0)
        fail_msg("UDP_SEGMENT");
    memcpy(segments + SEGMENT, segments, 6);
    assert_int_equal(send(fd, segments, sizeof(segments), 0), -1); /* the last is none */
    assert_int_equal(errno, EPERM);
    assert_int_equal(read_records() + come(server, 0), 0);
    memcpy(segments + 2L * SEGMENT, segments, 6);
    assert_int_equal(send(fd, segments, sizeof(segments) - 100, 0), sizeof(segments) - 100);
    assert_int_equal(read_records(), 3);
    assert_int_equal(seen.last.len, SEGMENT - 100);
    assert_int_equal(come(server, 3), 3);
    judge_last(ABI_JUDGED_OPEN);
    segments[0] = segments[2L * SEGMENT] = 0x43; /* and one between others */
    assert_int_equal(send(fd, segments, sizeof(segments), 0), sizeof(segments));
    assert_int_equal(read_records(), 1);
    assert_int_equal(come(server, 3), 3);
    assert_int_equal(send_data(fd), 0); /* lost: that one was not judged */
    assert_int_equal(come(server, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        judged(tells_what_may_be_one),
        judged(another_one_may_be_behind_other_packets),
        judged(tells_no_more_than_eight),
        judged(holds_what_follows_until_it_was_judged),
        judged(refuses_what_no_handshake_precedes),
        judged(what_was_denied_is_so_by_these_rules),
        judged(looks_at_each_segment),
    };

    return cmocka_run_group_tests(tests, set_up_judged, take_down_judged);
}
