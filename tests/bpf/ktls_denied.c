/* ktls_denied: what rules do not let go does not leave by kTLS either, however it is sent. Who is
 * refused is told EPERM by an LSM program, and the next request may go; where an sk_msg program
 * sees it, EACCES, for good.
 *
 * Nor does it where nobody can read it before it is encrypted, the back-end `none`: as if this
 * kernel had less than it has.
 *
 * Skipped where the kernel has no TLS. */
#include "spoken.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ktls_keys.h"
#include "ktls_ways.h"
#include "proxy/probe/means.h"
#include "sallyport.skel.h"

#define GET           "GET /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n"
#define GET_BEGINS    "GET / HTTP/1.1\r\nHost: "
#define POST_HEAD     "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
#define POST          POST_HEAD "hi"
#define CHUNKED       "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
#define FINISHED(len) "\x14\0\0" len "123456789012"
#define POST4_HEAD    "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
#define POST8_HEAD    "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n"
#define POST32_HEAD   "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 32\r\n\r\n"
#define NO_HOST       "GET /b HTTP/1.1\r\n\r\n" /* as a request of its own, no rule fits it */
#define CANCELED      "\x01\x5a"                /* an alert that servers pass over: RFC 8446, 6.1 */
#define CANCELED8     CANCELED CANCELED CANCELED CANCELED CANCELED CANCELED CANCELED CANCELED
/* no rule can be made that this fits */
#define ODD "POST /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"

/* What backend.c finds, or less; the linker puts this in its place. */
static bool blind;
struct kernel_means __real_means_find(void);
struct kernel_means __wrap_means_find(void);

struct kernel_means __wrap_means_find(void)
{
    struct kernel_means means = __real_means_find();

    if (blind)
        means.lsm = means.ktls_in_hash = false;
    return means;
}

static bool by_lsm(void)
{
    return strcmp(backend_name(backend), "lsm") == 0;
}

struct script { /* what is sent, one after the other, whatever comes of it */
    struct {
        int (*by)(int fd, struct span text);
        struct span text;
        bool goes;
    } sends[6];
};

/* How the first send that went otherwise than it should did. */
static int play(int fd, const void *arg)
{
    const struct script *script = arg;
    int code = start_tls(fd), refused = by_lsm() ? -EPERM : -EACCES;

    for (size_t i = 0; i < ARRAY_SIZE(script->sends) && script->sends[i].by && code == 0; i++) {
        code = script->sends[i].by(fd, script->sends[i].text);
        if (script->sends[i].goes)
            continue;
        /* before 6.5, what passes by the LSM hook is not taken at all */
        if (code == -EINVAL &&
            (script->sends[i].by == by_sendfile || script->sends[i].by == by_splice))
            code = refused;
        code = code == refused ? 0 : code ? code : -EEXIST;
    }
    return code;
}

