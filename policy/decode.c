#include "policy/decode.h"

#include <brotli/decode.h>
#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/cleanup.h"

enum {
    PIECE = 16384,        /* what comes out at once */
    ZSTD_WINDOW_LOG = 23, /* as much as RFC 9659 lets an encoding want */
};

enum kind { GZIP, DEFLATE, MESSAGES, BROTLI, ZSTANDARD };

struct layer {
    enum kind kind;
    bool begun;  /* it had a byte */
    bool plain;  /* what was encoded is over: the rest is as it is */
    bool whole;  /* it could end here */
    bool opened; /* zlib's, whose format was looked at */
    uint8_t first;
    z_stream zlib;
    BrotliDecoderState *brotli;
    ZSTD_DCtx *zstd;
    size_t zstd_size;
};

struct decode {
    enum decode_status status;
    decode_room *room;
    void *room_arg;
    bool starved; /* room() said no */
    uint64_t in, out;
    decode_on_bytes *on_bytes; /* for the call */
    void *arg;
    size_t len;
    struct layer layers[DECODE_LAYERS]; /* the last encoding is the first to be taken off */
};

const char *decode_reason(enum decode_status status)
{
    static const char *const reasons[] = {
        [DECODE_FINE] = "",
        [DECODE_ENOUGH] = "",
        [DECODE_UNKNOWN] = "an encoding that is not known",
        [DECODE_BROKEN] = "a body that is not encoded as it says",
        [DECODE_CUT] = "an encoded body that ends too early",
        [DECODE_TOO_MUCH] = "an encoded body that grows past all limits",
        [DECODE_NO_MEMORY] = "no memory to decode the body",
    };

    _Static_assert(ARRAY_SIZE(reasons) == DECODE_STATUS_MAX, "name every status");
    return reasons[status];
}

/* ---- memory ---- */

static bool take_room(struct decode *decode, int64_t bytes)
{
    if (!decode->room || decode->room(decode->room_arg, bytes))
        return true;
    decode->starved = true;
    return false;
}

union block {
    size_t size;
    max_align_t align;
};

static void *allocate(void *arg, size_t size)
{
    struct decode *decode = arg;
    union block *block;

    size += sizeof(*block);
    if (!take_room(decode, (int64_t)size))
        return NULL;
    block = malloc(size);
    if (!block) {
        decode->starved = true;
        take_room(decode, -(int64_t)size);
        return NULL;
    }
    block->size = size;
    return block + 1;
}

static void release(void *arg, void *data)
{
    union block *block = data;

    if (!block)
        return;
    block--;
    take_room(arg, -(int64_t)block->size);
    free(block);
}

static voidpf zlib_allocate(voidpf arg, uInt items, uInt size)
{
    return allocate(arg, (size_t)items * size);
}

/* zstd does not ask; it says what it took. */
static bool account_zstd(struct decode *decode, struct layer *layer)
{
    size_t size = ZSTD_sizeof_DCtx(layer->zstd);
    bool room = size <= layer->zstd_size || take_room(decode, (int64_t)(size - layer->zstd_size));

    if (room && size < layer->zstd_size)
        take_room(decode, -(int64_t)(layer->zstd_size - size));
    if (room)
        layer->zstd_size = size;
    return room;
}

/* ---- a layer ---- */

static bool open_zlib(struct decode *decode, struct layer *layer, int window_bits)
{
    layer->zlib = (z_stream){.zalloc = zlib_allocate, .zfree = release, .opaque = decode};
    layer->opened = inflateInit2(&layer->zlib, window_bits) == Z_OK;
    return layer->opened;
}

static bool open_layer(struct decode *decode, struct layer *layer, enum kind kind)
{
    *layer = (struct layer){.kind = kind};
    switch (kind) {
    case GZIP:
        return open_zlib(decode, layer, 15 + 16);
    case MESSAGES:
        return open_zlib(decode, layer, -15);
    case DEFLATE: /* by its first bytes */
        return true;
    case BROTLI:
        layer->brotli = BrotliDecoderCreateInstance(allocate, release, decode);
        return layer->brotli;
    case ZSTANDARD:
        layer->zstd = ZSTD_createDCtx();
        return layer->zstd && account_zstd(decode, layer) &&
               !ZSTD_isError(
                   ZSTD_DCtx_setParameter(layer->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG));
    }
    return false;
}

static void close_layer(struct decode *decode, struct layer *layer)
{
    if (layer->opened)
        inflateEnd(&layer->zlib);
    if (layer->brotli)
        BrotliDecoderDestroyInstance(layer->brotli);
    ZSTD_freeDCtx(layer->zstd);
    if (layer->zstd_size)
        take_room(decode, -(int64_t)layer->zstd_size);
}

static enum decode_status feed(struct decode *decode, size_t number, struct span bytes);

/* What came out of a layer is for the next one, or for the caller. */
static enum decode_status pass(struct decode *decode, size_t number, struct span bytes)
{
    if (!bytes.len)
        return DECODE_FINE;
    decode->out += bytes.len;
    if (decode->out > DECODE_SIZE_MAX || decode->out > DECODE_FREE + DECODE_RATIO * decode->in)
        return DECODE_TOO_MUCH;
    return feed(decode, number + 1, bytes);
}

