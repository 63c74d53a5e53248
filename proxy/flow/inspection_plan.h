/* inspection_plan: what the policies of a flow want to be looked for in what it carries, and the
 * compiled patterns for it, which a worker shares between its flows.
 *
 * Called by:  inspection.c.
 * Leads to:   ../../policy/inspect.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/inspect.h"
#include "policy/policy.h"

struct flow;
struct worker;

/* What one policy says, of bodies or (bodies NULL) of tokens. */
struct inspection_check {
    const struct policy *policy;
    const struct policy_bodies *bodies;
    const struct policy_place *place;
    enum policy_direction direction;
    enum verdict verdict; /* VERDICT_ALERT: also of a policy that would deny, but only monitors */
    uint64_t max_bytes;
};

/* Patterns that were compiled, with what this thread needs to look for them. */
struct inspection_lane {
    unsigned refs;
    struct inspect *inspect;
    struct inspect_scratch *scratch;
    struct inspect_pattern *patterns; /* owned, with their texts */
    size_t patterns_len;
    struct inspection_lane *next; /* in worker->lanes */
};

struct inspection_plan {
    unsigned refs;
    const struct policy_scope *scope; /* of which it is, as long as its generation is the flow's */
    uint64_t generation;
    struct policy **policies; /* references */
    size_t policies_len;
    struct inspection_check *checks;
    size_t checks_len;
    struct inspection_lane *lane; /* a reference; NULL: there is nothing to look for */
    bool tokens;
};

/* Whether they want anything. */
bool inspection_is_wanted(const struct flow *flow);
/* That of the flow's policies as they are now: a reference; NULL: no memory. */
struct inspection_plan *inspection_plan_get(struct flow *flow);
void inspection_plan_unref(struct inspection_plan **plan); /* accepts an empty one */
/* Whether a check is about one of the lane's patterns. */
bool inspection_check_has(const struct inspection_plan *plan, const struct inspection_check *check,
                          size_t pattern);
/* How much of a body in that direction is looked at, so that what begins within its bounds is seen;
 * 0: nothing. */
uint64_t inspection_plan_reach(const struct inspection_plan *plan, enum policy_direction direction);
/* The first maxBytes in that direction that is more than `behind`; UINT64_MAX: none is. */
uint64_t inspection_plan_bound(const struct inspection_plan *plan, enum policy_direction direction,
                               uint64_t behind);
/* Whether something in that direction may be denied. */
bool inspection_plan_denies(const struct inspection_plan *plan, enum policy_direction direction);

/* The worker ends. */
void inspection_lanes_fini(struct worker *worker);
