/* ktls_closed: what waits to leave when its socket is closed, which takes the kernel's TLS off it:
 * what the kernel had encrypted goes, and what the program had encrypted by itself does not, where
 * that is not to be.
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
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "judged.h"
#include "ktls_keys.h"
#include "ktls_ways.h"

#define GET    "GET /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n"
#define RECORD "\x17\x03\x03\0\x28" GET
#define JUDGED .flags = ABI_SPELL_JUDGED | ABI_SPELL_UNSEEN

static int wait_to_send(int fd)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_CORK, &(int){1}, sizeof(int)) < 0 ? -errno : 0;
}

/* ---- what the kernel encrypts ---- */

/* Nobody ends a connection here of which something is held back. */
static int answer_with_patience(int fd)
{
    static const struct timeval patience = {.tv_sec = 60};

    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0
               ? -errno
               : answer_tls(fd);
}

static int send_last(int fd, const void *arg)
{
    const struct linger *linger = arg;
    int code = start_tls(fd);

    if (code == 0)
        code = wait_to_send(fd);
    if (code == 0 && setsockopt(fd, SOL_SOCKET, SO_LINGER, linger, sizeof(*linger)) < 0)
        code = -errno;
    return code < 0 ? code : by_send(fd, BYTES(GET));
}

static const struct {
    const char *name;
    struct abi_spelling spelling;
    bool goes;
} last[] = {
    {"what no rules judge", {0}, true},
    {"what is allowed", {JUDGED, .rules = 1}, true},
    {"what is denied", {JUDGED, .rules = 1, .denies = 1}, false},
};

static void what_is_said_last_goes_or_does_not(void **state)
{
    const char *name = backend_name(backend);
    int refused = strcmp(name, "lsm") == 0 ? -EPERM : -EACCES;

    (void)state;
    spoken_prepare = answer_with_patience;
    for (suite = suites; suite < suites + SUITES; suite += 3) /* TLS 1.2 and 1.3 */
        for (size_t i = 0; i < 2 * ARRAY_SIZE(last); i++) {
            const struct linger linger = {.l_onoff = i % 2, .l_linger = 5};
            bool goes = last[i / 2].goes;

            print_message("  %s, %s, %s\n", suite->name, last[i / 2].name,
                          i % 2 ? "its close() waits" : "its close() does not wait");
            spoken_spell(&last[i / 2].spelling);
            assert_int_equal(speak(send_last, &linger, (struct span){0}).code, goes ? 0 : refused);
            assert_int_equal(arrived.len, goes ? sizeof(GET) - 1 : 0);
            assert_memory_equal(arrived.bytes, GET, arrived.len);
            assert_int_equal(spoken[ABI_TX].denied, !goes);
            assert_true(spoken[ABI_TX].flags & ABI_SAID_KTLS);
        }
    suite = suites;
}

/* ---- what it does not ---- */

static int take_tls(int fd)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0 ? -errno : 0;
}

static int before_keys(int fd)
{
    int code;

    by_send(fd, BYTES(RECORD)); /* where it is refused at once, it does not arrive either */
    code = take_tls(fd);
    if (code == 0 && hand_over(fd, TLS_TX) < 0)
        code = -errno;
    if (code == 0)
        by_send(fd, BYTES(GET));
    return code;
}

/* Whom this encrypts nothing for. */
static int with_keys_to_receive(int fd, struct span text)
{
    int code = take_tls(fd);

    if (code == 0 && hand_over(fd, TLS_RX) < 0)
        code = -errno;
    if (code == 0)
        by_send(fd, text);
    return code;
}

static int records_with_keys_to_receive(int fd)
{
    return with_keys_to_receive(fd, BYTES(RECORD));
}

static int text_with_keys_to_receive(int fd)
{
    return with_keys_to_receive(fd, BYTES(GET));
}

static int with_keys_that_are_none(int fd)
{
    const struct tls_crypto_info none = {.version = TLS_1_3_VERSION};
    int code = take_tls(fd);

    if (code == 0 && setsockopt(fd, SOL_TLS, TLS_TX, &none, sizeof(none)) == 0)
        code = -EEXIST;
    if (code == 0)
        by_send(fd, BYTES(RECORD));
    return code;
}

static const struct own {
    const char *name;
    int (*say)(int fd);
} owns[] = {
    {"before it handed over keys", before_keys},
    {"with keys to receive by", records_with_keys_to_receive},
    {"... as plain text", text_with_keys_to_receive},
    {"with keys that the kernel does not take", with_keys_that_are_none},
};

/* What may leave has done so when it was closed. Nobody else ends the connection here: so it goes
 * on as if that were over. */
static int say_by_itself(int fd, const void *arg)
{
    const struct own *own = arg;
    int code = by_send(fd, span_of(hello, sizeof(hello)));
    CLEANUP(fd_close) int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (code == 0)
        code = wait_to_send(fd);
    if (code == 0)
        code = own->say(fd);
    if (code == 0 && dup2(nothing, fd) < 0)
        code = -errno;
    return code < 0 ? code : -ETIMEDOUT;
}

static void what_it_encrypted_itself_does_not_leave(void **state)
{
    (void)state;
    spoken_prepare = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(owns); i++) {
        print_message("  %s\n", owns[i].name);
        spoken_spell(&(struct abi_spelling){JUDGED, .rules = 1});
        assert_int_equal(speak(say_by_itself, &owns[i], (struct span){0}).code, -ETIMEDOUT);
        assert_int_equal(arrived.len, sizeof(hello));
        assert_true(spoken[ABI_TX].denied);
        assert_true(spoken[ABI_TX].flags & ABI_SAID_UNSEEN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(what_is_said_last_goes_or_does_not),
        spoken_test(what_it_encrypted_itself_does_not_leave),
    };

    if (!kernel_has_tls()) {
        printf("SKIP: this kernel has no TLS of its own\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