#define JUDGED .flags = ABI_SPELL_JUDGED | ABI_SPELL_UNSEEN
#define DENIED JUDGED, .rules = 1, .denies = 1
static const struct denial {
    const char *name;
    struct abi_spelling spelling;
    struct script script;
    struct span arrives;
    bool lsm; /* differs where sk_msg programs see it: there the verdict stays with the socket, and
                 pages are copied */
} cases[] = {
    {"not judged", {0}, {{{by_send, BYTES(GET), true}}}, BYTES(GET), false},
    {"it fits", {JUDGED, .rules = 1}, {{{by_send, BYTES(GET), true}}}, BYTES(GET), false},
    {"no rule fits", {JUDGED}, {{{by_send, BYTES(GET), false}}}, {0}, false},
    {"denied, sent in parts", {DENIED}, {{{by_writev, BYTES(GET), false}}}, {0}, false},
    {"denied, as a record of data", {DENIED}, {{{as_data, BYTES(GET), false}}}, {0}, false},
    {"denied, as a record of two types",
     {DENIED},
     {{{as_an_alert_and_data, BYTES(GET), false}}},
     {0},
     false},
    {"denied, as a record of another type",
     {DENIED},
     {{{as_another_type, BYTES(GET), false}}},
     {0},
     false},
    {"an alert that has more to say",
     {JUDGED, .rules = 1},
     {{{as_an_alert, BYTES("\x01\x00" GET), false}}},
     {0},
     false},
    {"a message of a handshake that nobody needs",
     {JUDGED, .rules = 1},
     {{{as_a_handshake, BYTES("\x0b\x00\x00\x04text"), false}}},
     {0},
     false},
    {"the end of a handshake that has more to say",
     {JUDGED, .rules = 1},
     {{{as_a_handshake, BYTES(FINISHED("\x0d") "x"), false}}},
     {0},
     false},
    {"... that has ended",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES(GET), true}, {as_a_handshake, BYTES(FINISHED("\x0c")), false}}},
     BYTES(GET),
     false},
    {"the end of a handshake",
     {JUDGED},
     {{{as_a_handshake, BYTES(FINISHED("\x0c")), true}}},
     {0},
     false},
    {"... twice",
     {JUDGED},
     {{{as_a_handshake, BYTES(FINISHED("\x0c")), true},
       {as_a_handshake, BYTES(FINISHED("\x0c")), false}}},
     {0},
     false},
    {"the end of a connection", {JUDGED}, {{{as_an_alert, BYTES("\x01\0"), true}}}, {0}, false},
    {"alerts within a body, which servers do not count",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES(POST4_HEAD), true},
       {as_an_alert, BYTES(CANCELED), true},
       {by_send, BYTES("hi"), true},
       {as_an_alert, BYTES(CANCELED), true},
       {by_send, BYTES("hi" GET), true}}},
     BYTES(POST4_HEAD "hihi" GET),
     false},
    {"... and which hide a head behind it",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES(POST32_HEAD), true},
       {as_alerts, BYTES(CANCELED8 CANCELED8), true},
       {by_send, BYTES("GET /a HTTP/1.1\r\nHost: a\r\nX: yyy" NO_HOST), false}}},
     BYTES(POST32_HEAD),
     false},
    {"what would be an alert, as data of a body",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES(POST4_HEAD), true},
       {by_send, BYTES(CANCELED), true},
       {as_data, BYTES(CANCELED), true},
       {by_send, BYTES(GET), true}}},
     BYTES(POST4_HEAD CANCELED CANCELED GET),
     false},
    {"... whose record an alert ends",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES(POST4_HEAD), true},
       {by_send_more, BYTES(CANCELED), true},
       {as_an_alert, BYTES(CANCELED), true},
       {by_send, BYTES("hi" GET), true}}},
     BYTES(POST4_HEAD CANCELED "hi" GET),
     false},
    {"a message of a handshake within a body",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES(POST8_HEAD), true}, {as_a_handshake, BYTES("\x0b\x00\x00\x04text"), false}}},
     BYTES(POST8_HEAD),
     false},
    {"a part of an alert within a body",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES(POST8_HEAD), true}, {as_an_alert, BYTES("\x01"), false}}},
     BYTES(POST8_HEAD),
     false},
    {"two alerts within a body, as one",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES(POST8_HEAD), true}, {as_an_alert, BYTES(CANCELED CANCELED), false}}},
     BYTES(POST8_HEAD),
     false},
    {"denied, of a file", {DENIED}, {{{by_sendfile, BYTES(GET), false}}}, {0}, false},
    {"denied, of a pipe", {DENIED}, {{{by_splice, BYTES(GET), false}}}, {0}, false},
    {"it fits, of a pipe", {JUDGED, .rules = 1}, {{{by_splice, BYTES(GET), false}}}, {0}, true},
    {"a head that ends in a pipe",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES(GET_BEGINS), true}, {by_splice, BYTES("a\r\n\r\n"), false}}},
     BYTES(GET_BEGINS),
     true},
    {"a body of a file",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES(POST_HEAD), true},
       {by_a_file, BYTES("hi"), true},
       {by_send, BYTES(GET), true}}},
     BYTES(POST GET),
     false},
    {"... with the next head behind it",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES(POST_HEAD), true},
       {by_splice, BYTES("hi" GET), false},
       {by_send, BYTES("hi" GET), true}}},
     BYTES(POST GET),
     true},
    {"what frames a body, of a pipe",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES(CHUNKED "2\r\n"), true},
       {by_splice, BYTES("hi\r\n"), false},
       {by_send, BYTES("hi\r\n0\r\n\r\n"), true}}},
     BYTES(CHUNKED "2\r\nhi\r\n0\r\n\r\n"),
     true},
    {"a head in two sends",
     {DENIED},
     {{{by_send, BYTES(GET_BEGINS), true}, {by_send, BYTES("a\r\n\r\n"), false}}},
     BYTES(GET_BEGINS),
     false},
    {"what would be an alert, within a head",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES("GET / HTTP/1.1\r\nX: "), true}, {by_send, BYTES("\x01\x02"), false}}},
     BYTES("GET / HTTP/1.1\r\nX: "),
     false},
    {"what is no HTTP", {JUDGED, .rules = 1}, {{{by_send, BYTES("\x01hello"), false}}}, {0}, false},
    {"another one after it",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES(POST), true}, {by_send, BYTES(ODD), false}, {by_send, BYTES(GET), true}}},
     BYTES(POST GET),
     true},
};

