/* http1: messages end where they end, however their bytes arrive. */
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

enum answers { PLAIN, TO_HEAD, TO_CONNECT };

/* What is told, written where it is told: '{' a head, '}' its message's end, '~' raw from here on.
 * These bytes are taken out before the rest is fed. */
static const struct {
    const char *name;
    enum http1_kind kind;
    enum answers answers;
    bool take_upgrades;
    struct span script;
} messages[] = {
#define REQUEST(name, text)                                                                        \
    {                                                                                              \
        name, HTTP1_REQUEST, PLAIN, false, BYTES(text)                                             \
    }
#define ANSWER(name, text)                                                                         \
    {                                                                                              \
        name, HTTP1_RESPONSE, PLAIN, false, BYTES(text)                                            \
    }
#define ANSWER_TO(what, name, text)                                                                \
    {                                                                                              \
        name, HTTP1_RESPONSE, what, false, BYTES(text)                                             \
    }
    REQUEST("nothing", ""),
    REQUEST("a request", "GET / HTTP/1.1\r\n" H "\r\n{}"),
    REQUEST("two, one behind the other",
            "GET / HTTP/1.1\r\n" H "\r\n{}HEAD /b HTTP/1.1\r\n" H "\r\n{}"),
    REQUEST("blank lines before a request", "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n{}\r\n"),
    REQUEST("a body by length", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n{hello}"),
    REQUEST("a body of no bytes", "POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n{}"),
    REQUEST("a length with zeros in front",
            "POST / HTTP/1.1\r\n" H "Content-Length: 005\r\n\r\n{hello}"),
    REQUEST("a GET with a body",
            "GET / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n{hello}GET / HTTP/1.1\r\n" H "\r\n{}"),
    REQUEST("bodies that look like messages",
            "PUT / HTTP/1.1\r\n" H "Content-Length: 18\r\n\r\n{GET / HTTP/1.1\r\n\r\n}"
            "GET / HTTP/1.1\r\n" H "\r\n{}"),
    REQUEST("a chunked body", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n{"
                              "5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n}"),
    REQUEST("chunked in capitals, sizes in small letters",
            "POST / HTTP/1.1\r\n" H
            "transfer-encoding: CHUNKED \r\n\r\n{a\r\n0123456789\r\n0\r\n\r\n}"),
    REQUEST(
        "sixteen digits of chunk size",
        "POST / HTTP/1.1\r\n" H
        "Transfer-Encoding: chunked\r\n\r\n{0000000000000001\r\nx\r\n0000000000000000\r\n\r\n}"),
    REQUEST("chunk extensions",
            "POST / HTTP/1.1\r\n" H
            "Transfer-Encoding: chunked\r\n\r\n{1;a\r\nx\r\n1;a=b\r\nx\r\n1;a=\"b "
            "c\"\r\nx\r\n0;z\r\n\r\n}"),
    REQUEST(
        "more than one extension",
        "POST / HTTP/1.1\r\n" H
        "Transfer-Encoding: chunked\r\n\r\n{1;a;b=c;d=\"e;\\\"\t\xe4\";f\r\nx\r\n0;a=b;c\r\n\r\n}"),
    REQUEST("trailers",
            "POST / HTTP/1.1\r\n" H
            "Transfer-Encoding: chunked\r\n\r\n{1\r\nx\r\n0\r\nDigest: a b\r\nEmpty:\r\n\r\n}"
            "GET / HTTP/1.1\r\n" H "\r\n{}"),
    REQUEST("an empty chunked body",
            "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n{0\r\n\r\n}"),
    REQUEST("the last one says close, and line ends follow",
            "GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n{}\r\n"),
    REQUEST("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n{}"),
    REQUEST("HTTP/1.0 that keeps its connection",
            "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n{}"
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n{}"),
    REQUEST("asterisk-form", "OPTIONS * HTTP/1.1\r\n" H "\r\n{}"),
    REQUEST("absolute-form", "GET http://a/x HTTP/1.1\r\n" H "\r\n{}"),
    REQUEST("absolute-form in other letters, with the scheme's port",
            "GET HTTP://A.:80?x HTTP/1.1\r\n" H "\r\n{}"),
    REQUEST("what nginx takes in a target",
            "GET /<\"`|^[]>%zz\xc3\xbc?\\?\xff HTTP/1.1\r\n" H "\r\n{}"),
    REQUEST("odd but valid values", "GET / HTTP/1.1\r\n" H "Empty:\r\nBlank: \t \r\nTab: a\tb\t\r\n"
                                    "Latin: \xe4\xff\r\n1!#$%&'*+-.^_`|: x\r\n\r\n{}"),
    REQUEST("an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n{}"),
    REQUEST("an upgrade refused, then more",
            "GET / HTTP/1.1\r\n" H "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n{}"
            "GET / HTTP/1.1\r\n" H "\r\n{}"),
    REQUEST("an upgrade with a body",
            "POST / HTTP/1.1\r\n" H "Connection: upgrade\r\nUpgrade: h2c\r\n"
            "Content-Length: 5\r\n\r\n{hello}GET / HTTP/1.1\r\n" H "\r\n{}"),
    REQUEST("an upgrade with a chunked body",
            "POST / HTTP/1.1\r\n" H "Connection: upgrade\r\nUpgrade: "
            "h2c\r\nTransfer-Encoding: chunked\r\n\r\n{1\r\nx\r\n0\r\n\r\n}GET / HTTP/1.1\r\n" H
            "\r\n{}"),
    REQUEST("Upgrade without Connection is idle talk",
            "GET / HTTP/1.1\r\n" H "Upgrade: h2c\r\n\r\n{}GET / HTTP/1.1\r\n" H "\r\n{}"),
    REQUEST("a CONNECT refused, then more", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n{}"
                                            "GET / HTTP/1.1\r\n" H "\r\n{}"),
    {"an upgrade taken", HTTP1_REQUEST, PLAIN, true,
     BYTES("GET / HTTP/1.1\r\n" H
           "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n{}~\x81\x85....")},
    {"a CONNECT taken", HTTP1_REQUEST, PLAIN, true,
     BYTES("CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: x\r\n\r\n{}~\x16\x03\x01")},

    ANSWER("an answer", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{ok}"),
    ANSWER("without a reason phrase", "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n{ok}"),
    ANSWER("without the blank before it", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{ok}"),
    ANSWER("with tabs and Latin in it", "HTTP/1.1 200 a\tb \xfc\r\nContent-Length: 2\r\n\r\n{ok}"),
    ANSWER("three behind one another", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{ok}"
                                       "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n{}HTTP/1.1 999 "
                                       "x\r\nContent-Length:1\r\n\r\n{y}"),
    ANSWER("until the peer closes", "HTTP/1.1 200 OK\r\n\r\n{HTTP/1.1 200 OK\r\n\r\n"),
    ANSWER("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{1\r\nx\r\n0\r\n\r\n}"),
    ANSWER("chunked with a trailer",
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{1\r\nx\r\n0\r\nA: b\r\n\r\n}"),
    ANSWER("204 has no body, whatever it says",
           "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n{}HTTP/1.1 204 x\r\n\r\n{}"),
    ANSWER("304 has no body, whatever it says",
           "HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n{}HTTP/1.1 304 x\r\n\r\n{}"
           "HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n{}HTTP/1.1 304 x\r\n\r\n{}"),
    ANSWER("interim answers before the one",
           "HTTP/1.1 100 Continue\r\n\r\n{}HTTP/1.1 103 Hints\r\n"
           "Link: x\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{ok}"),
    ANSWER("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{ok}"),
    ANSWER("HTTP/1.0 that keeps its connection",
           "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"
           "Content-Length: 2\r\n\r\n{ok}HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{ok}"),
    ANSWER("the protocol changes", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                   "Connection: Upgrade\r\n\r\n{~\x81\x01x"),
    ANSWER("an offer to upgrade later", "HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"
                                        "Content-Length: 2\r\n\r\n{ok}HTTP/1.1 204 x\r\n\r\n{}"),
    ANSWER_TO(TO_HEAD, "to HEAD, with a length",
              "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}HTTP/1.1 204 x\r\n\r\n{}"),
    ANSWER_TO(TO_HEAD, "to HEAD, chunked",
              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}HTTP/1.1 204 x\r\n\r\n{}"),
    ANSWER_TO(TO_HEAD, "to HEAD, without a length",
              "HTTP/1.1 200 OK\r\n\r\n{}HTTP/1.1 204 x\r\n\r\n{}"),
    ANSWER_TO(TO_HEAD, "to HEAD, an interim one first",
              "HTTP/1.1 103 x\r\n\r\n{}"
              "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}HTTP/1.1 200 x\r\nContent-Length: "
              "1\r\n\r\n{y}"),
    ANSWER_TO(TO_CONNECT, "to CONNECT: the tunnel stands", "HTTP/1.1 200 OK\r\n\r\n{~\x16\x03\x01"),
    ANSWER_TO(TO_CONNECT, "to CONNECT: a length means nothing",
              "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{~x"),
    ANSWER_TO(TO_CONNECT, "to CONNECT: refused",
              "HTTP/1.1 407 x\r\nContent-Length: 2\r\n\r\n{no}HTTP/1.1 204 x\r\n\r\n{}"),
#undef REQUEST
#undef ANSWER
#undef ANSWER_TO
};

static struct span read_script(struct span script, uint8_t *bytes, struct trace *want)
{
    size_t len = 0;

    for (size_t i = 0; i < script.len; i++) {
        const char *mark = strchr("{}~", script.data[i]);

        if (!mark || !*mark) {
            bytes[len++] = script.data[i];
            continue;
        }
        want->events[want->len].at = len;
        want->events[want->len++].status = *mark == '{'   ? HTTP1_HEAD
                                           : *mark == '}' ? HTTP1_DONE
                                                          : HTTP1_RAW;
    }
    return span_of(bytes, len);
}

static void run_message(size_t i, struct span bytes, const struct trace *want, size_t first,
                        size_t step)
{
    CLEANUP(http1_free) struct http1 *http1 = http1_new(messages[i].kind);
    struct trace got = {0};

    assert_non_null(http1);
    http1_answers(http1, messages[i].answers == TO_HEAD, messages[i].answers == TO_CONNECT);
    trace_run(&got, http1, bytes, first, step, messages[i].take_upgrades);
    if (got.reason)
        print_message("    refused: %s\n", got.reason);
    assert_same_trace(&got, want);
}

static void ends_where_it_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
        struct trace want = {0};
        uint8_t buffer[512];
        struct span bytes;

        print_message("  %s\n", messages[i].name);
        assert_true(messages[i].script.len <= sizeof(buffer));
        bytes = read_script(messages[i].script, buffer, &want);
        run_message(i, bytes, &want, bytes.len, 1);  /* whole */
        for (size_t cut = 0; cut < bytes.len; cut++) /* in two, cut anywhere */
            run_message(i, bytes, &want, cut, bytes.len);
        for (size_t step = 1; step < 8 && bytes.len; step++) /* in crumbs */
            run_message(i, bytes, &want, step, step);
    }
}

/* ---- the end of the bytes ---- */

static const struct {
    const char *name, *text;
    enum http1_kind kind;
    enum http1_status want;
} ends[] = {
    {"nothing came", "", HTTP1_REQUEST, HTTP1_DONE},
    {"nothing came back", "", HTTP1_RESPONSE, HTTP1_DONE},
    {"blank lines only", "\r\n\r\n", HTTP1_REQUEST, HTTP1_DONE},
    {"half a blank line", "\r", HTTP1_REQUEST, HTTP1_BAD},
    {"half a method", "GE", HTTP1_REQUEST, HTTP1_BAD},
    {"half a head", "GET / HTTP/1.1\r\n" H, HTTP1_REQUEST, HTTP1_BAD},
    {"a whole request", "GET / HTTP/1.1\r\n" H "\r\n", HTTP1_REQUEST, HTTP1_DONE},
    {"an upgrade not settled", "CONNECT a:1 HTTP/1.1\r\n" H "\r\n", HTTP1_REQUEST, HTTP1_DONE},
    {"half a status line", "HTTP/1.1 2", HTTP1_RESPONSE, HTTP1_BAD},
    {"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", HTTP1_RESPONSE, HTTP1_BAD},
    {"a body by length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", HTTP1_RESPONSE,
     HTTP1_DONE},
    {"a body until close", "HTTP/1.1 200 OK\r\n\r\nhello", HTTP1_RESPONSE, HTTP1_DONE},
    {"none of it", "HTTP/1.1 200 OK\r\n\r\n", HTTP1_RESPONSE, HTTP1_DONE},
    {"between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
     HTTP1_RESPONSE, HTTP1_BAD},
    {"in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nx", HTTP1_RESPONSE,
     HTTP1_BAD},
    {"before the last line end",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", HTTP1_RESPONSE,
     HTTP1_BAD},
    {"after an interim answer", "HTTP/1.1 100 Continue\r\n\r\n", HTTP1_RESPONSE, HTTP1_DONE},
    {"right behind a tunnel's head", "HTTP/1.1 101 x\r\n\r\n", HTTP1_RESPONSE, HTTP1_DONE},
    {"after nonsense", "nonsense", HTTP1_RESPONSE, HTTP1_BAD},
};

static void a_cut_message_never_looks_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        CLEANUP(http1_free) struct http1 *http1 = http1_new(ends[i].kind);
        size_t total = 0;
        struct trace trace = {0};

        print_message("  %s\n", ends[i].name);
        trace_feed(&trace, http1, span_of_text(ends[i].text), &total, false);
        assert_int_equal(http1_eof(http1), ends[i].want);
        if (ends[i].want == HTTP1_BAD) {
            assert_string_not_equal(http1_reason(http1), "");
            assert_int_equal(http1_eof(http1), HTTP1_BAD);
        }
    }
}

/* DONE is still owed when the head was the last thing told. */
static void end_of_bytes_right_behind_the_head(void **state)
{
    CLEANUP(http1_free) struct http1 *http1 = http1_new(HTTP1_RESPONSE);
    size_t consumed;

    (void)state;
    assert_int_equal(http1_feed(http1, BYTES("HTTP/1.1 204 x\r\n\r\n"), &consumed), HTTP1_HEAD);
    assert_false(http1_idle(http1));
    assert_int_equal(http1_eof(http1), HTTP1_DONE);
    assert_true(http1_idle(http1));
}

static void idle_is_between_messages(void **state)
{
    static const char text[] = "POST / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nok";
    CLEANUP(http1_free) struct http1 *http1 = http1_new(HTTP1_REQUEST);

    (void)state;
    assert_int_equal(http1_feed(http1, span_of(NULL, 0), &(size_t){0}), HTTP1_MORE);
    assert_true(http1_idle(http1));
    for (size_t round = 0; round < 2; round++)
        for (size_t at = 0, consumed; at < strlen(text); at += consumed) {
            enum http1_status status = http1_feed(http1, span_of(text + at, 1), &consumed);

            assert_int_equal(http1_idle(http1), status == HTTP1_DONE);
        }
    assert_true(http1_idle(http1));
}

/* Its places are in bytes that the caller may have no more. */
static void the_last_head_is_none_of_what_follows_it(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n";
    CLEANUP(http1_free) struct http1 *http1 = http1_new(HTTP1_REQUEST);
    size_t consumed;

    (void)state;
    assert_int_equal(http1_feed(http1, span_of_text(text), &consumed), HTTP1_HEAD);
    assert_int_equal(http1_head(http1)->fields_len, 2);
    assert_int_equal(http1_feed(http1, BYTES(""), &consumed), HTTP1_DONE);
    assert_int_equal(http1_feed(http1, BYTES("X"), &consumed), HTTP1_BAD);
    assert_string_equal(http1_reason(http1), "bytes behind the last message");
    assert_int_equal(http1_head(http1)->fields_len, 0);
    assert_int_equal(http1_head(http1)->target_len, 0);
}

static void asking_to_upgrade_stops_the_reading(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\n" H "Connection: upgrade\r\nUpgrade: x\r\n\r\n";
    CLEANUP(http1_free) struct http1 *http1 = http1_new(HTTP1_REQUEST);
    size_t consumed;

    (void)state;
    assert_int_equal(http1_feed(http1, span_of_text(text), &consumed), HTTP1_HEAD);
    assert_int_equal(http1_feed(http1, BYTES("GET"), &consumed), HTTP1_DONE);
    assert_int_equal(consumed, 0);
    assert_true(http1_head(http1)->upgrade);
    assert_int_equal(http1_feed(http1, BYTES("GET"), &consumed), HTTP1_MORE);
    assert_int_equal(consumed, 0);
    http1_upgraded(http1, true);
    assert_int_equal(http1_feed(http1, BYTES("GET"), &consumed), HTTP1_RAW);
    assert_int_equal(consumed, 0);
}

/* ---- many and much ---- */

static void a_thousand_behind_one_another(void **state)
{
    static const char one[] = "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc";
    enum { TIMES = 1000, LEN = sizeof(one) - 1 };
    char *text = malloc(TIMES * LEN);

    (void)state;
    for (size_t i = 0; i < TIMES; i++)
        memcpy(text + i * LEN, one, LEN);
    for (size_t step = 1; step <= TIMES * LEN; step *= 7) {
        CLEANUP(http1_free) struct http1 *http1 = http1_new(HTTP1_REQUEST);
        struct trace trace = {0};

        trace_run(&trace, http1, span_of(text, TIMES * LEN), step, step, false);
        assert_int_equal(trace.len, 2 * TIMES);
        for (size_t i = 0; i < TIMES; i++) {
            assert_int_equal(trace.events[2 * i].status, HTTP1_HEAD);
            assert_int_equal(trace.events[2 * i].at, (i + 1) * LEN - 3);
            assert_int_equal(trace.events[2 * i + 1].status, HTTP1_DONE);
            assert_int_equal(trace.events[2 * i + 1].at, (i + 1) * LEN);
        }
    }
    free(text);
}

static void a_hundred_fields_of_8_kb(void **state)
{
    enum { FIELDS = 100, VALUE = 8192, LEN = 30 + FIELDS * (VALUE + 6) };
    CLEANUP(http1_free) struct http1 *http1 = http1_new(HTTP1_REQUEST);
    char *text = malloc(LEN);
    size_t len = (size_t)sprintf(text, "GET / HTTP/1.0\r\n");
    struct trace trace = {0};

    (void)state;
    for (size_t i = 0; i < FIELDS; i++) {
        len += (size_t)sprintf(text + len, "%c: ", (char)('a' + i % 26));
        memset(text + len, 'v', VALUE);
        len += VALUE;
        len += (size_t)sprintf(text + len, "\r\n");
    }
    len += (size_t)sprintf(text + len, "\r\n");
    trace_run(&trace, http1, span_of(text, len), 1000, 1000, false);
    assert_int_equal(trace.len, 2);
    assert_int_equal(http1_head(http1)->fields_len, FIELDS);
    assert_int_equal(http1_head(http1)->fields[FIELDS - 1].value_len, VALUE);
    free(text);
}

static void a_body_of_four_gigabytes(void **state)
{
    static const uint8_t piece[1 << 20];
    CLEANUP(http1_free) struct http1 *http1 = http1_new(HTTP1_RESPONSE);
    size_t consumed;

    (void)state;
    assert_int_equal(http1_feed(http1,
                                BYTES("HTTP/1.1 200 OK\r\nContent-Length: 4294967297\r\n\r\n"),
                                &consumed),
                     HTTP1_HEAD);
    for (size_t i = 0; i < 4096; i++)
        assert_int_equal(http1_feed(http1, span_of(piece, sizeof(piece)), &consumed), HTTP1_MORE);
    assert_int_equal(http1_feed(http1, span_of(piece, sizeof(piece)), &consumed), HTTP1_DONE);
    assert_int_equal(consumed, 1);
    assert_true(http1_body_bytes(http1) == 4294967297);
}

static char shown[2][64]; /* of each part */

static void show(void *arg, enum http1_part part, struct span bytes)
{
    assert_ptr_equal(arg, shown);
    strncat(shown[part], (const char *)bytes.data, bytes.len);
}

static void bodies_are_shown_without_their_framing(void **state)
{
    static const struct {
        const char *text, *aside;
    } framed[] = {{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello body", ""},
                  {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "3;a=b\r\nhel\r\n7\r\nlo body\r\n0;c\r\nX: y\r\nZ:1\r\n\r\n",
                   ";a=b;cX: y\r\nZ:1\r\n\r\n"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(framed); i++) {
        CLEANUP(http1_free) struct http1 *http1 = http1_new(HTTP1_REQUEST);
        const struct span bytes = span_of_text(framed[i].text);
        enum http1_status status = HTTP1_MORE;
        size_t consumed;

        shown[HTTP1_BODY][0] = shown[HTTP1_ASIDE][0] = 0;
        http1_on_body(http1, show, shown);
        for (size_t at = 0; at < bytes.len; at += consumed)
            status = http1_feed(http1, span_of(bytes.data + at, 1), &consumed);
        assert_int_equal(status, HTTP1_DONE);
        assert_string_equal(shown[HTTP1_BODY], "hello body");
        assert_string_equal(shown[HTTP1_ASIDE], framed[i].aside);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_where_it_ends),
        cmocka_unit_test(a_cut_message_never_looks_whole),
        cmocka_unit_test(end_of_bytes_right_behind_the_head),
        cmocka_unit_test(idle_is_between_messages),
        cmocka_unit_test(the_last_head_is_none_of_what_follows_it),
        cmocka_unit_test(asking_to_upgrade_stops_the_reading),
        cmocka_unit_test(a_thousand_behind_one_another),
        cmocka_unit_test(a_hundred_fields_of_8_kb),
        cmocka_unit_test(a_body_of_four_gigabytes),
        cmocka_unit_test(bodies_are_shown_without_their_framing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
