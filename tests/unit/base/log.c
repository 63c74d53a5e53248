/* log: one line for whatever is said, in text and in JSON that holds together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/log.h"

static char got[16384];

/* What fn writes to stderr, into got. */
static void capture(void (*fn)(const char *), const char *text)
{
    int old = dup(STDERR_FILENO), ends[2];
    ssize_t n;

    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    fn(text);
    dup2(old, STDERR_FILENO);
    close(old);
    n = read(ends[0], got, sizeof(got) - 1);
    got[n > 0 ? n : 0] = 0;
    close(ends[0]);
}

static void warn(const char *text)
{
    log_warn("%s", text);
}

static void inform(const char *text)
{
    log_info("%s", text);
}

static const struct {
    const char *name;
    void (*fn)(const char *);
    const char *say, *text, *json; /* json: behind the time */
} cases[] = {
    {"a warning", warn, "a", "sallyport: warning: a\n", "\"level\":\"warn\",\"msg\":\"a\"}\n"},
    {"news", inform, "a", "sallyport: a\n", "\"level\":\"info\",\"msg\":\"a\"}\n"},
    {"quotes and controls", inform, "\"a\\b\"\x1b[2J\x7f", "sallyport: \"a\\b\"?[2J?\n",
     "\"level\":\"info\",\"msg\":\"\\\"a\\\\b\\\"?[2J?\"}\n"},
    {"two lines in one", inform, "a\nb", "sallyport: a?b\n",
     "\"level\":\"info\",\"msg\":\"a\\nb\"}\n"},
    {"letters of more bytes", inform, "\xc3\xbc\xf0\x9f\x9a\x80",
     "sallyport: \xc3\xbc\xf0\x9f\x9a\x80\n",
     "\"level\":\"info\",\"msg\":\"\xc3\xbc\xf0\x9f\x9a\x80\"}\n"},
    {"bytes that are no letters", inform, "\xff\xc0\x80\xed\xa0\x80\xc3",
     "sallyport: \xff\xc0\x80\xed\xa0\x80\xc3\n", "\"level\":\"info\",\"msg\":\"???????\"}\n"},
    {"a story", log_story, "f:1:1: error: x\n    a\n    ^\n", "f:1:1: error: x\n    a\n    ^\n",
     "\"level\":\"error\",\"msg\":\"f:1:1: error: x\\n    a\\n    ^\\n\"}\n"},
};

static void says_it_in_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("  %s\n", cases[i].name);
        capture(cases[i].fn, cases[i].say);
        assert_string_equal(got, cases[i].text);
    }
}

static void says_it_in_json(void **state)
{
    (void)state;
    log_set_json(true);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("  %s\n", cases[i].name);
        capture(cases[i].fn, cases[i].say);
        assert_memory_equal(got, "{\"time\":\"20", 11);
        assert_int_equal(got[38], 'Z'); /* nanoseconds */
        assert_string_equal(got + 41, cases[i].json);
    }
    log_set_json(false);
}

static void a_line_has_its_bounds(void **state)
{
    static char much[9000];

    (void)state;
    memset(much, '"', sizeof(much) - 1);
    for (int json = 0; json < 2; json++) {
        log_set_json(json);
        capture(inform, much);
        assert_true(strlen(got) > 1000 && strlen(got) <= 4096);
        assert_int_equal(got[strlen(got) - 1], '\n');
        capture(log_story, much);
        assert_true(strlen(got) > 1000 && strlen(got) <= 4096);
        assert_int_equal(got[strlen(got) - 1], '\n');
    }
    log_set_json(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_it_in_text),
        cmocka_unit_test(says_it_in_json),
        cmocka_unit_test(a_line_has_its_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
