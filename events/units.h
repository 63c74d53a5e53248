/* units: amounts as people read them. Pure. */
#pragma once

#include <stdint.h>

#include "events/buffer.h"

/* "706 B", "1.2 kB", "226 MB": powers of 1000, one decimal below ten. */
void units_bytes(struct buffer *out, uint64_t bytes);

/* "850us", "12.4ms", "1.25s": three digits, microseconds whole. */
void units_duration(struct buffer *out, uint64_t ns);

/* "2026-11-23T18:00:00.000000001Z" (RFC 3339) from nanoseconds since 1970. */
void units_time(struct buffer *out, uint64_t ns);
