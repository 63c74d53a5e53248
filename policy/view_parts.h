/* view_parts: what views and scopes are made of. Private to policy/: for who searches them. */
#pragma once

#include "policy/view.h"

struct policy_view {
    atomic_uint refs;
    struct policy_set *set;     /* a reference: it holds the policies */
    const struct policy **list; /* as the set has them */
    size_t len;
};

struct policy_scope {
    struct policy_view *view; /* a reference */
    const struct policy **list;
    size_t len;
    bool monitors;                                /* one of them only tells */
    const struct policy *closed[POLICY_MODE_MAX]; /* the first with egress, of each mode */
};
