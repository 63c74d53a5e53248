#include "proxy/wire/websocket.h"

#include <stdlib.h>

#include "base/cleanup.h"

enum {
    FIN = 0x80,
    RSV1 = 0x40, /* permessage-deflate's: the message is compressed */
    RSV23 = 0x30,
    OPCODE = 0x0f,
    CONTROL = 0x08,
    MASKED = 0x80,
    LEN = 0x7f,
    LEN_16 = 126,
    LEN_64 = 127,
    KEPT_MIN = 256,
};

void websocket_init(struct websocket *websocket, enum websocket_side side, bool deflate,
                    const struct websocket_hooks *hooks)
{
    *websocket = (struct websocket){.side = side, .deflate = deflate};
    if (hooks)
        websocket->hooks = *hooks;
}

static void forget_message(struct websocket *websocket)
{
    free(TAKE(websocket->kept));
    websocket->kept_size = 0;
    websocket->in_message = false;
}

void websocket_fini(struct websocket *websocket)
{
    forget_message(websocket);
}

/* ---- header ---- */

static enum websocket_opcode opcode_of(const struct websocket *websocket)
{
    return (enum websocket_opcode)(websocket->header[0] & OPCODE);
}

static bool is_control(const struct websocket *websocket)
{
    return websocket->header[0] & CONTROL;
}

/* Of the header's bytes, its length field. */
static size_t len_size(const struct websocket *websocket)
{
    uint8_t len = websocket->header[1] & LEN;

    return len == LEN_64 ? 8 : len == LEN_16 ? 2 : 0;
}

static size_t header_size(const struct websocket *websocket)
{
    if (websocket->header_len < 2)
        return 2;
    return 2 + len_size(websocket) + (websocket->header[1] & MASKED ? sizeof(websocket->mask) : 0);
}

static uint64_t payload_len(const struct websocket *websocket)
{
    uint64_t len = 0;

    if (!len_size(websocket))
        return websocket->header[1] & LEN;
    for (size_t i = 0; i < len_size(websocket); i++)
        len = len << 8 | websocket->header[2 + i];
    return len;
}

static const char *control_fault(const struct websocket *websocket)
{
    if (opcode_of(websocket) > WEBSOCKET_PONG)
        return "a WebSocket frame with a reserved opcode";
    if (!(websocket->header[0] & FIN))
        return "a WebSocket control frame in fragments";
    if (payload_len(websocket) > WEBSOCKET_CONTROL_MAX)
        return "a WebSocket control frame longer than 125 bytes";
    if (opcode_of(websocket) == WEBSOCKET_CLOSE && payload_len(websocket) == 1)
        return "a WebSocket close frame of one byte";
    return NULL;
}

static const char *data_fault(const struct websocket *websocket)
{
    if (opcode_of(websocket) > WEBSOCKET_BINARY)
        return "a WebSocket frame with a reserved opcode";
    if (websocket->in_message && opcode_of(websocket) != WEBSOCKET_CONTINUATION)
        return "a WebSocket message within another";
    if (!websocket->in_message && opcode_of(websocket) == WEBSOCKET_CONTINUATION)
        return "a WebSocket continuation of nothing";
    if (payload_len(websocket) >> 63)
        return "a WebSocket frame longer than may be";
    return NULL;
}

/* Why what follows the header cannot be told apart (RFC 6455 section 5.2, RFC 7692 section 6), or
 * NULL. */
static const char *fault(const struct websocket *websocket)
{
    bool may_be_compressed = websocket->deflate && !is_control(websocket) &&
                             opcode_of(websocket) != WEBSOCKET_CONTINUATION;

    if (websocket->header[0] & RSV23 || (websocket->header[0] & RSV1 && !may_be_compressed))
        return "a WebSocket frame with reserved bits";
    return is_control(websocket) ? control_fault(websocket) : data_fault(websocket);
}

