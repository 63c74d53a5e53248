/* suggest: what somebody may have meant, and that nothing far-fetched is offered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/suggest.h"

static const char *const names[] = {"ca", "upstreamCa", "workers", "output", "eventsFile", "ports"};

static const struct {
    const char *word;
    const char *want;
} cases[] = {
    {"upstreamCA", "upstreamCa"},
    {"upstream-ca", "upstreamCa"},
    {"worker", "workers"},
    {"wrokers", "workers"},
    {"eventFile", "eventsFile"},
    {"events_file", "eventsFile"},
    {"port", "ports"},
    {"CA", "ca"},
    {"cb", NULL},
    {"", NULL},
    {"completely", NULL},
    {"x", NULL},
    {"outptu", "output"},
    {"workersworkersworkersworkersworkersworkersworkersworkersworkers", NULL},
};

static void offers_the_nearest(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *got = suggest(cases[i].word, names, ARRAY_SIZE(names));

        print_message("  '%s'\n", cases[i].word);
        if (cases[i].want)
            assert_string_equal(got, cases[i].want);
        else
            assert_null(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(offers_the_nearest)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
