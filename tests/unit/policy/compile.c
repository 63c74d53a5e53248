/* compile: what a file's documents are, what they are called, and what stands in them twice. */
#include <errno.h>

#include "tests/unit/policy/compile_cases.h"

#define TITLE(name) "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: " name "\n"
#define KINDS       "TrafficPolicy, CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy"
#define NO_NAME                                                                                    \
    "cannot be a name: small letters, digits, '.' and '-', a letter or digit at both ends, at "    \
    "most 253"
#define SIXTY_FOUR "a123456789a123456789a123456789a123456789a123456789a123456789a123"

static const struct compile_case titles[] = {
    {"nothing", "", "0:0: holds no policy; a comment in it would say that it is meant to be empty"},
    {"an empty document", "---\n...\n",
     "0:0: holds no policy; a comment in it would say that it is meant to be empty"},
    {"comments alone", "# none yet\n", ""},
    {"comments and an empty document", "# none yet\n---\n", ""},
    {"a text", "policy\n",
     "1:1: a text stands where a policy should: apiVersion, kind, metadata and spec"},
    {"a list", "- kind: TrafficPolicy\n",
     "1:1: a list stands where a policy should: apiVersion, kind, metadata and spec"},
    {"no kind", "apiVersion: sallyport.io/v1\n", "1:1: kind is missing; say kind: TrafficPolicy"},
    {"a kind that is no text", "kind: [x]\n", "1:7: kind is missing; say kind: TrafficPolicy"},
    {"a kind misspelt, and more",
     "apiVersion: sallyport.io/v1\nkind: TrafficPolice\nmetadata: {name: A}\nspec: {mod: x}\n",
     "2:7: kind cannot be 'TrafficPolice'; did you mean 'TrafficPolicy'?\n"
     "3:18: 'A' " NO_NAME "\n"
     "4:8: the spec of a TrafficPolicy has no key 'mod'; did you mean 'mode'?"},
    {"another kind of our version",
     "apiVersion: sallyport.io/v1\nkind: Rules\nmetadata: {nam: a}\nspec: {egress: []}\n",
     "2:7: kind cannot be 'Rules'; say " KINDS "\n"
     "3:11: metadata lacks name\n3:12: metadata has no key 'nam'; did you mean 'name'?"},
    {"a kind of nobody's, and its metadata",
     "kind: Deployment\nmetadata: {name: A}\nspec: {replicas: 1}\n",
     "1:7: kind cannot be 'Deployment'; say " KINDS "\n2:18: 'A' " NO_NAME},
    {"a kind of nobody's", "kind: Deployment\n", "1:7: kind cannot be 'Deployment'; say " KINDS},
    {"a kind of Kubernetes'", "kind: NetworkPolicy\n",
     "1:7: the kind NetworkPolicy is not supported: its egress can be said as that of a "
     "TrafficPolicy"},
    {"a kind of Tetragon's", "kind: TracingPolicy\n",
     "1:7: the kind TracingPolicy is not supported: what programs do with files and kernel is "
     "Tetragon's to judge"},
    {"a list of kubectl's", "kind: List\nitems: []\n",
     "1:7: the kind List is not supported: write its items as documents of their own, with "
     "'---' "
     "between"},
    {"no version", "kind: TrafficPolicy\nmetadata: {name: p}\nspec: {egress: []}\n",
     "1:1: apiVersion is missing; that of a TrafficPolicy is sallyport.io/v1"},
    {"another's version",
     "apiVersion: cilium.io/v2\nkind: TrafficPolicy\nmetadata: {name: p}\nspec: {egress: []}\n",
     "1:13: the apiVersion of a TrafficPolicy is sallyport.io/v1"},
    {"neither metadata nor spec", "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\n",
     "1:1: a TrafficPolicy lacks metadata\n1:1: a TrafficPolicy lacks spec"},
    {"no name", TITLE("{namespace: shop}") "spec: {egress: []}\n", "3:11: metadata lacks name"},
    {"a name in capitals", TITLE("{name: Cart}") "spec: {egress: []}\n",
     "3:18: 'Cart' cannot be a name: small letters, digits, '.' and '-', a letter or digit at "
     "both "
     "ends, at most 253"},
    {"an empty name", TITLE("{name: \"\"}") "spec: {egress: []}\n",
     "3:18: '' cannot be a name: small letters, digits, '.' and '-', a letter or digit at both "
     "ends, at most 253"},
    {"a name that ends in a dash", TITLE("{name: a-.b}") "spec: {egress: []}\n",
     "3:18: 'a-.b' cannot be a name: small letters, digits, '.' and '-', a letter or digit at "
     "both "
     "ends, at most 253"},
    {"a namespace with a dot", TITLE("{name: a.b, namespace: c.d}") "spec: {egress: []}\n",
     "3:34: 'c.d' cannot be a namespace: small letters, digits and '-', a letter or digit at "
     "both "
     "ends, at most 63"},
    {"a namespace too long", TITLE("{name: a, namespace: " SIXTY_FOUR "}") "spec: {egress: []}\n",
     "3:32: '" SIXTY_FOUR "' cannot be a namespace: small letters, digits and '-', a letter or "
     "digit at both ends, at most 63"},
    {"a name that is a list", TITLE("{name: [a]}") "spec: {egress: []}\n",
     "3:18: name takes a text, not a list"},
    {"an unknown key of metadata", TITLE("{name: a, nmae: b}") "spec: {egress: []}\n",
     "3:21: metadata has no key 'nmae'; did you mean 'name'?"},
    {"an unknown key of all", TITLE("{name: a}") "spec: {egress: []}\nstatus: {}\n",
     "5:1: a TrafficPolicy has no key 'status'; say apiVersion, kind, metadata or spec"},
    {"a key twice", TITLE("{name: a, name: b}") "spec: {egress: []}\nspec: {}\n",
     "3:21: 'name' stands here again, after line 3\n"
     "5:1: 'spec' stands here again, after line 4"},
    {"a spec that is a list", TITLE("{name: a}") "spec: [egress]\n",
     "4:7: spec takes a map, not a list"},
    {"a spec without a value", TITLE("{name: a}") "spec:\n",
     "4:1: spec has no value; leave it out, or say one"},
    {"two of one name",
     TITLE("{name: a}") "spec: {egress: []}\n---\n" TITLE("{name: a}") "spec: {egress: []}\n",
     "8:18: a policy 'a' stands already in f, line 3"},
    {"two of one name in a namespace",
     TITLE("{name: a, namespace: n}") "spec: {egress: []}\n---\n"
                                      "apiVersion: cilium.io/v2\nkind: "
                                      "CiliumNetworkPolicy\nmetadata: {name: a, namespace: n}\n"
                                      "specs: [{endpointSelector: {}, egress: [{toEntities: "
                                      "[all]}]}]\n",
     "8:18: a policy 'n/a' stands already in f, line 3"},
    {"two of one name in two namespaces",
     TITLE("{name: a, namespace: n}") "spec: {egress: []}\n---\n" TITLE(
         "{name: a, namespace: m}") "spec: {egress: []}\n---\n" TITLE("{name: a}") "spec: "
                                                                                   "{egress: "
                                                                                   "[]}\n",
     ""},
    {"what Kubernetes adds",
     TITLE("{name: a, uid: x, labels: {}, annotations: {a: b}, generation: 2, managedFields: "
           "[]}") "spec: {egress: []}\n",
     ""},
    {"a file cut in a list", TITLE("{name: a}") "spec:\n  egress: [\n",
     "6:1: this is no YAML: did not find expected node content, while parsing a flow node that "
     "begins in line 6"},
    {"a file cut before its kind", "apiVersion: [\n",
     "2:1: this is no YAML: did not find expected node content, while parsing a flow node that "
     "begins in line 2"},
    {"a tab", TITLE("{name: a}") "spec:\n\tegress: []\n",
     "5:1: this is no YAML: a tab stands here, and YAML is indented by spaces alone"},
    {"an alias", TITLE("&x {name: a}") "spec: {egress: [], inspect: *x}\n",
     "3:11: anchors such as '&x' are not read; leave it out\n"
     "4:29: aliases such as '*x' are not read; write it out\n"
     "4:29: inspect takes a map, not a text"},
};

