/* kernel_received: what comes to a pod on the kernel route comes up, too: answers to its clients,
 * requests to its servers and what those answer. */
#include "spoken.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/tls.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "heard.h"
#include "sallyport.skel.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

static const char get[] = "GET /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/* In a sockhash a recv() that waits fails when the ACK of a FIN comes. */
static bool is_enrolled(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof(cookie);

    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 &&
           bpf_map_lookup_elem(bpf_map__fd(keeper_bpf(fx.keeper)->maps.enrolled), &cookie,
                               &cookie) == 0;
}

/* Sends a request, and reads until there is nothing more to come. */
static int ask(int fd, const void *arg)
{
    const struct span *request = arg;
    uint8_t bytes[65536];
    ssize_t n;
    int code = send_all(fd, request->data, request->len, request->len);

    if (code < 0)
        return code;
    if (shutdown(fd, SHUT_WR) < 0 || is_enrolled(fd))
        return -EPROTO;
    while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        ;
    return n < 0 ? -errno : 0;
}

static uint8_t large[2 << 20];

static size_t write_answer(size_t body)
{
    size_t len = (size_t)snprintf((char *)large, sizeof(large),
                                  "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", body);

    memset(large + len, 'b', body);
    return len + body;
}

static void an_answer_comes_up(void **state)
{
    struct span request = span_of_text(get);
    struct report report = speak(ask, &request, span_of_text(answer));
    const struct spoken *rx = &spoken[ABI_RX];

    (void)state;
    assert_int_equal(report.code, 0);
    assert_int_equal(rx->len, strlen(answer));
    assert_memory_equal(rx->bytes, answer, strlen(answer));
    assert_int_equal(rx->begins, 1);
    assert_int_equal(rx->pid, 0);
    assert_int_equal(rx->lost, 0);
}

/* A socket that is no kTLS's refuses them. */
static void hand_over_keys(int fd, int direction)
{
    static const struct tls12_crypto_info_aes_gcm_128 keys = {
        .info = {.version = TLS_1_2_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128}};

    assert_true(setsockopt(fd, SOL_TLS, direction, &keys, sizeof(keys)) < 0);
}

static int ask_with_keys(int fd, const void *arg)
{
    hand_over_keys(fd, TLS_RX);
    return ask(fd, arg);
}

static void keys_that_were_refused_hide_nothing(void **state)
{
    struct span request = span_of_text(get);
    const struct spoken *rx = &spoken[ABI_RX];
    struct report report;

    (void)state;
    spoken_route(ABI_ROUTE_PLAIN | ABI_ROUTE_KTLS);
    report = speak(ask_with_keys, &request, span_of_text(answer));
    assert_int_equal(report.code, 0);
    assert_int_equal(rx->len, strlen(answer));
    assert_memory_equal(rx->bytes, answer, strlen(answer));
    assert_int_equal(rx->flags, ABI_SAID_BEGINS);
}

static bool is_keyed(void)
{
    uint64_t cookie;

    return bpf_map_get_next_key(bpf_map__fd(keeper_bpf(fx.keeper)->maps.keyed), NULL, &cookie) == 0;
}

static int connect_again(int fd, const void *arg)
{
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    int code;

    (void)arg;
    hand_over_keys(fd, TLS_RX);
    if (!is_keyed() || connect(fd, &none, sizeof(none)) < 0)
        return -EPROTO;
    code = connect_to(fd, AF_INET, "127.0.0.1", SPOKEN_PORT);
    return code == 0 && is_keyed() ? -EEXIST : code;
}

static void keys_of_the_connection_before_are_forgotten(void **state)
{
    (void)state;
    spoken_route(ABI_ROUTE_PLAIN | ABI_ROUTE_KTLS);
    assert_int_equal(speak(connect_again, NULL, (struct span){0}).code, 0);
}

