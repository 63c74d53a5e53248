#include "proxy/flow/verdict.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "events/verdict.h"
#include "proxy/enforce/policies.h"
#include "proxy/flow/steps.h"
#include "proxy/wire/authority.h"
#include "proxy/wire/websocket.h"

/* ---- what is in force ---- */

static void forget(struct verdicts *verdicts)
{
    policy_scope_free(&verdicts->scope);
    policy_view_unref(&verdicts->view);
    verdicts->unknown = false;
    verdicts->last = (struct policy_verdict){0};
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

/* The newest ones, for what comes from here on. */
static void renew(struct flow *flow)
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

/* ---- what is known ---- */

/* The facts, and what they point to. */
struct known {
    struct policy_facts facts;
    struct addr dst;
    char name[256], led[256];
    const char *led_to;
};

static void look_up_names(struct flow *flow)
{
    struct verdicts *verdicts = &flow->verdicts;
    const struct pod *pod = flow->facts.who.pod;

    names_trusted_fini(&verdicts->names);
    verdicts->named = true;
    if (pod)
        names_find_trusted(flow->worker->parts.names, pod->cgroup_id, &flow->facts.where.dst,
                           clock_ns(), &verdicts->names);
}

/* As policies have names: lower case, without a closing dot. */
static void spell(char out[256], const char *name)
{
    size_t len = 0;

    for (; name[len] && len < 255; len++)
        out[len] = (char)tolower((unsigned char)name[len]);
    if (len && out[len - 1] == '.')
        len--;
    out[len] = 0;
}

/* Where the socket leads to. */
static void know_socket(struct flow *flow, struct known *out)
{
    if (!flow->verdicts.named)
        look_up_names(flow);
    out->dst = flow->facts.where.dst;
    out->facts = (struct policy_facts){
        .protocol = PROTOCOL_TCP,
        .dst = &out->dst,
        .plain = flow->state > FLOW_MEETING && !flow->version_max,
        .resolved = flow->verdicts.names.names,
    };
}

/* Where a proxy is asked to lead to: an address; or a name that the proxy looks up, so that all to
 * be known of the place is that it is called so. */
static void know_led(struct flow *flow, const char *host, uint16_t port, struct known *out)
{
    struct match_cidr literal;

    know_socket(flow, out);
    out->facts.resolved = (struct policy_names){0};
    if (match_cidr_parse(host, &literal)) {
        out->dst = literal.network;
    } else {
        out->dst = (struct addr){.ip = {[10] = 0xff, [11] = 0xff}}; /* 0.0.0.0: somewhere */
        spell(out->led, host);
        out->led_to = out->led;
        out->facts.name = out->led;
        out->facts.resolved = (struct policy_names){&out->led_to, 1};
        out->facts.cannot_resolve = true;
    }
    out->dst.port = port;
}

static void know_place(struct flow *flow, struct known *out)
{
    if (flow->tunnel.host[0])
        know_led(flow, flow->tunnel.host, flow->tunnel.port, out);
    else
        know_socket(flow, out);
}

/* The same, and whom TLS is with. */
static void know(struct flow *flow, struct known *out)
{
    know_place(flow, out);
    if (!flow->facts.where.host[0])
        return;
    spell(out->name, flow->facts.where.host);
    out->facts.name = out->name;
}

/* A proxy of which nothing need be read may lead anywhere: whoever allows it without conditions
 * allows what goes through it, but for what is denied expressly. */
static void follow_proxy(struct flow *flow, struct policy_verdict *verdict)
{
    static const char expressly[] = "egressDeny";
    const struct policy_scope *scope = flow->verdicts.scope;
    struct policy_verdict of_proxy;
    enum policy_unseen what;
    struct known known;

    if (verdict->verdict != VERDICT_DENY ||
        strncmp(verdict->place->rule, expressly, sizeof(expressly) - 1) == 0)
        return;
    know_socket(flow, &known);
    policy_decide_unseen(scope, &known.facts, "", &what, &of_proxy);
    if (of_proxy.verdict != VERDICT_DENY)
        policy_decide_connect(scope, &known.facts, verdict);
}

/* ---- what is done ---- */

static const struct policy_verdict no_memory = {
    .verdict = VERDICT_DENY,
    .mode = POLICY_ENFORCE,
    .action = POLICY_RESET,
    .reason = "there is no memory to judge it by its policies",
};

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

/* Whether it goes on. */
static bool settle(struct flow *flow, enum policy_point point, const struct policy_verdict *verdict,
                   const struct facts_request *request)
{
    struct verdicts *verdicts = &flow->verdicts;

    if (outweighs(verdict, &verdicts->last)) {
        verdicts->last = *verdict;
        verdicts->point = point;
    }
    if (verdict->verdict == VERDICT_ALLOW)
        return true;
    report_policy(flow, point, verdict, request);
    if (verdict->verdict != VERDICT_DENY)
        return true;
    say(verdicts);
    if (verdict->action != POLICY_REJECT)
        verdicts->over = true;
    if (!request)
        err_set(&flow->why, -EACCES, "%s", verdicts->said);
    return false;
}

static bool settle_unknown(struct flow *flow, enum policy_point point,
                           const struct facts_request *request)
{
    return !flow->verdicts.unknown || settle(flow, point, &no_memory, request);
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
        return settle_unknown(flow, POLICY_POINT_CONNECT, NULL);
    know_socket(flow, &known);
    policy_decide_connect(flow->verdicts.scope, &known.facts, &verdict);
    if (verdict.verdict == VERDICT_DENY)
        return settle(flow, POLICY_POINT_CONNECT, &verdict, NULL);
    flow->verdicts.last = verdict; /* told by the kernel, as far as it is to be told */
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
        return settle_unknown(flow, POLICY_POINT_TLS, NULL);
    know_place(flow, &known);
    policy_decide_hello(flow->verdicts.scope, &known.facts, &hello, &verdict);
    if (flow->tunnel.host[0])
        follow_proxy(flow, &verdict);
    if (!settle(flow, POLICY_POINT_TLS, &verdict, NULL))
        return false;
    if (!flow->tunnel.host[0])
        know(flow, &known);
    policy_decide_consistency(flow->verdicts.scope, &known.facts, hello.server_name, &verdict);
    return settle(flow, POLICY_POINT_TLS, &verdict, NULL);
}

bool verdict_session(struct flow *flow)
{
    const SSL *ssl = flow->upstream.ssl;
    struct policy_verdict verdict;
    struct known known;

    if (!verdict_any(&flow->verdicts))
        return true;
    know(flow, &known);
    policy_decide_session(flow->verdicts.scope, &known.facts, (uint16_t)SSL_version(ssl),
                          SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl)), &verdict);
    if (flow->tunnel.host[0])
        follow_proxy(flow, &verdict);
    return settle(flow, POLICY_POINT_CERTIFICATE, &verdict, NULL);
}

