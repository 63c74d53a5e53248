/* Rules that can be said, but do nothing together: who wrote them meant something else. */
#include "policy/compile_own.h"

#include <string.h>

enum { PAIRS_MAX = 100000 }; /* 30 ms */

/* ---- what a rule of egressDeny leaves of one of egress ---- */

static bool holds_cidr(const struct policy_egress *deny, const struct match_cidr *part)
{
    for (size_t i = 0; i < deny->cidrs_len; i++) {
        const struct policy_cidr *whole = &deny->cidrs[i];

        if (!whole->except_len && part->bits >= whole->cidr.bits &&
            match_cidr(&whole->cidr, &part->network))
            return true;
    }
    return false;
}

static bool is_everywhere(const struct policy_egress *egress)
{
    struct match_cidr v4, v6;

    return (!egress->names_len && !egress->cidrs_len) ||
           (match_cidr_parse("0.0.0.0/0", &v4) && match_cidr_parse("::/0", &v6) &&
            holds_cidr(egress, &v4) && holds_cidr(egress, &v6));
}

static bool holds_name(const struct policy_name *list, size_t len, const struct policy_name *name)
{
    for (size_t i = 0; i < len; i++)
        if (strcmp(list[i].text, name->text) == 0 || strcmp(list[i].text, "*") == 0 ||
            (name->exact && match_pattern(list[i].text, name->text)))
            return true;
    return false;
}

static bool same_places(const struct policy_egress *deny, const struct policy_egress *egress)
{
    if (is_everywhere(deny))
        return true;
    if (is_everywhere(egress))
        return false;
    for (size_t i = 0; i < egress->cidrs_len; i++)
        if (!holds_cidr(deny, &egress->cidrs[i].cidr))
            return false;
    for (size_t i = 0; i < egress->names_len; i++)
        if (!holds_name(deny->names, deny->names_len, &egress->names[i]))
            return false;
    return true;
}

static bool holds_port(const struct policy_to_ports *deny, const struct policy_port *port)
{
    for (size_t i = 0; i < deny->ports_len; i++)
        if (deny->ports[i].first <= port->first && deny->ports[i].last >= port->last &&
            (deny->ports[i].protocols & port->protocols) == port->protocols)
            return true;
    return deny->ports_len == 0;
}

/* port NULL: every port. */
static bool denies_port(const struct policy_egress *deny, const struct policy_port *port)
{
    static const struct policy_port every = {0, 65535, POLICY_TCP | POLICY_UDP};

    for (size_t i = 0; i < deny->to_ports_len; i++) {
        const struct policy_to_ports *to = &deny->to_ports[i];

        if (!to->http_len && !to->dns_len && !to->server_names_len &&
            holds_port(to, port ? port : &every))
            return true;
    }
    return deny->to_ports_len == 0;
}

static bool same_ports(const struct policy_egress *deny, const struct policy_egress *egress)
{
    if (!egress->to_ports_len)
        return denies_port(deny, NULL);
    for (size_t i = 0; i < egress->to_ports_len; i++) {
        const struct policy_to_ports *to = &egress->to_ports[i];

        for (size_t j = 0; j < to->ports_len; j++)
            if (!denies_port(deny, &to->ports[j]))
                return false;
        if (!to->ports_len && !denies_port(deny, NULL))
            return false;
    }
    return true;
}

/* A help for who writes rules by hand: where there are very many, none is compared. */
static void check_denied(struct compile *c, const struct policy *policy)
{
    if (policy->egress_len * policy->egress_deny_len > PAIRS_MAX)
        return;
    for (size_t i = 0; i < policy->egress_len; i++)
        for (size_t j = 0; j < policy->egress_deny_len; j++) {
            const struct policy_egress *egress = &policy->egress[i];
            const struct policy_egress *deny = &policy->egress_deny[j];

            if (egress->nowhere || deny->nowhere || !same_places(deny, egress) ||
                !same_ports(deny, egress))
                continue;
            faults_add(c->faults, egress->place.mark,
                       "nothing is left of this rule: egressDeny[%zu], line %u, denies all of it",
                       j, deny->place.mark.line);
            break;
        }
}

/* ---- a route that sees nothing ---- */

/* What a rule wants to see of the inside of TLS; NULL: nothing. */
static const struct policy_place *looks_inside(const struct policy_egress *list, size_t len)
{
    for (size_t i = 0; i < len; i++)
        for (size_t j = 0; j < list[i].to_ports_len; j++) {
            const struct policy_to_ports *to = &list[i].to_ports[j];

            if (to->http_len)
                return &to->http[0].place;
            if (to->tls)
                return &to->tls->place;
        }
    return NULL;
}

static void check_passthrough(struct compile *c, const struct policy *policy,
                              const struct node *route)
{
    const struct policy_place *wants[] = {
        looks_inside(policy->egress, policy->egress_len),
        looks_inside(policy->egress_deny, policy->egress_deny_len),
        policy->bodies_len ? &policy->bodies[0].place : NULL,
        policy->tokens != POLICY_INSPECT_OFF ? &policy->tokens_place : NULL,
        policy->consistency != POLICY_INSPECT_OFF ? &policy->consistency_place : NULL,
    };

    for (size_t i = 0; i < ARRAY_SIZE(wants); i++)
        if (wants[i] && wants[i]->rule)
            faults_add(c->faults, route->mark,
                       "route: passthrough leaves TLS closed, and %s, line %u, wants to see inside",
                       wants[i]->rule, wants[i]->mark.line);
    if (policy->on_no_visibility != POLICY_UNSEEN_DEFAULT &&
        policy->on_no_visibility != POLICY_UNSEEN_ALERT)
        faults_add(c->faults, route->mark,
                   "route: passthrough leaves TLS closed, and onNoVisibility would then strike at "
                   "every connection");
}

void compile_check(struct compile *c, const struct node *spec)
{
    check_denied(c, c->policy);
    if (c->policy->route == POLICY_ROUTE_PASSTHROUGH)
        check_passthrough(c, c->policy, compile_find(spec, "route"));
}

/* ---- one rule ---- */

static bool fits_names(const struct policy_egress *egress, const char *name)
{
    for (size_t i = 0; i < egress->names_len; i++)
        if (match_pattern(egress->names[i].text, name))
            return true;
    return false;
}

static bool is_exact_name(const struct node *node)
{
    return node->kind == NODE_TEXT && match_pattern_ok(node->text) && !strchr(node->text, '*');
}

/* The name that is said must fit toFQDNs, too. */
static void check_names(struct compile *c, const struct node *entry,
                        const struct policy_egress *egress)
{
    const struct node *names = compile_find(entry, "serverNames");

    for (const struct node *at = names ? names->first : NULL; at; at = at->next)
        if (is_exact_name(at) && !fits_names(egress, at->text))
            faults_add(
                c->faults, at->mark,
                "'%.100s' is no name of toFQDNs in this rule, so nothing is ever allowed by it",
                at->text);
}

void compile_check_rule(struct compile *c, const struct node *node,
                        const struct policy_egress *egress, bool deny)
{
    const struct node *to_ports = compile_find(node, "toPorts");

    for (const struct node *at = to_ports ? to_ports->first : NULL; at; at = at->next) {
        const struct node *tls = compile_find(at, "tls");

        if (deny && tls)
            faults_add(c->faults, tls->key_mark,
                       "tls says how what is allowed must be; egressDeny takes none");
        if (!deny && egress->names_len && !egress->cidrs_len)
            check_names(c, at, egress);
    }
}
