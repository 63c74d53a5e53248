/* explain: what would be decided, by which rule, and why every other one would not have.
 *
 * Pure. The verdict is decide.h's own; why a rule does not fit is found by the conditions that it
 * was decided by (ask.h).
 * Called by:  command/policy_explain.c. */
#pragma once

#include "policy/decide.h"

struct policy_case {         /* one thing to decide; what its point does not need stays empty */
    enum policy_point point; /* CONNECT, DNS, TLS, CERTIFICATE or HTTP */
    const struct policy_facts *facts;
    const struct policy_question *question;
    const struct policy_hello *hello;
    uint16_t version;
    const char *cipher;
    const struct facts_request *request;
};

/* text: the caller's; lines, the first of them the verdict. -ENOMEM. */
int policy_explain(const struct policy_scope *scope, const struct policy_case *what,
                   struct policy_verdict *verdict, char **text);
