/* syn: the bytes of the packets. That the kernel makes of them what it should is seen in
 * tests/netns/failing_connects.sh. */
#include "proxy/doors/syn.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"

static const struct {
    const char *name;
    struct span held, whole;
    struct span reset; /* the answer to ECONNREFUSED */
    int error;
    struct span unreachable; /* the answer to that */
    const char *src, *to;
} packets[] = {
    {"IPv4, with options, and data of TCP Fast Open, which are cut off",
     BYTES("\x46\x10\x00\x39\x00\x07\x40\x00\x40\x06\x21\x9f\xc0\x00\x02\x02\xc0\x00\x02\x02"
           "\x94\x04\x00\x00\x9c\x40\xaf\xc8\x00\x01\xff\xff\x00\x00\x00\x00\x70\x02\xfa\xf0"
           "\xbe\xef\x00\x00\x02\x04\x05\xb4\x04\x02\x01\x01\x65\x61\x72\x6c\x79"),
     BYTES("\x46\x10\x00\x34\x00\x07\x40\x00\x40\x06\x21\xa4\xc0\x00\x02\x02\xc0\x00\x02\x02"
           "\x94\x04\x00\x00\x9c\x40\xaf\xc8\x00\x01\xff\xff\x00\x00\x00\x00\x70\x02\xfa\xf0"
           "\xb8\x1f\x00\x00\x02\x04\x05\xb4\x04\x02\x01\x01"),
     BYTES("\x45\x00\x00\x28\x00\x00\x40\x00\x40\x06\xb6\xcb\xc0\x00\x02\x02\xc0\x00\x02\x02"
           "\xaf\xc8\x9c\x40\x00\x00\x00\x00\x00\x02\x00\x00\x50\x14\x00\x00\xdf\xc0\x00\x00"),
     -EHOSTUNREACH,
     BYTES("\x45\x00\x00\x50\x00\x00\x40\x00\x40\x01\xb6\xa8\xc0\x00\x02\x02\xc0\x00\x02\x02"
           "\x03\x01\x81\x26\x00\x00\x00\x00\x46\x10\x00\x34\x00\x07\x40\x00\x40\x06\x21\xa4"
           "\xc0\x00\x02\x02\xc0\x00\x02\x02\x94\x04\x00\x00\x9c\x40\xaf\xc8\x00\x01\xff\xff"
           "\x00\x00\x00\x00\x70\x02\xfa\xf0\xb8\x1f\x00\x00\x02\x04\x05\xb4\x04\x02\x01\x01"),
     "192.0.2.2:40000", "192.0.2.2:45000"},
    {"IPv6, the last sequence number there is",
     BYTES("\x60\x01\x23\x45\x00\x1c\x06\x40\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00"
           "\x00\x00\x00\x02\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"
           "\x9c\x40\xaf\xc8\xff\xff\xff\xff\x00\x00\x00\x00\x70\xc2\xfa\xf0\xbe\xef\x00\x00"
           "\x02\x04\x05\xb4\x04\x02\x01\x01"),
     BYTES("\x60\x01\x23\x45\x00\x1c\x06\x40\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00"
           "\x00\x00\x00\x02\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"
           "\x9c\x40\xaf\xc8\xff\xff\xff\xff\x00\x00\x00\x00\x70\xc2\xfa\xf0\xdf\xef\x00\x00"
           "\x02\x04\x05\xb4\x04\x02\x01\x01"),
     BYTES("\x60\x00\x00\x00\x00\x14\x06\x40\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00"
           "\x00\x00\x00\x02\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"
           "\xaf\xc8\x9c\x40\x00\x00\x00\x00\x00\x00\x00\x00\x50\x14\x00\x00\x08\x52\x00\x00"),
     -ENETUNREACH,
     BYTES("\x60\x00\x00\x00\x00\x4c\x3a\x40\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00"
           "\x00\x00\x00\x02\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"
           "\x01\x00\x19\x83\x00\x00\x00\x00\x60\x01\x23\x45\x00\x1c\x06\x40\x20\x01\x0d\xb8"
           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x20\x01\x0d\xb8\x00\x00\x00\x00"
           "\x00\x00\x00\x00\x00\x00\x00\x02\x9c\x40\xaf\xc8\xff\xff\xff\xff\x00\x00\x00\x00"
           "\x70\xc2\xfa\xf0\xdf\xef\x00\x00\x02\x04\x05\xb4\x04\x02\x01\x01"),
     "[2001:db8::2]:40000", "[2001:db8::2]:45000"},
};

static void assert_bytes(struct span wanted, const uint8_t *got, size_t len)
{
    assert_int_equal(len, wanted.len);
    assert_memory_equal(got, wanted.data, wanted.len);
}

