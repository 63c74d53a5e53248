/* view_parts: what views and scopes are made of. Private to policy/: for who searches them. */
#pragma once

#include "policy/segment.h"
#include "policy/view.h"

enum view_part { VIEW_ALLOW, VIEW_DENY, VIEW_PARTS }; /* egress, egressDeny */

struct policy_view {
    atomic_uint refs;
    struct policy_set *set;     /* a reference: it holds the policies */
    const struct policy **list; /* as the set has them */
    size_t len;
    struct segments parts[POLICY_MODE_MAX][VIEW_PARTS];
    size_t mask_words;                /* of a scope's mask */
    struct policy_view *next, **link; /* in the set's list; link NULL: not in it yet */
};

struct policy_scope {
    struct policy_view *view;   /* a reference */
    const struct policy **list; /* the view's own where all are in it */
    size_t len;
    uint64_t *mask;                               /* which grants of each segment; NULL: all */
    bool monitors;                                /* one of them only tells */
    const struct policy *closed[POLICY_MODE_MAX]; /* the first with egress, of each mode */
};
