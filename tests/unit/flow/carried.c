/* What is told of a request, and of the call or the WebSocket that it carries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/mman.h>

#include "events/bus.h"
#include "proxy/flow/steps.h"

static struct sink sink;
static struct bus *bus;
static struct worker worker;
static struct flow flow;

enum how { WHOLE, REFUSED, UNANSWERED, REFUSED_LATE };

#define FIELD(key, text)                                                                           \
    {                                                                                              \
        BYTES(key), BYTES(text)                                                                    \
    }
#define HI        "\0\0\0\0\2hi"
#define HI_MASKED "\x81\x82\1\2\3\4ik"
#define BYE_MASKED                                                                                 \
    "\x88\x85\0\0\0\0\x03\xe8"                                                                     \
    "bye"
#define BYE                                                                                        \
    "\x88\x05\x03\xe8"                                                                             \
    "bye"

/* A request for /pkg.Service/Method?x and what becomes of it. */
static const struct {
    const char *name;
    struct span method, upgrade, type; /* of the request; GET, none, none */
    struct span up;
    struct facts_field answered[2], trailer[2];
    struct span down;
    uint16_t code;
    enum how how;
    const char *error; /* why it ends */
    const char *http;  /* what the request's line has */
    const char *line;  /* ... and the other one; NULL: there is none */
} rows[] = {
    {"no call", .code = 200, .http = "\"code\":200"},
    {"a call", .type = BYTES("application/grpc"), .up = BYTES(HI),
     .answered = {FIELD("content-type", "application/grpc+proto")}, .down = BYTES(HI HI),
     .trailer = {FIELD("grpc-status", "0"), FIELD("x", "y")}, .code = 200, .http = "\"code\":200",
     .line = "{\"process_grpc\":{|\"host\":\"a.example\",\"service\":\"pkg.Service\",\"method\":"
             "\"Method\","
             "\"protocol\":\"HTTP/2\",\"stream\":7,\"status\":0,\"status_name\":\"OK\","
             "\"request_messages\":\"1\",\"request_bytes\":\"2\",\"response_messages\":\"2\","
             "\"response_bytes\":\"4\",\"duration_ns\":"},
    {"a call answered by trailers only", .type = BYTES("application/grpc"), .up = BYTES(HI),
     .answered = {FIELD("grpc-status", "5"), FIELD("grpc-message", "no%20such%20cart")},
     .code = 200, .http = "\"code\":200",
     .line = "{\"process_grpc\":{|\"status\":5,\"status_name\":\"NOT_FOUND\",\"status_message\":"
             "\"no such cart\","
             "\"request_messages\":\"1\",\"request_bytes\":\"2\",\"response_messages\":\"0\","},
    {"a call with a status of no name", .type = BYTES("application/grpc"),
     .answered = {FIELD("content-type", "application/grpc")},
     .trailer = {FIELD("grpc-status", "99")}, .code = 200, .http = "\"code\":200",
     .line = "{\"process_grpc\":{|\"status\":99,\"status_name\":\"UNKNOWN\""},
    {"a call that was reset", .type = BYTES("application/grpc"), .up = BYTES(HI HI),
     .answered = {FIELD("content-type", "application/grpc")}, .down = BYTES("\0\0\0\0\2h"),
     .code = 200, .error = "the program reset the stream: CANCEL", .http = "\"code\":200",
     .line =
         "{\"process_grpc\":{|\"stream\":7,\"request_messages\":\"2\",|\"response_messages\":\"0\","
         "\"response_bytes\":\"1\",|\"error\":\"the program reset the stream: CANCEL\""},
    {"a call that has its status, and is reset", .type = BYTES("application/grpc"),
     .answered = {FIELD("grpc-status", "3")}, .code = 200,
     .error = "the upstream reset the stream: NO_ERROR", .http = "\"code\":200",
     .line = "{\"process_grpc\":{|\"status\":3,"},
    {"a call that was never answered", .type = BYTES("application/grpc"), .up = BYTES(HI),
     .how = UNANSWERED, .error = "the server closed without an answer",
     .http = "\"error\":\"the server closed without an answer\"",
     .line = "{\"process_grpc\":{|\"request_messages\":\"1\",|\"error\":\"the server closed "
             "without an answer\""},
    {"a call that was refused", .type = BYTES("application/grpc"), .how = REFUSED,
     .http = "\"code\":403|\"verdict\":\"deny\"|\"error\":\"by a test\""},
    {"a call whose answer made no sense in the end", .type = BYTES("application/grpc"),
     .answered = {FIELD("content-type", "application/grpc")}, .code = 200, .how = REFUSED_LATE,
     .error = "by a test", .http = "\"code\":200|\"verdict\":\"allow\"",
     .line = "{\"process_grpc\":{|\"error\":\"by a test\""},
    {"a call answered by a web page", .type = BYTES("application/grpc"),
     .answered = {FIELD("content-type", "text/html")}, .down = BYTES(HI), .code = 502,
     .http = "\"code\":502",
     .line = "{\"process_grpc\":{|\"response_messages\":\"0\",|\"error\":\"the answer is not gRPC: "
             "HTTP status 502\""},
    {"a call whose messages make no sense", .type = BYTES("application/grpc"),
     .answered = {FIELD("content-type", "application/grpc")}, .down = BYTES("\xffhello"),
     .code = 200, .http = "\"code\":200",
     .line = "{\"process_grpc\":{|\"error\":\"the server's messages could not be read: "},
    {"a call by gRPC-web", .type = BYTES("application/grpc-web+proto"), .up = BYTES(HI),
     .answered = {FIELD("content-type", "application/grpc-web")},
     .down = BYTES(HI "\x80\0\0\0\x0egrpc-status:13"), .code = 200, .http = "\"code\":200",
     .line = "{\"process_grpc\":{|\"status\":13,\"status_name\":\"INTERNAL\",|\"response_"
             "messages\":\"1\","},
    {"a WebSocket", .method = BYTES("CONNECT"), .upgrade = BYTES("websocket"),
     .up = BYTES(HI_MASKED BYE_MASKED), .down = BYTES("\x81\2hi" BYE), .code = 200,
     .error = "the program reset the stream: NO_ERROR", .http = "\"code\":200",
     .line = "{\"process_websocket\":{|\"host\":\"a.example\",\"url\":\"/pkg.Service/Method?x\","
             "\"path\":\"/pkg.Service/Method\",\"protocol\":\"HTTP/"
             "2\",\"stream\":7,\"request_messages\":\"1\","
             "\"request_bytes\":\"2\",\"request_frames\":\"2\",\"response_messages\":\"1\","
             "\"response_bytes\":\"2\",\"response_frames\":\"2\",\"close_code\":1000,\"close_"
             "reason\":\"bye\","
             "\"duration_ns\":"},
    {"a WebSocket that was cut", .upgrade = BYTES("WebSocket"), .up = BYTES(HI_MASKED),
     .answered = {FIELD("Sec-WebSocket-Accept", "x")}, .code = 101,
     .error = "the program's side: Connection reset by peer", .http = "\"code\":101",
     .line = "{\"process_websocket\":{|\"response_frames\":\"0\",\"duration_ns\":|\"error\":\"the "
             "program's side"},
    {"a WebSocket closed without a code", .upgrade = BYTES("websocket"),
     .answered = {FIELD("sec-websocket-accept", "x")}, .down = BYTES("\x88\0"), .code = 101,
     .http = "\"code\":101",
     .line = "{\"process_websocket\":{|\"close_code\":1005,\"duration_ns\""},
    {"no WebSocket: refused", .upgrade = BYTES("websocket"), .code = 403, .http = "\"code\":403"},
    {"no WebSocket: the key was not taken", .upgrade = BYTES("websocket"), .code = 101,
     .http = "\"code\":101"},
    {"no WebSocket: CONNECT was not taken", .method = BYTES("CONNECT"),
     .upgrade = BYTES("websocket"), .answered = {FIELD("sec-websocket-accept", "x")}, .code = 501,
     .http = "\"code\":501"},
    {"no WebSocket: never answered", .upgrade = BYTES("websocket"), .how = UNANSWERED,
     .error = "reset", .http = "\"error\":\"reset\""},
    {"another upgrade", .upgrade = BYTES("h2c"), .answered = {FIELD("sec-websocket-accept", "x")},
     .code = 101, .http = "\"code\":101"},
};

