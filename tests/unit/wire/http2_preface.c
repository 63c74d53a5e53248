#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/wire/http2_preface.h"

static const struct {
    const char *name;
    struct span bytes;
    int want;
} prefaces[] = {
    {"nothing", BYTES(""), -1},
    {"a letter", BYTES("P"), -1},
    {"a method that may come", BYTES("PRI"), -1},
    {"all but the last byte", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r"), -1},
    {"all of it", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 1},
    {"and a frame behind it", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"), 1},
    {"a request", BYTES("GET / HTTP/1.1\r\n"), 0},
    {"another method in P", BYTES("PO"), 0},
    {"small letters", BYTES("pri * HTTP/2.0\r\n"), 0},
    {"another version", BYTES("PRI * HTTP/2.1\r\n"), 0},
    {"a field behind the line", BYTES("PRI * HTTP/2.0\r\nHost: a\r\n"), 0},
    {"an empty line before it", BYTES("\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 0},
};

static const struct {
    const char *name;
    struct span bytes;
    int want;
} settings[] = {
    {"nothing", BYTES(""), -1},
    {"a byte of the length", BYTES("\0"), -1},
    {"the length", BYTES("\0\0\x12"), -1},
    {"all but the last byte", BYTES("\0\0\x12\4\0\0\0\0"), -1},
    {"no settings", BYTES("\0\0\0\4\0\0\0\0\0"), 1},
    {"three, the first begun", BYTES("\0\0\x12\4\0\0\0\0\0\0\3"), 1},
    {"as long as may be", BYTES("\0\x3f\xfc\4\0\0\0\0\0"), 1},
    {"longer", BYTES("\0\x40\x02"), 0},
    {"a length that settings do not have", BYTES("\0\0\x11\4"), 0},
    {"far too long", BYTES("\1\0\0"), 0},
    {"another frame", BYTES("\0\0\0\1"), 0},
    {"an acknowledgement", BYTES("\0\0\0\4\1\0\0\0\0"), 0},
    {"on a stream", BYTES("\0\0\0\4\0\0\0\0\1"), 0},
    {"a mail server's greeting", BYTES("220 "), 0},
    {"MySQL's greeting", BYTES("\x4a\0\0\0\x0a"), 0},
    {"MySQL's greeting of 256 bytes", BYTES("\0\1\0\0\x0a"), 0},
};

static void knows_how_a_client_begins(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(prefaces); i++) {
        print_message("  %s\n", prefaces[i].name);
        assert_int_equal(http2_looks_like_preface(prefaces[i].bytes), prefaces[i].want);
    }
}

static void knows_how_a_server_begins(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        print_message("  %s\n", settings[i].name);
        assert_int_equal(http2_looks_like_settings(settings[i].bytes), settings[i].want);
    }
}

static void keeps_its_mind(int (*looks)(struct span bytes), struct span all)
{
    int said = looks(span_of(NULL, 0));

    assert_int_equal(said, -1);
    for (size_t len = 1; len <= all.len; len++) {
        int now = looks(span_of(all.data, len));

        assert_true(said == -1 || now == said);
        said = now;
    }
}

/* What is said once is not taken back: -1 until it is known, then the same for ever. */
static void never_changes_its_mind(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(prefaces); i++)
        keeps_its_mind(http2_looks_like_preface, prefaces[i].bytes);
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
        keeps_its_mind(http2_looks_like_settings, settings[i].bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_how_a_client_begins),
        cmocka_unit_test(knows_how_a_server_begins),
        cmocka_unit_test(never_changes_its_mind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
