/* counts: what is told of a socket's bytes is what its program wrote and read, to the byte. */
#include "fixture.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heard.h"

/* What the program itself counted, in memory that it shares with the test. */
static struct tally {
    uint64_t tx, rx, cookie;
    int error; /* of its last call */
    pid_t pid;
} * tally;

/* ---- a program that talks over one connection, and its peer -------------------------------------
 */

enum end {
    CLOSE,
    SHUT_WRITE,  /* tells that it has written all, and reads on to the end */
    SHUT_READ,   /* wants no more before it has read anything */
    ABORT,       /* SO_LINGER 0 */
    KILLED,      /* and so its socket with it */
    INHERITED,   /* a child of it closes the socket, later than it does */
    DISCONNECT,  /* and closes */
    GO_ELSEWHERE /* disconnects and connects to another peer */
};
struct talk {
    const char *name;
    size_t up, down; /* what either side writes */
    size_t want;     /* what the program reads of `down` before its end */
    enum end end;
    bool peer_resets;
};
static const struct talk *talk;

static struct dial where;

static void write_all(int fd, size_t len, uint64_t *count)
{
    static char bytes[65536];

    while (len) {
        ssize_t n = send(fd, bytes, len < sizeof(bytes) ? len : sizeof(bytes), MSG_NOSIGNAL);

        if (n <= 0) {
            tally->error = errno;
            return;
        }
        len -= (size_t)n;
        *count += (uint64_t)n;
    }
}

static void read_some(int fd, size_t len, uint64_t *count)
{
    static char bytes[65536];

    while (len) {
        ssize_t n = recv(fd, bytes, len < sizeof(bytes) ? len : sizeof(bytes), 0);

        tally->error = n < 0 ? errno : 0;
        if (n <= 0)
            return;
        len -= (size_t)n;
        *count += (uint64_t)n;
    }
}

static void disconnect(int fd)
{
    struct sockaddr nothing = {.sa_family = AF_UNSPEC};

    connect(fd, &nothing, sizeof(nothing));
}

static void end_in_child(int fd)
{
    int go[2];

    if (pipe(go) < 0 || fork() == 0) {
        char byte;

        close(go[1]);
        (void)!read(go[0], &byte, 1); /* until the parent has closed its own */
        write_all(fd, 1000, &tally->tx);
        close(fd);
        _exit(0);
    }
    close(fd);
    close(go[0]);
    close(go[1]);
    wait(NULL);
}

static void do_talk(const void *arg, struct report *report)
{
    struct linger abort = {.l_onoff = 1};
    socklen_t len = sizeof(tally->cookie);
    int fd = socket(where.family, SOCK_STREAM, 0);

    (void)arg;
    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &tally->cookie, &len);
    tally->pid = getpid();
    report->code = connect_to(fd, where.family, where.to, where.port);
    write_all(fd, talk->up, &tally->tx);
    if (talk->end == SHUT_READ)
        shutdown(fd, SHUT_RD);
    if (talk->end == SHUT_WRITE)
        shutdown(fd, SHUT_WR);
    read_some(fd, talk->want, &tally->rx);
    if (talk->end == ABORT)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
    if (talk->end == KILLED)
        raise(SIGKILL);
    if (talk->end == DISCONNECT || talk->end == GO_ELSEWHERE)
        disconnect(fd);
    if (talk->end == GO_ELSEWHERE)
        tally->error = -connect_to(fd, where.family, where.to, 9001);
    if (talk->end == INHERITED)
        end_in_child(fd);
    close(fd);
}

