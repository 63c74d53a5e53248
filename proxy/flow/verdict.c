#include "proxy/flow/verdict.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "policy/route.h"
#include "proxy/enforce/act.h"
#include "proxy/enforce/policies.h"
#include "proxy/flow/finding.h"
#include "proxy/flow/verdict_own.h"

/* ---- what is in force ---- */

/* Policies may be gone before their verdict is told: those of a body that began under older ones.
 */
static void keep(struct verdicts *verdicts, enum policy_point point,
                 const struct policy_verdict *verdict)
{
    CLEANUP(policy_unref) struct policy *before = TAKE(verdicts->held);

    if (verdict->policy)
        verdicts->held = policy_ref((struct policy *)verdict->policy);
    verdicts->last = *verdict;
    verdicts->point = point;
}

static void forget_last(struct verdicts *verdicts)
{
    verdicts->last = (struct policy_verdict){0};
    policy_unref(&verdicts->held);
}

static void forget(struct verdicts *verdicts)
{
    policy_scope_free(&verdicts->scope);
    policy_view_unref(&verdicts->view);
    verdicts->unknown = false;
    forget_last(verdicts);
}

static void look_up(struct flow *flow, struct policies *policies)
{
    struct verdicts *verdicts = &flow->verdicts;
    const struct pod *pod = flow->facts.who.pod;
    struct policy_view *view;

    verdicts->generation = policies_generation(policies); /* first: at worst it is asked again */
    view = policies_view(policies, pod ? pod->cgroup_id : 0);
    if (view == verdicts->view && !verdicts->unknown) {
        policy_view_unref(&view);
        return;
    }
    forget(verdicts);
    verdicts->view = view;
    if (!view || policy_view_is_empty(view))
        return;
    verdicts->scope = policy_scope_new(view, flow->facts.who.process);
    verdicts->unknown = !verdicts->scope;
    if (verdicts->scope && policy_scope_is_empty(verdicts->scope))
        policy_scope_free(&verdicts->scope);
}

void verdict_begin(struct flow *flow)
{
    if (flow->worker->parts.policies)
        look_up(flow, flow->worker->parts.policies);
}

void verdict_renew(struct flow *flow)
{
    struct policies *policies = flow->worker->parts.policies;

    if (policies &&
        (policies_generation(policies) != flow->verdicts.generation || flow->verdicts.unknown))
        look_up(flow, policies);
}

void verdict_end(struct flow *flow)
{
    forget(&flow->verdicts);
    names_trusted_fini(&flow->verdicts.names);
}

void verdict_next(struct flow *flow)
{
    forget_last(&flow->verdicts);
}

/* ---- what is done ---- */

static void say(struct verdicts *verdicts)
{
    const struct policy_verdict *last = &verdicts->last;

    if (last->policy)
        snprintf(verdicts->said, sizeof(verdicts->said), "denied by policy %.80s, %.80s: %s",
                 last->policy->id, last->place ? last->place->rule : "", last->reason);
    else
        snprintf(verdicts->said, sizeof(verdicts->said), "denied: %s", last->reason);
}

/* What has the last word on a flow or a request: what denies; then what tells; then who allows. */
static bool outweighs(const struct policy_verdict *fresh, const struct policy_verdict *last)
{
    static const int weights[VERDICT_MAX] = {
        [VERDICT_ALLOW] = 0, [VERDICT_ALERT] = 1, [VERDICT_DENY] = 2};
    int more = weights[fresh->verdict] - weights[last->verdict];

    return more > 0 || (more == 0 && fresh->policy);
}

/* Before anything goes on. What cannot be done is no reason to let it: the flow ends in any case.
 */
static void punish(const struct flow *flow, enum policy_action action)
{
    const struct facts_who *who = &flow->facts.who;
    struct act *act = flow->worker->parts.act;
    struct err err = {0};
    int result = 0;

    if (action == POLICY_SIGKILL)
        result = act_kill(who->process, &err);
    else if (action == POLICY_FREEZE && who->pod && act)
        result = act_freeze(act, who->pod->cgroup_id, &err);
    if (result < 0 && result != -ESRCH)
        log_warn("a policy's %s: %s", policy_action_name(action), err.text);
}

