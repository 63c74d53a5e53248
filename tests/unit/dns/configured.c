#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/dns/configured.h"

/* Texts with their length, for they may have NULs. */
#define T(literal) literal, sizeof(literal) - 1

static const struct {
    const char *name, *text;
    size_t len;
    const char *want; /* as it is written down */
} resolv_confs[] = {
    {"nothing", T(""), ""},
    {"one", T("nameserver 192.0.2.53\n"), "nameserver 192.0.2.53\n"},
    {"without a last newline", T("nameserver 192.0.2.53"), "nameserver 192.0.2.53\n"},
    {"two, among what else there is",
     T("# made by hand\nsearch a.example\nnameserver 192.0.2.53\noptions ndots:5\n"
       "nameserver\t2001:db8::53 \n"),
     "nameserver 192.0.2.53\nnameserver 2001:db8::53\n"},
    {"a stub of this host", T("nameserver 127.0.0.53\noptions edns0 trust-ad\n"),
     "nameserver 127.0.0.53\n"},
    {"a zone", T("nameserver fe80::1%eth0\n"), "nameserver fe80::1\n"},
    {"lines of Windows", T("nameserver 192.0.2.53\r\n"), "nameserver 192.0.2.53\n"},
    {"comments behind", T("nameserver 192.0.2.53 # a\nnameserver 192.0.2.54;b\n"),
     "nameserver 192.0.2.53\nnameserver 192.0.2.54\n"},
    {"a comment", T(";nameserver 192.0.2.53\n#nameserver 192.0.2.54\n"), ""},
    {"another word that begins so", T("nameservers 192.0.2.53\n"), ""},
    {"no address behind", T("nameserver\nnameserver \n"), ""},
    {"no address, but a name", T("nameserver dns.example\n"), ""},
    {"numbers that two readers read differently", T("nameserver 010.0.0.1\nnameserver 1.2\n"), ""},
    {"with a port", T("nameserver 192.0.2.53:53\n"), ""},
    {"a NUL", T("nameserver 192.0.2.5\0003\nnameserver 192.0.2.54\n"), "nameserver 192.0.2.54\n"},
    {"a long word",
     T("nameserver 192.0.2.5300000000000000000000000000000000000000000000000000000000000000\n"),
     ""},
    {"the first eight",
     T("nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n"
       "nameserver 192.0.2.5\nnameserver 192.0.2.6\nnameserver 192.0.2.7\nnameserver 192.0.2.8\n"
       "nameserver 192.0.2.9\n"),
     "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n"
     "nameserver 192.0.2.5\nnameserver 192.0.2.6\nnameserver 192.0.2.7\nnameserver 192.0.2.8\n"},
};

static const struct {
    const char *name, *text;
    size_t len;
    const char *want;
} hosts[] = {
    {"nothing", T(""), ""},
    {"as usual", T("127.0.0.1\tlocalhost\n::1 localhost ip6-localhost\n"),
     "::1 localhost\n::1 ip6-localhost\n127.0.0.1 localhost\n"},
    {"by address, then as they stand",
     T("203.0.113.9 b.example a.example\n192.0.2.1 c\n203.0.113.9 d"),
     "192.0.2.1 c\n203.0.113.9 b.example\n203.0.113.9 a.example\n203.0.113.9 d\n"},
    {"capitals, a closing dot, a comment", T("192.0.2.1 API.Example. #x y\n"),
     "192.0.2.1 api.example\n"},
    {"what is no name", T("192.0.2.1 *.example a..b a.. . .. \xff .a a!b ok -\n"),
     "192.0.2.1 ok\n192.0.2.1 -\n"},
    {"what is no address", T("example 192.0.2.1\n192.0.2 a\n"), ""},
    {"an address without names", T("192.0.2.1\n\n   \n"), ""},
    {"a NUL in a name", T("192.0.2.1 evil.example\0.ok\n192.0.2.2 b\n"), "192.0.2.2 b\n"},
    {"an IPv4 address in IPv6", T("::ffff:192.0.2.1 a\n"), "192.0.2.1 a\n"},
};

