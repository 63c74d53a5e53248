/* The bytes of each block, and what readers count on: lengths, padding, checksums. (That other
 * programs read them: tests/netns/capture.sh.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "proxy/capture/pcapng.h"

#define V4(a, b, c, d, number)                                                                     \
    {                                                                                              \
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}, number                             \
    }
#define V6(last, number)                                                                           \
    {                                                                                              \
        {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last}, number                        \
    }
#define TIME ((UINT64_C(0x18000000) << 32) | 5)

static const struct {
    const char *name;
    struct pcapng_packet packet;
    struct span want; /* the whole block, on machines of the usual byte order */
} cases[] = {
    {"a SYN with a comment, over IPv4",
     {.time_ns = TIME,
      .src = V4(192, 0, 2, 2, 40000),
      .dst = V4(203, 0, 113, 10, 443),
      .flags = PCAPNG_SYN,
      .comment = BYTES("hello")},
     BYTES("\6\0\0\0\x58\0\0\0\0\0\0\0\0\0\0\x18\5\0\0\0\x28\0\0\0\x28\0\0\0"
           "\x45\0\0\x28\0\0\x40\0\x40\6\x3c\xc3\xc0\0\2\2\xcb\0\x71\x0a"
           "\x9c\x40\1\xbb\0\0\0\0\0\0\0\0\x50\2\xff\xff\x13\xda\0\0"
           "\1\0\5\0hello\0\0\0\0\0\0\0\x58\0\0\0")},
    {"bytes that need padding, over IPv6",
     {.time_ns = TIME,
      .src = V6(2, 40000),
      .dst = V6(10, 443),
      .seq = 1,
      .ack = 0x01020304,
      .flags = PCAPNG_PSH | PCAPNG_ACK,
      .payload = BYTES("GET")},
     BYTES("\6\0\0\0\x60\0\0\0\0\0\0\0\0\0\0\x18\5\0\0\0\x3f\0\0\0\x3f\0\0\0"
           "\x60\0\0\0\0\x17\6\x40\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\2"
           "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\x0a"
           "\x9c\x40\1\xbb\0\0\0\1\1\2\3\4\x50\x18\xff\xff\x17\4\0\0GET\0\x60\0\0\0")},
};

static void writes_each_packet(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(buffer_fini) struct buffer out = {0};

        print_message("  %s\n", cases[i].name);
        pcapng_packet(&out, &cases[i].packet);
        assert_false(out.failed);
        assert_int_equal(out.len, pcapng_packet_size(&cases[i].packet));
        assert_int_equal(out.len, cases[i].want.len);
        assert_memory_equal(out.data, cases[i].want.data, out.len);
    }
}

static void knows_the_size_of_any_packet(void **state)
{
    static uint8_t bytes[PCAPNG_PAYLOAD_MAX];

    (void)state;
    for (size_t i = 0; i < 9; i++)
        for (size_t comment = 0; comment < 5; comment++) {
            CLEANUP(buffer_fini) struct buffer out = {0};
            const struct pcapng_packet packet = {
                .src = V4(192, 0, 2, 2, 1),
                .dst = V4(192, 0, 2, 3, 2),
                .payload = span_of(bytes, i == 8 ? sizeof(bytes) : i),
                .comment = span_of("abcd", comment),
            };
            uint32_t len, again;

            pcapng_packet(&out, &packet);
            assert_int_equal(out.len, pcapng_packet_size(&packet));
            assert_int_equal(out.len % 4, 0);
            memcpy(&len, out.data + 4, 4);
            memcpy(&again, out.data + out.len - 4, 4);
            assert_int_equal(len, out.len);
            assert_int_equal(again, out.len);
        }
}

static void begins_and_ends_a_file(void **state)
{
    static const struct span begins =
        BYTES("\x0a\x0d\x0d\x0a\x3c\0\0\0\x4d\x3c\x2b\x1a\1\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"
              "\1\0\5\0about\0\0\0\4\0\x09\0sallyport\0\0\0\0\0\0\0\x3c\0\0\0"
              "\1\0\0\0\x30\0\0\0\x65\0\0\0\0\0\0\0\2\0\x09\0decrypted\0\0\0\x09\0\1\0\x09\0\0\0"
              "\0\0\0\0\x30\0\0\0");
    static const struct span ends =
        BYTES("\5\0\0\0\x4c\0\0\0\0\0\0\0\0\0\0\x18\5\0\0\0"
              "\2\0\x08\0\0\0\0\x10\1\0\0\0\3\0\x08\0\0\0\0\x18\5\0\0\0"
              "\4\0\x08\0\x09\0\0\0\0\0\0\0\5\0\x08\0\2\0\0\0\0\0\0\0\0\0\0\0\x4c\0\0\0");
    const struct pcapng_counts counts = {
        .began_ns = (UINT64_C(0x10000000) << 32) | 1, .ended_ns = TIME, .came = 9, .missed = 2};
    CLEANUP(buffer_fini) struct buffer out = {0};

    (void)state;
    pcapng_begin(&out, "about");
    assert_int_equal(out.len, begins.len);
    assert_memory_equal(out.data, begins.data, begins.len);
    out.len = 0;
    pcapng_end(&out, &counts);
    assert_int_equal(out.len, ends.len);
    assert_memory_equal(out.data, ends.data, ends.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_each_packet),
        cmocka_unit_test(knows_the_size_of_any_packet),
        cmocka_unit_test(begins_and_ends_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
