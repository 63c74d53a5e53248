/* span: the bounded reader never reads past its end, and moves only when it succeeds. */
#include "base/cleanup.h"
#include "base/span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct {
    const char *name;
    struct span bytes;
    size_t width; /* of the number, or of the length before a vector */
    bool number_ok;
    uint32_t number;
    bool vector_ok;
    struct span vector;
    size_t left; /* behind the vector */
} cases[] = {
    {"nothing", BYTES(""), 1, false, 0, false, BYTES(""), 0},
    {"one byte", BYTES("\x05"), 1, true, 5, false, BYTES(""), 0},
    {"a number cut short", BYTES("\x01"), 2, false, 0, false, BYTES(""), 0},
    {"network order", BYTES("\x01\x02"), 2, true, 0x0102, false, BYTES(""), 0},
    {"three bytes, as in a handshake", BYTES("\x00\x00\x02ok!"), 3, true, 2, true, BYTES("ok"), 1},
    {"four bytes, highest bit set", BYTES("\xff\xff\xff\xff"), 4, true, 0xffffffff, false,
     BYTES(""), 0},
    {"an empty vector", BYTES("\x00rest"), 1, true, 0, true, BYTES(""), 4},
    {"a vector to the last byte",
     BYTES("\x00\x03"
           "abc"),
     2, true, 3, true, BYTES("abc"), 0},
    {"a vector one byte short",
     BYTES("\x00\x04"
           "abc"),
     2, true, 4, false, BYTES(""), 0},
    {"a vector with a NUL inside",
     BYTES("\x03"
           "a\0b"),
     1, true, 3, true, BYTES("a\0b"), 0},
};

/* Each case lies in memory of exactly its size, so that one byte too many is seen. */
static void reads_no_further_than_its_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(text_free) char *exact = malloc(cases[i].bytes.len ? cases[i].bytes.len : 1);
        struct span from = {(uint8_t *)exact, cases[i].bytes.len}, vector = {0};
        uint32_t number = 0;

        print_message("  %s\n", cases[i].name);
        assert_non_null(exact);
        memcpy(exact, cases[i].bytes.data, cases[i].bytes.len);

        assert_int_equal(span_take_uint(&from, cases[i].width, &number), cases[i].number_ok);
        if (cases[i].number_ok)
            assert_int_equal(number, cases[i].number);
        assert_int_equal(from.len, cases[i].bytes.len - (cases[i].number_ok ? cases[i].width : 0));

        from = (struct span){(uint8_t *)exact, cases[i].bytes.len};
        assert_int_equal(span_take_vector(&from, cases[i].width, &vector), cases[i].vector_ok);
        if (cases[i].vector_ok) {
            assert_true(span_equal(vector, cases[i].vector));
            assert_int_equal(from.len, cases[i].left);
        } else {
            assert_ptr_equal(from.data, exact);
            assert_int_equal(from.len, cases[i].bytes.len);
        }
    }
}

static const struct {
    const char *name;
    struct span span;
    const char *text;
    bool same;
} names[] = {
    {"same letters", BYTES("host"), "host", true},
    {"other case", BYTES("Content-LENGTH"), "content-length", true},
    {"shorter", BYTES("hos"), "host", false},
    {"longer", BYTES("hosts"), "host", false},
    {"both empty", BYTES(""), "", true},
    {"a NUL ends only the text", BYTES("host\0"), "host", false},
    {"only letters have a case", BYTES("a[b"), "a{b", false},
};

static void compares_names_without_regard_to_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        print_message("  %s\n", names[i].name);
        assert_int_equal(span_equal_nocase(names[i].span, names[i].text), names[i].same);
    }
}

static const struct {
    const char *name;
    struct span span;
    size_t size;
    bool ok;
    const char *text;
} texts[] = {
    {"fits", BYTES("abc"), 4, true, "abc"},
    {"no room for the NUL", BYTES("abc"), 3, false, ""},
    {"a NUL of its own", BYTES("a\0c"), 8, false, ""},
    {"empty", BYTES(""), 1, true, ""},
};

static void a_name_is_copied_whole_or_not_at_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        char out[8] = "old";

        print_message("  %s\n", texts[i].name);
        assert_int_equal(span_to_text(texts[i].span, out, texts[i].size), texts[i].ok);
        assert_string_equal(out, texts[i].text);
    }
    assert_false(span_to_text(BYTES(""), NULL, 0));
}

static void a_missing_text_is_an_empty_span(void **state)
{
    (void)state;
    assert_int_equal(span_of_text(NULL).len, 0);
    assert_true(span_equal(span_of_text("abc"), BYTES("abc")));
    assert_true(span_equal(span_of(NULL, 0), BYTES("")));
    assert_false(span_equal(BYTES("abc"), BYTES("abd")));
    assert_false(span_equal(BYTES("abc"), BYTES("ab")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_no_further_than_its_end),
        cmocka_unit_test(compares_names_without_regard_to_case),
        cmocka_unit_test(a_name_is_copied_whole_or_not_at_all),
        cmocka_unit_test(a_missing_text_is_an_empty_span),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
