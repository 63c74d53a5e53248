/* addr: addresses read as people write them, and survive the way to the kernel's form and back. */
#include "base/addr.h"
#include "base/cleanup.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define V4(a, b, c, d)                                                                             \
    {                                                                                              \
        [10] = 0xff, [11] = 0xff, [12] = (a), [13] = (b), [14] = (c), [15] = (d)                   \
    }

static const struct {
    const char *name;
    struct addr addr;
    const char *text, *ip;
    bool v4;
} cases[] = {
    {"IPv4", {V4(192, 0, 2, 1), 443}, "192.0.2.1:443", "192.0.2.1", true},
    {"IPv4 loopback", {V4(127, 0, 0, 1), 80}, "127.0.0.1:80", "127.0.0.1", true},
    {"the last of 127/8", {V4(127, 255, 0, 9), 1}, "127.255.0.9:1", "127.255.0.9", true},
    {"128/8 is not", {V4(128, 0, 0, 1), 1}, "128.0.0.1:1", "128.0.0.1", true},
    {"any IPv4 address, highest port", {V4(0, 0, 0, 0), 65535}, "0.0.0.0:65535", "0.0.0.0", true},
    {"longest IPv4",
     {V4(255, 255, 255, 255), 65535},
     "255.255.255.255:65535",
     "255.255.255.255",
     true},
    {"IPv6 stands in brackets",
     {{0x20, 0x01, 0x0d, 0xb8, [15] = 1}, 8443},
     "[2001:db8::1]:8443",
     "2001:db8::1",
     false},
    {"IPv6 loopback", {{[15] = 1}, 443}, "[::1]:443", "::1", false},
    {"beside IPv6 loopback", {{[15] = 2}, 443}, "[::2]:443", "::2", false},
    {"any IPv6 address", {{0}, 0}, "[::]:0", "::", false},
    {"longest IPv6",
     {{0x20, 0x01, 0x0d, 0xb8, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44, 0x55, 0x55, 0x66,
       0x66},
      65535},
     "[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
     "2001:db8:1111:2222:3333:4444:5555:6666",
     false},
};

static void reads_as_people_write_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char out[ADDR_TEXT_MAX];

        print_message("  %s\n", cases[i].name);
        assert_string_equal(addr_format(&cases[i].addr, out), cases[i].text);
        assert_string_equal(addr_format_ip(&cases[i].addr, out), cases[i].ip);
        assert_int_equal(addr_is_v4(&cases[i].addr), cases[i].v4);
    }
}

static void survives_the_kernels_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sockaddr_storage kernel;
        struct addr back = {{0xaa}, 0xaaaa};
        socklen_t len;

        print_message("  %s\n", cases[i].name);
        memset(&kernel, 0xaa, sizeof(kernel));
        len = addr_to_sockaddr(&cases[i].addr, &kernel);
        assert_int_equal(kernel.ss_family, cases[i].v4 ? AF_INET : AF_INET6);
        assert_int_equal(len,
                         cases[i].v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
        assert_true(addr_from_sockaddr(&kernel, &back));
        assert_memory_equal(back.ip, cases[i].addr.ip, sizeof(back.ip));
        assert_int_equal(back.port, cases[i].addr.port);
    }
}

/* What a program sees when it connects an IPv6 socket to an IPv4 address. */
static void mapped_address_in_an_ipv6_sockaddr_is_ipv4(void **state)
{
    struct sockaddr_storage kernel = {0};
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&kernel;
    char out[ADDR_TEXT_MAX];
    struct addr addr;

    (void)state;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(443);
    assert_int_equal(inet_pton(AF_INET6, "::ffff:203.0.113.7", &in6->sin6_addr), 1);
    assert_true(addr_from_sockaddr(&kernel, &addr));
    assert_true(addr_is_v4(&addr));
    assert_string_equal(addr_format(&addr, out), "203.0.113.7:443");
}

static void other_families_are_refused(void **state)
{
    struct sockaddr_storage kernel = {.ss_family = AF_UNIX};
    struct addr addr;

    (void)state;
    assert_false(addr_from_sockaddr(&kernel, &addr));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_as_people_write_it),
        cmocka_unit_test(survives_the_kernels_form),
        cmocka_unit_test(mapped_address_in_an_ipv6_sockaddr_is_ipv4),
        cmocka_unit_test(other_families_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
