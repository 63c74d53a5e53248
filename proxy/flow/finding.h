/* finding: what was found in what a flow carries, and what its policies say of that.
 *
 * Nothing is told here, nor done: inspection.c has that seen to by verdict.c.
 * Called by:  inspection.c. */
#pragma once

#include <stdbool.h>

#include "policy/decide.h"
#include "policy/inspect.h"
#include "policy/token.h"

enum { FINDING_HASH = 65 };

struct flow;
struct inspection_plan;

struct finding {
    struct policy_verdict verdict;
    enum policy_point point;
    const char *pattern; /* NULL: it is about what cannot be seen */
    const char *direction;
    uint64_t offset;           /* in the body, or message, as decoded */
    char sha256[FINDING_HASH]; /* salted; "": no pattern, or no memory */
    struct token token;        /* account "": it is not about one */
    const char *host, *method; /* of the request, for who tells; NULL: not known */
    const char *path;
};

/* All fill *out; false: no policy says anything of it. */

bool finding_pattern(const struct flow *flow, const struct inspection_plan *plan,
                     enum policy_direction direction, const struct inspect_hit *hit,
                     struct finding *out);
/* jwt: its header and claims, at offset in a request. A service account's token that goes to the
 * API server, and is the sender's own, is none. */
bool finding_token(const struct flow *flow, const struct inspection_plan *plan, struct span jwt,
                   uint64_t offset, struct finding *out);
/* What is in that direction cannot be seen; why: a phrase. */
bool finding_unseen(const struct inspection_plan *plan, enum policy_direction direction,
                    const char *why, struct finding *out);
/* A body, or message, in that direction is longer than a policy's maxBytes, which is bound. */
bool finding_beyond(const struct inspection_plan *plan, enum policy_direction direction,
                    uint64_t bound, struct finding *out);
