/* places: a datagram socket has more destinations than places to note them: QUIC is refused all the
 * same, the one it is connected to keeps its place, and none is counted in two. */
#include "asking.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "heard.h"

enum { PORT = 5000, LEN = 100, STEPS_MAX = 8 };

/* What a program does with its socket, one after the other; it ends with the first that fails. */
struct step {
    enum {
        END,
        SENDTO,
        CONNECT,
        CONNECT_IN_VAIN, /* it must fail: the socket stays connected as it was */
        SEND,
        SENDTO_MANY, /* `count` others, to port PORT */
        FILL,        /* the memory that the kernel allows this socket for options */
    } what;
    const char *to;
    uint16_t port;
    int count;
};
struct program {
    int family;
    struct step steps[STEPS_MAX];
};

static char bytes[LEN];

static int step_sendto(int fd, int family, const char *text, uint16_t port)
{
    struct sockaddr_storage to;
    socklen_t len = place(family, text, port, &to);

    return sendto(fd, bytes, LEN, 0, (struct sockaddr *)&to, len) < 0 ? -errno : 0;
}

static int step_many(int fd, int family, bool mapped, int count)
{
    int code = 0;

    for (int i = 0; code == 0 && i < count; i++) {
        char text[INET6_ADDRSTRLEN];

        if (family == AF_INET || mapped)
            snprintf(text, sizeof(text), "%s198.51.100.%d", mapped ? "::ffff:" : "", 20 + i);
        else
            snprintf(text, sizeof(text), "2001:db8:2::1:%d", i);
        code = step_sendto(fd, family, text, PORT);
    }
    return code;
}

static int step_fill(int fd)
{
    struct ipv6_mreq group = {.ipv6mr_multiaddr = {{{0xff, 0x05}}}};
    int code = 0;

    for (uint16_t i = 1; code == 0; i++) {
        memcpy(&group.ipv6mr_multiaddr.s6_addr[14], &i, sizeof(i));
        code = setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &group, sizeof(group));
    }
    return errno == ENOMEM || errno == ENOBUFS ? 0 : -errno;
}

static int do_step(int fd, int family, const struct step *step)
{
    switch (step->what) {
    case SENDTO:
        return step_sendto(fd, family, step->to, step->port);
    case CONNECT:
        return connect_to(fd, family, step->to, step->port);
    case CONNECT_IN_VAIN:
        return connect_to(fd, family, step->to, step->port) < 0 ? 0 : -EISCONN;
    case SEND:
        return send(fd, bytes, LEN, 0) < 0 ? -errno : 0;
    case SENDTO_MANY:
        return step_many(fd, family, step->to && strncmp(step->to, "::ffff:", 7) == 0, step->count);
    case FILL:
        return step_fill(fd);
    default:
        return -EINVAL;
    }
}

static void do_program(const void *arg, struct report *report)
{
    const struct program *program = arg;
    int fd = socket(program->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_storage name;
    socklen_t len = sizeof(report->cookie);

    report->fd = fd;
    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &report->cookie, &len);
    for (const struct step *step = program->steps; report->code == 0 && step->what; step++)
        report->code = do_step(fd, program->family, step);
    len = sizeof(name);
    if (getpeername(fd, (struct sockaddr *)&name, &len) == 0)
        addr_from_sockaddr(&name, &report->peer);
    len = sizeof(name);
    if (getsockname(fd, (struct sockaddr *)&name, &len) == 0)
        addr_from_sockaddr(&name, &report->self);
}

static struct report run(const struct program *program)
{
    struct report report;

    heard_forget();
    bed_run(&fx.bed, "pod", fx.bed.pod, do_program, program, &report);
    return report;
}

/* What was told of one destination, in the end: how often it began and ended, and how it was
 * flagged; by turns, for it has one key. */
struct told {
    size_t begun, ended;
    unsigned flags;
    uint64_t tx;
};

static struct told told_of(uint64_t cookie, uint16_t port, const uint8_t ip[16])
{
    struct told told = {0};

