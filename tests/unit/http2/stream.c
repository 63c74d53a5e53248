/* stream: what is said in one stream gets to the other side of the relay, and how it ends. */
#include "tests/unit/http2/peers.h"

static const char PATH[] = "/a.B/C";

static void a_request_and_its_answer(void **state)
{
    struct peers *peers = peers_new(NULL, 0);
    int32_t id = ask(peers, PATH, true, true);

    (void)state;
    pump(peers);
    assert_true(upstream_heard(peers, id)->asked && !upstream_heard(peers, id)->end);
    answer(peers, id, "103", false);
    answer(peers, id, "200", true);
    for (unsigned turn = 1; turn <= 3; turn++) { /* while neither has ended */
        more(peers, HTTP2_POD, id, 1000);
        more(peers, HTTP2_UPSTREAM, id, 2000);
        pump(peers);
        assert_int_equal(upstream_heard(peers, id)->bytes, 1000 * turn);
        assert_int_equal(pod_heard(peers, id)->bytes, 2000 * turn);
    }
    assert_int_equal(pod_heard(peers, id)->interim, 1);
    assert_int_equal(pod_heard(peers, id)->code, 200);
    end(peers, HTTP2_POD, id, true);
    end(peers, HTTP2_UPSTREAM, id, true);
    pump(peers);
    assert_true(upstream_heard(peers, id)->trailers && upstream_heard(peers, id)->end);
    assert_true(pod_heard(peers, id)->trailers && pod_heard(peers, id)->end);
    assert_true(peers->end.whole && peers->answers == 1);
    assert_int_equal(peers->told[HTTP2_POD], 3000);
    assert_int_equal(peers->told[HTTP2_UPSTREAM], 6000);
    assert_int_equal(http2_open(peers->http2), 0);
    peers_free(peers);
}

/* ---- refused ---- */

static const struct {
    const char *name, *path;
    bool grpc;
    unsigned code;
    const char *grpc_status;
    size_t bytes; /* the reason */
} refused[] = {
    {"a request", "/denied", false, 403, "", sizeof("sallyport: denied by policy\n") - 1},
    {"a gRPC call", "/denied", true, 200, "7", 0},
};

static void what_is_refused_never_arrives(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        struct peers *peers = peers_new(NULL, 0);
        int32_t id = ask(peers, refused[i].path, refused[i].grpc, true), next;

        print_message("  %s\n", refused[i].name);
        more(peers, HTTP2_POD, id, 1 << 20); /* more than any window: it has its credit back */
        next = ask(peers, PATH, false, true);
        more(peers, HTTP2_POD, next, 1 << 18);
        end(peers, HTTP2_POD, next, false);
        pump(peers);
        assert_int_equal(pod_heard(peers, id)->code, refused[i].code);
        assert_string_equal(pod_heard(peers, id)->grpc_status, refused[i].grpc_status);
        assert_true(pod_heard(peers, id)->end);
        assert_int_equal(pod_heard(peers, id)->bytes, refused[i].bytes);
        assert_int_equal(pod_heard(peers, id)->to_send, 0);
        assert_int_equal(peers->told[HTTP2_POD], 1 << 18);
        /* upstream's number 1 is the neighbour's, which noticed nothing */
        assert_int_equal(upstream_heard(peers, 1)->bytes, 1 << 18);
        assert_true(upstream_heard(peers, 1)->end && !upstream_heard(peers, 3)->asked);
        end(peers, HTTP2_POD, id, false);
        answer(peers, 1, "204", false);
        pump(peers);
        assert_true(pod_heard(peers, id)->closed && !pod_heard(peers, id)->closed_code);
        assert_int_equal(pod_heard(peers, next)->code, 204);
        peers_free(peers);
    }
}

static void a_request_without_memory_may_be_tried_again(void **state)
{
    struct peers *peers = peers_new(NULL, 0);
    int32_t id = ask(peers, "/no-memory", false, false), next;

    (void)state;
    pump(peers);
    assert_int_equal(pod_heard(peers, id)->closed_code, NGHTTP2_REFUSED_STREAM);
    peers->room_max = peers->room;
    next = ask(peers, PATH, false, false);
    pump(peers);
    assert_int_equal(pod_heard(peers, next)->closed_code, NGHTTP2_REFUSED_STREAM);
    assert_int_equal(peers->requests, 1); /* nobody was asked about the second */
    assert_false(upstream_heard(peers, 1)->asked);
    peers_free(peers);
}

/* ---- stopped ---- */

