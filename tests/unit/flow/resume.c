/* resume: a session with a server is for nobody else, for no other place, name or offer, and not
 * for other trust. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proxy/flow/steps.h"

static struct pod pod = {.cgroup_id = 7}, other_pod = {.cgroup_id = 8};
static struct credentials credentials = {.generation = 3}, later = {.generation = 4};

static void another_pod(struct flow *flow)
{
    flow->facts.who.pod = &other_pod;
}

static void another_namespace(struct flow *flow)
{
    flow->origin.netns_cookie++;
}

static void another_address(struct flow *flow)
{
    flow->facts.where.dst.ip[15]++;
}

static void another_port(struct flow *flow)
{
    flow->facts.where.dst.port++;
}

static void another_name(struct flow *flow)
{
    flow->facts.where.host[0] = 'x';
}

static void no_name(struct flow *flow)
{
    flow->facts.where.host[0] = 0;
}

static void a_tunnel(struct flow *flow)
{
    strcpy(flow->tunnel.host, "ebpf.io");
}

static void a_tunnels_port(struct flow *flow)
{
    flow->tunnel.port = 8443;
}

static void other_trust(struct flow *flow)
{
    flow->credentials = &later;
}

static void fewer_suites(struct flow *flow)
{
    flow->suites = 1;
}

static void an_older_version(struct flow *flow)
{
    flow->version_min = TLS1_VERSION;
}

static void no_newer_version(struct flow *flow)
{
    flow->version_max = TLS1_2_VERSION;
}

static void no_protocol(struct flow *flow)
{
    flow->alpn = NULL;
    flow->alpn_len = 0;
}

static void fewer_protocols(struct flow *flow)
{
    flow->alpn_len = 3;
}

static void other_protocols(struct flow *flow)
{
    static uint8_t offer[] = "\x08http/1.1\2h2";

    flow->alpn = offer;
}

static void no_staple(struct flow *flow)
{
    flow->asks_status = false;
}

/* There is something of a set with this number for it. */
static void ruled(struct flow *flow, uint64_t generation)
{
    struct policy_set *set = policy_set_new(NULL, 0, generation);

    flow->verdicts.view = policy_view_new(set, &pod);
    flow->verdicts.scope = policy_scope_new(flow->verdicts.view, NULL);
    policy_set_unref(&set);
    assert_non_null(flow->verdicts.scope);
}

static void policies(struct flow *flow)
{
    ruled(flow, 1);
}

static void newer_policies(struct flow *flow)
{
    ruled(flow, 2);
}

static void rules_trust(struct flow *flow)
{
    flow->tls_rules.trusted[0] = 1;
}

static void rules_trust_another(struct flow *flow)
{
    flow->tls_rules.trusted[TLS_RULES_DIGEST - 1] = 1;
}

static void (*const changes[])(struct flow *flow) = {
    another_pod,      another_namespace, another_address, another_port, another_name,
    no_name,          a_tunnel,          a_tunnels_port,  other_trust,  fewer_suites,
    an_older_version, no_newer_version,  no_protocol,     no_staple,    fewer_protocols,
    other_protocols,  policies,          newer_policies,  rules_trust,  rules_trust_another,
};

static struct flow usual(void)
{
    static uint8_t offer[] = "\2h2\x08http/1.1";
    struct flow flow = {
        .facts.who.pod = &pod,
        .facts.where = {.dst = {.ip = {[15] = 1}, .port = 443}, .host = "ebpf.io"},
        .origin.netns_cookie = 5,
        .credentials = &credentials,
        .suites = 3,
        .version_min = TLS1_2_VERSION,
        .version_max = TLS1_3_VERSION,
        .alpn = offer,
        .alpn_len = sizeof(offer) - 1,
        .asks_status = true,
    };

    return flow;
}

static void everything_has_a_say(void **state)
{
    struct flow flow = usual();
    uint8_t keys[ARRAY_SIZE(changes) + 1][SESSION_CACHE_KEY_SIZE];
    size_t last = ARRAY_SIZE(changes);

    (void)state;
    flow.facts.where.src.port = 1; /* and what differs each time has none */
    flow.origin.cookie = 99;
    assert_true(resume_key(&flow, keys[last]));
    for (size_t i = 0; i < last; i++) {
        flow = usual();
        changes[i](&flow);
        assert_true(resume_key(&flow, keys[i]));
        policy_scope_free(&flow.verdicts.scope);
        policy_view_unref(&flow.verdicts.view);
        for (size_t at = 0; at < i; at++)
            assert_memory_not_equal(keys[i], keys[at], SESSION_CACHE_KEY_SIZE);
        assert_memory_not_equal(keys[i], keys[last], SESSION_CACHE_KEY_SIZE);
    }
    flow = usual();
    assert_true(resume_key(&flow, keys[0]));
    assert_memory_equal(keys[0], keys[last], SESSION_CACHE_KEY_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_has_a_say)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
