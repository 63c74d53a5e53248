/* flight: see flight.h. Records are peeled off one by one and messages read as soon as they are
 * whole, until what is told is known, or what follows is no handshake in the clear. */
#include "proxy/wire/flight.h"

enum {
    RECORD_HEADER = 5,
    RECORD_MAX = 16384, /* RFC 8446 section 5.1 */
    RECORD_CHANGE_CIPHER_SPEC = 20,
    RECORD_HANDSHAKE = 22,

    MESSAGE_HEADER = 4,
    MESSAGE_SERVER_HELLO = 2,
    MESSAGE_NEW_SESSION_TICKET = 4,
    MESSAGE_CERTIFICATE = 11,

    EXTENSION_ALPN = 16,
    EXTENSION_PRE_SHARED_KEY = 41,
    EXTENSION_SUPPORTED_VERSIONS = 43,

    VERSION_TLS13 = 0x0304,
};

static bool read_extensions(struct span rest, struct flight *out)
{
    struct span data, list;
    uint32_t type, number = 0;

    while (rest.len) {
        bool fine = true;

        if (!span_take_uint(&rest, 2, &type) || !span_take_vector(&rest, 2, &data))
            return false;
        switch (type) {
        case EXTENSION_SUPPORTED_VERSIONS:
            fine = span_take_uint(&data, 2, &number) && !data.len;
            out->version = (uint16_t)number;
            break;
        case EXTENSION_ALPN:
            fine = span_take_vector(&data, 2, &list) && !data.len &&
                   span_take_vector(&list, 1, &out->alpn) && !list.len && out->alpn.len;
            break;
        case EXTENSION_PRE_SHARED_KEY: /* which of those that were offered */
            fine = span_take_uint(&data, 2, &number) && !data.len;
            out->resumed = true;
            break;
        }
        if (!fine)
            return false;
    }
    return true;
}

/* The random bytes by which a server of TLS 1.3 asks for another ClientHello (RFC 8446 section
 * 4.1.3). */
static bool asks_again(struct span random)
{
    static const char retry[] = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91"
                                "\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c";

    return span_equal(random, BYTES(retry));
}

/* True: nothing more will be known. */
static bool read_hello(struct span body, struct flight *out)
{
    struct flight flight = {.hello = true};
    struct span random, session, compression, extensions = {0};
    uint32_t version, cipher;

    if (!span_take_uint(&body, 2, &version) || !span_take(&body, 32, &random) ||
        !span_take_vector(&body, 1, &session) || session.len > 32 ||
        !span_take_uint(&body, 2, &cipher) || !span_take(&body, 1, &compression) ||
        (body.len && (!span_take_vector(&body, 2, &extensions) || body.len)))
        return true;
    flight.version = (uint16_t)version;
    flight.cipher = (uint16_t)cipher;
    if (!read_extensions(extensions, &flight))
        return true;
    if (asks_again(random))
        return false;
    flight.resumed = flight.resumed && flight.version >= VERSION_TLS13;
    *out = flight;
    return flight.version >= VERSION_TLS13; /* the rest is encrypted */
}

/* Up to TLS 1.2 what follows the ServerHello says whether a session goes on: the keys change, or a
 * new ticket comes before that (RFC 5077 section 3.3), where a handshake from the beginning goes on
 * with what its key exchange needs. body: as much of it as there is. True: nothing more will be
 * known. */
static bool read_next(uint32_t type, struct span body, bool whole, struct flight *out)
{
    uint32_t len;

    if (type == MESSAGE_NEW_SESSION_TICKET)
        out->resumed = true;
    if (type != MESSAGE_CERTIFICATE)
        return true;
    return (span_take_uint(&body, 3, &len) && span_take_vector(&body, 3, &out->certificate)) ||
           whole;
}

/* Messages that were put together; those that are read are taken off. */
static bool read_messages(struct span *messages, struct flight *out)
{
    struct span rest = *messages, body;
    uint32_t type, len;

    while (span_take_uint(&rest, 1, &type) && span_take_uint(&rest, 3, &len)) {
        bool whole = rest.len >= len;

        body = span_of(rest.data, whole ? len : rest.len);
        if (!out->hello && (type != MESSAGE_SERVER_HELLO || len > FLIGHT_MAX - MESSAGE_HEADER))
            return true;
        if (out->hello && read_next(type, body, whole, out))
            return true;
        if (!whole)
            return false;
        if (!out->hello && read_hello(body, out))
            return true;
        rest = span_of(rest.data + len, rest.len - len);
        *messages = rest;
    }
    return false;
}

bool flight_read(struct span bytes, uint8_t *scratch, struct flight *out)
{
    struct span messages = span_of(scratch, 0); /* those to be read, in scratch */

    *out = (struct flight){0};
    while (bytes.len) {
        uint8_t type = bytes.data[0];
        size_t record;

        if (type == RECORD_CHANGE_CIPHER_SPEC && out->hello && !messages.len) {
            out->resumed = true;
            return true;
        }
        /* TLS 1.3 has one of no meaning behind what asks again (RFC 8446 appendix D.4) */
        if (type != RECORD_HANDSHAKE && (type != RECORD_CHANGE_CIPHER_SPEC || messages.len))
            return true;
        if (bytes.len < RECORD_HEADER)
            return false;
        record = (size_t)bytes.data[3] << 8 | bytes.data[4];
        if (bytes.data[1] != 3 || !record || record > RECORD_MAX)
            return true;
        bytes = span_of(bytes.data + RECORD_HEADER, bytes.len - RECORD_HEADER);
        if (record > bytes.len)
            record = bytes.len;
        if (type == RECORD_HANDSHAKE) {
            uint8_t *end = scratch + (messages.data - scratch) + messages.len;

            if (record > FLIGHT_MAX - (size_t)(end - scratch))
                return true;
            memcpy(end, bytes.data, record);
            messages.len += record;
            if (read_messages(&messages, out))
                return true;
        }
        bytes = span_of(bytes.data + record, bytes.len - record);
    }
    return false;
}
