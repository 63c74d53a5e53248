/* http1_rules, http1_guard: what two servers could read differently is refused, and says why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/unit/wire/http1_trace.h"

#define GET     "GET / HTTP/1.1\r\nHost: a\r\n"
#define OK      "HTTP/1.1 200 OK\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n\r\n"

struct refused {
    const char *name;
    struct span bytes;
    const char *reason;
};

static const struct refused start_lines[] = {
    {"an unknown method", BYTES("FETCH / HTTP/1.1\r\n"), "an unknown method"},
    {"a method in small letters", BYTES("get / HTTP/1.1\r\n"), "an unknown method"},
    {"a byte beyond ASCII in the method", BYTES("GE\xd4 / HTTP/1.1\r\n"), "an unknown method"},
    {"no method", BYTES(" / HTTP/1.1\r\n"), "a blank too many in the request line"},
    {"no target", BYTES("GET  HTTP/1.1\r\n"), "a blank too many in the request line"},
    {"two blanks before the target", BYTES("GET  / HTTP/1.1\r\n"),
     "a blank too many in the request line"},
    {"two blanks behind it", BYTES("GET /  HTTP/1.1\r\n"), "a protocol other than HTTP"},
    {"a blank in it", BYTES("GET /a b HTTP/1.1\r\n"), "a protocol other than HTTP"},
    {"a tab for a blank", BYTES("GET\t/ HTTP/1.1\r\n"), "a tab in the request line"},
    {"a tab in the target", BYTES("GET /a\tb HTTP/1.1\r\n"), "a tab in the request line"},
    {"a form feed in it", BYTES("GET /a\fb HTTP/1.1\r\n"), "a control byte"},
    {"a NUL in it", BYTES("GET /a\0b HTTP/1.1\r\n"), "a control byte"},
    {"a DEL in it", BYTES("GET /a\x7f HTTP/1.1\r\n"), "a control byte"},
    {"a fragment", BYTES("GET /a#b HTTP/1.1\r\n"), "a fragment in the target"},
    {"a fragment behind a query", BYTES("GET /a?b#c HTTP/1.1\r\n"), "a fragment in the target"},
    {"a backslash in the path", BYTES("GET /a\\b HTTP/1.1\r\n"),
     "a backslash in the target's path"},
    {"a target without its slash", BYTES("GET a HTTP/1.1\r\n"), "an invalid byte in the target"},
    {"a target of blanks' kin", BYTES("GET ? HTTP/1.1\r\n"), "an invalid byte in the target"},
    {"more than an asterisk", BYTES("OPTIONS *x HTTP/1.1\r\n"), "a target of no known form"},
    {"another scheme", BYTES("GET ftp://a/ HTTP/1.1\r\n"), "a target of a foreign scheme"},
    {"a user in the target", BYTES("GET http://u@a/ HTTP/1.1\r\n"),
     "an invalid authority in the target"},
    {"no host in the target", BYTES("GET http:///x HTTP/1.1\r\n"),
     "an invalid authority in the target"},
    {"a host beyond ASCII", BYTES("GET http://\xc3\xbc/ HTTP/1.1\r\n"),
     "an invalid authority in the target"},
    {"two ports", BYTES("GET http://a:1:2/ HTTP/1.1\r\n"), "an invalid authority in the target"},
    {"CONNECT to a path", BYTES("CONNECT /a HTTP/1.1\r\n"), "an invalid authority in the target"},
    {"CONNECT to an asterisk", BYTES("CONNECT * HTTP/1.1\r\n"), "a CONNECT without a port"},
    {"CONNECT without a port", BYTES("CONNECT a HTTP/1.1\r\n"), "a CONNECT without a port"},
    {"HTTP/0.9", BYTES("GET /\r\n"), "a request line without an HTTP version"},
    {"HTTP/1.2", BYTES("GET / HTTP/1.2\r\n"), "an HTTP version other than 1.0 and 1.1"},
    {"HTTP/1.10", BYTES("GET / HTTP/1.10\r\n"), "bytes behind the HTTP version"},
    {"HTTP/2.0", BYTES("GET / HTTP/2.0\r\n"), "an HTTP version other than 1.0 and 1.1"},
    {"HTTP/01.1", BYTES("GET / HTTP/01.1\r\n"), "an HTTP version other than 1.0 and 1.1"},
    {"http/1.1", BYTES("GET / http/1.1\r\n"), "a protocol other than HTTP"},
    {"half a version", BYTES("GET / HTTP/1.\r\n"), "a request line without an HTTP version"},
    {"a blank behind the version", BYTES("GET / HTTP/1.1 \r\n"), "bytes behind the HTTP version"},
    {"RTSP", BYTES("DESCRIBE /x RTSP/1.0\r\n"), "a protocol other than HTTP"},
    {"ICE", BYTES("SOURCE /x ICE/1.0\r\n"), "a protocol other than HTTP"},
    {"the preface of HTTP/2", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
     "an HTTP/2 preface on an HTTP/1 connection"},
    {"a blank line of LF before it", BYTES("\nGET / HTTP/1.1\r\n"), "an LF without its CR"},
    {"an LF behind it", BYTES("GET / HTTP/1.1\n"), "an LF without its CR"},
    {"a CR inside it", BYTES("GET / HTTP/1.1\rX\n"), "a CR without its LF"},
};

static const struct refused heads[] = {
    {"a length beside chunks", BYTES(GET "Content-Length: 5\r\n" CHUNKED),
     "Content-Length with Transfer-Encoding"},
    {"chunks beside a length", BYTES(GET "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
     "Content-Length with Transfer-Encoding"},
    {"two lengths that differ", BYTES(GET "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
     "two Content-Length fields"},
    {"two that agree", BYTES(GET "Content-Length: 5\r\ncontent-length: 5\r\n\r\n"),
     "two Content-Length fields"},
    {"a list of lengths", BYTES(GET "Content-Length: 5, 5\r\n\r\n"), "an invalid Content-Length"},
    {"a length with a plus", BYTES(GET "Content-Length: +5\r\n\r\n"), "an invalid Content-Length"},
    {"a length with a minus", BYTES(GET "Content-Length: -5\r\n\r\n"), "an invalid Content-Length"},
    {"a length with a point", BYTES(GET "Content-Length: 5.0\r\n\r\n"),
     "an invalid Content-Length"},
    {"a length in hex", BYTES(GET "Content-Length: 0x5\r\n\r\n"), "an invalid Content-Length"},
    {"a length cut in two", BYTES(GET "Content-Length: 5 5\r\n\r\n"), "an invalid Content-Length"},
    {"an empty length", BYTES(GET "Content-Length:\r\n\r\n"), "an invalid Content-Length"},
    {"a length of a blank", BYTES(GET "Content-Length: \r\n\r\n"), "an invalid Content-Length"},
    {"a length of 19 digits", BYTES(GET "Content-Length: 1000000000000000000\r\n\r\n"),
     "an overlong Content-Length"},
    {"a length of 2^64 and 5", BYTES(GET "Content-Length: 18446744073709551621\r\n\r\n"),
     "an invalid Content-Length"},
    {"another coding", BYTES(GET "Transfer-Encoding: gzip\r\n\r\n"),
     "a Transfer-Encoding other than chunked"},
    {"identity", BYTES(GET "Transfer-Encoding: identity\r\n\r\n"),
     "a Transfer-Encoding other than chunked"},
    {"chunked and another", BYTES(GET "Transfer-Encoding: chunked, gzip\r\n\r\n"),
     "a Transfer-Encoding other than chunked"},
    {"another and chunked", BYTES(GET "Transfer-Encoding: gzip, chunked\r\n\r\n"),
     "a Transfer-Encoding other than chunked"},
    {"chunked and a comma", BYTES(GET "Transfer-Encoding: chunked,\r\n\r\n"),
     "a Transfer-Encoding other than chunked"},
    {"a comma and chunked", BYTES(GET "Transfer-Encoding: , chunked\r\n\r\n"),
     "a Transfer-Encoding other than chunked"},
    {"chunked twice", BYTES(GET "Transfer-Encoding: chunked, chunked\r\n\r\n"),
     "a Transfer-Encoding other than chunked"},
    {"chunked with a parameter", BYTES(GET "Transfer-Encoding: chunked;q=1\r\n\r\n"),
     "a Transfer-Encoding other than chunked"},
    {"xchunked", BYTES(GET "Transfer-Encoding: xchunked\r\n\r\n"),
     "a Transfer-Encoding other than chunked"},
    {"chunkedx", BYTES(GET "Transfer-Encoding: chunkedx\r\n\r\n"),
     "a Transfer-Encoding other than chunked"},
    {"chunked in quotes", BYTES(GET "Transfer-Encoding: \"chunked\"\r\n\r\n"),
     "a Transfer-Encoding other than chunked"},
    {"chunked behind a vertical tab", BYTES(GET "Transfer-Encoding: \vchunked\r\n\r\n"),
     "a control byte"},
    {"no coding", BYTES(GET "Transfer-Encoding:\r\n\r\n"),
     "a Transfer-Encoding other than chunked"},
    {"two codings", BYTES(GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
     "two Transfer-Encoding fields"},
    {"chunks in HTTP/1.0", BYTES("POST / HTTP/1.0\r\n" CHUNKED), "Transfer-Encoding in HTTP/1.0"},
    {"two Hosts", BYTES(GET "Host: a\r\n\r\n"), "two Host fields"},
    {"two Hosts in HTTP/1.0", BYTES("GET / HTTP/1.0\r\nHost: a\r\nHOST: b\r\n\r\n"),
     "two Host fields"},
    {"no Host", BYTES("GET / HTTP/1.1\r\n\r\n"), "no Host"},
    {"no Host, but an absolute target", BYTES("GET http://a/ HTTP/1.1\r\n\r\n"), "no Host"},
    {"a Host with a path", BYTES("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), "an invalid Host"},
    {"a Host with a user", BYTES("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), "an invalid Host"},
    {"a list of Hosts", BYTES("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), "an invalid Host"},
    {"a Host over any name",
     BYTES("GET / HTTP/1.1\r\nHost: "
           "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
           "7890123456"
           "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
           "7890123456"
           "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
           "7890123456"
           "\r\n\r\n"),
     "an invalid Host"},
    {"another Host than the target's", BYTES("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"),
     "a Host other than the target's"},
    {"another port than the target's", BYTES("GET http://a/ HTTP/1.1\r\nHost: a:81\r\n\r\n"),
     "a Host other than the target's"},
    {"an empty Host beside a target", BYTES("GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n"),
     "a Host other than the target's"},
    {"a CONNECT with a body", BYTES("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"),
     "a CONNECT with a body"},
    {"a CONNECT with chunks", BYTES("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n" CHUNKED),
     "a CONNECT with a body"},
    {"a blank before the first field", BYTES("GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
     "a blank before the first field"},
    {"a blank before the empty line", BYTES(GET " \r\n\r\n"), "a folded field"},
    {"more than one message, and the first closes", BYTES(GET "Connection: close\r\n\r\nG"),
     "bytes behind the last message"},
    {"more than one message of HTTP/1.0", BYTES("GET / HTTP/1.0\r\n\r\nG"),
     "bytes behind the last message"},
};

static const struct refused status_lines[] = {
    {"HTTP/0.9", BYTES("<html>"), "a protocol other than HTTP"},
    {"ICY", BYTES("ICY 200 OK\r\n"), "a protocol other than HTTP"},
    {"HTTP/2", BYTES("HTTP/2 200\r\n"), "an HTTP version other than 1.0 and 1.1"},
    {"HTTP/1.9", BYTES("HTTP/1.9 200 OK\r\n"), "an HTTP version other than 1.0 and 1.1"},
    {"two blanks", BYTES("HTTP/1.1  200 OK\r\n"), "a malformed status code"},
    {"a tab", BYTES("HTTP/1.1\t200 OK\r\n"), "a malformed status line"},
    {"no code", BYTES("HTTP/1.1 \r\n"), "a malformed status code"},
    {"two digits", BYTES("HTTP/1.1 20 OK\r\n"), "a malformed status code"},
    {"four digits", BYTES("HTTP/1.1 2000 OK\r\n"), "a malformed status code"},
    {"a zero in front", BYTES("HTTP/1.1 020 OK\r\n"), "a malformed status code"},
    {"a sign", BYTES("HTTP/1.1 +20 OK\r\n"), "a malformed status code"},
    {"a blank line before it", BYTES("\r\nHTTP/1.1 200 OK\r\n"), "a protocol other than HTTP"},
    {"a NUL in the reason", BYTES("HTTP/1.1 200 O\0K\r\n"), "a control byte"},
    {"an LF behind it", BYTES("HTTP/1.1 200 OK\n"), "an LF without its CR"},
    {"a CR in it", BYTES("HTTP/1.1 200 O\rK\r\n"), "a CR without its LF"},
    {"bytes behind the last", BYTES("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nxH"),
     "bytes behind the last message"},
};

/* After a start line of either kind. */
static const struct refused fields[] = {
    {"an LF for a line end", BYTES("A: b\nC: d\r\n\r\n"), "an LF without its CR"},
    {"an LF for the empty line", BYTES("A: b\r\n\n"), "an LF without its CR"},
    {"an LF behind the name", BYTES("A:\n b\r\n\r\n"), "an LF without its CR"},
    {"a CR for a line end", BYTES("A: b\rC: d\r\n\r\n"), "a CR without its LF"},
    {"a CR behind the name", BYTES("A:\rb\r\n\r\n"), "a CR without its LF"},
    {"two CRs", BYTES("A: b\r\r\n\r\n"), "a CR without its LF"},
    {"a CR and something for the empty line", BYTES("A: b\r\n\rX"), "a CR without its LF"},
    {"a folded value", BYTES("A: b\r\n c\r\n\r\n"), "a folded field"},
    {"a value folded by a tab", BYTES("A: b\r\n\tc\r\n\r\n"), "a folded field"},
    {"an empty value, folded", BYTES("A:\r\n b\r\n\r\n"), "a folded field"},
    {"a length, folded", BYTES("Content-Length: 5\r\n 5\r\n\r\n"), "a folded field"},
    {"a coding, folded", BYTES("Transfer-Encoding: chunked\r\n ,x\r\n\r\n"), "a folded field"},
    {"a NUL in a name", BYTES("A\0B: c\r\n\r\n"), "a control byte"},
    {"a NUL in a value", BYTES("A: b\0c\r\n\r\n"), "a control byte"},
    {"an escape in a value", BYTES("A: \x1b[m\r\n\r\n"), "a control byte"},
    {"a DEL in a value", BYTES("A: \x7f\r\n\r\n"), "a control byte"},
    {"a vertical tab in a value", BYTES("A: b\vc\r\n\r\n"), "a control byte"},
    {"a blank before the colon", BYTES("A : b\r\n\r\n"), "a blank in a field name"},
    {"a tab before the colon", BYTES("Content-Length\t: 5\r\n\r\n"), "a blank in a field name"},
    {"a blank in the name", BYTES("A B: c\r\n\r\n"), "a blank in a field name"},
    {"no name", BYTES(": b\r\n\r\n"), "an empty field name"},
    {"no colon", BYTES("A\r\n\r\n"), "a field without a colon"},
    {"a name beyond ASCII", BYTES("\xc3\xa4: b\r\n\r\n"), "an invalid byte in a field"},
    {"a name in brackets", BYTES("A[]: b\r\n\r\n"), "an invalid byte in a field"},
    {"a name with a slash", BYTES("A/B: b\r\n\r\n"), "an invalid byte in a field"},
    {"a name in quotes", BYTES("\"A\": b\r\n\r\n"), "an invalid byte in a field"},
};

