/* unseen: what is done where nothing can be seen; names that disagree; how TLS must be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/policy/scene.h"

#define HEAD(name)                                                                                 \
    "---\napiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: " name "}\nspec:\n"
#define REQUESTS                                                                                   \
    "  egress: [{toFQDNs: [{matchName: api.test}], toPorts: [{ports: [{port: '443', protocol: "    \
    "TCP}], rules: {http: [{method: GET}]}}]}]\n"
#define WORLD   "  egress: [{toEntities: [world]}]\n"
#define MONITOR "  mode: monitor\n"

/* ---- onNoVisibility ---- */

static const struct {
    const char *name, *policies;
    enum policy_unseen want;
    enum verdict verdict;
    enum policy_mode mode;
    const char *rule;
    const char *said, *resolved;
} unseen[] = {
    {"nothing is said of it", HEAD("a") WORLD, POLICY_UNSEEN_ALERT, VERDICT_ALERT, POLICY_ENFORCE,
     "egress", NULL, NULL},
    {"requests are looked at", HEAD("a") REQUESTS, POLICY_UNSEEN_DROP, VERDICT_DENY, POLICY_ENFORCE,
     "egress[0].toPorts[0].rules.http[0]", NULL, "api.test"},
    {"... of another place", HEAD("a") REQUESTS, POLICY_UNSEEN_ALERT, VERDICT_ALERT, POLICY_ENFORCE,
     "egress", NULL, "other.test"},
    {"... of another name at the same address", HEAD("a") REQUESTS, POLICY_UNSEEN_ALERT,
     VERDICT_ALERT, POLICY_ENFORCE, "egress", "other.test", "api.test"},
    {"... where all is allowed", HEAD("a") REQUESTS HEAD("b") WORLD, POLICY_UNSEEN_ALERT,
     VERDICT_ALERT, POLICY_ENFORCE, "egress", NULL, "api.test"},
    {"... where all is allowed to a name that nobody said",
     HEAD("a") REQUESTS HEAD("b") "  egress: [{toFQDNs: [{matchName: b.test}]}]\n",
     POLICY_UNSEEN_DROP, VERDICT_DENY, POLICY_ENFORCE, "egress[0].toPorts[0].rules.http[0]", NULL,
     "api.test b.test"},
    {"... where all is allowed to a name that was said",
     HEAD("a") "  egress: [{toEntities: [world], toPorts: [{ports: [{port: '443', protocol: TCP}], "
               "rules: {http: [{method: GET}]}}]}]\n" HEAD(
                   "b") "  egress: [{toFQDNs: [{matchName: b.test}]}]\n",
     POLICY_UNSEEN_ALERT, VERDICT_ALERT, POLICY_ENFORCE, "egress", "b.test", "b.test"},
    {"requests are denied, and all else is allowed",
     HEAD("a") WORLD "  egressDeny: [{toEntities: [world], toPorts: [{ports: [{port: '443', "
                     "protocol: TCP}], rules: {http: [{path: /admin}]}}]}]\n",
     POLICY_UNSEEN_DROP, VERDICT_DENY, POLICY_ENFORCE, "egressDeny[0].toPorts[0].rules.http[0]",
     NULL, NULL},
    {"names of TLS are looked at",
     HEAD("a") "  egress: [{toEntities: [world], toPorts: [{ports: [{port: '443', protocol: "
               "TCP}], serverNames: [a.test]}]}]\n",
     POLICY_UNSEEN_DROP, VERDICT_DENY, POLICY_ENFORCE, "egress[0].toPorts[0]", NULL, NULL},
    {"... of which one was said",
     HEAD("a") "  egress: [{toEntities: [world], toPorts: [{ports: [{port: '443', protocol: "
               "TCP}], serverNames: [a.test]}]}]\n",
     POLICY_UNSEEN_ALERT, VERDICT_ALERT, POLICY_ENFORCE, "egress", "a.test", "a.test"},
    {"names of TLS are denied, and nobody said one",
     HEAD("a") WORLD "  egressDeny: [{toPorts: [{ports: [{port: '443', protocol: TCP}], "
                     "serverNames: [a.test]}]}]\n",
     POLICY_UNSEEN_DROP, VERDICT_DENY, POLICY_ENFORCE, "egressDeny[0].toPorts[0]", NULL, NULL},
    {"... but another was said",
     HEAD("a") WORLD "  egressDeny: [{toPorts: [{ports: [{port: '443', protocol: TCP}], "
                     "serverNames: [a.test]}]}]\n",
     POLICY_UNSEEN_ALERT, VERDICT_ALERT, POLICY_ENFORCE, "egress", "b.test", "b.test"},
    {"bodies are", HEAD("a") WORLD "  inspect: {bodies: [{patterns: [jwt], action: deny}]}\n",
     POLICY_UNSEEN_DROP, VERDICT_DENY, POLICY_ENFORCE, "inspect.bodies[0]", NULL, NULL},
    {"bodies are told of",
     HEAD("a") WORLD "  inspect: {bodies: [{patterns: [jwt], action: alert}]}\n",
     POLICY_UNSEEN_ALERT, VERDICT_ALERT, POLICY_ENFORCE, "egress", NULL, NULL},
    {"tokens are", HEAD("a") WORLD "  inspect: {tokens: deny}\n", POLICY_UNSEEN_DROP, VERDICT_DENY,
     POLICY_ENFORCE, "inspect.tokens", NULL, NULL},
    {"names must agree", HEAD("a") WORLD "  inspect: {consistency: deny}\n", POLICY_UNSEEN_DROP,
     VERDICT_DENY, POLICY_ENFORCE, "inspect.consistency", NULL, NULL},
    {"only said otherwise", HEAD("a") "  onNoVisibility: alert\n" REQUESTS, POLICY_UNSEEN_ALERT,
     VERDICT_ALERT, POLICY_ENFORCE, "egress", NULL, "api.test"},
    {"said", HEAD("a") "  onNoVisibility: sigkill\n" WORLD, POLICY_UNSEEN_SIGKILL, VERDICT_DENY,
     POLICY_ENFORCE, "egress", NULL, NULL},
    {"said twice: the graver",
     HEAD("a") "  onNoVisibility: drop\n" WORLD HEAD("b") "  onNoVisibility: freeze\n" WORLD,
     POLICY_UNSEEN_FREEZE, VERDICT_DENY, POLICY_ENFORCE, "egress", NULL, NULL},
    {"said twice: the graver, in any order",
     HEAD("a") "  onNoVisibility: freeze\n" WORLD HEAD("b") "  onNoVisibility: drop\n" WORLD,
     POLICY_UNSEEN_FREEZE, VERDICT_DENY, POLICY_ENFORCE, "egress", NULL, NULL},
    {"said mildly in one, not said in another",
     HEAD("a") "  onNoVisibility: alert\n" WORLD HEAD("b") "  inspect: {tokens: deny}\n",
     POLICY_UNSEEN_DROP, VERDICT_DENY, POLICY_ENFORCE, "inspect.tokens", NULL, NULL},
    {"monitored alone", HEAD("m") MONITOR REQUESTS, POLICY_UNSEEN_ALERT, VERDICT_ALERT,
     POLICY_MONITOR, "egress[0].toPorts[0].rules.http[0]", NULL, "api.test"},
    {"monitored, and milder in earnest",
     HEAD("a") WORLD HEAD("m") MONITOR "  onNoVisibility: drop\n" WORLD, POLICY_UNSEEN_ALERT,
     VERDICT_ALERT, POLICY_MONITOR, "egress", NULL, NULL},
    {"monitored, and as grave in earnest",
     HEAD("a") "  onNoVisibility: drop\n" WORLD HEAD("m") MONITOR "  onNoVisibility: drop\n" WORLD,
     POLICY_UNSEEN_DROP, VERDICT_DENY, POLICY_ENFORCE, "egress", NULL, NULL},
};

