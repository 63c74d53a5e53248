/* keys: a program of a pod that hands its keys to the kernel is told, whatever the kernel then
 * says, and nothing of the keys; every other option goes its way. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fixture.h"
#include "sallyport.skel.h"

enum { PORT = 9000, TOLD_MAX = 8 };

static struct abi_ktls told[TOLD_MAX];
static size_t told_len;
static struct ring_buffer *ring;

static int on_record(void *arg, void *data, size_t size)
{
    (void)arg;
    if (*(uint32_t *)data != ABI_KTLS)
        return 0;
    assert_int_equal(size, sizeof(struct abi_ktls));
    assert_true(told_len < TOLD_MAX);
    memcpy(&told[told_len++], data, size);
    return 0;
}

static void look(void)
{
    told_len = 0;
    assert_true(ring_buffer__consume(ring) >= 0);
}

/* The keys are never taken: the socket has no TLS. */
static void hand_over(int fd, int direction, uint16_t version, uint16_t cipher)
{
    struct tls12_crypto_info_aes_gcm_256 keys = {.info = {version, cipher}};

    memset(keys.key, 0xaa, sizeof(keys.key));
    setsockopt(fd, SOL_TLS, direction, &keys, sizeof(keys));
}

static void do_keys(const void *arg, struct report *report)
{
    socklen_t len = sizeof(report->cookie);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)arg;
    report->fd = fd;
    report->code = connect_to(fd, AF_INET, "127.0.0.1", PORT);
    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &report->cookie, &len);
    hand_over(fd, TLS_TX, TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_256);
    hand_over(fd, TLS_TX, TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_256); /* is told once */
    hand_over(fd, TLS_RX, TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128);
}

/* By the same socket, to where other rules may hold. */
static void do_keys_again(const void *arg, struct report *report)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

    do_keys(arg, report);
    if (report->code == 0 && connect(report->fd, &nobody, sizeof(nobody)) < 0)
        report->code = -errno;
    if (report->code == 0)
        report->code = connect_to(report->fd, AF_INET, "127.0.0.1", PORT);
    hand_over(report->fd, TLS_TX, TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128);
}

static struct report keys_from(const char *cgroup, void (*work)(const void *, struct report *))
{
    CLEANUP(fd_close) int server = serve(fx.bed.pod, SOCK_STREAM, AF_INET, "127.0.0.1", PORT);
    struct report report;

    bed_run(&fx.bed, cgroup, fx.bed.pod, work, NULL, &report);
    fd_close(&report.fd);
    assert_int_equal(report.code, 0);
    look();
    return report;
}

static void who_hands_over_keys_is_told(void **state)
{
    struct report report = keys_from("pod", do_keys);
    struct stat self;

    (void)state;
    assert_int_equal(stat("/proc/self/exe", &self), 0);
    assert_int_equal(told_len, 2);
    for (size_t i = 0; i < told_len; i++) {
        assert_int_equal(told[i].pid, report.pid);
        assert_true(told[i].start_ns && told[i].time_ns >= told[i].start_ns);
        assert_true(told[i].pod == bed_cgroup_id(&fx.bed, "pod"));
        assert_true(told[i].cookie == report.cookie);
        assert_true(told[i].netns_cookie != 0);
        assert_true(told[i].inode == self.st_ino);
    }
    assert_int_equal(told[0].direction, ABI_TX);
    assert_int_equal(told[0].version, TLS_1_3_VERSION);
    assert_int_equal(told[0].cipher, TLS_CIPHER_AES_GCM_256);
    assert_int_equal(told[1].direction, ABI_RX);
    assert_int_equal(told[1].version, TLS_1_2_VERSION);
    assert_int_equal(told[1].cipher, TLS_CIPHER_AES_GCM_128);
}

static void who_connects_again_has_other_keys(void **state)
{
    (void)state;
    keys_from("pod", do_keys_again);
    assert_int_equal(told_len, 3);
    assert_int_equal(told[2].direction, ABI_TX);
    assert_int_equal(told[2].version, TLS_1_2_VERSION);
}

static void a_stranger_is_not_told(void **state)
{
    (void)state;
    keys_from("stranger", do_keys);
    assert_int_equal(told_len, 0);
}

/* Longer than what a program is shown of it: EFAULT, unless it says that this is not its matter. */
static void do_long_option(const void *arg, struct report *report)
{
    static const int option[4096] = {1};
    CLEANUP(fd_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 0;
    socklen_t len = sizeof(on);

    (void)arg;
    report->code =
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, option, sizeof(option)) < 0 ? -errno : 0;
    if (report->code == 0 && (getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &len) < 0 || !on))
        report->code = -ENODATA;
}

static void long_options_go_their_way(void **state)
{
    struct report report;

    (void)state;
    bed_run(&fx.bed, "pod", fx.bed.pod, do_long_option, NULL, &report);
    assert_int_equal(report.code, 0);
}

static int set_up_keys(void **state)
{
    int code = set_up(state);

    ring =
        ring_buffer__new(bpf_map__fd(keeper_bpf(fx.keeper)->maps.records), on_record, NULL, NULL);
    assert_non_null(ring);
    return code;
}

#define registered(test) cmocka_unit_test_setup_teardown(test, register_loopback, unregister)

static int take_down_keys(void **state)
{
    ring_buffer__free(ring);
    return take_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        registered(who_hands_over_keys_is_told),
        registered(who_connects_again_has_other_keys),
        registered(a_stranger_is_not_told),
        registered(long_options_go_their_way),
    };

    return cmocka_run_group_tests(tests, set_up_keys, take_down_keys);
}
