/* search: which rules of a scope answer what is asked.
 *
 * Pure. Called by:  decide.c, decide_http.c, unseen.c, wish.c.
 * Leads to:  segment.h, for those that could; ask.h, for what only they can tell. */
#pragma once

#include "policy/ask.h"
#include "policy/view_parts.h"

struct search_hit {
    const struct policy *policy; /* NULL: there is none */
    const struct policy_place *place;
};
struct search {
    struct search_hit denied;  /* the first of egressDeny that it meets whatever it says, else the
                                  first that it meets */
    struct search_hit allowed; /* the first of egress that lets it pass whatever it says, else the
                                  first that lets it pass */
    struct search_hit near;    /* the first of egress that fits where it goes; not sought where
                                  something lets it pass whatever it says */
    struct search_hit ruled;   /* the first by which a request must be read; of egress only where
                                  nothing lets it pass whatever it says */
    struct search_hit pathed;  /* ... and its path */
};

/* Of the policies of that mode. */
void search(const struct policy_scope *scope, enum policy_mode mode, const struct ask *ask,
            struct search *out);

/* Goes over the grants of one mode that fit by where it goes and, if demands, by what they demand
 * beside rules. False: there are no more. */
struct search_each {
    const struct policy_scope *scope;
    const struct ask *ask;
    enum policy_mode mode;
    enum view_part part;
    bool demands;
    size_t segment, next; /* begin zeroed */
    struct bits fits;
};
const struct segment_grant *search_next(struct search_each *each);
