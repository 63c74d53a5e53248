#include "policy/search.h"

#include "policy/view_parts.h"

static void note(struct search_hit *hit, const struct policy *policy,
                 const struct policy_place *place)
{
    if (!hit->policy)
        *hit = (struct search_hit){policy, place};
}

static const struct policy_http *find_http(const struct ask *ask,
                                           const struct policy_to_ports *to_ports, struct span path)
{
    for (size_t i = 0; i < to_ports->http_len; i++)
        if (ask_fits_http(ask, &to_ports->http[i], path))
            return &to_ports->http[i];
    return NULL;
}

static const struct policy_dns *find_dns(const struct ask *ask,
                                         const struct policy_to_ports *to_ports)
{
    for (size_t i = 0; i < to_ports->dns_len; i++)
        if (ask_fits_dns(ask, &to_ports->dns[i]))
            return &to_ports->dns[i];
    return NULL;
}

static void note_rules(struct search *out, const struct policy *policy,
                       const struct policy_to_ports *to_ports)
{
    for (size_t i = 0; i < to_ports->http_len; i++) {
        const struct policy_http *http = &to_ports->http[i];

        note(&out->ruled, policy, &http->place);
        if (http->path)
            note(&out->pathed, policy, &http->place);
    }
}

/* ---- egressDeny ---- */

static void deny_ports(const struct ask *ask, const struct policy *policy,
                       const struct policy_to_ports *to_ports, struct search *out)
{
    if (!ask_fits_ports(ask, to_ports) || !ask_fits_demands(ask, to_ports, true))
        return;
    if (!to_ports->http_len && !to_ports->dns_len)
        note(&out->denied, policy, &to_ports->place);
    if (to_ports->dns_len && ask->point == POLICY_POINT_DNS) {
        const struct policy_dns *dns = find_dns(ask, to_ports);

        if (dns)
            note(&out->denied, policy, &dns->place);
    }
    if (to_ports->http_len && ask->point == POLICY_POINT_HTTP) {
        note_rules(out, policy, to_ports);
        for (size_t i = 0; i < ask->paths_len; i++) {
            const struct policy_http *http = find_http(ask, to_ports, ask->paths[i]);

            if (http)
                note(&out->denied, policy, &http->place);
        }
    }
}

static void search_deny(const struct ask *ask, const struct policy *policy, struct search *out)
{
    for (size_t i = 0; i < policy->egress_deny_len; i++) {
        const struct policy_egress *egress = &policy->egress_deny[i];

        if (!ask_fits_egress(ask, egress, true))
            continue;
        if (!egress->to_ports_len)
            note(&out->denied, policy, &egress->place);
        for (size_t j = 0; j < egress->to_ports_len; j++)
            deny_ports(ask, policy, &egress->to_ports[j], out);
    }
}

/* ---- egress ---- */

struct found {                 /* of egress, over all policies */
    struct search_hit open;    /* it passes whatever it says */
    struct search_hit fits[2]; /* a request's spellings; a question */
    struct search rules;       /* ruled and pathed */
};

/* Whether an entry with rules lets everything pass at this point: what they are about comes. */
static bool is_later(const struct ask *ask, const struct policy_to_ports *to_ports)
{
    if (ask->point == POLICY_POINT_HTTP || ask->point == POLICY_POINT_DNS)
        return !to_ports->http_len && !to_ports->dns_len;
    return true;
}

static void allow_ports(const struct ask *ask, const struct policy *policy,
                        const struct policy_to_ports *to_ports, struct search *out,
                        struct found *found)
{
    if (!ask_fits_ports(ask, to_ports))
        return;
    note(&out->near, policy, &to_ports->place);
    if (!ask_fits_demands(ask, to_ports, false))
        return;
    if (is_later(ask, to_ports)) {
        note(&found->open, policy, &to_ports->place);
    } else if (ask->point == POLICY_POINT_DNS) {
        const struct policy_dns *dns = find_dns(ask, to_ports);

        if (dns)
            note(&found->fits[0], policy, &dns->place);
    } else {
        note_rules(&found->rules, policy, to_ports);
        for (size_t i = 0; i < ask->paths_len; i++) {
            const struct policy_http *http = find_http(ask, to_ports, ask->paths[i]);

            if (http)
                note(&found->fits[i], policy, &http->place);
        }
    }
}

static void search_allow(const struct ask *ask, const struct policy *policy, struct search *out,
                         struct found *found)
{
    for (size_t i = 0; i < policy->egress_len; i++) {
        const struct policy_egress *egress = &policy->egress[i];

        if (!ask_fits_egress(ask, egress, false))
            continue;
        if (!egress->to_ports_len) {
            note(&out->near, policy, &egress->place);
            note(&found->open, policy, &egress->place);
        }
        for (size_t j = 0; j < egress->to_ports_len; j++)
            allow_ports(ask, policy, &egress->to_ports[j], out, found);
    }
}

static void conclude(const struct ask *ask, const struct found *found, struct search *out)
{
    if (found->open.policy) {
        out->allowed = found->open;
        return;
    }
    if (found->fits[0].policy && (ask->paths_len < 2 || found->fits[1].policy))
        out->allowed = found->fits[0];
    if (!out->ruled.policy)
        out->ruled = found->rules.ruled;
    if (!out->pathed.policy)
        out->pathed = found->rules.pathed;
}

void search(const struct policy_scope *scope, enum policy_mode mode, const struct ask *ask,
            struct search *out)
{
    struct found found = {0};

    *out = (struct search){0};
    for (size_t i = 0; i < scope->len; i++) {
        const struct policy *policy = scope->list[i];

        if (policy->mode != mode)
            continue;
        search_deny(ask, policy, out);
        search_allow(ask, policy, out, &found);
    }
    conclude(ask, &found, out);
}
