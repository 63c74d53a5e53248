/* verdict_request: one request, by the newest policies. */
#include <stdio.h>
#include <string.h>

#include "events/verdict.h"
#include "proxy/flow/inspection.h"
#include "proxy/flow/verdict_own.h"
#include "proxy/wire/authority.h"
#include "proxy/wire/websocket.h"

static bool is_connect(const struct facts_request *request)
{
    return span_equal(request->method, BYTES("CONNECT")) && !request->upgrade.len;
}

static void decide(struct flow *flow, const struct facts_request *request, bool *bad,
                   struct policy_verdict *out)
{
    struct known known;

    *bad = false;
    known_flow(flow, &known);
    policy_decide_http(flow->verdicts.scope, &known.facts, request, bad, out);
}

/* The program may have asked for another name of the address since the flow began. */
static void decide_by_newer_names(struct flow *flow, const struct facts_request *request, bool *bad,
                                  struct policy_verdict *out)
{
    struct names_trusted before = flow->verdicts.names;

    flow->verdicts.names = (struct names_trusted){0};
    known_names(flow);
    decide(flow, request, bad, out);
    if (out->verdict == VERDICT_ALLOW) {
        names_trusted_fini(&before);
        return;
    }
    names_trusted_fini(&flow->verdicts.names);
    flow->verdicts.names = before;
}

/* A port that it says, and that is not the one spoken to, is as good as another name. */
static bool is_consistent(struct flow *flow, const struct facts_request *request)
{
    struct policy_verdict verdict;
    struct known known;
    char host[AUTHORITY_MAX];
    bool elsewhere = request->port && request->port != asked_port(flow);

    if (!request->host || is_connect(request))
        return true;
    known_flow(flow, &known);
    if (elsewhere)
        snprintf(host, sizeof(host), "%.255s:%u", request->host, request->port);
    policy_decide_consistency(flow->verdicts.scope, &known.facts, elsewhere ? host : request->host,
                              &verdict);
    return verdict_settle(flow, POLICY_POINT_HTTP, &verdict, request);
}

/* A plain proxy: what it is asked to lead to is judged before it is asked. */
static bool may_lead(struct flow *flow, const struct facts_request *request)
{
    struct policy_verdict verdict;
    struct known known;
    char host[AUTHORITY_HOST_MAX];

    tunnel_bare(request->host, host);
    known_led(flow, host, request->port, &known);
    known.facts.plain = false; /* nobody knows yet */
    policy_decide_connect(flow->verdicts.scope, &known.facts, &verdict);
    known_proxy(flow, &verdict);
    return verdict_settle(flow, POLICY_POINT_HTTP, &verdict, request);
}

/* What a request may lead to that is no HTTP, and that nobody will look at. */
static bool may_leave_http(struct flow *flow, const struct facts_request *request)
{
    bool extended = span_equal(request->method, BYTES("CONNECT")) && request->upgrade.len;

    if (is_connect(request) && request->host && tunnel_can_enter(flow) && !flow->relay.http2)
        return may_lead(flow, request);
    if (is_connect(request))
        return verdict_settle_unseen(flow, "what follows CONNECT inside another protocol", request);
    if (extended && !websocket_asked(request->upgrade))
        return verdict_settle_unseen(flow, "what follows an extended CONNECT", request);
    return true;
}

static bool judge_request(struct flow *flow, const struct facts_request *request, bool *bad)
{
    struct policy_verdict verdict;

    if (flow->verdicts.unknown)
        return verdict_settle_unknown(flow, POLICY_POINT_HTTP, request);
    decide(flow, request, bad, &verdict);
    if (verdict.verdict == VERDICT_DENY && !*bad && !flow->tunnel.host[0])
        decide_by_newer_names(flow, request, bad, &verdict);
    if (flow->tunnel.host[0] && !*bad)
        known_proxy(flow, &verdict);
    return verdict_settle(flow, POLICY_POINT_HTTP, &verdict, request) &&
           is_consistent(flow, request) && may_leave_http(flow, request) &&
           inspection_head(flow, request) != INSPECTED_STOP;
}

void verdict_request(struct flow *flow, const struct facts_request *request,
                     struct exchange_decision *decision)
{
    bool bad = false;

    verdict_renew(flow);
    if (!verdict_any(&flow->verdicts))
        return;
    if (judge_request(flow, request, &bad))
        return;
    decision->verdict = VERDICT_DENY;
    decision->reason = flow->verdicts.said;
    decision->code = flow->verdicts.over ? 0 : bad ? 400 : 403;
}

void verdict_onto(const struct flow *flow, struct flow_event *event)
{
    if (event && flow->verdicts.last.policy)
        flow_event_set_verdict(event, flow->verdicts.point, &flow->verdicts.last);
}