static const struct {
    const char *name;
    enum http2_side from;
    bool grpc, answered, end; /* its end does not go on, else its bytes from the 5000th */
    uint16_t code;
    unsigned want;           /* the answer's status, 0: none */
    const char *grpc_status; /* ... if it is ours */
    uint32_t closed_code;    /* of the pod's stream */
} stopped[] = {
    {"a request", HTTP2_POD, false, false, false, 403, 403, "", NGHTTP2_NO_ERROR},
    {"a request's end", HTTP2_POD, false, false, true, 403, 403, "", NGHTTP2_NO_ERROR},
    {"a gRPC call", HTTP2_POD, true, false, false, 403, 200, "7", NGHTTP2_NO_ERROR},
    {"a request, without a word", HTTP2_POD, false, false, false, 0, 0, "", NGHTTP2_INTERNAL_ERROR},
    {"a request that has its answer", HTTP2_POD, false, true, false, 403, 200, "",
     NGHTTP2_INTERNAL_ERROR},
    {"an answer", HTTP2_UPSTREAM, false, true, false, 403, 200, "", NGHTTP2_INTERNAL_ERROR},
    {"an answer's end", HTTP2_UPSTREAM, false, true, true, 403, 200, "", NGHTTP2_INTERNAL_ERROR},
};

static void what_is_stopped_has_no_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(stopped); i++) {
        struct peers *peers = peers_new(NULL, 0);
        enum http2_side from = stopped[i].from;
        int32_t id = ask(peers, PATH, stopped[i].grpc, true), next = ask(peers, PATH, false, true);
        struct heard *taker = from == HTTP2_POD ? upstream_heard(peers, id) : pod_heard(peers, id);
        size_t whole = stopped[i].end ? 4999 : 1 << 20; /* more than any window */

        print_message("  %s\n", stopped[i].name);
        pump(peers);
        if (stopped[i].answered)
            answer(peers, id, "200", true);
        pump(peers);
        peers->stop_at[from] = 5000;
        peers->stop_end[from] = stopped[i].end;
        peers->stop_code = stopped[i].code;
        more(peers, from, id, 4000);
        pump(peers);
        more(peers, from, id, whole - 4000);
        end(peers, from, id, false);
        pump(peers);
        assert_true(taker->bytes < 5000 && !taker->end);
        assert_true(upstream_heard(peers, id)->closed && !upstream_heard(peers, id)->end);
        assert_int_equal(upstream_heard(peers, id)->closed_code, NGHTTP2_CANCEL);
        assert_int_equal(pod_heard(peers, id)->code, stopped[i].want);
        assert_string_equal(pod_heard(peers, id)->grpc_status, stopped[i].grpc_status);
        assert_true(pod_heard(peers, id)->closed);
        assert_int_equal(pod_heard(peers, id)->closed_code, stopped[i].closed_code);
        assert_int_equal(http2_open(peers->http2), 1);
        /* the other one noticed nothing */
        peers->stop_at[from] = 0;
        peers->stop_end[from] = false;
        answer(peers, next, "204", false);
        more(peers, HTTP2_POD, next, 1 << 18);
        end(peers, HTTP2_POD, next, false);
        pump(peers);
        assert_int_equal(upstream_heard(peers, next)->bytes, 1 << 18);
        assert_int_equal(pod_heard(peers, next)->code, 204);
        assert_int_equal(http2_open(peers->http2), 0);
        peers_free(peers);
    }
}

/* ---- resets ---- */

enum said { NOTHING, HEAD, BYTES_TOO, END, TRAILERS };

static const struct {
    const char *name;
    enum http2_side by;
    enum said said; /* before it */
    uint32_t code, want;
} resets[] = {
    {"by the pod, of a request", HTTP2_POD, HEAD, NGHTTP2_CANCEL, NGHTTP2_CANCEL},
    {"by the pod, behind bytes", HTTP2_POD, BYTES_TOO, NGHTTP2_CANCEL, NGHTTP2_CANCEL},
    {"by the pod, behind all", HTTP2_POD, END, 0x12345678, 0x12345678},
    {"by the pod, behind trailers", HTTP2_POD, TRAILERS, NGHTTP2_CANCEL, NGHTTP2_CANCEL},
    {"by upstream, unanswered", HTTP2_UPSTREAM, NOTHING, NGHTTP2_REFUSED_STREAM,
     NGHTTP2_REFUSED_STREAM},
    {"by upstream, behind a head", HTTP2_UPSTREAM, HEAD, NGHTTP2_INTERNAL_ERROR,
     NGHTTP2_INTERNAL_ERROR},
    {"by upstream, behind bytes", HTTP2_UPSTREAM, BYTES_TOO, 0x12345678, 0x12345678},
    {"by upstream, an early answer", HTTP2_UPSTREAM, END, NGHTTP2_NO_ERROR, NGHTTP2_NO_ERROR},
    {"by upstream, early trailers", HTTP2_UPSTREAM, TRAILERS, NGHTTP2_NO_ERROR, NGHTTP2_NO_ERROR},
};

