/* keeper_wire_fuzz: what is understood has as many descriptors as came with it, and said again it
 * is the same. The first byte is how many came. */
#include "proxy/keeper/keeper_wire.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = span_of(data, size);
    struct keeper_message message;
    uint8_t again[KEEPER_WIRE_MAX];
    uint32_t fds;

    if (!span_take_uint(&bytes, 1, &fds) || !keeper_wire_decode(bytes, fds, &message))
        return 0;
    CHECK(fds <= KEEPER_WIRE_FDS_MAX && keeper_wire_fds(&message) == fds);
    CHECK(span_equal(span_of(again, keeper_wire_encode(&message, again)), bytes));
    return 0;
}