/* After a head that says "chunked". */
static const struct refused chunks[] = {
    {"no size", BYTES("\r\n"), "an invalid chunk size"},
    {"a sign", BYTES("+5\r\nhello\r\n"), "an invalid chunk size"},
    {"a minus", BYTES("-5\r\nhello\r\n"), "an invalid chunk size"},
    {"0x", BYTES("0x5\r\nhello\r\n"), "an invalid chunk size"},
    {"a blank in front", BYTES(" 5\r\nhello\r\n"), "an invalid chunk size"},
    {"a blank behind", BYTES("5 \r\nhello\r\n"), "an invalid chunk size"},
    {"a tab behind", BYTES("5\t\r\nhello\r\n"), "an invalid chunk size"},
    {"a NUL behind", BYTES("5\0\r\nhello\r\n"), "a control byte"},
    {"an underscore", BYTES("1_0\r\n"), "an invalid chunk size"},
    {"17 digits", BYTES("00000000000000005\r\nhello\r\n"), "an overlong chunk size"},
    {"a size that is negative for some", BYTES("8000000000000000\r\n"), "an overlong chunk size"},
    {"the largest size", BYTES("ffffffffffffffff\r\n"), "an overlong chunk size"},
    {"an LF for the line end", BYTES("5\nhello\r\n"), "an LF without its CR"},
    {"a CR for the line end", BYTES("5\rhello\r\n"), "a CR without its LF"},
    {"an LF in an extension", BYTES("5;a\nhello\r\n"), "an LF without its CR"},
    {"a CR in an extension", BYTES("5;a\rb\r\nhello\r\n"), "a CR without its LF"},
    {"an LF in a quoted extension", BYTES("5;a=\"\n\"\r\nhello\r\n"), "an LF without its CR"},
    {"a CR in a quoted extension", BYTES("5;a=\"\r\"\r\nhello\r\n"), "a malformed chunk extension"},
    {"a NUL in an extension", BYTES("5;a\0\r\nhello\r\n"), "a control byte"},
    {"an extension without a name", BYTES("5;\r\nhello\r\n"), "a malformed chunk extension"},
    {"an extension without a size", BYTES(";a\r\nhello\r\n"), "an invalid chunk size"},
    {"a value without a name", BYTES("5;=b\r\nhello\r\n"), "a malformed chunk extension"},
    {"no value", BYTES("5;a=\r\nhello\r\n"), "a malformed chunk extension"},
    {"two values", BYTES("5;a=b=c\r\nhello\r\n"), "a malformed chunk extension"},
    {"a blank before an extension", BYTES("5; a\r\nhello\r\n"), "a malformed chunk extension"},
    {"a blank in an extension", BYTES("5;a b\r\nhello\r\n"), "a malformed chunk extension"},
    {"a quote that does not end", BYTES("5;a=\"b\r\nhello\r\n"), "a malformed chunk extension"},
    {"a quoted CR, escaped", BYTES("5;a=\"\\\r\nhello\r\n"), "a malformed chunk extension"},
    {"bytes behind a quote", BYTES("5;a=\"b\"c\r\nhello\r\n"), "a malformed chunk extension"},
    {"more than it said", BYTES("5\r\nhello!\r\n"), "a chunk of another length than it says"},
    {"less than it said", BYTES("5\r\nhell\r\n0\r\n\r\n"),
     "a chunk of another length than it says"},
    {"an LF behind the data", BYTES("5\r\nhello\n"), "a chunk of another length than it says"},
    {"nothing behind the data", BYTES("5\r\nhello0\r\n\r\n"),
     "a chunk of another length than it says"},
    {"a trailer with an LF", BYTES("0\r\nA: b\n\r\n"), "an LF without its CR"},
    {"a trailer with a CR", BYTES("0\r\nA: b\rC: d\r\n\r\n"), "a CR without its LF"},
    {"a trailer that is folded", BYTES("0\r\nA: b\r\n c\r\n\r\n"), "a folded field"},
    {"a blank before the trailer", BYTES("0\r\n A: b\r\n\r\n"), "a blank before the first field"},
    {"a NUL in a trailer", BYTES("0\r\nA: \0\r\n\r\n"), "a control byte"},
    {"a trailer without a name", BYTES("0\r\n: b\r\n\r\n"), "an empty field name"},
    {"a length in the trailer", BYTES("0\r\nContent-Length: 5\r\n\r\n"),
     "a framing field in a trailer"},
    {"a coding in the trailer", BYTES("0\r\nTransfer-Encoding: chunked\r\n\r\n"),
     "a framing field in a trailer"},
    {"a Host in the trailer", BYTES("0\r\nhost: b\r\n\r\n"), "a framing field in a trailer"},
    {"an LF for the last line", BYTES("0\r\n\n"), "an LF without its CR"},
    {"a CR and something for it", BYTES("0\r\n\rX"), "a CR without its LF"},
};