static struct policy_names split(char *text, const char *list[8])
{
    struct policy_names names = {list, 0};

    for (char *name = strtok(text, " "); name; name = strtok(NULL, " "))
        list[names.len++] = name;
    return names;
}

static void knows_what_to_do_unseen(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(unseen); i++) {
        struct addr dst = scene_addr("192.0.2.1:443");
        struct policy_facts facts = {.dst = &dst, .name = unseen[i].said};
        char resolved[128] = "";
        const char *list[8];
        struct policy_verdict verdict;
        enum policy_unseen what;
        struct scene scene = {0};

        print_message("  %s\n", unseen[i].name);
        if (unseen[i].resolved)
            strcpy(resolved, unseen[i].resolved);
        facts.resolved = split(resolved, list);
        scene_read(&scene, unseen[i].policies);
        scene_begin(&scene, NULL);
        policy_decide_unseen(scene.scope, &facts, "it said ECH", &what, &verdict);
        assert_int_equal(what, unseen[i].want);
        assert_int_equal(verdict.verdict, unseen[i].verdict);
        assert_int_equal(verdict.mode, unseen[i].mode);
        assert_string_equal(verdict.place->rule, unseen[i].rule);
        assert_string_equal(verdict.reason, "it said ECH");
        scene_end(&scene);
    }
}

