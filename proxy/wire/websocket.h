/* websocket: one direction of a WebSocket connection, cut into frames and messages (RFC 6455;
 * permessage-deflate, RFC 7692, as far as its bit goes: nothing is inflated here).
 *
 * An observer: what makes no sense ends its reading, never the bytes' way. Pure: bytes in any cut,
 * counts and messages out. Allocates only what it keeps of the message at hand, bounded by what
 * websocket_init() was told.
 * Called by:  flow/carried.c, with what goes by once HTTP was left. */
#pragma once

#include "base/span.h"

enum { WEBSOCKET_HEADER_MAX = 14, WEBSOCKET_CONTROL_MAX = 125 };

enum websocket_side { WEBSOCKET_CLIENT, WEBSOCKET_SERVER }; /* whose bytes they are */

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};

/* A whole message, told at its end. Borrows: valid during the call. */
struct websocket_message {
    enum websocket_opcode opcode; /* WEBSOCKET_TEXT or WEBSOCKET_BINARY */
    bool compressed;              /* by permessage-deflate */
    bool truncated;               /* kept is less than all of it */
    uint64_t len;                 /* of all of it */
    struct span kept;             /* its beginning, unmasked and put together */
};

struct websocket_hooks {
    size_t keep; /* bytes of each message; 0: none */
    void (*message)(void *arg, const struct websocket_message *message);
    void *arg;
    /* What comes of a message, unmasked, as it comes; its end is told by message(). */
    void (*piece)(void *arg, const struct websocket_message *message, struct span bytes);
    /* What comes of control frames, unmasked, as it comes. */
    void (*control)(void *arg, struct span bytes);
};

/* websocket_init() fills it. */
struct websocket {
    uint64_t messages; /* whole ones */
    uint64_t bytes;    /* payload of data frames, also of an unfinished message's */
    uint64_t data_frames, control_frames; /* whole ones */
    bool closed;                          /* a close frame has been read */
    uint16_t close_code;                  /* 0: it had none */
    const char *gave_up;                  /* why nothing is read any more, or NULL */
    const char *noted; /* the first thing against the rules that could still be read, or NULL */

    /* ours */
    enum websocket_side side;
    bool deflate; /* was agreed upon */
    struct websocket_hooks hooks;
    uint8_t header[WEBSOCKET_HEADER_MAX];
    uint8_t header_len;
    bool in_payload; /* the header is whole */
    uint8_t mask[4], mask_at;
    uint64_t left; /* of the payload */
    uint8_t close[WEBSOCKET_CONTROL_MAX];
    uint8_t close_len;
    bool in_message; /* which may be between two of its frames */
    struct websocket_message message;
    uint8_t *kept; /* what message.kept borrows from */
    size_t kept_size;
};

/* deflate: permessage-deflate was agreed upon. hooks: copied; NULL: only count. */
void websocket_init(struct websocket *websocket, enum websocket_side side, bool deflate,
                    const struct websocket_hooks *hooks);
void websocket_fini(struct websocket *websocket); /* leaves counts, close code and reason */

void websocket_feed(struct websocket *websocket, struct span bytes);

/* Whether bytes that end here would end within a frame or a message. */
bool websocket_unfinished(const struct websocket *websocket);

/* What the close frame says beside its code, as it came (it should be UTF-8); empty: nothing.
 * Borrows from websocket. */
struct span websocket_close_reason(const struct websocket *websocket);

/* Whether a list of protocols names WebSocket: the value of Upgrade, or of HTTP/2's :protocol. */
bool websocket_asked(struct span protocols);
/* Whether a Sec-WebSocket-Extensions field of the answer agrees to permessage-deflate. */
bool websocket_deflates(struct span extensions);