static void refuse_in_pieces(enum http1_kind kind, struct span bytes, const char *reason,
                             const struct trace *whole, size_t first, size_t step)
{
    CLEANUP(http1_free) struct http1 *http1 = http1_new(kind);
    struct trace trace = {0};
    size_t consumed = 1;

    trace_run(&trace, http1, bytes, first, step, false);
    assert_true(trace.len > 0);
    assert_int_equal(trace.events[trace.len - 1].status, HTTP1_BAD);
    assert_string_equal(trace.reason, reason);
    assert_same_trace(&trace, whole ? whole : &trace);
    assert_int_equal(http1_feed(http1, BYTES(GET), &consumed), HTTP1_BAD);
    assert_int_equal(consumed, 0);
    assert_false(http1_idle(http1));
}

/* Refused whole and in pieces, for the same reason, at the same byte. */
static void refuse(enum http1_kind kind, const char *before, const struct refused *refused)
{
    CLEANUP(http1_free) struct http1 *http1 = http1_new(kind);
    uint8_t buffer[512];
    struct span bytes = span_of(buffer, strlen(before) + refused->bytes.len);
    struct trace whole = {0};

    print_message("  %s\n", refused->name);
    assert_true(bytes.len <= sizeof(buffer));
    memcpy(buffer, before, strlen(before));
    memcpy(buffer + strlen(before), refused->bytes.data, refused->bytes.len);
    trace_run(&whole, http1, bytes, bytes.len, bytes.len, false);
    refuse_in_pieces(kind, bytes, refused->reason, NULL, bytes.len, bytes.len);
    for (size_t cut = 1; cut < bytes.len; cut++)
        refuse_in_pieces(kind, bytes, refused->reason, &whole, cut, bytes.len);
    for (size_t step = 1; step < 5; step++)
        refuse_in_pieces(kind, bytes, refused->reason, &whole, step, step);
}

