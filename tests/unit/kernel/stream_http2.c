/* What a stream of the kernel route tells of HTTP/2, as two peers of nghttp2's speak it, in
 * whatever pieces. */
#include "tests/unit/kernel/hearing_said.h"

#include <nghttp2/nghttp2.h>

/* ---- two peers ---- */

static nghttp2_session *client, *server;
static size_t to_send[2]; /* of a body */
static const char *trailers;
static bool trailers_up; /* they are the client's */

#define NV(key, text)                                                                              \
    {                                                                                              \
        (uint8_t *)(key), (uint8_t *)(text), sizeof(key) - 1, strlen(text), NGHTTP2_NV_FLAG_NONE   \
    }

static ssize_t body(nghttp2_session *session, int32_t id, uint8_t *out, size_t len, uint32_t *flags,
                    nghttp2_data_source *source, void *arg)
{
    const nghttp2_nv fields[] = {NV("grpc-status", trailers ? trailers : "")};
    size_t *left = source->ptr, most = *left < len ? *left : len;

    (void)arg;
    memset(out, 0, most);
    *left -= most;
    if (*left)
        return (ssize_t)most;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (trailers && session == (trailers_up ? client : server)) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, id, fields, 1);
    }
    return (ssize_t)most;
}

static void ask(const char *method, const char *path, const char *type, size_t len)
{
    const nghttp2_nv fields[] = {NV(":method", method), NV(":scheme", "http"),
                                 NV(":authority", "a.example"), NV(":path", path),
                                 NV("content-type", type)};
    nghttp2_data_provider from = {.source.ptr = &to_send[0], .read_callback = body};

    to_send[0] = len;
    assert_true(nghttp2_submit_request(client, NULL, fields, type[0] ? 5 : 4, len ? &from : NULL,
                                       NULL) > 0);
}

static void answer(int32_t id, const char *code, const char *type, size_t len)
{
    const nghttp2_nv fields[] = {NV(":status", code), NV("content-type", type)};
    nghttp2_data_provider from = {.source.ptr = &to_send[1], .read_callback = body};

    to_send[1] = len;
    assert_int_equal(
        nghttp2_submit_response(server, id, fields, type[0] ? 2 : 1, len ? &from : NULL), 0);
}

static bool move(nghttp2_session *from, nghttp2_session *to, enum abi_direction direction)
{
    const uint8_t *data;
    ssize_t n = nghttp2_session_mem_send(from, &data);

    assert_true(n >= 0);
    if (!n)
        return false;
    say(direction, data, (size_t)n);
    assert_int_equal(nghttp2_session_mem_recv(to, bytes + bytes_len - n, (size_t)n), n);
    return true;
}

static void pump(void)
{
    bool any = true;

    while (any) {
        any = move(client, server, ABI_TX);
        any = move(server, client, ABI_RX) || any;
    }
}

static void peers_begin(uint32_t table_size)
{
    const nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, table_size};
    nghttp2_session_callbacks *callbacks;

    said_len = bytes_len = 0;
    trailers = NULL;
    trailers_up = false;
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    assert_int_equal(nghttp2_session_client_new(&client, callbacks, NULL), 0);
    assert_int_equal(nghttp2_session_server_new(&server, callbacks, NULL), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(client, NGHTTP2_FLAG_NONE, &entry, table_size ? 1 : 0);
    nghttp2_submit_settings(server, NGHTTP2_FLAG_NONE, &entry, table_size ? 1 : 0);
    pump();
}

static void peers_end(void)
{
    nghttp2_session_del(client);
    nghttp2_session_del(server);
}

/* ---- scenes ---- */

static void two_requests(void)
{
    ask("GET", "/a", "", 0);
    pump();
    answer(1, "200", "", 5);
    pump();
    ask("POST", "/b", "", 70000);
    pump();
    answer(3, "404", "", 0);
    pump();
}

static void at_once(void)
{
    ask("GET", "/a", "", 0);
    ask("GET", "/b", "", 0);
    pump();
    answer(3, "200", "", 0);
    answer(1, "500", "", 0);
    pump();
}

static void reset(void)
{
    ask("GET", "/a", "", 0);
    pump();
    nghttp2_submit_rst_stream(server, NGHTTP2_FLAG_NONE, 1, NGHTTP2_REFUSED_STREAM);
    pump();
    ask("GET", "/b", "", 0);
    pump();
    nghttp2_submit_rst_stream(client, NGHTTP2_FLAG_NONE, 3, NGHTTP2_CANCEL);
    pump();
}

/* What was on its way when a stream was reset: it crosses the reset, and its receiver drops it. */
static void crosses(enum abi_direction first, enum abi_direction second)
{
    const uint8_t *data;
    ssize_t n;

    for (int i = 0; i < 2; i++) {
        enum abi_direction direction = i ? second : first;

        while ((n = nghttp2_session_mem_send(direction == ABI_TX ? client : server, &data)) > 0)
            say(direction, data, (size_t)n);
    }
}

