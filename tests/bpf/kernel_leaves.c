/* kernel_leaves: a connection that begins with TLS may become kTLS, which the kernel refuses to
 * sockets of a sockhash: it leaves in time, where it has to. */
#include "spoken.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "proxy/kernel/ends.h"
#include "sallyport.skel.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif

enum { RECORD_HEADER = 5 };

#define SEALED "\x17\x03\x03\x00\x0a"
#define HELLO  CLIENT_HELLO
#define GET    "GET /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n"

/* 1: there is no kTLS here. */
static int encrypt(int fd)
{
    struct tls12_crypto_info_aes_gcm_128 keys = {
        .info = {.version = TLS_1_2_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128}};

    if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0)
        return errno == ENOENT ? 1 : -errno;
    return setsockopt(fd, SOL_TLS, TLS_TX, &keys, sizeof(keys)) < 0 ? -errno : 0;
}

static int say(int fd, const char *bytes, size_t len)
{
    return send_all(fd, bytes, len, len);
}

static uint64_t enrolled(void)
{
    uint32_t key = ABI_ROUTE_ENROLLED;
    uint64_t count = 0;
    int fd = bpf_map__fd(keeper_bpf(fx.keeper)->maps.route_counts);

    return bpf_map_lookup_elem(fd, &key, &count) == 0 ? count : UINT64_MAX;
}

/* What the kernel encrypts is no longer ours to see here. 1: as above. */
static int turn_ktls_on(int fd, const void *arg)
{
    bool was = enrolled() == 1;
    int code = say(fd, HELLO, sizeof(HELLO) - 1);

    (void)arg;
    if (code == 0 && (!was || enrolled() != 0))
        return -EBUSY;
    if (code == 0)
        code = encrypt(fd);
    return code == 0 ? say(fd, GET, sizeof(GET) - 1) : code;
}

static void who_begins_with_tls_leaves(void **state)
{
    bool traced = strcmp(backend_name(backend), "lsm") == 0; /* ktls.bpf.c sees it */
    struct report report;

    (void)state;
    spoken_route(ABI_ROUTE_PLAIN | ABI_ROUTE_KTLS | ABI_ROUTE_LEAVE);
    for (int i = 0; i < 20; i++) {
        report = speak(turn_ktls_on, NULL, (struct span){0});
        if (report.code < 0)
            fail_msg("%s", strerror(-report.code));
        assert_int_equal(spoken[ABI_TX].len, traced ? sizeof(HELLO GET) - 1 : sizeof(HELLO) - 1);
        assert_memory_equal(spoken[ABI_TX].bytes, HELLO GET, spoken[ABI_TX].len);
        assert_int_equal(spoken[ABI_TX].flags & ~ABI_SAID_BEGINS,
                         ABI_SAID_RECORDS | (traced ? ABI_SAID_KTLS : 0));
        if (report.code == 0)
            assert_true(arrived.len > sizeof(HELLO GET) - 1); /* encrypted it is longer */
    }
}

static int say_twice(int fd, const void *arg)
{
    (void)arg;
    for (int i = 0; i < 2; i++)
        if (say(fd, GET, sizeof(GET) - 1) < 0)
            return -errno;
    return 0;
}

static void who_begins_otherwise_stays(void **state)
{
    struct report report;

    (void)state;
    spoken_route(ABI_ROUTE_PLAIN | ABI_ROUTE_LEAVE);
    report = speak(say_twice, NULL, (struct span){0});
    assert_int_equal(report.code, 0);
    assert_int_equal(spoken[ABI_TX].len, sizeof(GET GET) - 1);
    assert_int_equal(spoken[ABI_TX].begins, 2);
}