static const struct denial of_tls13[] = {
    {"the end of a handshake, which is not one of TLS 1.3",
     {JUDGED},
     {{{as_a_handshake, BYTES(FINISHED("\x0c")), false}}},
     {0},
     false},
    {"new keys within a body",
     {JUDGED, .rules = 1},
     {{{by_send, BYTES(POST_HEAD), true},
       {as_a_handshake, BYTES("\x18\0\0\x01\0"), true},
       {by_send, BYTES("hi" GET), true}}},
     BYTES(POST GET),
     false},
    {"new keys", {JUDGED}, {{{as_a_handshake, BYTES("\x18\0\0\x01\x01"), true}}}, {0}, false},
    {"... asked for by a letter",
     {JUDGED},
     {{{as_a_handshake, BYTES("\x18\0\0\x01G"), false}}},
     {0},
     false},
};

static void check(const struct denial *denials, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct report report;

        if (denials[i].lsm && !by_lsm())
            continue;
        print_message("  %s\n", denials[i].name);
        spoken_spell(&denials[i].spelling);
        spoken_prepare = answer_tls;
        report = speak(play, &denials[i].script, (struct span){0});
        if (report.code < 0)
            fail_msg("%s", strerror(-report.code));
        assert_int_equal(arrived.len, denials[i].arrives.len);
        assert_memory_equal(arrived.bytes, denials[i].arrives.data, arrived.len);
        assert_true(spoken[ABI_TX].flags & ABI_SAID_KTLS || spoken[ABI_TX].len == sizeof(hello));
    }
}

static void what_may_not_go_does_not(void **state)
{
    (void)state;
    check(cases, ARRAY_SIZE(cases));
    suite = suites + SUITES / 2;
    check(of_tls13, ARRAY_SIZE(of_tls13));
    suite = suites;
}

/* It is told whole, and by whom. */
static void what_did_not_go_is_told(void **state)
{
    const struct script scripts[] = {{{{by_send, BYTES(GET), false}}},
                                     {{{as_another_type, BYTES(GET), false}}}};
    struct report report;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(scripts); i++) {
        bool unread = i == 1 && by_lsm();

        spoken_spell(&(struct abi_spelling){DENIED});
        spoken_prepare = answer_tls;
        report = speak(play, &scripts[i], (struct span){0});
        assert_int_equal(report.code, 0);
        assert_true(spoken[ABI_TX].denied);
        assert_int_equal(spoken[ABI_TX].len, sizeof(hello) + sizeof(GET) - 1);
        assert_memory_equal(spoken[ABI_TX].bytes + sizeof(hello), GET, sizeof(GET) - 1);
        assert_int_equal(spoken[ABI_TX].begins, !unread);
        assert_int_equal(spoken[ABI_TX].flags & ABI_SAID_UNSEEN, unread ? ABI_SAID_UNSEEN : 0);
        assert_int_equal(spoken[ABI_TX].pid, report.pid);
    }
}