/* All at once: what was said and the reset go into the relay before anything is pulled from it.
 * They are not pulled together: who reads both at once may look at the reset first. */
static void say_and_reset(struct peers *peers, size_t i, int32_t id)
{
    enum http2_side by = resets[i].by;

    if (by == HTTP2_UPSTREAM && resets[i].said != NOTHING)
        answer(peers, id, "200", true);
    if (resets[i].said >= BYTES_TOO)
        more(peers, by, id, 5000);
    if (resets[i].said >= END)
        end(peers, by, id, resets[i].said == TRAILERS);
    feed(peers, by);
    reset(peers, by, id, resets[i].code);
    feed(peers, by);
}

static void a_reset_comes_behind_what_was_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(resets); i++) {
        struct peers *peers = peers_new(NULL, 0);
        int32_t id = ask(peers, PATH, true, true);
        struct heard *heard =
            heard_of(&peers->peer[resets[i].by == HTTP2_POD ? HTTP2_UPSTREAM : HTTP2_POD], id);

        print_message("  %s\n", resets[i].name);
        pump(peers);
        say_and_reset(peers, i, id);
        if (resets[i].said > (resets[i].by == HTTP2_POD ? HEAD : NOTHING)) {
            pull(peers, resets[i].by == HTTP2_POD ? HTTP2_UPSTREAM : HTTP2_POD);
            assert_int_equal(heard->end, resets[i].said >= END);
            assert_false(heard->closed);
        }
        pump(peers);
        assert_true(heard->closed);
        assert_int_equal(heard->closed_code, resets[i].want);
        assert_int_equal(heard->asked, resets[i].by == HTTP2_POD || resets[i].said != NOTHING);
        assert_int_equal(heard->bytes, resets[i].said >= BYTES_TOO ? 5000 : 0);
        assert_int_equal(heard->end, resets[i].said >= END);
        assert_int_equal(heard->trailers, resets[i].said == TRAILERS);
        assert_int_equal(peers->end.by, resets[i].by);
        assert_int_equal(peers->end.code, resets[i].code);
        assert_true(!peers->end.whole && !peers->end.reason);
        assert_int_equal(http2_open(peers->http2), 0);
        peers_free(peers);
    }
}

static void a_request_reset_at_once_does_not_go_on(void **state)
{
    struct peers *peers = peers_new(NULL, 0);
    int32_t id = ask(peers, PATH, false, true);

    (void)state;
    more(peers, HTTP2_POD, id, 100);
    feed(peers, HTTP2_POD);
    reset(peers, HTTP2_POD, id, NGHTTP2_CANCEL);
    pump(peers);
    assert_false(upstream_heard(peers, id)->asked);
    assert_int_equal(http2_open(peers->http2), 0);
    peers_free(peers);
}

static void a_reset_does_not_wait_for_a_window(void **state)
{
    struct peers *peers = peers_new(NULL, 0);
    int32_t id = ask(peers, PATH, false, true);

    (void)state;
    upstream_heard(peers, id)->stalled = true;
    more(peers, HTTP2_POD, id, 100000);
    pump(peers);
    assert_int_equal(upstream_heard(peers, id)->bytes, 65535);
    reset(peers, HTTP2_POD, id, NGHTTP2_CANCEL);
    pump(peers);
    assert_true(upstream_heard(peers, id)->closed);
    assert_int_equal(upstream_heard(peers, id)->closed_code, NGHTTP2_CANCEL);
    peers_free(peers);
}

/* ... unless all was said before it: the rest is an answer that is read slowly. */
static void an_early_answer_is_read_to_its_end(void **state)
{
    struct peers *peers = peers_new(NULL, 0);
    int32_t id = ask(peers, PATH, false, true);
    struct heard *heard = pod_heard(peers, id);

    (void)state;
    heard->stalled = true;
    pump(peers);
    answer(peers, id, "413", true);
    more(peers, HTTP2_UPSTREAM, id, 100000);
    end(peers, HTTP2_UPSTREAM, id, false);
    pump(peers);
    reset(peers, HTTP2_UPSTREAM, id, NGHTTP2_NO_ERROR);
    pump(peers);
    assert_true(heard->bytes == 65535 && !heard->closed);
    heard->stalled = false;
    nghttp2_session_consume_stream(peers->peer[HTTP2_POD].ng, id, heard->untaken);
    pump(peers);
    assert_true(heard->bytes == 100000 && heard->end && heard->closed);
    peers_free(peers);
}

/* ---- credit ---- */

