#include "policy/decide.h"

#include <stdio.h>

#include "policy/decide_parts.h"
#include "policy/reason.h"
#include "policy/view_parts.h"

enum { NAME_SHOWN = 80, PATH_SHOWN = 96, METHOD_SHOWN = 24 };

static const char *const point_names[] = {
    [POLICY_POINT_CONNECT] = "connect", [POLICY_POINT_DNS] = "dns",
    [POLICY_POINT_TLS] = "tls",         [POLICY_POINT_CERTIFICATE] = "certificate",
    [POLICY_POINT_HTTP] = "http",       [POLICY_POINT_BODY] = "body",
    [POLICY_POINT_TOKEN] = "token",     [POLICY_POINT_VISIBILITY] = "visibility",
};
_Static_assert(ARRAY_SIZE(point_names) == POLICY_POINT_MAX, "name every point");

const char *policy_point_name(enum policy_point point)
{
    return point_names[point];
}

/* ---- in words ---- */

static void add_address(const struct ask *ask, char *out, size_t size)
{
    char address[ADDR_TEXT_MAX], port[8];

    if (reason_is_known(ask->facts->dst)) {
        reason_add(out, size, addr_format(ask->facts->dst, address));
    } else {
        snprintf(port, sizeof(port), "%u", ask->facts->dst->port);
        reason_add(out, size, "an unknown address at port ");
        reason_add(out, size, port);
    }
    reason_add(out, size, "/");
    reason_add(out, size, protocol_name(ask->facts->protocol));
}

static void add_name(const char *name, char *out, size_t size)
{
    reason_add(out, size, "the name ");
    reason_add_foreign(out, size, span_of_text(name), NAME_SHOWN);
}

/* An address in a name's place is no name. */
static void add_said(const struct ask *ask, char *out, size_t size)
{
    struct addr literal;

    if (ask_is_address(ask->said, ask->facts->dst)) {
        add_address(ask, out, size);
    } else if (ask_literal(ask->said, &literal)) {
        reason_add(out, size, "the address ");
        reason_add_ip(out, size, &literal);
    } else {
        add_name(ask->said, out, size);
    }
}

static const char *version_name(uint16_t version)
{
    switch (version) {
    case 0x0301:
        return "TLS 1.0";
    case 0x0302:
        return "TLS 1.1";
    case 0x0303:
        return "TLS 1.2";
    case 0x0304:
        return "TLS 1.3";
    default:
        return "this version of TLS";
    }
}

void decide_subject(const struct ask *ask, char *out, size_t size)
{
    out[0] = 0;
    if (ask->request) {
        reason_add_foreign(out, size, ask->request->method, METHOD_SHOWN);
        reason_add(out, size, " ");
        reason_add_foreign(out, size, ask->request->path, PATH_SHOWN);
    } else if (ask->question) {
        add_name(ask->question->name, out, size);
        reason_add(out, size, ", type ");
        reason_add(out, size, ask->question->type_name ? ask->question->type_name : "unknown");
    } else if (ask->version) {
        reason_add(out, size, version_name(ask->version));
        if (ask->cipher) {
            reason_add(out, size, " with ");
            reason_add_foreign(out, size, span_of_text(ask->cipher), NAME_SHOWN);
        }
    } else if (ask->said) {
        add_said(ask, out, size);
    } else if (ask->point == POLICY_POINT_TLS) {
        reason_add(out, size,
                   ask->facts->plain ? "what is said in the clear to " : "TLS without a name to ");
        add_address(ask, out, size);
    } else {
        add_address(ask, out, size);
    }
}

/* Why no rule lets it pass: of what fits no rule by where it goes, that is what is said. */
static void why_closed(const struct ask *ask, const struct search *found, char *out, size_t size)
{
    char subject[sizeof(((struct policy_verdict *)0)->reason)] = "";
    struct addr literal;

    if (found->near.policy || (ask->question && ask_for_name_server(ask)))
        decide_subject(ask, subject, sizeof(subject));
    else if (ask->said)
        add_said(ask, subject, sizeof(subject));
    else
        add_address(ask, subject, sizeof(subject));
    out[0] = 0;
    reason_add(out, size, "no rule allows ");
    if (ask->question && !found->near.policy && !ask_for_name_server(ask))
        reason_add(out, size, "questions to "); /* whatever is asked there */
    reason_add(out, size, subject);
    if (!found->near.policy && ask->said && !ask->said_resolved &&
        !ask_is_address(ask->said, ask->facts->dst)) {
        reason_add(out, size,
                   ask_literal(ask->said, &literal) ? ", said to "
                                                    : ", which was not resolved to ");
        reason_add_ip(out, size, ask->facts->dst);
    }
}

static void why_denied(const struct ask *ask, char *out, size_t size)
{
    char subject[sizeof(((struct policy_verdict *)0)->reason)];

    decide_subject(ask, subject, sizeof(subject));
    out[0] = 0;
    reason_add(out, size, "a rule denies ");
    reason_add(out, size, subject);
}

/* ---- verdicts ---- */

