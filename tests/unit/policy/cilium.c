/* cilium: Cilium's policies as they are, and what of them is not ours to do. */
#include "tests/unit/policy/compile_cases.h"

#define TITLE(kind, metadata) "apiVersion: cilium.io/v2\nkind: " kind "\nmetadata: " metadata "\n"
#define CNP(spec)             TITLE("CiliumNetworkPolicy", "{name: p, namespace: n}") "spec:\n" spec "\n"
#define PODS(selector)                                                                             \
    CNP("  egress: [{toEntities: [all]}]\n  endpointSelector:\n    " selector) /* line 7 */
#define RULE(rule) CNP("  endpointSelector: {}\n  egress:\n  - " rule)         /* line 7 */
#define INGRESS                                                                                    \
    "what comes in is not Sallyport's to judge; remove it, or keep it in a policy of its own for " \
    "Cilium"

static const struct compile_case faults[] = {
    {"our version",
     "apiVersion: sallyport.io/v1\nkind: CiliumNetworkPolicy\nmetadata: {name: p}\n"
     "spec: {endpointSelector: {}, egress: [{toEntities: [all]}]}\n",
     "1:13: the apiVersion of a CiliumNetworkPolicy is cilium.io/v2"},
    {"no spec", TITLE("CiliumNetworkPolicy", "{name: p}"), "1:1: a Cilium policy lacks spec"},
    {"no specs", TITLE("CiliumNetworkPolicy", "{name: p}") "specs: []\n",
     "4:8: specs is empty: say what may pass"},
    {"specs that are none", TITLE("CiliumNetworkPolicy", "{name: p}") "specs: [a]\n",
     "4:9: an item of specs is a map, not a text"},
    {"cluster-wide, of a namespace",
     TITLE(
         "CiliumClusterwideNetworkPolicy",
         "{name: p, namespace: n}") "spec: {endpointSelector: {}, egress: [{toEntities: [all]}]}\n",
     "3:21: a CiliumClusterwideNetworkPolicy has no namespace; select by "
     "k8s:io.kubernetes.pod.namespace, or make it a CiliumNetworkPolicy"},
    {"no selector", CNP("  egress: [{toEntities: [all]}]"),
     "5:3: the spec of a Cilium policy lacks endpointSelector"},
    {"nothing of egress", CNP("  endpointSelector: {}"),
     "5:3: the spec says nothing of egress, so there is nothing to judge"},
    {"ingress", CNP("  endpointSelector: {}\n  ingress: [{}]\n  ingressDeny: [{}]"),
     "6:3: ingress is not supported: " INGRESS "\n7:3: ingressDeny is not supported: " INGRESS},
    {"nodes", CNP("  nodeSelector: {}\n  egress: [{toEntities: [all]}]"),
     "5:3: nodeSelector is not supported: policies are for pods; keep it in a policy of its own "
     "for "
     "Cilium\n"
     "5:3: the spec of a Cilium policy lacks endpointSelector"},
    {"no rules", CNP("  endpointSelector: {}\n  egress: []\n  egressDeny: []"),
     "6:11: egress is empty: to Cilium that says nothing; '- {}' as its one item denies all\n"
     "7:15: egressDeny is empty: to Cilium that says nothing; leave it out"},
    {"keys of ours",
     CNP("  endpointSelector: {}\n  mode: monitor\n  egress: [{toPorts: [{tls: "
         "{minVersion: 1.3}}, {rules: {dns: [{types: [A]}]}}]}]"),
     "6:3: the spec of a Cilium policy has no key 'mode'; say endpointSelector, egress, "
     "egressDeny, "
     "enableDefaultDeny, description, labels or log\n"
     "7:24: tls is Sallyport's, and Cilium would refuse it; say kind: TrafficPolicy\n"
     "7:65: types is Sallyport's, and Cilium would refuse it; say kind: TrafficPolicy"},
    {"labels of another source", PODS("matchLabels: {\"reserved:host\": \"\", \"container:a\": b}"),
     "7:19: labels of the source 'reserved' are not known here; k8s: and any: are\n"
     "7:40: labels of the source 'container' are not known here; k8s: and any: are"},
    {"labels that Cilium makes",
     PODS("matchExpressions: [{key: \"k8s:io.cilium.k8s.policy.serviceaccount\", operator: "
          "Exists}]"),
     "7:30: 'io.cilium.k8s.policy.serviceaccount' is a label that Cilium makes, and is not known "
     "here; select by the pod's own labels or by io.kubernetes.pod.namespace"},
    {"a default that is no map",
     CNP("  endpointSelector: {}\n  egress: [{}]\n"
         "  enableDefaultDeny: {egress: maybe, both: true}"),
     "7:31: egress takes true or false, without quotes\n"
     "7:38: enableDefaultDeny has no key 'both'; say egress or ingress"},
    {"a port by its name", RULE("toPorts: [{ports: [{port: https, protocol: TCP}]}]"),
     "7:31: 'https' is no port: names of ports are not known here; say its number"},
    {"services", RULE("toServices: [{k8sService: {serviceName: s}}]"),
     "7:5: toServices is not supported: which pods have which address is not known here, but for "
     "the cluster's DNS, which is the pod's own name servers; say a service's name under toFQDNs, "
     "or a network under toCIDR"},
};