static void credit_comes_when_bytes_are_written(void **state)
{
    struct peers *peers = peers_new(NULL, 0);
    int32_t id = ask(peers, PATH, false, true);
    nghttp2_session *client = peers->peer[HTTP2_POD].ng;

    (void)state;
    pump(peers);
    more(peers, HTTP2_POD, id, 1 << 20);
    feed(peers, HTTP2_POD);
    while (pull(peers, HTTP2_UPSTREAM)) /* each on its way, and not written */
        ;
    while (pull(peers, HTTP2_POD))
        ;
    assert_int_equal(nghttp2_session_get_stream_remote_window_size(client, id), 0);
    assert_int_equal(nghttp2_session_get_remote_window_size(client), 0);
    assert_int_equal(feed(peers, HTTP2_POD), 0);
    http2_written(peers->http2, HTTP2_UPSTREAM);
    while (pull(peers, HTTP2_POD))
        ;
    assert_true(nghttp2_session_get_stream_remote_window_size(client, id) > 0);
    assert_true(nghttp2_session_get_remote_window_size(client) > 0);
    pump(peers);
    assert_int_equal(upstream_heard(peers, id)->bytes, 1 << 20);
    peers_free(peers);
}

static void a_stalled_stream_leaves_its_neighbour_alone(void **state)
{
    struct peers *peers = peers_new(NULL, 0);
    int32_t up = ask(peers, PATH, false, true), down = ask(peers, PATH, false, false), next;

    (void)state;
    upstream_heard(peers, up)->stalled = pod_heard(peers, down)->stalled = true;
    pump(peers);
    answer(peers, down, "200", true);
    more(peers, HTTP2_POD, up, 4 << 20);
    more(peers, HTTP2_UPSTREAM, down, 4 << 20);
    pump(peers);
    assert_int_equal(upstream_heard(peers, up)->bytes, 65535);
    assert_int_equal(pod_heard(peers, down)->bytes, 65535);
    next = ask(peers, PATH, false, true);
    more(peers, HTTP2_POD, next, 1 << 20);
    pump(peers);
    answer(peers, next, "200", true);
    more(peers, HTTP2_UPSTREAM, next, 1 << 20);
    pump(peers);
    assert_int_equal(upstream_heard(peers, next)->bytes, 1 << 20);
    assert_int_equal(pod_heard(peers, next)->bytes, 1 << 20);
    peers_free(peers);
}

/* What the client may send at once of one stream in the end, when the server takes `takes` at a
 * time and each round takes so long. */
static int32_t grown_window(int32_t takes, uint64_t tick_ns)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)takes}};
    struct peers *peers = peers_new(settings, 1);
    int32_t quick = ask(peers, PATH, false, true), slow = ask(peers, PATH, false, true), window;
    nghttp2_session *client = peers->peer[HTTP2_POD].ng;

    assert_int_equal(nghttp2_session_set_local_window_size(peers->peer[HTTP2_UPSTREAM].ng,
                                                           NGHTTP2_FLAG_NONE, 0, takes),
                     0);
    peers->tick_ns = tick_ns;
    upstream_heard(peers, slow)->stalled = true;
    more(peers, HTTP2_POD, quick, 32 << 20);
    more(peers, HTTP2_POD, slow, 32 << 20);
    pump(peers);
    assert_int_equal(upstream_heard(peers, quick)->bytes, 32 << 20);
    assert_int_equal(nghttp2_session_get_stream_remote_window_size(client, slow), 0);
    window = nghttp2_session_get_stream_remote_window_size(client, quick);
    peers_free(peers);
    return window;
}

static void windows_grow_for_who_takes(void **state)
{
    enum { FAR_AWAY = 10000000 };

    (void)state;
    assert_in_range(grown_window(16 << 20, 0), 128 << 10, HTTP2_STREAM_WINDOW_NEAR);
    assert_in_range(grown_window(16 << 20, FAR_AWAY), 1 << 20, HTTP2_STREAM_WINDOW_MAX);
    assert_in_range(grown_window(512 << 10, FAR_AWAY), 128 << 10, 512 << 10);
    assert_in_range(grown_window(65535, FAR_AWAY), 0, 65535);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_and_its_answer),
        cmocka_unit_test(what_is_refused_never_arrives),
        cmocka_unit_test(what_is_stopped_has_no_end),
        cmocka_unit_test(a_request_without_memory_may_be_tried_again),
        cmocka_unit_test(a_reset_comes_behind_what_was_said),
        cmocka_unit_test(a_request_reset_at_once_does_not_go_on),
        cmocka_unit_test(a_reset_does_not_wait_for_a_window),
        cmocka_unit_test(an_early_answer_is_read_to_its_end),
        cmocka_unit_test(credit_comes_when_bytes_are_written),
        cmocka_unit_test(a_stalled_stream_leaves_its_neighbour_alone),
        cmocka_unit_test(windows_grow_for_who_takes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
