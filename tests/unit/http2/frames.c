/* frames: what concerns an HTTP/2 connection as a whole, from one end to the other; and what ends
 * one. */
#include "tests/unit/http2/peers.h"

/* ---- SETTINGS ---- */

static const struct {
    const char *name;
    nghttp2_settings_entry said[3];
    size_t len;
    uint32_t streams, list, connect;
} settings[] = {
    {"none", {{0}}, 0, HTTP2_STREAMS_MAX, HTTP2_LIST_MAX, 0},
    {"fewer streams", {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 7}}, 1, 7, HTTP2_LIST_MAX, 0},
    {"more of all than we bear",
     {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100000},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 1 << 30}},
     2,
     HTTP2_STREAMS_MAX,
     HTTP2_LIST_MAX,
     0},
    {"extended CONNECT, smaller heads",
     {{NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1}, {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 4096}},
     2,
     HTTP2_STREAMS_MAX,
     4096,
     1},
};

static void check_settings(struct peers *peers, uint32_t streams, uint32_t list, uint32_t connect)
{
    nghttp2_session *client = peers->peer[HTTP2_POD].ng;
    nghttp2_session *server = peers->peer[HTTP2_UPSTREAM].ng;

    assert_int_equal(
        nghttp2_session_get_remote_settings(client, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
        streams);
    assert_int_equal(
        nghttp2_session_get_remote_settings(client, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE), list);
    assert_int_equal(
        nghttp2_session_get_remote_settings(client, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL),
        connect);
    assert_int_equal(nghttp2_session_get_remote_settings(server, NGHTTP2_SETTINGS_ENABLE_PUSH), 0);
}

static void the_pod_is_told_what_upstream_allows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        struct peers *peers = peers_new(settings[i].said, settings[i].len);
        const nghttp2_settings_entry later = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 3};

        print_message("  %s\n", settings[i].name);
        assert_int_equal(peers->peer[HTTP2_POD].first_frame, NGHTTP2_SETTINGS);
        check_settings(peers, settings[i].streams, settings[i].list, settings[i].connect);
        nghttp2_submit_settings(peers->peer[HTTP2_UPSTREAM].ng, 0, &later, 1);
        pump(peers);
        check_settings(peers, 3, settings[i].list, settings[i].connect);
        peers_free(peers);
    }
}

/* Some look for extended CONNECT in the first SETTINGS only, so those wait for upstream's. */
static void the_pod_hears_nothing_before_upstream_spoke(void **state)
{
    struct peers *peers = calloc(1, sizeof(*peers));
    uint8_t out[HTTP2_PULL_MIN];

    (void)state;
    assert_int_equal(http2_new(&peers->http2, &peers_hooks, peers), 0);
    peer_begin(peers, HTTP2_POD);
    peer_begin(peers, HTTP2_UPSTREAM);
    for (unsigned i = 0; i < 3; i++) /* whose acknowledgements may not come first, either */
        nghttp2_submit_settings(peers->peer[HTTP2_POD].ng, 0, NULL, 0);
    ask(peers, "/denied", false, false);
    feed(peers, HTTP2_POD);
    assert_int_equal(http2_pull(peers->http2, HTTP2_POD, out, sizeof(out)), 0);
    assert_true(http2_awaits(peers->http2, HTTP2_UPSTREAM));
    nghttp2_submit_settings(peers->peer[HTTP2_UPSTREAM].ng, 0, NULL, 0);
    pump(peers);
    assert_int_equal(peers->peer[HTTP2_POD].first_frame, NGHTTP2_SETTINGS);
    assert_int_equal(pod_heard(peers, 1)->code, 403);
    assert_false(http2_awaits(peers->http2, HTTP2_UPSTREAM));
    peers_free(peers);
}

/* ---- PING and GOAWAY ---- */

