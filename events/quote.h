/* quote: strangers' strings made safe to print. Pure.
 *
 * Not printable is what Go's strconv.IsPrint refuses: control and format characters (C1 controls,
 * bidirectional overrides, zero-width ones), every space but ASCII's, private use, and bytes that
 * are not UTF-8. Only code points not assigned yet are taken as printable here. */
#pragma once

#include "base/span.h"
#include "events/buffer.h"

/* For compact lines, as Tetragon does it: with a blank or anything not printable in it, the text
 * is quoted like a Go string (\n, \x1b, \u202e); else it stays as it is. */
void quote_text(struct buffer *out, struct span text);

/* A JSON string with its quotes. What is not UTF-8 becomes U+FFFD, what is not printable \uXXXX:
 * JSON lines reach terminals too. */
void quote_json(struct buffer *out, struct span text);