static void answers_cross_the_reset(void)
{
    ask("GET", "/a", "", 0);
    ask("POST", "/b", "", 5);
    pump();
    nghttp2_submit_rst_stream(client, NGHTTP2_FLAG_NONE, 1, NGHTTP2_CANCEL);
    nghttp2_submit_rst_stream(client, NGHTTP2_FLAG_NONE, 3, NGHTTP2_CANCEL);
    trailers = "0";
    answer(3, "200", "", 0);
    answer(1, "200", "application/grpc", 5);
    crosses(ABI_TX, ABI_RX);
    ask("GET", "/c", "", 0);
    crosses(ABI_TX, ABI_RX);
}

static void requests_cross_the_reset(void)
{
    trailers = "0";
    trailers_up = true;
    ask("POST", "/a", "text/plain", 5);
    move(client, server, ABI_TX); /* the head */
    nghttp2_submit_rst_stream(server, NGHTTP2_FLAG_NONE, 1, NGHTTP2_REFUSED_STREAM);
    crosses(ABI_RX, ABI_TX);
    ask("GET", "/b", "", 0);
    crosses(ABI_TX, ABI_RX);
}

static void call(void)
{
    ask("POST", "/shop.Cart/Add", "application/grpc", 5); /* an empty message */
    pump();
    trailers = "0";
    answer(1, "200", "application/grpc", 10); /* and two of them */
    pump();
}

static void left_open(void)
{
    ask("GET", "/a", "", 0);
    pump();
}

/* As many as that the tables are full, with names that are never said again in full. */
static void many(void)
{
    char path[200];

    for (int i = 0; i < 60; i++) {
        snprintf(path, sizeof(path), "/%0*d", 100 + i % 7, i % 9);
        ask("GET", path, "", 0);
        pump();
        answer(1 + 2 * i, "204", "", 0);
        pump();
    }
}

static const struct scene {
    const char *name;
    void (*play)(void);
    uint32_t table_size;
    unsigned lines; /* 0: want says them */
    const char *want;
    enum stream_ended ended;
} scenes[] = {
    {"two requests", two_requests, 0, 0,
     "GET a.example /a #1 200 plaintext\n"
     "POST a.example /b #3 404 up 70000 plaintext\nclosed plaintext\n",
     STREAM_ENDED_UNKNOWN},
    {"at once", at_once, 0, 0,
     "GET a.example /b #3 200 plaintext\n"
     "GET a.example /a #1 500 plaintext\nclosed plaintext\n",
     STREAM_ENDED_UNKNOWN},
    {"reset by either", reset, 0, 0,
     "GET a.example /a #1 plaintext error: the upstream did not take the request: REFUSED_STREAM\n"
     "GET a.example /b #3 plaintext error: the program reset the stream: CANCEL\n"
     "closed plaintext\n",
     STREAM_ENDED_UNKNOWN},
    {"reset while the answers were on their way", answers_cross_the_reset, 0, 0,
     "GET a.example /a #1 plaintext error: the program reset the stream: CANCEL\n"
     "POST a.example /b #3 up 5 plaintext error: the program reset the stream: CANCEL\n"
     "GET a.example /c #5 plaintext\nclosed plaintext\n",
     STREAM_ENDED_UNKNOWN},
    {"reset while the request was on its way", requests_cross_the_reset, 0, 0,
     "POST a.example /a #1 plaintext error: the upstream did not take the request: "
     "REFUSED_STREAM\nGET a.example /b #3 plaintext\nclosed plaintext\n",
     STREAM_ENDED_UNKNOWN},
    {"a call", call, 0, 0,
     "POST a.example /shop.Cart/Add #1 200 up 5 plaintext\n"
     "grpc shop.Cart/Add OK up 1 down 2\nclosed plaintext\n",
     STREAM_ENDED_UNKNOWN},
    {"left open", left_open, 0, 0, "GET a.example /a #1 plaintext\nclosed plaintext\n",
     STREAM_ENDED_UNKNOWN},
    {"... by a server that closes", left_open, 0, 0,
     "GET a.example /a #1 plaintext error: the server closed without an answer\n"
     "closed plaintext\n",
     STREAM_ENDED_THERE},
    {"... that resets", left_open, 0, 0,
     "GET a.example /a #1 plaintext error: the upstream's side: Connection reset by peer\n"
     "closed plaintext error: the upstream's side: Connection reset by peer\n",
     STREAM_ENDED_RESET},
    {"reset behind the last answer", two_requests, 0, 0,
     "GET a.example /a #1 200 plaintext\n"
     "POST a.example /b #3 404 up 70000 plaintext\nclosed plaintext\n",
     STREAM_ENDED_RESET},
    {"many", many, 0, 61, NULL, STREAM_ENDED_THERE},
    {"many, and large tables", many, 65536, 61, NULL, STREAM_ENDED_THERE},
    {"many, and no tables", many, 1, 61, NULL, STREAM_ENDED_THERE},
};

static void expect(const struct scene *scene)
{
    unsigned lines = 0;

    hearing_closes();
    without_latency(heard);
    if (scene->want) {
        assert_string_equal(heard, scene->want);
        return;
    }
    for (const char *at = heard; *at; at++)
        lines += *at == '\n';
    assert_int_equal(lines, scene->lines);
    assert_null(strstr(heard, "error"));
}