static size_t present(const struct facts_field fields[2])
{
    return fields[1].name.len ? 2 : fields[0].name.len ? 1 : 0;
}

/* A byte at a time, as bytes may come. */
static void body(struct exchange *exchange, bool up, struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        exchange_body(&flow, exchange, up, span_of(bytes.data + i, 1));
}

static void run(size_t row)
{
    const struct facts_field type = {BYTES("Content-Type"), rows[row].type};
    const struct exchange_decision decision = {VERDICT_DENY, 403, "by a test"};
    const struct facts_answer answer = {
        .code = rows[row].code,
        .fields = rows[row].answered,
        .fields_len = present(rows[row].answered),
    };
    const struct facts_request request = {
        .protocol = "HTTP/2",
        .stream = 7,
        .method = rows[row].method.len ? rows[row].method : BYTES("GET"),
        .url = BYTES("/pkg.Service/Method?x"),
        .path = BYTES("/pkg.Service/Method"),
        .upgrade = rows[row].upgrade,
        .host = "a.example",
        .fields = &type,
        .fields_len = type.value.len ? 1 : 0,
    };
    struct exchange exchange;

    exchange_begin(&flow, &exchange, &request);
    if (rows[row].how == REFUSED)
        exchange_refused(&flow, &exchange, &decision);
    if (!rows[row].upgrade.len)
        body(&exchange, true, rows[row].up);
    if (rows[row].code)
        exchange_answered(&flow, &exchange, &answer);
    if (rows[row].upgrade.len)
        body(&exchange, true, rows[row].up);
    body(&exchange, false, rows[row].down);
    if (present(rows[row].trailer))
        exchange_trailers(&flow, &exchange, false, rows[row].trailer, present(rows[row].trailer));
    if (rows[row].how == REFUSED_LATE)
        exchange_refused(&flow, &exchange, &decision);
    exchange_end(&flow, &exchange, rows[row].error);
}

