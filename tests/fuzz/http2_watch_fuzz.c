/* http2_watch_fuzz: one direction of HTTP/2 tells the same in whatever pieces it comes; all that it
 * tells lies within bounds; and skipping a body's bytes is as good as reading them. */
#include <string.h>

#include "proxy/http2/watch.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CLIENT = 1, CUTS = 2, SKIPS = 4, TABLES = 8 };

struct heard {
    uint64_t hash;
    uint64_t body; /* of the stream at hand: pieces of it are one */
    int32_t stream;
    bool bad;
};

static void mix(struct heard *heard, const void *data, size_t len)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len; i++)
        heard->hash = (heard->hash ^ bytes[i]) * UINT64_C(0x100000001b3);
}

static void mix_span(struct heard *heard, struct span span)
{
    mix(heard, &span.len, sizeof(span.len));
    mix(heard, span.data, span.len);
}

static void flush_body(struct heard *heard)
{
    mix(heard, &heard->body, sizeof(heard->body));
    heard->body = 0;
}

static void hear(struct heard *heard, enum http2_watched status, const struct http2_told *told)
{
    if (status == HTTP2_WATCHED_BODY) {
        if (told->stream != heard->stream)
            flush_body(heard);
        heard->stream = told->stream;
        heard->body += told->body.len;
        if (told->end)
            flush_body(heard);
        return;
    }
    flush_body(heard);
    mix(heard, &status, sizeof(status));
    if (status == HTTP2_WATCHED_RESET)
        mix(heard, &told->code, sizeof(told->code));
    if (status == HTTP2_WATCHED_TABLE)
        mix(heard, &told->table_size, sizeof(told->table_size));
    if (status != HTTP2_WATCHED_HEAD)
        return;
    CHECK(told->stream > 0 && told->head.fields_len <= HTTP2_FIELDS_MAX);
    mix_span(heard, told->head.method);
    mix_span(heard, told->head.path);
    mix(heard, &told->head.code, sizeof(told->head.code));
    for (size_t i = 0; i < told->head.fields_len; i++) {
        mix_span(heard, told->head.fields[i].name);
        mix_span(heard, told->head.fields[i].value);
    }
}

static void feed(struct http2_watch *watch, struct span bytes, struct heard *heard)
{
    enum http2_watched status;
    struct http2_told told;
    size_t consumed;

    do {
        status = http2_watch_feed(watch, bytes, &consumed, &told);
        CHECK(consumed <= bytes.len);
        CHECK(status != HTTP2_WATCHED_MORE || consumed == bytes.len);
        bytes = span_of(bytes.data + consumed, bytes.len - consumed);
        if (status == HTTP2_WATCHED_BAD)
            CHECK(http2_watch_reason(watch)[0]);
        if (status != HTTP2_WATCHED_MORE && !heard->bad)
            hear(heard, status, &told);
        heard->bad = heard->bad || status == HTTP2_WATCHED_BAD;
    } while (status != HTTP2_WATCHED_MORE && status != HTTP2_WATCHED_BAD);
}

static struct heard run(uint8_t how, struct span bytes)
{
    struct http2_watch *watch = http2_watch_new(how & CLIENT);
    struct heard heard = {.hash = UINT64_C(0xcbf29ce484222325)};
    struct http2_told told;
    unsigned state = how;

    CHECK(watch);
    if (how & TABLES)
        http2_watch_table(watch, 65536);
    while (bytes.len) {
        size_t len = bytes.len, skipped;

        state = state * 1103515245 + 12345;
        if (how & CUTS)
            len = 1 + (state >> 16) % 7 < len ? 1 + (state >> 16) % 7 : len;
        skipped = how & SKIPS ? http2_watch_skip(watch, len, &told) : 0;
        CHECK(skipped <= len);
        if (skipped && told.stream) {
            told.body.len = skipped;
            hear(&heard, HTTP2_WATCHED_BODY, &told);
        }
        if (skipped)
            len = skipped;
        else
            feed(watch, span_of(bytes.data, len), &heard);
        bytes = span_of(bytes.data + len, bytes.len - len);
    }
    flush_body(&heard);
    http2_watch_free(&watch);
    return heard;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct heard whole, cut;
    uint8_t how;

    if (!size)
        return 0;
    how = data[0] & (CLIENT | TABLES);
    whole = run(how, span_of(data + 1, size - 1));
    cut = run(how | CUTS, span_of(data + 1, size - 1));
    CHECK(whole.hash == cut.hash && whole.bad == cut.bad);
    cut = run(how | CUTS | SKIPS, span_of(data + 1, size - 1));
    CHECK(whole.bad || whole.hash == cut.hash);
    return 0;
}
