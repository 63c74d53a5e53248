/* ktls: what a pod's program says where the kernel encrypts is seen as it said it, however it sends
 * it, and what it receives, too. Both ends have the keys from this test: no handshake is needed.
 *
 * Skipped where the kernel has no TLS. */
#include "spoken.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"
#include "judged.h"
#include "ktls_keys.h"
#include "sallyport.skel.h"

static const char get[] = "GET /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes";

/* ---- the pod's side ---- */

/* Leaves its keys with the kernel, says it, and takes the answer, if there is to be one. */
struct talk {
    ssize_t (*say)(int fd, const char *text, size_t len);
    const char *text;
    size_t len;
    bool answered;
};

static int do_talk(int fd, const void *arg)
{
    const struct talk *talk = arg;
    char got[sizeof(answer)] = "";

    if (start_tls(fd) < 0)
        return -errno;
    if (talk->say(fd, talk->text, talk->len) != (ssize_t)talk->len)
        return -errno;
    if (talk->answered && recv(fd, got, strlen(answer), MSG_WAITALL) != (ssize_t)strlen(answer))
        return -ENODATA;
    return 0;
}

static ssize_t by_send(int fd, const char *text, size_t len)
{
    return send(fd, text, len, MSG_NOSIGNAL);
}

static ssize_t by_write(int fd, const char *text, size_t len)
{
    return write(fd, text, len);
}

/* Cut where it hurts: within a word, and with nothing between. */
static ssize_t by_writev(int fd, const char *text, size_t len)
{
    const struct iovec parts[] = {{(void *)text, 2},
                                  {(void *)text, 0},
                                  {(void *)(text + 2), 7},
                                  {(void *)(text + 9), len - 9}};

    return writev(fd, parts, 4);
}

static ssize_t by_sendmsg(int fd, const char *text, size_t len)
{
    struct iovec parts[] = {{(void *)text, 5}, {(void *)(text + 5), len - 5}};
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static ssize_t by_bytes(int fd, const char *text, size_t len)
{
    size_t sent = 0;

    while (sent < len && send(fd, text + sent, 1, MSG_NOSIGNAL) == 1)
        sent++;
    return (ssize_t)sent;
}

static int file_of(const char *text, size_t len)
{
    int fd = memfd_create("said", MFD_CLOEXEC);

    if (write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) < 0)
        fd_close(&fd);
    return fd;
}

static ssize_t by_sendfile(int fd, const char *text, size_t len)
{
    CLEANUP(fd_close) int file = file_of(text, len);

    return sendfile(fd, file, NULL, len);
}

static ssize_t by_splice(int fd, const char *text, size_t len)
{
    CLEANUP(fd_close) int file = file_of(text, len);
    int ends[2];

    if (pipe(ends) < 0 || splice(file, NULL, ends[1], NULL, len, 0) != (ssize_t)len)
        return -1;
    return splice(ends[0], NULL, fd, NULL, len, 0);
}

static const struct {
    const char *name;
    ssize_t (*say)(int fd, const char *text, size_t len);
} sayings[] = {
    {"send", by_send},       {"write", by_write},    {"writev", by_writev},
    {"sendmsg", by_sendmsg}, {"by bytes", by_bytes}, {"sendfile", by_sendfile},
    {"splice", by_splice},
};

static struct report talk(const struct talk *talk)
{
    spoken_prepare = answer_tls;
    return speak(do_talk, talk, talk->answered ? BYTES(answer) : (struct span){0});
}

/* ---- what is heard ---- */

static void assert_said(const char *text, size_t len, uint32_t pid)
{
    assert_int_equal(spoken[ABI_TX].len, sizeof(hello) + len);
    assert_memory_equal(spoken[ABI_TX].bytes, hello, sizeof(hello));
    assert_memory_equal(spoken[ABI_TX].bytes + sizeof(hello), text, len);
    assert_int_equal(spoken[ABI_TX].begins, 1);
    assert_int_equal(spoken[ABI_TX].lost, 0);
    assert_int_equal(spoken[ABI_TX].skipped, 0);
    assert_true(spoken[ABI_TX].flags & ABI_SAID_KTLS);
    assert_int_equal(spoken[ABI_TX].pid, pid);
}

static void every_suite_is_heard_both_ways(void **state)
{
    const struct talk said = {.say = by_send, .text = get, .len = strlen(get), .answered = true};

    (void)state;
    for (size_t i = 0; i < SUITES; i++) {
        struct report report;

        suite = &suites[i];
        print_message("  %s\n", suite->name);
        report = talk(&said);
        assert_int_equal(report.code, 0);
        assert_said(get, strlen(get), report.pid);
        assert_int_equal(arrived.len, strlen(get));
        assert_int_equal(spoken[ABI_RX].len, sizeof(hello) + strlen(answer));
        assert_memory_equal(spoken[ABI_RX].bytes + sizeof(hello), answer, strlen(answer));
        assert_true(spoken[ABI_RX].flags & ABI_SAID_KTLS);
    }
    suite = suites;
}

