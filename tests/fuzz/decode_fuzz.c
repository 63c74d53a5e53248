/* decode_fuzz: a body in any encodings, or a WebSocket's messages: cut anywhere the same comes out,
 * as long as it makes sense, never more than may, and all memory is given back. */
#include "base/cleanup.h"
#include "policy/decode.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const encodings[] = {"gzip",       "deflate",  "br",     "zstd",
                                        "gzip, zstd", "br, gzip", "snappy", "identity"};
enum { MESSAGES = ARRAY_SIZE(encodings), ROOM_MAX = 64 << 20 };

struct out {
    uint64_t digest, len, in;
    int64_t room;
    enum decode_status status;
};

static bool room(void *arg, int64_t bytes)
{
    struct out *out = arg;

    if (bytes > 0 && out->room + bytes > ROOM_MAX)
        return false;
    out->room += bytes;
    CHECK(out->room >= 0);
    return true;
}

static bool on_bytes(struct span bytes, void *arg)
{
    struct out *out = arg;

    CHECK(bytes.len);
    for (size_t i = 0; i < bytes.len; i++)
        out->digest = (out->digest ^ bytes.data[i]) * 0x100000001b3u;
    out->len += bytes.len;
    CHECK(out->len <= DECODE_FREE + DECODE_RATIO * out->in + (4 << 20));
    return true;
}

static struct out decoded(unsigned how, struct span all, uint8_t most, uint32_t seed)
{
    struct out out = {0};
    struct decode *decode = NULL;

    if (how == MESSAGES)
        CHECK(decode_new_messages(&decode, room, &out) == 0);
    else
        CHECK(decode_new(&decode, span_of_text(encodings[how]), room, &out) == 0);
    for (size_t at = 0, len; at < all.len; at += len) {
        uint8_t *piece;

        seed = seed * 1664525 + 1013904223;
        len = most ? (seed >> 24) % most + 1 : all.len;
        if (len > all.len - at)
            len = all.len - at;
        piece = malloc(len); /* nothing may be read behind it */
        CHECK(piece);
        memcpy(piece, all.data + at, len);
        out.in += len;
        out.status = decode_feed(decode, span_of(piece, len), on_bytes, &out);
        free(piece);
    }
    out.status = decode_end(decode, on_bytes, &out);
    CHECK(out.status == DECODE_FINE || decode_reason(out.status)[0]);
    decode_free(&decode);
    CHECK(out.room == 0);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct out whole, pieces;
    unsigned how;

    if (size < 3)
        return 0;
    how = data[0] % (MESSAGES + 1);
    whole = decoded(how, span_of(data + 3, size - 3), 0, 0);
    pieces = decoded(how, span_of(data + 3, size - 3), data[1] ? data[1] : 1, data[2]);
    if (whole.status == DECODE_TOO_MUCH || pieces.status == DECODE_TOO_MUCH)
        return 0; /* where it is too much depends on how much has come */
    /* zstd takes some odd frames only whole, and others only in pieces */
    CHECK((whole.status == DECODE_FINE) == (pieces.status == DECODE_FINE) || how == 3 || how == 4);
    if (whole.status == DECODE_FINE && pieces.status == DECODE_FINE)
        CHECK(whole.len == pieces.len && whole.digest == pieces.digest);
    return 0;
}