/* Behind words in the clear: those of a tunnel, once it is there, or of another protocol. */
static const struct words {
    const char *name;
    struct span said, answered;
    struct abi_spelling spelling;
    bool leaves;
} words[] = {
    {"in a tunnel",
     BYTES("CONNECT a.example.com:443 HTTP/1.1\r\nHost: a.example.com:443\r\n\r\n"),
     BYTES("HTTP/1.1 200 OK\r\n\r\n"),
     {0},
     true},
    {"in none", BYTES(GET), BYTES("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), {0}, false},
    {"behind STARTTLS", BYTES("EHLO a\r\n"), BYTES("220 go on\r\n"), {0}, true},
    {"... where all must be seen",
     BYTES("EHLO a\r\n"),
     BYTES("220 go on\r\n"),
     {.flags = ABI_SPELL_UNSEEN},
     false},
};

static int say_words(int fd, const void *arg)
{
    const struct words *one = arg;
    char answer[64];
    int code = say(fd, (const char *)one->said.data, one->said.len);

    if (one->spelling.flags)
        return code == -EACCES ? 0 : -EPROTO;
    if (code == 0 && recv(fd, answer, one->answered.len, MSG_WAITALL) != (ssize_t)one->answered.len)
        return -EPROTO;
    code = code ? code : say(fd, HELLO, sizeof(HELLO) - 1);
    if (code == 0 && (enrolled() == 0) != one->leaves)
        return -EBUSY;
    code = code == 0 && one->leaves ? encrypt(fd) : code;
    return code < 0 ? code : 0;
}

/* An answer is to what was asked. */
static int await_words(int fd)
{
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1) == 1 ? 0 : -errno;
}

static void who_turns_to_tls_leaves(void **state)
{
    (void)state;
    spoken_prepare = await_words;
    spoken_route(ABI_ROUTE_PLAIN | ABI_ROUTE_LEAVE);
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        struct report report;

        print_message("  %s\n", words[i].name);
        spoken_spell(&words[i].spelling);
        report = speak(say_words, &words[i], words[i].answered);
        if (report.code < 0)
            fail_msg("%s", strerror(-report.code));
    }
    spoken_prepare = NULL;
}

/* Only older kernels let it have both. */
static int stay_and_encrypt(int fd, const void *arg)
{
    int code = say(fd, HELLO, sizeof(HELLO) - 1);

    (void)arg;
    if (code == 0)
        code = encrypt(fd);
    return code ? code : say(fd, GET, sizeof(GET) - 1);
}

static void who_stays_is_seen_through(void **state)
{
    struct report report;

    (void)state;
    spoken_route(ABI_ROUTE_PLAIN);
    report = speak(stay_and_encrypt, NULL, (struct span){0});
    assert_memory_equal(spoken[ABI_TX].bytes, HELLO, sizeof(HELLO) - 1);
    if (report.code == 1 || report.code == -EINVAL)
        return;
    assert_int_equal(report.code, 0);
    assert_int_equal(spoken[ABI_TX].len, sizeof(HELLO GET) - 1);
    assert_memory_equal(spoken[ABI_TX].bytes, HELLO GET, sizeof(HELLO GET) - 1);
    assert_true(spoken[ABI_TX].flags & ABI_SAID_KTLS);
    assert_int_equal(spoken[ABI_TX].begins, 1);
}

/* Who has left and goes on to encrypt by itself. */
static int encrypt_by_itself(int fd, const void *arg)
{
    static const char sealed[] = SEALED "0123456789";
    int code = say(fd, HELLO, sizeof(HELLO) - 1);

    (void)arg;
    for (int i = 0; i < 2 && code == 0; i++)
        code = say(fd, sealed, sizeof(sealed) - 1);
    return code < 0 ? code : wait_for_end(fd);
}

static void what_nobody_can_read_is_told(void **state)
{
    struct report report;

    (void)state;
    spoken_route(ABI_ROUTE_PLAIN | ABI_ROUTE_LEAVE);
    report = speak(encrypt_by_itself, NULL, (struct span){0});
    assert_int_equal(report.code, 0);
    assert_int_equal(arrived.len, sizeof(HELLO) - 1 + 2 * 15);
    assert_int_equal(spoken[ABI_TX].len, sizeof(HELLO) - 1 + 2 * 5);
    assert_memory_equal(spoken[ABI_TX].bytes, HELLO SEALED SEALED, spoken[ABI_TX].len);
    assert_false(spoken[ABI_TX].denied);
}

static void what_nobody_can_read_does_not_leave(void **state)
{
    const struct abi_spelling spelling = {.flags = ABI_SPELL_UNSEEN};
    struct report report;

    (void)state;
    spoken_route(ABI_ROUTE_PLAIN | ABI_ROUTE_LEAVE);
    spoken_spell(&spelling);
    report = speak(encrypt_by_itself, NULL, (struct span){0});
    assert_int_equal(report.code, -ETIMEDOUT);
    assert_int_equal(arrived.len, sizeof(HELLO) - 1);
    assert_int_equal(spoken[ABI_TX].len, sizeof(HELLO SEALED) - 1);
    assert_memory_equal(spoken[ABI_TX].bytes, HELLO SEALED, spoken[ABI_TX].len);
    assert_true(spoken[ABI_TX].denied);
    assert_true(spoken[ABI_TX].flags & ABI_SAID_UNSEEN);
}