static void this_is_on_the_wire(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
        uint8_t answer[SYN_ANSWER_MAX];
        char text[ADDR_TEXT_MAX];
        struct syn syn;

        print_message("  %s\n", packets[i].name);
        assert_true(syn_parse(packets[i].held, &syn));
        assert_bytes(packets[i].whole, syn.packet, syn.len);
        assert_string_equal(addr_format(&syn.src, text), packets[i].src);
        assert_string_equal(addr_format(&syn.to, text), packets[i].to);
        memset(answer, 0xa5, sizeof(answer));
        assert_bytes(packets[i].reset, answer, syn_refuse(&syn, -ECONNREFUSED, answer));
        memset(answer, 0xa5, sizeof(answer));
        assert_bytes(packets[i].unreachable, answer, syn_refuse(&syn, packets[i].error, answer));
    }
}

/* As net/ipv4/icmp.c and net/ipv6/icmp.c turn them into an errno again. */
static void each_failure_has_its_message(void **state)
{
    static const struct {
        int error;
        uint8_t type4, code4, type6, code6;
    } failures[] = {
        {-ENETUNREACH, 3, 0, 1, 0}, {-EHOSTUNREACH, 3, 1, 1, 3}, {-EACCES, 3, 13, 1, 1},
        {-EPERM, 3, 13, 1, 1},      {-ENOPROTOOPT, 3, 2, 1, 1},  {-EOPNOTSUPP, 3, 5, 1, 1},
        {-EHOSTDOWN, 3, 7, 1, 1},   {-ENONET, 3, 8, 1, 1},       {-EPROTO, 12, 0, 4, 0},
    };
    struct syn v4, v6;

    (void)state;
    assert_true(syn_parse(packets[0].held, &v4));
    assert_true(syn_parse(packets[1].held, &v6));
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
        uint8_t answer[SYN_ANSWER_MAX];

        assert_int_equal(syn_refuse(&v4, failures[i].error, answer), 20 + 8 + v4.len);
        assert_int_equal(answer[20], failures[i].type4);
        assert_int_equal(answer[21], failures[i].code4);
        assert_int_equal(syn_refuse(&v6, failures[i].error, answer), 40 + 8 + v6.len);
        assert_int_equal(answer[40], failures[i].type6);
        assert_int_equal(answer[41], failures[i].code6);
    }
}

/* Cut anywhere before the end of its headers it is none, and nothing is read behind the cut. */
static void half_a_syn_is_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(packets); i++)
        for (size_t len = 0; len < packets[i].whole.len; len++) {
            uint8_t *cut = malloc(len + !len); /* its end is watched by the sanitizer */
            struct syn syn;

            memcpy(cut, packets[i].held.data, len);
            assert_false(syn_parse(span_of(cut, len), &syn));
            free(cut);
        }
}

static void what_else_is_none(void **state)
{
    static const struct {
        const char *name;
        size_t packet, at;
        uint8_t byte;
    } changes[] = {
        {"no version", 0, 0, 0x06},
        {"a header without room for addresses", 0, 0, 0x44},
        {"IPv4's version on IPv6", 1, 0, 0x40},
        {"UDP", 0, 9, 17},
        {"UDP by IPv6", 1, 6, 17},
        {"an extension header", 1, 6, 0},
        {"a TCP header of 16 bytes", 0, 36, 0x40},
        {"no SYN", 0, 37, 0x10},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        struct span packet = packets[changes[i].packet].held;
        uint8_t changed[ABI_SYN_MAX];
        struct syn syn;

        print_message("  %s\n", changes[i].name);
        memcpy(changed, packet.data, packet.len);
        changed[changes[i].at] = changes[i].byte;
        assert_false(syn_parse(span_of(changed, packet.len), &syn));
    }
}

static void a_repetition_has_addresses_and_number_in_common(void **state)
{
    static const struct {
        size_t at;
        bool again;
    } changes[] = {
        {5, true}, /* the packet's number */
        {24 + 1, false}, {24 + 3, false}, {24 + 7, false},
        {15, false},     {19, false},     {24 + 14, true}, /* the window */
    };
    struct syn first, second;

    (void)state;
    assert_true(syn_parse(packets[0].held, &first));
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        uint8_t changed[ABI_SYN_MAX];

        memcpy(changed, packets[0].held.data, packets[0].held.len);
        changed[changes[i].at] ^= 1;
        assert_true(syn_parse(span_of(changed, packets[0].held.len), &second));
        assert_int_equal(syn_is_again(&first, &second), changes[i].again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(this_is_on_the_wire),
        cmocka_unit_test(each_failure_has_its_message),
        cmocka_unit_test(half_a_syn_is_none),
        cmocka_unit_test(what_else_is_none),
        cmocka_unit_test(a_repetition_has_addresses_and_number_in_common),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
