/* figures: medians, quantiles, and whether two rows of numbers differ. */
#include "proxy/compare/figures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"

static void sums_up(void **state)
{
    static const struct {
        const char *name;
        double values[4];
        size_t len;
        double median, least, most;
    } cases[] = {
        {"one", {7}, 1, 7, 7, 7},
        {"two: between them", {4, 2}, 2, 3, 2, 4},
        {"three, in no order", {9, 1, 5}, 3, 5, 1, 9},
        {"four", {8, 1, 2, 4}, 4, 3, 1, 8},
        {"all the same", {3, 3, 3}, 3, 3, 3, 3},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        double values[4];
        struct figures figures;

        print_message("  %s\n", cases[i].name);
        memcpy(values, cases[i].values, sizeof(values));
        figures = figures_of(values, cases[i].len);
        assert_true(figures.median == cases[i].median);
        assert_true(figures.least == cases[i].least);
        assert_true(figures.most == cases[i].most);
    }
}

static void finds_quantiles(void **state)
{
    double hundred[100];

    (void)state;
    for (int i = 0; i < 100; i++)
        hundred[i] = i + 1;
    assert_true(figures_quantile(hundred, 100, 0.5) == 50);
    assert_true(figures_quantile(hundred, 100, 0.99) == 99);
    assert_true(figures_quantile(hundred, 100, 1) == 100);
    assert_true(figures_quantile(hundred, 5, 0.5) == 3);
    assert_true(figures_quantile(hundred, 5, 0.99) == 5);
    assert_true(figures_quantile(hundred, 1, 0.5) == 1);
}

static const struct {
    const char *name;
    double a[8];
    size_t a_len;
    double b[8];
    size_t b_len;
    bool want;
} differences[] = {
    {"five beyond five", {1, 2, 3, 4, 5}, 5, {6, 7, 8, 9, 10}, 5, true},
    {"the other way round", {6, 7, 8, 9, 10}, 5, {1, 2, 3, 4, 5}, 5, true},
    {"how far does not matter", {1, 2, 3, 4, 5}, 5, {5.1, 5.2, 5.3, 5.4, 5.5}, 5, true},
    /* tables of critical values: at most 2 for five and five */
    {"two pairs the other way", {1, 2, 3, 4, 7.5}, 5, {6, 7, 8, 9, 10}, 5, true},
    {"three pairs the other way", {1, 2, 3, 4, 8.5}, 5, {6, 7, 8, 9, 10}, 5, false},
    {"two and a half: against it", {1, 2, 3, 4, 8}, 5, {6, 7, 8, 9, 10}, 5, false},
    {"four beyond four", {1, 2, 3, 4}, 4, {5, 6, 7, 8}, 4, true},
    {"one pair of four the other way", {1, 2, 3, 5.5}, 4, {5, 6, 7, 8}, 4, false},
    {"three are too few", {1, 2, 3}, 3, {1000, 2000, 3000}, 3, false},
    {"one is too few", {1}, 1, {1000}, 1, false},
    {"mixed", {1, 3, 5, 7, 9}, 5, {2, 4, 6, 8, 10}, 5, false},
    {"all the same", {2, 2, 2, 2, 2}, 5, {2, 2, 2, 2, 2}, 5, false},
    {"three beyond eight", {1, 2, 3}, 3, {4, 5, 6, 7, 8, 9, 10, 11}, 8, true},
    {"none", {0}, 0, {1, 2, 3, 4}, 4, false},
};

static void tells_a_difference(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(differences); i++) {
        print_message("  %s\n", differences[i].name);
        assert_int_equal(figures_differ(differences[i].a, differences[i].a_len, differences[i].b,
                                        differences[i].b_len),
                         differences[i].want);
    }
}

/* For twenty and twenty the tables say: at most 127 pairs the other way. */
static void knows_many_rounds(void **state)
{
    double a[FIGURES_MAX], b[FIGURES_MAX];

    (void)state;
    for (int i = 0; i < FIGURES_MAX; i++)
        a[i] = i;
    for (int i = 0; i < 20; i++)
        b[i] = i + 4.5; /* 1 + 2 + ... + 15 = 120 pairs */
    assert_true(figures_differ(a, 20, b, 20));
    for (int i = 0; i < 20; i++)
        b[i] = i + 3.5; /* 136 */
    assert_false(figures_differ(a, 20, b, 20));
    for (int i = 0; i < FIGURES_MAX; i++)
        b[i] = i + FIGURES_MAX;
    assert_true(figures_differ(a, FIGURES_MAX, b, FIGURES_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_up),
        cmocka_unit_test(finds_quantiles),
        cmocka_unit_test(tells_a_difference),
        cmocka_unit_test(knows_many_rounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
