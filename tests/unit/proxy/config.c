/* config: what a file and a command line say, everything that is wrong with a file at once, and
 * what cannot change while the agent runs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "policy/policy.h"
#include "proxy/config.h"

static void reads_every_type(void **state)
{
    CLEANUP(config_free) struct config *config = NULL;
    CLEANUP(faults_fini) struct faults faults = {0};

    (void)state;
    assert_int_equal(config_new(&config, NULL), 0);
    assert_int_equal(config->drain_timeout_ms, 30000);
    assert_string_equal(config->admin_address, "127.0.0.1:9470");
    assert_null(config->ca);
    config_read(config,
                BYTES("output: json\n"
                      "ca: /etc/ca # a comment\n"
                      "ports: [443, \"80\"]\n"
                      "loopback: true\n"
                      "onAgentDown: open\n"
                      "route: kernel\n"
                      "passthrough:\n- a.example\n- '*.b.example'\n"
                      "workers: 4\n"
                      "drainTimeout: 5m\n"
                      "logFormat: json\n"),
                &faults);
    assert_int_equal(faults_count(&faults), 0);
    assert_int_equal(config->output, CONFIG_JSON);
    assert_string_equal(config->ca, "/etc/ca");
    assert_false(config->ports.all);
    assert_int_equal(config->ports.len, 2);
    assert_int_equal(config->ports.list[1], 80);
    assert_true(config->loopback);
    assert_int_equal(config->open_when_down, 1);
    assert_int_equal(config->route, POLICY_ROUTE_KERNEL);
    assert_int_equal(config->passthrough.len, 2);
    assert_string_equal(config->passthrough.list[1], "*.b.example");
    assert_int_equal(config->workers, 4);
    assert_int_equal(config->drain_timeout_ms, 300000);
    assert_true(config->log_json);
}

static const struct {
    const char *name;
    struct span bytes;
    const char *want; /* as told, of file f; "": nothing is wrong */
} files[] = {
    {"comments alone", BYTES("# ca: /etc/ca\n"), ""},
    {"an empty map", BYTES("{}\n"), ""},
    {"one port instead of a list", BYTES("ports: all\n"), ""},
    {"nothing", BYTES(""),
     "f: error: is empty; a comment in it would say that it is meant to be\n"},
    {"blanks", BYTES(" \n\n"),
     "f: error: is empty; a comment in it would say that it is meant to be\n"},
    {"a text", BYTES("hello\n"),
     "f:1:1: error: a text stands where keys should, such as 'ca: DIR'\n    hello\n    ^\n"},
    {"a list", BYTES("- ca\n"),
     "f:1:1: error: a list stands where keys should, such as 'ca: DIR'\n    - ca\n    ^\n"},
    {"two documents", BYTES("ca: a\n---\nca: b\n"),
     "f:3:1: error: a second document begins here; there can be but one\n    ca: b\n    ^\n"},
    {"a key nearly right", BYTES("upstreamCA: a\n"),
     "f:1:1: error: there is no key 'upstreamCA'; did you mean 'upstreamCa'?\n"
     "    upstreamCA: a\n    ^\n"},
    {"an option's name", BYTES("drain-timeout: 1s\n"),
     "f:1:1: error: there is no key 'drain-timeout'; did you mean 'drainTimeout'?\n"
     "    drain-timeout: 1s\n    ^\n"},
    {"a key of somebody else's", BYTES("apiVersion: v1\n"),
     "f:1:1: error: there is no key 'apiVersion'; 'sallyport run --help' lists the options, whose "
     "names these are\n    apiVersion: v1\n    ^\n"},
    {"wrong types", BYTES("ca: [a]\nworkers: {}\nloopback: []\n"),
     "f:1:5: error: ca takes DIR, not a list\n    ca: [a]\n        ^\n"
     "f:2:10: error: workers takes N, not a map\n    workers: {}\n             ^\n"
     "f:3:11: error: loopback takes true or false, not a list\n    loopback: []\n"
     "              ^\n"},
    {"no value", BYTES("ca:\n"),
     "f:1:4: error: ca has no value; leave it out for what is usual\n    ca:\n       ^\n"},
    {"an empty text", BYTES("ca: ''\n"),
     "f:1:5: error: ca: is empty; say DIR\n    ca: ''\n        ^\n"},
    {"numbers out of range", BYTES("workers: 0\nports: [65536, -1, 443]\n"),
     "f:1:10: error: workers: '0' is no number from 1 to 1024\n    workers: 0\n             ^\n"
     "f:2:9: error: ports: '65536' is no port from 1 to 65535, nor 'all'\n"
     "    ports: [65536, -1, 443]\n            ^\n"
     "f:2:16: error: ports: '-1' is no port from 1 to 65535, nor 'all'\n"
     "    ports: [65536, -1, 443]\n                   ^\n"},
    {"a list in a list", BYTES("ports: [[443]]\n"),
     "f:1:9: error: ports takes LIST|all, not a list\n    ports: [[443]]\n            ^\n"},
    {"yes and no", BYTES("loopback: yes\n"),
     "f:1:11: error: loopback: 'yes' is neither true nor false\n    loopback: yes\n"
     "              ^\n"},
    {"a word that is not known", BYTES("onAgentDown: shut\n"),
     "f:1:14: error: onAgentDown: 'shut' is not known; say closed or open\n"
     "    onAgentDown: shut\n                 ^\n"},
    {"a duration without its unit", BYTES("drainTimeout: 30\n"),
     "f:1:15: error: drainTimeout: '30' is no duration, such as 30s or 5m (ms, s, m, h)\n"
     "    drainTimeout: 30\n                  ^\n"},
    {"a duration too long", BYTES("drainTimeout: 99999999999999999999h\n"),
     "f:1:15: error: drainTimeout: '99999999999999999999h' is not from 0s to 86400s\n"
     "    drainTimeout: 99999999999999999999h\n                  ^\n"},
    {"a cycle", BYTES("passthrough: &a [*a]\n"),
     "f:1:14: error: anchors such as '&a' are not read; leave it out\n"
     "    passthrough: &a [*a]\n                 ^\n"
     "f:1:18: error: aliases such as '*a' are not read; write it out\n"
     "    passthrough: &a [*a]\n                     ^\n"
     "f:1:18: error: passthrough: has an empty item; say NAMES\n"
     "    passthrough: &a [*a]\n                     ^\n"},
    {"what stands before the YAML ends", BYTES("cs: a\nports: [\n"),
     "f:1:1: error: there is no key 'cs'; 'sallyport run --help' lists the options, whose names "
     "these are\n    cs: a\n    ^\n"
     "f:3:1: error: this is no YAML: did not find expected node content, while parsing a flow node "
     "that begins in line 3\n    \n    ^\n"},
};