/* bed_run wants a report, which a killed program does not give. */
static void do_talk_in_child(const void *arg, struct report *report)
{
    pid_t child = fork();

    if (child == 0) {
        do_talk(arg, report);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

/* Reads until there is no more, and writes what it has to after `up` bytes came. */
static pid_t start_peer(int listener)
{
    pid_t pid = fork();

    if (pid == 0) {
        struct linger abort = {.l_onoff = 1};
        struct tally own = {0};
        uint64_t got = 0, sent = 0;
        int fd = accept_within(listener, SOON_MS);

        tally = &own; /* the program's is the program's */
        alarm(120);
        read_some(fd, talk->up, &got);
        write_all(fd, talk->down, &sent);
        if (talk->peer_resets) {
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
        } else {
            shutdown(fd, SHUT_WR);
            read_some(fd, SIZE_MAX, &got);
        }
        close(fd);
        _exit(0);
    }
    return pid;
}

static void run_talk(int listener)
{
    struct report report;
    pid_t peer;

    print_message("  %s, %s, port %d\n", talk->name, where.to, where.port);
    heard_forget();
    memset(tally, 0, sizeof(*tally));
    peer = start_peer(listener);
    bed_run(&fx.bed, "pod", fx.bed.pod, talk->end == KILLED ? do_talk_in_child : do_talk, NULL,
            &report);
    assert_int_equal(report.code, 0);
    assert_int_equal(waitpid(peer, NULL, 0), peer);
}

/* A connection to where the program went, told as begun and as ended. */
static const struct abi_socket *assert_told(uint16_t port, uint64_t tx, uint64_t rx)
{
    const struct abi_socket *found[2] = {NULL, NULL};

    heard_read();
    for (size_t i = 0; i < heard.len; i++) {
        const struct abi_socket *record = &heard.records[i];

        assert_int_equal(record->cookie, tally->cookie);
        assert_int_equal(record->protocol, IPPROTO_TCP);
        assert_int_equal(record->pid, tally->pid);
        if (record->dst_port != port)
            continue;
        assert_null(found[record->kind == ABI_SOCKET_CLOSE]);
        found[record->kind == ABI_SOCKET_CLOSE] = record;
    }
    assert_non_null(found[0]);
    assert_non_null(found[1]);
    assert_true(found[0] < found[1]);
    assert_int_equal(found[0]->flags, port == 443 ? ABI_SOCKET_STEERED : 0);
    assert_int_equal(found[1]->flags, found[0]->flags);
    assert_int_not_equal(found[0]->src_port, 0);
    assert_int_equal(found[1]->src_port, found[0]->src_port);
    assert_int_equal(found[1]->tx, tx);
    assert_int_equal(found[1]->rx, rx);
    return found[1];
}

enum { UP = 5000000, DOWN = 3000000 };

static const struct talk talks[] = {
    {"nothing", 0, 0, SIZE_MAX, CLOSE, false},
    {"a byte up", 1, 0, SIZE_MAX, CLOSE, false},
    {"a byte down", 0, 1, SIZE_MAX, CLOSE, false},
    {"much both ways", UP, DOWN, SIZE_MAX, CLOSE, false},
    {"exactly what there is, not its end", UP, DOWN, DOWN, CLOSE, false},
    {"closes with much unread", 100, DOWN, 1000, CLOSE, false},
    {"closes without reading", 100, 1000, 0, CLOSE, false},
    {"half-closes, then reads", UP, DOWN, SIZE_MAX, SHUT_WRITE, false},
    {"half-closes, reads some", 1000, DOWN, 1000, SHUT_WRITE, false},
    {"wants no answer", 1000, 1000, SIZE_MAX, SHUT_READ, false},
    {"peer resets", 1000, 1000, SIZE_MAX, CLOSE, true},
    {"peer resets without a word", 1, 0, SIZE_MAX, CLOSE, true},
    {"resets", 1000, 1000, 500, ABORT, false},
    {"killed", 1000, 1000, 700, KILLED, false},
    {"inherited", 1000, 1000, 700, INHERITED, false},
    {"disconnects", 1000, 1000, 700, DISCONNECT, false},
    {"disconnects at the end", 1000, 1000, SIZE_MAX, DISCONNECT, false},
    {"disconnects, after nothing", 0, 0, SIZE_MAX, DISCONNECT, false},
};

static void connections_are_counted_to_the_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(talks) * WAYS; i++) { /* every other one is looked into */
        const struct way *way = &ways[i % WAYS];
        bool steered = i % 2;
        CLEANUP(fd_close)
        int server = serve(fx.bed.world, SOCK_STREAM, way->family, way->to, 9000);

        talk = &talks[i / WAYS];
        where = (struct dial){.family = way->family, .to = way->to, .port = steered ? 443 : 9000};
        run_talk(steered ? our_listener(&where) : server);
        assert_told(where.port, tally->tx, tally->rx);
    }
}

