/* kernel_denied: what rules do not let go does not leave, and neither does what nobody can read. By
 * whom spellings are written is tests/unit/enforce/: here a place is judged by masks alone. */
#include "spoken.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "heard.h"

#define GET     "GET /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n"
#define ANSWER  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
/* records of TLS */
#define HELLO    CLIENT_HELLO
#define CHANGE   "\x14\x03\x03\x00\x01\x01"
#define FINISHED "\x17\x03\x03\x00\x35" TEN TEN TEN TEN TEN "123"
#define SEALED   "\x17\x03\x03\x00\x0a"
#define TEN      "0123456789"

struct script { /* what is sent, one after the other, as long as it goes */
    struct span sends[4];
};

static int play(int fd, const void *arg)
{
    const struct script *script = arg;
    int code = 0;

    for (size_t i = 0; i < ARRAY_SIZE(script->sends) && script->sends[i].len && code == 0; i++)
        code = send_all(fd, script->sends[i].data, script->sends[i].len, SIZE_MAX);
    return code;
}

#define JUDGED .flags = ABI_SPELL_JUDGED | ABI_SPELL_UNSEEN
/* Rules are bits; row 0 lets every one fit. */
static const struct {
    const char *name;
    struct abi_spelling spelling;
    struct script script;
    int code;
    struct span arrives, told;
    uint8_t flags;
} cases[] = {
    {"not judged", {0}, {{BYTES(GET)}}, 0, BYTES(GET), BYTES(GET), 0},
    {"it fits", {JUDGED, .rules = 1}, {{BYTES(GET)}}, 0, BYTES(GET), BYTES(GET), 0},
    {"no rule is about this place", {JUDGED}, {{BYTES(GET)}}, -EACCES, {0}, BYTES(GET), 0},
    {"a rule denies it",
     {JUDGED, .rules = 1, .denies = 2},
     {{BYTES(GET)}},
     -EACCES,
     {0},
     BYTES(GET),
     0},
    {"it fits only what is encrypted",
     {JUDGED, .rules = 1, .tls = 1},
     {{BYTES(GET)}},
     -EACCES,
     {0},
     BYTES(GET),
     0},
    {"its name was not resolved",
     {JUDGED, .rules = 1, .named = 1},
     {{BYTES(GET)}},
     -EACCES,
     {0},
     BYTES(GET),
     0},
    {"rules that cannot be spelled",
     {JUDGED | ABI_SPELL_AGENT, .rules = 1},
     {{BYTES(GET)}},
     -EACCES,
     {0},
     BYTES(GET),
     0},
    {"two in one send, of which one makes no sense",
     {JUDGED, .rules = 1},
     {{BYTES(GET "POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")}},
     -EACCES,
     {0},
     BYTES(GET "POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), /* and what tells why */
     ABI_SAID_UNSEEN},
    {"a head in pieces, denied with its end",
     {JUDGED, .rules = 1, .denies = 2},
     {{BYTES("GET / HTTP/1.1\r\nHost: "), BYTES("a\r\n\r"), BYTES("\n"), BYTES("never")}},
     -EACCES,
     BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r"),
     BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
     0},
    {"a head in pieces, as soon as nothing can fit it",
     {JUDGED},
     {{BYTES("GET "), BYTES("/ HTTP/1.1\r\n")}},
     -EACCES,
     {0},
     BYTES("GET "),
     0},
    {"an answer is no request",
     {JUDGED, .rules = 1},
     {{BYTES(ANSWER)}},
     -EACCES,
     {0},
     BYTES(ANSWER),
     0},
    {"HTTP/2 cannot be read here",
     {JUDGED, .rules = 1},
     {{BYTES(PREFACE)}},
     -EACCES,
     {0},
     BYTES(PREFACE),
     0},
    {"what is no HTTP", {0}, {{BYTES("\x01hello")}}, 0, BYTES("\x01hello"), BYTES("\x01hello"), 0},
    {"... where it must be",
     {JUDGED, .rules = 1},
     {{BYTES("\x01hello")}},
     -EACCES,
     {0},
     BYTES("\x01hello"),
     ABI_SAID_UNSEEN},
    {"records",
     {0},
     {{BYTES(HELLO CHANGE), BYTES(FINISHED), BYTES(SEALED TEN)}},
     0,
     BYTES(HELLO CHANGE FINISHED SEALED TEN),
     BYTES(HELLO CHANGE SEALED),
     ABI_SAID_RECORDS},
    {"... where bodies are looked at",
     {.flags = ABI_SPELL_BODY_TX},
     {{BYTES(HELLO CHANGE), BYTES(FINISHED), BYTES(SEALED TEN)}},
     0,
     BYTES(HELLO CHANGE FINISHED SEALED TEN),
     BYTES(HELLO CHANGE SEALED),
     ABI_SAID_RECORDS},
    {"a handshake, where all must be seen",
     {JUDGED, .rules = 1},
     {{BYTES(HELLO CHANGE), BYTES(FINISHED)}},
     0,
     BYTES(HELLO CHANGE FINISHED),
     BYTES(HELLO CHANGE),
     ABI_SAID_RECORDS},
    {"... and what cannot be",
     {JUDGED, .rules = 1},
     {{BYTES(HELLO CHANGE), BYTES(FINISHED), BYTES(SEALED TEN)}},
     -EACCES,
     BYTES(HELLO CHANGE FINISHED),
     BYTES(HELLO CHANGE SEALED),
     ABI_SAID_RECORDS | ABI_SAID_UNSEEN},
    {"text behind what looks like a record",
     {JUDGED, .rules = 1},
     {{BYTES("\x16\x03\x01\x0d\x0a" GET GET)}},
     -EACCES,
     {0},
     BYTES("\x16\x03\x01\x0d\x0a" GET GET),
     ABI_SAID_RECORDS | ABI_SAID_UNSEEN},
    {"... or a handshake that no client begins with",
     {JUDGED, .rules = 1},
     {{BYTES("\x16\x03\x01\x00\x2d"), BYTES("\x02\x00\x00\x29\x03\x03 hello")}},
     -EACCES,
     BYTES("\x16\x03\x01\x00\x2d"),
     BYTES("\x16\x03\x01\x00\x2d\x02\x00\x00\x29\x03\x03 hello"),
     ABI_SAID_RECORDS | ABI_SAID_UNSEEN},
    {"a record that nothing can begin in",
     {JUDGED, .rules = 1},
     {{BYTES("\x16\x03\x01\x00\x05hello")}},
     -EACCES,
     {0},
     BYTES("\x16\x03\x01\x00\x05"),
     ABI_SAID_RECORDS | ABI_SAID_UNSEEN},
    {"... where nothing must be seen",
     {0},
     {{BYTES("\x16\x03\x01\x00\x05hello")}},
     0,
     BYTES("\x16\x03\x01\x00\x05hello"),
     BYTES("\x16\x03\x01\x00\x05hello"),
     ABI_SAID_RECORDS},
    {"... of another length",
     {JUDGED, .rules = 1},
     {{BYTES(HELLO CHANGE), BYTES("\x17"), BYTES("\x03\x03\x00\x0a" TEN)}},
     -EACCES,
     BYTES(HELLO CHANGE "\x17"),
     BYTES(HELLO CHANGE "\x03\x03\x00\x0a"),
     ABI_SAID_RECORDS | ABI_SAID_UNSEEN},
};

static void what_may_not_go_does_not(void **state)
{
    (void)state;
    spoken_route(ABI_ROUTE_PLAIN); /* who begins with TLS stays */
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct report report;

        print_message("  %s\n", cases[i].name);
        spoken_spell(&cases[i].spelling);
        report = speak(play, &cases[i].script, (struct span){0});
        assert_int_equal(report.code, cases[i].code);
        assert_int_equal(arrived.len, cases[i].arrives.len);
        assert_memory_equal(arrived.bytes, cases[i].arrives.data, arrived.len);
        assert_int_equal(spoken[ABI_TX].denied, cases[i].code < 0);
        assert_int_equal(spoken[ABI_TX].len, cases[i].told.len);
        assert_memory_equal(spoken[ABI_TX].bytes, cases[i].told.data, spoken[ABI_TX].len);
        assert_int_equal(spoken[ABI_TX].flags & cases[i].flags, cases[i].flags);
    }
}