/* Servers take the urgent byte out: then it is no long record of another type, in which all that
 * follows lies. */
static int say_urgently(int fd, const void *arg)
{
    static const char changes[] = "\x14\x03\x03", sealed[] = "\x00\x01\x01" SEALED "0123456789";
    int code = say(fd, HELLO, sizeof(HELLO) - 1);

    (void)arg;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (code == 0)
        code = say(fd, changes, sizeof(changes) - 1);
    if (code == 0 && send(fd, "\x10", 1, MSG_OOB | MSG_NOSIGNAL) < 0)
        code = -errno;
    if (code == 0)
        code = say(fd, sealed, sizeof(sealed) - 1);
    return code < 0 ? code : wait_for_end(fd);
}

static void nothing_urgent_leaves(void **state)
{
    const struct abi_spelling spelling = {.flags = ABI_SPELL_UNSEEN};
    struct report report;

    (void)state;
    spoken_route(ABI_ROUTE_PLAIN | ABI_ROUTE_LEAVE);
    spoken_spell(&spelling);
    report = speak(say_urgently, NULL, (struct span){0});
    assert_int_equal(report.code, -ETIMEDOUT);
    assert_int_equal(arrived.len, sizeof(HELLO) - 1 + 3);
    assert_true(spoken[ABI_TX].denied);
    assert_true(spoken[ABI_TX].flags & ABI_SAID_UNSEEN);
}

/* A ClientHello of its own length, and another record, which was heard and not taken: something
 * else leaves in its place. */
enum { LONG_HELLO = 14000, ANOTHER = 2000 };

static uint8_t twofold[2 * RECORD_HEADER + LONG_HELLO + ANOTHER];

static void put_record(uint8_t *to, size_t len)
{
    const uint8_t header[RECORD_HEADER] = {0x16, 3, 1, (uint8_t)(len >> 8), (uint8_t)len};

    memcpy(to, header, sizeof(header));
}

static int say_other_than_was_heard(int fd, const void *arg)
{
    static const char sealed[] = SEALED "0123456789";
    size_t hello = RECORD_HEADER + LONG_HELLO;
    ssize_t taken;
    int code;

    (void)arg;
    memcpy(twofold, HELLO, sizeof(HELLO) - 1);
    put_record(twofold, LONG_HELLO);
    put_record(twofold + hello, ANOTHER);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int));
    taken = send(fd, twofold, sizeof(twofold), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken <= 0 || (size_t)taken >= hello)
        return taken < 0 ? -errno : -EMSGSIZE;
    code = say(fd, (const char *)twofold + taken, hello - (size_t)taken);
    if (code == 0)
        code = say(fd, sealed, sizeof(sealed) - 1);
    return code < 0 ? code : wait_for_end(fd);
}

static void what_was_heard_and_not_taken_does_not_help(void **state)
{
    const struct abi_spelling spelling = {.flags = ABI_SPELL_UNSEEN};
    struct report report;

    (void)state;
    spoken_route(ABI_ROUTE_PLAIN | ABI_ROUTE_LEAVE);
    spoken_spell(&spelling);
    spoken_room = 1;
    report = speak(say_other_than_was_heard, NULL, (struct span){0});
    spoken_room = 0;
    assert_int_equal(report.code, -ETIMEDOUT);
    assert_in_range(arrived.len, 1, RECORD_HEADER + LONG_HELLO);
    assert_true(spoken[ABI_TX].denied);
    assert_true(spoken[ABI_TX].flags & ABI_SAID_AGAIN);
}

/* It waits in the socket until the kernel was given the keys. */
static int encrypt_by_itself_before(int fd, const void *arg)
{
    static const char sealed[] = SEALED "0123456789";
    int cork = 1, code = say(fd, HELLO, sizeof(HELLO) - 1);

    (void)arg;
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &cork, sizeof(cork));
    if (code == 0)
        code = say(fd, sealed, sizeof(sealed) - 1);
    if (code == 0)
        code = encrypt(fd);
    return code < 0 ? code : wait_for_end(fd);
}

/* What the agent does meanwhile. */
struct agent {
    struct ends *ends;
    atomic_bool over;
};

