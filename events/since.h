/* since: moments and spans of time as people write them. Pure. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* "30s", "5m", "1h30m", "2d", "500ms": back from now_ns; or a moment as RFC 3339 has it,
 * "2026-11-23T18:00:00Z", "2026-11-23T19:00:00.5+01:00". Nanoseconds since 1970, at least 1. */
int since_parse(const char *text, uint64_t now_ns, uint64_t *out, struct err *err);