static void tells_what_is_wrong_with_a_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        CLEANUP(config_free) struct config *config = NULL;
        CLEANUP(faults_fini) struct faults faults = {0};
        CLEANUP(text_free) char *told = NULL;

        print_message("  %s\n", files[i].name);
        assert_int_equal(config_new(&config, NULL), 0);
        config_read(config, files[i].bytes, &faults);
        told = faults_tell(&faults, "f", files[i].bytes);
        assert_string_equal(told, files[i].want);
    }
}

static size_t key_of(const char *name)
{
    size_t i = 0;

    while (strcmp(config_keys[i].name, name) != 0)
        i++;
    return i;
}

static void the_command_line_wins(void **state)
{
    const struct config_args args = {.all = {{key_of("ca"), "/first"},
                                             {key_of("ports"), "443,8443"},
                                             {key_of("ca"), "/second"},
                                             {key_of("ports"), "80"},
                                             {key_of("loopback"), "true"}},
                                     .len = 5};
    CLEANUP(config_free) struct config *config = NULL;
    CLEANUP(faults_fini) struct faults faults = {0};

    (void)state;
    assert_int_equal(config_new(&config, NULL), 0);
    config_read(config, BYTES("ca: /file\nports: all\nupstreamCa: /kept\n"), &faults);
    assert_int_equal(config_apply(config, &args, NULL), 0);
    assert_string_equal(config->ca, "/second");
    assert_string_equal(config->upstream_ca, "/kept");
    assert_false(config->ports.all);
    assert_int_equal(config->ports.len, 3);
    assert_int_equal(config->ports.list[2], 80);
    assert_true(config->loopback);
}

static const struct {
    const char *key, *value;
    const char *want;
} options[] = {
    {"workers", "x", "--workers: 'x' is no number from 1 to 1024"},
    {"workers", "4294967297", "--workers: '4294967297' is no number from 1 to 1024"},
    {"ports", "443,,80", "--ports: '' is no port from 1 to 65535, nor 'all'"},
    {"passthrough", "a,", "--passthrough: has an empty item; say NAMES"},
    {"eventsFile", "", "--events-file: is empty; say FILE"},
    {"output", "yaml", "--output: 'yaml' is not known; say compact or json"},
};

