/* http1_llhttp: what is told of a head and a body, and which methods llhttp knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/unit/wire/http1_trace.h"

#define H "Host: a\r\n"

static const struct {
    const char *name, *text;
    enum http1_kind kind;
    bool keep_alive, upgrade, body;
} flags[] = {
    {"1.1 stays", "GET / HTTP/1.1\r\n" H "\r\n", HTTP1_REQUEST, true, false, false},
    {"1.1 may close", "GET / HTTP/1.1\r\n" H "Connection: x, Close\r\n\r\n", HTTP1_REQUEST, false,
     false, false},
    {"close after a tab", "GET / HTTP/1.1\r\n" H "Connection:\tx ,\tclose\t\r\n\r\n", HTTP1_REQUEST,
     false, false, false},
    {"close on a second line", "GET / HTTP/1.1\r\n" H "Connection: x\r\nConnection: close\r\n\r\n",
     HTTP1_REQUEST, false, false, false},
    {"closed is not close", "GET / HTTP/1.1\r\n" H "Connection: closed, xclose\r\n\r\n",
     HTTP1_REQUEST, true, false, false},
    {"Proxy-Connection means nothing here",
     "GET / HTTP/1.1\r\n" H "Proxy-Connection: close\r\n\r\n", HTTP1_REQUEST, true, false, false},
    {"1.0 closes", "GET / HTTP/1.0\r\n\r\n", HTTP1_REQUEST, false, false, false},
    {"1.0 may stay", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", HTTP1_REQUEST, true, false,
     false},
    {"close beats keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
     HTTP1_REQUEST, false, false, false},
    {"an upgrade", "GET / HTTP/1.1\r\n" H "Upgrade: x\r\nConnection: upgrade\r\n\r\n",
     HTTP1_REQUEST, true, true, false},
    {"half an upgrade", "GET / HTTP/1.1\r\n" H "Connection: upgrade\r\n\r\n", HTTP1_REQUEST, true,
     false, false},
    {"CONNECT", "CONNECT a:1 HTTP/1.1\r\n" H "\r\n", HTTP1_REQUEST, true, true, false},
    {"a body by length", "GET / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n", HTTP1_REQUEST, true,
     false, true},
    {"a length of nothing", "GET / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", HTTP1_REQUEST, true,
     false, false},
    {"a chunked body", "GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", HTTP1_REQUEST,
     true, false, true},
    {"an answer with a length", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", HTTP1_RESPONSE,
     true, false, true},
    {"an answer without one closes", "HTTP/1.1 200 OK\r\n\r\n", HTTP1_RESPONSE, false, false, true},
    {"but not a 204", "HTTP/1.1 204 OK\r\n\r\n", HTTP1_RESPONSE, true, false, false},
};

/* A message that leaves every flag set behind. */
static void use(struct http1 *http1, enum http1_kind kind)
{
    struct trace trace = {0};
    size_t total = 0;

    trace_feed(&trace, http1,
               kind == HTTP1_REQUEST
                   ? BYTES("PUT / HTTP/1.1\r\n" H "Upgrade: x\r\nConnection: upgrade, "
                           "keep-alive\r\nContent-Length: 1\r\n\r\nx")
                   : BYTES("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
               &total, false);
    assert_int_equal(trace.len, 2);
    assert_true(http1_body_bytes(http1) == 1);
}

static void head_says_what_follows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        CLEANUP(http1_free) struct http1 *http1 = http1_new(flags[i].kind);
        struct span text = span_of_text(flags[i].text);
        size_t consumed;

        print_message("  %s\n", flags[i].name);
        use(http1, flags[i].kind);
        assert_int_equal(http1_feed(http1, text, &consumed), HTTP1_HEAD);
        assert_int_equal(consumed, text.len);
        assert_int_equal(http1_head(http1)->len, text.len);
        assert_int_equal(http1_head(http1)->keep_alive, flags[i].keep_alive);
        assert_int_equal(http1_head(http1)->upgrade, flags[i].upgrade);
        assert_int_equal(http1_head(http1)->body, flags[i].body);
        assert_true(http1_body_bytes(http1) == 0);
    }
}

static void assert_at(const char *base, uint32_t at, uint32_t len, const char *want)
{
    assert_int_equal(len, strlen(want));
    assert_memory_equal(base + at, want, len);
}

