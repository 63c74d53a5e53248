#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "events/buffer.h"

static void formats_texts_of_every_length(void **state)
{
    CLEANUP(buffer_fini) struct buffer out = {0};
    char text[300];

    (void)state;
    memset(text, 'x', sizeof(text));
    for (int len = 0; len < (int)sizeof(text); len++) {
        size_t before = out.len;

        buffer_format(&out, "%.*s", len, text);
        assert_int_equal(out.len - before, len);
        assert_memory_equal(out.data + before, text, (size_t)len);
    }
}

static void appends_what_it_is_given(void **state)
{
    CLEANUP(buffer_fini) struct buffer out = {0};

    (void)state;
    buffer_append(&out, NULL, 0);
    assert_int_equal(out.len, 0);
    buffer_append(&out, "a\0b", 3);
    buffer_text(&out, "");
    buffer_text(&out, "cd");
    assert_int_equal(out.len, 5);
    assert_memory_equal(out.data, "a\0bcd", 5);
}

/* Appends of more than there can be stand for those there is no memory for. */
static void stays_as_it_is_once_it_failed(void **state)
{
    CLEANUP(buffer_fini) struct buffer out = {0};

    (void)state;
    buffer_text(&out, "kept");
    buffer_append(&out, "x", SIZE_MAX - 1);
    assert_true(out.failed);
    buffer_text(&out, "more");
    buffer_format(&out, "%d", 1);
    assert_int_equal(out.len, 4);
    assert_memory_equal(out.data, "kept", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_texts_of_every_length),
        cmocka_unit_test(appends_what_it_is_given),
        cmocka_unit_test(stays_as_it_is_once_it_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
