/* websocket_fuzz: one direction of a WebSocket connection; cut anywhere it holds the same messages,
 * and they are those that are found with all of its bytes at hand. */
#include "base/cleanup.h"
#include "proxy/wire/websocket.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
    struct websocket websocket;
    uint64_t digest; /* of all messages */
    uint64_t messages, bytes;
    uint64_t pieces, pieces_len; /* of the message at hand; all of their bytes */
    size_t keep;
};

static uint64_t digest(uint64_t so_far, uint8_t byte)
{
    return (so_far ^ byte) * 0x100000001b3u;
}

static void on_message(void *arg, const struct websocket_message *message)
{
    struct told *told = arg;

    CHECK(message->opcode == WEBSOCKET_TEXT || message->opcode == WEBSOCKET_BINARY);
    CHECK(message->kept.len == (message->len < told->keep ? message->len : told->keep));
    CHECK(message->truncated == (message->kept.len < message->len));
    CHECK(!told->websocket.hooks.piece || told->pieces_len == message->len);
    told->digest = digest(told->digest, (uint8_t)told->pieces);
    told->pieces = told->pieces_len = 0;
    told->messages++;
    told->bytes += message->len;
    told->digest = digest(told->digest, (uint8_t)message->opcode);
    told->digest = digest(told->digest, message->compressed);
    for (size_t i = 0; i < message->kept.len; i++)
        told->digest = digest(told->digest, message->kept.data[i]);
}

static void on_piece(void *arg, const struct websocket_message *message, struct span bytes)
{
    struct told *told = arg;

    for (size_t i = 0; i < bytes.len; i++) {
        told->pieces = digest(told->pieces, bytes.data[i]);
        if (told->pieces_len + i < message->kept.len)
            CHECK(message->kept.data[told->pieces_len + i] == bytes.data[i]);
    }
    told->pieces_len += bytes.len;
}

static void tell(struct told *told, uint8_t flags, struct span all, uint8_t most, uint32_t seed)
{
    struct websocket_hooks hooks = {flags >> 2, on_message, told, on_piece, NULL};
    size_t size = most ? most : all.len;
    uint8_t *room = malloc(size ? size : 1);

    *told = (struct told){.keep = hooks.keep};
    websocket_init(&told->websocket, flags & 1 ? WEBSOCKET_SERVER : WEBSOCKET_CLIENT, flags & 2,
                   &hooks);
    CHECK(room);
    for (size_t at = 0, len; at < all.len; at += len) {
        uint8_t *piece;

        seed = seed * 1664525 + 1013904223;
        len = most ? (seed >> 24) % most + 1 : all.len;
        if (len > all.len - at)
            len = all.len - at;
        piece = room + size - len; /* nothing may be read behind it */
        memcpy(piece, all.data + at, len);
        websocket_feed(&told->websocket, span_of(piece, len));
    }
    free(room);
    CHECK(told->messages == told->websocket.messages && told->bytes <= told->websocket.bytes);
    CHECK(websocket_close_reason(&told->websocket).len <= WEBSOCKET_CONTROL_MAX - 2);
    CHECK(told->websocket.kept_size <= told->keep);
}

/* ---- the model: whole frames from the front, as long as they make sense ---- */

struct frame {
    uint8_t first, mask[4];
    uint64_t len;
    struct span payload;
};

static bool take_frame(struct span *all, struct frame *frame)
{
    uint32_t first, second, high = 0, low;
    struct span mask = {0};
    bool whole = true;

    if (!span_take_uint(all, 1, &first) || !span_take_uint(all, 1, &second))
        return false;
    low = second & 127;
    if (low == 126)
        whole = span_take_uint(all, 2, &low);
    else if (low == 127)
        whole = span_take_uint(all, 4, &high) && span_take_uint(all, 4, &low);
    if (!whole || (second & 128 && !span_take(all, 4, &mask)))
        return false;
    *frame = (struct frame){.first = (uint8_t)first, .len = (uint64_t)high << 32 | low};
    if (mask.len)
        memcpy(frame->mask, mask.data, mask.len);
    return span_take(all, frame->len, &frame->payload);
}

static bool makes_sense(const struct frame *frame, bool deflate, bool in_message)
{
    uint8_t opcode = frame->first & 15;

    if (frame->first & 0x30 || (frame->first & 0x40 && !(deflate && (opcode == 1 || opcode == 2))))
        return false;
    if (opcode >= 8)
        return opcode <= 10 && frame->first & 0x80 && frame->len <= 125 &&
               !(opcode == 8 && frame->len == 1);
    return opcode <= 2 && in_message == (opcode == 0);
}

static void check_model(const struct told *told, uint8_t flags, struct span all)
{
    struct websocket_message message = {0};
    struct told model = {.keep = flags >> 2};
    uint64_t data_frames = 0, control_frames = 0;
    uint8_t kept[64];
    bool in_message = false, closed = false;
    struct frame frame;

    while (!closed && take_frame(&all, &frame) && makes_sense(&frame, flags & 2, in_message)) {
        if (frame.first & 8) {
            control_frames++;
            closed = (frame.first & 15) == 8;
            continue;
        }
        data_frames++;
        if (!in_message)
            message = (struct websocket_message){.opcode = frame.first & 15,
                                                 .compressed = frame.first & 0x40};
        for (size_t i = 0; i < frame.payload.len && message.kept.len < model.keep; i++)
            kept[message.kept.len++] = frame.payload.data[i] ^ frame.mask[i % 4];
        for (size_t i = 0; i < frame.payload.len; i++)
            model.pieces = digest(model.pieces, frame.payload.data[i] ^ frame.mask[i % 4]);
        message.len += frame.payload.len;
        in_message = !(frame.first & 0x80);
        if (in_message)
            continue;
        message.kept.data = kept;
        message.truncated = message.kept.len < message.len;
        on_message(&model, &message);
    }
    CHECK(told->messages == model.messages && told->bytes == model.bytes);
    CHECK(told->digest == model.digest && told->websocket.closed == closed);
    CHECK(told->websocket.data_frames == data_frames);
    CHECK(told->websocket.control_frames == control_frames);
}

static void check_same(const struct told *a, const struct told *b)
{
    const struct websocket *x = &a->websocket, *y = &b->websocket;

    CHECK(a->messages == b->messages && a->bytes == b->bytes && a->digest == b->digest);
    CHECK(x->bytes == y->bytes && x->data_frames == y->data_frames);
    CHECK(x->control_frames == y->control_frames && x->close_code == y->close_code);
    CHECK(x->gave_up == y->gave_up && x->noted == y->noted);
    CHECK(websocket_unfinished(x) == websocket_unfinished(y));
    CHECK(span_equal(websocket_close_reason(x), websocket_close_reason(y)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct told whole, pieces;
    struct span all;

    if (size < 3)
        return 0;
    all = span_of(data + 3, size - 3);
    tell(&whole, data[0], all, 0, 0);
    tell(&pieces, data[0], all, data[1] ? data[1] : 1, data[2]);
    check_same(&whole, &pieces);
    check_model(&whole, data[0], all);
    websocket_fini(&whole.websocket);
    websocket_fini(&pieces.websocket);
    websocket_asked(all);
    websocket_deflates(all);
    return 0;
}