static void what_else_did_not_go_is_counted(void **state)
{
    static const struct script script = {
        {BYTES(GET), BYTES(GET GET "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")}};
    static const struct abi_spelling spelling = {JUDGED, .rules = 1};

    (void)state;
    spoken_route(ABI_ROUTE_PLAIN);
    spoken_spell(&spelling);
    speak(play, &script, (struct span){0});
    assert_int_equal(spoken[ABI_TX].before, 2 * (sizeof(GET) - 1));
}

/* A refusal is of one connection, not of the socket. */
static int connect_after_refusal(int fd, const void *arg)
{
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    int code;

    (void)arg;
    if (send_all(fd, PREFACE, sizeof(PREFACE) - 1, SIZE_MAX) != -EACCES ||
        connect(fd, &none, sizeof(none)) < 0)
        return -EPROTO;
    code = connect_to(fd, AF_INET, "127.0.0.1", SPOKEN_PORT);
    return code < 0 ? code : send_all(fd, GET, sizeof(GET) - 1, SIZE_MAX);
}

static void who_connects_again_begins_anew(void **state)
{
    (void)state;
    spoken_spell(&(struct abi_spelling){JUDGED, .rules = 1});
    assert_int_equal(speak(connect_after_refusal, NULL, (struct span){0}).code, 0);
}

