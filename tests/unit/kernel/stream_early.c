/* Where its program's next connection does better, or might, by the proxy, a stream of the kernel
 * route says so at once. */
#include "tests/unit/kernel/hearing.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static void says_early_what_the_next_may_follow_from(void **state)
{
    static const struct {
        const char *name;
        bool accepted;
        const char *policy;
        struct piece piece;
        unsigned undecided, http2;
    } words[] = {
        {"a rule denies it", false, NO_RULE, {ABI_TX, BYTES(GET("/a")), .denied = true}, 0, 0},
        {"no rule does", false, NO_RULE, {ABI_TX, BYTES(GET("/fine")), .denied = true}, 1, 0},
        {"both, in one send",
         false,
         NO_RULE,
         {ABI_TX, BYTES(GET("/fine") GET("/a")), .denied = true},
         0,
         0},
        {"no rule does, but the proxy is wanted",
         false,
         NO_RULE "\n  inspect: {tokens: deny}",
         {ABI_TX, BYTES(GET("/fine")), .denied = true},
         0,
         0},
        {"it could not be read",
         false,
         NO_RULE,
         {ABI_TX, BYTES("\1\2\3"), ABI_SAID_UNSEEN, .denied = true},
         1,
         0},
        {"HTTP/2", false, NULL, {ABI_TX, BYTES(PREFACE), ABI_SAID_BEGINS, .denied = false}, 0, 1},
        {"HTTP/2, refused",
         false,
         NO_RULE,
         {ABI_TX, BYTES(PREFACE), ABI_SAID_BEGINS, .denied = true},
         1,
         1},
        {"HTTP/2 with a server",
         true,
         NULL,
         {ABI_RX, BYTES(PREFACE), ABI_SAID_BEGINS, .denied = false},
         0,
         0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        char text[1024];

        print_message("  %s\n", words[i].name);
        snprintf(text, sizeof(text), POLICY("p", "  %s\n"), words[i].policy ? words[i].policy : "");
        policed_use(words[i].policy ? text : NULL);
        hearing_opens(words[i].accepted, false);
        hears(&words[i].piece);
        assert_int_equal(heard_undecided, words[i].undecided);
        assert_int_equal(heard_http2, words[i].http2);
        hearing_closes();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(says_early_what_the_next_may_follow_from, hearing_begin,
                                        hearing_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
