/* decode: a body as its encodings say it is (RFC 9110 section 8.4), piece by piece, to be looked
 * at.
 *
 * gzip (several members), deflate (with zlib's frame, or raw as some send it), br, zstd; up to
 * DECODE_LAYERS in a row. The bytes that pass are never these, but the original ones.
 * Bounded: what comes out may be DECODE_RATIO times what went in, beyond DECODE_FREE bytes, and
 * DECODE_SIZE_MAX in all; memory is asked for by room(). What goes beyond cannot be seen, as what
 * makes no sense cannot. Bytes behind the end of what was encoded come out as they are.
 * Pure. Called by:  proxy/flow/inspection.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

enum {
    DECODE_LAYERS = 3,
    DECODE_RATIO = 200,
    DECODE_FREE = 1 << 20,
    DECODE_SIZE_MAX = 256 << 20,
};

enum decode_status {
    DECODE_FINE,
    DECODE_ENOUGH,   /* on_bytes said so */
    DECODE_UNKNOWN,  /* an encoding that is not known, or too many in a row */
    DECODE_BROKEN,   /* not what it says it is */
    DECODE_CUT,      /* it ended before its end */
    DECODE_TOO_MUCH, /* beyond what may come out: a decompression bomb */
    DECODE_NO_MEMORY,
    DECODE_STATUS_MAX
};
/* Why it cannot be seen, a phrase: "a content-encoding that is not known". */
const char *decode_reason(enum decode_status status);

struct decode;

/* So many bytes of memory more, or given back (< 0). False: there are none. */
typedef bool decode_room(void *arg, int64_t bytes);
/* Bytes that came out. False: enough. */
typedef bool decode_on_bytes(struct span bytes, void *arg);

/* encodings: Content-Encoding's value; empty or "identity": bytes come out as they are. An
 * unknown one is an answer of decode_feed(), too. room NULL: as much as is wanted. -ENOMEM. */
int decode_new(struct decode **out, struct span encodings, decode_room *room, void *arg);
/* A WebSocket's permessage-deflate (RFC 7692): messages of one direction, one behind the other. */
int decode_new_messages(struct decode **out, decode_room *room, void *arg);
void decode_free(struct decode **decode); /* accepts an empty one */

/* Whether there is anything to decode. */
bool decode_is_plain(const struct decode *decode);
/* What it is not fine with once, it stays. */
enum decode_status decode_feed(struct decode *decode, struct span bytes, decode_on_bytes *on_bytes,
                               void *arg);
/* There are no more bytes; of messages: of this one. */
enum decode_status decode_end(struct decode *decode, decode_on_bytes *on_bytes, void *arg);
