/* unreachable: the bytes of the messages. That the kernel makes of them what it should is seen in
 * tests/unit/dns/resolver.c. */
#include "proxy/dns/unreachable.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/cleanup.h"

#define V4(last)                                                                                   \
    {                                                                                              \
        [10] = 0xff, 0xff, 192, 0, 2, last                                                         \
    }
#define V6(last)                                                                                   \
    {                                                                                              \
        0x20, 0x01, 0x0d, 0xb8, [15] = last                                                        \
    }

static const struct {
    const char *name;
    struct addr from, to;
    int code;
    struct span wanted;
} messages[] = {
    {"IPv4, of an odd number of bytes: nobody listens at the port",
     {.ip = V4(2), .port = 40000},
     {.ip = V4(2), .port = 53530},
     3,
     BYTES("\3\3\x25\x32\0\0\0\0"
           "\x45\0\0\x1f\0\0\x40\0\x40\x11\xb6\xc9\xc0\0\2\2\xc0\0\2\2"
           "\x9c\x40\xd1\x1a\0\x0b\0\0id\1")},
    {"IPv6: nobody listens at the port",
     {.ip = V6(2), .port = 40000},
     {.ip = V6(3), .port = 53530},
     4,
     BYTES("\1\4\0\0\0\0\0\0"
           "\x60\0\0\0\0\x0b\x11\x40"
           "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\3"
           "\x9c\x40\xd1\x1a\0\x0b\0\0id\1")},
};

static void is_this_on_the_wire(void **state)
{
    static const struct unreachable what = {.head_len = 3, .head = "id\1"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
        struct unreachable it = what;
        uint8_t out[UNREACHABLE_MAX];

        print_message("  %s\n", messages[i].name);
        memset(out, 0xa5, sizeof(out));
        it.code = messages[i].code;
        assert_int_equal(unreachable_build(&it, &messages[i].from, &messages[i].to, out),
                         messages[i].wanted.len);
        assert_memory_equal(out, messages[i].wanted.data, messages[i].wanted.len);
    }
}

/* RFC 1071: with its checksum in place, the sum of all is -0. */
static void whatever_it_quotes_its_checksum_holds(void **state)
{
    struct unreachable what = {.code = 3};

    (void)state;
    for (; what.head_len <= UNREACHABLE_QUOTE_MAX; what.head_len++) {
        uint8_t out[UNREACHABLE_MAX];
        size_t len = unreachable_build(&what, &messages[0].from, &messages[0].to, out);
        uint32_t sum = 0;

        assert_int_equal(len, 8 + 20 + 8 + what.head_len);
        for (size_t i = 0; i < len; i++)
            sum += (uint32_t)out[i] << (i % 2 ? 0 : 8);
        assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
        what.head[what.head_len % UNREACHABLE_QUOTE_MAX] = (uint8_t)(what.head_len * 7);
    }
}

static void a_long_datagram_is_quoted_by_its_beginning(void **state)
{
    static uint8_t datagram[65535] = "id";
    struct unreachable what;
    uint8_t out[UNREACHABLE_MAX];

    (void)state;
    unreachable_of_call(-ECONNREFUSED, false, span_of(datagram, sizeof(datagram)), &what);
    assert_int_equal(what.error, -ECONNREFUSED);
    assert_int_equal(what.head_len, UNREACHABLE_QUOTE_MAX);
    assert_memory_equal(what.head, datagram, UNREACHABLE_QUOTE_MAX);
    assert_int_equal(unreachable_build(&what, &messages[1].from, &messages[1].to, out),
                     UNREACHABLE_MAX);
}

static void a_call_that_failed_is_final(void **state)
{
    static const struct {
        int error, v4, v6;
    } calls[] = {
        {-ECONNREFUSED, 3, 4}, {-EHOSTUNREACH, 10, 4},   {-ENETUNREACH, 6, 4},
        {-EPERM, -1, -1},      {-EADDRNOTAVAIL, -1, -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        struct unreachable what;

        unreachable_of_call(calls[i].error, true, BYTES("id"), &what);
        assert_int_equal(what.code, calls[i].v4);
        unreachable_of_call(calls[i].error, false, BYTES("id"), &what);
        assert_int_equal(what.code, calls[i].v6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_this_on_the_wire),
        cmocka_unit_test(whatever_it_quotes_its_checksum_holds),
        cmocka_unit_test(a_long_datagram_is_quoted_by_its_beginning),
        cmocka_unit_test(a_call_that_failed_is_final),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
