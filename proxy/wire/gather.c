#include "proxy/wire/gather.h"

static bool has(const struct gather *gather, size_t at)
{
    return gather->have[at / 8] >> at % 8 & 1;
}

bool gather_put(struct gather *gather, uint64_t offset, struct span piece)
{
    size_t at = (size_t)offset;

    if (offset > GATHER_MAX || piece.len > GATHER_MAX - offset)
        return false;
    for (size_t i = 0; i < piece.len; i++, at++) {
        if (has(gather, at) && gather->bytes[at] != piece.data[i])
            return false;
        gather->bytes[at] = piece.data[i];
        gather->have[at / 8] |= (uint8_t)(1u << at % 8);
    }
    while (gather->front < GATHER_MAX && has(gather, gather->front))
        gather->front++;
    return true;
}
