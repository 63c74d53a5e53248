#include "proxy/enforce/applied.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/sallyport-applied-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char command[96];

    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command);
}

static char *in_dir(const char *name)
{
    static char path[192];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

#define POLICY(name, spec)                                                                         \
    "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: " name "}\nspec: {" spec   \
    "}\n"

#define DENIES "egressDeny: [{toCIDR: [203.0.113.1/32]}]"

static void compile(struct applied *out, const char *text, const char *file)
{
    CLEANUP(policy_story_fini) struct policy_story story = {0};
    CLEANUP(policy_list_fini) struct policy_list list = {0};

    if (!applied_compile(out, &list, span_of_text(text), file, &story))
        fail_msg("%s", story.text);
}

/* The names of all, in their order, and the files they came in. */
static void expect(const struct applied *applied, const char *wanted)
{
    char got[256] = "";

    for (size_t i = 0; i < applied->len; i++)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s:%s", i ? " " : "",
                 applied->list[i].policy->id, applied->list[i].text->file);
    assert_string_equal(got, wanted);
}

static int read_back(struct applied *out, const char *wanted)
{
    CLEANUP(policy_story_fini) struct policy_story story = {0};
    struct err err = {0};
    int result = applied_read(out, in_dir("policies"), &story, &err);

    if (wanted && !strstr(story.text ? story.text : err.text, wanted))
        fail_msg("'%s' is not in '%s'", wanted, story.text ? story.text : err.text);
    return result;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void what_is_written_is_read(void **state)
{
    CLEANUP(applied_fini) struct applied applied = {0}, again = {0}, none = {0}, left = {0};

    (void)state;
    assert_int_equal(read_back(&none, NULL), 0);
    expect(&none, "");
    compile(&applied, POLICY("a", DENIES) "---\n" POLICY("b", "egress: []"), "ab.yaml");
    compile(&applied, POLICY("c", DENIES), "c.yaml");
    assert_int_equal(applied_write(&applied, in_dir("policies"), NULL), 0);
    assert_int_equal(read_back(&again, NULL), 0);
    expect(&again, "a:ab.yaml b:ab.yaml c:c.yaml");
    assert_int_equal(again.list[1].policy->place.mark.line,
                     applied.list[1].policy->place.mark.line);
    assert_true(again.list[1].policy->has_egress);

    applied_drop(&again, "a");
    assert_int_equal(applied_write(&again, in_dir("policies"), NULL), 0);
    assert_int_equal(read_back(&left, NULL), 0);
    expect(&left, "b:ab.yaml c:c.yaml");
}

static void one_takes_the_place_of_its_name(void **state)
{
    CLEANUP(applied_fini) struct applied applied = {0}, fresh = {0}, copy = {0};

    (void)state;
    compile(&applied, POLICY("a", DENIES) "---\n" POLICY("b", DENIES), "old.yaml");
    compile(&fresh, POLICY("b", "egress: []"), "new.yaml");
    assert_int_equal(applied_copy(&copy, &applied), 0);
    assert_int_equal(applied_put(&copy, &fresh.list[0]), 0);
    expect(&copy, "a:old.yaml b:new.yaml");
    expect(&applied, "a:old.yaml b:old.yaml");
    assert_null(applied_find(&copy, "c"));
}

static const struct {
    const char *name, *before, *after;
    bool same;
} meanings[] = {
    {"the same", POLICY("a", "egress: []"), POLICY("a", "egress: []"), true},
    {"a comment more", POLICY("a", "egress: []"), "# why\n\n" POLICY("a", "egress: []"), true},
    {"laid out otherwise", POLICY("a", "egress: []"), POLICY("a", "egress:\n  []\n"), true},
    {"behind another one", POLICY("a", "egress: []"),
     POLICY("0", DENIES) "---\n" POLICY("a", "egress: []"), true},
    {"another value", POLICY("a", "mode: enforce, egress: []"),
     POLICY("a", "mode: monitor, egress: []"), false},
    {"a key less", POLICY("a", "mode: enforce, egress: []"), POLICY("a", "egress: []"), false},
    {"another key", POLICY("a", "egress: []"), POLICY("a", DENIES), false},
};

static void what_a_document_means_is_compared(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(meanings); i++) {
        CLEANUP(applied_fini) struct applied before = {0}, after = {0};

        print_message("  %s\n", meanings[i].name);
        compile(&before, meanings[i].before, "f");
        compile(&after, meanings[i].after, "f");
        assert_int_equal(applied_find(&before, "a")->meaning == applied_find(&after, "a")->meaning,
                         meanings[i].same);
    }
}

static void what_is_broken_is_told_with_its_place(void **state)
{
    CLEANUP(applied_fini) struct applied applied = {0}, again = {0};
    char text[160];

    (void)state;
    compile(&applied, POLICY("a", DENIES), "mine/a.yaml");
    assert_int_equal(applied_write(&applied, in_dir("policies"), NULL), 0);
    snprintf(text, sizeof(text), "%s/policies/%s.yaml", dir, applied.list[0].text->digest);
    write_text(text, POLICY("a", "mode: enforced"));
    assert_int_equal(read_back(&again, "mine/a.yaml:4:14: error: "), -EINVAL);
    write_text(text, POLICY("b", DENIES));
    assert_int_equal(read_back(&again, "names a policy that is not in its text"), -EINVAL);
    unlink(text);
    assert_int_equal(read_back(&again, "No such file"), -ENOENT);
    write_text(in_dir("policies/index.json"), "{}");
    assert_int_equal(read_back(&again, "is not what an agent wrote; mend it, or remove it"),
                     -EINVAL);
    write_text(in_dir("policies/index.json"), "[{\"file\":\"x\",\"text\":\"../../etc/passwd\"}]");
    assert_int_equal(read_back(&again, "names no text"), -EINVAL);
    expect(&again, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read, make_dir, remove_dir),
        cmocka_unit_test(one_takes_the_place_of_its_name),
        cmocka_unit_test(what_a_document_means_is_compared),
        cmocka_unit_test_setup_teardown(what_is_broken_is_told_with_its_place, make_dir,
                                        remove_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
