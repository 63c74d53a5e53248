/* Encoded bodies, however they are cut, and those that are none. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <brotli/encode.h>
#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "base/cleanup.h"
#include "policy/decode.h"

enum { ROOM = 64 << 10 };

struct bytes {
    uint8_t data[ROOM];
    size_t len;
};

static struct span of(const struct bytes *bytes)
{
    return span_of(bytes->data, bytes->len);
}

static void add(struct bytes *to, struct span bytes)
{
    assert_true(bytes.len <= ROOM - to->len);
    if (bytes.len)
        memcpy(to->data + to->len, bytes.data, bytes.len);
    to->len += bytes.len;
}

static void deflated(struct bytes *out, struct span text, int window_bits, int flush)
{
    z_stream zlib = {0};

    assert_int_equal(deflateInit2(&zlib, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    zlib.next_in = (Bytef *)text.data;
    zlib.avail_in = (uInt)text.len;
    zlib.next_out = out->data + out->len;
    zlib.avail_out = (uInt)(ROOM - out->len);
    assert_int_equal(deflate(&zlib, flush), flush == Z_FINISH ? Z_STREAM_END : Z_OK);
    out->len = ROOM - zlib.avail_out;
    deflateEnd(&zlib);
}

static void encode(struct bytes *out, const char *how, struct span text)
{
    size_t len = ROOM - out->len;

    if (strcmp(how, "gzip") == 0) {
        deflated(out, text, 15 + 16, Z_FINISH);
    } else if (strcmp(how, "zlib") == 0) {
        deflated(out, text, 15, Z_FINISH);
    } else if (strcmp(how, "raw") == 0) {
        deflated(out, text, -15, Z_FINISH);
    } else if (strcmp(how, "br") == 0) {
        assert_true(BrotliEncoderCompress(5, 20, BROTLI_MODE_GENERIC, text.len, text.data, &len,
                                          out->data + out->len));
        out->len += len;
    } else if (strcmp(how, "zstd") == 0) {
        len = ZSTD_compress(out->data + out->len, len, text.data, text.len, 3);
        assert_false(ZSTD_isError(len));
        out->len += len;
    } else {
        add(out, text);
    }
}

static bool on_bytes(struct span bytes, void *arg)
{
    add(arg, bytes);
    return true;
}

static enum decode_status decode_all(struct decode *decode, struct span body, size_t cut,
                                     struct bytes *out)
{
    enum decode_status status = DECODE_FINE;

    out->len = 0;
    for (size_t at = 0; at < body.len && status == DECODE_FINE; at += cut)
        status =
            decode_feed(decode, span_of(body.data + at, cut < body.len - at ? cut : body.len - at),
                        on_bytes, out);
    return status == DECODE_FINE ? decode_end(decode, on_bytes, out) : status;
}

static enum decode_status decoded(const char *encodings, struct span body, size_t cut,
                                  struct bytes *out)
{
    CLEANUP(decode_free) struct decode *decode = NULL;

    assert_int_equal(decode_new(&decode, span_of_text(encodings), NULL, NULL), 0);
    return decode_all(decode, body, cut, out);
}

#define TEXT "card 4111 1111 1111 1111, card 4111 1111 1111 1111, and a key behind it"

/* As sent: what was done to TEXT, one after the other, and what follows. */
static const struct {
    const char *name, *encodings, *done[3], *behind, *want;
    enum decode_status status;
} cases[] = {
    {"nothing said", "", {""}, "", TEXT, DECODE_FINE},
    {"identity", "identity", {""}, "", TEXT, DECODE_FINE},
    {"gzip", "gzip", {"gzip"}, "", TEXT, DECODE_FINE},
    {"gzip, spelled otherwise", " X-GZip ,", {"gzip"}, "", TEXT, DECODE_FINE},
    {"deflate with zlib's frame", "deflate", {"zlib"}, "", TEXT, DECODE_FINE},
    {"deflate, raw", "deflate", {"raw"}, "", TEXT, DECODE_FINE},
    {"br", "br", {"br"}, "", TEXT, DECODE_FINE},
    {"zstd", "zstd", {"zstd"}, "", TEXT, DECODE_FINE},
    {"two in a row", "gzip, br", {"gzip", "br"}, "", TEXT, DECODE_FINE},
    {"three in a row", "zstd,deflate, gzip", {"zstd", "zlib", "gzip"}, "", TEXT, DECODE_FINE},
    {"four in a row", "gzip, gzip, gzip, gzip", {"gzip"}, "", "", DECODE_UNKNOWN},
    {"the wrong way round", "br, gzip", {"gzip", "br"}, "", "", DECODE_BROKEN},
    {"nobody knows it", "snappy", {""}, "", "", DECODE_UNKNOWN},
    {"one of two nobody knows", "compress, gzip", {"gzip"}, "", "", DECODE_UNKNOWN},
    {"gzip that is none", "gzip", {""}, "", "", DECODE_BROKEN},
    {"br that is none", "br", {""}, "", "", DECODE_BROKEN},
    {"zstd that is none", "zstd", {""}, "", "", DECODE_BROKEN},
    {"bytes behind gzip", "gzip", {"gzip"}, " and more", TEXT " and more", DECODE_FINE},
    {"bytes behind zlib", "deflate", {"zlib"}, " and more", TEXT " and more", DECODE_FINE},
    {"bytes behind br", "br", {"br"}, " and more", TEXT " and more", DECODE_FINE},
    {"bytes behind zstd", "zstd", {"zstd"}, " and more", TEXT " and more", DECODE_FINE},
    {"a broken member behind gzip", "gzip", {"gzip"}, "\x1f and more", TEXT, DECODE_BROKEN},
};