/* All that stands between bars in wanted, in this order; and no error but where one is. */
static void expect_in(const char *line, const char *wanted)
{
    char part[512];

    assert_true(!strstr(wanted, "\"error\":") == !strstr(line, "\"error\":"));
    for (const char *at = line; *wanted; wanted += *wanted == '|') {
        size_t len = strcspn(wanted, "|");

        assert_true(span_to_text(span_of(wanted, len), part, sizeof(part)));
        at = strstr(at, part);
        if (!at)
            fail_msg("no '%s', in its place, in %s", part, line);
        at += len;
        wanted += len;
    }
}

static void is_told_when_it_is_over(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char told[2][4096] = {"", ""};
        FILE *file = fdopen(dup(sink.fd), "r");
        int lines = 0;

        print_message("  %s\n", rows[i].name);
        flow.why = (struct err){0};
        run(i);
        bus_flush(bus);
        rewind(file);
        while (lines < 2 && fgets(told[lines], sizeof(told[0]), file))
            lines++;
        fclose(file);
        assert_int_equal(lines, rows[i].line ? 2 : 1);
        assert_ptr_equal(strstr(told[0], "{\"process_http\":{"), told[0]);
        expect_in(told[0], rows[i].http);
        if (rows[i].line)
            expect_in(told[1], rows[i].line);
        assert_string_equal(flow.why.text, rows[i].how == REFUSED_LATE ? "by a test" : "");
        assert_int_equal(ftruncate(sink.fd, 0), 0);
        lseek(sink.fd, 0, SEEK_SET);
    }
}

static int set_up(void **state)
{
    (void)state;
    flow.worker = &worker;
    sink_init(&sink, json_render, memfd_create("json", MFD_CLOEXEC), "node", false);
    return bus_new(&bus, &sink, 1, NULL) < 0 ||
           bus_producer_new(&worker.producer, bus, "test", 64, NULL) < 0;
}

static int tear_down(void **state)
{
    (void)state;
    bus_free(&bus);
    close(sink.fd);
    sink_fini(&sink);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_told_when_it_is_over)};

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
