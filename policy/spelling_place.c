/* spelling_place: which of the rules count at one place, and what else is said there: by the same
 * questions that the decisions at flows ask. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/search.h"
#include "policy/spelling_parts.h"

enum { OPEN, OPEN_TLS, PLACES_MAX = 65535 };

static bool is_in(const struct policy_scope *scope, const struct policy *policy)
{
    for (size_t i = 0; i < policy_scope_len(scope); i++)
        if (policy_scope_at(scope, i) == policy)
            return true;
    return false;
}

/* Whether egress lets every request pass there, whatever name it says. */
static bool is_open(const struct policy_scope *scope, const struct policy_facts *facts, bool plain)
{
    const struct policy_facts bare = {
        .protocol = facts->protocol, .dst = facts->dst, .plain = plain};
    struct search_each each = {
        .scope = scope, .mode = POLICY_ENFORCE, .part = VIEW_ALLOW, .demands = true};
    const struct segment_grant *grant;
    struct ask ask;

    if (!scope->closed[POLICY_ENFORCE])
        return true;
    ask_init(&ask, POLICY_POINT_HTTP, &bare, NULL);
    each.ask = &ask;
    while ((grant = search_next(&each)))
        if (!grant->to_ports || (!grant->to_ports->http_len && !grant->to_ports->dns_len))
            return true;
    return false;
}

static void add_number(struct spelling_place *place, const struct policy_spelling *spelling,
                       const struct spelling_grant *grant, int number)
{
    const struct spelling_rule *rule = spelling->rules + number;
    uint64_t bit;

    if (number == SPELLING_RULES || (rule->inexact && !grant->deny))
        return;
    bit = UINT64_C(1) << number;
    *(grant->deny ? &place->denies : &place->rules) |= bit;
    place->tls |= rule->tls ? bit : 0;
    place->named |= rule->by_name && !grant->deny ? bit : 0;
}

/* By its address, or by what that was resolved from. A name that is denied is so wherever it is
 * said: at which ports, nobody has asked about who is not led there. */
static void add_grant(struct spelling_place *place, const struct policy_spelling *spelling,
                      const struct spelling_grant *grant, const struct policy_facts *facts)
{
    const struct policy_facts bare = {.protocol = facts->protocol, .dst = facts->dst};
    struct ask by_address, by_name;
    bool ports;

    ask_init(&by_address, POLICY_POINT_HTTP, &bare, NULL);
    ask_init(&by_name, POLICY_POINT_HTTP, facts, NULL);
    ports = !grant->to_ports || ask_fits_ports(&by_address, grant->to_ports);
    if (ports && ask_fits_egress(grant->deny ? &by_name : &by_address, grant->egress, grant->deny))
        add_number(place, spelling, grant, grant->by_address);
    if (grant->by_name != SPELLING_RULES &&
        (grant->deny || (ports && ask_fits_egress(&by_name, grant->egress, false))))
        add_number(place, spelling, grant, grant->by_name);
}

/* What a request that no rule allows has to expect: as decide.c has it. What rules of egressDeny
 * want is left to the agent. */
static bool is_deadly(const struct policy_scope *scope, const struct policy_facts *facts)
{
    struct search_each each = {.scope = scope, .mode = POLICY_ENFORCE, .part = VIEW_ALLOW};
    const struct policy *policy = scope->closed[POLICY_ENFORCE];
    const struct segment_grant *near;
    struct ask ask;

    ask_init(&ask, POLICY_POINT_HTTP, facts, "\x01");
    each.ask = &ask;
    near = search_next(&each);
    if (near)
        policy = near->policy;
    return policy && policy->on_deny == POLICY_SIGKILL;
}

static uint32_t looks_into_bodies(const struct policy_scope *scope)
{
    uint32_t flags = 0;

    for (size_t i = 0; i < policy_scope_len(scope); i++) {
        const struct policy *policy = policy_scope_at(scope, i);

        for (size_t j = 0; j < policy->bodies_len; j++) {
            flags |= policy->bodies[j].direction & POLICY_REQUEST ? SPELLING_BODY_TX : 0u;
            flags |= policy->bodies[j].direction & POLICY_RESPONSE ? SPELLING_BODY_RX : 0u;
        }
        flags |= policy->tokens != POLICY_INSPECT_OFF ? SPELLING_BODY_TX : 0u;
    }
    return flags;
}

static void find_place(const struct policy_spelling *spelling, const struct policy_scope *scope,
                       const struct policy_facts *facts, struct spelling_place *place)
{
    struct policy_verdict verdict;
    enum policy_unseen what;

    place->flags = looks_into_bodies(scope);
    policy_decide_unseen(scope, facts, "", &what, &verdict);
    if (verdict.verdict == VERDICT_DENY)
        place->flags |= SPELLING_UNSEEN;
    for (size_t i = 0; i < spelling->grants_len; i++)
        if (is_in(scope, spelling->grants[i].policy))
            add_grant(place, spelling, &spelling->grants[i], facts);
    if (is_open(scope, facts, true))
        place->rules |= UINT64_C(1) << OPEN;
    else if (is_open(scope, facts, false))
        place->rules |= UINT64_C(1) << OPEN_TLS;
    place->tls |= place->rules & UINT64_C(1) << OPEN_TLS;
    if (place->rules & UINT64_C(1) << OPEN && !place->denies && !spelling->over) {
        place->rules = place->named = place->tls = 0;
        return;
    }
    place->flags |= SPELLING_JUDGED | (spelling->over ? SPELLING_AGENT : 0u);
    if (is_deadly(scope, facts))
        place->flags |= SPELLING_KILL;
}

int policy_spelling_at(struct policy_spelling *spelling, const struct policy_scope *scope,
                       const struct policy_facts *facts)
{
    struct spelling_place place = {0};
    size_t i = 0;

    if (facts->protocol != PROTOCOL_TCP || policy_scope_is_empty(scope))
        return 0;
    find_place(spelling, scope, facts, &place);
    if (!place.flags)
        return 0;
    while (i < spelling->places_len && memcmp(&spelling->places[i], &place, sizeof(place)) != 0)
        i++;
    if (i == PLACES_MAX)
        return -E2BIG;
    if (i == spelling->places_len) {
        struct spelling_place *more = realloc(spelling->places, (i + 1) * sizeof(*more));

        if (!more)
            return -ENOMEM;
        spelling->places = more;
        spelling->places[spelling->places_len++] = place;
    }
    return (int)i + 1;
}