static void pings_go_from_end_to_end(void **state)
{
    struct peers *peers = peers_new(NULL, 0);

    (void)state;
    for (enum http2_side side = 0; side < HTTP2_SIDES; side++) {
        struct peer *other = &peers->peer[side == HTTP2_POD ? HTTP2_UPSTREAM : HTTP2_POD];

        nghttp2_submit_ping(peers->peer[side].ng, NGHTTP2_FLAG_NONE, NULL);
        feed(peers, side);
        pull(peers, side);
        assert_int_equal(peers->peer[side].pongs, 0); /* not ours to answer */
        pump(peers);
        assert_int_equal(other->pings, 1);
        assert_int_equal(peers->peer[side].pongs, 1);
    }
    peers_free(peers);
}

static void pings_that_nobody_answers_are_few(void **state)
{
    struct peers *peers = peers_new(NULL, 0);

    (void)state;
    for (unsigned i = 0; i < 64; i++)
        nghttp2_submit_ping(peers->peer[HTTP2_POD].ng, NGHTTP2_FLAG_NONE, NULL);
    feed(peers, HTTP2_POD);
    assert_null(http2_fault(peers->http2));
    nghttp2_submit_ping(peers->peer[HTTP2_POD].ng, NGHTTP2_FLAG_NONE, NULL);
    feed(peers, HTTP2_POD);
    assert_string_equal(http2_fault(peers->http2), "the program's HTTP/2: too many PINGs");
    while (pull(peers, HTTP2_POD))
        ;
    assert_int_equal(peers->peer[HTTP2_POD].goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_false(http2_wants(peers->http2, HTTP2_POD));
    assert_true(http2_finished(peers->http2, HTTP2_POD));
    peers_free(peers);
}

static const struct {
    const char *name;
    int32_t last, want;
} goaways[] = {
    {"none was looked at", 0, 1}, /* the pod's 1 was refused by us */
    {"the first was", 1, 3},
    {"all were", 5, 7},
    {"the notice of one to come", INT32_MAX, 7},
};

static void goaway_has_the_pods_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(goaways); i++) {
        struct peers *peers = peers_new(NULL, 0);
        nghttp2_session *server = peers->peer[HTTP2_UPSTREAM].ng;
        int32_t late;

        print_message("  %s\n", goaways[i].name);
        ask(peers, "/denied", false, false);
        for (unsigned n = 0; n < 3; n++) /* 3, 5, 7: upstream's 1, 3, 5 */
            ask(peers, "/", false, true);
        pump(peers);
        if (goaways[i].last == INT32_MAX)
            nghttp2_submit_shutdown_notice(server);
        else
            nghttp2_submit_goaway(server, 0, goaways[i].last, NGHTTP2_NO_ERROR, NULL, 0);
        feed(peers, HTTP2_UPSTREAM);
        late = ask(peers, "/", false, false); /* it does not know yet */
        feed(peers, HTTP2_POD);
        pump(peers);
        assert_int_equal(peers->peer[HTTP2_POD].goaways, 1);
        assert_int_equal(peers->peer[HTTP2_POD].last, goaways[i].want);
        for (int32_t id = 3; id <= late;
             id += 2) { /* those in flight finish, others may be retried */
            struct heard *heard = pod_heard(peers, id);

            if (id > goaways[i].want) {
                assert_true(heard->closed && heard->closed_code == NGHTTP2_REFUSED_STREAM);
                continue;
            }
            end(peers, HTTP2_POD, id, false);
            answer(peers, id - 2, "200", false);
            pump(peers);
            assert_true(heard->code == 200 && heard->closed && !heard->closed_code);
        }
        assert_null(http2_fault(peers->http2));
        peers_free(peers);
    }
}

/* A server that hears a GOAWAY and has no stream open may be gone when the request comes. */
static void the_pods_goaway_goes_behind_its_requests(void **state)
{
    struct peers *peers = peers_new(NULL, 0);
    int32_t id = ask(peers, "/", false, false);

    (void)state;
    feed(peers, HTTP2_POD);
    nghttp2_submit_goaway(peers->peer[HTTP2_POD].ng, 0, 0, NGHTTP2_NO_ERROR, NULL, 0);
    pump(peers);
    assert_true(upstream_heard(peers, id)->asked);
    assert_int_equal(peers->peer[HTTP2_UPSTREAM].goaways, 1);
    answer(peers, id, "200", false);
    pump(peers);
    assert_int_equal(pod_heard(peers, id)->code, 200);
    assert_true(http2_finished(peers->http2, HTTP2_POD));
    assert_true(http2_finished(peers->http2, HTTP2_UPSTREAM));
    peers_free(peers);
}