/* Pages that the kernel has yet to encrypt, for more is said to come, are another thing then. */
static int change_what_was_looked_at(int fd, const void *arg)
{
    static char page[4096] __attribute__((aligned(4096)));
    const struct iovec part = {page, sizeof(GET) - 1};
    int ends[2], code = start_tls(fd), spliced;

    (void)arg;
    strcpy(page, GET);
    if (code < 0)
        return code;
    if (pipe(ends) < 0 || vmsplice(ends[1], &part, 1, 0) != (ssize_t)part.iov_len)
        return -ENODATA;
    spliced =
        ways_result(splice(ends[0], NULL, fd, NULL, part.iov_len, SPLICE_F_MORE), part.iov_len);
    memset(page, 'x', part.iov_len);
    code = by_send(fd, BYTES(GET));
    return code < 0 ? code : spliced;
}

static void what_can_change_does_not_go(void **state)
{
    struct report report;

    (void)state;
    if (!by_lsm())
        return;
    spoken_spell(&(struct abi_spelling){JUDGED, .rules = 1});
    spoken_prepare = answer_tls;
    report = speak(change_what_was_looked_at, NULL, (struct span){0});
    assert_int_equal(arrived.len, sizeof(GET) - 1);
    assert_memory_equal(arrived.bytes, GET, arrived.len);
    if (report.code == -EINVAL) /* before 6.5, and it is not told */
        return;
    assert_int_equal(report.code, -EPERM);
    assert_true(spoken[ABI_TX].flags & ABI_SAID_SPLICED);
    assert_int_equal(spoken[ABI_TX].len, sizeof(hello) + 2 * (sizeof(GET) - 1));
    assert_memory_equal(spoken[ABI_TX].bytes + sizeof(hello), GET GET, 2 * (sizeof(GET) - 1));
}

/* ... and what went, though it should not be there. */
static void a_record_of_another_type_is_told(void **state)
{
    const struct script script = {{{as_another_type, BYTES(GET), true}}};

    (void)state;
    spoken_spell(&(struct abi_spelling){0});
    spoken_prepare = answer_tls;
    assert_int_equal(speak(play, &script, (struct span){0}).code, 0);
    assert_false(spoken[ABI_TX].denied);
    assert_memory_equal(spoken[ABI_TX].bytes + sizeof(hello), GET, sizeof(GET) - 1);
}

/* Rules that come when the connection is there; before 6.5 files have another way to go by. */
static int be_judged_then(int fd, const void *arg)
{
    int code = start_tls(fd);

    (void)arg;
    if (code == 0)
        code = by_sendfile(fd, BYTES(GET));
    if (code < 0)
        return code;
    spoken_spell(&(struct abi_spelling){DENIED});
    code = by_sendfile(fd, BYTES(GET));
    return code == -EPERM || code == -EACCES || code == -EINVAL ? 0 : code ? code : -EEXIST;
}

static void later_rules_hold_for_files(void **state)
{
    (void)state;
    spoken_prepare = answer_tls;
    assert_int_equal(speak(be_judged_then, NULL, (struct span){0}).code, 0);
    assert_int_equal(arrived.len, sizeof(GET) - 1);
}

static int die_of_it(int fd, const void *arg)
{
    const struct script *script = arg;
    int status;
    pid_t child = fork();

    if (child == 0) {
        play(fd, script);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child)
        return -errno;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 0 : -EEXIST;
}

static void who_says_it_is_killed(void **state)
{
    const struct script script = {{{by_send, BYTES(GET), false}}};
    struct report report;

    (void)state;
    if (!by_lsm())
        return; /* by the agent then */
    spoken_spell(&(struct abi_spelling){JUDGED | ABI_SPELL_KILL});
    spoken_prepare = answer_tls;
    report = speak(die_of_it, &script, (struct span){0});
    assert_int_equal(report.code, 0);
    assert_int_equal(arrived.len, 0);
    assert_true(spoken[ABI_TX].denied);
}

