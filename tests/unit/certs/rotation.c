#include "certs/rotation.h"

#include "make.h"

enum { NOW = 1800000000, SOON = NOW + 1000, LATE = NOW + 100 * 1000, NONE = 0 };

static const char *const signers[] = {
    [ROTATION_NOBODY] = "nobody",
    [ROTATION_CURRENT] = "current",
    [ROTATION_NEXT] = "next",
};
static const char *const steps[] = {
    [ROTATION_REFUSED] = "refused",
    [ROTATION_PUBLISH] = "publish",
    [ROTATION_PROMOTE] = "promote",
    [ROTATION_REPLACE] = "replace",
};

static const struct {
    const char *name;
    time_t current_until;         /* NONE: there is none that is valid */
    time_t next_from, next_until; /* likewise */
    const char *signer, *rotate, *rotate_now;
    time_t changes_at;
} cases[] = {
    {"one alone", LATE, NONE, NONE, "current", "publish", "replace", LATE + 1},
    {"one alone, in its last second", NOW, NONE, NONE, "current", "publish", "replace", NOW + 1},
    {"one alone, expired", NOW - 1, NONE, NONE, "nobody", "replace", "replace", NONE},
    {"none", NONE, NONE, NONE, "nobody", "replace", "replace", NONE},
    {"one is published", LATE, SOON, LATE, "current", "refused", "promote", SOON},
    {"its time comes", LATE, NOW, LATE + 9, "next", "publish", "replace", LATE + 10},
    {"its time has come", LATE, NOW - 9, LATE, "next", "publish", "replace", LATE + 1},
    {"the current one ends before that", SOON, LATE, LATE, "current", "refused", "promote",
     SOON + 1},
    {"the current one has ended before that", NOW - 1, SOON, LATE, "next", "publish", "replace",
     LATE + 1},
    {"the current one could not be read any more", NONE, SOON, LATE, "next", "publish", "replace",
     LATE + 1},
    {"the next one has expired", LATE, NOW - 9, NOW - 1, "current", "publish", "replace", LATE + 1},
    {"both have expired", NOW - 9, NOW - 9, NOW - 1, "nobody", "replace", "replace", NONE},
};

static struct rotation rotation_of(size_t i)
{
    return (struct rotation){
        .current = cases[i].current_until != NONE,
        .current_until = cases[i].current_until,
        .next = cases[i].next_until != NONE,
        .next_from = cases[i].next_from,
        .next_until = cases[i].next_until,
    };
}

static void says_who_signs_and_what_comes_next(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct rotation rotation = rotation_of(i);

        print_message("  %s\n", cases[i].name);
        assert_string_equal(signers[rotation_signer(&rotation, NOW)], cases[i].signer);
        assert_string_equal(steps[rotation_step(&rotation, false, NOW)], cases[i].rotate);
        assert_string_equal(steps[rotation_step(&rotation, true, NOW)], cases[i].rotate_now);
        assert_int_equal(rotation_changes_at(&rotation, NOW), cases[i].changes_at);
    }
}

/* What is said to change then does, and not a second before. */
static void changes_when_it_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct rotation rotation = rotation_of(i);
        time_t at = rotation_changes_at(&rotation, NOW);

        print_message("  %s\n", cases[i].name);
        if (at == NONE)
            continue;
        assert_int_equal(rotation_signer(&rotation, at - 1), rotation_signer(&rotation, NOW));
        assert_int_not_equal(rotation_signer(&rotation, at), rotation_signer(&rotation, NOW));
    }
}

static void is_due_in_the_last_third(void **state)
{
    static const struct {
        const char *name;
        struct rotation rotation;
        time_t want;
    } due[] = {
        {"one alone", {.current = true, .current_until = NOW + 40}, NOW + 10},
        {"one alone, near its end", {.current = true, .current_until = NOW + 10}, NOW - 10},
        {"somebody comes after it",
         {.current = true,
          .current_until = NOW + 10,
          .next = true,
          .next_from = NOW + 9,
          .next_until = NOW + 99},
         -1},
        {"who has expired",
         {.current = true, .current_until = NOW + 40, .next = true, .next_until = NOW - 1},
         NOW + 10},
        {"the one after it signs", {.next = true, .next_until = NOW + 40}, NOW + 10},
        {"nobody", {.current = false}, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(due); i++) {
        print_message("  %s\n", due[i].name);
        assert_int_equal(rotation_due_at(&due[i].rotation, NOW - 50, NOW), due[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_who_signs_and_what_comes_next),
        cmocka_unit_test(changes_when_it_says),
        cmocka_unit_test(is_due_in_the_last_third),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
