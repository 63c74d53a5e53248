/* search: which rules of a scope answer what is asked.
 *
 * Pure. Called by:  decide.c, unseen.c, session.c, explain.c.
 * Leads to:  ask.h. */
#pragma once

#include "policy/ask.h"

struct search_hit {
    const struct policy *policy; /* NULL: there is none */
    const struct policy_place *place;
};
struct search {
    struct search_hit denied;  /* the first rule of egressDeny that it meets */
    struct search_hit allowed; /* the first of egress that lets it pass whatever it says, else the
                                  first that lets this pass */
    struct search_hit near;    /* the first of egress that fits where it goes */
    struct search_hit ruled;  /* the first by which a request must be read; of egress only when none
                                 lets it pass whatever it says */
    struct search_hit pathed; /* ... and its path */
};

/* Of the policies of that mode. */
void search(const struct policy_scope *scope, enum policy_mode mode, const struct ask *ask,
            struct search *out);