#define REFUSE(kind, before, table)                                                                \
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)                                                 \
    refuse(kind, before, &(table)[i])

static void refuses_requests(void **state)
{
    (void)state;
    REFUSE(HTTP1_REQUEST, "", start_lines);
    REFUSE(HTTP1_REQUEST, "", heads);
    REFUSE(HTTP1_REQUEST, GET "X: y\r\n", fields);
    REFUSE(HTTP1_REQUEST, GET CHUNKED, chunks);
    REFUSE(HTTP1_REQUEST, GET CHUNKED "1;a\r\nx\r\n", chunks);
}

static void refuses_answers(void **state)
{
    (void)state;
    REFUSE(HTTP1_RESPONSE, "", status_lines);
    REFUSE(HTTP1_RESPONSE, OK "X: y\r\n", fields);
    REFUSE(HTTP1_RESPONSE, OK CHUNKED, chunks);
    REFUSE(HTTP1_RESPONSE, "HTTP/1.1 204 x\r\n\r\nHTTP/1.1 200\r\n" CHUNKED "1;a\r\nx\r\n", chunks);
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        struct span rest = heads[i].bytes;
        struct refused answer = heads[i];

        if (rest.len <= strlen(GET) || memcmp(rest.data, GET, strlen(GET)) != 0 ||
            strstr(answer.reason, "Host") || strstr(answer.reason, "behind"))
            continue; /* about requests alone */
        answer.bytes = span_of(rest.data + strlen(GET), rest.len - strlen(GET));
        refuse(HTTP1_RESPONSE, OK "X: y\r\n", &answer);
    }
    refuse(HTTP1_RESPONSE, "",
           &(struct refused){"chunks in HTTP/1.0", BYTES("HTTP/1.0 200 OK\r\n" CHUNKED),
                             "Transfer-Encoding in HTTP/1.0"});
}

