#include "proxy/command/ca_options.h"

#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

#define USUAL "/var/lib/sallyport/ca"

static void durations_have_a_unit_and_an_end(void **state)
{
    static const struct {
        const char *text;
        time_t want; /* -1: none */
    } cases[] = {
        {"0s", 0},
        {"1s", 1},
        {"90m", 5400},
        {"24h", 86400},
        {"30d", 2592000},
        {"2592000s", 2592000},
        {"", -1},
        {"24", -1},
        {"h", -1},
        {"24hours", -1},
        {"-1h", -1},
        {" 1h", -1},
        {"1 h", -1},
        {"1.5h", -1},
        {"31d", -1},
        {"2592001s", -1},
        {"721h", -1},
        {"18446744073709551617s", -1},
        {"99999999999999999999d", -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        time_t seconds = -1;
        bool is = ca_duration_parse(cases[i].text, CA_OVERLAP_MAX, &seconds);

        print_message("  '%s'\n", cases[i].text);
        assert_int_equal(is, cases[i].want >= 0);
        assert_int_equal(seconds, cases[i].want);
    }
}

static void options_belong_to_what_is_done(void **state)
{
    static const struct {
        const char *words[6];
        int want; /* of ca_options_parse() */
        const char *dir;
    } cases[] = {
        {{"init"}, 0, USUAL},
        {{"init", "/x"}, 0, "/x"},
        {{"init", "--ca", "/x"}, 0, "/x"},
        {{"--ca", "/x", "init"}, 0, "/x"},
        {{"init", "--ca", "/x", "/y"}, 3, NULL},
        {{"show"}, 0, USUAL},
        {{"show", "-o", "json"}, 0, USUAL},
        {{"show", "-o", "xml"}, 3, NULL},
        {{"show", "/x"}, 3, NULL},
        {{"show", "--now"}, 3, NULL},
        {{"bundle", "--ca=/x"}, 0, "/x"},
        {{"bundle", "-o", "json"}, 3, NULL},
        {{"rotate", "--overlap", "7d"}, 0, USUAL},
        {{"rotate", "--overlap", "7"}, 3, NULL},
        {{"rotate", "--now"}, 0, USUAL},
        {{"rotate", "--now", "--overlap", "7d"}, 3, NULL},
        {{"init", "--overlap", "7d"}, 3, NULL},
        {{"make"}, 3, NULL},
        {{NULL}, 3, NULL},
        {{"--help"}, 1, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *argv[8] = {(char *)"ca"};
        struct ca_options options;
        int argc = 1;

        for (; cases[i].words[argc - 1]; argc++)
            argv[argc] = (char *)cases[i].words[argc - 1];
        optind = 0; /* getopt begins anew */
        assert_int_equal(ca_options_parse(&options, argc, argv), cases[i].want);
        if (cases[i].dir)
            assert_string_equal(options.dir, cases[i].dir);
    }
}

static void the_usual_directory_is_systemds(void **state)
{
    static const struct {
        const char *state_directory, *want;
    } cases[] = {
        {"/var/lib/private/sallyport", "/var/lib/private/sallyport/ca"},
        {"/one:/two", "/one/ca"},
        {"", USUAL},
        {":/two", USUAL},
        {NULL, USUAL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (cases[i].state_directory)
            setenv("STATE_DIRECTORY", cases[i].state_directory, 1);
        else
            unsetenv("STATE_DIRECTORY");
        assert_string_equal(ca_default_dir(), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_have_a_unit_and_an_end),
        cmocka_unit_test(the_usual_directory_is_systemds),
        cmocka_unit_test(options_belong_to_what_is_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
