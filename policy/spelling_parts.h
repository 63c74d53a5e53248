/* spelling_parts: what the files of a spelling share. */
#pragma once

#include "policy/spelling.h"

struct spelling_grant { /* one rule of one entry of toPorts, or such an entry without */
    const struct policy *policy;
    const struct policy_egress *egress;
    const struct policy_to_ports *to_ports; /* NULL: all */
    bool deny;
    int by_address; /* number of its rule; SPELLING_RULES: it has none */
    int by_name;
};
struct spelling_lead { /* what an entry of egress leads to */
    const struct policy_egress *egress;
    uint64_t rules; /* by name */
};
