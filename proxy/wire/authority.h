/* authority: "host:port" as Host, :authority, absolute-form and CONNECT carry it (RFC 9110 section
 * 7.2), brought to the one form that policy compares.
 *
 * Pure. Called by:  http1.c, http1_head.c. */
#pragma once

#include "base/span.h"

enum { AUTHORITY_HOST_MAX = 256, AUTHORITY_MAX = AUTHORITY_HOST_MAX + 8 };

struct authority_parts {
    char host[AUTHORITY_HOST_MAX]; /* lower case, one closing dot dropped; IPv6 in its brackets */
    uint16_t port;                 /* 0: none was written */
};

/* False for what two servers could take for different hosts: user information, percent-encoding,
 * lists, bytes beyond ASCII, empty labels, more than one port, nothing at all. */
bool authority_parse(struct span text, struct authority_parts *out);

/* The authority inside a request target. False when the target's form has none (origin and
 * asterisk). CONNECT's target is nothing but an authority. */
bool authority_in_target(struct span target, bool connect, struct span *authority);
