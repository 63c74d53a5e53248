/* What is asked for, or the sentence that says what is wrong with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "proxy/capture/wish.h"

#define POD "\"namespace\":\"shop\",\"pod\":\"cart\","

static const struct {
    const char *name;
    const char *request;
    const char *refusal; /* NULL: it is granted */
    enum capture_kind kind;
    json_int_t seconds, bytes;
} cases[] = {
    {"keys", "{" POD "\"what\":\"keys\"}", NULL, CAPTURE_KEYS, CAPTURE_SECONDS, CAPTURE_BYTES},
    {"packets, so long and so many", "{" POD "\"what\":\"pcap\",\"seconds\":3600,\"bytes\":1}",
     NULL, CAPTURE_PCAP, 3600, 1},
    {"nothing", "{}", "'what' is neither", 0, 0, 0},
    {"something else", "{" POD "\"what\":\"all\"}", "'what' is neither", 0, 0, 0},
    {"a number for a word", "{" POD "\"what\":1}", "'what' is neither", 0, 0, 0},
    {"no pod", "{\"what\":\"keys\"}", "one pod is asked for", 0, 0, 0},
    {"a pod that is no text", "{\"pod\":[],\"what\":\"keys\"}", "one pod is asked for", 0, 0, 0},
    {"a namespace that is no text", "{\"namespace\":null,\"pod\":\"x\",\"what\":\"keys\"}",
     "one pod is asked for", 0, 0, 0},
    {"no time", "{" POD "\"what\":\"keys\",\"seconds\":0}", "'seconds' is a number from", 0, 0, 0},
    {"too long", "{" POD "\"what\":\"keys\",\"seconds\":3601}",
     "'seconds' is a number from 1 to 3600", 0, 0, 0},
    {"a time in words", "{" POD "\"what\":\"keys\",\"seconds\":\"9\"}", "'seconds' is a number", 0,
     0, 0},
    {"less than nothing", "{" POD "\"what\":\"keys\",\"bytes\":-1}", "'bytes' is a number from", 0,
     0, 0},
    {"too much", "{" POD "\"what\":\"keys\",\"bytes\":10000000001}", "'bytes' is a number from", 0,
     0, 0},
};

static void reads_what_is_asked_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_t *args = json_loads(cases[i].request, 0, NULL);
        struct wish wish;
        struct err err;
        int result = wish_read(args, &wish, &err);

        print_message("  %s\n", cases[i].name);
        assert_non_null(args);
        if (cases[i].refusal) {
            assert_true(result < 0);
            assert_non_null(strstr(err.text, cases[i].refusal));
        } else {
            assert_int_equal(result, 0);
            assert_int_equal(wish.kind, cases[i].kind);
            assert_int_equal(wish.seconds, cases[i].seconds);
            assert_int_equal(wish.bytes, cases[i].bytes);
            assert_string_equal(wish.space, "shop");
            assert_string_equal(wish.name, "cart");
        }
        json_decref(args);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