static void offsets_hold_however_it_arrives(void **state)
{
    static const char text[] =
        "\r\nPOST /p\xc3\xa4th?q HTTP/1.0\r\nFirst:1\r\nHOST: \t a.example \t\r\n"
        "Empty:\r\nBlank: \t\r\nInner: a \t b\r\nLast: z\r\n\r\n";
    static const struct {
        const char *name, *value;
    } want[] = {{"First", "1"}, {"HOST", "a.example"}, {"Empty", ""},
                {"Blank", ""},  {"Inner", "a \t b"},   {"Last", "z"}};

    (void)state;
    for (size_t step = 1; step <= strlen(text); step++) {
        CLEANUP(http1_free) struct http1 *http1 = http1_new(HTTP1_REQUEST);
        const struct http1_head *head = http1_head(http1);
        enum http1_status status = HTTP1_MORE;

        for (size_t at = 0, consumed; status == HTTP1_MORE; at += consumed)
            status = http1_feed(
                http1, span_of(text + at, step < strlen(text) - at ? step : strlen(text) - at),
                &consumed);
        assert_int_equal(status, HTTP1_HEAD);
        assert_int_equal(head->len, strlen(text));
        assert_int_equal(head->major, 1);
        assert_int_equal(head->minor, 0);
        assert_at(text, head->method_at, head->method_len, "POST");
        assert_at(text, head->target_at, head->target_len, "/p\xc3\xa4th?q");
        assert_int_equal(head->fields_len, ARRAY_SIZE(want));
        for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
            const struct http1_field *field = &head->fields[i];

            assert_at(text, field->name_at, field->name_len, want[i].name);
            assert_at(text, field->value_at, field->value_len, want[i].value);
            assert_true(field->value_at > field->name_at && field->value_at < head->len);
        }
    }
}

static void body_bytes_leave_the_framing_out(void **state)
{
    static const struct {
        const char *text;
        uint64_t want;
    } bodies[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 5},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n3\r\ncde\r\n0\r\nT: "
         "x\r\n\r\n",
         5},
        {"HTTP/1.1 200 OK\r\n\r\nhello", 5},
        {"HTTP/1.1 204 OK\r\n\r\n", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
        for (size_t step = 1; step < 100; step++) {
            CLEANUP(http1_free) struct http1 *http1 = http1_new(HTTP1_RESPONSE);
            struct trace trace = {0};

            trace_run(&trace, http1, span_of_text(bodies[i].text), step, step, false);
            assert_int_equal(http1_eof(http1), HTTP1_DONE);
            assert_int_equal(http1_body_bytes(http1), bodies[i].want);
        }
}

/* WebDAV, CalDAV, subversion, UPnP and caches live by theirs. */
static void knows_methods_beyond_the_common(void **state)
{
    static const char *const methods[] = {
        "DELETE",   "GET",   "HEAD",     "POST",       "PUT",       "OPTIONS",     "TRACE",
        "COPY",     "LOCK",  "MKCOL",    "MOVE",       "PROPFIND",  "PROPPATCH",   "SEARCH",
        "UNLOCK",   "BIND",  "REBIND",   "UNBIND",     "ACL",       "REPORT",      "MKACTIVITY",
        "CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY",     "SUBSCRIBE", "UNSUBSCRIBE", "PATCH",
        "PURGE",    "LINK",  "UNLINK",   "MKCALENDAR", "SOURCE",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        CLEANUP(http1_free) struct http1 *http1 = http1_new(HTTP1_REQUEST);
        const struct http1_head *head = http1_head(http1);
        char text[64];
        size_t consumed;

        snprintf(text, sizeof(text), "%s /x HTTP/1.1\r\n" H "\r\n", methods[i]);
        assert_int_equal(http1_looks_like_request(span_of_text(text)), 1);
        assert_int_equal(http1_feed(http1, span_of_text(text), &consumed), HTTP1_HEAD);
        assert_at(text, head->method_at, head->method_len, methods[i]);
        assert_at(text, head->target_at, head->target_len, "/x");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_says_what_follows),
        cmocka_unit_test(offsets_hold_however_it_arrives),
        cmocka_unit_test(body_bytes_leave_the_framing_out),
        cmocka_unit_test(knows_methods_beyond_the_common),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
