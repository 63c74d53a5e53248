/* flood: so many at once, so many a second, and what is earned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/http2/flood.h"

static const uint64_t SECOND_NS = 1000000000, START_NS = 5000 * SECOND_NS;

static const struct {
    enum flood_kind kind;
    const char *reason;
    unsigned burst, per_second;
} kinds[] = {
    {FLOOD_RESET, "too many resets", 1000, 500},
    {FLOOD_SETTINGS, "too many SETTINGS", 100, 10},
    {FLOOD_PING, "too many PINGs", 1000, 100},
    {FLOOD_EMPTY, "too many empty frames", 1000, 100},
    {FLOOD_PRIORITY, "too many PRIORITY frames", 1000, 100},
    {FLOOD_WINDOW, "too many WINDOW_UPDATEs", 1000, 100},
};
_Static_assert(ARRAY_SIZE(kinds) == _FLOOD_KIND_MAX, "try every kind");

static unsigned spend_all(struct flood *flood, enum flood_kind kind, uint64_t now_ns)
{
    unsigned spent = 0;

    while (spent < 1000000 && flood_spend(flood, kind, now_ns))
        spent++;
    return spent;
}

static void a_burst_then_a_rate(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct flood flood = {0};
        enum flood_kind kind = kinds[i].kind;
        uint64_t later = START_NS + SECOND_NS;

        print_message("  %s\n", kinds[i].reason);
        assert_string_equal(flood_reason(kind), kinds[i].reason);
        assert_int_equal(spend_all(&flood, kind, START_NS), kinds[i].burst);
        assert_false(flood_spend(&flood, kind, START_NS)); /* and a refusal costs nothing: */
        assert_int_equal(spend_all(&flood, kind, later), kinds[i].per_second);
        later += 3600 * SECOND_NS; /* idle for long: no more than one burst */
        assert_int_equal(spend_all(&flood, kind, later), kinds[i].burst);
    }
}

static void a_steady_rate_lasts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct flood flood = {0};
        uint64_t every_ns = SECOND_NS / kinds[i].per_second;

        print_message("  %s\n", kinds[i].reason);
        for (unsigned n = 0; n < 10000; n++)
            assert_true(flood_spend(&flood, kinds[i].kind, START_NS + n * every_ns));
        assert_int_equal(spend_all(&flood, kinds[i].kind, START_NS + 9999 * every_ns),
                         kinds[i].burst - 1);
    }
}

static void twice_the_rate_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct flood flood = {0};
        uint64_t every_ns = SECOND_NS / kinds[i].per_second / 2;
        unsigned n = 0;

        print_message("  %s\n", kinds[i].reason);
        while (n < 100000 && flood_spend(&flood, kinds[i].kind, START_NS + n * every_ns))
            n++;
        assert_in_range(n, 2 * kinds[i].burst - 2, 2 * kinds[i].burst);
    }
}

static void kinds_have_their_own(void **state)
{
    struct flood flood = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        assert_int_equal(spend_all(&flood, kinds[i].kind, START_NS), kinds[i].burst);
}

static void what_is_earned_is_spent(void **state)
{
    struct flood flood = {0};

    (void)state;
    for (unsigned i = 0; i < 500; i++) /* in flight, and answered later */
        flood_earn(&flood, FLOOD_WINDOW, FLOOD_EARN_DATA);
    assert_int_equal(spend_all(&flood, FLOOD_WINDOW, START_NS), 6000);
    flood_earn(&flood, FLOOD_WINDOW, FLOOD_EARN_DATA);
    assert_int_equal(spend_all(&flood, FLOOD_WINDOW, START_NS), 10);
    flood_earn(&flood, FLOOD_WINDOW, UINT32_MAX);
    flood_earn(&flood, FLOOD_WINDOW, UINT32_MAX);
    assert_int_equal(spend_all(&flood, FLOOD_WINDOW, START_NS), FLOOD_EARNED_MAX);
    for (unsigned i = 0; i < 100000; i++) { /* a download: ten for each DATA frame, for ever */
        flood_earn(&flood, FLOOD_WINDOW, FLOOD_EARN_DATA);
        for (unsigned n = 0; n < 10; n++)
            assert_true(flood_spend(&flood, FLOOD_WINDOW, START_NS));
    }
    assert_false(flood_spend(&flood, FLOOD_WINDOW, START_NS));
}

/* The clock is monotonic; two readings may still come out of turn by a little. */
static void a_clock_that_goes_back(void **state)
{
    struct flood flood = {0};

    (void)state;
    assert_true(flood_spend(&flood, FLOOD_PING, START_NS));
    assert_int_equal(spend_all(&flood, FLOOD_PING, START_NS - SECOND_NS / 100), 998);
    assert_int_equal(spend_all(&flood, FLOOD_PING, START_NS + SECOND_NS), 101);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_then_a_rate),     cmocka_unit_test(a_steady_rate_lasts),
        cmocka_unit_test(twice_the_rate_ends),     cmocka_unit_test(kinds_have_their_own),
        cmocka_unit_test(what_is_earned_is_spent), cmocka_unit_test(a_clock_that_goes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
