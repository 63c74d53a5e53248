/* decide_parts: what the decisions at all points share. Private to policy/. */
#pragma once

#include "policy/search.h"

/* What it is about, in words: "203.0.113.9:22/TCP", "the name evil.example", "GET /admin". */
void decide_subject(const struct ask *ask, char *out, size_t size);

/* Asks the rules: those that enforce, and if these let it pass, those that only tell. found, where
 * not NULL: what the enforcing ones say. */
void decide_ask(const struct policy_scope *scope, const struct ask *ask, struct search *found,
                struct policy_verdict *out);
/* The graver of both: a denial, else what is told, else the first. */
const struct policy_verdict *decide_graver(const struct policy_verdict *a,
                                           const struct policy_verdict *b);

void decide_allow(struct policy_verdict *out);
/* Denied by a policy that enforces; told by one that monitors. The reason is the caller's. */
void decide_deny(const struct policy *policy, const struct policy_place *place,
                 struct policy_verdict *out);