/* ---- what follows an answer ---- */

#define UPGRADE  "GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n"
#define UPGRADED "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n"
#define TUNNEL   "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"
#define ODD      "\x81\x05hello"

struct asking {
    const char *name;
    struct abi_spelling spelling;
    struct span request, answer, then;
    bool goes;
};

static const struct asking askings[] = {
    {"not granted", {JUDGED, .rules = 1}, BYTES(UPGRADE), BYTES(ANSWER), BYTES(GET GET), true},
    {"not granted, denied",
     {JUDGED, .rules = 1},
     BYTES(UPGRADE),
     BYTES(ANSWER),
     BYTES("\r\n" ODD),
     false},
    {"granted", {JUDGED, .rules = 1}, BYTES(UPGRADE), BYTES(UPGRADED), BYTES(ODD), false},
    {"granted, and may go unseen",
     {.flags = ABI_SPELL_JUDGED, .rules = 1},
     BYTES(UPGRADE),
     BYTES(UPGRADED),
     BYTES(ODD),
     true},
    {"a tunnel", {0}, BYTES(TUNNEL), BYTES(ANSWER), BYTES(ODD), true},
    {"a tunnel that nobody sees into",
     {.flags = ABI_SPELL_UNSEEN},
     BYTES(TUNNEL),
     BYTES(ANSWER),
     BYTES(ODD),
     false},
    {"a request in a tunnel",
     {.flags = ABI_SPELL_UNSEEN},
     BYTES(TUNNEL),
     BYTES(ANSWER),
     BYTES(GET GET),
     true},
    {"a tunnel in a tunnel, and another protocol in that",
     {.flags = ABI_SPELL_UNSEEN},
     BYTES(TUNNEL),
     BYTES(ANSWER ANSWER),
     BYTES(TUNNEL ODD),
     false},
};

static const struct asking *asked;

static int answer_when_asked(int fd)
{
    char byte;

    if (recv(fd, &byte, 1, MSG_PEEK) != 1)
        return -1;
    return send_all(fd, asked->answer.data, asked->answer.len, SIZE_MAX);
}

static int ask_and_go_on(int fd, const void *arg)
{
    const struct asking *asking = arg;
    char answer[1024];
    int code = send_all(fd, asking->request.data, asking->request.len, SIZE_MAX);

    if (code < 0 || recv(fd, answer, sizeof(answer), 0) != (ssize_t)asking->answer.len)
        return code < 0 ? code : -EPROTO;
    return send_all(fd, asking->then.data, asking->then.len, SIZE_MAX);
}