static void every_way_to_send_is_heard(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sayings); i++) {
        const struct talk said = {.say = sayings[i].say, .text = get, .len = strlen(get)};
        struct report report;

        print_message("  %s\n", sayings[i].name);
        report = talk(&said);
        assert_int_equal(report.code, 0);
        assert_said(get, strlen(get), report.pid);
        assert_int_equal(arrived.len, strlen(get));
    }
}

/* ---- what goes wrong, or is none ---- */

static int hear_get_and_update(int fd)
{
    char got[sizeof(get)];
    int code = answer_tls(fd);

    if (code == 0 && recv(fd, got, strlen(get), MSG_WAITALL) != (ssize_t)strlen(get))
        code = -ENODATA;
    if (code == 0)
        code = receive_key_update(fd);
    return code == 0 ? send_key_update(fd) : code;
}

/* The kernel may know nothing of new keys, and refuses those that do not fit. */
static int update_between(int fd, const void *arg)
{
    char got[sizeof(answer)];
    int code = start_tls(fd);

    (void)arg;
    if (code == 0 && by_send(fd, get, strlen(get)) != (ssize_t)strlen(get))
        code = -errno;
    if (code == 0)
        code = send_key_update(fd);
    suite = &suites[1];
    if (code == 0 && hand_over(fd, TLS_TX) == 0)
        code = -EEXIST;
    if (code == 0)
        code = receive_key_update(fd);
    if (code == 0 && recv(fd, got, strlen(answer), MSG_WAITALL) != (ssize_t)strlen(answer))
        code = -ENODATA;
    if (code == 0 && by_send(fd, get, strlen(get)) != (ssize_t)strlen(get))
        code = -errno;
    return code;
}

static void a_key_update_is_no_request(void **state)
{
    const size_t len = strlen(get);
    struct report report;

    (void)state;
    spoken_prepare = hear_get_and_update;
    report = speak(update_between, NULL, BYTES(answer));
    assert_int_equal(report.code, 0);
    assert_int_equal(arrived.len, len);
    assert_int_equal(spoken[ABI_TX].begins, 2);
    assert_int_equal(spoken[ABI_TX].lost, 0);
    assert_int_equal(spoken[ABI_TX].len, sizeof(hello) + 2 * len);
    assert_memory_equal(spoken[ABI_TX].bytes + sizeof(hello), get, len);
    assert_memory_equal(spoken[ABI_TX].bytes + sizeof(hello) + len, get, len);
    assert_int_equal(spoken[ABI_RX].len, sizeof(hello) + strlen(answer));
    assert_memory_equal(spoken[ABI_RX].bytes + sizeof(hello), answer, strlen(answer));
}

#define LAST "GET /a HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n"

static int say_goodbye(int fd, const void *arg)
{
    int code = start_tls(fd);

    (void)arg;
    if (code == 0)
        code = send_all(fd, LAST, sizeof(LAST) - 1, SIZE_MAX);
    return code == 0 ? send_close_notify(fd) : code;
}

static void an_alert_is_nothing_behind_the_last_request(void **state)
{
    struct report report;

    (void)state;
    spoken_prepare = answer_tls;
    report = speak(say_goodbye, NULL, (struct span){0});
    assert_int_equal(report.code, 0);
    assert_said(LAST, sizeof(LAST) - 1, report.pid);
}

static int answer_by_other_keys(int fd)
{
    int code;

    keys_byte = 8;
    code = answer_tls(fd);
    keys_byte = 7;
    return code;
}

static void what_the_kernel_cannot_decrypt_is_not_heard(void **state)
{
    const struct talk said = {.say = by_send, .text = get, .len = strlen(get), .answered = true};
    struct report report;

    (void)state;
    spoken_prepare = answer_by_other_keys;
    report = speak(do_talk, &said, BYTES(answer));
    assert_int_equal(report.code, -ENODATA); /* which was EBADMSG */
    assert_said(get, strlen(get), report.pid);
    assert_int_equal(arrived.len, 0);
    assert_int_equal(spoken[ABI_RX].len, sizeof(hello));
}

/* For a cipher that there is not. */
static int say_in_the_clear(int fd, const void *arg)
{
    static const struct suite none = {"none", TLS_1_3_VERSION, 999};

    (void)arg;
    suite = &none;
    if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0)
        return -errno;
    if (hand_over(fd, TLS_TX) == 0 || hand_over(fd, TLS_RX) == 0)
        return -EEXIST;
    return by_send(fd, get, strlen(get)) == (ssize_t)strlen(get) ? 0 : -errno;
}

static void whose_keys_are_refused_is_heard_in_the_clear(void **state)
{
    struct report report;

    (void)state;
    spoken_prepare = NULL;
    report = speak(say_in_the_clear, NULL, (struct span){0});
    assert_int_equal(report.code, 0);
    assert_int_equal(arrived.len, strlen(get));
    assert_int_equal(spoken[ABI_TX].len, strlen(get));
    assert_memory_equal(spoken[ABI_TX].bytes, get, strlen(get));
    assert_false(spoken[ABI_TX].flags & ABI_SAID_KTLS);
}

/* ---- rules change ---- */

