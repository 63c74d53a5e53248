#include "proxy/enforce/trial.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/compile.h"

static const char policies[] =
    "apiVersion: sallyport.io/v1\n"
    "kind: TrafficPolicy\n"
    "metadata: {name: cart, namespace: shop}\n"
    "spec:\n"
    "  podSelector: {matchLabels: {app: cart}}\n"
    "  egress:\n"
    "  - toFQDNs: [{matchName: api.example.com}, {matchName: other.example}]\n"
    "    toPorts:\n"
    "    - ports: [{port: \"443\", protocol: TCP}]\n"
    "      rules: {http: [{method: GET, path: \"/v1/.*\"}, {headers: [\"x-tenant: a\"]}]}\n"
    "  - toCIDR: [203.0.113.0/24]\n"
    "  - toFQDNs: [{matchName: api.example.com}]\n"
    "    toPorts: [{ports: [{port: \"53\"}], rules: {dns: [{matchName: api.example.com}]}}]\n"
    "  inspect: {consistency: deny}\n"
    "---\n"
    "apiVersion: sallyport.io/v1\n"
    "kind: TrafficPolicy\n"
    "metadata: {name: curl, namespace: shop}\n"
    "spec:\n"
    "  matchBinaries: [{operator: In, values: [/usr/bin/curl]}]\n"
    "  egressDeny: [{toCIDR: [203.0.113.7/32]}]\n";

static struct policy_set *set;

static int compile(void **state)
{
    CLEANUP(policy_list_fini) struct policy_list list = {0};
    CLEANUP(faults_fini) struct faults faults = {0};

    (void)state;
    if (policy_compile(&list, span_of_text(policies), "cart.yaml", &faults) < 0)
        fail_msg("%s", faults.list[0].text);
    set = policy_set_new(list.list, list.len, 1);
    return set ? 0 : -1;
}

static int forget(void **state)
{
    (void)state;
    policy_set_unref(&set);
    return 0;
}

#define CART "\"namespace\":\"shop\",\"pod\":\"cart\",\"labels\":{\"app\":\"cart\"},"
#define V1   "\"method\":\"GET\",\"url\":\"https://api.example.com/v1/x\""

