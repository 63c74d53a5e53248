/* explain: the words, for a policy whose reader wants to know why. That they agree with decisions
 * is decide_random.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "policy/explain.h"
#include "tests/unit/policy/scene.h"

static const char cart[] =
    "apiVersion: sallyport.io/v1\n"
    "kind: TrafficPolicy\n"
    "metadata: {name: cart, namespace: shop}\n"
    "spec:\n"
    "  egress:\n"
    "  - toFQDNs: [{matchName: api.test}]\n"
    "    toPorts:\n"
    "    - ports: [{port: '443', protocol: TCP}]\n"
    "      rules:\n"
    "        http:\n"
    "        - {method: GET, path: '/v1/.*'}\n"
    "        - {method: POST, path: /v1/orders, headers: [x-tenant blue]}\n"
    "        - {host: 'b[.]test'}\n"
    "    - ports: [{port: '53', protocol: ANY}]\n"
    "      rules: {dns: [{matchPattern: '*.test', types: [A]}]}\n"
    "  - toCIDR: [203.0.113.0/24]\n"
    "    toPorts:\n"
    "    - {ports: [{port: '443', protocol: TCP}], serverNames: [c.test]}\n"
    "  egressDeny:\n"
    "  - toCIDR: [203.0.113.66/32]\n"
    "---\n"
    "apiVersion: sallyport.io/v1\n"
    "kind: TrafficPolicy\n"
    "metadata: {name: curl}\n"
    "spec: {matchBinaries: [{operator: In, values: [/usr/bin/curl]}], egress: []}\n"
    "---\n"
    "apiVersion: sallyport.io/v1\n"
    "kind: TrafficPolicy\n"
    "metadata: {name: watch}\n"
    "spec: {mode: monitor, egress: [{toEntities: [world]}]}\n";

static const struct {
    const char *name;
    const char *dst, *resolved, *said;
    const char *method, *path, *host;
    const char *question;
    const char *want;
} cases[] = {
    {"an allowed request", "192.0.2.1:443", "api.test", "api.test", "GET", "/v1/x", "api.test",
     NULL,
     "allow: shop/cart egress[0].toPorts[0].rules.http[0] (scene.yaml:11:11)\n"
     "  shop/cart egressDeny[0] (scene.yaml:20:5): 192.0.2.1 is in none of its networks\n"
     "  shop/cart egress[0].toPorts[0].rules.http[0] (scene.yaml:11:11): it decides\n"
     "  shop/cart egress[0].toPorts[0].rules.http[1] (scene.yaml:12:11): the method GET does not "
     "match POST\n"
     "  shop/cart egress[0].toPorts[0].rules.http[2] (scene.yaml:13:11): the host api.test does "
     "not match b[.]test\n"
     "  shop/cart egress[0].toPorts[1] (scene.yaml:14:7): it is not for port 443/TCP\n"
     "  shop/cart egress[1] (scene.yaml:16:5): 192.0.2.1 is in none of its networks\n"
     "  watch egress[0] (scene.yaml:30:32): it fits, and only tells: its policy monitors\n"
     "  curl: its matchBinaries leave this program out\n"},
    {"a request that is not", "192.0.2.1:443", "api.test", "api.test", "POST", "/v1/orders",
     "api.test", NULL,
     "deny (reject): shop/cart egress[0].toPorts[0] (scene.yaml:8:7): no rule allows POST "
     "/v1/orders\n"
     "  shop/cart egressDeny[0] (scene.yaml:20:5): 192.0.2.1 is in none of its networks\n"
     "  shop/cart egress[0].toPorts[0].rules.http[0] (scene.yaml:11:11): the method POST does not "
     "match GET\n"
     "  shop/cart egress[0].toPorts[0].rules.http[1] (scene.yaml:12:11): there is no header "
     "x-tenant that says blue\n"
     "  shop/cart egress[0].toPorts[0].rules.http[2] (scene.yaml:13:11): the host api.test does "
     "not match b[.]test\n"
     "  shop/cart egress[0].toPorts[1] (scene.yaml:14:7): it is not for port 443/TCP\n"
     "  shop/cart egress[1] (scene.yaml:16:5): 192.0.2.1 is in none of its networks\n"
     "  watch egress[0] (scene.yaml:30:32): it fits, and only tells: its policy monitors\n"
     "  curl: its matchBinaries leave this program out\n"},
    {"a path in disguise", "192.0.2.1:443", "api.test", "api.test", "GET", "/v1/../admin",
     "api.test", NULL,
     "deny (reject): shop/cart egress[0].toPorts[0] (scene.yaml:8:7): no rule allows GET "
     "/v1/../admin\n"
     "  shop/cart egressDeny[0] (scene.yaml:20:5): 192.0.2.1 is in none of its networks\n"
     "  shop/cart egress[0].toPorts[0].rules.http[0] (scene.yaml:11:11): the normalised path "
     "/admin does not match /v1/.*\n"
     "  shop/cart egress[0].toPorts[0].rules.http[1] (scene.yaml:12:11): the method GET does not "
     "match POST\n"
     "  shop/cart egress[0].toPorts[0].rules.http[2] (scene.yaml:13:11): the host api.test does "
     "not match b[.]test\n"
     "  shop/cart egress[0].toPorts[1] (scene.yaml:14:7): it is not for port 443/TCP\n"
     "  shop/cart egress[1] (scene.yaml:16:5): 192.0.2.1 is in none of its networks\n"
     "  watch egress[0] (scene.yaml:30:32): it fits, and only tells: its policy monitors\n"
     "  curl: its matchBinaries leave this program out\n"},
    {"a name that was not resolved", "203.0.113.1:443", "", "api.test", NULL, NULL, NULL, NULL,
     "deny (reject): shop/cart egress[1].toPorts[0] (scene.yaml:18:7): no rule allows the name "
     "api.test\n"
     "  shop/cart egressDeny[0] (scene.yaml:20:5): 203.0.113.1 is in none of its networks\n"
     "  shop/cart egress[0] (scene.yaml:6:5): the name api.test fits, but was not resolved to "
     "203.0.113.1\n"
     "  shop/cart egress[1].toPorts[0] (scene.yaml:18:7): the name api.test is none of its "
     "serverNames\n"
     "  watch egress[0] (scene.yaml:30:32): it fits, and only tells: its policy monitors\n"
     "  curl: its matchBinaries leave this program out\n"},
    {"an address that is denied", "203.0.113.66:443", "", "c.test", NULL, NULL, NULL, NULL,
     "deny (reject): shop/cart egressDeny[0] (scene.yaml:20:5): a rule denies the name c.test\n"
     "  shop/cart egressDeny[0] (scene.yaml:20:5): it decides\n"
     "  shop/cart egress[0] (scene.yaml:6:5): the name c.test is none of its toFQDNs\n"
     "  shop/cart egress[1].toPorts[0] (scene.yaml:18:7): it fits, but what denies is stronger\n"
     "  watch egress[0] (scene.yaml:30:32): it fits, and only tells: its policy monitors\n"
     "  curl: its matchBinaries leave this program out\n"},
    {"a question", "192.0.2.53:53", "", NULL, NULL, NULL, NULL, "a.test.",
     "deny (reject): shop/cart egress[0].toPorts[1] (scene.yaml:14:7): no rule allows the name "
     "a.test., type TXT\n"
     "  shop/cart egressDeny[0] (scene.yaml:20:5): 192.0.2.53 is in none of its networks\n"
     "  shop/cart egress[0].toPorts[0] (scene.yaml:8:7): it is not for port 53/TCP\n"
     "  shop/cart egress[0].toPorts[1].rules.dns[0] (scene.yaml:15:21): it is not for the type "
     "TXT\n"
     "  shop/cart egress[1] (scene.yaml:16:5): 192.0.2.53 is in none of its networks\n"
     "  watch egress[0] (scene.yaml:30:32): it fits, and only tells: its policy monitors\n"
     "  curl: its matchBinaries leave this program out\n"},
};

static void says_why(void **state)
{
    struct scene scene = {0};

    (void)state;
    scene_read(&scene, cart);
    scene_begin(&scene, "/usr/bin/wget");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct addr dst = scene_addr(cases[i].dst);
        const struct policy_facts facts = {
            .dst = &dst, .resolved = {&cases[i].resolved, 1}, .name = cases[i].said};
        const struct facts_request request = {.method = span_of_text(cases[i].method),
                                              .path = span_of_text(cases[i].path),
                                              .host = cases[i].host};
        const struct policy_question question = {cases[i].question, 16, "TXT", true};
        const struct policy_hello hello = {.server_name = cases[i].said};
        const struct policy_case what = {
            .point = cases[i].method     ? POLICY_POINT_HTTP
                     : cases[i].question ? POLICY_POINT_DNS
                                         : POLICY_POINT_TLS,
            .facts = &facts,
            .question = &question,
            .hello = &hello,
            .request = &request,
        };
        CLEANUP(text_free) char *text = NULL;
        struct policy_verdict verdict;

        print_message("  %s\n", cases[i].name);
        assert_int_equal(policy_explain(scene.scope, &what, &verdict, &text), 0);
        if (strcmp(text, cases[i].want) != 0)
            printf("%s", text);
        assert_true(strcmp(text, cases[i].want) == 0);
    }
    scene_end(&scene);
}

static void says_so_where_nothing_is_about_it(void **state)
{
    struct addr dst = scene_addr("192.0.2.1:443");
    const struct policy_facts facts = {.dst = &dst};
    const struct policy_case what = {.point = POLICY_POINT_CONNECT, .facts = &facts};
    CLEANUP(text_free) char *text = NULL;
    struct policy_verdict verdict;

    (void)state;
    assert_int_equal(policy_explain(NULL, &what, &verdict, &text), 0);
    assert_string_equal(
        text, "allow: no rule is about it, and no policy with egress is for this program\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_why),
        cmocka_unit_test(says_so_where_nothing_is_about_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