static void what_follows_is_what_the_answer_says(void **state)
{
    (void)state;
    spoken_prepare = answer_when_asked;
    for (size_t i = 0; i < ARRAY_SIZE(askings); i++) {
        struct report report;

        asked = &askings[i];
        print_message("  %s\n", asked->name);
        spoken_spell(&asked->spelling);
        report = speak(ask_and_go_on, asked, (struct span){0});
        assert_int_equal(report.code, asked->goes ? 0 : -EACCES);
        assert_int_equal(arrived.len, asked->request.len + (asked->goes ? asked->then.len : 0));
        if (asked->goes && asked->then.data[0] == 'G') /* and so it is read */
            assert_int_equal(spoken[ABI_TX].len, arrived.len);
    }
    spoken_prepare = NULL;
}

/* ---- a program that changes what it sends while it sends it ---- */

enum { RACES = 40, SENDS = 50, RACE_LEN = sizeof(GET) - 1 };

/* A process of its own, not a thread: as a thread begins and ends it frees memory, and a process
 * that was forked while others of its parent's threads ran has for ever the locks that those held.
 */
static pid_t start_flipping(volatile char *bytes)
{
    pid_t pid = fork();

    if (pid)
        return pid;
    alarm(120); /* as who has begun it */
    for (;;) {
        bytes[0] = 'G';
        sched_yield(); /* on a busy machine both may have one CPU */
        bytes[0] = 1;
    }
}

/* Until one is refused, and with it the connection is dead. */
static int race_once(const char *bytes)
{
    CLEANUP(fd_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int code = connect_to(fd, AF_INET, "127.0.0.1", SPOKEN_PORT);

    for (int i = 0; i < SENDS && code == 0; i++)
        code = send_all(fd, bytes, RACE_LEN, SIZE_MAX);
    return code == -EACCES ? 0 : code;
}

static void do_race(const void *arg, struct report *report)
{
    char *bytes = mmap(NULL, RACE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t flipping = -1;

    (void)arg;
    if (bytes != MAP_FAILED) {
        memcpy(bytes, GET, RACE_LEN);
        flipping = start_flipping(bytes);
    }
    report->code = flipping < 0 ? -errno : 0;
    for (int i = 0; i < RACES && report->code == 0; i++)
        report->code = race_once(bytes);
    if (flipping < 0)
        return;
    kill(flipping, SIGKILL);
    waitpid(flipping, NULL, 0);
}

/* How many bytes came that were never to. */
struct arrivals {
    int server;
    size_t wrong, all;
};

static void *count_arrivals(void *arg)
{
    struct arrivals *arrivals = arg;

    for (int i = 0; i < RACES; i++) {
        CLEANUP(fd_close) int fd = accept_within(arrivals->server, 10 * SOON_MS);
        char bytes[4096];
        ssize_t n;

        while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
            arrivals->all += (size_t)n;
            for (ssize_t j = 0; j < n; j++)
                arrivals->wrong += bytes[j] == 1;
        }
    }
    return NULL;
}

static void what_is_changed_meanwhile_does_not_leave_either(void **state)
{
    const struct abi_spelling spelling = {JUDGED, .rules = 1};
    CLEANUP(fd_close)
    int server = serve(fx.bed.pod, SOCK_STREAM, AF_INET, "127.0.0.1", SPOKEN_PORT);
    struct arrivals arrivals = {.server = server};
    struct report report;
    pthread_t thread;

    (void)state;
    spoken_spell(&spelling);
    assert_int_equal(pthread_create(&thread, NULL, count_arrivals, &arrivals), 0);
    bed_run(&fx.bed, "pod", fx.bed.pod, do_race, NULL, &report);
    pthread_join(thread, NULL);
    assert_int_equal(report.code, 0);
    assert_int_equal(arrivals.wrong, 0);
    assert_true(arrivals.all > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(what_may_not_go_does_not),
        spoken_test(what_else_did_not_go_is_counted),
        spoken_test(who_connects_again_begins_anew),
        spoken_test(what_follows_is_what_the_answer_says),
        spoken_test(what_is_changed_meanwhile_does_not_leave_either),
    };

    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
