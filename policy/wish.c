/* How TLS with a destination must be. */
#include "policy/decide.h"

#include "policy/search.h"

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
    struct search_each each = {
        .scope = scope, .ask = &ask, .mode = POLICY_ENFORCE, .part = VIEW_ALLOW, .demands = true};
    const struct segment_grant *grant;

    *out = (struct policy_tls_wish){0};
    if (policy_scope_is_empty(scope))
        return;
    ask_init(&ask, POLICY_POINT_TLS, facts, facts->name);
    while ((grant = search_next(&each)))
        if (grant->to_ports && grant->to_ports->tls)
            add_wish(grant->policy, grant->to_ports->tls, out);
}