static void tells_what_is_wrong_with_an_option(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        const struct config_args args = {.all = {{key_of(options[i].key), options[i].value}},
                                         .len = 1};
        CLEANUP(config_free) struct config *config = NULL;
        struct err err;

        print_message("  --%s '%s'\n", options[i].key, options[i].value);
        assert_int_equal(config_new(&config, NULL), 0);
        assert_int_equal(config_apply(config, &args, &err), -EINVAL);
        assert_string_equal(err.text, options[i].want);
    }
}

static const struct {
    const char *before, *after;
    size_t faults;
} changes[] = {
    {"{}", "{}", 0},
    {"ca: a\nports: [1]\npassthrough: [x]\n", "upstreamCa: b\nports: all\n", 0},
    {"logFormat: text\nonAgentDown: open\n", "logFormat: json\ndrainTimeout: 1s\nloopback: true\n",
     0},
    {"workers: 2", "workers: 2", 0},
    {"workers: 2", "workers: 3", 1},
    {"eventsFile: a\noutput: json\n", "eventsFile: b\n", 2},
    {"workers: 2\nnodeName: n", "{}", 2},
    {"{}", "cgroupRoot: /a\nruntimeDir: /b\nadminAddress: 127.0.0.1:1\n", 3},
};

static void some_keys_cannot_change(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        CLEANUP(config_free) struct config *before = NULL, *after = NULL;
        CLEANUP(faults_fini) struct faults faults = {0};

        print_message("  %s -> %s\n", changes[i].before, changes[i].after);
        assert_int_equal(config_new(&before, NULL), 0);
        assert_int_equal(config_new(&after, NULL), 0);
        config_read(before, span_of_text(changes[i].before), &faults);
        config_read(after, span_of_text(changes[i].after), &faults);
        assert_int_equal(faults_count(&faults), 0);
        config_compare(after, before, &faults);
        assert_int_equal(faults_count(&faults), changes[i].faults);
    }
}

/* A key that is missing there may stand behind what could not be read. */
static void in_a_broken_file_what_is_missing_has_not_changed(void **state)
{
    static const struct {
        const char *after;
        size_t faults;
    } broken[] = {{"zork: 1\n", 1}, {"zork: 1\nworkers: 3\n", 2}, {"'x", 1}, {"", 1}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        CLEANUP(config_free) struct config *before = NULL, *after = NULL;
        CLEANUP(faults_fini) struct faults faults = {0};

        assert_int_equal(config_new(&before, NULL), 0);
        assert_int_equal(config_new(&after, NULL), 0);
        config_read(before, BYTES("workers: 2\nnodeName: n\n"), &faults);
        assert_int_equal(faults_count(&faults), 0);
        config_read(after, span_of_text(broken[i].after), &faults);
        config_compare(after, before, &faults);
        assert_int_equal(faults_count(&faults), broken[i].faults);
    }
}

static void says_why_a_file_cannot_be_read(void **state)
{
    char dir[] = "/tmp/sallyport-test.XXXXXX", fifo[64];
    const struct {
        const char *file, *want;
    } cases[] = {
        {"/nowhere/a.yaml", "cannot read /nowhere/a.yaml: No such file or directory"},
        {dir, "is not a regular file"},
        {fifo, "is not a regular file"},
    };

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct config_args args = {0};
        const struct config_source source = {.file = cases[i].file, .args = &args};
        CLEANUP(text_free) char *story = NULL;
        struct config *config = NULL;
        struct err err;

        assert_true(config_load(&config, &source, NULL, &story, &err) < 0);
        assert_null(config);
        assert_null(story);
        assert_non_null(strstr(err.text, cases[i].want));
    }
    unlink(fifo);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_type),
        cmocka_unit_test(tells_what_is_wrong_with_a_file),
        cmocka_unit_test(the_command_line_wins),
        cmocka_unit_test(tells_what_is_wrong_with_an_option),
        cmocka_unit_test(some_keys_cannot_change),
        cmocka_unit_test(in_a_broken_file_what_is_missing_has_not_changed),
        cmocka_unit_test(says_why_a_file_cannot_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
