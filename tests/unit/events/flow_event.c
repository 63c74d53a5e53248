#include "sample.h"

static void keeps_its_texts_whatever_their_length(void **state)
{
    struct flow_event *event = flow_event_new(FLOW_EVENT_HTTP, &curl, &cart_pod);
    static const size_t lengths[] = {0, 1, 7, 1000, 1023, 1024, 1025, 100000, 3};
    static uint8_t text[100000];
    const char *copies[ARRAY_SIZE(lengths)];

    (void)state;
    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
        copies[i] = flow_event_text(event, span_of(text, lengths[i]));
    memset(text, 'y', sizeof(text)); /* nothing is borrowed */
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        assert_int_equal(strlen(copies[i]), lengths[i]);
        assert_int_equal(strspn(copies[i], "x"), lengths[i]);
    }
    flow_event_free(&event);
    assert_null(event);
}

static void makes_room_for_headers_between_texts(void **state)
{
    struct flow_event *event = flow_event_new(FLOW_EVENT_HTTP, NULL, NULL);
    struct flow_event_header *few, *many;

    (void)state;
    assert_string_equal(flow_event_text(event, BYTES("odd")), "odd");
    few = flow_event_headers(event, 2); /* the sanitizer sees if it is not aligned */
    many = flow_event_headers(event, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_true(!many[i].key && !many[i].value);
    few[1].key = many[999].key = flow_event_text(event, BYTES("key"));
    assert_null(few[0].key);
    assert_string_equal(few[1].key, "key");
    assert_null(
        flow_event_headers(event, SIZE_MAX / sizeof(*few) + 2)); /* not a size that wrapped round */
    flow_event_free(&event);
}

static void copies_lists(void **state)
{
    struct flow_event *event = flow_event_new(FLOW_EVENT_DNS, NULL, NULL);
    char first[] = "ebpf.io.", second[2000], *texts[] = {first, second, NULL};
    const char *const *borrowed = (const char *const *)texts;

    (void)state;
    memset(second, 'a', sizeof(second));
    second[sizeof(second) - 1] = 0;
    assert_string_equal(flow_event_text(event, BYTES("odd")), "odd");
    assert_true(flow_event_set_names(event, borrowed, 3));
    assert_true(flow_event_set_list(event, borrowed, 1, &event->dns.ips, &event->dns.ips_len));
    memset(first, 'x', sizeof(first) - 1); /* nothing is borrowed */
    memset(second, 'x', sizeof(second) - 1);
    assert_int_equal(event->names_len, 3);
    assert_string_equal(event->names[0], "ebpf.io.");
    assert_int_equal(strspn(event->names[1], "a"), sizeof(second) - 1);
    assert_string_equal(event->names[2], "");
    assert_int_equal(event->dns.ips_len, 1);
    assert_string_equal(event->dns.ips[0], "ebpf.io.");
    flow_event_free(&event);
}

static void leaves_a_list_empty(void **state)
{
    struct flow_event *event = flow_event_new(FLOW_EVENT_CONNECT, NULL, NULL);
    const char *text = "a";

    (void)state;
    assert_true(flow_event_set_names(event, NULL, 0));
    assert_int_equal(event->names_len, 0);
    /* no memory: not a size that wrapped round, and nothing for a sink to read */
    event->names_len = 1;
    assert_false(flow_event_set_names(event, &text, SIZE_MAX / sizeof(text) + 2));
    assert_null(event->names);
    assert_int_equal(event->names_len, 0);
    flow_event_free(&event);
}

static void holds_references_while_it_lives(void **state)
{
    unsigned int process = atomic_load(&curl.refs), pod = atomic_load(&cart_pod.refs);
    struct flow_event *event = flow_event_new(FLOW_EVENT_EXEC, &curl, &cart_pod);

    (void)state;
    assert_int_equal(atomic_load(&curl.refs), process + 1);
    assert_int_equal(atomic_load(&cart_pod.refs), pod + 1);
    flow_event_free(&event);
    assert_int_equal(atomic_load(&curl.refs), process);
    assert_int_equal(atomic_load(&cart_pod.refs), pod);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_its_texts_whatever_their_length),
        cmocka_unit_test(makes_room_for_headers_between_texts),
        cmocka_unit_test(copies_lists),
        cmocka_unit_test(leaves_a_list_empty),
        cmocka_unit_test(holds_references_while_it_lives),
    };

    return cmocka_run_group_tests(tests, NULL, sample_forget);
}