/* What a rule says of TLS cannot be seen to. */
static bool deny_unkept(struct flow *flow, const struct policy_tls_wish *wish, const char *why)
{
    char reason[160];

    snprintf(reason, sizeof(reason), "its TLS cannot be held to what the rule wants: %s", why);
    return verdict_deny(flow, wish->policy, NULL, reason);
}

static bool unseen(struct flow *flow, const char *why, const struct facts_request *request)
{
    struct policy_verdict verdict;
    struct policy_tls_wish wish;
    enum policy_unseen what;
    struct known known;

    if (!verdict_any(&flow->verdicts))
        return true;
    if (flow->version_max && verdict_tls_wish(flow, &wish))
        return deny_unkept(flow, &wish, why);
    know(flow, &known);
    policy_decide_unseen(flow->verdicts.scope, &known.facts, why, &what, &verdict);
    return settle(flow, POLICY_POINT_VISIBILITY, &verdict, request);
}

bool verdict_unseen(struct flow *flow, const char *why)
{
    return unseen(flow, why, NULL);
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
        [OPAQUE_CLIENT_CERT] = "the server demands a certificate of the program",
    };

    return verdict_unseen(flow, phrases[why] ? phrases[why] : "it cannot be read");
}

bool verdict_deny(struct flow *flow, const struct policy *policy, const struct policy_place *place,
                  const char *reason)
{
    struct policy_verdict verdict = {
        .verdict = VERDICT_DENY,
        .mode = POLICY_ENFORCE,
        .action = policy->on_deny,
        .policy = policy,
        .place = place,
    };

    snprintf(verdict.reason, sizeof(verdict.reason), "%s", reason);
    return settle(flow, POLICY_POINT_TLS, &verdict, NULL);
}

