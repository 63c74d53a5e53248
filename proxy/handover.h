/* handover: what the rows are made of by which an agent tells the next one what it knows. As JSON,
 * so that versions may differ: what one does not say the other takes for nothing. Pure.
 *
 * Called by:  sockets_handover.c, kernel/ring_handover.c. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/addr.h"
#include "base/span.h"

json_t *handover_address(const struct addr *addr);
json_t *handover_bytes(struct span bytes); /* NULL without memory */

/* False: it is none. */
bool handover_read_address(const json_t *from, struct addr *out);
/* *out is the caller's; false: it is none, or there is no memory. Nothing is NULL. */
bool handover_read_bytes(const json_t *from, uint8_t **out, size_t *len);
/* Of an object: 0, false: it has none. */
uint64_t handover_number(const json_t *from, const char *key);
bool handover_flag(const json_t *from, const char *key);
/* One of an enum's values; 0 for what we do not know. */
unsigned handover_choice(const json_t *from, const char *key, unsigned max);
