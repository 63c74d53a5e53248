#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "events/quote.h"

static const struct {
    const char *name;
    struct span text;
    const char *compact, *json;
} cases[] = {
    {"nothing", BYTES(""), "", "\"\""},
    {"a plain word", BYTES("/usr/bin/curl"), "/usr/bin/curl", "\"/usr/bin/curl\""},
    {"a blank", BYTES("a b"), "\"a b\"", "\"a b\""},
    {"quotes alone stay", BYTES("a\"b\\c"), "a\"b\\c", "\"a\\\"b\\\\c\""},
    {"quotes beside a blank", BYTES("a \"b\\"), "\"a \\\"b\\\\\"", "\"a \\\"b\\\\\""},
    {"a colour", BYTES("\x1b[31mred"), "\"\\x1b[31mred\"", "\"\\u001b[31mred\""},
    {"the short escapes", BYTES("\a\b\f\n\r\t\v"), "\"\\a\\b\\f\\n\\r\\t\\v\"",
     "\"\\u0007\\b\\f\\n\\r\\t\\u000b\""},
    {"NUL", BYTES("a\0b"), "\"a\\x00b\"", "\"a\\u0000b\""},
    {"DEL", BYTES("\x7f"), "\"\\x7f\"", "\"\\u007f\""},
    {"letters of other scripts", BYTES("\xc3\xbc\xe4\xb8\xad"), "\xc3\xbc\xe4\xb8\xad",
     "\"\xc3\xbc\xe4\xb8\xad\""},
    {"a pictogram", BYTES("\xf0\x9f\x9a\x80"), "\xf0\x9f\x9a\x80", "\"\xf0\x9f\x9a\x80\""},
    {"C1: the one-character CSI",
     BYTES("\xc2\x9b"
           "2J"),
     "\"\\u009b2J\"", "\"\\u009b2J\""},
    {"C1 first and last", BYTES("\xc2\x80\xc2\x9f"), "\"\\u0080\\u009f\"", "\"\\u0080\\u009f\""},
    {"a no-break space", BYTES("\xc2\xa0"), "\"\\u00a0\"", "\"\\u00a0\""},
    {"behind the no-break space", BYTES("\xc2\xa1"), "\xc2\xa1", "\"\xc2\xa1\""},
    {"right-to-left override", BYTES("\xe2\x80\xae"), "\"\\u202e\"", "\"\\u202e\""},
    {"a bidirectional isolate", BYTES("\xe2\x81\xa6"), "\"\\u2066\"", "\"\\u2066\""},
    {"zero-width space", BYTES("\xe2\x80\x8b"), "\"\\u200b\"", "\"\\u200b\""},
    {"byte order mark", BYTES("\xef\xbb\xbf"), "\"\\ufeff\"", "\"\\ufeff\""},
    {"line separator", BYTES("\xe2\x80\xa8"), "\"\\u2028\"", "\"\\u2028\""},
    {"a tag character", BYTES("\xf3\xa0\x81\x81"), "\"\\U000e0041\"", "\"\\udb40\\udc41\""},
    {"the last code point", BYTES("\xf4\x8f\xbf\xbf"), "\"\\U0010ffff\"", "\"\\udbff\\udfff\""},
    {"past the last code point", BYTES("\xf4\x90\x80\x80"), "\"\\xf4\\x90\\x80\\x80\"",
     "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    {"a lone continuation", BYTES("a\x9b"), "\"a\\x9b\"", "\"a\xef\xbf\xbd\""},
    {"cut short", BYTES("\xe2\x80"), "\"\\xe2\\x80\"", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
    {"cut short by a letter",
     BYTES("\xe2"
           "ab"),
     "\"\\xe2ab\"",
     "\"\xef\xbf\xbd"
     "ab\""},
    {"an overlong slash", BYTES("\xc0\xaf"), "\"\\xc0\\xaf\"", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
    {"an overlong escape", BYTES("\xe0\x80\x9b"), "\"\\xe0\\x80\\x9b\"",
     "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    {"half a surrogate pair", BYTES("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\"",
     "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    {"five bytes", BYTES("\xf8\x88\x80\x80\x80"), "\"\\xf8\\x88\\x80\\x80\\x80\"",
     "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    {"a replacement character of its own", BYTES("\xef\xbf\xbd"), "\xef\xbf\xbd",
     "\"\xef\xbf\xbd\""},
};

static void quotes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(buffer_fini) struct buffer compact = {0}, json = {0};

        print_message("  %s\n", cases[i].name);
        quote_text(&compact, cases[i].text);
        buffer_append(&compact, "", 1);
        assert_string_equal(compact.data, cases[i].compact);
        quote_json(&json, cases[i].text);
        buffer_append(&json, "", 1);
        assert_string_equal(json.data, cases[i].json);
    }
}

/* Whatever comes in: no control, no ESC, nothing that is not UTF-8 gets out. */
static void lets_no_control_out(void **state)
{
    (void)state;
    for (uint32_t pair = 0; pair < 0x10000; pair++) {
        CLEANUP(buffer_fini) struct buffer out = {0};
        uint8_t text[] = {'x', (uint8_t)(pair >> 8), (uint8_t)pair, 'y'};

        quote_text(&out, span_of(text, sizeof(text)));
        quote_json(&out, span_of(text, sizeof(text)));
        for (size_t i = 0; i < out.len; i++) {
            uint8_t c = (uint8_t)out.data[i], next = i + 1 < out.len ? (uint8_t)out.data[i + 1] : 0;

            assert_true(c >= 0x20 && c != 0x7f);
            assert_false(c == 0xc2 && next < 0xa0);
        }
    }
}

static void quotes_long_texts_whole(void **state)
{
    CLEANUP(buffer_fini) struct buffer out = {0};
    static uint8_t text[1 << 20];

    (void)state;
    memset(text, 0x1b, sizeof(text));
    quote_text(&out, span_of(text, sizeof(text)));
    assert_int_equal(out.len, sizeof(text) * 4 + 2);
    assert_memory_equal(out.data + out.len - 5, "\\x1b\"", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes),
        cmocka_unit_test(lets_no_control_out),
        cmocka_unit_test(quotes_long_texts_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
