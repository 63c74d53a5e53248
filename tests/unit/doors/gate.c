/* gate: what an accepted connection is, and what is no address to listen at. */
#include "proxy/doors/gate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"

static const uint16_t listening[] = {15001, 15006};

static struct addr parse(const char *text)
{
    struct addr addr = {.port = 0};
    struct err err = {0};

    if (text)
        assert_int_equal(gate_parse(text, &addr, &err), 0);
    return addr;
}

/* Of the host these tests are about. */
static bool is_own(const struct addr *addr)
{
    static const char *const own[] = {"127.0.0.1:1", "192.0.2.1:1", "198.51.100.1:1",
                                      "[2001:db8::1]:1", "[::1]:1"};

    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        struct addr one = parse(own[i]);

        if (memcmp(one.ip, addr->ip, sizeof(one.ip)) == 0)
            return true;
    }
    return false;
}

static const struct {
    const char *name, *local, *original;
    enum gate_way way;
    const char *dst;
} arrivals[] = {
    {"REDIRECT", "192.0.2.1:15001", "203.0.113.10:443", GATE_REDIRECTED, "203.0.113.10:443"},
    {"REDIRECT by IPv6", "[2001:db8::1]:15001", "[2001:db8:2::10]:443", GATE_REDIRECTED,
     "[2001:db8:2::10]:443"},
    {"REDIRECT of the host's own output", "127.0.0.1:15001", "203.0.113.10:80", GATE_REDIRECTED,
     "203.0.113.10:80"},
    {"REDIRECT to a second listener", "192.0.2.1:15006", "203.0.113.10:443", GATE_REDIRECTED,
     "203.0.113.10:443"},
    {"DNAT of another service of this host", "192.0.2.1:15001", "192.0.2.1:443", GATE_REDIRECTED,
     "192.0.2.1:443"},
    {"TPROXY, conntrack agrees", "203.0.113.10:443", "203.0.113.10:443", GATE_TRANSPARENT,
     "203.0.113.10:443"},
    {"TPROXY, no conntrack", "203.0.113.10:443", NULL, GATE_TRANSPARENT, "203.0.113.10:443"},
    {"TPROXY by IPv6", "[2001:db8:2::10]:443", NULL, GATE_TRANSPARENT, "[2001:db8:2::10]:443"},
    {"TPROXY of a stranger's port that is ours here", "203.0.113.10:15001", NULL, GATE_TRANSPARENT,
     "203.0.113.10:15001"},
    {"TPROXY of another service of this host", "192.0.2.1:443", NULL, GATE_TRANSPARENT,
     "192.0.2.1:443"},
    {"to the listener", "192.0.2.1:15001", "192.0.2.1:15001", GATE_ITSELF, "192.0.2.1:15001"},
    {"to the listener, no conntrack", "192.0.2.1:15001", NULL, GATE_ITSELF, "192.0.2.1:15001"},
    {"to the listener by IPv6", "[2001:db8::1]:15001", NULL, GATE_ITSELF, "[2001:db8::1]:15001"},
    {"to the listener by loopback", "127.0.0.1:15001", NULL, GATE_ITSELF, "127.0.0.1:15001"},
    {"to the listener's port at another address of ours, redirected", "192.0.2.1:15001",
     "198.51.100.1:15001", GATE_ITSELF, "198.51.100.1:15001"},
    {"to a second listener, redirected to the first", "192.0.2.1:15001", "192.0.2.1:15006",
     GATE_ITSELF, "192.0.2.1:15006"},
};

static void where_a_connection_was_meant_to_go(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(arrivals); i++) {
        const struct gate_seen seen = {parse(arrivals[i].local), parse(arrivals[i].original)};
        char text[ADDR_TEXT_MAX];
        struct addr dst;

        print_message("  %s\n", arrivals[i].name);
        assert_int_equal(gate_judge(&seen, listening, ARRAY_SIZE(listening), is_own, &dst),
                         arrivals[i].way);
        assert_string_equal(addr_format(&dst, text), arrivals[i].dst);
    }
}

static const struct {
    const char *text, *want; /* NULL: it is refused */
} addresses[] = {
    {"127.0.0.1:15001", "127.0.0.1:15001"},
    {"0.0.0.0:1", "0.0.0.0:1"},
    {"[::]:65535", "[::]:65535"},
    {"[2001:db8::1]:15001", "[2001:db8::1]:15001"},
    {"", NULL},
    {":", NULL},
    {"15001", NULL},
    {":15001", NULL},
    {"127.0.0.1", NULL},
    {"127.0.0.1:", NULL},
    {"127.0.0.1:0", NULL},
    {"127.0.0.1:65536", NULL},
    {"127.0.0.1:99999999999999999999", NULL},
    {"127.0.0.1:+1", NULL},
    {"127.0.0.1: 1", NULL},
    {"127.0.0.1:1x", NULL},
    {"127.1:80", NULL},
    {"localhost:80", NULL},
    {"::1:80", NULL},
    {"[127.0.0.1]:80", NULL},
    {"[::1:80", NULL},
    {"]:80", NULL},
    {"[]:80", NULL},
    {"[:80", NULL},
    {"[fe80::1%eth0]:80", NULL},
    {"[::1]:15001:15001", NULL},
    {"1111111111222222222233333333334444444444555555555566666666667777777777:80", NULL},
};

static void what_can_be_listened_at(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
        struct addr addr = {.port = 7};
        struct err err = {0};
        char text[ADDR_TEXT_MAX];
        int result = gate_parse(addresses[i].text, &addr, &err);

        print_message("  '%s'\n", addresses[i].text);
        assert_int_equal(result, addresses[i].want ? 0 : -EINVAL);
        if (addresses[i].want)
            assert_string_equal(addr_format(&addr, text), addresses[i].want);
        else
            assert_non_null(strstr(err.text, "is no address by number with a port"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_a_connection_was_meant_to_go),
        cmocka_unit_test(what_can_be_listened_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
