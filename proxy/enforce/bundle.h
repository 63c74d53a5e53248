/* bundle: files of policies on their way from a client to the agent, with their names; each has
 * its length in front, so that any bytes may be in it:
 *
 *   NAME NUL LENGTH NUL BYTES, and so on
 *
 * Pure; what is read is foreign.
 * Called by:  command/policy_apply.c, which writes; sources_verbs.c, which reads. */
#pragma once

#include <stdbool.h>

#include "base/span.h"
#include "events/buffer.h"

enum { BUNDLE_BYTES_MAX = 64 << 20, BUNDLE_NAME_MAX = 4096 };

/* name has at most BUNDLE_NAME_MAX bytes, and at least one. */
void bundle_add(struct buffer *out, const char *name, struct span bytes);

enum bundle_status { BUNDLE_FILE, BUNDLE_END, BUNDLE_BROKEN };
/* The next file, which is taken off rest; *name is NUL-terminated within it. */
enum bundle_status bundle_next(struct span *rest, const char **name, struct span *bytes);
