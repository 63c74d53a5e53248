/* judge: what to do with a flow now that its first bytes are known: end its TLS, read it as it is,
 * or pass it on untouched. */
#include <stdlib.h>

#include "certs/mint.h"
#include "proxy/flow/query.h"
#include "proxy/flow/steps.h"
#include "proxy/dns/names.h"
#include "proxy/passthrough.h"

/* Whose TLS is not a mere wrapping: ended by us, it would come to nothing. */
static const char *const inseparable[] = {
    "acme-tls/1", /* the certificate is the message (RFC 8737) */
    "ntske/1",    /* both ends make keys of this very handshake (RFC 8915 section 5.1) */
    "postgresql", /* libpq proves by SCRAM-SHA-256-PLUS which certificate it saw (RFC 5929) */
    "libp2p",     /* the certificate says who the peer is, signed by itself */
};

static bool is_inseparable(const struct hello *hello)
{
    struct span offer = hello->alpn, name;

    while (span_take_vector(&offer, 1, &name))
        if (open_relay_kind(name) != RELAY_RAW)
            return false; /* it is ready for HTTP, too: that leads to us */
    for (size_t i = 0; i < ARRAY_SIZE(inseparable); i++)
        if (hello_offers(hello, inseparable[i]))
            return true;
    return false;
}

enum opaque judge_unopenable(const struct hello *hello)
{
    if (is_inseparable(hello))
        return OPAQUE_OTHER_PROTOCOL;
    return hello->version_max >= 0x0303 ? OPAQUE_NO_REASON : OPAQUE_OLD_TLS; /* our own floor */
}

const char *asked_name(const struct flow *flow, char out[ADDR_TEXT_MAX])
{
    if (flow->facts.where.host[0])
        return flow->facts.where.host;
    if (flow->tunnel.host[0])
        return flow->tunnel.host;
    return addr_format_ip(&flow->facts.where.dst, out);
}

uint16_t asked_port(const struct flow *flow)
{
    return flow->tunnel.host[0] ? flow->tunnel.port : flow->facts.where.dst.port;
}

enum flow_state pass_on(struct flow *flow)
{
    free(TAKE(flow->alpn));
    /* bytes that were read too far are no longer the kernel's to move */
    if (!flow->pod.stash && !flow->upstream.stash && splice_open(&flow->splice, flow->worker))
        return FLOW_SPLICING;
    splice_fini(&flow->splice, flow->worker); /* or files are scarce: through memory, then */
    relay_init(&flow->relay, RELAY_RAW);
    return FLOW_RELAYING;
}

/* A program that tells no name has resolved one, as a rule. */
static bool resolved_to_spared(const struct flow *flow)
{
    struct passthrough *spared = flow->worker->parts.passthrough;
    struct names_found found = {0};
    const struct pod *pod = flow->facts.who.pod;
    bool any = false;

    if (pod)
        names_find(flow->worker->parts.names, pod->cgroup_id, &flow->facts.where.dst, clock_ns(),
                   &found);
    for (size_t i = 0; i < found.len; i++)
        any = any || passthrough_name(spared, found.text[i]);
    names_found_fini(&found);
    return any;
}

/* Whether a setting says that this is to be left alone. */
static bool spared(const struct flow *flow)
{
    struct passthrough *spared = flow->worker->parts.passthrough;

    if (!flow->tunnel.host[0] && passthrough_address(spared, &flow->facts.where.dst))
        return true;
    if (flow->facts.visibility != VISIBILITY_TERMINATED)
        return false; /* names are told, and looked for, in TLS */
    if (flow->facts.where.host[0])
        return passthrough_name(spared, flow->facts.where.host);
    return flow->tunnel.host[0] ? passthrough_name(spared, flow->tunnel.host)
                                : resolved_to_spared(flow);
}

/* Whom a policy has remember which servers it takes no certificate of ours for. */
static bool is_learnt(struct flow *flow)
{
    const struct facts_who *who = &flow->facts.who;
    char address[ADDR_TEXT_MAX];

    return flow->facts.visibility == VISIBILITY_TERMINATED && who->pod && who->process &&
           verdict_learns(flow) &&
           passthrough_learnt(flow->worker->parts.passthrough, who->pod->cgroup_id,
                              who->process->binary, asked_name(flow, address));
}

static bool is_to_pass(struct flow *flow)
{
    if (flow->facts.visibility == VISIBILITY_OPAQUE || flow->speaks == RELAY_DNS)
        return false;
    return (spared(flow) && verdict_may_pass(flow)) || verdict_passes(flow) || is_learnt(flow);
}

/* Else it is judged request by request, or question by question. */
static bool is_said_at_once(const struct flow *flow)
{
    return flow->facts.visibility != VISIBILITY_PLAINTEXT && !flow->mute;
}

/* Nothing can be read of it, or nothing is to be. */
static enum flow_state leave(struct flow *flow)
{
    if (flow->facts.visibility == VISIBILITY_OPAQUE && !flow->mute &&
        !verdict_unseen_opaque(flow, flow->facts.opaque))
        return verdict_refused(flow);
    flow->facts.route = ROUTE_PASSTHROUGH;
    if (flow->version_max &&
        (flow->facts.where.host[0] || flow->facts.visibility == VISIBILITY_PASSTHROUGH))
        report_tls(flow); /* the name was seen, the rest was not */
    return pass_on(flow);
}

enum flow_state judge(struct flow *flow)
{
    bool passes = is_to_pass(flow);
    char address[ADDR_TEXT_MAX];

    if (flow->mute && !verdict_may_pass(flow))
        return FLOW_CLOSING; /* it only looked whether somebody is there, as many do */
    if ((is_said_at_once(flow) || passes) && !verdict_hello(flow))
        return verdict_refused(flow);
    if (passes)
        flow->facts.visibility = VISIBILITY_PASSTHROUGH;
    switch (flow->facts.visibility) {
    case VISIBILITY_TERMINATED:
        if (!suites_fit(flow->suites, flow->version_max)) {
            facts_set_opaque(&flow->facts, OPAQUE_NO_CIPHER);
            break;
        }
        if (mint_name_ok(asked_name(flow, address)))
            return tls_rules_apply(flow) ? FLOW_DIALLING : verdict_refused(flow);
        facts_set_opaque(&flow->facts, OPAQUE_ODD_NAME);
        break;
    case VISIBILITY_PLAINTEXT:
        relay_init(&flow->relay, flow->speaks);
        if (flow->speaks == RELAY_DNS)
            query_init(flow);
        return FLOW_RELAYING;
    default:
        break;
    }
    return leave(flow);
}
