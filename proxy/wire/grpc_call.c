#include "proxy/wire/grpc_call.h"

#include "base/cleanup.h"

enum { STATUS_DIGITS_MAX = 9 }; /* more need not fit 32 bits */

static const char *const names[] = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};
_Static_assert(ARRAY_SIZE(names) == 17, "name every status of the specification");

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Takes a text off the front, in any case. */
static bool skip(struct span *from, struct span text)
{
    if (from->len < text.len ||
        !span_equal_nocase(span_of(from->data, text.len), (const char *)text.data))
        return false;
    *from = span_of(from->data + text.len, from->len - text.len);
    return true;
}

enum grpc_kind grpc_kind_of(struct span content_type)
{
    struct span rest = content_type;
    enum grpc_kind kind = GRPC_PLAIN;

    while (rest.len && is_blank(rest.data[0]))
        rest = span_of(rest.data + 1, rest.len - 1);
    if (!skip(&rest, BYTES("application/grpc")))
        return GRPC_NONE;
    if (skip(&rest, BYTES("-web-text")))
        kind = GRPC_WEB_TEXT;
    else if (skip(&rest, BYTES("-web")))
        kind = GRPC_WEB;
    if (rest.len && rest.data[0] != '+' && rest.data[0] != ';' && !is_blank(rest.data[0]))
        return GRPC_NONE;
    return kind;
}

bool grpc_path(struct span path, struct span *service, struct span *method)
{
    const uint8_t *slash = path.len ? memrchr(path.data, '/', path.len) : NULL;

    if (!slash || path.data[0] != '/' || slash <= path.data + 1 ||
        slash + 1 == path.data + path.len)
        return false;
    *service = span_of(path.data + 1, (size_t)(slash - path.data) - 1);
    *method = span_of(slash + 1, (size_t)(path.data + path.len - slash) - 1);
    return true;
}

uint32_t grpc_status_parse(struct span value)
{
    uint32_t status = 0;

    if (!value.len || value.len > STATUS_DIGITS_MAX)
        return GRPC_STATUS_UNKNOWN;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return GRPC_STATUS_UNKNOWN;
        status = status * 10 + (value.data[i] - '0');
    }
    return status;
}

const char *grpc_status_name(uint32_t status)
{
    return names[status < ARRAY_SIZE(names) ? status : GRPC_STATUS_UNKNOWN];
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static uint8_t take_char(struct span *from)
{
    uint8_t c = from->data[0];
    size_t used = 1;

    if (c == '%' && from->len >= 3 && hex_value(from->data[1]) >= 0 &&
        hex_value(from->data[2]) >= 0) {
        c = (uint8_t)(hex_value(from->data[1]) << 4 | hex_value(from->data[2]));
        used = 3;
    }
    *from = span_of(from->data + used, from->len - used);
    return c;
}

/* Where to cut before `next`, which did not fit: not within its character. Bytes that are none
 * (four are the most that make one) are cut anywhere. */
static size_t cut(const uint8_t *text, size_t len, uint8_t next)
{
    if (next >> 6 != 2)
        return len;
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        if (text[len - back] >= 0xc0)
            return len - back;
        if (text[len - back] < 0x80)
            break;
    }
    return len;
}

struct span grpc_message_decode(struct span value, uint8_t *out, size_t size)
{
    size_t len = 0;

    while (value.len) {
        uint8_t c = take_char(&value);

        if (len == size)
            return span_of(out, cut(out, len, c));
        out[len++] = c;
    }
    return span_of(out, len);
}
