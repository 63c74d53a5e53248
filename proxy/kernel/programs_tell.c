/* programs_tell: what `status` and the metrics show of programs. */
#include <bpf/bpf.h>
#include <stdio.h>

#include "base/clock.h"
#include "bpf/abi.h"
#include "policy/decide.h"
#include "proxy/dns/names.h"
#include "proxy/enforce/policies.h"
#include "proxy/kernel/programs_own.h"
#include "proxy/pods/pods.h"
#include "proxy/telemetry/status.h"

enum { SHOWN_MAX = 256 };

static uint32_t route_flags(const struct programs *programs)
{
    uint32_t zero = 0, flags = 0;

    bpf_map_lookup_elem(programs->route_fd, &zero, &flags);
    return flags;
}

/* What policies want for its next connection, to where its last one went. */
static void ask_policies(const struct programs *programs, const struct known *known,
                         struct program_way *way)
{
    CLEANUP(policy_view_unref)
    struct policy_view *view = policies_view(programs->parts.policies, known->pod);
    CLEANUP(policy_scope_free)
    struct policy_scope *scope =
        view && known->process ? policy_scope_new(view, known->process) : NULL;
    CLEANUP(names_trusted_fini) struct names_trusted names = {0};
    struct policy_facts facts = {.protocol = PROTOCOL_TCP, .dst = &known->dst};
    struct policy_verdict verdict;
    struct policy_tls_wish wish;
    enum policy_unseen what;

    way->passes = policy_wants_passed(scope, way->pod == POLICY_ROUTE_PASSTHROUGH);
    if (!scope)
        return;
    names_find_trusted(programs->parts.names, known->pod, &known->dst, clock_ns(), &names);
    facts.resolved = names.names;
    way->policies = policy_decide_route(scope, &facts);
    policy_decide_unseen(scope, &facts, "", &what, &verdict);
    policy_tls_wish(scope, &facts, &wish);
    way->passes = way->passes && verdict.verdict != VERDICT_DENY && !wish.policy;
}

static enum policy_route find_route(const struct programs *programs, const struct known *known,
                                    const char **why)
{
    uint32_t can = route_flags(programs);
    struct program_way way = {
        .pod = pods_route(programs->parts.pods, known->pod),
        .plain = can & ABI_ROUTE_PLAIN,
        .ktls = can & ABI_ROUTE_KTLS,
        .sure = can & ABI_ROUTE_SURE,
        .http2 = known->http2,
    };

    ask_policies(programs, known, &way);
    return program_route(&known->facts, &known->use, &way, why);
}

/* "tx", "tx rx", "off" */
static const char *directions(const struct program_facts *facts)
{
    if (facts->tx)
        return facts->rx ? "tx rx" : "tx";
    return facts->rx ? "rx" : "off";
}

static struct program_facts facts_of(const struct known *known, const struct pod *pod)
{
    struct program_facts facts = known->facts;

    facts.asked = pod && atomic_load(&pod->asks_ktls);
    return facts;
}

/* What sends it into the kernel, and back. */
static void tell_use(json_t *row, const struct program_use *use)
{
    json_object_set_new(row, "sightings", json_integer(use->seen));
    json_object_set_new(row, "sightings_needed", json_integer(program_needs(use)));
    json_object_set_new(row, "blind", json_integer(use->blind));
    json_object_set_new(row, "blind_needed", json_integer(PROGRAM_BLIND_MAX));
}

static json_t *row_of(const struct programs *programs, const struct known *known)
{
    const struct pod *pod = pods_find(programs->parts.pods, known->pod);
    const struct program_facts facts = facts_of(known, pod);
    const char *sent = program_why_not_sent(&facts);
    const char *received = program_why_not_received(&facts);
    const char *why = NULL;
    enum policy_route route = find_route(programs, known, &why);
    char name[512] = "-", to[ADDR_TEXT_MAX];
    json_t *row = json_object();

    if (pod && pod->name[0])
        snprintf(name, sizeof(name), "%s%s%s", pod->space, pod->space[0] ? "/" : "", pod->name);
    status_add_text(row, "pod", name);
    status_add_text(row, "program", known->path);
    status_add_text(row, "ktls", directions(&facts));
    json_object_set_new(row, "capable", json_boolean(program_is_capable(&facts)));
    status_add_text(row, "not_sent", sent);
    status_add_text(row, "not_received", received && (!sent || received != sent) ? received : NULL);
    if (known->process)
        status_add_text(row, "to", addr_format(&known->dst, to));
    status_add_text(row, "route", policy_route_name(route));
    status_add_text(row, "why", why);
    tell_use(row, &known->use);
    return row;
}

void programs_tell(void *arg, json_t *answer)
{
    const struct programs *programs = arg;
    json_t *rows = json_array();
    size_t more = 0;

    for (const struct known *known = programs->first; rows && known; known = known->next) {
        if (!known->facts.tx && !known->facts.rx && !known->tls)
            continue; /* what it said was not TLS */
        if (json_array_size(rows) < SHOWN_MAX)
            json_array_append_new(rows, row_of(programs, known));
        else
            more++;
    }
    json_object_set_new(answer, "programs", rows);
    if (more)
        json_object_set_new(answer, "programs_not_shown", json_integer((json_int_t)more));
}

void programs_stats(const struct programs *programs, struct programs_stats *stats)
{
    *stats = (struct programs_stats){0};
    for (const struct known *known = programs->first; known; known = known->next) {
        stats->ktls += known->facts.tx;
        stats->bypasses += known->use.bypasses;
    }
}
