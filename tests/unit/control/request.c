/* request: what is a request, and what is said of that which is none. */
#include "proxy/control/request.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define DEEP4  "[[[["
#define DEEP16 DEEP4 DEEP4 DEEP4 DEEP4
#define UP4    "]]]]"
#define UP16   UP4 UP4 UP4 UP4

static const struct {
    const char *name;
    struct span line;
    const char *verb;  /* NULL: it is refused */
    const char *words; /* in the refusal */
} cases[] = {
    {"the smallest", BYTES("{\"verb\":\"ping\"}"), "ping", NULL},
    {"with members", BYTES("{\"verb\":\"pods.add\",\"name\":\"shop/cart\",\"n\":1}"), "pods.add",
     NULL},
    {"space around", BYTES(" {\"verb\" : \"ping\"}\r"), "ping", NULL},
    {"brackets in a text", BYTES("{\"verb\":\"ping\",\"a\":\"" DEEP16 "\\\"" DEEP16 "\"}"), "ping",
     NULL},
    {"as deep as may be",
     BYTES("{\"verb\":\"ping\",\"a\":[[[" DEEP4 DEEP4 DEEP4 UP4 UP4 UP4 "]]]}"), "ping", NULL},
    {"nothing", BYTES(""), NULL, "no JSON"},
    {"garbage", BYTES("\x16\x03\x01\x02\x00\x01"), NULL, "no JSON"},
    {"HTTP", BYTES("GET / HTTP/1.1\r"), NULL, "no JSON"},
    {"half an object", BYTES("{\"verb\":\"pi"), NULL, "no JSON"},
    {"two objects", BYTES("{\"verb\":\"ping\"}{\"verb\":\"ping\"}"), NULL, "no JSON"},
    {"one member twice", BYTES("{\"verb\":\"ping\",\"verb\":\"status\"}"), NULL, "duplicate"},
    {"no UTF-8", BYTES("{\"verb\":\"ping\",\"a\":\"\xff\xfe\"}"), NULL, "decode"},
    {"half a surrogate", BYTES("{\"verb\":\"ping\",\"a\":\"\\ud800\"}"), NULL, "no JSON"},
    {"a NUL in a text", BYTES("{\"verb\":\"ping\",\"a\":\"x\\u0000y\"}"), NULL, "\\u0000"},
    {"a NUL between", BYTES("{\"verb\":\"ping\"\0}"), NULL, "no JSON"},
    {"a number too large", BYTES("{\"verb\":\"ping\",\"a\":1e999}"), NULL, "overflow"},
    {"an array", BYTES("[\"verb\",\"ping\"]"), NULL, "with a verb"},
    {"no verb", BYTES("{\"name\":\"x\"}"), NULL, "with a verb"},
    {"a number as verb", BYTES("{\"verb\":1}"), NULL, "with a verb"},
    {"an empty verb", BYTES("{\"verb\":\"\"}"), NULL, "with a verb"},
    {"an escape sequence as verb", BYTES("{\"verb\":\"\\u001b[2J\"}"), NULL, "with a verb"},
    {"a long verb", BYTES("{\"verb\":\"abcdefghijklmnopqrstuvwxyzabcdefg\"}"), NULL, "with a verb"},
    {"one deeper", BYTES("{\"verb\":\"ping\",\"a\":" DEEP16 UP16 "}"), NULL, "nested"},
    {"deep after a text", BYTES("{\"a\":\"\\\\\",\"b\":" DEEP16), NULL, "nested"},
};

static void a_line_is_a_request_or_what_is_wrong_with_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct request request = {0};
        struct err err = {0};
        int result = request_parse(cases[i].line, &request, &err);

        print_message("  %s\n", cases[i].name);
        if (cases[i].verb) {
            assert_int_equal(result, 0);
            assert_string_equal(request.verb, cases[i].verb);
            assert_true(json_is_object(request.args));
        } else {
            assert_true(result < 0);
            assert_null(request.args);
            if (!strstr(err.text, cases[i].words))
                fail_msg("'%s' is not in: %s", cases[i].words, err.text);
        }
        request_fini(&request);
    }
}

/* jansson would call itself for each level. */
static void a_thousand_levels_are_not_looked_into(void **state)
{
    static char line[REQUEST_BYTES_MAX - 1];
    struct request request = {0};
    struct err err = {0};

    (void)state;
    memset(line, '[', sizeof(line));
    assert_int_equal(request_parse(span_of(line, sizeof(line)), &request, &err), -EINVAL);
    assert_non_null(strstr(err.text, "nested"));
}

static void a_request_has_a_size(void **state)
{
    static char line[REQUEST_BYTES_MAX] = "{\"verb\":\"ping\"}";
    size_t len = strlen(line);
    struct request request = {0};
    struct err err = {0};

    (void)state;
    memset(line + len, ' ', sizeof(line) - len);
    assert_int_equal(request_parse(span_of(line, sizeof(line)), &request, &err), -EMSGSIZE);
    assert_int_equal(request_parse(span_of(line, sizeof(line) - 1), &request, &err), 0);
    request_fini(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_a_request_or_what_is_wrong_with_it),
        cmocka_unit_test(a_thousand_levels_are_not_looked_into),
        cmocka_unit_test(a_request_has_a_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
