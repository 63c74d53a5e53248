#include "policy/decide.h"

#include "policy/decide_parts.h"
#include "policy/reason.h"

/* ---- what cannot be seen ---- */

static const struct {
    const char *words;
    int gravity;
    enum policy_action action;
} unseen[] = {
    [POLICY_UNSEEN_DEFAULT] = {"", 0, POLICY_REJECT},
    [POLICY_UNSEEN_ALERT] = {"told", 1, POLICY_REJECT},
    [POLICY_UNSEEN_STEER] = {"steered", 2, POLICY_RESET},
    [POLICY_UNSEEN_DROP] = {"dropped", 3, POLICY_RESET},
    [POLICY_UNSEEN_SIGKILL] = {"killed", 4, POLICY_SIGKILL},
    [POLICY_UNSEEN_FREEZE] = {"frozen", 5, POLICY_FREEZE},
};
_Static_assert(ARRAY_SIZE(unseen) == POLICY_UNSEEN_MAX, "weigh every word");

static bool is_read(const struct segment_grant *grant)
{
    const struct policy_to_ports *to_ports = grant->to_ports;

    return to_ports && (to_ports->http_len || to_ports->dns_len || to_ports->server_names_len);
}

/* Whether egress of one mode allows the flow whatever is in it: a rule fits it by its address, or
 * by the name it said. */
static bool is_opened(const struct policy_scope *scope, const struct ask *ask,
                      enum policy_mode mode)
{
    struct policy_facts facts = *ask->facts;
    struct ask by = *ask;
    struct search_each each = {
        .scope = scope, .ask = &by, .mode = mode, .part = VIEW_ALLOW, .demands = true};
    const struct segment_grant *grant;

    by.facts = &facts;
    if (by.said)
        by.said = by.name;
    facts.resolved.len = 0; /* who says no name could mean any of these */
    facts.name_server = false;
    while ((grant = search_next(&each)))
        if (!grant->to_ports || (!grant->to_ports->http_len && !grant->to_ports->dns_len))
            return true;
    return false;
}

/* ... but a name that was said is known: whether it is one of these, the ClientHello has decided.
 */
static bool is_read_beyond(const struct ask *ask, const struct segment_grant *grant)
{
    const struct policy_to_ports *to_ports = grant->to_ports;

    return is_read(grant) && (to_ports->http_len || to_ports->dns_len || !ask->server_name);
}

/* A rule that must read what is said to know whether it is allowed; silent: of policies that do not
 * say what to do where that cannot be. */
static void find_reader(const struct policy_scope *scope, const struct ask *ask,
                        enum policy_mode mode, enum view_part part, bool silent,
                        struct search_hit *by)
{
    struct search_each each = {.scope = scope, .ask = ask, .mode = mode, .part = part};
    const struct segment_grant *grant;

    while (!by->policy && (grant = search_next(&each)))
        if (is_read_beyond(ask, grant) &&
            (!silent || grant->policy->on_no_visibility == POLICY_UNSEEN_DEFAULT))
            *by = (struct search_hit){grant->policy,
                                      grant->http ? &grant->http->place : &grant->to_ports->place};
}

static const struct policy_place *inspect_reads(const struct policy *policy)
{
    for (size_t i = 0; i < policy->bodies_len; i++)
        if (policy->bodies[i].action == VERDICT_DENY)
            return &policy->bodies[i].place;
    if (policy->tokens == POLICY_INSPECT_DENY)
        return &policy->tokens_place;
    return policy->consistency == POLICY_INSPECT_DENY ? &policy->consistency_place : NULL;
}

/* What a policy says, whatever its rules. */
static enum policy_unseen unseen_by(const struct policy *policy, const struct policy_place **place)
{
    *place = &policy->place;
    if (policy->on_no_visibility != POLICY_UNSEEN_DEFAULT)
        return policy->on_no_visibility;
    if (!inspect_reads(policy))
        return POLICY_UNSEEN_ALERT;
    *place = inspect_reads(policy);
    return POLICY_UNSEEN_DROP;
}

/* Where rules look at what is said, silence must not pass for what they allow. */
static void find_any_reader(const struct policy_scope *scope, const struct ask *ask,
                            enum policy_mode mode, bool silent, struct search_hit *by)
{
    find_reader(scope, ask, mode, VIEW_DENY, silent, by);
    if (!by->policy && !is_opened(scope, ask, POLICY_ENFORCE) &&
        (mode == POLICY_ENFORCE || !is_opened(scope, ask, mode)))
        find_reader(scope, ask, mode, VIEW_ALLOW, silent, by);
}

static void gravest(const struct policy_scope *scope, const struct ask *ask, enum policy_mode mode,
                    enum policy_unseen *what, struct search_hit *by)
{
    struct search_hit reader = {0};

    *what = POLICY_UNSEEN_DEFAULT;
    for (size_t i = 0; i < scope->len; i++) {
        const struct policy_place *place;
        enum policy_unseen one = unseen_by(scope->list[i], &place);

        if (scope->list[i]->mode != mode || unseen[one].gravity <= unseen[*what].gravity)
            continue;
        *what = one;
        *by = (struct search_hit){scope->list[i], place};
    }
    if (*what == POLICY_UNSEEN_DEFAULT ||
        unseen[*what].gravity >= unseen[POLICY_UNSEEN_DROP].gravity)
        return;
    find_any_reader(scope, ask, mode, true, &reader);
    if (!reader.policy)
        return;
    *what = POLICY_UNSEEN_DROP;
    *by = reader;
}

