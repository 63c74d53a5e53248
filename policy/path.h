/* path: the path of a request as a server would read it, and what servers read differently. Pure.
 *
 * Called by:  decide_http.c, with the path without its query: rules must allow it as it was sent
 * and as it is normal. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/* What makes it read in more than one way. */
enum path_oddity {
    PATH_ENCODED_SLASH = 1 << 0, /* %2f: to some a '/', to others a part of a name */
    PATH_BACKSLASH = 1 << 1,     /* '\' or %5c: to some a '/' */
    PATH_NUL = 1 << 2,           /* NUL or %00: to some the end */
    PATH_MALFORMED = 1 << 3,     /* a '%' without two hexadecimal digits, or a '#'; no '/' at its
                                    begin (but "*") */
    PATH_TWO_WAYS = 1 << 4,      /* ".." behind "//": /a//../b is /b where slashes are merged first
                                    (nginx), and /a/b by RFC 3986; "/..;x/", which Java's servers
                                    take for ".." */
};
struct path_normal {
    struct span path; /* in `out` */
    unsigned oddities;
};

/* Normal is, in this order: what is encoded though it needs not be (RFC 3986 section 2.3) is
 * decoded once, what stays encoded is in upper case (section 6.2.2.1); "//" is "/"; "." and ".."
 * are gone (section 5.2.4), none leads above the root. This is what Envoy's normalize_path with
 * merge_slashes does. Never longer than it was; what is normal stays as it is. False: longer than
 * size. */
bool path_normalize(struct span path, uint8_t *out, size_t size, struct path_normal *normal);
/* What is odd, in words: "an encoded '/' in the path"; NULL: nothing is. Static. */
const char *path_oddity_name(unsigned oddities);
