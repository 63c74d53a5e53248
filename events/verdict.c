#include "events/verdict.h"

static const char *copy(struct flow_event *event, const char *text)
{
    return text && *text ? flow_event_text(event, span_of_text(text)) : NULL;
}

void flow_event_set_verdict(struct flow_event *event, enum policy_point point,
                            const struct policy_verdict *verdict)
{
    /* of a policy that only tells: what it would have done */
    bool acts = verdict->verdict == VERDICT_DENY || verdict->mode == POLICY_MONITOR;

    event->verdict = verdict->verdict;
    event->policy = copy(event, verdict->policy ? verdict->policy->id : NULL);
    event->rule = copy(event, verdict->place ? verdict->place->rule : NULL);
    if (event->kind != FLOW_EVENT_POLICY)
        return;
    event->decision.point = policy_point_name(point);
    event->decision.mode = policy_mode_name(verdict->mode);
    event->decision.action = acts ? policy_action_name(verdict->action) : NULL;
    event->decision.reason = copy(event, verdict->reason);
}
