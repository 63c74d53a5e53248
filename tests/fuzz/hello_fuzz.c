/* hello_fuzz: any bytes. Reads nothing beside them; what it says of them it says of every longer
 * reading, and of no shorter one does it say more than "ask again". */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/wire/hello.h"
#include "proxy/wire/ja4.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t scratch[HELLO_MAX];

static bool within(struct span part, struct span whole)
{
    return !part.len || (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

static bool no_digest(struct span bytes, uint8_t digest[JA4_DIGEST])
{
    memset(digest, bytes.data[0], JA4_DIGEST);
    return true;
}

static enum hello_status parse_prefix(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    struct span bytes, room = span_of(scratch, sizeof(scratch));
    struct hello hello = {0};
    enum hello_status status;
    char ja4[JA4_SIZE];

    CHECK(copy);
    if (len)
        memcpy(copy, data, len);
    bytes = span_of(copy, len);
    status = hello_parse(bytes, scratch, &hello);
    if (status == HELLO_DONE) {
        CHECK(within(hello.server_name, bytes) || within(hello.server_name, room));
        CHECK(within(hello.alpn, bytes) || within(hello.alpn, room));
        CHECK(hello.server_name.len <= 255);
        CHECK(!hello.version_max || hello.version_max >> 8 == 3);
        CHECK(!hello_offers(&hello, ""));
        hello_offers(&hello, "http/1.1");
        CHECK(within(hello.ciphers, bytes) || within(hello.ciphers, room));
        CHECK(within(hello.groups, bytes) || within(hello.groups, room));
        CHECK(within(hello.signatures, bytes) || within(hello.signatures, room));
        CHECK(hello.version_min <= hello.version_max);
        hello_takes_p256(&hello);
        CHECK(within(hello.extensions, bytes) || within(hello.extensions, room));
        if (ja4_of(&hello, no_digest, ja4))
            CHECK(strlen(ja4) == JA4_SIZE - 1);
    } else {
        CHECK(!hello.server_name.data && !hello.alpn.data && !hello.version_max);
    }
    free(copy);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum hello_status whole = parse_prefix(data, size), said = HELLO_PARTIAL;
    size_t step = size / 256 + 1; /* small inputs at every byte, large ones here and there */

    for (size_t len = 0; len < size; len += step) {
        enum hello_status now = parse_prefix(data, len);

        CHECK(said == HELLO_PARTIAL || now == said);
        said = now;
    }
    CHECK(said == HELLO_PARTIAL || whole == said);
    return 0;
}
