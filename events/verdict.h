/* verdict: what a policy decided, into the event that tells of it. */
#pragma once

#include "events/flow_event.h"
#include "policy/decide.h"

/* Sets verdict, policy and rule of the event, and of FLOW_EVENT_POLICY also point, mode, action
 * and reason. What it was about (decision.host and so on) is the caller's to set. */
void flow_event_set_verdict(struct flow_event *event, enum policy_point point,
                            const struct policy_verdict *verdict);