/* nghttp2 drops what comes while nothing is open behind a GOAWAY: no request may depend on it. */
static void behind_a_goaway_with_nothing_open_no_request_goes(void **state)
{
    static const bool says[] = {false, true};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(says); i++) {
        struct peers *peers = peers_new(NULL, 0);
        nghttp2_session *server = peers->peer[HTTP2_UPSTREAM].ng;
        int32_t id;

        ask(peers, "/denied", false, true); /* is open on the pod's leg alone */
        feed(peers, HTTP2_POD);
        nghttp2_submit_goaway(peers->peer[HTTP2_POD].ng, 0, 0, NGHTTP2_NO_ERROR, NULL, 0);
        feed(peers, HTTP2_POD);
        pull(peers, HTTP2_UPSTREAM);
        if (says[i]) {
            nghttp2_submit_ping(server, 0, NULL);
            assert_true(http2_wants(peers->http2, HTTP2_UPSTREAM)); /* its end is to be seen */
            feed(peers, HTTP2_UPSTREAM);
        }
        id = ask(peers, "/", false, false);
        pump(peers);
        assert_null(http2_fault(peers->http2));
        assert_int_equal(pod_heard(peers, id)->closed_code, NGHTTP2_REFUSED_STREAM);
        assert_false(upstream_heard(peers, 1)->asked);
        peers_free(peers);
    }
}

/* ... but waits until a request is open that was there before. */
static void what_comes_before_a_request_is_written_waits(void **state)
{
    struct peers *peers = peers_new(NULL, 0);
    nghttp2_session *server = peers->peer[HTTP2_UPSTREAM].ng;
    int32_t first = ask(peers, "/", false, false);

    (void)state;
    pump(peers);
    nghttp2_submit_goaway(peers->peer[HTTP2_POD].ng, 0, 0, NGHTTP2_NO_ERROR, NULL, 0);
    pump(peers);
    ask(peers, "/", false, false);
    feed(peers, HTTP2_POD);
    answer(peers, first, "200", false);
    feed(peers, HTTP2_UPSTREAM);
    nghttp2_submit_ping(server, 0, NULL);
    assert_false(http2_wants(peers->http2, HTTP2_UPSTREAM));
    pull(peers, HTTP2_UPSTREAM);
    assert_true(http2_wants(peers->http2, HTTP2_UPSTREAM));
    pump(peers);
    assert_int_equal(peers->peer[HTTP2_POD].pings, 1);
    assert_null(http2_fault(peers->http2));
    peers_free(peers);
}

/* ---- heads past the limits ---- */

/* nghttp2 refuses to send it if it is too large by itself. */
static size_t big_fields(nghttp2_nv *fields, size_t len)
{
    static char value[3000];

    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < 50; i++)
        fields[len++] = (nghttp2_nv){(uint8_t *)"x-big", (uint8_t *)value, 5, sizeof(value), 0};
    return len;
}

static void a_request_past_the_limit_is_answered_431(void **state)
{
    struct peers *peers = peers_new(NULL, 0);
    nghttp2_nv fields[64] = {NV(":method", "GET"), NV(":scheme", "https"),
                             NV(":authority", "a.example"), NV(":path", "/")};
    size_t len = big_fields(fields, 4);
    int32_t id = nghttp2_submit_request(peers->peer[HTTP2_POD].ng, NULL, fields, len, NULL, NULL);

    (void)state;
    pump(peers);
    assert_int_equal(pod_heard(peers, id)->code, 431);
    assert_int_equal(peers->malformed, 1);
    assert_int_equal(peers->malformed_code, 431);
    assert_string_equal(peers->reason, "a header list past the limit");
    assert_int_equal(peers->requests, 0);
    id = ask(peers, "/", false, false); /* and the connection goes on */
    pump(peers);
    assert_true(upstream_heard(peers, 1)->asked);
    peers_free(peers);
}