static void lets_be_whom_no_policy_is_for(void **state)
{
    struct addr dst = scene_addr("192.0.2.1:443");
    struct policy_facts facts = {.dst = &dst};
    struct policy_verdict verdict;
    struct policy_tls_wish wish;
    enum policy_unseen what;

    (void)state;
    policy_decide_unseen(NULL, &facts, "why", &what, &verdict);
    assert_int_equal(what, POLICY_UNSEEN_ALERT);
    assert_int_equal(verdict.verdict, VERDICT_ALLOW);
    policy_decide_consistency(NULL, &facts, "a.test", &verdict);
    assert_int_equal(verdict.verdict, VERDICT_ALLOW);
    policy_tls_wish(NULL, &facts, &wish);
    assert_null(wish.policy);
}

/* ---- consistency ---- */

static const struct {
    const char *name, *said, *host, *resolved;
    const char *says; /* NULL: they agree */
    bool cannot_resolve;
} consistency[] = {
    {"all three agree", "a.test", "a.test", "b.test a.test", NULL, false},
    {"in any case, with a dot", "A.test.", "a.test", "a.test", NULL, false},
    {"only the SNI yet", "a.test", NULL, "a.test", NULL, false},
    {"an SNI that was not resolved", "a.test", NULL, "b.test",
     "the name a.test was not resolved to 192.0.2.1", false},
    {"fronting", "a.test", "b.test", "a.test b.test", "the name a.test is not the authority b.test",
     false},
    {"an address for authority", "a.test", "192.0.2.1", "a.test",
     "the name a.test is not the authority 192.0.2.1", false},
    {"no SNI", NULL, "a.test", "a.test", NULL, false},
    {"no SNI, and a host that was not resolved", NULL, "b.test", "a.test",
     "the name b.test was not resolved to 192.0.2.1", false},
    {"the address itself", NULL, "192.0.2.1", "", NULL, false},
    {"another address", NULL, "192.0.2.2", "", "the name 192.0.2.2 was not resolved to 192.0.2.1",
     false},
    {"nothing said", NULL, NULL, "", NULL, false},
    {"in a tunnel", "a.test", "a.test", "proxy.test", NULL, true},
    {"fronting in a tunnel", "a.test", "b.test", "proxy.test",
     "the name a.test is not the authority b.test", true},
    {"by a proxy", NULL, "a.test", "proxy.test", NULL, true},
    {"hostile", "a\n.test", NULL, "", "the name a\\x0a.test was not resolved to 192.0.2.1", false},
};