/* What a receiver must refuse, but an observer can read. */
static const char *breach(const struct websocket *websocket)
{
    bool masked = websocket->header[1] & MASKED;
    uint64_t len = payload_len(websocket);

    if (websocket->side == WEBSOCKET_CLIENT && !masked)
        return "a client's WebSocket frame without a mask";
    if (websocket->side == WEBSOCKET_SERVER && masked)
        return "a server's WebSocket frame with a mask";
    if ((len_size(websocket) == 2 && len < LEN_16) || (len_size(websocket) == 8 && len <= 0xffff))
        return "a WebSocket length in more bytes than it needs";
    return NULL;
}

static void open_frame(struct websocket *websocket)
{
    websocket->gave_up = fault(websocket);
    if (websocket->gave_up)
        return;
    if (!websocket->noted)
        websocket->noted = breach(websocket);
    memset(websocket->mask, 0, sizeof(websocket->mask));
    if (websocket->header[1] & MASKED)
        memcpy(websocket->mask, websocket->header + 2 + len_size(websocket),
               sizeof(websocket->mask));
    websocket->mask_at = 0;
    websocket->left = payload_len(websocket);
    websocket->in_payload = true;
    if (!is_control(websocket) && !websocket->in_message) {
        websocket->in_message = true;
        websocket->message = (struct websocket_message){.opcode = opcode_of(websocket),
                                                        .compressed = websocket->header[0] & RSV1};
    }
}

/* Whether the header of a frame to read is whole. */
static bool take_header(struct websocket *websocket, struct span *bytes)
{
    while (bytes->len && websocket->header_len < header_size(websocket)) {
        websocket->header[websocket->header_len++] = bytes->data[0];
        *bytes = span_of(bytes->data + 1, bytes->len - 1);
    }
    if (websocket->header_len < header_size(websocket))
        return false;
    open_frame(websocket);
    return !websocket->gave_up;
}

/* ---- payload ---- */

static void unmask(struct websocket *websocket, struct span part, uint8_t *out)
{
    for (size_t i = 0; i < part.len; i++)
        out[i] = part.data[i] ^ websocket->mask[(websocket->mask_at + i) % 4];
}

/* Room for len more bytes of the message, doubled as they come: what a header promises is only a
 * promise. */
static bool grow(struct websocket *websocket, size_t len)
{
    size_t need = websocket->message.kept.len + len, size = websocket->kept_size;
    uint8_t *kept;

    if (need <= size)
        return true;
    size = 2 * size > KEPT_MIN ? 2 * size : KEPT_MIN;
    if (size < need)
        size = need;
    if (size > websocket->hooks.keep)
        size = websocket->hooks.keep;
    kept = realloc(websocket->kept, size);
    if (!kept)
        return false;
    websocket->kept = kept;
    websocket->kept_size = size;
    return true;
}

static void keep(struct websocket *websocket, struct span part)
{
    struct websocket_message *message = &websocket->message;
    size_t room = message->truncated ? 0 : websocket->hooks.keep - message->kept.len;

    if (part.len > room) {
        message->truncated = true;
        part.len = room;
    }
    if (!part.len)
        return;
    if (!grow(websocket, part.len)) { /* its beginning is still true */
        message->truncated = true;
        return;
    }
    unmask(websocket, part, websocket->kept + message->kept.len);
    message->kept = span_of(websocket->kept, message->kept.len + part.len);
}

static void pass(struct websocket *websocket, struct span part)
{
    const struct websocket_hooks *hooks = &websocket->hooks;
    uint8_t room[4096];

    for (size_t at = 0, len; at < part.len; at += len) {
        len = part.len - at < sizeof(room) ? part.len - at : sizeof(room);
        for (size_t i = 0; i < len; i++)
            room[i] = part.data[at + i] ^ websocket->mask[(websocket->mask_at + at + i) % 4];
        if (is_control(websocket))
            hooks->control(hooks->arg, span_of(room, len));
        else
            hooks->piece(hooks->arg, &websocket->message, span_of(room, len));
    }
}