void policy_decide_unseen(const struct policy_scope *scope, const struct policy_facts *facts,
                          const char *why, enum policy_unseen *what, struct policy_verdict *out)
{
    struct search_hit by = {0}, told_by = {0};
    enum policy_unseen told;
    struct ask ask;

    *what = POLICY_UNSEEN_ALERT;
    decide_allow(out);
    if (policy_scope_is_empty(scope))
        return;
    ask_init(&ask, POLICY_POINT_VISIBILITY, facts, facts->name);
    gravest(scope, &ask, POLICY_ENFORCE, what, &by);
    gravest(scope, &ask, POLICY_MONITOR, &told, &told_by);
    if (*what == POLICY_UNSEEN_DEFAULT)
        *what = POLICY_UNSEEN_ALERT;
    if (*what == POLICY_UNSEEN_ALERT && told_by.policy &&
        (!by.policy || unseen[told].gravity > unseen[*what].gravity))
        by = told_by;
    else
        told = *what;
    decide_deny(by.policy, by.place, out);
    if (*what == POLICY_UNSEEN_ALERT)
        out->verdict = VERDICT_ALERT;
    out->action = unseen[told].action;
    reason_add(out->reason, sizeof(out->reason), why);
}

/* Whether a rule allows it by the name in a ClientHello alone. */
static bool is_named(const struct policy_scope *scope, const struct ask *ask)
{
    struct search_each each = {
        .scope = scope, .ask = ask, .mode = POLICY_ENFORCE, .part = VIEW_ALLOW};
    const struct segment_grant *grant;

    while ((grant = search_next(&each)))
        if (grant->to_ports && grant->to_ports->server_names_len && !grant->to_ports->http_len &&
            !grant->to_ports->tls)
            return true;
    return false;
}

bool policy_hello_may_open(const struct policy_scope *scope, const struct policy_facts *facts)
{
    struct search_hit reader = {0};
    struct ask ask;

    for (size_t i = 0; i < policy_scope_len(scope); i++) {
        const struct policy *policy = policy_scope_at(scope, i);
        const struct policy_place *place;

        if (policy->mode == POLICY_ENFORCE &&
            unseen[unseen_by(policy, &place)].gravity >= unseen[POLICY_UNSEEN_DROP].gravity)
            return false;
    }
    ask_init(&ask, POLICY_POINT_VISIBILITY, facts, facts->name);
    ask.server_name = ""; /* some name, whichever */
    find_reader(scope, &ask, POLICY_ENFORCE, VIEW_DENY, true, &reader);
    return !reader.policy && (is_opened(scope, &ask, POLICY_ENFORCE) || is_named(scope, &ask));
}

bool policy_must_read(const struct policy_scope *scope, const struct policy_facts *facts)
{
    struct search_hit reader = {0};
    struct ask ask;

    for (size_t i = 0; i < policy_scope_len(scope); i++) {
        const struct policy *policy = policy_scope_at(scope, i);

        if (policy->bodies_len || policy->tokens != POLICY_INSPECT_OFF ||
            policy->consistency != POLICY_INSPECT_OFF)
            return true;
    }
    if (policy_scope_is_empty(scope))
        return false;
    ask_init(&ask, POLICY_POINT_VISIBILITY, facts, facts->name);
    find_any_reader(scope, &ask, POLICY_ENFORCE, false, &reader);
    return reader.policy;
}

/* ---- names that disagree ---- */

/* What the names say that does not fit together; NULL: they agree. */
static const char *disagreement(const struct policy_facts *facts, const char *host,
                                const char **name)
{
    char said[ASK_NAME_MAX];

    *name = facts->name;
    if (ask_other_name(facts->name, host))
        return " is not the authority ";
    if (facts->cannot_resolve)
        return NULL;
    *name = facts->name ? facts->name : host;
    if (!*name || ask_is_address(*name, facts->dst))
        return NULL;
    return ask_normal_name(*name, said) && ask_resolved(facts, said) ? NULL
                                                                     : " was not resolved to ";
}

void policy_decide_consistency(const struct policy_scope *scope, const struct policy_facts *facts,
                               const char *host, struct policy_verdict *out)
{
    const char *name, *how = disagreement(facts, host, &name);

    decide_allow(out);
    for (size_t i = 0; how && i < policy_scope_len(scope); i++) {
        const struct policy *policy = policy_scope_at(scope, i);
        struct policy_verdict one;

        if (policy->consistency == POLICY_INSPECT_OFF)
            continue;
        decide_deny(policy, &policy->consistency_place, &one);
        if (policy->consistency == POLICY_INSPECT_ALERT)
            one.verdict = VERDICT_ALERT;
        if (decide_graver(out, &one) == &one)
            *out = one;
    }
    if (out->verdict == VERDICT_ALLOW)
        return;
    reason_add(out->reason, sizeof(out->reason), "the name ");
    reason_add_foreign(out->reason, sizeof(out->reason), span_of_text(name), 60);
    reason_add(out->reason, sizeof(out->reason), how);
    if (name == facts->name && ask_other_name(facts->name, host))
        reason_add_foreign(out->reason, sizeof(out->reason), span_of_text(host), 60);
    else
        reason_add_ip(out->reason, sizeof(out->reason), facts->dst);
}
