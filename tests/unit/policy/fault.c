/* fault: how faults are told, whatever stands in the line. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "policy/fault.h"

#define TEN     "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static const struct {
    const char *name;
    struct span bytes;
    struct mark mark;
    const char *want;
} cases[] = {
    {"the file as a whole", BYTES("a"), {0, 0}, "f: error: x\n"},
    {"the first character", BYTES("a: b\n"), {1, 1}, "f:1:1: error: x\n    a: b\n    ^\n"},
    {"behind the last", BYTES("a: b"), {1, 5}, "f:1:5: error: x\n    a: b\n        ^\n"},
    {"a line in the middle", BYTES("a\nbc\nd"), {2, 2}, "f:2:2: error: x\n    bc\n     ^\n"},
    {"a line that is not there", BYTES("a\n"), {7, 1}, "f:7:1: error: x\n    \n    ^\n"},
    {"a tab before it", BYTES("a\tb"), {1, 3}, "f:1:3: error: x\n    a\tb\n     \t^\n"},
    {"letters of two bytes before it",
     BYTES("\xc3\xbc\xc3\xbc: b"),
     {1, 4},
     "f:1:4: error: x\n    \xc3\xbc\xc3\xbc: b\n       ^\n"},
    {"an escape sequence",
     BYTES("\x1b[2J \xc2\x9b"),
     {1, 1},
     "f:1:1: error: x\n    ?[2J ?\n    ^\n"},
    {"every line's end",
     BYTES("a\rb\r\nc\xc2\x85"
           "d\xe2\x80\xa8"
           "e\xe2\x80\xa9"
           "f"),
     {6, 1},
     "f:6:1: error: x\n    f\n    ^\n"},
    {"a long line",
     BYTES(HUNDRED "x" HUNDRED),
     {1, 101},
     "f:1:101: error: x\n    " TEN TEN TEN TEN TEN TEN "x" TEN TEN TEN "012345678\n"
     "                                                                ^\n"},
};

static void shows_the_line_and_a_caret(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(faults_fini) struct faults faults = {0};
        CLEANUP(text_free) char *told = NULL;

        print_message("  %s\n", cases[i].name);
        faults_add(&faults, cases[i].mark, "x");
        told = faults_tell(&faults, "f", cases[i].bytes);
        assert_string_equal(told, cases[i].want);
    }
}

static void tells_them_by_place(void **state)
{
    CLEANUP(faults_fini) struct faults faults = {0};
    CLEANUP(text_free) char *told = NULL;
    struct err err;

    (void)state;
    faults_add(&faults, (struct mark){2, 3}, "third");
    faults_add(&faults, (struct mark){2, 1}, "second");
    faults_add(&faults, (struct mark){2, 3}, "fourth");
    faults_add(&faults, (struct mark){0, 0}, "first");
    told = faults_tell(&faults, "f", BYTES("\nabc"));
    assert_string_equal(told, "f: error: first\n"
                              "f:2:1: error: second\n    abc\n    ^\n"
                              "f:2:3: error: third\n    abc\n      ^\n"
                              "f:2:3: error: fourth\n    abc\n      ^\n");
    faults_summary(&faults, "f", &err);
    assert_string_equal(err.text, "4 faults in f, the first: f: error: first");
}

static void sums_up_one(void **state)
{
    CLEANUP(faults_fini) struct faults faults = {0};
    struct err err;

    (void)state;
    faults_add(&faults, (struct mark){2, 3}, "no %s", "verdict");
    faults_summary(&faults, "f", &err);
    assert_string_equal(err.text, "f:2:3: error: no verdict");
    assert_int_equal(err.code, -EINVAL);
}

/* They hold what the file holds, and that may be an escape sequence, or cut inside a letter. */
static void tells_nothing_to_a_terminal(void **state)
{
    CLEANUP(faults_fini) struct faults faults = {0};
    CLEANUP(text_free) char *told = NULL;

    (void)state;
    faults_add(&faults, (struct mark){0}, "%s; '%.1s' %s", "\x1b[2J\n\t\x7f\xc2\x9b", "\xc3\xbc",
               "\xc3\xbc");
    told = faults_tell(&faults, "f", BYTES(""));
    assert_string_equal(told, "f: error: ?[2J?????; '?' \xc3\xbc\n");
}

static void counts_those_that_are_too_many(void **state)
{
    CLEANUP(faults_fini) struct faults faults = {0};
    CLEANUP(text_free) char *told = NULL;

    (void)state;
    for (unsigned i = 0; i < FAULTS_MAX + 7; i++)
        faults_add(&faults, (struct mark){1, 1}, "x");
    told = faults_tell(&faults, "f", BYTES("a"));
    assert_int_equal(faults_count(&faults), FAULTS_MAX + 7);
    assert_non_null(strstr(told, "f: error: and 7 more faults\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_the_line_and_a_caret),
        cmocka_unit_test(tells_them_by_place),
        cmocka_unit_test(sums_up_one),
        cmocka_unit_test(tells_nothing_to_a_terminal),
        cmocka_unit_test(counts_those_that_are_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