static void an_answer_past_the_limit_becomes_502(void **state)
{
    (void)state;
    for (unsigned grpc = 0; grpc < 2; grpc++) {
        struct peers *peers = peers_new(NULL, 0);
        nghttp2_nv fields[64] = {NV(":status", "200")};
        size_t len = big_fields(fields, 1);
        int32_t id = ask(peers, "/a.B/C", grpc, false);

        pump(peers);
        nghttp2_submit_response(peers->peer[HTTP2_UPSTREAM].ng, id, fields, len, NULL);
        pump(peers);
        assert_int_equal(pod_heard(peers, id)->code, grpc ? 200 : 502);
        assert_string_equal(pod_heard(peers, id)->grpc_status, grpc ? "14" : "");
        assert_true(upstream_heard(peers, id)->closed);
        assert_string_equal(peers->end.reason, "a header list past the limit");
        assert_int_equal(peers->end.by, HTTP2_UPSTREAM);
        peers_free(peers);
    }
}

/* ---- bytes that make no sense, and too many that do ---- */

static const struct {
    const char *name;
    enum http2_side from;
    struct span frame;
    unsigned times;
    const char *fault; /* after at most so many */
} floods[] = {
    {"PING, answered by nobody", HTTP2_POD, BYTES("\0\0\10\6\0\0\0\0\0########"), 65,
     "the program's HTTP/2: too many PINGs"},
    {"SETTINGS", HTTP2_POD, BYTES("\0\0\0\4\0\0\0\0\0"), 101,
     "the program's HTTP/2: too many SETTINGS"},
    {"SETTINGS of upstream's", HTTP2_UPSTREAM, BYTES("\0\0\0\4\0\0\0\0\0"), 101,
     "the upstream's HTTP/2: too many SETTINGS"},
    {"empty DATA", HTTP2_POD, BYTES("\0\0\0\0\0\0\0\0\1"), 1100,
     "the program's HTTP/2: too many empty frames"},
    {"WINDOW_UPDATE", HTTP2_POD, BYTES("\0\0\4\10\0\0\0\0\0\0\0\0\1"), 1100,
     "the program's HTTP/2: too many WINDOW_UPDATEs"},
    {"WINDOW_UPDATE of upstream's", HTTP2_UPSTREAM, BYTES("\0\0\4\10\0\0\0\0\0\0\0\0\1"), 1100,
     "the upstream's HTTP/2: too many WINDOW_UPDATEs"},
    {"PRIORITY", HTTP2_POD, BYTES("\0\0\5\2\0\0\0\0\1\0\0\0\0\1"), 1100,
     "the program's HTTP/2: too many PRIORITY frames"},
    {"GOAWAY of upstream's", HTTP2_UPSTREAM, BYTES("\0\0\10\7\0\0\0\0\0\0\0\0\1\0\0\0\0"), 101,
     "the upstream's HTTP/2: too many SETTINGS"},
};

static void floods_end_the_connection(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(floods); i++) {
        struct peers *peers = peers_new(NULL, 0);
        const struct peer *peer = &peers->peer[floods[i].from];
        unsigned n = 0;

        print_message("  %s\n", floods[i].name);
        ask(peers, "/", false, true);
        pump(peers);
        for (; n < floods[i].times && !http2_fault(peers->http2); n++)
            feed_raw(peers, floods[i].from, floods[i].frame.data, floods[i].frame.len);
        assert_non_null(http2_fault(peers->http2));
        assert_string_equal(http2_fault(peers->http2), floods[i].fault);
        assert_true(n > 50);
        while (pull(peers, HTTP2_POD) + pull(peers, HTTP2_UPSTREAM))
            ;
        assert_int_equal(peer->goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
        peers_free(peers);
    }
}