static enum decode_status broken(const struct decode *decode)
{
    return decode->starved ? DECODE_NO_MEMORY : DECODE_BROKEN;
}

/* One step of each: what it takes off *bytes comes out. */
static enum decode_status inflate_step(struct decode *decode, size_t number, struct span *bytes)
{
    struct layer *layer = &decode->layers[number];
    z_stream *zlib = &layer->zlib;
    uint8_t out[PIECE];
    uInt given = bytes->len < UINT32_MAX ? (uInt)bytes->len : UINT32_MAX;
    int result;

    zlib->next_in = (Bytef *)bytes->data;
    zlib->avail_in = given;
    zlib->next_out = out;
    zlib->avail_out = sizeof(out);
    result = inflate(zlib, Z_SYNC_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        return broken(decode);
    *bytes = span_of(bytes->data + (given - zlib->avail_in), bytes->len - (given - zlib->avail_in));
    if (given || result == Z_STREAM_END)
        layer->whole = result == Z_STREAM_END;
    if (result == Z_STREAM_END && inflateReset(zlib) != Z_OK)
        return broken(decode);
    if (layer->whole && layer->kind == DEFLATE)
        layer->plain = true;
    return pass(decode, number, span_of(out, sizeof(out) - zlib->avail_out));
}

static enum decode_status brotli_step(struct decode *decode, size_t number, struct span *bytes)
{
    struct layer *layer = &decode->layers[number];
    uint8_t out[PIECE], *next_out = out;
    size_t room = sizeof(out);
    BrotliDecoderResult result = BrotliDecoderDecompressStream(
        layer->brotli, &bytes->len, &bytes->data, &room, &next_out, NULL);

    if (result == BROTLI_DECODER_RESULT_ERROR)
        return broken(decode);
    layer->whole = layer->plain = result == BROTLI_DECODER_RESULT_SUCCESS;
    return pass(decode, number, span_of(out, sizeof(out) - room));
}

static enum decode_status zstd_step(struct decode *decode, size_t number, struct span *bytes)
{
    struct layer *layer = &decode->layers[number];
    uint8_t room[PIECE];
    ZSTD_inBuffer in = {bytes->data, bytes->len, 0};
    ZSTD_outBuffer out = {room, sizeof(room), 0};
    size_t result = ZSTD_decompressStream(layer->zstd, &out, &in);

    if (!account_zstd(decode, layer))
        return DECODE_NO_MEMORY;
    if (ZSTD_isError(result))
        return broken(decode);
    *bytes = span_of(bytes->data + in.pos, bytes->len - in.pos);
    if (in.size || result == 0)
        layer->whole = result == 0;
    return pass(decode, number, span_of(room, out.pos));
}

/* Raw, or in zlib's frame: who sends "deflate" means either. False: not enough bytes to tell. */
static bool tell_deflate(struct decode *decode, struct layer *layer, struct span bytes,
                         enum decode_status *status)
{
    uint8_t second;

    if (!layer->begun)
        layer->first = bytes.data[0];
    if (layer->begun ? bytes.len < 1 : bytes.len < 2)
        return false;
    second = bytes.data[layer->begun ? 0 : 1];
    if (!open_zlib(decode, layer,
                   (layer->first & 15) == 8 && (layer->first << 8 | second) % 31 == 0 ? 15 : -15))
        *status = DECODE_NO_MEMORY;
    return true;
}

/* What follows the end of what was encoded: another of its kind, or bytes as they are. */
static bool another(const struct layer *layer, uint8_t first)
{
    if (layer->kind == GZIP)
        return first == 0x1f;
    if (layer->kind == ZSTANDARD)
        return first == 0x28 || (first >= 0x50 && first <= 0x5f);
    return layer->kind == MESSAGES;
}

static enum decode_status step(struct decode *decode, size_t number, struct span *bytes)
{
    enum kind kind = decode->layers[number].kind;

    if (kind == BROTLI)
        return brotli_step(decode, number, bytes);
    return kind == ZSTANDARD ? zstd_step(decode, number, bytes)
                             : inflate_step(decode, number, bytes);
}

/* All of bytes, and what the layer keeps back for want of room to put it. */
static enum decode_status run(struct decode *decode, size_t number, struct span bytes)
{
    struct layer *layer = &decode->layers[number];
    enum decode_status status = DECODE_FINE;
    uint64_t before;

    do {
        if (layer->whole && bytes.len && !another(layer, bytes.data[0]))
            layer->plain = true;
        if (layer->plain)
            return pass(decode, number, bytes);
        before = decode->out;
        status = step(decode, number, &bytes);
    } while (status == DECODE_FINE && !layer->plain &&
             (bytes.len || (decode->out != before && !layer->whole)));
    return status == DECODE_FINE && layer->plain ? pass(decode, number, bytes) : status;
}

static enum decode_status feed(struct decode *decode, size_t number, struct span bytes)
{
    struct layer *layer = &decode->layers[number];
    enum decode_status status = DECODE_FINE;
    bool begun;

