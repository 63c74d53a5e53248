#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "events/units.h"

static const struct {
    void (*append)(struct buffer *out, uint64_t value);
    uint64_t value;
    const char *want;
} cases[] = {
    {units_bytes, 0, "0 B"},
    {units_bytes, 706, "706 B"},
    {units_bytes, 999, "999 B"},
    {units_bytes, 1000, "1.0 kB"},
    {units_bytes, 1249, "1.2 kB"},
    {units_bytes, 1250, "1.3 kB"},
    {units_bytes, 9949, "9.9 kB"},
    {units_bytes, 9950, "10 kB"},
    {units_bytes, 226000, "226 kB"},
    {units_bytes, 999499, "999 kB"},
    {units_bytes, 999500, "1.0 MB"},
    {units_bytes, 1234567, "1.2 MB"},
    {units_bytes, 104857600, "105 MB"},
    {units_bytes, UINT64_MAX, "18 EB"},
    {units_duration, 0, "0us"},
    {units_duration, 499, "0us"},
    {units_duration, 850000, "850us"},
    {units_duration, 999499, "999us"},
    {units_duration, 999500, "1.00ms"},
    {units_duration, 1234567, "1.23ms"},
    {units_duration, 9994999, "9.99ms"},
    {units_duration, 9995000, "10.0ms"},
    {units_duration, 12400000, "12.4ms"},
    {units_duration, 99949999, "99.9ms"},
    {units_duration, 99950000, "100ms"},
    {units_duration, 999499999, "999ms"},
    {units_duration, 999500000, "1.00s"},
    {units_duration, 1250000000, "1.25s"},
    {units_duration, 61000000000, "61.0s"},
    {units_duration, 3600000000000, "3600s"},
    {units_duration, UINT64_MAX, "18446744074s"},
    {units_time, 0, "1970-01-01T00:00:00.000000000Z"},
    {units_time, 1795456800000000001, "2026-11-23T18:00:00.000000001Z"},
    {units_time, 951782399999999999, "2000-02-28T23:59:59.999999999Z"},
};

static void reads_as_people_do(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(buffer_fini) struct buffer out = {0};

        cases[i].append(&out, cases[i].value);
        buffer_append(&out, "", 1);
        print_message("  %s\n", cases[i].want);
        assert_string_equal(out.data, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_as_people_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
