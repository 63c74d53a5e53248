#include "proxy/identity/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/cleanup.h"

/* The table's reference is the only one left. */
static struct table_entry *put(struct table *table, uint32_t pid, uint64_t start_ns)
{
    CLEANUP(process_unref) struct process *process = calloc(1, sizeof(*process));

    assert_non_null(process);
    atomic_init(&process->refs, 1);
    process->pid = pid;
    process->start_ns = start_ns;
    return table_put(table, process);
}

static void many_are_found_again(void **state)
{
    enum { MANY = 10000 };
    struct table table;

    (void)state;
    assert_int_equal(table_init(&table), 0);
    for (uint32_t pid = 1; pid <= MANY; pid++)
        assert_non_null(put(&table, pid, 7 * pid));
    assert_int_equal(table.len, MANY);
    assert_true(table.buckets_len >= MANY / 2);
    for (uint32_t pid = 1; pid <= MANY; pid++) {
        const struct table_entry *entry = table_find(&table, pid, 7 * pid);

        assert_non_null(entry);
        assert_int_equal(entry->process->pid, pid);
        assert_ptr_equal(table_find(&table, pid, 0), entry);
        assert_null(table_find(&table, pid, 7 * pid + 1));
    }
    assert_null(table_find(&table, MANY + 1, 0));
    table_fini(&table);
}

static void a_new_image_keeps_its_entry_and_what_was_told(void **state)
{
    struct table table;
    struct table_entry *entry;

    (void)state;
    assert_int_equal(table_init(&table), 0);
    entry = put(&table, 5, 1);
    table_tell(&table, entry);
    table_tell(&table, entry);
    assert_int_equal(table.told, 1);
    assert_ptr_equal(put(&table, 5, 1), entry);
    assert_true(entry->told);
    assert_int_equal(table.told, 1);
    table_fini(&table);
}

static void the_next_process_with_a_pid_begins_untold(void **state)
{
    struct table table;
    struct table_entry *entry;

    (void)state;
    assert_int_equal(table_init(&table), 0);
    entry = put(&table, 5, 1);
    table_tell(&table, entry);
    entry = put(&table, 5, 2);
    assert_false(entry->told);
    assert_int_equal(table.told, 0);
    assert_int_equal(table.len, 1);
    assert_null(table_find(&table, 5, 1));
    table_fini(&table);
}

static void the_ended_stay_in_order_until_dropped(void **state)
{
    struct table table;
    struct table_entry *entry;

    (void)state;
    assert_int_equal(table_init(&table), 0);
    for (uint32_t pid = 1; pid <= 3; pid++) {
        entry = put(&table, pid, pid);
        table_tell(&table, entry);
        table_end(&table, entry);
        assert_null(table_find(&table, pid, 0));
        assert_ptr_equal(table_find_ended(&table, pid, pid), entry);
        assert_null(table_find_ended(&table, pid, 0));
        assert_true(entry->told);
    }
    assert_int_equal(table.len, 0);
    assert_int_equal(table.told, 0);
    for (uint32_t pid = 1; pid <= 3; pid++) {
        assert_int_equal(table.ended->process->pid, pid);
        table_drop_first_ended(&table);
    }
    assert_null(table.ended);
    table_end(&table, put(&table, 4, 4)); /* the tail is at the beginning again */
    assert_int_equal(table.ended->process->pid, 4);
    table_fini(&table);
}

static bool is_odd(void *arg, struct table_entry *entry)
{
    ++*(size_t *)arg;
    return entry->process->pid % 2;
}

static void a_sweep_drops_the_dead(void **state)
{
    struct table table;
    size_t asked = 0;

    (void)state;
    assert_int_equal(table_init(&table), 0);
    for (uint32_t pid = 1; pid <= 1000; pid++)
        table_tell(&table, put(&table, pid, 1));
    table_sweep(&table, is_odd, &asked);
    assert_int_equal(asked, 1000);
    assert_int_equal(table.len, 500);
    assert_int_equal(table.told, 500);
    for (uint32_t pid = 1; pid <= 1000; pid++)
        assert_int_equal(table_find(&table, pid, 0) != NULL, pid % 2 == 0);
    table_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_are_found_again),
        cmocka_unit_test(a_new_image_keeps_its_entry_and_what_was_told),
        cmocka_unit_test(the_next_process_with_a_pid_begins_untold),
        cmocka_unit_test(the_ended_stay_in_order_until_dropped),
        cmocka_unit_test(a_sweep_drops_the_dead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
