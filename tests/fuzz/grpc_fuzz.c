/* grpc_fuzz: a body of one kind; cut anywhere it holds the same messages, and they are those that
 * are found with all of its bytes at hand. */
#include "base/cleanup.h"
#include "proxy/wire/grpc.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
    struct grpc grpc;
    uint64_t payload; /* a digest of all payloads and where they begin and end */
    uint32_t in_message;
};

static uint64_t digest(uint64_t so_far, struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        so_far = (so_far ^ bytes.data[i]) * 0x100000001b3u;
    return so_far;
}

static void feed(struct told *told, struct span bytes)
{
    struct grpc_piece piece;

    while (grpc_next(&told->grpc, &bytes, &piece)) {
        CHECK(piece.first == !told->in_message);
        CHECK(piece.bytes.len || !piece.len);
        CHECK(piece.bytes.len <= piece.len - told->in_message);
        told->in_message += (uint32_t)piece.bytes.len;
        CHECK(piece.last == (told->in_message == piece.len));
        told->payload = digest(told->payload, piece.bytes);
        if (piece.last) {
            told->in_message = 0;
            told->payload = digest(told->payload, piece.compressed ? BYTES("+") : BYTES("."));
        }
    }
    CHECK(!bytes.len);
}

static void tell(struct told *told, enum grpc_kind kind, struct span all, uint8_t most,
                 uint32_t seed)
{
    size_t size = most ? most : all.len;
    uint8_t *room = malloc(size ? size : 1);

    *told = (struct told){.payload = 0};
    grpc_init(&told->grpc, kind);
    CHECK(room);
    for (size_t at = 0, len; at < all.len; at += len) {
        uint8_t *piece;

        seed = seed * 1664525 + 1013904223;
        len = most ? (seed >> 24) % most + 1 : all.len;
        if (len > all.len - at)
            len = all.len - at;
        piece = room + size - len; /* nothing may be read behind it */
        memcpy(piece, all.data + at, len);
        feed(told, span_of(piece, len));
    }
    free(room);
}

/* Whole messages from the front. */
static void check_model(const struct grpc *grpc, struct span all)
{
    uint64_t messages = 0, bytes = 0;
    struct span prefix, payload;
    uint32_t flags, len;

    while (all.len >= GRPC_PREFIX) {
        span_take(&all, GRPC_PREFIX, &prefix);
        span_take_uint(&prefix, 1, &flags);
        span_take_uint(&prefix, 4, &len);
        if (flags > 1)
            break;
        if (!span_take(&all, len, &payload)) {
            bytes += all.len;
            break;
        }
        messages++;
        bytes += len;
    }
    CHECK(grpc->messages == messages && grpc->bytes == bytes);
}

static void check_same(const struct told *a, const struct told *b, const char *name)
{
    struct span x = {0}, y = {0};

    CHECK(a->grpc.messages == b->grpc.messages && a->grpc.bytes == b->grpc.bytes);
    CHECK(a->grpc.compressed == b->grpc.compressed && a->grpc.compressed <= a->grpc.messages);
    CHECK(a->grpc.gave_up == b->grpc.gave_up && a->payload == b->payload);
    CHECK(grpc_unfinished(&a->grpc) == grpc_unfinished(&b->grpc));
    CHECK(grpc_trailer(&a->grpc, name, &x) == grpc_trailer(&b->grpc, name, &y));
    CHECK(span_equal(x, y));
}

static void check_texts(struct span text)
{
    struct span service, method, message;
    uint8_t out[16], more[64];

    CHECK(grpc_kind_of(text) < _GRPC_KIND_MAX);
    if (grpc_path(text, &service, &method))
        CHECK(service.len && method.len && service.len + method.len + 2 == text.len);
    CHECK(grpc_status_name(grpc_status_parse(text)));
    message = grpc_message_decode(text, out, sizeof(out));
    CHECK(message.len <= text.len && message.len <= sizeof(out));
    CHECK(span_equal(message, span_of(grpc_message_decode(text, more, sizeof(more)).data,
                                      message.len))); /* its beginning */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct told whole, pieces;
    enum grpc_kind kind;
    struct span all;

    if (size < 3)
        return 0;
    all = span_of(data + 3, size - 3);
    kind = (enum grpc_kind)(data[0] % _GRPC_KIND_MAX);
    tell(&whole, kind, all, 0, 0);
    tell(&pieces, kind, all, data[1] ? data[1] : 1, data[2]);
    check_same(&whole, &pieces, "grpc-status");
    check_same(&whole, &pieces, "grpc-message");
    if (kind == GRPC_PLAIN)
        check_model(&whole.grpc, all);
    check_texts(all);
    grpc_fini(&whole.grpc);
    grpc_fini(&pieces.grpc);
    return 0;
}
