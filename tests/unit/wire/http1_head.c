/* http1_head: whom a request is for, and what may be one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/wire/http1.h"

static const struct {
    const char *name, *head, *want; /* NULL: none */
} authorities[] = {
    {"Host", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", "example.com"},
    {"its port cut off", "GET / HTTP/1.1\r\nHost: example.com:8443\r\n\r\n", "example.com"},
    {"lower case", "GET / HTTP/1.1\r\nhOST:\tEXAMPLE.Com\r\n\r\n", "example.com"},
    {"its closing dot cut off", "GET / HTTP/1.1\r\nHost: example.com.:80\r\n\r\n", "example.com"},
    {"IPv4", "GET / HTTP/1.1\r\nHost: 192.0.2.1:80\r\n\r\n", "192.0.2.1"},
    {"IPv6", "GET / HTTP/1.1\r\nHost: [2001:DB8::1]:80\r\n\r\n", "[2001:db8::1]"},
    {"absolute-form", "GET http://Example.com:80/x?http://b/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
     "example.com"},
    {"absolute-form of HTTP/1.0 alone", "GET https://example.com HTTP/1.0\r\n\r\n", "example.com"},
    {"CONNECT beats Host", "CONNECT example.com:443 HTTP/1.1\r\nHost: other\r\n\r\n",
     "example.com"},
    {"asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n", "example.com"},
    {"a path that looks absolute", "GET /http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "a"},
    {"an empty Host", "GET / HTTP/1.1\r\nHost: \r\n\r\n", NULL},
    {"HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", NULL},
};

static void knows_whom_it_is_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(authorities); i++) {
        CLEANUP(http1_free) struct http1 *http1 = http1_new(HTTP1_REQUEST);
        struct span text = span_of_text(authorities[i].head);
        const char *want = authorities[i].want;
        char out[64] = "untouched";
        size_t consumed;

        print_message("  %s\n", authorities[i].name);
        assert_int_equal(http1_feed(http1, text, &consumed), HTTP1_HEAD);
        assert_int_equal(http1_authority(http1_head(http1), text.data, out, sizeof(out)), !!want);
        if (want) {
            assert_string_equal(out, want);
            assert_false(http1_authority(http1_head(http1), text.data, out, strlen(want)));
        }
    }
}

static void finds_the_first_field_of_a_name(void **state)
{
    static const char text[] = "GET / HTTP/1.0\r\nA: 1\r\nb-b:  2 3 \r\nA: 4\r\nE:\r\n\r\n";
    static const struct {
        const char *name, *want;
    } fields[] = {{"a", "1"}, {"A", "1"},   {"B-B", "2 3"}, {"e", ""},
                  {"", NULL}, {"aa", NULL}, {"b", NULL}};
    CLEANUP(http1_free) struct http1 *http1 = http1_new(HTTP1_REQUEST);
    size_t consumed;

    (void)state;
    assert_int_equal(http1_feed(http1, span_of_text(text), &consumed), HTTP1_HEAD);
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        struct span value;
        bool found = http1_find(http1_head(http1), (const uint8_t *)text, fields[i].name, &value);

        assert_int_equal(found, fields[i].want != NULL);
        if (found)
            assert_true(span_equal(value, span_of_text(fields[i].want)));
    }
}

static const struct {
    const char *bytes;
    int want;
} beginnings[] = {
    {"", -1},
    {"G", -1},
    {"GET", -1},
    {"GET ", -1},
    {"GET /", 1},
    {"GET / HTTP/1.1\r\n", 1},
    {"GET http:/", -1},
    {"GET https://", 1},
    {"GET HTTP://", 1},
    {"GET httpx", -1},
    {"GET httpx\r\n", 0},
    {"POST /", 1},
    {"M-SEARCH * HTTP/1.1", 1},
    {"OPTIONS *", -1},
    {"MKCALENDAR /", 1},
    {"CONNECT", -1},
    {"CONNECT example.com:443", 1},
    {"CONNECT [", 1},
    {"get /key\r\n", 0}, /* memcached */
    {"get / HTTP/1.1", 1},
    {"GETX /", -1},
    {"GETX /x HTTP/1.0", 1}, /* a server may know it */
    {"GETX /x y", 0},
    {"GET\t/", 1}, /* lenient servers take it, so the parser must refuse it */
    {"GET  /", 1},
    {"GET \v/", 1},
    {"GET\xa0/", 1},
    {" GET /", 1},
    {"GET x HTTP/1.1", 1},
    {"GET x\x85HTTP/1.1", 1},
    {"GETX  /x\t HTTP/1.0", 1},
    {"GETX \x01 HTTP/1.0", 0},
    {"a1 FETCH 1 BODY[]", 0}, /* IMAP */
    {"\r\n", -1},
    {"\r\nGET /", 1}, /* servers skip empty lines before a request */
    {"PRI * HTTP/2.0", 0},
    {"CONNECT {\"verbose\":false}\r\n", 0},        /* NATS */
    {"CONNECT\naccept-version:1.2", 0},            /* STOMP */
    {"OPTIONS rtsp://192.0.2.1/ RTSP/1.0\r\n", 0}, /* RTSP */
    {"OPTIONS * RTSP/1.0\r\n", 0},
    {"SUBSCRIBE sip:a@example.com SIP/2.0", 0}, /* SIP */
    {"GET key\r\n", 0},                         /* redis */
    {"EHLO example.com\r\n", 0},
    {"SSH-2.0-OpenSSH_9.2\r\n", 0},
    {"\x16\x03\x01", 0},
};

static void knows_a_request_by_its_first_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++) {
        print_message("  %s\n", beginnings[i].bytes);
        assert_int_equal(http1_looks_like_request(span_of_text(beginnings[i].bytes)),
                         beginnings[i].want);
    }
}

static const struct {
    const char *line, *method, *target;
} lines[] = {
    {"GET /a?b HTTP/1.1\r\n", "GET", "/a?b"},
    {"\r\n \tGET\t\t/a", "GET", "/a"},
    {"FOO\xa0/\xe4 x", "FOO", "/\xe4"},
    {"GET\r\n/a", "GET", ""},
    {"GET", "GET", ""},
    {"\x01", "", ""},
    {"", "", ""},
    {"A-METHOD-OF-THIRTY-TWO-CHARACTERS /a", "", ""},
    {"METHOD-OF-THIRTY-TWO-CHARACTERS! /a", "METHOD-OF-THIRTY-TWO-CHARACTERS!", "/a"},
};

static void finds_the_words_of_a_refused_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        struct span method, target;

        http1_words(span_of_text(lines[i].line), &method, &target);
        assert_true(span_equal(method, span_of_text(lines[i].method)));
        assert_true(span_equal(target, span_of_text(lines[i].target)));
    }
}

/* What is said once is not taken back: -1 until it is known, then the same for ever. */
static void never_changes_its_mind(void **state)
{
    (void)state;
    assert_int_equal(http1_looks_like_request(span_of(NULL, 0)), -1);
    for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++) {
        struct span all = span_of_text(beginnings[i].bytes);
        int said = -1;

        for (size_t len = 0; len <= all.len; len++) {
            int now = http1_looks_like_request(span_of(all.data, len));

            assert_true(said == -1 || now == said);
            said = now;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_whom_it_is_for),
        cmocka_unit_test(finds_the_first_field_of_a_name),
        cmocka_unit_test(knows_a_request_by_its_first_bytes),
        cmocka_unit_test(finds_the_words_of_a_refused_line),
        cmocka_unit_test(never_changes_its_mind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