static void reads_name_servers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(resolv_confs); i++) {
        CLEANUP(configured_free)
        struct configured *configured =
            configured_parse(span_of(resolv_confs[i].text, resolv_confs[i].len), span_of(NULL, 0));
        CLEANUP(text_free) char *text = configured_resolv_conf(configured);

        print_message("  %s\n", resolv_confs[i].name);
        assert_string_equal(text, resolv_confs[i].want);
    }
}

static void reads_hosts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        CLEANUP(configured_free)
        struct configured *configured =
            configured_parse(span_of(NULL, 0), span_of(hosts[i].text, hosts[i].len));
        CLEANUP(text_free) char *text = configured_hosts(configured);

        print_message("  %s\n", hosts[i].name);
        assert_string_equal(text, hosts[i].want);
    }
}

static struct addr at(const char *ip, uint16_t port)
{
    struct addr addr = {.ip = {[10] = 0xff, [11] = 0xff}, .port = port};

    if (inet_pton(AF_INET, ip, addr.ip + 12) != 1)
        assert_int_equal(inet_pton(AF_INET6, ip, addr.ip), 1);
    return addr;
}

static void knows_a_name_server(void **state)
{
    CLEANUP(configured_free)
    struct configured *configured = configured_parse(
        BYTES("nameserver 192.0.2.53\nnameserver 2001:db8::53\n"), span_of(NULL, 0));
    static const struct {
        const char *ip;
        uint16_t port;
        bool serves;
    } rows[] = {
        {"192.0.2.53", 53, true},    {"2001:db8::53", 53, true}, {"192.0.2.53", 853, true},
        {"192.0.2.53", 5353, false}, {"192.0.2.54", 53, false},  {"2001:db8::54", 53, false},
        {"0.0.0.0", 53, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct addr server = at(rows[i].ip, rows[i].port);

        assert_int_equal(configured_serves(configured, &server), rows[i].serves);
    }
}

static void finds_names_of_an_address(void **state)
{
    CLEANUP(configured_free)
    struct configured *configured = configured_parse(
        span_of(NULL, 0), BYTES("192.0.2.2 b\n192.0.2.1 a\n192.0.2.3 c\n192.0.2.2 bb\n"));
    const struct configured_host *first;
    struct addr address = at("192.0.2.2", 443);

    (void)state;
    assert_int_equal(configured_find(configured, &address, &first), 2);
    assert_string_equal(first[0].name, "b");
    assert_string_equal(first[1].name, "bb");
    address = at("192.0.2.4", 0);
    assert_int_equal(configured_find(configured, &address, &first), 0);
    address = at("192.0.2.0", 0);
    assert_int_equal(configured_find(configured, &address, &first), 0);
}

static void has_bounds(void **state)
{
    CLEANUP(configured_free) struct configured *configured = NULL;
    CLEANUP(text_free) char *text = malloc(CONFIGURED_FILE_MAX);
    const struct configured_host *first;
    struct addr address = at("192.0.2.1", 0);
    size_t len = 0;

    (void)state;
    assert_non_null(text);
    for (unsigned i = 0; len + 64 < CONFIGURED_FILE_MAX; i++)
        len += (size_t)sprintf(text + len, "192.0.2.%u name%u.example\n", i < 1000, i);
    configured = configured_parse(span_of(NULL, 0), span_of(text, len));
    assert_int_equal(configured->hosts_len, CONFIGURED_HOSTS_MAX);
    assert_int_equal(configured_find(configured, &address, &first), CONFIGURED_HOSTS_OF_ADDRESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_name_servers),  cmocka_unit_test(reads_hosts),
        cmocka_unit_test(knows_a_name_server), cmocka_unit_test(finds_names_of_an_address),
        cmocka_unit_test(has_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
