/* dtls_fuzz: any bytes, as datagrams of the lengths that stand in front of them. Reads nothing
 * beside them; a hello is read once. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/wire/dtls.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gather gather;

static bool within(struct span part)
{
    return !part.len || (part.data >= gather.bytes &&
                         part.data + part.len <= gather.bytes + sizeof(gather.bytes));
}

static enum dtls_status take(struct dtls *dtls, struct span datagram)
{
    uint8_t *copy = malloc(datagram.len ? datagram.len : 1);
    struct hello hello = {0};
    enum dtls_status status;

    CHECK(copy);
    if (datagram.len)
        memcpy(copy, datagram.data, datagram.len);
    status = dtls_take(dtls, span_of(copy, datagram.len), &gather, &hello);
    free(copy);
    CHECK(gather.front <= GATHER_MAX);
    if (status == DTLS_HELLO) {
        CHECK(dtls->read && hello.transport == HELLO_DTLS && hello.random.len == 32);
        CHECK(within(hello.server_name) && within(hello.alpn) && within(hello.random));
        CHECK(!hello.version_max || (hello.version_max >= 0x0302 && hello.version_max <= 0x0304));
    }
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_of(data, size), datagram;
    struct dtls dtls = {0};

    gather = (struct gather){0};
    while (span_take_vector(&rest, 2, &datagram))
        if (take(&dtls, datagram) == DTLS_NOT)
            dtls = (struct dtls){0};
    gather = (struct gather){0};
    dtls = (struct dtls){0};
    take(&dtls, rest);
    return 0;
}
