/* pod_spec: what may be said of a pod, what not and why, and that it comes back from what we wrote.
 */
#include "proxy/pods/pod_spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const uint16_t preset[] = {443, 80};
static const struct pods_settings otherwise = {
    .loopback = true, .route = POLICY_ROUTE_PROXY, .ports = preset, .ports_len = 2};

#define X10 "xxxxxxxxxx"
#define X60 X10 X10 X10 X10 X10 X10
#define X63 X60 "xxx"

static const struct {
    const char *name;
    const char *said;
    const char *kept;  /* NULL: refused */
    const char *fault; /* how the sentence goes */
} cases[] = {
    {"a name alone", "{'name': 'a'}",
     "{'name': 'a', 'labels': {}, 'ports': [443, 80], 'loopback': true, 'onAgentDown': 'closed',"
     " 'route': 'proxy'}",
     NULL},
    {"all of it",
     "{'namespace': 'shop', 'name': 'cart-7d4b.x_y', 'labels': {'app': 'cart', 'a.b/c-d': ''},"
     " 'ports': 'all', 'loopback': false, 'onAgentDown': 'open', 'route': 'kernel',"
     " 'verb': 'pods.add'}",
     "{'namespace': 'shop', 'name': 'cart-7d4b.x_y', 'labels': {'app': 'cart', 'a.b/c-d': ''},"
     " 'ports': 'all', 'loopback': false, 'onAgentDown': 'open', 'route': 'kernel'}",
     NULL},
    {"ports of its own", "{'name': 'a', 'ports': [1, 65535]}",
     "{'name': 'a', 'labels': {}, 'ports': [1, 65535], 'loopback': true, 'onAgentDown': 'closed',"
     " 'route': 'proxy'}",
     NULL},
    {"no name", "{}", NULL, "'' is no name of a pod"},
    {"an empty one", "{'name': ''}", NULL, "'' is no name"},
    {"a number for a name", "{'name': 7}", NULL, "'' is no name"},
    {"a path", "{'name': '../x'}", NULL, "'../x' is no name"},
    {"a sign at the end", "{'name': 'x-'}", NULL, "'x-' is no name"},
    {"a line's end", "{'name': 'x\\ny'}", NULL, "'x\ny' is no name"},
    {"an escape", "{'name': '\\u001b[2J'}", NULL, "'\x1b[2J' is no name"},
    {"a long name", "{'name': '" X63 X63 X63 X63 "xx'}", NULL, "'" X63},
    {"a long namespace", "{'name': 'a', 'namespace': '" X63 "x'}", NULL,
     "'" X63 "x' is no namespace"},
    {"an empty namespace", "{'name': 'a', 'namespace': ''}", NULL, "'' is no namespace"},
    {"labels that are a list", "{'name': 'a', 'labels': []}", NULL, "labels are no object"},
    {"a label that is a number", "{'name': 'a', 'labels': {'b': 1}}", NULL, "'b=' is no label"},
    {"a label without a key", "{'name': 'a', 'labels': {'': 'x'}}", NULL, "'=x' is no label"},
    {"a label of a domain alone", "{'name': 'a', 'labels': {'b/': ''}}", NULL, "'b/=' is no label"},
    {"a label of no domain", "{'name': 'a', 'labels': {'/b': ''}}", NULL, "'/b=' is no label"},
    {"a label of two", "{'name': 'a', 'labels': {'a/b/c': ''}}", NULL, "'a/b/c=' is no label"},
    {"an odd value", "{'name': 'a', 'labels': {'b': 'c d'}}", NULL, "'b=c d' is no label"},
    {"a long value", "{'name': 'a', 'labels': {'b': '" X63 "x'}}", NULL, "'b=" X63},
    {"no port at all", "{'name': 'a', 'ports': []}", NULL, "ports are neither"},
    {"a word for ports", "{'name': 'a', 'ports': 'some'}", NULL, "ports are neither"},
    {"port 0", "{'name': 'a', 'ports': [0]}", NULL, "ports go from 1"},
    {"a port too large", "{'name': 'a', 'ports': [65536]}", NULL, "ports go from 1"},
    {"a port that is a text", "{'name': 'a', 'ports': ['80']}", NULL, "ports go from 1"},
    {"half a port", "{'name': 'a', 'ports': [80.5]}", NULL, "ports go from 1"},
    {"a word for a switch", "{'name': 'a', 'loopback': 'yes'}", NULL, "loopback is neither"},
    {"an odd setting", "{'name': 'a', 'onAgentDown': 'ajar'}", NULL, "onAgentDown is neither"},
    {"an odd route", "{'name': 'a', 'route': 'detour'}", NULL, "route is none of auto, proxy"},
    {"a number for a route", "{'name': 'a', 'route': 1}", NULL, "route is none of"},
    {"no object", "[]", NULL, "'' is no name"},
};

/* With ' in the place of ", which is hard to read in C. */
static json_t *load(const char *text)
{
    char copy[2048];
    json_t *object;

    snprintf(copy, sizeof(copy), "%s", text);
    for (char *at = copy; (at = strchr(at, '\''));)
        *at = '"';
    object = json_loads(copy, 0, NULL);
    assert_non_null(object);
    return object;
}

static void reads_what_may_be_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct pod_spec spec;
        struct err err = {0};
        json_t *said = load(cases[i].said), *kept, *written;
        int result = pod_spec_read(&spec, said, &otherwise, &err);

        print_message("  %s\n", cases[i].name);
        json_decref(said);
        if (!cases[i].kept) {
            assert_true(result < 0);
            if (strncmp(err.text, cases[i].fault, strlen(cases[i].fault)) != 0)
                fail_msg("%s", err.text);
            continue;
        }
        assert_int_equal(result, 0);
        kept = load(cases[i].kept);
        written = pod_spec_write(&spec);
        assert_true(json_equal(kept, written));
        pod_spec_fini(&spec);
        assert_int_equal(pod_spec_read(&spec, written, &otherwise, &err), 0);
        json_decref(written);
        written = pod_spec_write(&spec);
        assert_true(json_equal(kept, written));
        pod_spec_fini(&spec);
        json_decref(written);
        json_decref(kept);
    }
}

static void labels_are_bounded(void **state)
{
    json_t *said = load("{'name': 'a', 'labels': {}}");
    struct pod_spec spec;
    struct err err = {0};
    char key[16];

    (void)state;
    for (int i = 0; i < POD_SPEC_LABELS_MAX; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        json_object_set_new(json_object_get(said, "labels"), key, json_string("v"));
    }
    assert_int_equal(pod_spec_read(&spec, said, &otherwise, &err), 0);
    assert_int_equal(spec.labels_len, POD_SPEC_LABELS_MAX);
    pod_spec_fini(&spec);
    json_object_set_new(json_object_get(said, "labels"), "more", json_string("v"));
    assert_true(pod_spec_read(&spec, said, &otherwise, &err) < 0);
    assert_string_equal(err.text, "there are more than 64 labels");
    json_decref(said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_may_be_said),
        cmocka_unit_test(labels_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