static void note(struct verdicts *verdicts, enum policy_point point,
                 const struct policy_verdict *verdict)
{
    if (outweighs(verdict, &verdicts->last))
        keep(verdicts, point, verdict);
}

/* Whether it goes on. */
static bool follow(struct flow *flow, const struct policy_verdict *verdict)
{
    if (verdict->verdict != VERDICT_DENY)
        return true;
    say(&flow->verdicts);
    if (verdict->action != POLICY_REJECT)
        flow->verdicts.over = true;
    punish(flow, verdict->action);
    return false;
}

/* What was told of the flow is true of all that follows: a monitoring policy that does not allow
 * where it goes says so again of its TLS, its certificate and each of its requests. */
static bool is_told(struct verdicts *verdicts, const struct policy_verdict *verdict,
                    const struct facts_request *request)
{
    const struct policy_verdict *told = &verdicts->told;

    if (verdict->verdict != VERDICT_ALERT)
        return false;
    if (told->verdict == VERDICT_ALERT && verdicts->told_generation == verdicts->generation &&
        told->policy == verdict->policy && told->place == verdict->place &&
        strcmp(told->reason, verdict->reason) == 0)
        return true;
    if (!request) {
        verdicts->told = *verdict;
        verdicts->told_generation = verdicts->generation;
    }
    return false;
}

/* On the kernel route nobody is answered, and what is judged here has gone, unless the kernel has
 * refused it: what is told is what is done, or would be. Who sent it can be killed or frozen all
 * the same. */
static struct policy_verdict as_done(const struct flow *flow, const struct policy_verdict *verdict,
                                     const struct facts_request *request)
{
    struct policy_verdict done = *verdict;
    size_t len = strlen(done.reason);
    bool denies = done.verdict == VERDICT_DENY;
    bool would = request && done.verdict == VERDICT_ALERT && done.mode == POLICY_MONITOR;

    if (flow->facts.route != ROUTE_KERNEL || (!denies && !would))
        return done;
    if (denies && flow->gone)
        snprintf(done.reason + len, sizeof(done.reason) - len, "; it had gone already");
    if (done.action != POLICY_REJECT && done.action != POLICY_RESET)
        return done;
    done.action = flow->held ? POLICY_RESET : POLICY_REJECT;
    if (flow->gone)
        done.verdict = VERDICT_ALERT;
    return done;
}

bool verdict_settle(struct flow *flow, enum policy_point point,
                    const struct policy_verdict *decided, const struct facts_request *request)
{
    const struct policy_verdict done = as_done(flow, decided, request), *verdict = &done;

    note(&flow->verdicts, point, verdict);
    if (verdict->verdict == VERDICT_ALLOW)
        return true;
    if (!is_told(&flow->verdicts, verdict, request))
        report_policy(flow, point, verdict, request);
    if (follow(flow, verdict))
        return true;
    if (!request)
        err_set(&flow->why, -EACCES, "%s", flow->verdicts.said);
    return false;
}

bool verdict_found(struct flow *flow, const struct finding *finding)
{
    struct finding told = *finding;

    told.verdict = as_done(flow, &finding->verdict, NULL);
    keep(&flow->verdicts, told.point, &told.verdict); /* the last may be another stream's */
    report_finding(flow, &told);
    return follow(flow, &told.verdict);
}

void verdict_unexplained(struct flow *flow, const char *why, const struct facts_request *request)
{
    struct policy_verdict refused = {
        .verdict = VERDICT_DENY,
        .mode = POLICY_ENFORCE,
        .action = POLICY_RESET,
    };

    snprintf(refused.reason, sizeof(refused.reason),
             "no rule denies it, but the kernel route could not decide it: %s", why);
    verdict_settle(flow, request ? POLICY_POINT_HTTP : POLICY_POINT_VISIBILITY, &refused, request);
}

bool verdict_needs_proxy(struct flow *flow)
{
    struct known known;

    if (!flow->verdicts.scope)
        return false;
    known_place(flow, &known);
    return policy_decide_route(flow->verdicts.scope, &known.facts) == POLICY_WAY_NEEDS_PROXY;
}

