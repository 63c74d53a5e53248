/* grpc: one direction of a gRPC call's body, cut into its messages (gRPC over HTTP/2, gRPC-web).
 *
 * An observer: what makes no sense ends its reading, never the bytes' way. Pure: bytes in any cut,
 * messages out. Plain gRPC allocates nothing; gRPC-web its trailers (at most GRPC_TRAILERS_MAX)
 * and, where it is base64, room for what is decoded. Called by:  flow/carried.c, with bodies as
 * they go by. Heads and trailers of a call: grpc_call.h. */
#pragma once

#include "base/span.h"
#include "proxy/wire/grpc_call.h"

enum { GRPC_PREFIX = 5, GRPC_TRAILERS_MAX = 8192 };

struct grpc_decoder;

/* grpc_init() fills it; all zero: of kind GRPC_NONE, which reads nothing. */
struct grpc {
    enum grpc_kind kind;
    uint64_t messages;   /* whole ones */
    uint64_t bytes;      /* their payloads, and what there is of an unfinished one's */
    uint64_t compressed; /* of the messages */
    const char *gave_up; /* why nothing is read any more, or NULL */

    /* ours */
    uint8_t prefix[GRPC_PREFIX];
    uint8_t prefix_len;
    uint32_t left; /* bytes of the frame whose prefix is whole */
    bool trailers_seen;
    uint8_t *trailers; /* of a gRPC-web trailers frame: its beginning */
    size_t trailers_len, trailers_size;
    struct grpc_decoder *decoder;
};

/* A part of one message's payload. Borrows: valid until the next call. */
struct grpc_piece {
    struct span bytes; /* empty only for a message that is */
    uint32_t len;      /* of the whole message */
    bool compressed;   /* by what grpc-encoding names */
    bool first, last;  /* the message begins, and ends, with it */
};

void grpc_init(struct grpc *grpc, enum grpc_kind kind);
void grpc_fini(struct grpc *grpc); /* leaves the counts and what it gave up for */

/* Takes bytes off the front of *bytes up to the end of the next piece, and counts it. False when
 * there is none: then *bytes is empty. */
bool grpc_next(struct grpc *grpc, struct span *bytes, struct grpc_piece *piece);

/* So many bytes (0: nobody knows how many) that nobody has: within a message they need not be
 * looked at. */
void grpc_skip(struct grpc *grpc, uint64_t len);

/* grpc_next() for who wants the counts alone. */
void grpc_feed(struct grpc *grpc, struct span bytes);

/* Whether bytes that end here would end within a message, or what frames it. */
bool grpc_unfinished(const struct grpc *grpc);

/* A field of the gRPC-web trailers frame (name: in any case), its value without the blanks around
 * it. False when there was none, or its frame is not whole. Borrows from grpc. */
bool grpc_trailer(const struct grpc *grpc, const char *name, struct span *value);