    heard_read();
    for (size_t i = 0; i < heard.len; i++) {
        const struct abi_socket *record = &heard.records[i];

        if (record->cookie != cookie || record->dst_port != port ||
            (ip && memcmp(record->dst, ip, sizeof(record->dst)) != 0))
            continue;
        told.flags |= record->flags;
        if (record->kind == ABI_SOCKET_CONNECT) {
            assert_int_equal(told.begun, told.ended);
            told.begun++;
        } else if (record->kind == ABI_SOCKET_CLOSE) {
            told.ended++;
            assert_int_equal(told.begun, told.ended);
            told.tx += record->tx;
        }
    }
    return told;
}

/* ---- QUIC ---------------------------------------------------------------------------------------
 */

static void quic_is_refused_whatever_other_destinations_there_are(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        const char *to = ways[i].to;
        const struct step cases[][STEPS_MAX] = {
            {{SENDTO_MANY, to, 0, 100}, {SENDTO, to, 443, 0}},
            {{CONNECT, to, 443, 0}, {SENDTO_MANY, to, 0, 5}, {SEND, NULL, 0, 0}},
            {{CONNECT, to, 443, 0}, {SENDTO_MANY, to, 0, 100}, {SEND, NULL, 0, 0}},
            {{SENDTO_MANY, to, 0, 100}, {CONNECT, to, 443, 0}, {SEND, NULL, 0, 0}},
        };

        for (size_t j = 0; j < ARRAY_SIZE(cases); j++) {
            CLEANUP(fd_close)
            int quic = serve(fx.bed.world, SOCK_DGRAM, ways[i].family, to, 443);
            struct program program = {.family = ways[i].family};
            struct report report;
            struct told told;
            char byte;

            print_message("  %s, %zu\n", ways[i].name, j);
            memcpy(program.steps, cases[j], sizeof(cases[j]));
            report = run(&program);
            assert_int_equal(report.code, -EPERM);
            assert_true(recv(quic, &byte, 1, 0) < 0);
            fd_close(&report.fd);
            told = told_of(report.cookie, 443, NULL);
            assert_int_equal(told.begun, 1);
            assert_int_equal(told.ended, 1);
            assert_int_equal(told.flags, ABI_SOCKET_REFUSED);
            assert_int_equal(told.tx, 0);
        }
    }
}

/* What was noted last is not where the socket is connected to. */
static void quic_is_refused_after_a_connect_that_failed(void **state)
{
    static const struct program program = {.family = AF_INET,
                                           .steps = {{CONNECT, "198.51.100.1", 443, 0},
                                                     {CONNECT_IN_VAIN, "255.255.255.255", 9, 0},
                                                     {SEND, NULL, 0, 0}}};
    CLEANUP(fd_close) int quic = serve(fx.bed.world, SOCK_DGRAM, AF_INET, "198.51.100.1", 443);
    struct report report = run(&program);
    char byte;

    (void)state;
    assert_int_equal(report.code, -EPERM);
    assert_true(recv(quic, &byte, 1, 0) < 0);
    fd_close(&report.fd);
}

