#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/span.h"
#include "proxy/capture/captures.h"
#include "proxy/command/capture_options.h"

static void reads_sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t want; /* 0: it is none */
    } cases[] = {
        {"1", 1},
        {"4Ki", 4096},
        {"500k", 500000},
        {"20Mi", 20971520},
        {"10G", 10000000000},
        {"", 0},
        {"0", 0},
        {"0M", 0},
        {"M", 0},
        {"-1", 0},
        {"+1", 0},
        {" 1", 0},
        {"1 M", 0},
        {"1MB", 0},
        {"1K", 0},
        {"11G", 0},
        {"10000000001", 0},
        {"18446744073709551617", 0},
        {"18446744073709551617G", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t bytes = 0;

        print_message("  '%s'\n", cases[i].text);
        assert_int_equal(capture_size_parse(cases[i].text, CAPTURE_BYTES_MAX, &bytes),
                         cases[i].want > 0);
        assert_int_equal(bytes, cases[i].want);
    }
}

static void reads_command_lines(void **state)
{
    static const struct {
        const char *name;
        const char *argv[8];
        int want;
        const char *space, *pod, *what;
        time_t seconds;
    } cases[] = {
        {"packets", {"--pod", "a/b", "--pcap", "f"}, 0, "a", "b", "pcap", CAPTURE_SECONDS},
        {"keys for an hour", {"--pod=b", "--keys=f", "--for=1h"}, 0, "", "b", "keys", 3600},
        {"no pod", {"--pcap", "f"}, 3, NULL, NULL, NULL, 0},
        {"a pod without a name", {"--pod", "a/", "--pcap", "f"}, 3, NULL, NULL, NULL, 0},
        {"no file", {"--pod", "a/b"}, 3, NULL, NULL, NULL, 0},
        {"two files", {"--pod", "b", "--pcap", "f", "--keys", "g"}, 3, NULL, NULL, NULL, 0},
        {"longer than may be",
         {"--pod", "b", "--keys", "f", "--for", "61m"},
         3,
         NULL,
         NULL,
         NULL,
         0},
        {"no time at all", {"--pod", "b", "--keys", "f", "--for", "0s"}, 3, NULL, NULL, NULL, 0},
        {"no size", {"--pod", "b", "--keys", "f", "--max-size", "big"}, 3, NULL, NULL, NULL, 0},
        {"a word too many", {"--pod", "b", "--keys", "f", "g"}, 3, NULL, NULL, NULL, 0},
        {"help", {"--help"}, 1, NULL, NULL, NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct capture_options options;
        const char *argv[10] = {"capture"};
        int argc = 1;

        print_message("  %s\n", cases[i].name);
        while (cases[i].argv[argc - 1]) {
            argv[argc] = cases[i].argv[argc - 1];
            argc++;
        }
        assert_int_equal(capture_options_parse(&options, argc, (char **)argv), cases[i].want);
        if (cases[i].want)
            continue;
        assert_string_equal(options.space, cases[i].space);
        assert_string_equal(options.pod, cases[i].pod);
        assert_string_equal(options.what, cases[i].what);
        assert_string_equal(options.file, "f");
        assert_int_equal(options.seconds, cases[i].seconds);
        assert_int_equal(options.bytes, CAPTURE_BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_sizes),
        cmocka_unit_test(reads_command_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