static void test_titles(void **state)
{
    (void)state;
    compile_check_faults(titles, ARRAY_SIZE(titles));
}

/* Windows' line ends, a byte order mark. */
static void test_bytes(void **state)
{
    static const char text[] = "\xef\xbb\xbf"
                               "apiVersion: sallyport.io/v1\r\nkind: TrafficPolicy\r\n"
                               "metadata: {name: a}\r\nspec:\r\n  mode: watch\r\n  egress: []\r\n";
    CLEANUP(text_free) char *got = compile_faults(span_of_text(text)), *nul = NULL;

    (void)state;
    assert_string_equal(got, "5:9: mode cannot be 'watch'; say enforce or monitor\n");
    nul = compile_faults(BYTES("kind: Traffic\0Policy\n"));
    assert_string_equal(nul,
                        "1:14: this is no text in UTF-8: control characters are not allowed\n");
}

/* A million brackets, in each way they can be written, end at the depth that is allowed. */
static void test_brackets(void **state)
{
    enum { LEN = 1000000 };
    static const char kinds[] = "[{-";

    (void)state;
    for (size_t i = 0; kinds[i]; i++) {
        CLEANUP(text_free) char *bomb = malloc(2 * LEN), *got = NULL;
        size_t len = 0;

        assert_non_null(bomb);
        for (size_t at = 0; at < LEN; at++) {
            bomb[len++] = kinds[i];
            if (kinds[i] == '-')
                bomb[len++] = ' ';
        }
        got = compile_faults(span_of(bomb, len));
        assert_non_null(
            strstr(got, "inside each other are more than 64; what follows was not read"));
    }
}