/* The verdict, its point and rule; or the sentence that refuses the question. */
static const struct {
    const char *name, *question, *want;
} cases[] = {
    {"a request that is allowed", CART V1, "allow http egress[0].toPorts[0].rules.http[0]"},
    {"a path that is not", CART "\"method\":\"GET\",\"url\":\"https://api.example.com/v2\"",
     "deny http egress[0].toPorts[0]"},
    {"a header that is",
     CART "\"method\":\"PUT\",\"url\":\"https://api.example.com/\",\"headers\":[\"X-Tenant: a\"]",
     "allow http egress[0].toPorts[0].rules.http[1]"},
    {"a query, which is not asked about",
     CART "\"method\":\"GET\",\"url\":\"HTTPS://API.example.com./v1/?a=/v2#v2\"",
     "allow http egress[0].toPorts[0].rules.http[0]"},
    {"another port", CART "\"method\":\"GET\",\"url\":\"https://api.example.com:8443/v1/x\"",
     "deny connect egress"},
    {"in the clear", CART "\"method\":\"GET\",\"url\":\"http://api.example.com/v1/x\"",
     "deny connect egress"},
    {"an address", CART "\"method\":\"GET\",\"url\":\"http://203.0.113.1\"",
     "allow http egress[1]"},
    {"one of IPv6", CART "\"method\":\"GET\",\"url\":\"https://[2001:db8::1]:443/\"",
     "deny connect egress"},
    {"a name at an address", CART V1 ",\"address\":\"203.0.113.1\"", "allow http egress[1]"},
    {"a name that was not resolved to it",
     CART V1 ",\"address\":\"198.51.100.1\",\"resolved\":[\"www.example\"]", "deny connect egress"},
    {"one name by TLS, another one by HTTP",
     CART V1 ",\"server_name\":\"other.example\",\"resolved\":[\"other.example\","
             "\"api.example.com\"]",
     "deny http inspect.consistency"},
    {"a program of its own rules",
     CART "\"binary\":\"/usr/bin/curl\",\"method\":\"GET\",\"url\":\"http://203.0.113.7/\"",
     "deny connect egressDeny[0]"},
    {"another program",
     CART "\"binary\":\"/usr/bin/wget\",\"method\":\"GET\",\"url\":\"http://203.0.113.7/\"",
     "allow http egress[1]"},
    {"another pod", "\"namespace\":\"shop\",\"pod\":\"web\"," V1, "allow connect"},
    {"no pod", V1, "allow connect"},
    {"a question of the DNS", CART "\"question\":\"API.example.com\"",
     "allow dns egress[2].toPorts[0].rules.dns[0]"},
    {"another name", CART "\"question\":\"evil.example\",\"type\":\"TYPE65\"",
     "deny dns egress[2].toPorts[0]"},
    {"of a server of its own",
     CART "\"question\":\"api.example.com\",\"name_server\":\"198.51.100.53\"",
     "deny connect egress"},
    {"a connect", CART "\"connect\":\"203.0.113.1:22\"", "allow connect egress[1]"},
    {"by UDP", CART "\"connect\":\"198.51.100.1:443/UDP\"", "deny connect egress"},
    {"QUIC to a name",
     CART
     "\"connect\":\"203.0.113.1:443/UDP\",\"server_name\":\"a.test\",\"resolved\":[\"a.test\"]",
     "allow tls egress[1]"},
    {"... that the address is not called by",
     CART "\"connect\":\"203.0.113.1:443/UDP\",\"server_name\":\"a.test\"",
     "deny tls inspect.consistency"},
    {"to a name", CART "\"connect\":\"api.example.com:443\"", "allow connect egress[0].toPorts[0]"},

    {"nothing", CART "\"verb\":\"x\"", "there is nothing to explain"},
    {"no scheme", "\"method\":\"GET\",\"url\":\"example.com\"",
     "'example.com' begins neither with https:// nor with http://"},
    {"no host", "\"method\":\"GET\",\"url\":\"https:///x\"", "'' is no host and port"},
    {"user information", "\"method\":\"GET\",\"url\":\"https://a@b/\"",
     "'a@b' is no host and port"},
    {"no URL", "\"method\":\"GET\"", "say a method and a URL, such as GET https://example.com/"},
    {"CONNECT", "\"method\":\"CONNECT\",\"url\":\"https://b/\"",
     "say a method and a URL, such as GET https://example.com/"},
    {"no header", V1 ",\"headers\":[\"x\"]", "'x' is no header; say 'name: value'"},
    {"no text", V1 ",\"headers\":[7]", "'' is no header; say 'name: value'"},
    {"no address", V1 ",\"address\":\"10.0.0.0/8\"", "'10.0.0.0/8' is no address"},
    {"no names", V1 ",\"resolved\":[7]", "that are no names, or more than 64"},
    {"no type", "\"question\":\"a\",\"type\":\"a\"",
     "'a' is no type of the DNS, such as A or TYPE65"},
    {"no server", "\"question\":\"a\",\"name_server\":\"b\"", "'b' is no address of a name server"},
    {"no port", "\"connect\":\"203.0.113.1\"",
     "'203.0.113.1' is no ADDRESS:PORT or ADDRESS:PORT/UDP"},
    {"no protocol", "\"connect\":\"203.0.113.1:1/SCTP\"",
     "'203.0.113.1:1/SCTP' is no ADDRESS:PORT or ADDRESS:PORT/UDP"},
    {"no labels", "\"labels\":{\"a\":7}," V1, "these are no labels, or more than 64"},
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static void run(const char *question, char *out, size_t size)
{
    CLEANUP(policy_view_unref) struct policy_view *view = NULL;
    CLEANUP(text_free) char *text = NULL;
    CLEANUP(pod_unref) struct pod *pod = NULL;
    json_t *asked, *answer = NULL;
    struct err err = {0};

    assert_true(asprintf(&text, "{%s}", question) > 0);
    asked = json_loads(text, 0, NULL);
    assert_non_null(asked);
    if (trial_pod(&pod, asked, &err) == 0) {
        view = policy_view_new(set, pod);
        assert_non_null(view);
        trial_run(&answer, view, asked, &err);
    }
    if (answer)
        snprintf(out, size, "%s %s%s%s", text_of(answer, "verdict"), text_of(answer, "point"),
                 *text_of(answer, "rule") ? " " : "", text_of(answer, "rule"));
    else
        snprintf(out, size, "%s", err.text);
    json_decref(answer);
    json_decref(asked);
}

static void each_question_has_its_answer(void **state)
{
    char got[600];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("  %s\n", cases[i].name);
        run(cases[i].question, got, sizeof(got));
        assert_string_equal(got, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_question_has_its_answer)};

    return cmocka_run_group_tests(tests, compile, forget);
}
