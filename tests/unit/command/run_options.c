/* run_options: what a command line means, and that what is wrong with one is seen before anything
 * is done. */
#include <fcntl.h>
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "proxy/command/run_options.h"

enum { WORDS = 8 };

static const struct {
    const char *name;
    const char *words[WORDS];
    int want; /* 0, or the exit status plus one */
    size_t args;
} cases[] = {
    {"nothing", {NULL}, 0, 0},
    {"a file", {"--config", "/a"}, 0, 0},
    {"keys", {"--ca", "/a", "--workers=2", "--loopback"}, 0, 3},
    {"a letter", {"-o", "json", "-ocompact"}, 0, 2},
    {"a list", {"--ports", "443,80", "--passthrough", "a.example,b.example"}, 0, 2},
    {"help", {"--help"}, 1, 0},
    {"no such option", {"--zork"}, 3, 0},
    {"no value", {"--ca"}, 3, 0},
    {"a value for a switch", {"--loopback=yes"}, 3, 0},
    {"a value out of range", {"--workers", "0"}, 3, 1},
    {"a word too many", {"curl", "https://a.example"}, 3, 0},
    {"a word behind --", {"--", "x"}, 3, 0},
};

/* What it says goes nowhere. */
static int parse(struct run_options *options, const char *const words[WORDS])
{
    char *argv[WORDS + 2] = {(char *)"run"};
    int argc = 1, null = open("/dev/null", O_WRONLY | O_CLOEXEC), out = dup(1), err = dup(2),
        result;

    while (argc <= WORDS && words[argc - 1]) {
        argv[argc] = (char *)words[argc - 1];
        argc++;
    }
    optind = 0;
    fflush(stdout);
    dup2(null, 1);
    dup2(null, 2);
    result = run_options_parse(options, argc, argv);
    fflush(stdout);
    dup2(out, 1);
    dup2(err, 2);
    close(null);
    close(out);
    close(err);
    return result;
}

static void says_what_is_wrong_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct run_options options = {0};

        print_message("  %s\n", cases[i].name);
        assert_int_equal(parse(&options, cases[i].words), cases[i].want);
        assert_int_equal(options.args.len, cases[i].args);
    }
}

/* Every key of the table is an option, by its own name in another spelling. */
static void every_key_is_an_option(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_keys_len; i++) {
        const struct config_key *key = &config_keys[i];
        char spelled[64] = "";
        size_t len = 0;

        print_message("  %s\n", key->name);
        for (const char *at = key->name; *at; at++) {
            if (*at >= 'A' && *at <= 'Z')
                spelled[len++] = '-';
            spelled[len++] = (char)(*at | 0x20);
        }
        assert_string_equal(spelled, key->option);
        assert_non_null(key->help);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(config_keys[j].name, key->name);
            assert_true(!key->letter || config_keys[j].letter != key->letter);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_is_wrong_at_once),
        cmocka_unit_test(every_key_is_an_option),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
