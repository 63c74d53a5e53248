#include "proxy/enforce/bundle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void what_was_added_comes_out(void **state)
{
    CLEANUP(buffer_fini) struct buffer bundle = {0};
    const char *name;
    struct span rest, bytes;

    (void)state;
    bundle_add(&bundle, "cart.yaml", BYTES("a: b\n\0c"));
    bundle_add(&bundle, "nothing", BYTES(""));
    bundle_add(&bundle, "x", BYTES("y"));
    rest = span_of(bundle.data, bundle.len);
    assert_int_equal(bundle_next(&rest, &name, &bytes), BUNDLE_FILE);
    assert_string_equal(name, "cart.yaml");
    assert_int_equal(bytes.len, 7);
    assert_memory_equal(bytes.data, "a: b\n\0c", 7);
    assert_int_equal(bundle_next(&rest, &name, &bytes), BUNDLE_FILE);
    assert_string_equal(name, "nothing");
    assert_int_equal(bytes.len, 0);
    assert_int_equal(bundle_next(&rest, &name, &bytes), BUNDLE_FILE);
    assert_string_equal(name, "x");
    assert_int_equal(bundle_next(&rest, &name, &bytes), BUNDLE_END);
}

static const struct {
    const char *name;
    struct span bytes;
    enum bundle_status first, second; /* of the two questions; no second one after BUNDLE_BROKEN */
} cases[] = {
    {"nothing", BYTES(""), BUNDLE_END, BUNDLE_END},
    {"a name alone", BYTES("a"), BUNDLE_BROKEN, BUNDLE_BROKEN},
    {"a name and its NUL", BYTES("a\0"), BUNDLE_BROKEN, BUNDLE_END},
    {"no name", BYTES("\0001\0x"), BUNDLE_BROKEN, BUNDLE_BROKEN},
    {"no length", BYTES("a\0\0x"), BUNDLE_BROKEN, BUNDLE_BROKEN},
    {"a length without end", BYTES("a\0001"), BUNDLE_BROKEN, BUNDLE_BROKEN},
    {"a length that is none", BYTES("a\0001x\0x"), BUNDLE_BROKEN, BUNDLE_BROKEN},
    {"a length below zero", BYTES("a\000-1\0x"), BUNDLE_BROKEN, BUNDLE_BROKEN},
    {"fewer bytes than said", BYTES("a\0002\0x"), BUNDLE_BROKEN, BUNDLE_BROKEN},
    {"a length of too many digits", BYTES("a\00000000000001\0x"), BUNDLE_BROKEN, BUNDLE_BROKEN},
    {"one file, then rubbish", BYTES("a\0001\0x!"), BUNDLE_FILE, BUNDLE_BROKEN},
    {"one file", BYTES("a\0001\0x"), BUNDLE_FILE, BUNDLE_END},
};

static void what_is_no_bundle_is_broken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct span rest = cases[i].bytes, bytes;
        const char *name;

        print_message("  %s\n", cases[i].name);
        assert_int_equal(bundle_next(&rest, &name, &bytes), cases[i].first);
        if (cases[i].first == BUNDLE_FILE)
            assert_int_equal(bundle_next(&rest, &name, &bytes), cases[i].second);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_comes_out),
        cmocka_unit_test(what_is_no_bundle_is_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