/* Of two files, too, and nothing of a file with faults stays. */
static void test_lists(void **state)
{
    CLEANUP(policy_list_fini) struct policy_list list = {0};
    CLEANUP(faults_fini) struct faults faults = {0};
    struct span a = BYTES(TITLE("{name: a}") "spec: {egress: []}\n");
    struct span two = BYTES(
        TITLE("{name: b}") "spec: {egress: []}\n---\n" TITLE("{name: a}") "spec: {egress: []}\n");

    (void)state;
    assert_int_equal(policy_compile(&list, a, "a.yaml", &faults), 0);
    assert_int_equal(list.len, 1);
    assert_string_equal(list.list[0]->file, "a.yaml");
    assert_int_equal(list.list[0]->mark.line, 3);
    assert_int_equal(policy_compile(&list, two, "b.yaml", &faults), -EINVAL);
    assert_int_equal(list.len, 1);
    assert_int_equal(faults.len, 1);
    assert_string_equal(faults.list[0].text, "a policy 'a' stands already in a.yaml, line 3");
}

static const struct compile_case whole[] = {
    {"the one of the design",
     "apiVersion: sallyport.io/v1\n"
     "kind: TrafficPolicy\n"
     "metadata: {name: cart, namespace: shop}\n"
     "spec:\n"
     "  podSelector: {matchLabels: {app: cart}}\n"
     "  matchBinaries: [{operator: In, values: [/usr/bin/curl]}]\n"
     "  mode: enforce\n"
     "  route: auto\n"
     "  ktls: leave\n"
     "  onNoVisibility: alert\n"
     "  learn: \"off\"\n"
     "  onAgentDown: closed\n"
     "  onDeny: reject\n"
     "  existing: report\n"
     "  egress:\n"
     "  - toFQDNs: [{matchName: api.example.com}, {matchPattern: \"*.svc.example.com\"}]\n"
     "    toCIDR: [203.0.113.0/24]\n"
     "    toPorts:\n"
     "    - ports: [{port: \"443\", protocol: TCP}]\n"
     "      serverNames: [\"api.example.com\"]\n"
     "      tls: {minVersion: \"1.2\", ciphers: [TLS_AES_128_GCM_SHA256], trustedCA: /etc/ca.pem, "
     "clientCertificate: /etc/client}\n"
     "      rules:\n"
     "        http: [{method: \"GET|HEAD\", path: \"/v1/.*\", host: \"api[.]example[.]com\", "
     "headers: [\"x-tenant\"]}]\n"
     "    - ports: [{port: \"53\", protocol: ANY}]\n"
     "      rules: {dns: [{matchPattern: \"*.example.com\", types: [A, AAAA]}]}\n"
     "  egressDeny: [{toCIDR: [169.254.169.254/32]}]\n"
     "  inspect:\n"
     "    consistency: deny\n"
     "    bodies: [{patterns: [payment-card, private-key, aws-access-key], direction: request, "
     "action: deny, maxBytes: 1Mi}]\n"
     "    tokens: alert\n",
     "shop/cart closed enforce route=0 ktls=0 unseen=1 learn=0 down=1 deny=reject existing=0\n"
     "label app 0 cart\n"
     "binary 0 /usr/bin/curl\n"
     "egress[0] names=api.example.com,~*.svc.example.com cidrs=203.0.113.0/24\n"
     "egress[0].toPorts[0] ports=443-443/T sni=api.example.com\n"
     "egress[0].toPorts[0].tls 303-0 ciphers=TLS_AES_128_GCM_SHA256 ca=/etc/ca.pem "
     "cert=/etc/client\n"
     "egress[0].toPorts[0].rules.http[0] method=/GET|HEAD/ path=//v1/.*/ host=api.example.com "
     "x-tenant:*\n"
     "egress[0].toPorts[1] ports=53-53/TU\n"
     "egress[0].toPorts[1].rules.dns[0] name=~*.example.com types=1,28\n"
     "egressDeny[0] cidrs=169.254.169.254/32\n"
     "inspect.bodies[0] 1 deny 1048576 payment-card private-key aws-access-key\n"
     "inspect.consistency 2\n"
     "inspect.tokens 1\n"},
    {"every other word",
     SPEC("  mode: monitor\n"
          "  route: kernel\n"
          "  ktls: prefer\n"
          "  onNoVisibility: steer\n"
          "  learn: passthrough\n"
          "  onAgentDown: open\n"
          "  onDeny: freeze\n"
          "  existing: reset"),
     "p monitor route=2 ktls=1 unseen=5 learn=1 down=2 deny=freeze existing=2\n"},
    {"deny all", SPEC("  egress: []"),
     "p closed enforce route=0 ktls=0 unseen=0 learn=0 down=0 deny=reject existing=0\n"},
    {"two documents",
     TITLE("{name: a}") "spec: {egress: []}\n---\n" TITLE("{name: b}") "spec: {mode: monitor}\n",
     "a closed enforce route=0 ktls=0 unseen=0 learn=0 down=0 deny=reject existing=0\n"
     "b monitor route=0 ktls=0 unseen=0 learn=0 down=0 deny=reject existing=0\n"},
};

static void test_whole(void **state)
{
    (void)state;
    compile_check_policies(whole, ARRAY_SIZE(whole), true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_titles),   cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_brackets), cmocka_unit_test(test_lists),
        cmocka_unit_test(test_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
