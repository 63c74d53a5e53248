#include "proxy/identity/arguments.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/cleanup.h"

static const struct {
    const char *name;
    struct span argv;
    const char *want;
} joins[] = {
    {"nothing at all", BYTES(""), ""},
    {"a name alone", BYTES("curl\0"), ""},
    {"a name with a blank is left out too", BYTES("my curl\0-v\0"), "-v"},
    {"an empty name", BYTES("\0-v\0"), "-v"},
    {"two arguments", BYTES("curl\0-v\0https://ebpf.io\0"), "-v https://ebpf.io"},
    {"a blank", BYTES("curl\0-H\0A: b\0x\0"), "-H \"A: b\" x"},
    {"a tab", BYTES("echo\0a\tb\0"), "\"a\tb\""},
    {"a line's end", BYTES("sh\0-c\0a\nb\0"), "-c \"a\nb\""},
    {"an empty argument first", BYTES("echo\0\0x\0"), "\"\" x"},
    {"an empty argument in the middle", BYTES("echo\0x\0\0y\0"), "x \"\" y"},
    {"an empty argument last", BYTES("echo\0x\0\0"), "x \"\""},
    {"nothing but empty arguments", BYTES("\0\0\0\0"), "\"\" \"\" \"\""},
    {"nothing but blanks", BYTES("x\0 \0 \0"), "\" \" \" \""},
    {"quotes inside stay as they are", BYTES("echo\0say \"hi\"\0\"\0"), "\"say \"hi\"\" \""},
    {"cut inside an argument", BYTES("curl\0-v\0https://eb"), "-v https://eb"},
    {"cut inside the name", BYTES("cur"), ""},
    {"bytes that are no text", BYTES("x\0\x1b[31m\xff\0"), "\x1b[31m\xff"},
};

static void arguments_are_joined(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(joins); i++) {
        CLEANUP(text_free) char *got = NULL;

        print_message("  %s\n", joins[i].name);
        got = arguments_join(joins[i].argv);
        assert_non_null(got);
        assert_string_equal(got, joins[i].want);
    }
}

static const struct {
    const char *name, *node;
    uint64_t start_ns;
    uint32_t pid;
    const char *want;
} ids[] = {
    {"one letter of padding", "n1", 12345, 77, "bjE6MTIzNDU6Nzc="},
    {"no padding", "n12", 12345, 77, "bjEyOjEyMzQ1Ojc3"},
    {"two letters of padding", "n123", 12345, 77, "bjEyMzoxMjM0NTo3Nw=="},
    {"an empty node", "", 1, 1, "OjE6MQ=="},
    {"the largest numbers", "n", UINT64_MAX, UINT32_MAX,
     "bjoxODQ0Njc0NDA3MzcwOTU1MTYxNTo0Mjk0OTY3Mjk1"},
    {"letters beyond ASCII", "\xc3\xbf\xc3\xbf\xff", 0, 0, "w7/Dv/86MDow"},
};

static void ids_name_node_start_and_pid(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        CLEANUP(text_free) char *got = NULL;

        print_message("  %s\n", ids[i].name);
        got = arguments_exec_id(ids[i].node, ids[i].start_ns, ids[i].pid);
        assert_non_null(got);
        assert_string_equal(got, ids[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_are_joined),
        cmocka_unit_test(ids_name_node_start_and_pid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