void verdict_blind(struct flow *flow)
{
    const struct facts_request none = {0};

    forget_last(&flow->verdicts);
    verdict_settle(flow, POLICY_POINT_BODY, &policy_unjudged, &none);
}

bool verdict_settle_unknown(struct flow *flow, enum policy_point point,
                            const struct facts_request *request)
{
    return !flow->verdicts.unknown || verdict_settle(flow, point, &policy_unjudged, request);
}

enum flow_state verdict_refused(struct flow *flow)
{
    bool waits = flow->version_max && !flow->pod.ssl;

    if (waits)
        report_tls(flow);
    if (waits && !flow->verdicts.over)
        open_refuse(flow, SSL_AD_ACCESS_DENIED);
    else
        flow->reset = true;
    return FLOW_CLOSING;
}

/* ---- the points at which a flow is judged ---- */

bool verdict_connect(struct flow *flow)
{
    struct policy_verdict verdict;
    struct known known;

    if (!verdict_any(&flow->verdicts))
        return true;
    if (flow->verdicts.unknown)
        return verdict_settle_unknown(flow, POLICY_POINT_CONNECT, NULL);
    known_place(flow, &known);
    policy_decide_connect(flow->verdicts.scope, &known.facts, &verdict);
    if (verdict.verdict == VERDICT_DENY)
        return verdict_settle(flow, POLICY_POINT_CONNECT, &verdict, NULL);
    keep(&flow->verdicts, POLICY_POINT_CONNECT,
         &verdict); /* told by the kernel, as far as it is to be told */
    return true;
}

bool verdict_hello(struct flow *flow)
{
    const char *sni = flow->facts.where.host;
    const struct policy_hello hello = {.server_name = sni[0] ? sni : NULL,
                                       .version_max = flow->version_max};
    struct policy_verdict verdict;
    struct known known;

    if (!verdict_any(&flow->verdicts))
        return true;
    if (flow->verdicts.unknown)
        return verdict_settle_unknown(flow, POLICY_POINT_TLS, NULL);
    known_place(flow, &known);
    policy_decide_hello(flow->verdicts.scope, &known.facts, &hello, &verdict);
    if (flow->tunnel.host[0])
        known_proxy(flow, &verdict);
    if (!verdict_settle(flow, POLICY_POINT_TLS, &verdict, NULL))
        return false;
    if (!flow->tunnel.host[0])
        known_flow(flow, &known);
    policy_decide_consistency(flow->verdicts.scope, &known.facts, hello.server_name, &verdict);
    return verdict_settle(flow, POLICY_POINT_TLS, &verdict, NULL);
}

bool verdict_session(struct flow *flow, uint16_t version, const char *cipher)
{
    struct policy_verdict verdict;
    struct known known;

    if (!verdict_any(&flow->verdicts))
        return true;
    known_flow(flow, &known);
    policy_decide_session(flow->verdicts.scope, &known.facts, version, cipher, &verdict);
    if (flow->tunnel.host[0])
        known_proxy(flow, &verdict);
    return verdict_settle(flow, POLICY_POINT_CERTIFICATE, &verdict, NULL);
}

/* What a rule says of TLS cannot be seen to. */
static bool deny_unkept(struct flow *flow, const struct policy_tls_wish *wish, const char *why)
{
    char reason[160];

    snprintf(reason, sizeof(reason), "its TLS cannot be held to what the rule wants: %s", why);
    return verdict_deny(flow, POLICY_POINT_TLS, wish->policy, NULL, reason);
}

bool verdict_settle_unseen(struct flow *flow, const char *why, const struct facts_request *request)
{
    struct policy_verdict verdict;
    struct policy_tls_wish wish;
    enum policy_unseen what;
    struct known known;

    if (request)
        verdict_renew(flow);
    if (!verdict_any(&flow->verdicts))
        return true;
    if (flow->verdicts.unknown)
        return verdict_settle_unknown(flow, POLICY_POINT_VISIBILITY, request);
    if (flow->version_max && !flow->pod.ssl && verdict_tls_wish(flow, &wish))
        return deny_unkept(flow, &wish, why);
    known_flow(flow, &known);
    policy_decide_unseen(flow->verdicts.scope, &known.facts, why, &what, &verdict);
    return verdict_settle(flow, POLICY_POINT_VISIBILITY, &verdict, request);
}