static void quic_is_refused_where_there_is_no_room_for_notes(void **state)
{
    static const struct step cases[][STEPS_MAX] = {
        {{FILL, NULL, 0, 0}, {SENDTO, "2001:db8:2::1", 443, 0}},
        {{FILL, NULL, 0, 0}, {CONNECT, "2001:db8:2::1", 443, 0}, {SEND, NULL, 0, 0}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct program program = {.family = AF_INET6};
        struct report report;

        memcpy(program.steps, cases[i], sizeof(cases[i]));
        report = run(&program);
        assert_int_equal(report.code, -EPERM);
        fd_close(&report.fd);
    }
}

/* Nobody looks into TLS there; `here`: unless the pod says so. */
static const struct {
    int family;
    const char *to;
    bool here;
} others[] = {
    {AF_INET, "127.0.0.1", true},          {AF_INET6, "::1", true},
    {AF_INET6, "::ffff:127.0.0.1", true},  {AF_INET, "0.0.0.0", true},
    {AF_INET, "239.1.1.1", false},         {AF_INET6, "ff0e::1", false},
    {AF_INET6, "::ffff:239.1.1.1", false},
};

static void send_quic_to_others(bool loopback)
{
    for (size_t i = 0; i < 2 * ARRAY_SIZE(others); i++) {
        size_t at = i % ARRAY_SIZE(others);
        struct step many = {SENDTO_MANY, others[at].to, 0, 70};
        struct step quic = {SENDTO, others[at].to, 443, 0};
        struct program program = {.family = others[at].family};
        struct report report;

        print_message("  %s%s\n", others[at].to, i == at ? "" : ", after many");
        program.steps[0] = i == at ? quic : many;
        program.steps[1] = i == at ? (struct step){0} : quic;
        report = run(&program);
        assert_int_equal(report.code, loopback && others[at].here ? -EPERM : 0);
        fd_close(&report.fd);
    }
}

static void quic_of_loopback_and_to_many_is_left_alone(void **state)
{
    (void)state;
    send_quic_to_others(false);
}

static void quic_of_loopback_is_refused_where_the_pod_says_so(void **state)
{
    (void)state;
    send_quic_to_others(true);
}

/* ---- places -------------------------------------------------------------------------------------
 */

static void a_connected_socket_keeps_its_server_whomever_else_it_names(void **state)
{
    static const int counts[] = {5, 100};

    (void)state;
    for (size_t i = 0; i < WAYS * ARRAY_SIZE(counts); i++) {
        const struct way *way = &ways[i % WAYS];
        struct program program = {
            .family = way->family,
            .steps = {{CONNECT, way->to, 53, 0}, {SENDTO_MANY, way->to, 0, counts[i / WAYS]}}};
        struct report report = run(&program), again;
        struct ask ask = {.family = way->family, .to = {way->to}, .port = 53, .fd = report.fd};
        struct question question;

        print_message("  %s, %d\n", way->name, counts[i / WAYS]);
        assert_int_equal(report.code, 0);
        assert_ip(&report.peer, way->peer);
        assert_int_equal(report.peer.port, 53);
        assert_int_equal(send(report.fd, way->to, strlen(way->to), 0), strlen(way->to));
        hear(is_v4(&ask, 0), &question);
        assert_asker(&question, &report, 53);
        again = ask_from_pod(ask); /* by its name, it is the same place */
        assert_int_equal(again.peer.port, 53);
        hear(is_v4(&ask, 0), &question);
        fd_close(&report.fd);
        assert_int_equal(told_of(report.cookie, 53, NULL).begun, 1);
        assert_int_equal(told_of(report.cookie, 53, NULL).tx, 2 * strlen(way->to));
    }
}

/* One that is known before it is connected to, in the first place or in another. */
static void a_destination_has_one_place(void **state)
{
    static const uint16_t ports[] = {PORT, 53};

    (void)state;
    for (size_t i = 0; i < WAYS * 2 * ARRAY_SIZE(ports); i++) {
        const struct way *way = &ways[i % WAYS];
        uint16_t port = ports[i / WAYS / 2];
        bool second = i / WAYS % 2;
        const struct program program = {.family = way->family,
                                        .steps = {{SENDTO_MANY, way->to, 0, second ? 2 : 0},
                                                  {SENDTO, way->to, port, 0},
                                                  {CONNECT, way->to, port, 0},
                                                  {SEND, NULL, 0, 0},
                                                  {SENDTO, way->to, port, 0}}};
        struct report report;
        struct told told;

        print_message("  %s, port %u%s\n", way->name, port, second ? ", not the first" : "");
        CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_DGRAM, way->family, way->to, port);
        report = run(&program);
        assert_int_equal(report.code, 0);
        fd_close(&report.fd);
        told = told_of(report.cookie, port, report.peer.ip);
        assert_int_equal(told.tx, 3 * LEN);
        assert_int_equal(told.begun, told.ended);
        /* a question's second place is another listener's of ours: then it begins anew */
        assert_int_equal(told.begun, port == 53 && second ? 2 : 1);
    }
}

static int begin_default(void **state)
{
    asking_forget();
    return register_default(state);
}

#define with(settings, test) cmocka_unit_test_setup_teardown(test, settings, unregister)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with(begin_default, quic_is_refused_whatever_other_destinations_there_are),
        with(begin_default, quic_is_refused_after_a_connect_that_failed),
        with(begin_default, quic_is_refused_where_there_is_no_room_for_notes),
        with(begin_default, quic_of_loopback_and_to_many_is_left_alone),
        with(register_loopback, quic_of_loopback_is_refused_where_the_pod_says_so),
        with(begin_default, a_connected_socket_keeps_its_server_whomever_else_it_names),
        with(begin_default, a_destination_has_one_place),
    };

    return cmocka_run_group_tests(tests, asking_set_up, asking_take_down);
}