static void make(size_t i, struct bytes *body)
{
    static struct bytes before;

    before.len = body->len = 0;
    add(body, BYTES(TEXT));
    for (size_t n = 0; n < ARRAY_SIZE(cases[i].done) && cases[i].done[n]; n++) {
        before = *body;
        body->len = 0;
        encode(body, cases[i].done[n], of(&before));
    }
    add(body, span_of_text(cases[i].behind));
}

static void decodes_in_any_cut(void **state)
{
    static struct bytes body, out;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("  %s\n", cases[i].name);
        make(i, &body);
        for (size_t cut = 1; cut <= body.len; cut++) {
            assert_int_equal(decoded(cases[i].encodings, of(&body), cut, &out), cases[i].status);
            if (cases[i].want[0])
                assert_true(span_equal(of(&out), span_of_text(cases[i].want)));
        }
    }
}

/* A server that flushes sends what can be read before the end. */
static void tells_a_cut_body(void **state)
{
    static const char *const hows[][2] = {
        {"gzip", "gzip"}, {"deflate", "zlib"}, {"deflate", "raw"}, {"br", "br"}, {"zstd", "zstd"}};
    static struct bytes body, out;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(hows); i++) {
        body.len = 0;
        encode(&body, hows[i][1], BYTES(TEXT));
        for (size_t len = 0; len < body.len; len++)
            assert_int_equal(decoded(hows[i][0], span_of(body.data, len), 7, &out),
                             len ? DECODE_CUT : DECODE_FINE);
    }
}

static void reads_several_members(void **state)
{
    static const char *const hows[] = {"gzip", "zstd"};
    static struct bytes body, out;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(hows); i++) {
        body.len = 0;
        encode(&body, hows[i], BYTES("one "));
        encode(&body, hows[i], BYTES(""));
        encode(&body, hows[i], BYTES("two"));
        for (size_t cut = 1; cut <= body.len; cut++) {
            assert_int_equal(decoded(hows[i], of(&body), cut, &out), DECODE_FINE);
            assert_true(span_equal(of(&out), BYTES("one two")));
        }
    }
}

static bool swallow(struct span bytes, void *arg)
{
    *(size_t *)arg += bytes.len;
    return true;
}

/* Zeros, some 1 000 times as many as what is sent. */
static void stops_at_a_bomb(void **state)
{
    static const char *const hows[][2] = {{"gzip", "gzip"}, {"br", "br"}, {"zstd", "zstd"}};
    static uint8_t zeros[32 << 20];
    static struct bytes body;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(hows); i++) {
        CLEANUP(decode_free) struct decode *decode = NULL;
        size_t out = 0;

        body.len = 0;
        encode(&body, hows[i][1], span_of(zeros, sizeof(zeros)));
        assert_int_equal(decode_new(&decode, span_of_text(hows[i][0]), NULL, NULL), 0);
        assert_int_equal(decode_feed(decode, of(&body), swallow, &out), DECODE_TOO_MUCH);
        assert_true(out <= DECODE_FREE + DECODE_RATIO * body.len);
        assert_int_equal(decode_feed(decode, of(&body), swallow, &out), DECODE_TOO_MUCH);
        assert_int_equal(decode_end(decode, swallow, &out), DECODE_TOO_MUCH);
    }
}