const struct policy_verdict policy_unjudged = {
    .verdict = VERDICT_DENY,
    .mode = POLICY_ENFORCE,
    .action = POLICY_RESET,
    .reason = "there is no memory to judge it by its policies",
};

void decide_allow(struct policy_verdict *out)
{
    *out = (struct policy_verdict){.verdict = VERDICT_ALLOW};
}

void decide_deny(const struct policy *policy, const struct policy_place *place,
                 struct policy_verdict *out)
{
    *out = (struct policy_verdict){
        .verdict = policy->mode == POLICY_MONITOR ? VERDICT_ALERT : VERDICT_DENY,
        .mode = policy->mode,
        .action = policy->on_deny,
        .policy = policy,
        .place = place,
    };
}

const struct policy_verdict *decide_graver(const struct policy_verdict *a,
                                           const struct policy_verdict *b)
{
    static const int gravity[] = {
        [VERDICT_ALLOW] = 0,
        [VERDICT_ALERT] = 1,
        [VERDICT_DENY] = 2,
    };
    _Static_assert(ARRAY_SIZE(gravity) == VERDICT_MAX, "weigh every verdict");

    return gravity[b->verdict] > gravity[a->verdict] ? b : a;
}

/* Whether the rules of one mode, by themselves, let it pass; else *out says why not. */
static bool passes(const struct ask *ask, const struct search *found, const struct policy *closed,
                   struct policy_verdict *out)
{
    if (found->denied.policy) {
        decide_deny(found->denied.policy, found->denied.place, out);
        why_denied(ask, out->reason, sizeof(out->reason));
        return false;
    }
    if (!closed || found->allowed.policy)
        return true;
    if (found->near.policy)
        decide_deny(found->near.policy, found->near.place, out);
    else
        decide_deny(closed, &closed->place, out);
    why_closed(ask, found, out->reason, sizeof(out->reason));
    return false;
}

static void say_allowed(const struct search_hit *by, struct policy_verdict *out)
{
    decide_allow(out);
    if (by->policy) {
        out->mode = by->policy->mode;
        out->policy = by->policy;
        out->place = by->place;
    }
}

void decide_ask(const struct policy_scope *scope, const struct ask *ask, struct search *found,
                struct policy_verdict *out)
{
    const struct policy *closed = scope->closed[POLICY_ENFORCE];
    struct search enforced, told;

    search(scope, POLICY_ENFORCE, ask, &enforced);
    if (found)
        *found = enforced;
    if (!passes(ask, &enforced, closed, out))
        return;
    say_allowed(&enforced.allowed, out);
    if (!scope->monitors)
        return;
    /* What an enforcing rule allows, all together allow, but for what a monitoring one denies. */
    search(scope, POLICY_MONITOR, ask, &told);
    if (passes(ask, &told, enforced.allowed.policy ? NULL : scope->closed[POLICY_MONITOR], out) &&
        !enforced.allowed.policy)
        say_allowed(&told.allowed, out);
}

/* ---- at each point ---- */

void policy_decide_connect(const struct policy_scope *scope, const struct policy_facts *facts,
                           struct policy_verdict *out)
{
    struct ask ask;

    if (policy_scope_is_empty(scope)) {
        decide_allow(out);
        return;
    }
    ask_init(&ask, POLICY_POINT_CONNECT, facts, facts->name);
    decide_ask(scope, &ask, NULL, out);
}

void policy_decide_dns(const struct policy_scope *scope, const struct policy_facts *facts,
                       const struct policy_question *question, struct policy_verdict *out)
{
    struct ask ask;

    if (policy_scope_is_empty(scope)) {
        decide_allow(out);
        return;
    }
    ask_init_dns(&ask, facts, question);
    decide_ask(scope, &ask, NULL, out);
}

void policy_decide_hello(const struct policy_scope *scope, const struct policy_facts *facts,
                         const struct policy_hello *hello, struct policy_verdict *out)
{
    struct policy_verdict led = {0};
    struct ask ask;

    if (policy_scope_is_empty(scope)) {
        decide_allow(out);
        return;
    }
    ask_init_hello(&ask, facts, hello);
    decide_ask(scope, &ask, NULL, out);
    if (!ask_other_name(facts->name, hello->server_name))
        return;
    /* whom a tunnel leads to was said, too, and must be allowed by itself */
    ask_init(&ask, POLICY_POINT_CONNECT, facts, facts->name);
    decide_ask(scope, &ask, NULL, &led);
    if (decide_graver(out, &led) == &led)
        *out = led;
}

void policy_decide_session(const struct policy_scope *scope, const struct policy_facts *facts,
                           uint16_t version, const char *cipher, struct policy_verdict *out)
{
    struct ask ask;

    if (policy_scope_is_empty(scope)) {
        decide_allow(out);
        return;
    }
    ask_init(&ask, POLICY_POINT_CERTIFICATE, facts, facts->name);
    ask.version = version;
    ask.cipher = cipher;
    decide_ask(scope, &ask, NULL, out);
}
