#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "proxy/command/compare_options.h"

static void reads_command_lines(void **state)
{
    static const struct {
        const char *name;
        const char *argv[10];
        int want;
        unsigned rounds;
        const char *html, *command;
        bool json;
    } cases[] = {
        {"a command", {"--", "curl"}, 0, 5, NULL, "curl", false},
        {"without the dashes", {"curl", "--rounds", "9"}, 0, 5, NULL, "curl", false},
        {"all of its own",
         {"--rounds=50", "--html", "f", "-o", "json", "--", "curl"},
         0,
         50,
         "f",
         "curl",
         true},
        {"text is said", {"--output", "text", "--", "curl"}, 0, 5, NULL, "curl", false},
        {"exec's, too",
         {"--ports", "all", "--loopback", "--user", "nobody", "--", "curl"},
         0,
         5,
         NULL,
         "curl",
         false},
        {"no command", {"--rounds", "3"}, 3, 0, NULL, NULL, false},
        {"no round", {"--rounds", "0", "--", "a"}, 3, 0, NULL, NULL, false},
        {"too many rounds", {"--rounds", "51", "--", "a"}, 3, 0, NULL, NULL, false},
        {"less than none", {"--rounds", "-1", "--", "a"}, 3, 0, NULL, NULL, false},
        {"no number", {"--rounds", "5x", "--", "a"}, 3, 0, NULL, NULL, false},
        {"exec's form", {"-o", "compact", "--", "a"}, 3, 0, NULL, NULL, false},
        {"a fault of exec's", {"--ports", "x", "--", "a"}, 3, 0, NULL, NULL, false},
        {"the route is ours to choose", {"--route", "proxy", "--", "a"}, 3, 0, NULL, NULL, false},
        {"and the events", {"--events-file", "f", "--", "a"}, 3, 0, NULL, NULL, false},
        {"no other agent", {"--agent", "--", "a"}, 3, 0, NULL, NULL, false},
        {"no such option", {"--frobnicate", "--", "a"}, 3, 0, NULL, NULL, false},
        {"help", {"--help"}, 1, 0, NULL, NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *argv[12] = {(char *)"compare"};
        struct compare_options options;
        int argc = 1;

        print_message("  %s\n", cases[i].name);
        for (; cases[i].argv[argc - 1]; argc++)
            argv[argc] = (char *)cases[i].argv[argc - 1];
        assert_int_equal(compare_options_parse(&options, argc, argv), cases[i].want);
        if (cases[i].want)
            continue;
        assert_int_equal(options.rounds, cases[i].rounds);
        assert_string_equal(options.html ? options.html : "", cases[i].html ? cases[i].html : "");
        assert_string_equal(options.exec.argv[0], cases[i].command);
        assert_int_equal(options.json, cases[i].json);
    }
}

static void takes_what_exec_takes(void **state)
{
    char *argv[] = {
        (char *)"compare", (char *)"--ca", (char *)"d",  (char *)"--policy", (char *)"p",
        (char *)"--ports", (char *)"8080", (char *)"--", (char *)"curl",     NULL};
    struct compare_options options;

    (void)state;
    assert_int_equal(compare_options_parse(&options, (int)ARRAY_SIZE(argv) - 1, argv), 0);
    assert_string_equal(options.exec.ca_dir, "d");
    assert_int_equal(options.exec.policies_len, 1);
    assert_int_equal(options.exec.ports[0], 8080);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_command_lines),
        cmocka_unit_test(takes_what_exec_takes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
