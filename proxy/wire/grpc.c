#include "proxy/wire/grpc.h"

#include <stdlib.h>

#include "base/cleanup.h"

enum { FLAG_COMPRESSED = 0x01, FLAG_TRAILERS = 0x80, DECODED_MAX = 1536, QUAD = 4 };

/* Base64, four characters at a time; padding may end any of them, for clients and servers send one
 * piece of base64 behind the other. */
struct grpc_decoder {
    uint32_t bits; /* of the quad at hand */
    uint8_t chars, pads;
    bool bad;         /* what follows is no base64 */
    struct span rest; /* of decoded: not read yet */
    uint8_t decoded[DECODED_MAX];
};

void grpc_init(struct grpc *grpc, enum grpc_kind kind)
{
    *grpc = (struct grpc){.kind = kind};
}

void grpc_fini(struct grpc *grpc)
{
    free(TAKE(grpc->trailers));
    free(TAKE(grpc->decoder));
    grpc->trailers_len = grpc->trailers_size = 0;
    grpc->kind = GRPC_NONE;
}

/* ---- frames ---- */

static uint32_t frame_len(const struct grpc *grpc)
{
    const uint8_t *len = grpc->prefix + 1;

    return (uint32_t)len[0] << 24 | (uint32_t)len[1] << 16 | (uint32_t)len[2] << 8 | len[3];
}

static bool is_trailers(const struct grpc *grpc)
{
    return grpc->prefix[0] & FLAG_TRAILERS;
}

static void open_trailers(struct grpc *grpc)
{
    grpc->trailers_size = grpc->left < GRPC_TRAILERS_MAX ? grpc->left : GRPC_TRAILERS_MAX;
    if (grpc->prefix[0] & FLAG_COMPRESSED)
        grpc->gave_up = "compressed gRPC trailers";
    else if (grpc->trailers_size && !(grpc->trailers = malloc(grpc->trailers_size)))
        grpc->gave_up = "not enough memory to read gRPC trailers";
}

/* The prefix is whole. */
static void open_frame(struct grpc *grpc)
{
    uint8_t flags = grpc->kind == GRPC_PLAIN ? FLAG_COMPRESSED : FLAG_COMPRESSED | FLAG_TRAILERS;

    grpc->left = frame_len(grpc);
    if (grpc->prefix[0] & ~flags)
        grpc->gave_up = "no gRPC message: unknown flags";
    else if (is_trailers(grpc))
        open_trailers(grpc);
}

static void close_frame(struct grpc *grpc)
{
    grpc->prefix_len = 0;
    if (is_trailers(grpc)) {
        grpc->trailers_seen = true;
    } else {
        grpc->messages++;
        grpc->compressed += grpc->prefix[0] & FLAG_COMPRESSED;
    }
}

/* What of the current frame stands in front. */
static struct span take_frame(struct grpc *grpc, struct span *bytes)
{
    struct span part = span_of(bytes->data, bytes->len < grpc->left ? bytes->len : grpc->left);

    *bytes = span_of(bytes->data + part.len, bytes->len - part.len);
    grpc->left -= (uint32_t)part.len;
    if (!grpc->left)
        close_frame(grpc);
    return part;
}

/* Whether the prefix of a frame to read is whole. */
static bool take_prefix(struct grpc *grpc, struct span *bytes)
{
    if (grpc->prefix_len == GRPC_PREFIX)
        return true;
    while (bytes->len && grpc->prefix_len < GRPC_PREFIX) {
        grpc->prefix[grpc->prefix_len++] = bytes->data[0];
        *bytes = span_of(bytes->data + 1, bytes->len - 1);
    }
    if (grpc->prefix_len < GRPC_PREFIX)
        return false;
    open_frame(grpc);
    return !grpc->gave_up;
}

static void take_trailers(struct grpc *grpc, struct span *bytes)
{
    struct span part = take_frame(grpc, bytes);
    size_t room = grpc->trailers_size - grpc->trailers_len;

    if (part.len > room)
        part.len = room;
    if (part.len)
        memcpy(grpc->trailers + grpc->trailers_len, part.data, part.len);
    grpc->trailers_len += part.len;
}

static void take_piece(struct grpc *grpc, struct span *bytes, struct grpc_piece *piece)
{
    piece->len = frame_len(grpc);
    piece->first = grpc->left == piece->len;
    piece->compressed = grpc->prefix[0] & FLAG_COMPRESSED;
    piece->bytes = take_frame(grpc, bytes);
    piece->last = !grpc->left;
    grpc->bytes += piece->bytes.len;
}