static void take_payload(struct websocket *websocket, struct span *bytes)
{
    size_t len = bytes->len < websocket->left ? bytes->len : (size_t)websocket->left;
    struct span part = span_of(bytes->data, len);

    *bytes = span_of(bytes->data + len, bytes->len - len);
    websocket->left -= len;
    if (is_control(websocket) ? websocket->hooks.control != NULL : websocket->hooks.piece != NULL)
        pass(websocket, part);
    if (!is_control(websocket)) {
        websocket->bytes += len;
        websocket->message.len += len;
        keep(websocket, part);
    } else if (opcode_of(websocket) == WEBSOCKET_CLOSE) {
        unmask(websocket, part, websocket->close + websocket->close_len);
        websocket->close_len += (uint8_t)len;
    }
    websocket->mask_at = (uint8_t)((websocket->mask_at + len) % 4);
}

static void close_message(struct websocket *websocket)
{
    websocket->messages++;
    if (websocket->hooks.message)
        websocket->hooks.message(websocket->hooks.arg, &websocket->message);
    forget_message(websocket);
}

static void close_frame(struct websocket *websocket)
{
    websocket->header_len = 0;
    websocket->in_payload = false;
    if (!is_control(websocket)) {
        websocket->data_frames++;
        if (websocket->header[0] & FIN)
            close_message(websocket);
        return;
    }
    websocket->control_frames++;
    if (opcode_of(websocket) != WEBSOCKET_CLOSE)
        return;
    websocket->closed = true;
    if (websocket->close_len)
        websocket->close_code = (uint16_t)(websocket->close[0] << 8 | websocket->close[1]);
}

void websocket_feed(struct websocket *websocket, struct span bytes)
{
    while (bytes.len && !websocket->gave_up) {
        if (websocket->closed) {
            websocket->gave_up = "bytes behind the WebSocket close frame";
        } else if (websocket->in_payload || take_header(websocket, &bytes)) {
            take_payload(websocket, &bytes);
            if (!websocket->left)
                close_frame(websocket);
        }
    }
}

bool websocket_unfinished(const struct websocket *websocket)
{
    return !websocket->gave_up && (websocket->header_len || websocket->in_message);
}

struct span websocket_close_reason(const struct websocket *websocket)
{
    if (!websocket->closed || websocket->close_len < 2)
        return span_of(NULL, 0);
    return span_of(websocket->close + 2, websocket->close_len - 2u);
}

/* ---- heads ---- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct span trim(struct span text)
{
    while (text.len && is_blank(text.data[0]))
        text = span_of(text.data + 1, text.len - 1);
    while (text.len && is_blank(text.data[text.len - 1]))
        text.len--;
    return text;
}

/* Takes a part up to the separator, which may stand in quotes without parting anything (RFC 9110
 * section 5.6.4). */
static bool take_part(struct span *from, uint8_t separator, struct span *part)
{
    bool quoted = false;
    size_t len = 0;

    if (!from->len)
        return false;
    for (; len < from->len && (quoted || from->data[len] != separator); len++) {
        if (from->data[len] == '"')
            quoted = !quoted;
        else if (quoted && from->data[len] == '\\' && len + 1 < from->len)
            len++;
    }
    *part = trim(span_of(from->data, len));
    len += len < from->len; /* the separator with it */
    *from = span_of(from->data + len, from->len - len);
    return true;
}

bool websocket_asked(struct span protocols)
{
    struct span protocol;

    while (take_part(&protocols, ',', &protocol))
        if (span_equal_nocase(protocol, "websocket"))
            return true;
    return false;
}

bool websocket_deflates(struct span extensions)
{
    struct span extension, name;

    while (take_part(&extensions, ',', &extension))
        if (take_part(&extension, ';', &name) && span_equal_nocase(name, "permessage-deflate"))
            return true;
    return false;
}
