#include "policy/route.h"

#include "policy/search.h"

/* ---- what only the proxy can keep ---- */

/* Bodies, tokens and names that disagree are told by the kernel route, but too late to refuse. */
static bool inspects(const struct policy *policy)
{
    for (size_t i = 0; i < policy->bodies_len; i++)
        if (policy->bodies[i].action == VERDICT_DENY)
            return true;
    return policy->tokens == POLICY_INSPECT_DENY || policy->consistency == POLICY_INSPECT_DENY;
}

/* Whether a rule that fits wants something of TLS: the kernel hears of it when it is agreed. */
static bool wants_tls(const struct policy_scope *scope, const struct ask *ask, enum view_part part)
{
    struct search_each each = {.scope = scope, .ask = ask, .mode = POLICY_ENFORCE, .part = part};
    const struct segment_grant *grant;

    while ((grant = search_next(&each)))
        if (grant->to_ports && (grant->to_ports->tls || grant->to_ports->server_names_len))
            return true;
    return false;
}

/* Whether a name that is said in the ClientHello may change what holds: one that another rule is
 * about at the same address, or that is denied wherever it is. */
static bool denies_names(const struct policy *policy)
{
    for (size_t i = 0; i < policy->egress_deny_len; i++)
        if (policy->egress_deny[i].names_len)
            return true;
    return false;
}

static bool is_allowed_by_name(const struct policy_scope *scope, const struct ask *ask)
{
    struct policy_facts facts = *ask->facts;
    struct ask by_address = *ask;
    struct search_each each = {
        .scope = scope, .ask = ask, .mode = POLICY_ENFORCE, .part = VIEW_ALLOW};
    const struct segment_grant *grant;
    bool by_name = false;

    while (!by_name && (grant = search_next(&each)))
        by_name = grant->egress->names_len;
    if (!by_name)
        return false;
    by_address.facts = &facts;
    if (by_address.said)
        by_address.said = by_address.name;
    facts.resolved.len = 0;
    each = (struct search_each){
        .scope = scope, .ask = &by_address, .mode = POLICY_ENFORCE, .part = VIEW_ALLOW};
    return !search_next(&each);
}

static bool needs_proxy(const struct policy_scope *scope, const struct policy_facts *facts)
{
    struct ask ask;

    for (size_t i = 0; i < policy_scope_len(scope); i++) {
        const struct policy *policy = policy_scope_at(scope, i);

        if (policy->mode == POLICY_ENFORCE && (inspects(policy) || denies_names(policy)))
            return true;
    }
    ask_init(&ask, POLICY_POINT_VISIBILITY, facts, facts->name);
    return wants_tls(scope, &ask, VIEW_ALLOW) || wants_tls(scope, &ask, VIEW_DENY) ||
           is_allowed_by_name(scope, &ask);
}

/* ---- the decision ---- */

enum policy_way policy_decide_route(const struct policy_scope *scope,
                                    const struct policy_facts *facts)
{
    bool kernel = false;

    if (policy_scope_is_empty(scope))
        return POLICY_WAY_ANY;
    for (size_t i = 0; i < policy_scope_len(scope); i++) {
        const struct policy *policy = policy_scope_at(scope, i);

        if (policy->route == POLICY_ROUTE_PROXY || policy->route == POLICY_ROUTE_PASSTHROUGH)
            return POLICY_WAY_PROXY;
        kernel = kernel || policy->route == POLICY_ROUTE_KERNEL;
    }
    if (kernel)
        return POLICY_WAY_KERNEL;
    if (needs_proxy(scope, facts))
        return POLICY_WAY_NEEDS_PROXY;
    return policy_must_read(scope, facts) ? POLICY_WAY_SURE : POLICY_WAY_ANY;
}

bool policy_wants_passed(const struct policy_scope *scope, bool by_setting)
{
    bool passes = false;

    for (size_t i = 0; i < policy_scope_len(scope); i++) {
        const struct policy *policy = policy_scope_at(scope, i);

        if (policy->mode != POLICY_ENFORCE)
            continue;
        if (policy->route == POLICY_ROUTE_PROXY)
            return false;
        passes = passes || policy->route == POLICY_ROUTE_PASSTHROUGH;
        by_setting = by_setting && policy->route != POLICY_ROUTE_KERNEL;
    }
    return passes || by_setting;
}

/* ---- what is to be known of `route: kernel` ---- */

enum { WANTS_HTTP = 1 << 0, WANTS_NAMES = 1 << 1, WANTS_TLS = 1 << 2 };

static unsigned wants_of(const struct policy_egress *list, size_t len)
{
    unsigned wants = 0;

    for (size_t i = 0; i < len; i++) {
        wants |= list[i].names_len ? WANTS_NAMES : 0u;
        for (size_t j = 0; j < list[i].to_ports_len; j++) {
            const struct policy_to_ports *to = &list[i].to_ports[j];

            wants |= (to->http_len ? WANTS_HTTP : 0u) | (to->server_names_len ? WANTS_NAMES : 0u) |
                     (to->tls ? WANTS_TLS : 0u);
        }
    }
    return wants;
}

const char *policy_kernel_loss(const struct policy *policy, size_t i)
{
    unsigned wants = wants_of(policy->egress, policy->egress_len) |
                     wants_of(policy->egress_deny, policy->egress_deny_len);
    const struct {
        bool is;
        const char *text;
    } all[] = {
        {wants & WANTS_HTTP,
         "route: kernel with http rules: where the kernel's kTLS is read by the lsm back-end "
         "('sallyport probe'), a program with several threads can change a request after it was "
         "looked at, and none can send one by sendfile or splice; in plain text neither is so. Say "
         "route: auto to have such requests on the proxy"},
        {wants & WANTS_HTTP && policy->on_deny == POLICY_REJECT,
         "route: kernel cannot answer 403: a denied request fails with EACCES or EPERM"},
        {wants & WANTS_NAMES,
         "route: kernel sees the name in a ClientHello when that has left: what does not fit "
         "serverNames or toFQDNs is cut off only then"},
        {wants & WANTS_TLS,
         "route: kernel leaves TLS to the program: what tls says of trustedCA, clientCertificate, "
         "versions and ciphers is not kept"},
        {inspects(policy),
         "route: kernel tells what inspect finds in requests, when they have left: nothing is "
         "denied for it"},
    };

    if (policy->mode != POLICY_ENFORCE)
        return NULL;
    for (size_t j = 0; j < ARRAY_SIZE(all); j++)
        if (all[j].is && i-- == 0)
            return all[j].text;
    return NULL;
}

const char *policy_kernel_warning(const struct policy *policy, size_t i)
{
    return policy->route == POLICY_ROUTE_KERNEL ? policy_kernel_loss(policy, i) : NULL;
}

const char *policy_ktls_note(const struct policy *policy)
{
    return policy->ktls == POLICY_KTLS_PREFER
               ? "ktls: prefer is for what 'exec' starts; what others start keeps its OpenSSL "
                 "configuration"
               : NULL;
}
