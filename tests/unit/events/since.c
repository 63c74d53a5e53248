#include "sample.h"

#include "events/since.h"

#define S UINT64_C(1000000000)

static void reads(void **state)
{
    static const struct {
        const char *text;
        uint64_t wanted; /* 0: refused */
    } rows[] = {
        {"30s", SAMPLE_TIME - 30 * S},
        {"5m", SAMPLE_TIME - 300 * S},
        {"1h30m", SAMPLE_TIME - 5400 * S},
        {"2d", SAMPLE_TIME - 172800 * S},
        {"500ms", SAMPLE_TIME - S / 2},
        {"0s", SAMPLE_TIME},
        {"99999d", 1}, /* before 1970 */
        {"2026-11-23T18:00:00Z", SAMPLE_TIME - 1},
        {"2026-11-23T18:00:00.000000001Z", SAMPLE_TIME},
        {"2026-11-23T18:00:00.5Z", SAMPLE_TIME - 1 + S / 2},
        {"2026-11-23T19:00:00+01:00", SAMPLE_TIME - 1},
        {"2026-11-23T12:30:00-05:30", SAMPLE_TIME - 1},
        {"1970-01-01T00:00:00Z", 1},
        {"", 0},
        {"5", 0},
        {"m", 0},
        {"-5m", 0},
        {"5 m", 0},
        {"5w", 0},
        {"1.5h", 0},
        {"99999999999999999999s", 0},
        {"999999999999999999d", 0},
        {"2026-11-23", 0},
        {"2026-11-23T18:00:00", 0},
        {"2026-11-23T18:00:00.Z", 0},
        {"2026-11-23T18:00:00+1:00", 0},
        {"2026-11-23T18:00:00+01:00x", 0},
        {"2026-13-23T18:00:00Z", 0},
        {"1969-12-31T23:59:59Z", 0},
        {"yesterday", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct err err = {0};
        uint64_t got = 0;
        int result = since_parse(rows[i].text, SAMPLE_TIME, &got, &err);

        if ((result < 0) != !rows[i].wanted || got != rows[i].wanted)
            fail_msg("'%s': %d, %llu %s", rows[i].text, result, (unsigned long long)got, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
