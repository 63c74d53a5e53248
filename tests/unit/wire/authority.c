/* authority: one form for one host, and no form for what could be two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/wire/authority.h"

#define LABEL "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghij."

static const struct {
    const char *name;
    struct span text;
    const char *host; /* NULL: refused */
    uint16_t port;
} cases[] = {
    {"a name", BYTES("example.com"), "example.com", 0},
    {"in capitals", BYTES("EXAMPLE.com"), "example.com", 0},
    {"with a port", BYTES("example.com:443"), "example.com", 443},
    {"with zeros before the port", BYTES("example.com:00080"), "example.com", 80},
    {"with a port left empty", BYTES("example.com:"), "example.com", 0},
    {"with the root's dot", BYTES("example.com."), "example.com", 0},
    {"with both", BYTES("example.com.:80"), "example.com", 80},
    {"a label alone", BYTES("localhost"), "localhost", 0},
    {"an underscore", BYTES("a_b.example"), "a_b.example", 0},
    {"a hyphen in front", BYTES("-a.example"), "-a.example", 0},
    {"IPv4", BYTES("192.0.2.1:1"), "192.0.2.1", 1},
    {"IPv6", BYTES("[2001:DB8::1]"), "[2001:db8::1]", 0},
    {"IPv6 with a port", BYTES("[::ffff:192.0.2.1]:65535"), "[::ffff:192.0.2.1]", 65535},
    {"as long as names get", BYTES(LABEL LABEL LABEL LABEL),
     LABEL LABEL LABEL "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghij", 0},
    {"longer", BYTES(LABEL LABEL LABEL LABEL LABEL), NULL, 0},
    {"nothing", BYTES(""), NULL, 0},
    {"the root alone", BYTES("."), NULL, 0},
    {"a port alone", BYTES(":80"), NULL, 0},
    {"two dots at the end", BYTES("a.."), NULL, 0},
    {"two dots inside", BYTES("a..b"), NULL, 0},
    {"a dot in front", BYTES(".a"), NULL, 0},
    {"a port too high", BYTES("a:65536"), NULL, 0},
    {"a port too long", BYTES("a:000080"), NULL, 0},
    {"a port of letters", BYTES("a:http"), NULL, 0},
    {"a port with a sign", BYTES("a:+80"), NULL, 0},
    {"two ports", BYTES("a:80:80"), NULL, 0},
    {"IPv6 without brackets", BYTES("2001:db8::1"), NULL, 0},
    {"IPv6 without its bracket", BYTES("[2001:db8::1"), NULL, 0},
    {"brackets around nothing", BYTES("[]"), NULL, 0},
    {"brackets around a name", BYTES("[example.com]"), NULL, 0},
    {"brackets around IPv4", BYTES("[192.0.2.1]"), NULL, 0},
    {"a zone", BYTES("[fe80::1%25eth0]"), NULL, 0},
    {"something behind the bracket", BYTES("[::1]x"), NULL, 0},
    {"a user", BYTES("user@a"), NULL, 0},
    {"a list", BYTES("a,b"), NULL, 0},
    {"a blank", BYTES("a b"), NULL, 0},
    {"percent-encoding", BYTES("%61"), NULL, 0},
    {"a path", BYTES("a/b"), NULL, 0},
    {"a backslash", BYTES("a\\b"), NULL, 0},
    {"beyond ASCII", BYTES("\xc3\xbc"), NULL, 0},
    {"a NUL", BYTES("a\0b"), NULL, 0},
    {"a NUL in brackets", BYTES("[::1\0]"), NULL, 0},
};

static void one_form_for_one_host(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct authority_parts authority = {"untouched", 1};

        print_message("  %s\n", cases[i].name);
        assert_int_equal(authority_parse(cases[i].text, &authority), cases[i].host != NULL);
        if (cases[i].host) {
            assert_string_equal(authority.host, cases[i].host);
            assert_int_equal(authority.port, cases[i].port);
        }
    }
}

static const struct {
    const char *target;
    bool connect;
    const char *want;
} targets[] = {
    {"/", false, NULL},
    {"/http://a/", false, NULL},
    {"*", false, NULL},
    {"", false, NULL},
    {"a", false, NULL},
    {"a:", false, NULL},
    {"a:/", false, NULL},
    {"http://a", false, "a"},
    {"http://a/b?c://d", false, "a"},
    {"http://a?b/c", false, "a"},
    {"http://a:1#b", false, "a:1"},
    {"http://u@a/", false, "u@a"},
    {"http:///", false, ""},
    {"a:443", true, "a:443"},
    {"/a", true, "/a"},
};

static void found_in_a_target(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        struct span found;
        bool any = authority_in_target(span_of_text(targets[i].target), targets[i].connect, &found);

        print_message("  %s\n", targets[i].target);
        assert_int_equal(any, targets[i].want != NULL);
        if (any)
            assert_true(span_equal(found, span_of_text(targets[i].want)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_form_for_one_host),
        cmocka_unit_test(found_in_a_target),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
