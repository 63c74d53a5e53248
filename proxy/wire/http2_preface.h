/* http2_preface: does a connection begin as HTTP/2 does (RFC 9113 section 3.4)?
 *
 * Pure: bytes in, an answer out. What follows is proxy/http2's to read.
 * Called by:  flow/peek.c, flow/relay.c and kernel/stream.c, where no ALPN has settled it. */
#pragma once

#include "base/span.h"

enum { HTTP2_FRAME_HEADER = 9 };

/* Whether bytes begin with a client's preface: 1 yes, 0 no, -1 too few to say. */
int http2_looks_like_preface(struct span bytes);

/* Whether bytes may be a server's beginning, the header of a SETTINGS frame: it may come before the
 * client has said anything. 1 yes, 0 no, -1 too few to say. */
int http2_looks_like_settings(struct span bytes);
