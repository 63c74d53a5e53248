/* flight_fuzz: any bytes. Reads nothing beside them; what it says of them it says of every longer
 * reading, and where it says that more will not matter, more does not. */
#include <stdlib.h>

#include "proxy/wire/flight.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t scratch[FLIGHT_MAX];

static bool within(struct span part)
{
    return !part.len || (part.data >= scratch && part.data + part.len <= scratch + FLIGHT_MAX);
}

static bool read_prefix(const uint8_t *data, size_t len, struct flight *flight)
{
    uint8_t *copy = malloc(len ? len : 1);
    bool over;

    CHECK(copy);
    if (len)
        memcpy(copy, data, len);
    over = flight_read(span_of(copy, len), scratch, flight);
    free(copy);
    CHECK(within(flight->alpn) && within(flight->certificate));
    CHECK(flight->hello || (!flight->version && !flight->cipher && !flight->alpn.len));
    CHECK(flight->hello || (!flight->resumed && !flight->certificate.len));
    CHECK(!flight->resumed || !flight->certificate.len);
    return over;
}

/* What was said by fewer bytes; its alpn is a copy. */
static void compare(const struct flight *said, const struct flight *now, bool over)
{
    if (said->hello) {
        CHECK(now->hello && now->version == said->version && now->cipher == said->cipher);
        CHECK(span_equal(now->alpn, said->alpn));
    }
    if (said->resumed)
        CHECK(now->resumed);
    if (over)
        CHECK(now->hello == said->hello && now->resumed == said->resumed &&
              now->certificate.len == said->certificate.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flight said = {0}, now;
    bool over = false, was = false;
    uint8_t alpn[256];
    size_t step = size / 256 + 1; /* small inputs at every byte, large ones here and there */

    for (size_t len = 0;; len = size - len > step ? len + step : size) {
        was = over;
        over = read_prefix(data, len, &now);
        CHECK(over || !was);
        compare(&said, &now, was);
        said = now;
        if (said.alpn.len)
            memcpy(alpn, said.alpn.data, said.alpn.len);
        said.alpn.data = alpn;
        if (len == size)
            return 0;
    }
}
