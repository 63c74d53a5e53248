/* quic_fuzz: any bytes as a datagram; and as what Initial packets carry, cut into some, sealed as a
 * client would: few bytes that nobody sealed get past the tag. Reads nothing beside them, and says
 * the same of what it has read when it comes again. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/wire/quic.h"
#include "tests/fuzz/check.h"
#include "tests/unit/wire/quic_build.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct quic_opener *opener;
static struct gather gather;

static bool within(struct span part)
{
    return !part.len || (part.data >= gather.bytes &&
                         part.data + part.len <= gather.bytes + sizeof(gather.bytes));
}

static enum quic_status take(struct quic *quic, const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    struct hello hello = {0};
    enum quic_status status;

    CHECK(copy);
    if (len)
        memcpy(copy, data, len);
    status = quic_take(quic, opener, span_of(copy, len), &gather, &hello);
    free(copy);
    CHECK(status <= QUIC_NOT && gather.front <= GATHER_MAX);
    if (status == QUIC_HELLO) {
        CHECK(quic->read && quic->version);
        CHECK(within(hello.server_name) && within(hello.alpn) && within(hello.random));
        CHECK(hello.transport == HELLO_QUIC && hello.random.len == 32);
    }
    return status;
}

/* The first byte says how long each packet's part is. */
static void as_payloads(const uint8_t *data, size_t size)
{
    static const uint8_t dcid[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    size_t step = size ? (size_t)data[0] * 6 + 24 : 1;
    struct quic quic = {0};

    gather = (struct gather){0};
    for (size_t at = 1; at < size; at += step) {
        size_t len = size - at < step ? size - at : step;
        struct quic_datagram datagram = {.len = 0};
        struct quic_packet packet = {
            .version = data[0] & 1 ? QUIC_V1 : QUIC_V2,
            .dcid = span_of(dcid, sizeof(dcid)),
            .keys = span_of(dcid, sizeof(dcid)),
            .number = (uint32_t)at,
            .number_len = (uint8_t)(2 + data[0] % 3),
            .payload = span_of(data + at, len),
        };
        enum quic_status status;

        if (len > QUIC_DATAGRAM - 100)
            return;
        packet.type = quic_initial_bits(packet.version);
        quic_append(&datagram, &packet);
        status = take(&quic, datagram.bytes, datagram.len);
        CHECK(status != QUIC_OTHER);
        if (status == QUIC_HELLO)
            CHECK(take(&quic, datagram.bytes, datagram.len) == QUIC_KNOWN);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quic quic = {0};
    struct err err;

    if (!opener)
        CHECK(quic_opener_new(&opener, &err) == 0);
    gather = (struct gather){0};
    take(&quic, data, size);
    as_payloads(data, size);
    return 0;
}
