/* followers: the verb "events" over a real control socket: what is refused, and what is told. */
#include "tests/unit/events/sample.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "proxy/control/client.h"
#include "proxy/telemetry/followers.h"

static char dir[] = "/tmp/sallyport-test.XXXXXX", path[64];
static struct event_base *base;
static struct control *control;
static struct feed *feed;
static struct bus *bus;
static struct bus_producer *producer;
static pthread_t loop;

static void *dispatch(void *arg)
{
    (void)arg;
    event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
    return NULL;
}

static void stop(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    event_base_loopbreak(base);
}

static int stop_fd;
static struct event *on_stop;

static int begin(void **state)
{
    struct bus_tap tap;

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/" CONTROL_SOCKET, dir);
    base = event_base_new();
    stop_fd = eventfd(0, EFD_CLOEXEC);
    on_stop = event_new(base, stop_fd, EV_READ, stop, NULL);
    event_add(on_stop, NULL);
    assert_int_equal(feed_new(&feed, "n1", NULL), 0);
    assert_int_equal(bus_new(&bus, NULL, 0, NULL), 0);
    tap = feed_tap(feed);
    assert_int_equal(bus_add_tap(bus, &tap, NULL), 0);
    assert_int_equal(bus_producer_new(&producer, bus, "test", 32768, NULL), 0);
    assert_int_equal(control_new(&control, base, path, NULL), 0);
    assert_int_equal(followers_serve(control, feed, NULL), 0);
    return pthread_create(&loop, NULL, dispatch, NULL);
}

static int end(void **state)
{
    eventfd_write(stop_fd, 1);
    pthread_join(loop, NULL);
    control_free(&control);
    bus_free(&bus);
    feed_free(&feed);
    event_free(on_stop);
    event_base_free(base);
    close(stop_fd);
    rmdir(dir);
    return sample_forget(state);
}

/* The answer's sentence, or "". The connection stays open in *client. */
static const char *ask(struct client *client, const char *request, json_t **answer)
{
    static struct err err;

    err = (struct err){0};
    assert_int_equal(client_connect(client, dir, NULL), 0);
    *answer = NULL;
    client_call(client, json_loads(request, 0, NULL), NULL, 0, answer, &err);
    return err.text;
}

static void refuses_what_makes_no_sense(void **state)
{
    static const struct {
        const char *request, *says;
    } rows[] = {
        {"{\"verb\":\"events\",\"types\":\"http\"}", "\"types\" is no list"},
        {"{\"verb\":\"events\",\"types\":[1]}", "something else than texts"},
        {"{\"verb\":\"events\",\"types\":[\"httpx\"]}", "no events of type 'httpx'"},
        {"{\"verb\":\"events\",\"pods\":[\"(\"]}", "regular expression '('"},
        {"{\"verb\":\"events\",\"processes\":[\"(a)\\\\1\"]}", "no back-references"},
        {"{\"verb\":\"events\",\"output\":\"xml\"}", "\"output\" is neither"},
        {"{\"verb\":\"events\",\"output\":7}", "\"output\" is neither"},
        {"{\"verb\":\"events\",\"since\":5}", "\"since\" is no number"},
        {"{\"verb\":\"events\",\"since\":\"-5\"}", "\"since\" is no number"},
        {"{\"verb\":\"events\",\"since\":\"5x\"}", "\"since\" is no number"},
        {"{\"verb\":\"events\",\"since\":\"99999999999999999999999\"}", "\"since\" is no number"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct client client;
        json_t *answer;
        const char *text = ask(&client, rows[i].request, &answer);

        if (!strstr(text, rows[i].says))
            fail_msg("%s: %s", rows[i].request, text);
        assert_null(answer);
        client_fini(&client);
    }
    assert_int_equal(feed_subscribers(feed), 0);
}

static void emit(uint32_t number)
{
    struct flow_event *event = flow_event_new(FLOW_EVENT_EXIT, &curl, NULL);

    event->exit.status = number;
    bus_emit(producer, &event);
}

static void sends_what_was_asked_for(void **state)
{
    struct client client;
    json_t *answer, *line = NULL;

    (void)state;
    assert_string_equal(ask(&client,
                            "{\"verb\":\"events\",\"types\":[\"exit\",\"http\"],\"processes\":["
                            "\"curl$\"],\"output\":\"json\"}",
                            &answer),
                        "");
    assert_null(json_object_get(answer, "begins"));
    json_decref(answer);
    assert_int_equal(feed_subscribers(feed), 1);
    for (uint32_t i = 1; i <= 3; i++) {
        const json_t *exit;

        emit(i);
        assert_int_equal(client_read_line(&client, 5000, &line, NULL), 1);
        exit = json_object_get(line, "process_exit");
        assert_int_equal(json_integer_value(json_object_get(exit, "status")), i);
        assert_int_equal(strtoul(json_string_value(json_object_get(line, "seq")), NULL, 10), i);
        json_decref(line);
    }
    client_fini(&client);
}

static void says_when_too_little_is_kept(void **state)
{
    struct client client;
    const char *begins;
    json_t *answer;

    (void)state;
    for (uint32_t i = 0; i < FEED_EVENTS + 1; i++) {
        emit(i);
        if (i % 1000 == 0)
            bus_flush(bus);
    }
    bus_flush(bus);
    assert_string_equal(ask(&client, "{\"verb\":\"events\",\"since\":\"1\"}", &answer), "");
    begins = json_string_value(json_object_get(answer, "begins"));
    assert_non_null(begins);
    assert_int_equal(strlen(begins), strlen("2026-11-23T18:00:00.000000001Z"));
    json_decref(answer);
    client_fini(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_makes_no_sense),
        cmocka_unit_test(sends_what_was_asked_for),
        cmocka_unit_test(says_when_too_little_is_kept),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