/* As if there had been no room for what is known of it. */
static int lose_what_is_known(int fd, const void *arg)
{
    int map = bpf_map__fd(keeper_bpf(fx.keeper)->maps.keyed), code = start_tls(fd);
    socklen_t len = sizeof(uint64_t);
    uint64_t cookie = 0;

    (void)arg;
    if (code == 0 && (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0 ||
                      bpf_map_delete_elem(map, &cookie) < 0))
        code = -errno;
    return code < 0 ? code : by_send(fd, BYTES(GET));
}

static void what_nobody_can_follow_does_not_go(void **state)
{
    (void)state;
    if (!by_lsm())
        return;
    for (int judged = 0; judged < 2; judged++) {
        const struct abi_spelling spelling = {JUDGED, .rules = 1};
        uint64_t before = backend_unheard(backend);

        spoken_spell(judged ? &spelling : &(struct abi_spelling){0});
        spoken_prepare = answer_tls;
        assert_int_equal(speak(lose_what_is_known, NULL, (struct span){0}).code,
                         judged ? -EPERM : 0);
        assert_int_equal(backend_unheard(backend) - before, judged);
    }
}

/* ---- where nobody can read it ---- */

/* Who ends what is held back is the agent: on older kernels no BPF program can set this on a
 * socket whose kernel encrypts (bpf/sockops.bpf.c). */
static int say_and_wait(int fd, const void *arg)
{
    const int *patience = arg;
    int code = start_tls(fd);

    if (code == 0 && *patience &&
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, patience, sizeof(*patience)) < 0)
        code = -errno;
    if (code == 0)
        code = by_send(fd, BYTES(GET));
    return code < 0 ? code : wait_for_end(fd);
}

static void blind_what_must_be_seen_does_not_leave(void **state)
{
    static const struct abi_spelling lenient = {.flags = ABI_SPELL_JUDGED, .rules = 1},
                                     strict = {JUDGED, .rules = 1};
    const struct spoken *tx = &spoken[ABI_TX];

    (void)state;
    assert_string_equal(backend_name(backend), "none");
    for (suite = suites; suite < suites + SUITES; suite += 3) /* TLS 1.2 and 1.3 */
        for (int seen = 0; seen < 2; seen++) {
            int patience = seen ? 100 : 0;
            struct report report;

            print_message("  %s, %s\n", suite->name, seen ? "must be seen" : "need not be seen");
            spoken_spell(seen ? &strict : &lenient);
            spoken_prepare = answer_tls;
            report = speak(say_and_wait, &patience, (struct span){0});
            assert_int_equal(report.code, seen ? -ETIMEDOUT : 0);
            assert_int_equal(arrived.len, seen ? 0 : sizeof(GET) - 1);
            assert_int_equal(tx->denied, seen);
            assert_int_equal(tx->flags & ~ABI_SAID_BEGINS,
                             ABI_SAID_RECORDS | (seen ? ABI_SAID_UNSEEN | ABI_SAID_HELD : 0));
            assert_true(tx->len > sizeof(hello));
        }
    suite = suites;
}

static int begin_blind(void **state)
{
    blind = true;
    spoken_end();
    spoken_begin();
    return register_spoken(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(what_may_not_go_does_not),
        spoken_test(what_did_not_go_is_told),
        spoken_test(what_can_change_does_not_go),
        spoken_test(a_record_of_another_type_is_told),
        spoken_test(later_rules_hold_for_files),
        spoken_test(who_says_it_is_killed),
        spoken_test(what_nobody_can_follow_does_not_go),
        cmocka_unit_test_setup_teardown(blind_what_must_be_seen_does_not_leave, begin_blind,
                                        unregister),
    };

    if (!kernel_has_tls()) {
        printf("SKIP: this kernel has no TLS of its own\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
