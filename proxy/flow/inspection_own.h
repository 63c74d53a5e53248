/* inspection_own: what inspection.c and inspection_head.c share; private to them. */
#pragma once

#include <stdbool.h>

#include "base/span.h"
#include "policy/facts.h"
#include "proxy/wire/grpc_call.h"

enum {
    INSPECTION_TOLD_MAX = 16, /* of one body, or all messages in one direction; what denies is
                                 always told */
    INSPECTION_ENCODING_MAX = 128,
};

/* How the body behind a head is framed and encoded, or (gRPC) those of its messages that are
 * compressed. What two readers could take for different things is an encoding that nobody knows. */
enum grpc_kind inspection_coding(const struct facts_field *fields, size_t len,
                                 char out[INSPECTION_ENCODING_MAX]);

/* At most so much of it as is told. False: no memory. */
bool inspection_copy(char **out, struct span text);
