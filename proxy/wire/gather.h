/* gather: a message that comes in pieces, in any order, some of them twice: QUIC's CRYPTO frames,
 * the fragments of DTLS.
 *
 * Pure; bounded. A piece that says other bytes than one before it is refused: who reads them in
 * another order would read another message. */
#pragma once

#include "base/span.h"

enum { GATHER_MAX = 16384 };

struct gather {   /* zeroed: nothing has come */
    size_t front; /* so many bytes are there from the first on */
    uint8_t bytes[GATHER_MAX];
    uint8_t have[GATHER_MAX / 8]; /* a bit for each */
};

/* False: it lies beyond GATHER_MAX, or contradicts what is there. */
bool gather_put(struct gather *gather, uint64_t offset, struct span piece);

static inline struct span gather_front(const struct gather *gather)
{
    return span_of(gather->bytes, gather->front);
}