/* ---- bounds ---- */

struct text {
    char *data;
    size_t len;
};

static struct text repeat(const char *before, const char *unit, size_t times)
{
    struct text text = {malloc(strlen(before) + strlen(unit) * times + 1), strlen(before)};

    memcpy(text.data, before, text.len);
    for (size_t i = 0; i < times; i++, text.len += strlen(unit))
        memcpy(text.data + text.len, unit, strlen(unit));
    return text;
}

static const struct {
    const char *name, *before, *unit;
    size_t times, refused_at; /* units that fit; bytes consumed until the refusal */
    const char *reason;
    enum http1_kind kind;
} bounds[] = {
    {"fields", GET, "x: y\r\n", HTTP1_FIELDS_MAX - 1, 0, "too many fields", HTTP1_REQUEST},
    {"fields of an answer", OK, "x: y\r\n", HTTP1_FIELDS_MAX, 0, "too many fields", HTTP1_RESPONSE},
    {"trailer fields", GET CHUNKED "0\r\n", "x: y\r\n", HTTP1_FIELDS_MAX, 0,
     "too many trailer fields", HTTP1_REQUEST},
    {"a value", GET "x: ", "y", HTTP1_HEAD_MAX - sizeof(GET "x: ") + 1, HTTP1_HEAD_MAX,
     "a head over its limit", HTTP1_REQUEST},
    {"a target", "GET /", "y", HTTP1_HEAD_MAX - 5, HTTP1_HEAD_MAX, "a head over its limit",
     HTTP1_REQUEST},
    {"blank lines", "", "\r\n", HTTP1_HEAD_MAX / 2, HTTP1_HEAD_MAX, "a head over its limit",
     HTTP1_REQUEST},
    {"a reason phrase", "HTTP/1.1 200 ", "y", HTTP1_HEAD_MAX - 13, HTTP1_HEAD_MAX,
     "a head over its limit", HTTP1_RESPONSE},
    {"a chunk extension", GET CHUNKED "0;", "y", 4094, sizeof(GET CHUNKED) - 1 + 4096,
     "an overlong chunk line", HTTP1_REQUEST},
};

static void bounds_hold_to_the_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bounds); i++) {
        CLEANUP(http1_free) struct http1 *http1 = http1_new(bounds[i].kind);
        struct text text = repeat(bounds[i].before, bounds[i].unit, bounds[i].times);
        struct trace trace = {0};
        size_t total = 0;

        print_message("  %s\n", bounds[i].name);
        assert_true(trace_feed(&trace, http1, span_of(text.data, text.len), &total, false));
        /* one more; the next line shows that a field is complete */
        assert_false(trace_feed(&trace, http1, span_of_text(bounds[i].unit), &total, false) &&
                     trace_feed(&trace, http1, BYTES("\r\n"), &total, false));
        assert_string_equal(trace.reason, bounds[i].reason);
        if (bounds[i].refused_at)
            assert_int_equal(total, bounds[i].refused_at);
        free(text.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_requests),
        cmocka_unit_test(refuses_answers),
        cmocka_unit_test(bounds_hold_to_the_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
