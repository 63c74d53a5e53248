#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "bpf/nearest.h"

static const struct {
    const char *name;
    uint64_t about;
    uint32_t low;
    uint64_t want;
} cases[] = {
    {"nothing", 0, 0, 0},
    {"the same", 5000000, 5000000, 5000000},
    {"a little more", 5000000, 5000999, 5000999},
    {"a little less", 5000000, 4999000, 4999000},
    {"the SYN was acknowledged, no byte was written", 1, 0, 0},
    {"just over 4 GiB, about just below", 0xfffffff0, 0x10, 0x100000010},
    {"just below 4 GiB, about just over", 0x100000010, 0xfffffff0, 0xfffffff0},
    {"100 GiB and more", 100ull << 30, 1000, (100ull << 30) + 1000},
    {"100 GiB and less", 100ull << 30, 0xfffffc18, (100ull << 30) - 1000},
    {"as far apart as may be", 0, 0x7fffffff, 0x7fffffff},
    {"and the other way", 1ull << 32, 0x80000000, 0x80000000},
};

static void counts_go_on_beyond_32_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("  %s\n", cases[i].name);
        assert_int_equal(nearest(cases[i].about, cases[i].low), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts_go_on_beyond_32_bits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
