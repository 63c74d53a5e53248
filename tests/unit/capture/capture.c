/* What is put in comes out whole, or is counted; nobody waits; what is over takes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/eventfd.h>

#include "proxy/capture/capture.h"

static struct pod cart = {.refs = 1, .space = "shop", .name = "cart"};
static struct pod other = {.refs = 1, .space = "", .name = "other"};
static int wake;

static int set_up(void **state)
{
    (void)state;
    wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return wake < 0;
}

static int tear_down(void **state)
{
    (void)state;
    fd_close(&wake);
    return 0;
}

static bool woken(void)
{
    eventfd_t count;

    return eventfd_read(wake, &count) == 0;
}

static void gives_lines_as_they_were_put(void **state)
{
    CLEANUP(capture_unref) struct capture *capture = capture_new(CAPTURE_KEYS, &cart, 100, wake);
    CLEANUP(buffer_fini) struct buffer load = {0};

    (void)state;
    assert_false(capture_take(capture, &load));
    assert_false(woken());
    capture_line(capture, "a key");
    assert_true(woken());
    capture_line(capture, "another");
    assert_false(woken()); /* once, until it is taken */
    capture_packet(capture, &(struct pcapng_packet){0});
    assert_true(capture_take(capture, &load));
    assert_int_equal(load.len, CAPTURE_HEAD + 14);
    assert_memory_equal(load.data + CAPTURE_HEAD, "a key\nanother\n", 14);
    load.len = 0;
    assert_false(capture_take(capture, &load));
    assert_int_equal(capture->came, 2);
    assert_int_equal(capture->missed, 0);
}

static void ends_where_its_size_would_be_passed(void **state)
{
    CLEANUP(capture_unref) struct capture *capture = capture_new(CAPTURE_KEYS, &cart, 10, wake);
    CLEANUP(buffer_fini) struct buffer load = {0};

    (void)state;
    capture_line(capture, "1234");
    woken();
    capture_line(capture, "56789");
    assert_true(woken());
    assert_true(atomic_load(&capture->full));
    capture_line(capture, "1");
    assert_true(capture_take(capture, &load));
    assert_int_equal(load.len, CAPTURE_HEAD + 5);
    assert_int_equal(capture->bytes, 5);
    assert_int_equal(capture->missed, 0);
}

static void counts_what_finds_no_room(void **state)
{
    CLEANUP(capture_unref)
    struct capture *capture = capture_new(CAPTURE_PCAP, &cart, UINT64_C(1) << 40, wake);
    CLEANUP(buffer_fini) struct buffer load = {0};
    static uint8_t bytes[PCAPNG_PAYLOAD_MAX];
    const struct pcapng_packet packet = {.payload = span_of(bytes, sizeof(bytes))};
    size_t size = pcapng_packet_size(&packet);

    (void)state;
    for (int i = 0; i < 1000; i++)
        capture_packet(capture, &packet);
    assert_true(capture_take(capture, &load));
    assert_true(load.len <= CAPTURE_ROOM && load.len > CAPTURE_ROOM - size);
    assert_int_equal((load.len - CAPTURE_HEAD) % size, 0);
    assert_int_equal(capture->came, 1000);
    assert_int_equal(capture->missed, 1000 - load.len / size);
    capture_packet(capture, &packet); /* there is room again */
    load.len = 0;
    assert_true(capture_take(capture, &load));
    assert_int_equal(load.len, CAPTURE_HEAD + size);
}

static void takes_nothing_when_it_is_over(void **state)
{
    CLEANUP(capture_unref) struct capture *capture = capture_new(CAPTURE_KEYS, &cart, 100, wake);
    CLEANUP(buffer_fini) struct buffer load = {0};

    (void)state;
    capture_line(capture, "a");
    capture_end(capture);
    woken();
    capture_line(capture, "b");
    assert_false(woken());
    assert_true(capture_take(capture, &load));
    assert_int_equal(load.len, CAPTURE_HEAD + 2);
}

static void finds_those_of_a_pod(void **state)
{
    struct capture *captures[CAPTURES_MAX + 1], *found[CAPTURES_MAX];
    struct capture_table table;

    (void)state;
    capture_table_init(&table);
    assert_int_equal(capture_table_find(&table, &cart, found), 0);
    for (int i = 0; i <= CAPTURES_MAX; i++) {
        captures[i] = capture_new(i ? CAPTURE_PCAP : CAPTURE_KEYS, i == 1 ? &other : &cart, 1, -1);
        assert_int_equal(capture_table_add(&table, captures[i]), i < CAPTURES_MAX);
    }
    assert_int_equal(atomic_load(&table.keys), 1);
    assert_int_equal(capture_table_find(&table, NULL, found), 0);
    assert_int_equal(capture_table_find(&table, &other, found), 1);
    assert_ptr_equal(found[0], captures[1]);
    capture_unref(&found[0]);
    capture_table_remove(&table, captures[0]);
    capture_table_remove(&table, captures[CAPTURES_MAX]); /* is not in it */
    assert_int_equal(atomic_load(&table.keys), 0);
    assert_int_equal(atomic_load(&table.used), CAPTURES_MAX - 1);
    assert_int_equal(capture_table_find(&table, &cart, found), 2);
    capture_unref(&found[0]);
    capture_unref(&found[1]);
    for (int i = 0; i <= CAPTURES_MAX; i++)
        capture_unref(&captures[i]);
    capture_table_fini(&table);
    assert_int_equal(atomic_load(&cart.refs), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_lines_as_they_were_put),
        cmocka_unit_test(ends_where_its_size_would_be_passed),
        cmocka_unit_test(counts_what_finds_no_room),
        cmocka_unit_test(takes_nothing_when_it_is_over),
        cmocka_unit_test(finds_those_of_a_pod),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