static void *be_agent(void *arg)
{
    struct agent *agent = arg;

    while (!agent->over) {
        ends_on_pod_gone(agent->ends, bed_cgroup_id(&fx.bed, "pod"));
        poll(NULL, 0, 5);
    }
    return NULL;
}

static struct report speak_beside_agent(int (*work)(int fd, const void *arg))
{
    struct event_base *base = event_base_new();
    struct agent agent = {0};
    struct report report;
    pthread_t thread;

    assert_ok(ends_new(&agent.ends, base, fx.keeper, &fx.err));
    assert_int_equal(pthread_create(&thread, NULL, be_agent, &agent), 0);
    report = speak(work, NULL, (struct span){0});
    agent.over = true;
    pthread_join(thread, NULL);
    ends_free(&agent.ends);
    event_base_free(base);
    return report;
}

static void what_waited_for_the_keys_does_not_leave(void **state)
{
    const struct abi_spelling spelling = {.flags = ABI_SPELL_UNSEEN};
    struct report report;

    (void)state;
    spoken_route(ABI_ROUTE_PLAIN | ABI_ROUTE_LEAVE);
    spoken_spell(&spelling);
    report = speak_beside_agent(encrypt_by_itself_before);
    /* by the agent, or by the kernel's time-out, whichever is first */
    assert_true(report.code == -ECONNABORTED || report.code == -ETIMEDOUT);
    assert_int_equal(arrived.len, sizeof(HELLO) - 1);
    assert_true(spoken[ABI_TX].denied);
    assert_true(spoken[ABI_TX].flags & ABI_SAID_UNSEEN);
}

/* ---- keys while another process sends ---- */

static int goes_on[2]; /* a pipe: the other end may read */

static int wait_to_read(int fd)
{
    char byte;

    (void)fd;
    return read(goes_on[0], &byte, 1) == 1 ? 0 : -errno;
}

/* A process of its own, not a thread: see kernel_denied.c. */
static pid_t start_sending_much(int fd)
{
    static const char much[1 << 20];
    pid_t pid = fork();

    if (pid)
        return pid;
    alarm(120); /* as who has begun it */
    _exit(say(fd, much, sizeof(much)) < 0);
}

/* There is no TLS on the socket, so the kernel says no, too, but in other words. */
static int hand_over_keys(int fd)
{
    struct tls12_crypto_info_aes_gcm_128 keys = {
        .info = {.version = TLS_1_2_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128}};

    return setsockopt(fd, SOL_TLS, TLS_TX, &keys, sizeof(keys)) < 0 ? -errno : 0;
}

static int hand_over_keys_amid_a_send(int fd, const void *arg)
{
    int code = say(fd, HELLO, sizeof(HELLO) - 1), status;
    pid_t sending;

    (void)arg;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int));
    if (code < 0 || hand_over_keys(fd) == -EPERM || (sending = start_sending_much(fd)) < 0)
        return -EBUSY;
    for (int i = 0; i < SOON_MS && hand_over_keys(fd) != -EPERM; i++)
        poll(NULL, 0, 1);
    code = hand_over_keys(fd);
    if (write(goes_on[1], "x", 1) != 1 || waitpid(sending, &status, 0) != sending || status)
        return -EPIPE;
    return code == -EPERM && hand_over_keys(fd) != -EPERM ? 0 : -EBUSY;
}

static void keys_are_not_taken_amid_a_send(void **state)
{
    struct report report;

    (void)state;
    spoken_route(ABI_ROUTE_PLAIN | ABI_ROUTE_LEAVE);
    assert_int_equal(pipe(goes_on), 0);
    spoken_prepare = wait_to_read;
    spoken_room = 1 << 15;
    report = speak(hand_over_keys_amid_a_send, NULL, (struct span){0});
    spoken_prepare = NULL;
    spoken_room = 0;
    assert_int_equal(report.code, 0);
    for (int i = 0; i < 2; i++)
        close(goes_on[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(who_begins_with_tls_leaves),
        spoken_test(who_begins_otherwise_stays),
        spoken_test(who_turns_to_tls_leaves),
        spoken_test(who_stays_is_seen_through),
        spoken_test(what_nobody_can_read_is_told),
        spoken_test(what_nobody_can_read_does_not_leave),
        spoken_test(nothing_urgent_leaves),
        spoken_test(what_was_heard_and_not_taken_does_not_help),
        spoken_test(what_waited_for_the_keys_does_not_leave),
        spoken_test(keys_are_not_taken_amid_a_send),
    };

    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
