/* explain_why: of one rule, or a part of one, the first thing that does not fit, in words. Private
 * to policy/: for explain.c.
 *
 * Each is true exactly where the conditions of ask.h hold; else why says what does not. */
#pragma once

#include "policy/ask.h"

enum { EXPLAIN_WHY = 400 };

bool explain_egress(const struct ask *ask, const struct policy_egress *egress, bool deny,
                    char why[EXPLAIN_WHY]);
bool explain_entry(const struct ask *ask, const struct policy_to_ports *to_ports, bool deny,
                   char why[EXPLAIN_WHY]);
/* path: which spelling. */
bool explain_http(const struct ask *ask, const struct policy_http *http, size_t path,
                  char why[EXPLAIN_WHY]);
bool explain_dns(const struct ask *ask, const struct policy_dns *dns, char why[EXPLAIN_WHY]);
