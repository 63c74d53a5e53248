/* handover: what one agent writes into a row another one reads out of it; what is none is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "proxy/handover.h"

static void what_is_written_is_read(void **state)
{
    static const struct addr there = {.ip = {0x20, 1, 0xd, 0xb8, [15] = 0xff}, .port = 65535};
    static const uint8_t all[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff};
    json_t *row =
        json_pack("{s:o, s:o, s:o, s:I, s:b}", "to", handover_address(&there), "bytes",
                  handover_bytes(span_of(all, sizeof(all))), "none",
                  handover_bytes(span_of(NULL, 0)), "number", (json_int_t)UINT64_MAX, "flag", 1);
    struct addr addr = {0};
    uint8_t *bytes;
    size_t len;

    (void)state;
    assert_non_null(row);
    assert_true(handover_read_address(json_object_get(row, "to"), &addr));
    assert_memory_equal(&addr, &there, sizeof(addr));
    assert_true(handover_read_bytes(json_object_get(row, "bytes"), &bytes, &len));
    assert_int_equal(len, sizeof(all));
    assert_memory_equal(bytes, all, len);
    free(bytes);
    assert_true(handover_read_bytes(json_object_get(row, "none"), &bytes, &len));
    assert_null(bytes);
    assert_int_equal(len, 0);
    assert_true(handover_number(row, "number") == UINT64_MAX);
    assert_true(handover_flag(row, "flag"));
    json_decref(row);
}

static void what_is_not_said_is_nothing(void **state)
{
    json_t *row = json_pack("{s:i, s:i}", "five", 5, "minus", -1);
    struct addr addr;

    (void)state;
    assert_int_equal(handover_number(row, "other"), 0);
    assert_false(handover_flag(row, "five"));
    assert_int_equal(handover_choice(row, "five", 6), 5);
    assert_int_equal(handover_choice(row, "five", 5), 0);
    assert_int_equal(handover_choice(row, "minus", 5), 0);
    assert_int_equal(handover_number(NULL, "five"), 0);
    assert_false(handover_read_address(row, &addr));
    json_decref(row);
}

static void what_is_none_is_refused(void **state)
{
    static const char *const none[] = {"0", "0g", "0G", "AB", "00 ", "zz", "123"};
    uint8_t *bytes;
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
        json_t *text = json_string(none[i]);
        json_t *address = json_pack("{s:s, s:i}", "ip", none[i], "port", 1);
        struct addr addr;

        print_message("  '%s'\n", none[i]);
        assert_false(handover_read_bytes(text, &bytes, &len));
        assert_null(bytes);
        assert_false(handover_read_address(address, &addr));
        json_decref(text);
        json_decref(address);
    }
    assert_false(handover_read_bytes(NULL, &bytes, &len));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_not_said_is_nothing),
        cmocka_unit_test(what_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