static int judge_by(uint32_t rules)
{
    int fd = bpf_map__fd(keeper_bpf(fx.keeper)->maps.pods);
    uint64_t id = bed_cgroup_id(&fx.bed, "pod");
    struct abi_pod now;

    if (bpf_map_lookup_elem(fd, &id, &now) < 0)
        return -errno;
    now.rules = rules;
    return bpf_map_update_elem(fd, &id, &now, BPF_ANY);
}

/* By sk_msg a refusal is for good. */
static int be_judged_anew(int fd, const void *arg)
{
    bool lsm = strcmp(backend_name(backend), "lsm") == 0;
    int code = start_tls(fd);

    (void)arg;
    if (code == 0 && by_send(fd, get, strlen(get)) < 0)
        code = -errno;
    if (code == 0)
        code = judge_by(NEXT_RULES);
    if (code == 0 && (by_send(fd, get, strlen(get)) >= 0 || errno != (lsm ? EPERM : EACCES)))
        code = -EEXIST;
    if (code == 0)
        code = judge_by(RULES);
    if (code == 0 && lsm && by_send(fd, get, strlen(get)) < 0)
        code = -errno;
    return code;
}

/* Its pod is gone, and it has its connection. */
static int outlive_the_pod(int fd, const void *arg)
{
    int map = bpf_map__fd(keeper_bpf(fx.keeper)->maps.pods), code = start_tls(fd);
    bool lsm = strcmp(backend_name(backend), "lsm") == 0;
    uint64_t id = bed_cgroup_id(&fx.bed, "pod");
    struct abi_pod pod;

    (void)arg;
    if (code == 0 && by_send(fd, get, strlen(get)) < 0)
        code = -errno;
    if (code == 0)
        code = judge_by(NEXT_RULES);
    if (code == 0 && lsm && by_send(fd, get, strlen(get)) >= 0)
        code = -EEXIST;
    if (code == 0 && (bpf_map_lookup_elem(map, &id, &pod) < 0 || bpf_map_delete_elem(map, &id) < 0))
        code = -errno;
    if (code == 0 && by_send(fd, get, strlen(get)) < 0)
        code = -errno;
    return code == 0 ? bpf_map_update_elem(map, &id, &pod, BPF_ANY) : code;
}

static void rules_that_change_hold_for_the_next_request(void **state)
{
    const struct abi_where where = {
        .bits = ABI_WHERE_BITS, .rules = NEXT_RULES, .class = ELSEWHERE, .protocol = IPPROTO_TCP};

    (void)state;
    spoken_spell(&(struct abi_spelling){0});
    put(policy_rules, &(uint32_t){NEXT_RULES}, &(struct abi_rules){0});
    put_class(NEXT_RULES, "::", 0, ELSEWHERE);
    put_verdict(NEXT_RULES, ELSEWHERE, 0, IPPROTO_TCP, 0, 0);
    put(spells, &where, &(struct abi_spelling){.flags = ABI_SPELL_JUDGED}); /* no rule fits */
    spoken_prepare = answer_tls;
    assert_int_equal(speak(be_judged_anew, NULL, (struct span){0}).code, 0);
    judge_pod_by(RULES);
    assert_int_equal(speak(outlive_the_pod, NULL, (struct span){0}).code, 0);
    judge_pod_by(RULES);
}

/* The body of the first of two answers goes into a pipe. */
#define HEAD "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
#define NEXT "HTTP/1.1 204 No Content\r\n\r\n"

static int splice_body(int fd, const void *arg)
{
    char got[256];
    int ends[2], code = start_tls(fd);

    (void)arg;
    if (code == 0)
        code = send_all(fd, get, strlen(get), SIZE_MAX);
    if (code < 0 || pipe(ends) < 0)
        return code < 0 ? code : -errno;
    if (recv(fd, got, sizeof(HEAD) - 1, MSG_WAITALL) != sizeof(HEAD) - 1 ||
        splice(fd, NULL, ends[1], NULL, 5, 0) != 5 || recv(fd, got, sizeof(got), 0) <= 0)
        return -EPROTO;
    return 0;
}

static void what_is_behind_a_spliced_body_is_heard(void **state)
{
    struct report report;

    (void)state;
    spoken_prepare = answer_tls;
    report = speak(splice_body, NULL, BYTES(HEAD "hello" NEXT));
    assert_int_equal(report.code, 0);
    assert_int_equal(spoken[ABI_RX].begins, 2);
    assert_int_equal(spoken[ABI_RX].skipped, 5);
    assert_int_equal(spoken[ABI_RX].len, sizeof(hello) + sizeof(HEAD NEXT) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(every_suite_is_heard_both_ways),
        spoken_test(every_way_to_send_is_heard),
        spoken_test(a_key_update_is_no_request),
        spoken_test(an_alert_is_nothing_behind_the_last_request),
        spoken_test(what_the_kernel_cannot_decrypt_is_not_heard),
        spoken_test(whose_keys_are_refused_is_heard_in_the_clear),
        spoken_test(rules_that_change_hold_for_the_next_request),
        spoken_test(what_is_behind_a_spliced_body_is_heard),
    };

    if (!kernel_has_tls()) {
        printf("SKIP: this kernel has no TLS of its own\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