bool verdict_tls_wish(struct flow *flow, struct policy_tls_wish *out)
{
    struct known known;

    if (!flow->verdicts.scope)
        return false;
    know(flow, &known);
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
    know(flow, &known);
    policy_decide_unseen(flow->verdicts.scope, &known.facts, "", &what, &verdict);
    return verdict.verdict != VERDICT_DENY;
}

bool verdict_passes(struct flow *flow)
{
    const struct policy_scope *scope = flow->verdicts.scope;
    bool passes = false;

    for (size_t i = 0; scope && i < policy_scope_len(scope); i++) {
        const struct policy *policy = policy_scope_at(scope, i);

        if (policy->mode != POLICY_ENFORCE)
            continue;
        if (policy->route == POLICY_ROUTE_PROXY)
            return false;
        passes = passes || policy->route == POLICY_ROUTE_PASSTHROUGH;
    }
    return passes && verdict_may_pass(flow);
}

/* ---- requests ---- */

static bool is_connect(const struct facts_request *request)
{
    return span_equal(request->method, BYTES("CONNECT")) && !request->upgrade.len;
}

static void decide(struct flow *flow, const struct facts_request *request, bool *bad,
                   struct policy_verdict *out)
{
    struct known known;

    *bad = false;
    know(flow, &known);
    policy_decide_http(flow->verdicts.scope, &known.facts, request, bad, out);
}

/* The program may have asked for another name of the address since the flow began. What held then
 * goes on to hold, for a connection may live longer than what the DNS said. */
static void decide_by_newer_names(struct flow *flow, const struct facts_request *request, bool *bad,
                                  struct policy_verdict *out)
{
    struct names_trusted before = flow->verdicts.names;

    flow->verdicts.names = (struct names_trusted){.memory = NULL};
    look_up_names(flow);
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
    know(flow, &known);
    if (elsewhere)
        snprintf(host, sizeof(host), "%.255s:%u", request->host, request->port);
    policy_decide_consistency(flow->verdicts.scope, &known.facts, elsewhere ? host : request->host,
                              &verdict);
    return settle(flow, POLICY_POINT_HTTP, &verdict, request);
}

/* A plain proxy: what it is asked to lead to is judged before it is asked. */
static bool may_lead(struct flow *flow, const struct facts_request *request)
{
    struct policy_verdict verdict;
    struct known known;
    char host[AUTHORITY_HOST_MAX];

    tunnel_bare(request->host, host);
    know_led(flow, host, request->port, &known);
    known.facts.plain = false; /* nobody knows yet */
    policy_decide_connect(flow->verdicts.scope, &known.facts, &verdict);
    follow_proxy(flow, &verdict);
    return settle(flow, POLICY_POINT_HTTP, &verdict, request);
}

/* What a request may lead to that is no HTTP, and that nobody will look at. */
static bool may_leave_http(struct flow *flow, const struct facts_request *request)
{
    bool extended = span_equal(request->method, BYTES("CONNECT")) && request->upgrade.len;

    if (is_connect(request) && request->host && tunnel_can_enter(flow) && !flow->relay.http2)
        return may_lead(flow, request);
    if (is_connect(request))
        return unseen(flow, "what follows CONNECT inside another protocol", request);
    if (extended && !websocket_asked(request->upgrade))
        return unseen(flow, "what follows an extended CONNECT", request);
    return true;
}

static bool judge_request(struct flow *flow, const struct facts_request *request, bool *bad)
{
    struct policy_verdict verdict;

    if (flow->verdicts.unknown)
        return settle_unknown(flow, POLICY_POINT_HTTP, request);
    decide(flow, request, bad, &verdict);
    if (verdict.verdict == VERDICT_DENY && !*bad && !flow->tunnel.host[0])
        decide_by_newer_names(flow, request, bad, &verdict);
    if (flow->tunnel.host[0] && !*bad)
        follow_proxy(flow, &verdict);
    return settle(flow, POLICY_POINT_HTTP, &verdict, request) && is_consistent(flow, request) &&
           may_leave_http(flow, request);
}

void verdict_request(struct flow *flow, const struct facts_request *request,
                     struct exchange_decision *decision)
{
    bool bad = false;

    renew(flow);
    if (!verdict_any(&flow->verdicts))
        return;
    flow->verdicts.last = (struct policy_verdict){0};
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
