/* inspect_fuzz: what is found in a body is the same whatever its cuts and whichever engine looks
 * for it; a hasty stream finds no less. */
#include "base/cleanup.h"
#include "policy/inspect.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATTERNS_MAX = 16, MOST = 1 << 16 };

struct found {
    struct span all;
    uint64_t digest[PATTERNS_MAX]; /* of where each was */
    unsigned len[PATTERNS_MAX];
};

static struct inspect *engines[2];
static struct inspect_scratch *scratches[2];
static size_t patterns_len;

static void compile(void)
{
    struct inspect_pattern patterns[PATTERNS_MAX] = {{"mine", "se[ck]+ret[0-9]{2,4}"},
                                                     {"end", "(^|x)en*d$"}};
    struct err err = {0};

    patterns_len = 2;
    for (size_t i = 0; inspect_built_in[i]; i++)
        patterns[patterns_len++].name = inspect_built_in[i];
    CHECK(inspect_new(&engines[0], patterns, patterns_len, INSPECT_BEST, &err) == 0);
    CHECK(inspect_new(&engines[1], patterns, patterns_len, INSPECT_OWN, &err) == 0);
    for (size_t i = 0; i < 2; i++)
        CHECK(inspect_scratch_new(&scratches[i], engines[i]) == 0);
}

static bool on_hit(const struct inspect_hit *hit, void *arg)
{
    struct found *found = arg;

    CHECK(hit->pattern < patterns_len && hit->length && hit->length == hit->bytes.len);
    CHECK(hit->offset + hit->length <= found->all.len);
    CHECK(memcmp(found->all.data + hit->offset, hit->bytes.data, hit->length) == 0);
    found->len[hit->pattern]++;
    found->digest[hit->pattern] =
        ((found->digest[hit->pattern] ^ hit->offset) * 31 + hit->length) * 0x100000001b3u;
    return true;
}

static void look(struct found *found, size_t engine, bool hasty, uint8_t most, uint32_t seed)
{
    CLEANUP(inspect_stream_free) struct inspect_stream *stream = NULL;
    struct span all = found->all;

    CHECK(inspect_stream_new(&stream, engines[engine], hasty) == 0);
    for (size_t at = 0, len; at < all.len; at += len) {
        uint8_t *piece;

        seed = seed * 1664525 + 1013904223;
        len = most ? (seed >> 24) % most + 1 : all.len;
        if (len > all.len - at)
            len = all.len - at;
        piece = malloc(len); /* nothing may be read behind it */
        CHECK(piece);
        memcpy(piece, all.data + at, len);
        CHECK(inspect_feed(stream, scratches[engine], span_of(piece, len), on_hit, found));
        free(piece);
    }
    CHECK(inspect_end(stream, scratches[engine], on_hit, found));
    CHECK(!inspect_failed(stream));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct found whole = {0}, pieces = {0}, other = {0}, hasty = {0};

    if (size < 2 || size > MOST)
        return 0;
    if (!engines[0])
        compile();
    whole.all = pieces.all = other.all = hasty.all = span_of(data + 2, size - 2);
    look(&whole, 0, false, 0, 0);
    look(&pieces, 0, false, data[0] ? data[0] : 1, data[1]);
    look(&other, 1, false, data[1], data[0]);
    look(&hasty, 1, true, data[0] ? data[0] : 1, data[1]);
    for (size_t i = 0; i < patterns_len; i++) {
        CHECK(whole.len[i] == pieces.len[i] && whole.digest[i] == pieces.digest[i]);
        CHECK(whole.len[i] == other.len[i] && whole.digest[i] == other.digest[i]);
        CHECK(!whole.len[i] || hasty.len[i]);
    }
    return 0;
}
