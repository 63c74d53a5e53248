/* An event that goes from one agent to the next is told as the first would have told it. */
#include "events/forward.h"

#include <string.h>

#include "sample.h"

static struct flow_event *http_event(void)
{
    struct flow_event *event = flow_event_new(FLOW_EVENT_HTTP, &cart, NULL);

    event->time_ns = SAMPLE_TIME;
    event->src = (struct addr)SRC;
    event->dst = (struct addr)DST;
    event->http.host = "ebpf.io";
    event->http.method = "GET";
    event->http.url = event->http.path = "/tetragon";
    event->http.protocol = "HTTP/1.1";
    event->http.stream = 1;
    event->http.code = 200;
    return event;
}

static void render(void (*with)(struct sink *, const struct flow_event *, struct buffer *),
                   const struct flow_event *event, struct buffer *out)
{
    struct sink sink = {.node_name = "n1", .seq = 6};

    with(&sink, event, out);
    assert_false(out->failed);
}

static void is_told_as_it_would_have_been(void **state)
{
    void (*const ways[])(struct sink *, const struct flow_event *, struct buffer *) = {json_render,
                                                                                       text_render};
    struct flow_event *event = http_event(), *other = NULL;
    struct buffer frame = {0};
    size_t used = 0;

    (void)state;
    render(forward_render, event, &frame);
    assert_int_equal(forward_read(span_of(frame.data, frame.len), &other, &used), FORWARD_DONE);
    assert_int_equal(used, frame.len);
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        struct buffer wanted = {0}, got = {0};

        render(ways[i], event, &wanted);
        render(ways[i], other, &got);
        assert_int_equal(got.len, wanted.len);
        assert_memory_equal(got.data, wanted.data, wanted.len);
        buffer_fini(&wanted);
        buffer_fini(&got);
    }
    assert_int_equal(other->kind, FLOW_EVENT_HTTP);
    assert_string_equal(other->pod->space, "shop");
    assert_string_equal(other->pod->name, "cart-7d4b");
    assert_string_equal(other->process->binary, cart.binary);
    buffer_fini(&frame);
    flow_event_free(&other);
    flow_event_free(&event);
}

static void may_be_passed_on_once_more(void **state)
{
    struct flow_event *event = http_event(), *second = NULL, *third = NULL;
    struct buffer once = {0}, twice = {0};
    size_t used;

    (void)state;
    render(forward_render, event, &once);
    assert_int_equal(forward_read(span_of(once.data, once.len), &second, &used), FORWARD_DONE);
    render(forward_render, second, &twice);
    assert_int_equal(once.len, twice.len);
    assert_memory_equal(once.data, twice.data, once.len);
    assert_int_equal(forward_read(span_of(twice.data, twice.len), &third, &used), FORWARD_DONE);
    buffer_fini(&once);
    buffer_fini(&twice);
    flow_event_free(&third);
    flow_event_free(&second);
    flow_event_free(&event);
}

static void waits_for_the_whole_frame(void **state)
{
    struct flow_event *event = http_event(), *other = NULL;
    struct buffer frame = {0};
    size_t used;

    (void)state;
    render(forward_render, event, &frame);
    for (size_t len = 0; len < frame.len; len++)
        assert_int_equal(forward_read(span_of(frame.data, len), &other, &used), FORWARD_PARTIAL);
    assert_null(other);
    buffer_fini(&frame);
    flow_event_free(&event);
}

static void refuses_what_is_no_frame(void **state)
{
    static const struct {
        const char *name;
        size_t at;
        uint32_t value;
    } cases[] = {
        {"another beginning", 0, 0x12345678},
        {"a kind that is none", 4, FLOW_EVENT_MAX},
        {"a name longer than any event", 16, FORWARD_MAX},
        {"lengths that together are", 20, FORWARD_MAX - 60},
        {"a length that wraps", 28, UINT32_MAX},
    };
    struct flow_event *event = http_event();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct flow_event *other = NULL;
        struct buffer frame = {0};
        size_t used;

        print_message("  %s\n", cases[i].name);
        render(forward_render, event, &frame);
        memcpy(frame.data + cases[i].at, &cases[i].value, sizeof(cases[i].value));
        assert_int_equal(forward_read(span_of(frame.data, frame.len), &other, &used),
                         FORWARD_INVALID);
        buffer_fini(&frame);
    }
    flow_event_free(&event);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_told_as_it_would_have_been),
        cmocka_unit_test(may_be_passed_on_once_more),
        cmocka_unit_test(waits_for_the_whole_frame),
        cmocka_unit_test(refuses_what_is_no_frame),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
