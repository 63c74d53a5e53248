/* status: an answer as lines for a person, whatever an agent of another version says. */
#include "proxy/telemetry/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static const struct {
    const char *name, *answer, *text;
} cases[] = {
    {"nothing", "{\"ok\":true}", ""},
    {"scalars", "{\"ok\":true,\"version\":\"0.1.0\",\"pid\":42,\"ready\":true,\"draining\":false}",
     "version           0.1.0\n"
     "pid               42\n"
     "ready             yes\n"
     "draining          no\n"},
    {"an object", "{\"files\":{\"used\":10,\"most\":65536,\"refused\":0}}",
     "files             used 10, most 65536, refused 0\n"},
    {"a list of objects",
     "{\"sinks\":[{\"to\":\"stdout\",\"lost\":0},{\"to\":\"file\",\"lost\":2}]}",
     "sinks             to stdout, lost 0\n"
     "sinks             to file, lost 2\n"},
    {"an empty list", "{\"sinks\":[]}", "sinks             none\n"},
    {"nothing that there could be", "{\"config\":null}", "config            none\n"},
    {"a list of texts", "{\"roots\":[\"/a\",\"/b c\"]}",
     "roots             /a\n"
     "roots             \"/b c\"\n"},
    {"an escape sequence", "{\"error\":\"\\u001b[2J\"}", "error             \"\\x1b[2J\"\n"},
    {"a key with one", "{\"\\u001b\":{\"\\u202e\":1}}", "\"\\x1b\"            \"\\u202e\" 1\n"},
    {"deeper than is shown", "{\"a\":{\"b\":{\"c\":1}}}", "a                 b ?\n"},
    {"a number with a fraction", "{\"a\":1.5}", "a                 ?\n"},
};

static void an_answer_is_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(buffer_fini) struct buffer out = {0};
        json_t *answer = json_loads(cases[i].answer, 0, NULL);

        print_message("  %s\n", cases[i].name);
        assert_non_null(answer);
        status_render(&out, answer);
        assert_false(out.failed);
        buffer_append(&out, "", 1);
        assert_string_equal(out.data, cases[i].text);
        json_decref(answer);
    }
}

static void any_bytes_are_told(void **state)
{
    json_t *object = json_object();

    (void)state;
    status_add_text(object, "path", "/etc/\xff/\"x\"");
    status_add_text(object, "missing", NULL);
    status_add_time(object, "since", UINT64_C(1764079200123456789));
    assert_string_equal(json_string_value(json_object_get(object, "path")),
                        "/etc/\xef\xbf\xbd/\"x\"");
    assert_string_equal(json_string_value(json_object_get(object, "since")),
                        "2025-11-25T14:00:00Z");
    assert_int_equal(json_object_size(object), 2);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_lines),
        cmocka_unit_test(any_bytes_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