static const struct {
    const char *name;
    struct span frame; /* HEADERS of stream 1 */
    const char *reason;
} heads[] = {
    {"no :path", BYTES("\0\0\2\1\5\0\0\0\1\202\207"), "a malformed message"},
    {"an upper-case name", BYTES("\0\0\13\1\5\0\0\0\1\202\207\204\101\1a\0\1X\1a"),
     "a malformed header field"},
    {"a pseudo-header behind others", BYTES("\0\0\13\1\5\0\0\0\1\202\207\204\0\1x\1a\101\1a"),
     "a malformed header field"},
    {"a value with a line's end", BYTES("\0\0\14\1\5\0\0\0\1\202\207\204\101\1a\0\1x\2a\n"),
     "a malformed header field"},
};

static void a_head_that_makes_no_sense_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        struct peers *peers = peers_new(NULL, 0);
        uint8_t out[PIECE];
        size_t n;

        print_message("  %s\n", heads[i].name);
        feed_raw(peers, HTTP2_POD, heads[i].frame.data, heads[i].frame.len);
        assert_int_equal(peers->malformed, 1);
        assert_string_equal(peers->reason, heads[i].reason);
        n = http2_pull(peers->http2, HTTP2_POD, out, sizeof(out));
        assert_int_equal(n, 13);
        assert_memory_equal(out, "\0\0\4\3\0\0\0\0\1\0\0\0\1", 13); /* PROTOCOL_ERROR */
        assert_int_equal(http2_pull(peers->http2, HTTP2_UPSTREAM, out, sizeof(out)), 0);
        assert_null(http2_fault(peers->http2));
        peers_free(peers);
    }
}

static void a_pod_that_is_no_client_is_not_answered(void **state)
{
    struct peers *peers = calloc(1, sizeof(*peers));
    uint8_t out[HTTP2_PULL_MIN];

    (void)state;
    assert_int_equal(http2_new(&peers->http2, &peers_hooks, peers), 0);
    feed_raw(peers, HTTP2_POD, "GET / HTTP/1.1\r\n\r\n", 18);
    assert_string_equal(http2_fault(peers->http2), "the program's HTTP/2: no HTTP/2 preface");
    assert_int_equal(http2_pull(peers->http2, HTTP2_POD, out, sizeof(out)), 0);
    peers_free(peers);
}

static void an_upstream_that_is_no_server_is_told_to_the_pod(void **state)
{
    struct peers *peers = calloc(1, sizeof(*peers));
    uint8_t out[HTTP2_PULL_MIN];

    (void)state;
    assert_int_equal(http2_new(&peers->http2, &peers_hooks, peers), 0);
    peer_begin(peers, HTTP2_POD);
    nghttp2_submit_settings(peers->peer[HTTP2_POD].ng, 0, NULL, 0);
    feed(peers, HTTP2_POD);
    feed_raw(peers, HTTP2_UPSTREAM, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    assert_true(http2_pull(peers->http2, HTTP2_UPSTREAM, out, sizeof(out)) > 0);
    assert_string_equal(http2_fault(peers->http2),
                        "the upstream's HTTP/2: a frame against the protocol");
    while (pull(peers, HTTP2_POD))
        ;
    assert_int_equal(peers->peer[HTTP2_POD].first_frame, NGHTTP2_SETTINGS);
    assert_int_equal(peers->peer[HTTP2_POD].goaways, 1);
    peers_free(peers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pod_is_told_what_upstream_allows),
        cmocka_unit_test(the_pod_hears_nothing_before_upstream_spoke),
        cmocka_unit_test(pings_go_from_end_to_end),
        cmocka_unit_test(pings_that_nobody_answers_are_few),
        cmocka_unit_test(goaway_has_the_pods_numbers),
        cmocka_unit_test(the_pods_goaway_goes_behind_its_requests),
        cmocka_unit_test(behind_a_goaway_with_nothing_open_no_request_goes),
        cmocka_unit_test(what_comes_before_a_request_is_written_waits),
        cmocka_unit_test(a_request_past_the_limit_is_answered_431),
        cmocka_unit_test(an_answer_past_the_limit_becomes_502),
        cmocka_unit_test(floods_end_the_connection),
        cmocka_unit_test(a_head_that_makes_no_sense_is_told),
        cmocka_unit_test(a_pod_that_is_no_client_is_not_answered),
        cmocka_unit_test(an_upstream_that_is_no_server_is_told_to_the_pod),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
