/* ktls_large: heads of 100 fields of 8 kB where the kernel encrypts and decrypts, which are 50
 * records and more: heard whole both ways, however they are sent, and judged by their last field.
 *
 * Skipped where the kernel has no TLS. */
#include "spoken.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "ktls_keys.h"
#include "ktls_ways.h"

#define BEGINS "GET /large HTTP/1.1\r\nHost: a\r\n"
#define YES    "x-last: yes\r\n"
#define ONLY_YES                                                                                   \
    "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: p}\nspec:\n"               \
    "  route: kernel\n  egress:\n  - toEntities: [all]\n"                                          \
    "    toPorts:\n    - rules: {http: [{path: /large, headers: ['x-last: yes']}]}\n"

static uint8_t large[1 << 20];

static bool by_lsm(void)
{
    return strcmp(backend_name(backend), "lsm") == 0;
}

/* A record at a time, as OpenSSL does. */
static int by_records(int fd, struct span text)
{
    return send_all(fd, text.data, text.len, 16384);
}

struct saying {
    const char *name;
    int (*by)(int fd, struct span text);
    struct span text;
};

/* Where one of its records is refused, a send tells how much of it went before; the next one fails.
 */
static int say(int fd, const void *arg)
{
    const struct saying *saying = arg;
    int code = start_tls(fd);

    if (code == 0)
        code = saying->by(fd, saying->text);
    return code == -EMSGSIZE ? by_send(fd, BYTES("more")) : code;
}

static struct report say_large(struct saying *saying, const char *last)
{
    saying->text = span_of(large, write_large_head(large, sizeof(large), BEGINS, last));
    spoken_prepare = answer_tls;
    return speak(say, saying, (struct span){0});
}

static void assert_heard(enum abi_direction direction, struct span text)
{
    const struct spoken *heard = &spoken[direction];

    assert_int_equal(heard->lost, 0);
    assert_int_equal(heard->begins, 1);
    assert_int_equal(heard->len, sizeof(hello) + text.len);
    assert_memory_equal(heard->bytes + sizeof(hello), text.data, text.len);
    assert_true(heard->flags & ABI_SAID_KTLS);
}

static void assert_went(const struct saying *saying, const struct report *report)
{
    if (report->code < 0)
        fail_msg("%s", strerror(-report->code));
    assert_heard(ABI_TX, saying->text);
    assert_false(spoken[ABI_TX].denied);
    assert_int_equal(arrived.len, saying->text.len);
    assert_memory_equal(arrived.bytes, large, arrived.len);
}

static void what_is_sent_is_heard(void **state)
{
    struct saying sayings[] = {
        {"send", by_send, {0}},         {"writev", by_writev, {0}}, {"records", by_records, {0}},
        {"sendfile", by_sendfile, {0}}, {"splice", by_splice, {0}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sayings); i++) {
        struct report report;

        print_message("  %s\n", sayings[i].name);
        report = say_large(&sayings[i], "");
        assert_went(&sayings[i], &report);
    }
}

static int take(int fd, const void *len)
{
    static uint8_t got[sizeof(large)];
    int code = start_tls(fd);

    if (code == 0)
        code = by_send(fd, BYTES(BEGINS "\r\n"));
    if (code == 0 && recv(fd, got, *(const size_t *)len, MSG_WAITALL) != *(const ssize_t *)len)
        code = -ENODATA;
    return code;
}

static void what_is_received_is_heard(void **state)
{
    size_t len = write_large_head(large, sizeof(large), "HTTP/1.1 204 No Content\r\n", "");

    (void)state;
    spoken_prepare = answer_tls;
    assert_int_equal(speak(take, &len, span_of(large, len)).code, 0);
    assert_heard(ABI_RX, span_of(large, len));
}

/* Of one that is seen a record at a time, those before the last may have left, and never all. */
static void its_last_field_decides(void **state)
{
    struct saying sayings[] = {
        {"send", by_send, {0}},
        {"writev", by_writev, {0}},
        {"a record of data", as_data, {0}},
        {"records", by_records, {0}},
    };

    (void)state;
    use_policy(ONLY_YES);
    for (size_t i = 0; i < ARRAY_SIZE(sayings); i++) {
        struct saying *saying = &sayings[i];
        struct report report;

        print_message("  %s, it fits\n", saying->name);
        report = say_large(saying, YES);
        assert_went(saying, &report);
        print_message("  %s, denied\n", saying->name);
        report = say_large(saying, i % 2 ? "x-last: no\r\n" : "");
        assert_int_equal(report.code, by_lsm() ? -EPERM : -EACCES);
        assert_heard(ABI_TX, saying->text);
        assert_true(spoken[ABI_TX].denied);
        assert_true(by_lsm() && saying->by != by_records ? arrived.len == 0
                                                         : arrived.len < saying->text.len);
        assert_memory_equal(arrived.bytes, large, arrived.len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(what_is_sent_is_heard),
        spoken_test(what_is_received_is_heard),
        spoken_test(its_last_field_decides),
    };

    if (!kernel_has_tls()) {
        printf("SKIP: this kernel has no TLS of its own\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
