/* match: names and addresses against how settings and policies write them.
 *
 * Pure. Names as Cilium's matchName and matchPattern: case does not count, nor does one closing
 * dot;
 * '*' stands for any number of letters, digits, '-' and '_', so it never spans a dot; "*" alone is
 * every name, and "**." in front one label or more: "*.ebpf.io" is www.ebpf.io, but neither ebpf.io
 * nor a.b.ebpf.io; "**.ebpf.io" is both of those with something in front.
 * Called by:  proxy/passthrough.c. */
#pragma once

#include <stdbool.h>

#include "base/addr.h"

enum { MATCH_NAME_MAX = 255 };

/* Whether it can be a pattern at all. */
bool match_pattern_ok(const char *pattern);
bool match_pattern(const char *pattern, const char *name);

struct match_cidr {
    struct addr network; /* its port does not matter */
    unsigned bits;       /* of the 128: IPv4 is kept as ::ffff:a.b.c.d */
};

/* "203.0.113.0/24", "2001:db8::/32", or an address alone; false: it is neither. Bits beyond the
 * prefix must be zero: who writes 203.0.113.7/24 means something else than we would do. */
bool match_cidr_parse(const char *text, struct match_cidr *out);
/* A network of IPv6 holds no address of IPv4: ::/0 is all of IPv6 alone. */
bool match_cidr(const struct match_cidr *cidr, const struct addr *address);