static void streams_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
        print_message("  %s\n", scenes[i].name);
        peers_begin(scenes[i].table_size);
        scenes[i].play();
        for (unsigned seed = 0; seed < 20; seed++) {
            hearing_opens(false, false);
            hearing_ended = scenes[i].ended;
            hears_all(seed ? 1 + 3 * seed * seed : SIZE_MAX, seed ? &seed : NULL);
            expect(&scenes[i]);
        }
        peers_end();
    }
}

/* A body's payload, but for its last byte. */
static void what_is_skipped_is_counted(void **state)
{
    (void)state;
    peers_begin(0);
    ask("POST", "/b", "", 10000);
    pump();
    hearing_opens(false, false);
    for (size_t i = 0; i < said_len; i++) {
        struct piece head = said[i], last = said[i];

        if (said[i].bytes.len < 9000) {
            hears(&said[i]);
            continue;
        }
        head.bytes.len -= 10000;
        last.skipped = 9999;
        last.bytes = span_of(said[i].bytes.data + said[i].bytes.len - 1, 1);
        hears(&head);
        hears(&last);
    }
    hearing_closes();
    assert_string_equal(heard, "POST a.example /b #1 up 10000 plaintext\nclosed plaintext\n");
    peers_end();
}

static void what_is_lost_ends_the_reading(void **state)
{
    (void)state;
    peers_begin(0);
    two_requests();
    hearing_opens(false, false);
    for (size_t i = 0; i < said_len; i++) {
        struct piece piece = said[i];

        piece.lost = i == said_len / 2 ? 1 : 0;
        hears(&piece);
    }
    hearing_closes();
    assert_non_null(strstr(heard, "closed opaque/lost error: the "));
    assert_non_null(strstr(heard,
                           "'s HTTP/2 could not be read: bytes of it are missing; 1 bytes of "
                           "the connection were lost on their way to the agent\n"));
    peers_end();
}

static void so_does_what_makes_no_sense(void **state)
{
    static const char text[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nno SETTINGS";
    const struct piece odd = {.direction = ABI_TX, .bytes = span_of_text(text)};

    (void)state;
    policed_use(POLICY("p", "  mode: monitor\n  egress: [{toCIDR: [203.0.113.0/24], "
                            "toPorts: [{rules: {http: [{path: /fine}]}}]}]\n"));
    hearing_opens(false, false);
    hears(&odd);
    hearing_closes();
    policed_use(NULL);
    assert_string_equal(heard, "policy alert reset visibility: it is neither TLS nor HTTP\n"
                               "closed opaque/unknown error: the program's HTTP/2 could not be "
                               "read: it does not begin with SETTINGS\n");
}

/* What the proxy refuses has gone here: no rule can say whom it was for. */
static void so_is_whom_nobody_can_name(void **state)
{
    static const struct {
        const char *authority, *host, *want;
    } heads[] = {
        {"a.example", "a.example", "GET a.example /fine #1 200 plaintext\n"},
        {"a.example", "b.example",
         "policy alert reject visibility GET: Host is not :authority\n"
         "GET a.example /fine #1 200 plaintext alert error: Host is not :authority\n"},
        {"a:b", "a.example",
         "policy alert reject visibility GET: an authority that makes no sense\n"
         "GET /fine #1 200 plaintext alert error: an authority that makes no sense\n"},
    };

    (void)state;
    policed_use(POLICY("p", "  mode: monitor\n  egress: [{toCIDR: [203.0.113.0/24], "
                            "toPorts: [{rules: {http: [{path: /fine}]}}]}]\n"));
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        const nghttp2_nv fields[] = {NV(":method", "GET"), NV(":scheme", "http"),
                                     NV(":authority", heads[i].authority), NV(":path", "/fine"),
                                     NV("host", heads[i].host)};
        char want[1024];

        print_message("  %s, %s\n", heads[i].authority, heads[i].host);
        peers_begin(0);
        assert_true(nghttp2_submit_request(client, NULL, fields, ARRAY_SIZE(fields), NULL, NULL) >
                    0);
        pump();
        answer(1, "200", "", 0);
        pump();
        hearing_opens(false, false);
        hears_all(SIZE_MAX, NULL);
        hearing_closes();
        without_latency(heard);
        snprintf(want, sizeof(want), "%sclosed plaintext\n", heads[i].want);
        assert_string_equal(heard, want);
        peers_end();
    }
    policed_use(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(streams_are_told, hearing_begin, hearing_end),
        cmocka_unit_test_setup_teardown(what_is_skipped_is_counted, hearing_begin, hearing_end),
        cmocka_unit_test_setup_teardown(what_is_lost_ends_the_reading, hearing_begin, hearing_end),
        cmocka_unit_test_setup_teardown(so_does_what_makes_no_sense, hearing_begin, hearing_end),
        cmocka_unit_test_setup_teardown(so_is_whom_nobody_can_name, hearing_begin, hearing_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
