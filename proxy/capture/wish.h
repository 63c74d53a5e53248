/* wish: what somebody asks for at the control socket by the verb "capture".
 *
 * Pure. Called by:  captures.c. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "proxy/capture/captures.h"

struct wish {
    enum capture_kind kind;
    const char *space, *name; /* borrowed */
    json_int_t seconds, bytes;
};

/* args: the request. What is not said is as captures.h has it. */
int wish_read(const json_t *args, struct wish *wish, struct err *err);
