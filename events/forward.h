/* forward: events on their way from an agent that was replaced to the one that came after it, for
 * its sinks and its numbering.
 *
 * An event is rendered by who saw it; what the other needs beside that to filter and to count goes
 * along. Both are of one machine, so numbers have its byte order. Pure. */
#pragma once

#include "base/span.h"
#include "events/sink.h"

/* A sink's renderer: a frame in place of a line. */
void forward_render(struct sink *sink, const struct flow_event *event, struct buffer *out);

enum forward_status {
    FORWARD_DONE,    /* *out is the caller's, *used bytes were its frame */
    FORWARD_PARTIAL, /* well-formed so far: ask again with more bytes */
    FORWARD_INVALID, /* no frame, or one that is longer than any event */
    FORWARD_NO_MEMORY,
};
enum { FORWARD_MAX = 8 << 20 }; /* bytes of a frame */

enum forward_status forward_read(struct span bytes, struct flow_event **out, size_t *used);