static void sees_names_that_disagree(void **state)
{
    static const struct {
        const char *policies;
        enum verdict want;
        enum policy_mode mode;
    } modes[] = {
        {HEAD("a") WORLD "  inspect: {consistency: deny}\n", VERDICT_DENY, POLICY_ENFORCE},
        {HEAD("a") WORLD "  inspect: {consistency: alert}\n", VERDICT_ALERT, POLICY_ENFORCE},
        {HEAD("a") MONITOR WORLD "  inspect: {consistency: deny}\n", VERDICT_ALERT, POLICY_MONITOR},
        {HEAD("a") WORLD "  inspect: {consistency: alert}\n" HEAD("b") WORLD
         "  inspect: {consistency: deny}\n",
         VERDICT_DENY, POLICY_ENFORCE},
        {HEAD("a") WORLD, VERDICT_ALLOW, POLICY_ENFORCE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(consistency) * ARRAY_SIZE(modes); i++) {
        size_t at = i / ARRAY_SIZE(modes), mode = i % ARRAY_SIZE(modes);
        struct addr dst = scene_addr("192.0.2.1:443");
        struct policy_facts facts = {.dst = &dst,
                                     .name = consistency[at].said,
                                     .cannot_resolve = consistency[at].cannot_resolve};
        char resolved[128] = "";
        const char *list[8];
        struct policy_verdict verdict;
        struct scene scene = {0};

        if (!mode)
            print_message("  %s\n", consistency[at].name);
        strcpy(resolved, consistency[at].resolved);
        facts.resolved = split(resolved, list);
        scene_read(&scene, modes[mode].policies);
        scene_begin(&scene, NULL);
        policy_decide_consistency(scene.scope, &facts, consistency[at].host, &verdict);
        if (consistency[at].says && modes[mode].want != VERDICT_ALLOW) {
            assert_int_equal(verdict.verdict, modes[mode].want);
            assert_int_equal(verdict.mode, modes[mode].mode);
            assert_string_equal(verdict.place->rule, "inspect.consistency");
            assert_string_equal(verdict.reason, consistency[at].says);
        } else {
            assert_int_equal(verdict.verdict, VERDICT_ALLOW);
            assert_null(verdict.policy);
        }
        scene_end(&scene);
    }
}

/* ---- TLS ---- */

#define TLS(name, to, tls)                                                                         \
    HEAD(name)                                                                                     \
    "  egress: [{" to ", toPorts: [{ports: [{port: '443', protocol: TCP}], tls: {" tls "}}]}]\n"

static void wishes_what_all_rules_that_fit_do(void **state)
{
    static const char policies[] = TLS("a", "toFQDNs: [{matchName: a.test}]",
                                       "minVersion: '1.2', trustedCA: /a.pem")
        TLS("b", "toEntities: [world]", "minVersion: '1.3', clientCertificate: /b")
            TLS("c", "toEntities: [world]", "ciphers: [TLS_AES_128_GCM_SHA256], trustedCA: /c.pem")
                TLS("d", "toFQDNs: [{matchName: d.test}]", "maxVersion: '1.2'")
                    TLS("e", "toEntities: [world]", "minVersion: '1.2'");
    const char *names[] = {"a.test"};
    struct addr dst = scene_addr("192.0.2.1:443"), other = scene_addr("192.0.2.1:444");
    struct policy_facts facts = {.dst = &dst, .resolved = {names, 1}, .name = "a.test"};
    struct policy_tls_wish wish;
    struct scene scene = {0};

    (void)state;
    scene_read(&scene, policies);
    scene_begin(&scene, NULL);
    policy_tls_wish(scene.scope, &facts, &wish);
    assert_int_equal(wish.version_min, 0x0304);
    assert_int_equal(wish.version_max, 0);
    assert_string_equal(wish.trust->trusted_ca, "/a.pem");
    assert_string_equal(wish.client->client_certificate, "/b");
    assert_string_equal(wish.ciphers->ciphers[0], "TLS_AES_128_GCM_SHA256");
    assert_string_equal(wish.policy->id, "a");
    facts.name = "x.test";
    policy_tls_wish(scene.scope, &facts, &wish);
    assert_string_equal(wish.trust->trusted_ca, "/c.pem");
    facts.dst = &other;
    policy_tls_wish(scene.scope, &facts, &wish);
    assert_null(wish.policy);
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_what_to_do_unseen),
        cmocka_unit_test(lets_be_whom_no_policy_is_for),
        cmocka_unit_test(sees_names_that_disagree),
        cmocka_unit_test(wishes_what_all_rules_that_fit_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
