/* hello_offers: what follows from a ClientHello that was read: which protocols it offers, and
 * whether it takes a certificate of ours. */
#include "proxy/wire/hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/cleanup.h"

static const struct {
    const char *name;
    struct span alpn;
    const char *protocol;
    bool want;
} offers[] = {
    {"the first", BYTES("\x02h2\x08http/1.1"), "h2", true},
    {"the last", BYTES("\x02h2\x08http/1.1"), "http/1.1", true},
    {"not part of one", BYTES("\x08http/1.1"), "http", false},
    {"not more than one", BYTES("\x04http"), "http/1.1", false},
    {"not across two",
     BYTES("\x01h\x01"
           "2"),
     "h2", false},
    {"by its bytes", BYTES("\x02H2"), "h2", false},
    {"nothing of nothing", BYTES(""), "h2", false},
    {"nothing behind a fault", BYTES("\x09http/1.1"), "http/1.1", false},
};

static void knows_what_is_offered(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(offers); i++) {
        struct hello hello = {.alpn = offers[i].alpn};

        print_message("  %s\n", offers[i].name);
        assert_int_equal(hello_offers(&hello, offers[i].protocol), offers[i].want);
    }
}

/* The extensions, behind what the body offers. */
static const struct {
    const char *name;
    uint16_t version_max;
    struct span ciphers, groups, signatures;
    bool want;
} keys[] = {
    {"1.3 with ECDSA on P-256", 0x0304, BYTES("\x13\x01"), BYTES("\0\x1d"),
     BYTES("\x08\x04\x04\x03"), true},
    {"1.3 with ECDSA on P-384 only", 0x0304, BYTES("\x13\x01\xc0\x2b"), BYTES("\0\x17"),
     BYTES("\x05\x03\x08\x04"), false},
    {"1.3 with RSA only", 0x0304, BYTES("\x13\x01\xc0\x2b"), BYTES("\0\x17"),
     BYTES("\x08\x04\x04\x01"), false},
    {"1.3 without signatures", 0x0304, BYTES("\x13\x01"), BYTES(""), BYTES(""), false},
    {"1.2 with an ECDSA suite", 0x0303, BYTES("\xc0\x2f\xc0\x2b"), BYTES("\0\x1d\0\x17"),
     BYTES("\x04\x01\x04\x03"), true},
    {"1.2 with ECDSA and SHA-512", 0x0303, BYTES("\xcc\xa9"), BYTES(""), BYTES("\x06\x03"), true},
    {"1.2 with RSA suites only", 0x0303, BYTES("\xc0\x2f\0\x9c"), BYTES("\0\x17"),
     BYTES("\x04\x03"), false},
    {"1.2 with RSA signatures only", 0x0303, BYTES("\xc0\x2b"), BYTES("\0\x17"),
     BYTES("\x04\x01\x08\x04"), false},
    {"1.2 with ECDSA and SHA-1 only", 0x0303, BYTES("\xc0\x2b"), BYTES("\0\x17"), BYTES("\x02\x03"),
     false},
    {"1.2 without our curve", 0x0303, BYTES("\xc0\x2b"), BYTES("\0\x1d"), BYTES("\x04\x03"), false},
    {"1.2 without extensions", 0x0303, BYTES("\xc0\x09"), BYTES(""), BYTES(""), true},
    {"1.2 without extensions, RSA only", 0x0303, BYTES("\0\x2f"), BYTES(""), BYTES(""), false},
    {"numbers are not read across two", 0x0303, BYTES("\xab\xc0\x2b\xff"), BYTES(""), BYTES(""),
     false},
};

static void knows_who_takes_our_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        struct hello hello = {.version_max = keys[i].version_max,
                              .ciphers = keys[i].ciphers,
                              .groups = keys[i].groups,
                              .signatures = keys[i].signatures};

        print_message("  %s\n", keys[i].name);
        assert_int_equal(hello_takes_p256(&hello), keys[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_what_is_offered),
        cmocka_unit_test(knows_who_takes_our_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
