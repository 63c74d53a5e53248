#include "policy/decide.h"

#include "policy/decide_parts.h"
#include "policy/reason.h"
#include "policy/view_parts.h"

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

/* Whether a rule fits the flow whatever it says: by address, or by the name it said. */
static bool is_open(const struct ask *ask, const struct policy_egress *egress)
{
    if (!ask_fits_cidrs(ask, egress) && !(ask->said && ask_fits_egress(ask, egress, false)))
        return false;
    for (size_t i = 0; i < egress->to_ports_len; i++) {
        const struct policy_to_ports *to_ports = &egress->to_ports[i];

        if (ask_fits_ports(ask, to_ports) && ask_fits_demands(ask, to_ports, false) &&
            !to_ports->http_len && !to_ports->dns_len)
            return true;
    }
    return !egress->to_ports_len;
}

/* What must be read to know whether it is allowed; NULL: nothing. */
static const struct policy_place *read_by(const struct ask *ask, const struct policy_egress *egress,
                                          bool deny)
{
    if (!ask_fits_egress(ask, egress, deny))
        return NULL;
    for (size_t i = 0; i < egress->to_ports_len; i++) {
        const struct policy_to_ports *to_ports = &egress->to_ports[i];

        if (ask_fits_ports(ask, to_ports) &&
            (to_ports->http_len || to_ports->dns_len || to_ports->server_names_len))
            return to_ports->http_len ? &to_ports->http[0].place : &to_ports->place;
    }
    return NULL;
}

/* Where rules look at what is said, silence must not pass for what they allow. */
static const struct policy_place *rules_read(const struct ask *ask, const struct policy *policy,
                                             bool opened)
{
    const struct policy_place *place = NULL;

    for (size_t i = 0; i < policy->egress_deny_len && !place; i++)
        place = read_by(ask, &policy->egress_deny[i], true);
    for (size_t i = 0; i < policy->egress_len && !place && !opened; i++)
        place = read_by(ask, &policy->egress[i], false);
    return place;
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

static enum policy_unseen unseen_by(const struct ask *ask, const struct policy *policy, bool opened,
                                    const struct policy_place **place)
{
    *place = &policy->place;
    if (policy->on_no_visibility != POLICY_UNSEEN_DEFAULT)
        return policy->on_no_visibility;
    if (!(*place = rules_read(ask, policy, opened)) && !(*place = inspect_reads(policy))) {
        *place = &policy->place;
        return POLICY_UNSEEN_ALERT;
    }
    return POLICY_UNSEEN_DROP;
}

static bool opened_by(const struct ask *ask, const struct policy_scope *scope,
                      enum policy_mode mode)
{
    for (size_t i = 0; i < scope->len; i++) {
        const struct policy *policy = scope->list[i];

        for (size_t j = 0; policy->mode <= mode && j < policy->egress_len; j++)
            if (is_open(ask, &policy->egress[j]))
                return true;
    }
    return false;
}

static void gravest(const struct ask *ask, const struct policy_scope *scope, enum policy_mode mode,
                    enum policy_unseen *what, struct search_hit *by)
{
    bool opened = opened_by(ask, scope, mode);

    *what = POLICY_UNSEEN_DEFAULT;
    for (size_t i = 0; i < scope->len; i++) {
        const struct policy *policy = scope->list[i];
        const struct policy_place *place;
        enum policy_unseen one;

        if (policy->mode != mode)
            continue;
        one = unseen_by(ask, policy, opened, &place);
        if (unseen[one].gravity > unseen[*what].gravity) {
            *what = one;
            *by = (struct search_hit){policy, place};
        }
    }
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
    gravest(&ask, scope, POLICY_ENFORCE, what, &by);
    gravest(&ask, scope, POLICY_MONITOR, &told, &told_by);
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
    char address[ADDR_TEXT_MAX];

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
        reason_add(out->reason, sizeof(out->reason), addr_format_ip(facts->dst, address));
}

/* ---- how TLS must be ---- */

static void add_wish(const struct policy *policy, const struct policy_tls *tls,
                     struct policy_tls_wish *out)
{
    bool new = false;

    if (tls->version_min > out->version_min) {
        out->version_min = tls->version_min;
        new = true;
    }
    if (tls->version_max && (!out->version_max || tls->version_max < out->version_max)) {
        out->version_max = tls->version_max;
        new = true;
    }
    if (tls->ciphers_len && !out->ciphers) {
        out->ciphers = tls;
        new = true;
    }
    if (tls->trusted_ca && !out->trust) {
        out->trust = tls;
        new = true;
    }
    if (tls->client_certificate && !out->client) {
        out->client = tls;
        new = true;
    }
    if (new && !out->policy)
        out->policy = policy;
}

void policy_tls_wish(const struct policy_scope *scope, const struct policy_facts *facts,
                     struct policy_tls_wish *out)
{
    struct ask ask;

    *out = (struct policy_tls_wish){0};
    ask_init(&ask, POLICY_POINT_TLS, facts, facts->name);
    for (size_t i = 0; i < policy_scope_len(scope); i++) {
        const struct policy *policy = policy_scope_at(scope, i);

        for (size_t j = 0; policy->mode == POLICY_ENFORCE && j < policy->egress_len; j++) {
            const struct policy_egress *egress = &policy->egress[j];

            if (!ask_fits_egress(&ask, egress, false))
                continue;
            for (size_t k = 0; k < egress->to_ports_len; k++) {
                const struct policy_to_ports *to_ports = &egress->to_ports[k];

                if (to_ports->tls && ask_fits_ports(&ask, to_ports) &&
                    ask_fits_demands(&ask, to_ports, false))
                    add_wish(policy, to_ports->tls, out);
            }
        }
    }
}