/* As grpc_next(), on bytes that are no base64 any more. */
static bool next_piece(struct grpc *grpc, struct span *bytes, struct grpc_piece *piece)
{
    while (bytes->len && grpc->kind != GRPC_NONE && !grpc->gave_up) {
        if (grpc->trailers_seen) {
            grpc->gave_up = "bytes behind the gRPC trailers";
        } else if (take_prefix(grpc, bytes)) {
            if (is_trailers(grpc)) {
                take_trailers(grpc, bytes);
            } else if (bytes->len || !grpc->left) {
                take_piece(grpc, bytes, piece);
                return true;
            }
        }
    }
    *bytes = span_of(NULL, 0);
    return false;
}

/* ---- base64 ---- */

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

/* False: it cannot stand here. */
static bool decode_char(struct grpc_decoder *decoder, uint8_t c)
{
    int value = c == '=' ? 0 : base64_value(c);

    if (value < 0 || (c == '=' ? decoder->chars < 2 : decoder->pads > 0))
        return false;
    decoder->bits = decoder->bits << 6 | (uint32_t)value;
    decoder->pads += c == '=';
    decoder->chars++;
    return true;
}

static size_t close_quad(struct grpc_decoder *decoder, uint8_t *out)
{
    size_t len = 3u - decoder->pads;

    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(decoder->bits >> (16 - 8 * i));
    decoder->bits = decoder->chars = decoder->pads = 0;
    return len;
}

static void decode(struct grpc_decoder *decoder, struct span *bytes)
{
    size_t len = 0;

    while (bytes->len && len + 3 <= sizeof(decoder->decoded)) {
        if (!decode_char(decoder, bytes->data[0])) {
            decoder->bad = true;
            break;
        }
        *bytes = span_of(bytes->data + 1, bytes->len - 1);
        if (decoder->chars == QUAD)
            len += close_quad(decoder, decoder->decoded + len);
    }
    decoder->rest = span_of(decoder->decoded, len);
}

static bool next_decoded(struct grpc *grpc, struct span *bytes, struct grpc_piece *piece)
{
    if (bytes->len && !grpc->decoder && !(grpc->decoder = calloc(1, sizeof(*grpc->decoder))))
        grpc->gave_up = "not enough memory to read base64";
    while (grpc->decoder && !grpc->gave_up) {
        if (next_piece(grpc, &grpc->decoder->rest, piece))
            return true;
        if (grpc->decoder->bad && !grpc->gave_up)
            grpc->gave_up = "no base64";
        if (!bytes->len)
            break;
        decode(grpc->decoder, bytes);
    }
    *bytes = span_of(NULL, 0);
    return false;
}

/* ---- for callers ---- */

bool grpc_next(struct grpc *grpc, struct span *bytes, struct grpc_piece *piece)
{
    return grpc->kind == GRPC_WEB_TEXT ? next_decoded(grpc, bytes, piece)
                                       : next_piece(grpc, bytes, piece);
}

void grpc_skip(struct grpc *grpc, uint64_t len)
{
    bool within = !grpc->decoder && grpc->prefix_len == GRPC_PREFIX && !is_trailers(grpc) && len &&
                  len <= grpc->left;

    if (grpc->kind == GRPC_NONE || grpc->gave_up)
        return;
    if (!within) {
        grpc->gave_up = "the kernel did not hand them up";
        return;
    }
    grpc->bytes += len;
    grpc->left -= (uint32_t)len;
    if (!grpc->left)
        close_frame(grpc);
}

void grpc_feed(struct grpc *grpc, struct span bytes)
{
    struct grpc_piece piece;

    while (grpc_next(grpc, &bytes, &piece))
        ;
}

bool grpc_unfinished(const struct grpc *grpc)
{
    return !grpc->gave_up && (grpc->prefix_len || (grpc->decoder && grpc->decoder->chars));
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct span trim(struct span text)
{
    while (text.len && is_space(text.data[0]))
        text = span_of(text.data + 1, text.len - 1);
    while (text.len && is_space(text.data[text.len - 1]))
        text.len--;
    return text;
}

/* A line without its end. The last one may have none, unless it was cut there. */
static bool take_line(struct span *from, bool cut, struct span *line)
{
    const uint8_t *end = from->len ? memchr(from->data, '\n', from->len) : NULL;

    if (!from->len || (!end && cut))
        return false;
    *line = span_of(from->data, end ? (size_t)(end - from->data) : from->len);
    *from = end ? span_of(end + 1, from->len - line->len - 1) : span_of(NULL, 0);
    return true;
}

bool grpc_trailer(const struct grpc *grpc, const char *name, struct span *value)
{
    struct span rest = span_of(grpc->trailers, grpc->trailers_len), line;

    if (!grpc->trailers_seen)
        return false;
    while (take_line(&rest, grpc->trailers_size < frame_len(grpc), &line)) {
        const uint8_t *colon = line.len ? memchr(line.data, ':', line.len) : NULL;
        size_t len = colon ? (size_t)(colon - line.data) : 0;

        if (colon && span_equal_nocase(trim(span_of(line.data, len)), name)) {
            *value = trim(span_of(colon + 1, line.len - len - 1));
            return true;
        }
    }
    return false;
}