static void test_faults(void **state)
{
    (void)state;
    compile_check_faults(faults, ARRAY_SIZE(faults));
}

#define USUAL "enforce route=0 ktls=0 unseen=0 learn=0 down=0 deny=reject existing=0\n"
static const struct compile_case fine[] = {
    {"as Cilium's guide has it, and kubectl prints it",
     "apiVersion: \"cilium.io/v2\"\n"
     "kind: CiliumNetworkPolicy\n"
     "metadata:\n"
     "  name: \"fqdn\"\n"
     "  creationTimestamp: null\n"
     "spec:\n"
     "  description: \"names\"\n"
     "  endpointSelector:\n"
     "    matchLabels:\n"
     "      org: alliance\n"
     "      k8s:class: mediabot\n"
     "      any:x: y\n"
     "  egress:\n"
     "  - toFQDNs:\n"
     "    - matchName: \"api.github.com\"\n"
     "    toPorts:\n"
     "    - ports:\n"
     "      - port: \"443\"\n"
     "        protocol: TCP\n"
     "status: {}\n",
     "fqdn closed " USUAL "label org 0 alliance\nlabel class 0 mediabot\nlabel x 0 y\n"
     "egress[0] names=api.github.com\n"
     "egress[0].toPorts[0] ports=443-443/T\n"},
    {"a rule of nothing is for nowhere", RULE("{}"), "n/p closed " USUAL "egress[0] nowhere\n"},
    {"rules that deny close, too",
     CNP("  endpointSelector: {}\n  egressDeny: [{toCIDR: [10.0.0.0/8]}]"),
     "n/p closed " USUAL "egressDeny[0] cidrs=10.0.0.0/8\n"},
    {"unless it is said otherwise",
     CNP("  enableDefaultDeny: {egress: false, ingress: false}\n"
         "  endpointSelector: {}\n  egress: [{toEntities: [world-ipv4]}]"),
     "n/p " USUAL "egress[0] cidrs=0.0.0.0/0\n"},
    {"of ingress alone",
     CNP("  enableDefaultDeny: {ingress: false}\n  endpointSelector: {}\n"
         "  egressDeny: [{toCIDR: [10.0.0.0/8]}]"),
     "n/p closed " USUAL "egressDeny[0] cidrs=10.0.0.0/8\n"},
    {"several in one",
     TITLE("CiliumClusterwideNetworkPolicy",
           "{name: p}") "spec: {endpointSelector: {}, egress: [{toEntities: [world-ipv4]}]}\n"
                        "specs:\n"
                        "- endpointSelector: {matchLabels: {\"k8s:io.kubernetes.pod.namespace\": "
                        "n}}\n"
                        "  egress: [{toPorts: [{ports: [{port: \"80\"}]}]}]\n"
                        "- endpointSelector: {}\n"
                        "  egressDeny: [{toCIDR: [10.0.0.0/8]}]\n",
     "p closed " USUAL "egress[0] cidrs=0.0.0.0/0\n"
     "p[0] closed " USUAL "label io.kubernetes.pod.namespace 0 n\n"
     "specs[0].egress[0]\n"
     "specs[0].egress[0].toPorts[0] ports=80-80/TU\n"
     "p[1] closed " USUAL "specs[1].egressDeny[0] cidrs=10.0.0.0/8\n"},
};

static void test_fine(void **state)
{
    (void)state;
    compile_check_policies(fine, ARRAY_SIZE(fine), true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_fine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