bool verdict_unseen(struct flow *flow, const char *why)
{
    return verdict_settle_unseen(flow, why, NULL);
}

bool verdict_unseen_opaque(struct flow *flow, enum opaque why)
{
    static const char *const phrases[OPAQUE_MAX] = {
        [OPAQUE_STARTTLS] = "it turns to TLS after words in the clear",
        [OPAQUE_SERVER_FIRST] = "the server spoke first",
        [OPAQUE_SILENT] = "the program said nothing, or not all of what it began",
        [OPAQUE_UNKNOWN] = "it is neither TLS nor HTTP",
        [OPAQUE_OTHER_PROTOCOL] = "it speaks another protocol than HTTP",
        [OPAQUE_OLD_TLS] = "its TLS is older than 1.2",
        [OPAQUE_NO_CIPHER] = "it shares no cipher suite with us",
        [OPAQUE_ODD_NAME] = "no certificate can be made for the name it asks for",
        [OPAQUE_OWN_TLS] = "its program encrypts it, and the kernel route cannot read that",
        [OPAQUE_LOST] = "bytes of it were lost, without which the rest cannot be read",
        [OPAQUE_CLIENT_CERT] = "the server demands a certificate of the program",
    };

    return verdict_unseen(flow, phrases[why] ? phrases[why] : "it cannot be read");
}

bool verdict_deny(struct flow *flow, enum policy_point point, const struct policy *policy,
                  const struct policy_place *place, const char *reason)
{
    struct policy_verdict verdict = {
        .verdict = VERDICT_DENY,
        .mode = POLICY_ENFORCE,
        .action = policy->on_deny,
        .policy = policy,
        .place = place,
    };

    snprintf(verdict.reason, sizeof(verdict.reason), "%s", reason);
    return verdict_settle(flow, point, &verdict, NULL);
}

bool verdict_untrusted(struct flow *flow, long result)
{
    bool unknown = verify_alert(result) == SSL_AD_UNKNOWN_CA;
    struct policy_tls_wish wish;
    char reason[192];

    if (!verdict_tls_wish(flow, &wish) || !wish.trust)
        return true;
    snprintf(reason, sizeof(reason), "the server's certificate was refused: %s",
             unknown ? "the rule's trustedCA does not vouch for it"
                     : verify_words(result, flow->bad_depth));
    return verdict_deny(flow, POLICY_POINT_CERTIFICATE, wish.policy, &wish.trust->place, reason);
}

bool verdict_tls_wish(struct flow *flow, struct policy_tls_wish *out)
{
    struct known known;

    if (!flow->verdicts.scope)
        return false;
    known_flow(flow, &known);
    policy_tls_wish(flow->verdicts.scope, &known.facts, out);
    return out->policy;
}

bool verdict_may_pass(struct flow *flow)
{
    struct policy_verdict verdict;
    struct policy_tls_wish wish;
    enum policy_unseen what;
    struct known known;

    if (!verdict_any(&flow->verdicts))
        return true;
    if (flow->verdicts.unknown)
        return false;
    if (verdict_tls_wish(flow, &wish))
        return false; /* they could not be kept */
    known_flow(flow, &known);
    policy_decide_unseen(flow->verdicts.scope, &known.facts, "", &what, &verdict);
    return verdict.verdict != VERDICT_DENY;
}

bool verdict_learns(struct flow *flow)
{
    const struct policy_scope *scope = flow->verdicts.scope;
    struct known known;

    if (!scope)
        return false;
    known_flow(flow, &known);
    if (policy_must_read(scope, &known.facts))
        return false;
    for (size_t i = 0; i < policy_scope_len(scope); i++) {
        const struct policy *policy = policy_scope_at(scope, i);

        if (policy->mode == POLICY_ENFORCE && policy->learn == POLICY_LEARN_PASSTHROUGH)
            return verdict_may_pass(flow);
    }
    return false;
}

bool verdict_passes(struct flow *flow)
{
    const struct pod *pod = flow->facts.who.pod;

    return policy_wants_passed(flow->verdicts.scope, pod && atomic_load(&pod->passes)) &&
           verdict_may_pass(flow);
}
