/* What a request is for, and the one step for the verdict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/flow/exchange.h"

static const struct {
    const char *name;
    struct span target, want;
} paths[] = {
    {"origin form", BYTES("/a/b"), BYTES("/a/b")},
    {"its query is cut off", BYTES("/a?b=/c?d"), BYTES("/a")},
    {"nothing but a query", BYTES("/?"), BYTES("/")},
    {"absolute form", BYTES("http://a.example/b?c"), BYTES("/b")},
    {"absolute form without a path", BYTES("http://a.example"), BYTES("/")},
    {"... but with a query", BYTES("http://a.example?/b"), BYTES("/")},
    {"an URL within a path", BYTES("/http://a.example/b"), BYTES("/http://a.example/b")},
    {"asterisk form", BYTES("*"), BYTES("*")},
    {"CONNECT's", BYTES("a.example:443"), BYTES("a.example:443")},
    {"nothing", BYTES(""), BYTES("")},
};

static void the_path_is_what_a_server_looks_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        print_message("  %s\n", paths[i].name);
        assert_true(span_equal(exchange_path(paths[i].target), paths[i].want));
    }
}

#define LONG_LABEL "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."
#define LONG_NAME  LONG_LABEL LONG_LABEL LONG_LABEL LONG_LABEL "b.example"

static const struct {
    const char *name;
    const char *with, *host; /* whom TLS is with, whom the request is for */
    bool fits, clear;
    const char *method, *upgrade, *field; /* NULL: GET, none, none */
    unsigned want;                        /* 0: it goes on */
} judged[] = {
    {"the same name", "a.example", "a.example", .want = 0},
    {"in capitals", "A.Example", "a.example", .want = 0},
    {"a closing dot in SNI", "a.example.", "a.example", .want = 0},
    {"another name", "a.example", "b.example", .want = 421},
    {"a name below it", "a.example", "b.a.example", .want = 421},
    {"the name above it", "b.a.example", "a.example", .want = 421},
    {"a name that ends like it", "a.example", "ba.example", .want = 421},
    {"an asterisk is no wildcard", "*.example", "a.example", .want = 421},
    {"another closing dot", "a.example", "a.example..", .want = 421},
    {"an address", "192.0.2.1", "192.0.2.1", .want = 0},
    {"another address", "192.0.2.1", "192.0.2.2", .want = 421},
    {"an address for a name", "a.example", "192.0.2.1", .want = 421},
    {"IPv6 in its brackets", "2001:db8::1", "[2001:db8::1]", .want = 0},
    {"IPv6 spelt in another way", "2001:db8::1", "[2001:DB8:0:0::1]", .want = 0},
    {"another IPv6 address", "2001:db8::1", "[2001:db8::2]", .want = 421},
    {"a name of upstream's, none was asked", "192.0.2.1", "a.example", .fits = true, .want = 0},
    {"too long for a name", LONG_NAME, LONG_NAME, .want = 421},
    {"no authority", "a.example", NULL, .want = 0},
    {"in the clear", "192.0.2.1", "a.example", .clear = true, .want = 0},
    {"HTTP/1, which is not asked", NULL, "b.example", .field = "b.example", .want = 0},
    {"CONNECT", "a.example", "b.example", .method = "CONNECT", .want = 0},
    {"extended CONNECT", "a.example", "b.example", .method = "CONNECT", .upgrade = "websocket",
     .want = 421},
    {"Host says the same", "a.example", "a.example", .field = "A.example:443", .want = 0},
    {"Host says another", "a.example", "a.example", .field = "b.example", .want = 400},
    {"Host says nothing", "a.example", "a.example", .field = "", .want = 400},
    {"Host says another in the clear", "a.example", "a.example", .clear = true,
     .field = "b.example", .want = 400},
};

static void a_connection_is_for_its_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(judged); i++) {
        const struct facts facts = {.visibility = judged[i].clear ? VISIBILITY_PLAINTEXT
                                                                  : VISIBILITY_TERMINATED};
        const struct facts_field host = {BYTES("host"), span_of_text(judged[i].field)};
        const struct facts_request request = {
            .protocol = "HTTP/2",
            .method = span_of_text(judged[i].method ? judged[i].method : "GET"),
            .upgrade = span_of_text(judged[i].upgrade),
            .host = judged[i].host,
            .name = judged[i].with,
            .fits = judged[i].fits,
            .fields = &host,
            .fields_len = judged[i].field ? 1 : 0,
        };
        struct exchange_decision decision = exchange_judge(&facts, &request);

        print_message("  %s\n", judged[i].name);
        assert_int_equal(decision.verdict, judged[i].want ? VERDICT_DENY : VERDICT_ALLOW);
        assert_int_equal(decision.code, judged[i].want);
        assert_true(!judged[i].want == !decision.reason);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_path_is_what_a_server_looks_up),
        cmocka_unit_test(a_connection_is_for_its_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
