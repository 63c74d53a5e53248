/* match: names and networks as settings write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>

#include "base/cleanup.h"
#include "policy/match.h"

static const struct {
    const char *pattern, *name;
    bool fits;
} names[] = {
    {"ebpf.io", "ebpf.io", true},
    {"ebpf.io", "EBPF.io", true},
    {"Ebpf.IO", "ebpf.io", true},
    {"ebpf.io", "ebpf.io.", true},
    {"ebpf.io.", "ebpf.io", true},
    {"ebpf.io", "ebpf.io..", false},
    {"ebpf.io", "www.ebpf.io", false},
    {"ebpf.io", "xebpf.io", false},
    {"ebpf.io", "ebpf.io.evil.test", false},
    {"ebpf.io", "ebpfxio", false},
    {"ebpf.io", "", false},
    {"ebpf.io", ".", false},
    {"*.ebpf.io", "www.ebpf.io", true},
    {"*.ebpf.io", "WWW.ebpf.io.", true},
    {"*.ebpf.io", "_dns-1.ebpf.io", true},
    {"*.ebpf.io", "ebpf.io", false},
    {"*.ebpf.io", ".ebpf.io", false},
    {"*.ebpf.io", "a.b.ebpf.io", false},
    {"*.ebpf.io", "a b.ebpf.io", false},
    {"**.ebpf.io", "www.ebpf.io", true},
    {"**.ebpf.io", "a.b.ebpf.io", true},
    {"**.ebpf.io", "ebpf.io", false},
    {"**.ebpf.io", ".ebpf.io", false},
    {"**.ebpf.io", "xebpf.io", false},
    {"**.*.io", "a.b.io", true},
    {"**.*.io", "b.io", false},
    {"*", "ebpf.io", true},
    {"*", "a", true},
    {"*", "", false},
    {"*.*", "ebpf.io", true},
    {"*.*", "a.ebpf.io", false},
    {"api-*.ebpf.io", "api-7.ebpf.io", true},
    {"api-*.ebpf.io", "api-.ebpf.io", true},
    {"api-*.ebpf.io", "api.ebpf.io", false},
    {"*a*b*.io", "xxaxxbxx.io", true},
    {"*a*b*.io", "bbba.io", false},
    {"*ab.io", "aaab.io", true},
    {"*ab.io", "aba.io", false},
    {"*a*a*a*a*a*a*a*a*a*b.io", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.io", false},
};

static const struct {
    const char *pattern;
    bool fine;
} patterns[] = {
    {"ebpf.io", true},
    {"ebpf.io.", true},
    {"*", true},
    {"*.ebpf.io", true},
    {"**.ebpf.io", true},
    {"a*b.io", true},
    {"localhost", true},
    {"**.*.io", true},
    {"", false},
    {".", false},
    {".ebpf.io", false},
    {"ebpf..io", false},
    {"ebpf io", false},
    {"**", false},
    {"**.", false},
    {"a**.io", false},
    {"*.**.io", false},
    {"**.**.io", false},
    {"**.*", false},
    {"https://ebpf.io", false},
    {"ebpf.io:443", false},
    {"b\xc3\xbc.de", false},
};

static const struct {
    const char *cidr, *address;
    bool fine, fits;
} networks[] = {
    {"203.0.113.0/24", "203.0.113.10", true, true},
    {"203.0.113.0/24", "203.0.114.10", true, false},
    {"203.0.113.10", "203.0.113.10", true, true},
    {"203.0.113.10", "203.0.113.11", true, false},
    {"203.0.113.128/25", "203.0.113.129", true, true},
    {"203.0.113.128/25", "203.0.113.127", true, false},
    {"0.0.0.0/0", "203.0.113.1", true, true},
    {"0.0.0.0/0", "2001:db8::1", true, false},
    {"2001:db8::/32", "2001:db8:1::1", true, true},
    {"2001:db8::/32", "2001:db9::1", true, false},
    {"2001:db8::1", "2001:db8::1", true, true},
    {"::/0", "2001:db8::1", true, true},
    {"::/0", "203.0.113.1", true, false},
    {"0.0.0.0/0", "203.0.113.1", true, true},
    {"0.0.0.0/0", "2001:db8::1", true, false},
    {"::ffff:0:0/96", "203.0.113.1", true, true},
    {"203.0.113.7/24", "", false, false},
    {"203.0.113.0/33", "", false, false},
    {"203.0.113.0/", "", false, false},
    {"203.0.113.0/+8", "", false, false},
    {"203.0.113.0/8x", "", false, false},
    {"203.0.113/24", "", false, false},
    {"2001:db8::/129", "", false, false},
    {"ebpf.io", "", false, false},
    {"", "", false, false},
};

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (match_pattern(names[i].pattern, names[i].name) != names[i].fits)
            fail_msg("'%s' and '%s'", names[i].pattern, names[i].name);
}

static void test_patterns(void **state)
{
    char endless[400];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(patterns); i++)
        if (match_pattern_ok(patterns[i].pattern) != patterns[i].fine)
            fail_msg("'%s'", patterns[i].pattern);
    for (size_t i = 0; i < sizeof(endless) - 1; i++)
        endless[i] = i % 2 ? '.' : 'a';
    endless[sizeof(endless) - 1] = 0;
    assert_false(match_pattern_ok(endless));
    assert_false(match_pattern("*", endless));
}

static void test_networks(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(networks); i++) {
        struct match_cidr cidr, address;

        if (match_cidr_parse(networks[i].cidr, &cidr) != networks[i].fine)
            fail_msg("%s", networks[i].cidr);
        if (!networks[i].fine)
            continue;
        assert_true(match_cidr_parse(networks[i].address, &address));
        if (match_cidr(&cidr, &address.network) != networks[i].fits)
            fail_msg("%s and %s", networks[i].cidr, networks[i].address);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_networks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
