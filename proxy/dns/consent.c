#include "proxy/dns/consent.h"

#include <string.h>

#include "base/clock.h"
#include "proxy/dns/names.h"
#include "proxy/enforce/policies.h"

enum { V4_BITS = 96 }; /* in front of those of an IPv4 address */

/* ---- what is in force ---- */

void consent_fini(struct consent *consent)
{
    policy_scope_free(&consent->scope);
    policy_view_unref(&consent->view);
    *consent = (struct consent){0};
}

/* False: nothing of a policy is for this exchange. */
static bool look_up(struct consent *consent, const struct consent_parties *parties)
{
    const struct pod *pod = parties->pod;
    uint64_t generation;

    if (!parties->policies)
        return false;
    generation = policies_generation(parties->policies); /* first: at worst it is asked again */
    if (consent->view && !consent->unknown && consent->generation == generation)
        return consent->scope;
    consent_fini(consent);
    consent->generation = generation;
    consent->view = policies_view(parties->policies, pod ? pod->cgroup_id : 0);
    if (!consent->view || policy_view_is_empty(consent->view))
        return false;
    consent->scope = policy_scope_new(consent->view, parties->process);
    consent->unknown = !consent->scope;
    if (consent->scope && policy_scope_is_empty(consent->scope))
        policy_scope_free(&consent->scope);
    return consent->scope || consent->unknown;
}

static bool is_own(const struct consent_parties *parties)
{
    return parties->pod && names_serves(parties->names, parties->pod->cgroup_id, parties->server);
}

static struct policy_facts know(const struct consent_parties *parties, struct names_trusted *names)
{
    *names = (struct names_trusted){.memory = NULL};
    if (parties->pod)
        names_find_trusted(parties->names, parties->pod->cgroup_id, parties->server, clock_ns(),
                           names);
    return (struct policy_facts){
        .protocol = parties->protocol,
        .dst = parties->server,
        .resolved = names->names,
        .name = parties->server_name,
        .name_server = is_own(parties),
        .plain = !parties->tls,
    };
}

/* ---- questions ---- */

/* As rules have names: without the closing dot. */
static const char *spell(const char *name, char out[DNS_NAME_TEXT_MAX])
{
    size_t len = strlen(name);

    memcpy(out, name, len + 1);
    if (len > 1 && out[len - 1] == '.')
        out[len - 1] = 0;
    return out;
}

/* What rules about names and types can say something of. */
static bool is_readable(const struct dns *question)
{
    enum { OPCODE_QUERY = 0 };

    return question->opcode == OPCODE_QUERY && question->questions == 1;
}

void consent_ask(struct consent *consent, const struct consent_parties *parties,
                 const struct dns *question, enum policy_point *point, struct policy_verdict *out)
{
    CLEANUP(names_trusted_fini) struct names_trusted names = {.memory = NULL};
    char name[DNS_NAME_TEXT_MAX], type[DNS_TYPE_TEXT_MAX];
    struct policy_question asked;
    struct policy_facts facts;

    if (!is_readable(question)) {
        consent_ask_unseen(consent, parties, "it is no question with one name", point, out);
        return;
    }
    *point = POLICY_POINT_DNS;
    *out = (struct policy_verdict){.verdict = VERDICT_ALLOW};
    if (!look_up(consent, parties))
        return;
    if (consent->unknown) {
        *out = policy_unjudged;
        return;
    }
    facts = know(parties, &names);
    asked = (struct policy_question){
        .name = spell(question->name, name),
        .type = question->type,
        .type_name = dns_type_text(question->type, type),
        .configured = facts.name_server,
    };
    policy_decide_dns(consent->scope, &facts, &asked, out);
}

void consent_ask_unseen(struct consent *consent, const struct consent_parties *parties,
                        const char *why, enum policy_point *point, struct policy_verdict *out)
{
    CLEANUP(names_trusted_fini) struct names_trusted names = {.memory = NULL};
    struct policy_facts facts;
    enum policy_unseen what;

    *point = POLICY_POINT_CONNECT;
    *out = (struct policy_verdict){.verdict = VERDICT_ALLOW};
    if (!look_up(consent, parties))
        return;
    if (consent->unknown) {
        *out = policy_unjudged;
        return;
    }
    facts = know(parties, &names);
    policy_decide_connect(consent->scope, &facts, out);
    if (out->verdict == VERDICT_DENY)
        return;
    *point = POLICY_POINT_VISIBILITY;
    policy_decide_unseen(consent->scope, &facts, why, &what, out);
}

/* ---- answers ---- */

static bool is_everywhere(const struct match_cidr *cidr)
{
    return cidr->bits == 0 || (cidr->bits == V4_BITS && addr_is_v4(&cidr->network));
}

static bool lists_address(const struct policy_egress *egress, const struct addr *server)
{
    for (size_t i = 0; i < egress->cidrs_len; i++) {
        const struct policy_cidr *one = &egress->cidrs[i];
        bool listed = !is_everywhere(&one->cidr) && match_cidr(&one->cidr, server);

        for (size_t j = 0; listed && j < one->except_len; j++)
            listed = !match_cidr(&one->except[j], server);
        if (listed)
            return true;
    }
    return false;
}

static bool lists_port(const struct policy_egress *egress, uint16_t port, enum protocol protocol)
{
    uint8_t bit = protocol == PROTOCOL_UDP ? POLICY_UDP : POLICY_TCP;

    for (size_t i = 0; i < egress->to_ports_len; i++) {
        const struct policy_to_ports *to_ports = &egress->to_ports[i];

        for (size_t j = 0; j < to_ports->ports_len; j++)
            if (to_ports->ports[j].first == port && to_ports->ports[j].last == port &&
                (to_ports->ports[j].protocols & bit))
                return true;
    }
    return false;
}

/* Whether a policy that is for the process lists this server by its address, and its port by
 * number. A policy that only monitors has a say where none enforces. A list of all addresses lists
 * none. */
static bool is_listed(const struct policy_scope *scope, const struct addr *server,
                      enum protocol protocol)
{
    enum policy_mode mode = POLICY_MONITOR;

    for (size_t i = 0; i < policy_scope_len(scope); i++)
        if (policy_scope_at(scope, i)->has_egress &&
            policy_scope_at(scope, i)->mode == POLICY_ENFORCE)
            mode = POLICY_ENFORCE;
    for (size_t i = 0; i < policy_scope_len(scope); i++) {
        const struct policy *policy = policy_scope_at(scope, i);

        for (size_t j = 0; policy->mode == mode && j < policy->egress_len; j++)
            if (lists_address(&policy->egress[j], server) &&
                lists_port(&policy->egress[j], server->port, protocol))
                return true;
    }
    return false;
}

bool consent_trusts(struct consent *consent, const struct consent_parties *parties)
{
    if (is_own(parties))
        return true;
    return look_up(consent, parties) && consent->scope &&
           is_listed(consent->scope, parties->server, parties->protocol);
}
