/* seen: what the lines of a run add up to, whatever they are. */
#include "proxy/compare/seen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"

#define SOCKET(protocol, cookie)                                                                   \
    "\"socket\":{\"protocol\":\"" protocol "\",\"cookie\":\"" cookie "\"}"
#define HTTP(host, more)  "{\"process_http\":{" SOCKET("TCP", "7") ",\"host\":\"" host "\"" more "}}"
#define TLS(cookie, more) "{\"process_tls\":{" SOCKET("TCP", cookie) more "}}"
#define CLOSE(protocol, cookie, visibility)                                                        \
    "{\"process_close\":{" SOCKET(protocol,                                                        \
                                  cookie) ",\"visibility\":\"" visibility                          \
                                          "\",\"route\":\"proxy\",\"tx\":\"10\",\"rx\":\"90\"}}"

static const struct {
    const char *name;
    const char *lines[8];
    uint64_t requests, answered, bytes, tls_bytes, crypted, lost;
    const char *host, *tls, *visibility;
} cases[] = {
    {.name = "nothing"},
    {.name = "a request that was answered, and one that was not",
     .lines = {HTTP("a.test", ",\"latency_ns\":\"1500\""), HTTP("a.test", "")},
     .requests = 2,
     .answered = 1,
     .host = "a.test"},
    {.name = "TLS that the proxy ends: three times",
     .lines = {TLS("7", ",\"version\":\"TLS1.3\",\"cipher\":\"C\""),
               CLOSE("TCP", "7", "terminated")},
     .bytes = 100,
     .tls_bytes = 100,
     .crypted = 300,
     .tls = "TLS1.3 C",
     .visibility = "terminated"},
    {.name = "TLS that passes: once",
     .lines = {TLS("7", ",\"ja4\":\"t13\""), CLOSE("TCP", "7", "passthrough")},
     .bytes = 100,
     .tls_bytes = 100,
     .crypted = 100,
     .tls = "TLS",
     .visibility = "passthrough"},
    {.name = "what passes and may be anything: never",
     .lines = {TLS("7", ""), CLOSE("TCP", "7", "passthrough")},
     .bytes = 100,
     .visibility = "passthrough"},
    {.name = "the kernel encrypts: once",
     .lines = {CLOSE("TCP", "7", "ktls")},
     .bytes = 100,
     .tls_bytes = 100,
     .crypted = 100,
     .visibility = "ktls"},
    {.name = "TLS of another connection is not this one's",
     .lines = {TLS("8", ",\"version\":\"TLS1.3\""), CLOSE("TCP", "7", "plaintext")},
     .bytes = 100,
     .tls = "TLS1.3",
     .visibility = "plaintext"},
    {.name = "it ends with the connection",
     .lines = {TLS("7", ",\"version\":\"TLS1.3\""), CLOSE("TCP", "7", "opaque"),
               CLOSE("TCP", "7", "opaque")},
     .bytes = 200,
     .tls_bytes = 100,
     .crypted = 100,
     .tls = "TLS1.3",
     .visibility = "opaque"},
    {.name = "datagrams are none of it", .lines = {CLOSE("UDP", "7", "plaintext")}},
    {.name = "lost ones", .lines = {"{\"lost_events\":{\"count\":\"12\"}}"}, .lost = 12},
    {.name = "other things",
     .lines = {"[]", "{}", "{\"process_http\":3}", "{\"process_close\":[]}", "{\"process_dns\":{}}",
               "{\"process_tls\":{\"version\":1}}"},
     .requests = 1},
};

static const char *first(const struct seen_texts *texts)
{
    return texts->len ? texts->list[0].text : "";
}

static const char *or_none(const char *text)
{
    return text ? text : "";
}

static void adds_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(seen_fini) struct seen seen = {0};

        print_message("  %s\n", cases[i].name);
        for (size_t line = 0; cases[i].lines[line]; line++) {
            json_t *event = json_loads(cases[i].lines[line], 0, NULL);

            assert_non_null(event);
            seen_add(&seen, event);
            json_decref(event);
        }
        assert_false(seen.failed);
        assert_int_equal(seen.requests, cases[i].requests);
        assert_int_equal(seen.latencies_len, cases[i].answered);
        assert_int_equal(seen.bytes, cases[i].bytes);
        assert_int_equal(seen.tls_bytes, cases[i].tls_bytes);
        assert_int_equal(seen.crypted, cases[i].crypted);
        assert_int_equal(seen.lost, cases[i].lost);
        assert_string_equal(first(&seen.hosts), or_none(cases[i].host));
        assert_string_equal(first(&seen.tls), or_none(cases[i].tls));
        assert_string_equal(first(&seen.visibility), or_none(cases[i].visibility));
    }
}

static void many_are_counted(void **state)
{
    CLEANUP(seen_fini) struct seen seen = {0};

    (void)state;
    seen_add(&seen, NULL); /* of a line that is no JSON */
    for (int i = 0; i < 1000; i++) {
        char line[600]; /* names that are longer than what is kept of them */
        json_t *event;

        snprintf(line, sizeof(line), HTTP("%d-%0300d.test", ",\"latency_ns\":\"%d\""), i % 10, 0,
                 1000 * i);
        event = json_loads(line, 0, NULL);
        seen_add(&seen, event);
        json_decref(event);
    }
    assert_int_equal(seen.requests, 1000);
    assert_int_equal(seen.latencies_len, 1000);
    assert_true(seen.latencies_us[999] == 999);
    assert_int_equal(seen.hosts.len, SEEN_TEXTS_MAX);
    assert_int_equal(seen.hosts.list[SEEN_TEXTS_MAX - 1].count, 100);
    assert_int_equal(seen.hosts.more, 100 * (10 - SEEN_TEXTS_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adds_up),
        cmocka_unit_test(many_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
