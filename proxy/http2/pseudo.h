/* pseudo: what the pseudo-headers of a header block say (RFC 9113 section 8.3).
 *
 * Pure. Called by:  fields.c, for what is relayed; watch.c, for what goes by. */
#pragma once

#include "proxy/http2/http2.h"

/* Notes what it says, if it is known. Of one that comes twice the first counts. Borrows. */
void pseudo_take(struct http2_head *head, struct span name, struct span value);
