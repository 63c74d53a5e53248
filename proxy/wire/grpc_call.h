/* grpc_call: what the heads and the trailers of a call say: is it gRPC, what was called, how did it
 * end?
 *
 * Pure, no allocation. Called by:  flow/carried.c, for HTTP/1 and HTTP/2 alike; grpc.c. */
#pragma once

#include "base/span.h"

enum grpc_kind {
    GRPC_NONE,
    GRPC_PLAIN,    /* application/grpc: messages, and trailers as HTTP has them */
    GRPC_WEB,      /* application/grpc-web: trailers are the last frame of the body */
    GRPC_WEB_TEXT, /* application/grpc-web-text: the same in base64 */
    _GRPC_KIND_MAX,
};

enum {
    GRPC_STATUS_UNKNOWN = 2,
    GRPC_STATUS_PERMISSION_DENIED = 7,
    GRPC_STATUS_RESOURCE_EXHAUSTED = 8,
    GRPC_STATUS_UNAVAILABLE = 14,
};

/* By a Content-Type: in any case, with or without a message format (+proto) and parameters. */
enum grpc_kind grpc_kind_of(struct span content_type);

/* "/pkg.Service/Method", split at the last slash as servers do. False when either would be empty,
 * or there is no slash in front. */
bool grpc_path(struct span path, struct span *service, struct span *method);

/* The value of grpc-status. What is not a decimal number of at most nine digits is UNKNOWN. */
uint32_t grpc_status_parse(struct span value);
/* "OK", "CANCELLED", ...; "UNKNOWN" for numbers without a name. */
const char *grpc_status_name(uint32_t status);

/* The value of grpc-message with its percent-encoding undone, as far as it fits: never cut within a
 * UTF-8 character. What is no encoding stays as it is, and so do bytes that are not UTF-8: who
 * prints must mind. The span is of out. */
struct span grpc_message_decode(struct span value, uint8_t *out, size_t size);
