/* attempts_held: which SYNs are held back at all, and which of those are dialled for: as many as
 * there is room for, while somebody is there to send them on. */
#include "tests/unit/doors/attempts_bed.h"

/* Nothing is dialled for a program that has given up before it was heard of; for others once. */
static void who_has_given_up_already_is_not_dialled_for(void **state)
{
    static const struct scenario busy = {.name = "a busy machine"};
    unsigned files = open_files();

    (void)state;
    gone = false;
    now = &busy;
    over = true;
    make_attempts(0);
    tell_held(0, COOKIE - 1, 0);
    for (int i = 0; i < 3; i++) {
        tell_held(0, COOKIE, 0);
        say_gone();
    }
    tell_held(0, COOKIE, 0);
    tell_held(0, COOKIE, packets[0].label);
    assert_int_equal(sockets_made, 0);
    assert_int_equal(attempts_open(attempts), 2);
    all_is_told();
    assert_int_equal(sockets_made, 2);
    assert_int_equal(attempts_open(attempts), 2);
    all_is_told();
    assert_int_equal(sockets_made, 2);
    tell_held(0, COOKIE + 1, 0); /* nor is it at the end */
    assert_string_equal(seen, "");
    expect_nothing_left(files);
    over = false;
}

/* More than the table holds go to the listener, and there is room again when one has gone. */
static void a_full_table_lets_in(void **state)
{
    static const struct scenario full = {.name = "a full table"};
    unsigned files = open_files();

    (void)state;
    gone = false;
    now = &full;
    over = true;
    make_attempts(0);
    for (uint64_t i = 0; i < ATTEMPTS_MAX; i++)
        hold(0, COOKIE + i, 0);
    assert_string_equal(seen, "");
    hold(0, COOKIE - 1, 0);
    assert_string_equal(seen, "syn");
    assert_int_equal(atomic_load(&limits.connections), ATTEMPTS_MAX);
    say_gone();
    hold(0, COOKIE - 1, 0);
    assert_string_equal(seen, "syn");
    assert_int_equal(sockets_made, ATTEMPTS_MAX + 1);
    expect_nothing_left(files);
    over = false;
}

/* For the next agent, which accepts, would dial once more. */
static void who_retires_lets_in(void **state)
{
    static const struct scenario retired = {.name = "retired"};
    unsigned files = open_files();

    (void)state;
    gone = false;
    now = &retired;
    make_attempts(0);
    attempts_retire(attempts);
    hold(0, COOKIE, 0);
    assert_string_equal(seen, "syn");
    assert_int_equal(sockets_made, 0);
    expect_nothing_left(files);
}

/* Of two pods one leaves the other a fifth of the table. */
static void a_pod_leaves_room_to_others(void **state)
{
    static const struct scenario full = {.name = "two pods"};
    unsigned files = open_files();
    uint64_t cookie = COOKIE;

    (void)state;
    gone = false;
    now = &full;
    over = true;
    pods_registered = 2;
    make_attempts(0);
    for (whose = 1; !seen[0]; cookie++)
        hold(0, cookie, 0);
    assert_int_equal(atomic_load(&pod_of[1].attempts), ATTEMPTS_MAX * 4 / 5 + 1);
    seen[0] = 0;
    for (whose = 2; !seen[0]; cookie++)
        hold(0, cookie, 0);
    assert_in_range(atomic_load(&pod_of[2].attempts), 2600, 2700);
    assert_true(attempts_are_in(attempts, NETNS));
    assert_false(attempts_are_in(attempts, NETNS + 1));
    whose = 0;
    pods_registered = 0;
    expect_nothing_left(files);
    assert_int_equal(atomic_load(&pod_of[1].attempts) + atomic_load(&pod_of[2].attempts), 0);
    assert_int_equal(atomic_load(&pod_of[1].refs), 1);
    over = false;
}

static void syns_are_held_while_we_are_there_to_send_them(void **state)
{
    static const struct scenario waking = {.name = "awake"};
    unsigned files = open_files();
    uint64_t first;

    (void)state;
    now = &waking;
    held_until = 1;
    make_attempts(0);
    assert_int_equal(held_until, 1); /* without CAP_NET_RAW */
    expect_nothing_left(files);
    assert_int_equal(held_until, 0);
    may_send = true;
    hurry = true;
    make_attempts(0);
    first = held_until;
    assert_true(first > clock_read_ns(CLOCK_BOOTTIME));
    assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
    assert_true(held_until > first);
    hurry = false;
    may_send = false;
    expect_nothing_left(files);
    assert_int_equal(held_until, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_given_up_already_is_not_dialled_for),
        cmocka_unit_test(a_full_table_lets_in),
        cmocka_unit_test(who_retires_lets_in),
        cmocka_unit_test(a_pod_leaves_room_to_others),
        cmocka_unit_test(syns_are_held_while_we_are_there_to_send_them),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
