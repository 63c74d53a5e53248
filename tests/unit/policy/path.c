/* path: what requests ask for, and what servers make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/path.h"

static const struct {
    struct span path, normal;
    unsigned oddities;
} cases[] = {
    {BYTES("/"), BYTES("/"), 0},
    {BYTES("/v1/items"), BYTES("/v1/items"), 0},
    {BYTES("/v1/items/"), BYTES("/v1/items/"), 0},
    {BYTES("*"), BYTES("*"), 0},
    /* encoded without need */
    {BYTES("/%61%2D%2e%5f%7E%30"), BYTES("/a-._~0"), 0},
    {BYTES("/a%20b%3f%c3%a4"), BYTES("/a%20b%3F%C3%A4"), 0},
    {BYTES("/%2561"), BYTES("/%2561"), 0},
    {BYTES("/\xc3\xa4"), BYTES("/\xc3\xa4"), 0},
    {BYTES("/%23"), BYTES("/%23"), 0},
    /* slashes */
    {BYTES("//"), BYTES("/"), 0},
    {BYTES("//a///b//"), BYTES("/a/b/"), 0},
    /* dots */
    {BYTES("/."), BYTES("/"), 0},
    {BYTES("/./"), BYTES("/"), 0},
    {BYTES("/.."), BYTES("/"), 0},
    {BYTES("/../"), BYTES("/"), 0},
    {BYTES("/../../a"), BYTES("/a"), 0},
    {BYTES("/a/./b"), BYTES("/a/b"), 0},
    {BYTES("/a/../b"), BYTES("/b"), 0},
    {BYTES("/a/b/.."), BYTES("/a/"), 0},
    {BYTES("/a/b/../"), BYTES("/a/"), 0},
    {BYTES("/a/b/../.."), BYTES("/"), 0},
    {BYTES("/a/b/."), BYTES("/a/b/"), 0},
    {BYTES("/a/b/c/./../../g"), BYTES("/a/g"), 0},
    {BYTES("/v1/%2e%2E/admin"), BYTES("/admin"), 0},
    {BYTES("/v1/.%2e/admin"), BYTES("/admin"), 0},
    {BYTES("/v1/%252e%252e/admin"), BYTES("/v1/%252e%252e/admin"), 0},
    {BYTES("/.../..a/a../.b"), BYTES("/.../..a/a../.b"), 0},
    {BYTES("/a//./b"), BYTES("/a/b"), 0},
    {BYTES("/a/..//b"), BYTES("/b"), 0},
    /* what is read in more than one way */
    {BYTES("/a%2fb"), BYTES("/a%2Fb"), PATH_ENCODED_SLASH},
    {BYTES("/v1/..%2Fadmin"), BYTES("/v1/..%2Fadmin"), PATH_ENCODED_SLASH},
    {BYTES("/a\\b"), BYTES("/a\\b"), PATH_BACKSLASH},
    {BYTES("/a%5cb"), BYTES("/a%5Cb"), PATH_BACKSLASH},
    {BYTES("/a\0b"), BYTES("/a\0b"), PATH_NUL},
    {BYTES("/a%00b"), BYTES("/a%00b"), PATH_NUL},
    {BYTES("/%00%2f%5c"), BYTES("/%00%2F%5C"), PATH_NUL | PATH_ENCODED_SLASH | PATH_BACKSLASH},
    {BYTES("/a%"), BYTES("/a%"), PATH_MALFORMED},
    {BYTES("/a%4"), BYTES("/a%4"), PATH_MALFORMED},
    {BYTES("/a%4g"), BYTES("/a%4g"), PATH_MALFORMED},
    {BYTES("/%%41"), BYTES("/%A"), PATH_MALFORMED},
    {BYTES("/a#b"), BYTES("/a#b"), PATH_MALFORMED},
    {BYTES(""), BYTES(""), PATH_MALFORMED},
    {BYTES("a/../b"), BYTES("a/../b"), PATH_MALFORMED},
    {BYTES("%2fa"), BYTES("%2Fa"), PATH_MALFORMED | PATH_ENCODED_SLASH},
    {BYTES("/a//../b"), BYTES("/b"), PATH_TWO_WAYS},
    {BYTES("//a/b/../c"), BYTES("/a/c"), PATH_TWO_WAYS},
    {BYTES("/a/..;/b"), BYTES("/a/..;/b"), PATH_TWO_WAYS},
    {BYTES("/a/.;x=1/b"), BYTES("/a/.;x=1/b"), PATH_TWO_WAYS},
    {BYTES("/a/%2e.;"), BYTES("/a/..;"), PATH_TWO_WAYS},
    {BYTES("/a;x=1/...;"), BYTES("/a;x=1/...;"), 0},
};

static void test_normal(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t out[64];
        struct path_normal normal;

        assert_true(path_normalize(cases[i].path, out, sizeof(out), &normal));
        if (!span_equal(normal.path, cases[i].normal) || normal.oddities != cases[i].oddities)
            fail_msg("%.*s is %.*s, %x", (int)cases[i].path.len, (const char *)cases[i].path.data,
                     (int)normal.path.len, (const char *)normal.path.data, normal.oddities);
    }
}

static void test_room(void **state)
{
    uint8_t out[4];
    struct path_normal normal;

    (void)state;
    assert_true(path_normalize(BYTES("/a/b"), out, sizeof(out), &normal));
    assert_false(path_normalize(BYTES("/a/bc"), out, sizeof(out), &normal));
}

static void test_names(void **state)
{
    (void)state;
    assert_null(path_oddity_name(0));
    for (unsigned bit = 0; bit < 5; bit++)
        assert_non_null(path_oddity_name(1U << bit));
    assert_string_equal(path_oddity_name(PATH_NUL | PATH_TWO_WAYS), "a NUL in the path");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normal),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
