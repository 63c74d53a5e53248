/* clock: two clocks are compared as they are at one moment, whoever comes in between. */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <cmocka.h>

#define SECOND_NS UINT64_C(1000000000)

static const uint64_t ahead_ns = 1234567 * SECOND_NS;
static uint64_t boot_ns;
static int reads;
static bool interrupted[64]; /* before which read */

int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    uint64_t ns;

    boot_ns += interrupted[reads++] ? SECOND_NS / 20 : 30;
    ns = clock == CLOCK_REALTIME ? boot_ns + ahead_ns : boot_ns;
    now->tv_sec = (time_t)(ns / SECOND_NS);
    now->tv_nsec = (long)(ns % SECOND_NS);
    return 0;
}

static void begin(void)
{
    boot_ns = 7 * SECOND_NS;
    reads = 0;
    for (size_t i = 0; i < sizeof(interrupted) / sizeof(interrupted[0]); i++)
        interrupted[i] = false;
}

static void an_interruption_does_not_count(void **state)
{
    (void)state;
    for (int at = 0; at < 6; at++) {
        begin();
        interrupted[at] = interrupted[at + 1] = true;
        assert_in_range(clock_wall_ahead_ns(), ahead_ns, ahead_ns + SECOND_NS / 1000);
    }
}

static void who_is_interrupted_all_the_time_goes_on(void **state)
{
    (void)state;
    begin();
    for (size_t i = 0; i < sizeof(interrupted) / sizeof(interrupted[0]); i++)
        interrupted[i] = true;
    assert_in_range(clock_wall_ahead_ns(), ahead_ns, ahead_ns + SECOND_NS);
    assert_in_range(reads, 3, 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interruption_does_not_count),
        cmocka_unit_test(who_is_interrupted_all_the_time_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
