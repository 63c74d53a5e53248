#include "proxy/keeper/keeper_wire.h"

#include <string.h>

#include "base/cleanup.h"

static uint8_t *put(uint8_t *at, size_t bytes, uint64_t value)
{
    for (size_t i = bytes; i-- > 0; value >>= 8)
        at[i] = (uint8_t)value;
    return at + bytes;
}

static bool take64(struct span *from, uint64_t *out)
{
    uint32_t high, low;

    if (!span_take_uint(from, 4, &high) || !span_take_uint(from, 4, &low))
        return false;
    *out = (uint64_t)high << 32 | low;
    return true;
}

size_t keeper_wire_encode(const struct keeper_message *message, uint8_t out[KEEPER_WIRE_MAX])
{
    size_t len = strnlen(message->text, sizeof(message->text) - 1);
    uint8_t *at = out;

    at = put(at, 2, KEEPER_WIRE_VERSION);
    at = put(at, 1, message->verb);
    at = put(at, 1, message->answer);
    at = put(at, 4, (uint32_t)-message->code);
    at = put(at, 8, message->cookie);
    at = put(at, 4, message->kind);
    at = put(at, 4, message->count);
    at = put(at, 4, message->open);
    for (size_t i = 0; i < ARRAY_SIZE(message->ports); i++)
        at = put(at, 2, message->ports[i]);
    memcpy(at, message->text, len);
    return (size_t)(at - out) + len;
}

static bool makes_sense(const struct keeper_message *message, size_t fds)
{
    return message->verb >= KEEPER_HELLO && message->verb < KEEPER_VERBS && message->code <= 0 &&
           message->code > -4096 && (message->answer || !message->code) &&
           message->count <= KEEPER_WIRE_FDS_MAX && message->open < 1u << KEEPER_WIRE_LISTENERS &&
           keeper_wire_fds(message) == fds;
}

bool keeper_wire_decode(struct span bytes, size_t fds, struct keeper_message *out)
{
    struct keeper_message message = {0};
    uint32_t version, verb, answer, code;

    if (!span_take_uint(&bytes, 2, &version) || version != KEEPER_WIRE_VERSION ||
        !span_take_uint(&bytes, 1, &verb) || !span_take_uint(&bytes, 1, &answer) || answer > 1 ||
        !span_take_uint(&bytes, 4, &code) || code > INT32_MAX || !take64(&bytes, &message.cookie) ||
        !span_take_uint(&bytes, 4, &message.kind) || !span_take_uint(&bytes, 4, &message.count) ||
        !span_take_uint(&bytes, 4, &message.open))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(message.ports); i++) {
        uint32_t port;

        if (!span_take_uint(&bytes, 2, &port))
            return false;
        message.ports[i] = (uint16_t)port;
    }
    if (!span_to_text(bytes, message.text, sizeof(message.text)))
        return false;
    message.verb = (enum keeper_verb)verb;
    message.answer = answer;
    message.code = -(int)code;
    if (!makes_sense(&message, fds))
        return false;
    *out = message;
    return true;
}

size_t keeper_wire_fds(const struct keeper_message *message)
{
    size_t listeners = (size_t)__builtin_popcount(message->open);

    if (message->code < 0)
        return 0;
    switch (message->verb) {
    case KEEPER_HELLO:
        return !message->answer;
    case KEEPER_ADD:
        return message->answer ? listeners : 1;
    case KEEPER_GIVE:
        return message->answer ? 0 : 1 + listeners;
    case KEEPER_NEXT:
        return message->answer ? 1 + listeners : 0;
    case KEEPER_SOCKETS:
        return message->answer ? message->count : 0;
    default:
        return 0;
    }
}

void keeper_wire_listeners(struct listeners *listeners, int *places[KEEPER_WIRE_LISTENERS])
{
    size_t len = 0;

    places[len++] = &listeners->stream.v4;
    places[len++] = &listeners->stream.v6;
    for (size_t i = 0; i < ABI_PEERS; i++) {
        places[len++] = &listeners->datagram[i].v4;
        places[len++] = &listeners->datagram[i].v6;
    }
    places[len++] = &listeners->icmp4;
    places[len++] = &listeners->icmp6;
    places[len++] = &listeners->raw4;
    places[len++] = &listeners->raw6;
}

size_t keeper_wire_put(struct keeper_message *message, const struct listeners *listeners,
                       int fds[KEEPER_WIRE_LISTENERS])
{
    struct listeners copy = *listeners;
    int *places[KEEPER_WIRE_LISTENERS];
    size_t len = 0;

    keeper_wire_listeners(&copy, places);
    message->open = 0;
    for (size_t i = 0; i < KEEPER_WIRE_LISTENERS; i++) {
        if (*places[i] < 0)
            continue;
        message->open |= 1u << i;
        fds[len++] = *places[i];
    }
    message->ports[0] = listeners->stream.port;
    for (size_t i = 0; i < ABI_PEERS; i++)
        message->ports[1 + i] = listeners->datagram[i].port;
    return len;
}

void keeper_wire_take(const struct keeper_message *message, int *fds, struct listeners *out)
{
    int *places[KEEPER_WIRE_LISTENERS];

    keeper_wire_listeners(out, places);
    for (size_t i = 0; i < KEEPER_WIRE_LISTENERS; i++)
        if (message->open >> i & 1)
            *places[i] = fd_take(fds++);
    out->stream.port = message->ports[0];
    for (size_t i = 0; i < ABI_PEERS; i++)
        out->datagram[i].port = message->ports[1 + i];
}