/* Each layer alone would be within the ratio. */
static void stops_at_a_bomb_in_layers(void **state)
{
    static uint8_t zeros[8 << 20];
    static struct bytes inner, body;
    CLEANUP(decode_free) struct decode *decode = NULL;
    size_t out = 0;

    (void)state;
    inner.len = body.len = 0;
    encode(&inner, "gzip", span_of(zeros, sizeof(zeros)));
    encode(&body, "gzip", of(&inner));
    assert_int_equal(decode_new(&decode, BYTES("gzip, gzip"), NULL, NULL), 0);
    assert_int_equal(decode_feed(decode, of(&body), swallow, &out), DECODE_TOO_MUCH);
    assert_true(out <= DECODE_FREE + DECODE_RATIO * body.len);
}

static int64_t taken, limit;

static bool room(void *arg, int64_t bytes)
{
    (void)arg;
    if (bytes > 0 && taken + bytes > limit)
        return false;
    taken += bytes;
    return true;
}

static void takes_no_memory_it_is_not_given(void **state)
{
    static const char *const hows[][2] = {
        {"gzip", "gzip"}, {"deflate", "zlib"}, {"br", "br"}, {"zstd", "zstd"}};
    static struct bytes body, out;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(hows); i++) {
        bool fine = false;

        body.len = 0;
        encode(&body, hows[i][1], BYTES(TEXT));
        for (limit = 0; !fine; limit += 1000) {
            CLEANUP(decode_free) struct decode *decode = NULL;
            enum decode_status status;

            taken = 0;
            assert_int_equal(decode_new(&decode, span_of_text(hows[i][0]), room, NULL), 0);
            status = decode_all(decode, of(&body), 5, &out);
            fine = status == DECODE_FINE;
            assert_true(fine || status == DECODE_NO_MEMORY);
            decode_free(&decode);
            assert_int_equal(taken, 0);
        }
        assert_true(limit > 1000);
    }
}

/* As two ends of a WebSocket do it: one window for all messages, and the end of each left out. */
static void decodes_messages(void **state)
{
    static const char *const texts[] = {"a message, and", "a message, and another", "",
                                        "a message"};
    static struct bytes sent, out;
    CLEANUP(decode_free) struct decode *decode = NULL;
    z_stream zlib = {0};

    (void)state;
    assert_int_equal(deflateInit2(&zlib, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(decode_new_messages(&decode, NULL, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        zlib.next_in = (Bytef *)texts[i];
        zlib.avail_in = (uInt)strlen(texts[i]);
        zlib.next_out = sent.data;
        zlib.avail_out = ROOM;
        deflate(&zlib, Z_SYNC_FLUSH);
        sent.len = ROOM - zlib.avail_out;
        sent.len -= sent.len >= 4 ? 4 : 0;
        if (!texts[i][0])
            sent = (struct bytes){.len = 1}; /* section 7.2.3.6 */
        assert_int_equal(decode_all(decode, of(&sent), 3, &out), DECODE_FINE);
        assert_true(span_equal(of(&out), span_of_text(texts[i])));
    }
    deflateEnd(&zlib);
    assert_int_equal(decode_all(decode, BYTES(""), 3, &out), DECODE_FINE);
    assert_int_equal(decode_all(decode, BYTES("\xff\xff\xff"), 3, &out), DECODE_BROKEN);
}

static bool refuse(struct span bytes, void *arg)
{
    (void)bytes, (void)arg;
    return false;
}

static void stops_when_told(void **state)
{
    static struct bytes body;
    CLEANUP(decode_free) struct decode *decode = NULL;

    (void)state;
    encode(&body, "gzip", BYTES(TEXT));
    assert_int_equal(decode_new(&decode, BYTES("gzip"), NULL, NULL), 0);
    assert_false(decode_is_plain(decode));
    assert_int_equal(decode_feed(decode, of(&body), refuse, NULL), DECODE_ENOUGH);
    assert_int_equal(decode_end(decode, refuse, NULL), DECODE_ENOUGH);
}

static void has_a_reason_for_each(void **state)
{
    (void)state;
    for (enum decode_status status = DECODE_UNKNOWN; status < DECODE_STATUS_MAX; status++)
        assert_true(decode_reason(status)[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_in_any_cut),
        cmocka_unit_test(tells_a_cut_body),
        cmocka_unit_test(reads_several_members),
        cmocka_unit_test(stops_at_a_bomb),
        cmocka_unit_test(stops_at_a_bomb_in_layers),
        cmocka_unit_test(takes_no_memory_it_is_not_given),
        cmocka_unit_test(decodes_messages),
        cmocka_unit_test(stops_when_told),
        cmocka_unit_test(has_a_reason_for_each),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
