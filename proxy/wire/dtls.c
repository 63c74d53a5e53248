/* dtls: see dtls.h. Records are walked, in these the fragments of handshake messages; those of a
 * ClientHello are gathered behind the header that the message has in TLS. */
#include "proxy/wire/dtls.h"

enum {
    RECORD_FIRST = 20,
    RECORD_HANDSHAKE = 22,
    RECORD_DATA = 23,
    RECORD_MAJOR = 0xfe,
    RECORD_HEADER_REST = 8, /* epoch and sequence number */
    MESSAGE_CLIENT_HELLO = 1,
    MESSAGE_HEADER = 4, /* of TLS: type and length */
    HELLO_ROOM = GATHER_MAX - MESSAGE_HEADER,
};

/* The next record in the clear (epoch 0) of a handshake; others are passed over. */
static bool take_record(struct span *datagram, struct span *out)
{
    struct span epoch_and_number;
    uint32_t type, major, minor;

    while (span_take_uint(datagram, 1, &type) && type >= RECORD_FIRST && type <= RECORD_DATA &&
           span_take_uint(datagram, 1, &major) && major == RECORD_MAJOR &&
           span_take_uint(datagram, 1, &minor) && (minor == 0xff || minor == 0xfd) &&
           span_take(datagram, RECORD_HEADER_REST, &epoch_and_number) &&
           span_take_vector(datagram, 2, out))
        if (type == RECORD_HANDSHAKE && !epoch_and_number.data[0] && !epoch_and_number.data[1])
            return true;
    return false;
}

/* A hello begins: of this length, in this message. */
static bool begin(struct dtls *dtls, uint16_t number, uint32_t len, struct gather *gather)
{
    const uint8_t header[MESSAGE_HEADER] = {MESSAGE_CLIENT_HELLO, (uint8_t)(len >> 16),
                                            (uint8_t)(len >> 8), (uint8_t)len};

    *dtls = (struct dtls){.begun = true, .number = number, .len = len};
    *gather = (struct gather){0};
    return len <= HELLO_ROOM && gather_put(gather, 0, span_of(header, sizeof(header)));
}

/* RFC 6347 section 4.2.2. */
struct fragment {
    uint32_t type, len, number, at;
    struct span piece;
};

static bool take_fragment(struct span *record, struct fragment *out)
{
    uint32_t part;

    return span_take_uint(record, 1, &out->type) && span_take_uint(record, 3, &out->len) &&
           span_take_uint(record, 2, &out->number) && span_take_uint(record, 3, &out->at) &&
           span_take_uint(record, 3, &part) && span_take(record, part, &out->piece) &&
           out->at <= out->len && part <= out->len - out->at;
}

static bool put(struct gather *gather, const struct fragment *fragment)
{
    return gather_put(gather, (uint64_t)MESSAGE_HEADER + fragment->at, fragment->piece);
}

/* A message of another number is the hello with a cookie. One of the same number that is not what
 * we have is another handshake's if that was whole; else nobody's. */
static bool gather_fragment(struct dtls *dtls, const struct fragment *fragment,
                            struct gather *gather, int *begun)
{
    bool same = dtls->begun && dtls->number == fragment->number;

    if (same && dtls->len == fragment->len && put(gather, fragment))
        return true;
    if (same && !dtls->read)
        return false;
    ++*begun;
    return begin(dtls, (uint16_t)fragment->number, fragment->len, gather) && put(gather, fragment);
}

static enum dtls_status read_hello(struct dtls *dtls, const struct gather *gather,
                                   struct hello *out)
{
    if (!dtls->begun || dtls->read)
        return DTLS_KNOWN;
    switch (hello_read(gather_front(gather), HELLO_DTLS, out)) {
    case HELLO_DONE:
        dtls->read = true;
        return DTLS_HELLO;
    case HELLO_PARTIAL:
        return DTLS_PARTIAL;
    case HELLO_NOT_TLS:
    case HELLO_INVALID:
        break;
    }
    return DTLS_NOT;
}

/* A datagram in which two hellos begin is no client's. */
enum dtls_status dtls_take(struct dtls *dtls, struct span datagram, struct gather *gather,
                           struct hello *out)
{
    struct span record;
    int records = 0, begun = 0;

    for (; take_record(&datagram, &record); records++) {
        struct fragment fragment;

        while (record.len)
            if (!take_fragment(&record, &fragment) ||
                (fragment.type == MESSAGE_CLIENT_HELLO &&
                 !gather_fragment(dtls, &fragment, gather, &begun)))
                return DTLS_NOT;
    }
    return records && begun < 2 ? read_hello(dtls, gather, out) : DTLS_NOT;
}