static void what_a_connection_ended_with_is_told(void **state)
{
    static const struct talk reset = {"peer resets", 1000, 10, SIZE_MAX, CLOSE, true};
    CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_STREAM, AF_INET, "198.51.100.1", 9000);

    (void)state;
    talk = &reset;
    where = (struct dial){.family = AF_INET, .to = "198.51.100.1", .port = 9000};
    run_talk(server);
    assert_int_equal(tally->error, ECONNRESET);
    assert_int_equal(assert_told(9000, 1000, tally->rx)->error, ECONNRESET);
}

static void who_connects_again_has_two_connections(void **state)
{
    static const struct talk again = {"elsewhere", 1000, 1000, 700, GO_ELSEWHERE, false};

    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        CLEANUP(fd_close)
        int first = serve(fx.bed.world, SOCK_STREAM, ways[i].family, ways[i].to, 9000);
        CLEANUP(fd_close)
        int second = serve(fx.bed.world, SOCK_STREAM, ways[i].family, ways[i].to, 9001);

        (void)second;
        talk = &again;
        where = (struct dial){.family = ways[i].family, .to = ways[i].to, .port = 9000};
        run_talk(first);
        assert_int_equal(tally->error, 0);
        assert_told(9000, 1000, 700);
        assert_told(9001, 0, 0);
        assert_int_equal(heard.len, 4);
    }
}

static void a_refused_connect_is_told_with_its_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct report report;
        const struct abi_socket *close;

        heard_forget();
        report =
            dial_from_pod((struct dial){.family = ways[i].family, .to = ways[i].to, .port = 9000});
        assert_int_equal(report.code, -ECONNREFUSED);
        assert_int_equal(heard_one(ABI_SOCKET_CONNECT, report.cookie)->error, 0);
        close = heard_one(ABI_SOCKET_CLOSE, report.cookie);
        assert_int_equal(close->error, ECONNREFUSED);
        assert_int_equal(close->tx + close->rx, 0);
    }
}

static void do_give_up(const void *arg, struct report *report)
{
    const struct dial *dial = arg;
    int fd = socket(dial->family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    socklen_t len = sizeof(report->cookie);

    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &report->cookie, &len);
    report->code = connect_to(fd, dial->family, dial->to, dial->port);
    close(fd);
}

/* What is not forwarded is dropped without a word. */
static void a_connect_that_was_given_up_is_told(void **state)
{
    static const struct dial dials[] = {
        {.family = AF_INET, .to = "198.51.100.99", .port = 9000},
        {.family = AF_INET6, .to = "2001:db8:2::99", .port = 9000},
        {.family = AF_INET6, .to = "::ffff:198.51.100.99", .port = 9000},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(dials); i++) {
        struct report report;
        const struct abi_socket *close;

        heard_forget();
        bed_run(&fx.bed, "pod", fx.bed.pod, do_give_up, &dials[i], &report);
        assert_int_equal(report.code, -EINPROGRESS);
        heard_one(ABI_SOCKET_CONNECT, report.cookie);
        close = heard_one(ABI_SOCKET_CLOSE, report.cookie);
        assert_int_equal(close->error, 0);
        assert_int_equal(close->tx + close->rx, 0);
    }
}

static void strangers_are_not_told(void **state)
{
    CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_STREAM, AF_INET, "198.51.100.1", 443);
    struct report report;

    (void)state;
    heard_forget();
    report = dial_from("stranger", fx.bed.pod,
                       (struct dial){.family = AF_INET, .to = "198.51.100.1", .port = 443});
    assert_int_equal(report.code, 0);
    fd_close(&report.fd);
    heard_read();
    assert_int_equal(heard.len, 0);
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
        with(register_default, connections_are_counted_to_the_byte),
        with(register_default, what_a_connection_ended_with_is_told),
        with(register_default, who_connects_again_has_two_connections),
        with(register_default, a_refused_connect_is_told_with_its_error),
        with(register_default, a_connect_that_was_given_up_is_told),
        with(register_default, strangers_are_not_told),
    };

    return cmocka_run_group_tests(tests, set_up_all, take_down_all);
}
