/* ktls_later: what is said by kTLS when some was said already: rules that came since hold for it,
 * and what could not be read once lets nothing by.
 *
 * Skipped where the kernel has no TLS. */
#include "spoken.h"

#include <errno.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "judged.h"
#include "ktls_keys.h"
#include "ktls_ways.h"

#define HEAD_BEGINS "GET / HTTP/1.1\r\nHost: "
#define GET         HEAD_BEGINS "a\r\n\r\n"
#define SSH         "SSH-2.0-x\r\n"
#define PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
#define PING        "\0\0\x08\6\0\0\0\0\0abcdefgh"
/* no rule can be made that this fits */
#define ODD "POST /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"

/* As ktls_denied.c says. */
static int refused(void)
{
    return strcmp(backend_name(backend), "lsm") == 0 ? -EPERM : -EACCES;
}

/* ---- rules come ---- */

#define JUDGED .flags = ABI_SPELL_JUDGED | ABI_SPELL_UNSEEN
static const struct later {
    const char *name;
    struct span first;
    struct abi_spelling spelling;
    struct span then;
    bool goes;
} laters[] = {
    {"what is no HTTP", BYTES(SSH), {JUDGED}, BYTES("ssh"), false},
    {"... and need not be seen", BYTES(SSH), {.flags = ABI_SPELL_JUDGED}, BYTES("ssh"), true},
    {"HTTP/2", BYTES(PREFACE), {.flags = ABI_SPELL_UNSEEN}, BYTES(PING), true},
    {"... that is judged", BYTES(PREFACE), {JUDGED, .rules = 1}, BYTES(PING), false},
    {"a head", BYTES(HEAD_BEGINS), {.flags = ABI_SPELL_UNSEEN}, BYTES("a\r\n\r\n" GET), true},
    {"... that is denied", BYTES(HEAD_BEGINS), {JUDGED}, BYTES("a\r\n\r\n"), false},
};

static int be_judged_amid(int fd, const void *arg)
{
    const struct later *later = arg;
    int code = start_tls(fd);

    if (code == 0)
        code = by_send(fd, later->first);
    if (code < 0)
        return code;
    spoken_spell(&later->spelling);
    return by_send(fd, later->then);
}

static void later_rules_hold_amid_what_is_said(void **state)
{
    (void)state;
    spoken_prepare = answer_tls;
    for (size_t i = 0; i < ARRAY_SIZE(laters); i++) {
        const struct later *later = &laters[i];

        print_message("  %s\n", later->name);
        judge_pod_by(0);
        assert_int_equal(speak(be_judged_amid, later, (struct span){0}).code,
                         later->goes ? 0 : refused());
        assert_int_equal(arrived.len, later->first.len + (later->goes ? later->then.len : 0));
        assert_int_equal(spoken[ABI_TX].denied, !later->goes);
    }
}

/* ---- a page goes ---- */

/* More than there is room for where nobody reads: the send waits in the kernel. */
enum { PAGE = 4096, BODY = 1 << 20 };
#define POST "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n"

static int reading[2]; /* a word that the other end is to read */

struct page_sent {
    int fd;
    char *page;
};

/* Once its bytes were encrypted; they can be read again from the file that it is of. */
static void *drop_page(void *arg)
{
    const struct page_sent *sent = arg;
    int waiting = 0;

    while (waiting == 0 && ioctl(sent->fd, SIOCOUTQ, &waiting) == 0)
        sched_yield();
    madvise(sent->page, PAGE, MADV_DONTNEED);
    return write(reading[1], "x", 1) == 1 ? NULL : arg;
}

static int answer_and_wait(int fd)
{
    int code = answer_tls(fd);

    return code < 0 ? code : read(reading[0], &(char){0}, 1) == 1 ? 0 : -errno;
}

static int send_what_goes(int fd, const void *arg)
{
    static char body[BODY];
    CLEANUP(fd_close) int file = memfd_create("page", MFD_CLOEXEC);
    struct page_sent sent = {.fd = fd};
    struct iovec parts[] = {{NULL, sizeof(POST) - 1}, {body, sizeof(body)}};
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    int code = start_tls(fd);
    pthread_t thread;

    (void)arg;
    if (code < 0 || ftruncate(file, PAGE) < 0)
        return code < 0 ? code : -errno;
    sent.page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (sent.page == MAP_FAILED)
        return -errno;
    memcpy(sent.page, POST, sizeof(POST));
    parts[0].iov_base = sent.page;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int));
    code = -pthread_create(&thread, NULL, drop_page, &sent);
    if (code == 0) {
        code = ways_result(sendmsg(fd, &message, MSG_NOSIGNAL), sizeof(POST) - 1 + sizeof(body));
        pthread_join(thread, NULL);
    }
    return code < 0 ? code : by_send(fd, BYTES(ODD));
}

static void what_was_not_read_lets_nothing_by(void **state)
{
    (void)state;
    assert_int_equal(pipe(reading), 0);
    spoken_spell(&(struct abi_spelling){.flags = ABI_SPELL_JUDGED, .rules = 1});
    spoken_prepare = answer_and_wait;
    assert_int_equal(speak(send_what_goes, NULL, (struct span){0}).code, refused());
    assert_int_equal(arrived.len, sizeof(POST) - 1 + BODY);
    assert_true(spoken[ABI_TX].denied);
    close(reading[0]);
    close(reading[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(later_rules_hold_amid_what_is_said),
        spoken_test(what_was_not_read_lets_nothing_by),
    };

    if (!kernel_has_tls()) {
        printf("SKIP: this kernel has no TLS of its own\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
