/* verdict_facts: what policies want to know of a flow, put together from what is known of it. */
#include <string.h>

#include "proxy/flow/verdict_own.h"

enum { DNS_PORT = 53 };

/* Those that held when the program connected, and those that came since: what is open goes on with
 * them, on either route (bpf/rules.h), also where another agent saw it begin. */
void known_names(struct flow *flow)
{
    struct verdicts *verdicts = &flow->verdicts;
    const struct pod *pod = flow->facts.who.pod;

    verdicts->named = true;
    if (pod)
        names_find_trusted(flow->worker->parts.names, pod->cgroup_id, &flow->facts.where.dst,
                           flow->origin.time_ns, &verdicts->names);
}

static bool is_name_server(const struct flow *flow)
{
    const struct pod *pod = flow->facts.who.pod;

    return flow->facts.where.dst.port == DNS_PORT && pod &&
           names_serves(flow->worker->parts.names, pod->cgroup_id, &flow->facts.where.dst);
}

/* Where the socket leads to. */
static void socket_facts(struct flow *flow, struct known *out)
{
    if (!flow->verdicts.named)
        known_names(flow);
    out->dst = flow->facts.where.dst;
    out->facts = (struct policy_facts){
        .protocol = PROTOCOL_TCP,
        .dst = &out->dst,
        .name_server = is_name_server(flow),
        .plain = flow->state > FLOW_MEETING && !flow->version_max,
        .resolved = flow->verdicts.names.names,
    };
}

void known_led(struct flow *flow, const char *host, uint16_t port, struct known *out)
{
    struct match_cidr literal;

    socket_facts(flow, out);
    out->facts.resolved = (struct policy_names){0};
    if (match_cidr_parse(host, &literal)) {
        out->dst = literal.network;
    } else {
        out->dst = (struct addr){.ip = {[10] = 0xff, [11] = 0xff}}; /* 0.0.0.0: somewhere */
        out->facts.name = host; /* lower case, without a closing dot: wire/authority.h */
        out->led_to = host;
        out->facts.resolved = (struct policy_names){&out->led_to, 1};
        out->facts.cannot_resolve = true;
    }
    out->dst.port = port;
}

void known_place(struct flow *flow, struct known *out)
{
    if (flow->tunnel.host[0])
        known_led(flow, flow->tunnel.host, flow->tunnel.port, out);
    else
        socket_facts(flow, out);
}

void known_flow(struct flow *flow, struct known *out)
{
    known_place(flow, out);
    if (flow->facts.where.host[0])
        out->facts.name = flow->facts.where.host;
}

void known_proxy(struct flow *flow, struct policy_verdict *verdict)
{
    static const char expressly[] = "egressDeny";
    const struct policy_scope *scope = flow->verdicts.scope;
    struct policy_verdict of_proxy;
    enum policy_unseen what;
    struct known known;

    if (verdict->verdict != VERDICT_DENY ||
        strncmp(verdict->place->rule, expressly, sizeof(expressly) - 1) == 0)
        return;
    socket_facts(flow, &known);
    policy_decide_unseen(scope, &known.facts, "", &what, &of_proxy);
    if (of_proxy.verdict != VERDICT_DENY)
        policy_decide_connect(scope, &known.facts, verdict);
}
