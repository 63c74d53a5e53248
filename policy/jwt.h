/* jwt: JSON Web Tokens (RFC 7519) in a stream of bytes, however it is cut.
 *
 * One is two parts in base64url, each behind its dot, that are JSON objects, the first with "alg":
 * it is found with the second dot, before any of its signature. Where a run of such letters begins
 * is for the caller to say ("eyJ": what any such header begins with).
 * Pure. Called by:  inspect.c; token.c for header fields. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

enum { JWT_MAX = 16384 }; /* of both parts: a longer one is none */

struct jwt { /* all zero: waits for a beginning */
    bool running;
    bool overlong; /* the part under way */
    bool failed;   /* no memory */
    uint8_t *text; /* of the run: the last part that is whole, a dot, the one under way */
    size_t len, size;
    size_t dot;    /* where in text the dot is; 0: the part under way is the first */
    uint64_t done; /* offset in the stream behind what was looked at */
};

/* text: header and claims, up to the second dot. False: enough. */
typedef bool jwt_on_found(struct span text, uint64_t offset, void *arg);

void jwt_fini(struct jwt *jwt);
/* "eyJ" ends before `end`. Nothing happens while a run is under way, or where one was. */
void jwt_begin(struct jwt *jwt, uint64_t end);
/* The bytes that follow what was looked at; stops at the run's end. False: on_found said so. */
bool jwt_feed(struct jwt *jwt, struct span bytes, jwt_on_found *on_found, void *arg);

/* All that are in a text. False: on_found said enough, or there is no memory. */
bool jwt_scan(struct span text, jwt_on_found *on_found, void *arg);

/* Overwrites all that are in a text, with their signatures, by '*'. */
void jwt_mask(char *text);

/* Of what was found (from a header field, a signature may stand behind it): the claims, for
 * json_decref(). NULL: it is no JWT, or there is no memory. */
json_t *jwt_claims(struct span text);
