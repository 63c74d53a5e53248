/* session_line: an open flow as one compact line. Pure. */
#pragma once

#include <jansson.h>

#include "events/buffer.h"

/* row: as proxy/telemetry/sessions.c renders it. */
void session_line(struct buffer *out, const json_t *row);