static void of_a_large_answer_the_head_comes_up(void **state)
{
    struct span request = span_of_text(get), said = {large, write_answer(1900000)};
    struct report report = speak(ask, &request, said);
    const struct spoken *rx = &spoken[ABI_RX];

    (void)state;
    assert_int_equal(report.code, 0);
    assert_int_equal(rx->len + rx->skipped, said.len);
    assert_int_equal(rx->lost, 0);
    assert_in_range(rx->len, 40, 200);
    assert_memory_equal(rx->bytes, large, 40);
}

static void expect_asked(bool defers)
{
    struct span request = span_of_text(get);
    struct report report = speak_to_pod(ask, &request, span_of_text(answer), defers);
    const struct abi_socket *accepted, *closed;

    assert_int_equal(report.code, 0);
    accepted = heard_one(ABI_SOCKET_ACCEPT, 0);
    assert_int_equal(accepted->pod, bed_cgroup_id(&fx.bed, "pod"));
    assert_int_equal(accepted->src_port, SPOKEN_PORT);
    assert_true(accepted->flags & ABI_SOCKET_KERNEL);
    spoken_read(accepted->cookie);
    assert_int_equal(spoken[ABI_RX].len, strlen(get));
    assert_memory_equal(spoken[ABI_RX].bytes, get, strlen(get));
    assert_int_equal(spoken[ABI_TX].len, strlen(answer));
    assert_memory_equal(spoken[ABI_TX].bytes, answer, strlen(answer));
    closed = heard_one(ABI_SOCKET_CLOSE, accepted->cookie);
    assert_int_equal(closed->tx, strlen(answer));
    assert_int_equal(closed->rx, strlen(get));
}

static void a_server_is_asked_and_answers(void **state)
{
    (void)state;
    expect_asked(false);
}

static void a_server_that_waits_for_the_first_bytes_is_asked(void **state)
{
    (void)state;
    expect_asked(true);
}

#define SEALED "\x17\x03\x03\x00\x0a"

/* As of TLS 1.3, of which a server encrypts most of its handshake by itself in any case. */
static int encrypt_by_itself(int fd)
{
    static const char sealed[] = SEALED "0123456789";
    int code = send_all(fd, CLIENT_HELLO, sizeof(CLIENT_HELLO) - 1, SIZE_MAX);

    for (int i = 0; i < 6 && code == 0; i++) {
        if (i == 4)
            hand_over_keys(fd, TLS_TX);
        code = send_all(fd, sealed, sizeof(sealed) - 1, SIZE_MAX);
    }
    return code;
}

static void a_server_goes_on_to_encrypt_by_itself(void **state)
{
    static const char told[] = CLIENT_HELLO SEALED SEALED, again[] = SEALED;
    static const uint32_t routes[] = {ABI_ROUTE_PLAIN | ABI_ROUTE_KTLS,
                                      ABI_ROUTE_PLAIN | ABI_ROUTE_KTLS | ABI_ROUTE_LEAVE};
    struct span request = span_of_text(get);
    const struct spoken *tx = &spoken[ABI_TX];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        heard_forget();
        spoken_route(routes[i]);
        spoken_prepare = encrypt_by_itself;
        assert_int_equal(speak_to_pod(ask, &request, (struct span){0}, false).code, 0);
        spoken_prepare = NULL;
        spoken_read(heard_one(ABI_SOCKET_ACCEPT, 0)->cookie);
        assert_int_equal(tx->len, sizeof(told) - 1 + sizeof(again) - 1);
        assert_memory_equal(tx->bytes, told, sizeof(told) - 1);
        assert_memory_equal(tx->bytes + sizeof(told) - 1, again, sizeof(again) - 1);
        assert_int_equal(tx->lost, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(an_answer_comes_up),
        spoken_test(keys_that_were_refused_hide_nothing),
        spoken_test(keys_of_the_connection_before_are_forgotten),
        spoken_test(of_a_large_answer_the_head_comes_up),
        spoken_test(a_server_is_asked_and_answers),
        spoken_test(a_server_that_waits_for_the_first_bytes_is_asked),
        spoken_test(a_server_goes_on_to_encrypt_by_itself),
    };

    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