    if (!bytes.len)
        return DECODE_FINE;
    if (number == decode->len)
        return decode->on_bytes(bytes, decode->arg) ? DECODE_FINE : DECODE_ENOUGH;
    begun = layer->begun;
    if (layer->kind == DEFLATE && !layer->opened && !layer->plain) {
        bool told = tell_deflate(decode, layer, bytes, &status);

        layer->begun = true;
        if (!told || status != DECODE_FINE)
            return status;
        if (begun)
            status = run(decode, number, span_of(&layer->first, 1));
        if (status != DECODE_FINE)
            return status;
    }
    layer->begun = true;
    return run(decode, number, bytes);
}

/* ---- all of them ---- */

static bool kind_of(struct span name, enum kind *kind)
{
    static const struct {
        const char *name;
        enum kind kind;
    } known[] = {{"gzip", GZIP},
                 {"x-gzip", GZIP},
                 {"deflate", DEFLATE},
                 {"br", BROTLI},
                 {"zstd", ZSTANDARD}};

    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        *kind = known[i].kind;
        if (span_equal_nocase(name, known[i].name))
            return true;
    }
    return false;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* The last name of a list, off its end. False: none is left. */
static bool take_last(struct span *list, struct span *name)
{
    size_t end, at;

    while (list->len && (is_blank(list->data[list->len - 1]) || list->data[list->len - 1] == ','))
        list->len--;
    end = at = list->len;
    while (at && list->data[at - 1] != ',')
        at--;
    list->len = at;
    while (at < end && is_blank(list->data[at]))
        at++;
    *name = span_of(list->data + at, end - at);
    return end > 0;
}

static int add_layer(struct decode *decode, enum kind kind)
{
    if (open_layer(decode, &decode->layers[decode->len++], kind))
        return 0;
    decode->status = DECODE_NO_MEMORY;
    return decode->starved ? 0 : -ENOMEM;
}

static struct decode *decode_empty(decode_room *room, void *arg)
{
    struct decode *decode = calloc(1, sizeof(*decode));

    if (decode) {
        decode->room = room;
        decode->room_arg = arg;
    }
    return decode;
}

int decode_new(struct decode **out, struct span encodings, decode_room *room, void *arg)
{
    CLEANUP(decode_free) struct decode *decode = decode_empty(room, arg);
    struct span name;
    enum kind kind;

    if (!decode)
        return -ENOMEM;
    while (decode->status == DECODE_FINE && take_last(&encodings, &name)) {
        if (span_equal_nocase(name, "identity"))
            continue;
        if (!kind_of(name, &kind) || decode->len == DECODE_LAYERS)
            decode->status = DECODE_UNKNOWN;
        else if (add_layer(decode, kind) < 0)
            return -ENOMEM;
    }
    *out = TAKE(decode);
    return 0;
}

int decode_new_messages(struct decode **out, decode_room *room, void *arg)
{
    CLEANUP(decode_free) struct decode *decode = decode_empty(room, arg);

    if (!decode || add_layer(decode, MESSAGES) < 0)
        return -ENOMEM;
    *out = TAKE(decode);
    return 0;
}

void decode_free(struct decode **decode)
{
    struct decode *gone = TAKE(*decode);

    if (!gone)
        return;
    for (size_t i = 0; i < gone->len; i++)
        close_layer(gone, &gone->layers[i]);
    free(gone);
}

bool decode_is_plain(const struct decode *decode)
{
    return !decode->len && decode->status == DECODE_FINE;
}

enum decode_status decode_feed(struct decode *decode, struct span bytes, decode_on_bytes *on_bytes,
                               void *arg)
{
    if (decode->status != DECODE_FINE || !bytes.len)
        return decode->status;
    decode->on_bytes = on_bytes;
    decode->arg = arg;
    decode->in += bytes.len;
    decode->status = feed(decode, 0, bytes);
    return decode->status;
}

/* Behind each message its sender has left out the end of an empty block (RFC 7692 section 7.2.2).
 */
static enum decode_status end_message(struct decode *decode)
{
    bool begun = decode->layers[0].begun;
    enum decode_status status = begun ? feed(decode, 0, BYTES("\0\0\xff\xff")) : DECODE_FINE;

    decode->layers[0].begun = false;
    return status;
}

enum decode_status decode_end(struct decode *decode, decode_on_bytes *on_bytes, void *arg)
{
    if (decode->status != DECODE_FINE)
        return decode->status;
    decode->on_bytes = on_bytes;
    decode->arg = arg;
    if (decode->len && decode->layers[0].kind == MESSAGES) {
        decode->status = end_message(decode);
        return decode->status;
    }
    for (size_t i = 0; i < decode->len; i++)
        if (decode->layers[i].begun && !decode->layers[i].whole && !decode->layers[i].plain)
            decode->status = DECODE_CUT;
    return decode->status;
}
