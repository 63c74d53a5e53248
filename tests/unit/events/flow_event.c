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
        cmocka_unit_test(holds_references_while_it_lives),
    };

    return cmocka_run_group_tests(tests, NULL, sample_forget);
}
