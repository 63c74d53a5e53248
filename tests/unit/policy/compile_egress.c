/* compile_egress: where to, on which ports, under which TLS; and what says nothing, or cannot be.
 */
#include "tests/unit/policy/compile_cases.h"

#define NO_NAME "is no name of the DNS"
#define NO_PORT "is no port; that is a number from 1 to 65535, or 0 for any"
#define NOWHERE "as it is it allows nowhere; leave it out, or say where"
#define CLUSTER                                                                                    \
    "which addresses those are is the cluster's to know; say their networks under toCIDR, or "     \
    "names under toFQDNs"
#define PODS                                                                                       \
    "which pods have which address is not known here, but for the cluster's DNS, which is the "    \
    "pod's own name servers; say a service's name under toFQDNs, or a network under toCIDR"
#define SIXTY_FOUR "a123456789a123456789a123456789a123456789a123456789a123456789a123"

static const struct compile_case names[] = {
    {"a wildcard for a name", EGRESS("toFQDNs: [{matchName: \"*.a.example\"}]"),
     "6:27: '*.a.example' has a wildcard; matchName takes none, matchPattern does"},
    {"an address for a name", EGRESS("toFQDNs: [{matchName: 203.0.113.7}]"),
     "6:27: '203.0.113.7' is an address, which has no name; say it under toCIDR"},
    {"a URL", EGRESS("toFQDNs: [{matchName: \"https://a.example/\"}]"),
     "6:27: 'https://a.example/' is a URL; say the name in it alone"},
    {"a port behind it", EGRESS("toFQDNs: [{matchName: \"a.example:443\"}]"),
     "6:27: 'a.example:443' has a port behind it; ports are said under toPorts"},
    {"letters beyond ASCII", EGRESS("toFQDNs: [{matchName: b\xc3\xbc.example}]"),
     "6:27: 'b\xc3\xbc.example' is not as the DNS has it; say it in its 'xn--' form"},
    {"nothing", EGRESS("toFQDNs: [{matchName: ''}]"), "6:27: '' is empty"},
    {"a dot alone", EGRESS("toFQDNs: [{matchName: .}]"), "6:27: '.' " NO_NAME},
    {"two dots", EGRESS("toFQDNs: [{matchName: a..example}]"), "6:27: 'a..example' " NO_NAME},
    {"a blank", EGRESS("toFQDNs: [{matchName: a b}]"), "6:27: 'a b' " NO_NAME},
    {"a label too long", EGRESS("toFQDNs: [{matchName: " SIXTY_FOUR ".example}]"),
     "6:27: '" SIXTY_FOUR ".example' " NO_NAME},
    {"two stars in the middle", EGRESS("toFQDNs: [{matchPattern: \"a.**.example\"}]"),
     "6:30: 'a.**.example' has '**', which can stand only in front, as in '**.example.com'"},
    {"a name and a pattern", EGRESS("toFQDNs: [{matchName: a.example, matchPattern: \"*\"}]"),
     "6:38: matchName and matchPattern are two items; begin the second with '- '"},
    {"neither", EGRESS("toFQDNs: [{}]"),
     "6:15: an item of toFQDNs says nothing; say matchName or matchPattern"},
    {"texts", EGRESS("toFQDNs: [a.example]"), "6:15: an item of toFQDNs is a map, not a text"},
    {"none", EGRESS("toFQDNs: []"), "6:14: toFQDNs is empty: " NOWHERE},
    {"a server name that is none", TO_PORTS("serverNames: [\"a b\"]"), "7:21: 'a b' " NO_NAME},
    {"no server names", TO_PORTS("serverNames: []"),
     "7:20: serverNames is empty: leave it out for every name"},
    {"a server name that is none of the names",
     EGRESS("toFQDNs: [{matchPattern: \"*.a.example\"}]\n"
            "    toPorts: [{serverNames: [b.a.example, \"*.b.example\", c.b.example]}]"),
     "7:58: 'c.b.example' is no name of toFQDNs in this rule, so nothing is ever allowed by it"},
};

static const struct compile_case networks[] = {
    {"bits of a host", EGRESS("toCIDR: [203.0.113.7/24]"),
     "6:14: '203.0.113.7/24' has bits beyond its prefix; say 203.0.113.0/24 for the network, or "
     "203.0.113.7 for the address alone"},
    {"bits of a host, IPv6", EGRESS("toCIDR: [\"2001:db8::1/32\"]"),
     "6:14: '2001:db8::1/32' has bits beyond its prefix; say 2001:db8::/32 for the network, or "
     "2001:db8::1 for the address alone"},
    {"a prefix too long", EGRESS("toCIDR: [203.0.113.0/33]"),
     "6:14: '203.0.113.0/33' has no prefix behind '/'; that is a number from 0 to 32"},
    {"a prefix too long, IPv6", EGRESS("toCIDR: [\"2001:db8::/129\"]"),
     "6:14: '2001:db8::/129' has no prefix behind '/'; that is a number from 0 to 128"},
    {"a prefix that is none", EGRESS("toCIDR: [203.0.113.0/, 203.0.113.0/x]"),
     "6:14: '203.0.113.0/' has no prefix behind '/'; that is a number from 0 to 32\n"
     "6:28: '203.0.113.0/x' has no prefix behind '/'; that is a number from 0 to 32"},
    {"a netmask", EGRESS("toCIDR: [203.0.113.0/255.255.255.0]"),
     "6:14: '203.0.113.0/255.255.255.0' has no prefix behind '/'; that is a number from 0 to 32"},
    {"a name", EGRESS("toCIDR: [a.example]"),
     "6:14: 'a.example' is no network; names are said under toFQDNs"},
    {"a range", EGRESS("toCIDR: [203.0.113.1-203.0.113.9]"),
     "6:14: '203.0.113.1-203.0.113.9' is a range; say networks such as 203.0.113.0/24"},
    {"a part of one", EGRESS("toCIDR: [203.0.113, \"2001:db8\"]"),
     "6:14: '203.0.113' is no network, such as 203.0.113.0/24 or 2001:db8::/32\n"
     "6:25: '2001:db8' is no network, such as 203.0.113.0/24 or 2001:db8::/32"},
    {"a port behind it", EGRESS("toCIDR: [\"203.0.113.7:443\", \"[2001:db8::1]\"]"),
     "6:14: '203.0.113.7:443' has a port, or brackets; ports are said under toPorts\n"
     "6:33: '[2001:db8::1]' has a port, or brackets; ports are said under toPorts"},
    {"nothing", EGRESS("toCIDR: ['', ~]"),
     "6:14: '' is empty\n6:18: an item of toCIDR has no value"},
    {"a text for a list", EGRESS("toCIDR: 203.0.113.0/24"),
     "6:13: toCIDR takes a list, not a text"},
    {"none", EGRESS("toCIDR: []"), "6:13: toCIDR is empty: " NOWHERE},
    {"a set without its network", EGRESS("toCIDRSet: [{except: [203.0.113.0/24]}]"),
     "6:17: an item of toCIDRSet lacks cidr"},
    {"a set that is cut off", EGRESS("toCIDRSet: [{except: [10.0.0.0/8]}"),
     "7:1: this is no YAML: did not find expected ',' or ']', while parsing a flow sequence that "
     "begins in line 6"},
    {"what is excepted is not in it",
     EGRESS("toCIDRSet: [{cidr: 10.0.0.0/8, except: [11.0.0.0/16, 10.1.0.0/16, 0.0.0.0/0]}]"),
     "6:45: '11.0.0.0/16' is not in 10.0.0.0/8, so there is nothing to except\n"
     "6:71: '0.0.0.0/0' is not in 10.0.0.0/8, so there is nothing to except"},
    {"all of it is excepted", EGRESS("toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}]"),
     "6:45: '10.0.0.0/8' is all of its network: nothing is left"},
    {"a group", EGRESS("toCIDRSet: [{cidrGroupRef: g}]"),
     "6:17: an item of toCIDRSet lacks cidr\n"
     "6:18: cidrGroupRef is not supported: there are no groups of networks here; write the "
     "networks out as cidr"},
    {"an entity misspelt", EGRESS("toEntities: [wolrd]"),
     "6:18: toEntities cannot be 'wolrd'; did you mean 'world'?"},
    {"an entity of the cluster's", EGRESS("toEntities: [world, kube-apiserver]"),
     "6:25: the entity 'kube-apiserver' is not supported: " CLUSTER},
};

#define UNASKED                                                                                    \
    "questions of the DNS are asked without, so that none is ever allowed; make an item of "       \
    "toPorts of its own for port 53"

static const struct compile_case ports[] = {
    {"ranges", TO_PORTS("ports: [{port: \"80-443\"}, {port: \"443-80\"}]"),
     "7:22: '80-443' is no port; a range is said as port: \"80\" and endPort: 443\n"
     "7:40: '443-80' " NO_PORT},
    {"numbers that are none",
     TO_PORTS("ports: [{port: 70000}, {port: -1}, {port: 0x50}, "
              "{port: 080}, {port: ''}, {port: 4 43}]"),
     "7:22: '70000' " NO_PORT "\n7:37: '-1' " NO_PORT "\n7:49: '0x50' " NO_PORT
     "\n7:63: '080' " NO_PORT "\n7:76: '' " NO_PORT
     "\n7:88: '4 43' is no port: names of ports are not known here; say its number"},
    {"a name", TO_PORTS("ports: [{port: https}]"),
     "7:22: 'https' is no port: names of ports are not known here; say its number"},
    {"a range that ends before it begins", TO_PORTS("ports: [{port: \"443\", endPort: 80}]"),
     "7:38: the range ends at 80, before it begins at 443"},
    {"a range that ends nowhere", TO_PORTS("ports: [{port: \"443\", endPort: 0}]"),
     "7:38: '0' is no endPort; that is a number from 1 to 65535"},
    {"a range of all ports", TO_PORTS("ports: [{port: \"0\", endPort: 80}]"),
     "7:27: port 0 is every port, so there is no endPort"},
    {"no port", TO_PORTS("ports: [{protocol: TCP}]"), "7:15: an item of ports lacks port"},
    {"a number for a map", TO_PORTS("ports: [443]"), "7:15: an item of ports is a map, not a text"},
    {"protocols", TO_PORTS("ports: [{port: \"1\", protocol: tcp}, {port: \"2\", protocol: SCTP}]"),
     "7:37: protocol cannot be 'tcp'; did you mean 'TCP'?\n"
     "7:65: the protocol SCTP is not supported: only TCP and UDP are judged by port, and raw and "
     "SCTP sockets are refused where a policy enforces egress"},
    {"none", TO_PORTS("ports: []"), "7:14: ports is empty: leave it out for every port"},
    {"no entry", EGRESS("toPorts: []"), "6:14: toPorts is empty: leave it out for every port"},
    {"an empty entry", TO_PORTS("{}"),
     "7:7: an item of toPorts says nothing; leave toPorts out for every port"},
    {"empty rules", TO_PORTS("rules: {}"),
     "7:14: rules says nothing; leave it out, or say http or dns"},
    {"no http", TO_PORTS("rules: {http: []}"),
     "7:21: http is empty: leave it out, or say http: [{}], to allow every request"},
    {"no dns", TO_PORTS("rules: {dns: []}"),
     "7:20: dns is empty: leave it out to allow every question"},
    {"another protocol's rules", TO_PORTS("rules: {kafka: [{topic: x}]}"),
     "7:15: kafka is not supported: only http and dns are read; leave the rules out, or judge by "
     "port"},
    {"http and dns", TO_PORTS("rules: {http: [{}], dns: [{matchPattern: \"*\"}]}"),
     "7:27: http and dns are never spoken on one port; make two items of toPorts of them"},
    {"dns on another port",
     TO_PORTS(
         "ports: [{port: \"53\"}, {port: \"5353\"}]\n      rules: {dns: [{matchPattern: \"*\"}]}"),
     "7:29: dns rules are for port 53 alone, where the DNS is spoken; make an item of toPorts of "
     "its own for other ports"},
    {"dns under TLS",
     TO_PORTS("serverNames: [a.example]\n      rules: {dns: [{matchPattern: \"*\"}]}"),
     "7:7: serverNames are said in TLS, and questions of the DNS are asked without; make two items "
     "of toPorts of them"},
    {"what is said in TLS on UDP alone",
     TO_PORTS("ports: [{port: \"443\", protocol: UDP}]\n"
              "      serverNames: [a.example]\n"
              "      tls: {minVersion: \"1.3\"}\n"
              "      rules: {http: [{}]}"),
     "9:7: tls cannot be judged on UDP, where no TLS of ours is; say protocol: TCP\n"
     "10:15: http cannot be judged on UDP, where no TLS of ours is; say protocol: TCP"},
    {"what is said in TLS where the DNS is spoken, too",
     TO_PORTS("ports: [{port: \"443\"}, {port: \"53\", protocol: UDP}]\n"
              "      serverNames: [a.example]\n      rules: {http: [{}]}"),
     "7:30: serverNames is said here, and " UNASKED},
    {"HTTP where the DNS is spoken",
     TO_PORTS("ports: [{port: \"53\", protocol: TCP}]\n      rules: {http: [{}]}"),
     "7:15: http is said here, and " UNASKED},
    {"TLS where the DNS is spoken, and its rules",
     TO_PORTS("ports: [{port: \"53\"}]\n      tls: {minVersion: \"1.3\"}\n"
              "      rules: {dns: [{matchPattern: \"*\"}]}"),
     "7:15: tls is said here, and " UNASKED},
    {"what is said in TLS in a range that holds port 53",
     TO_PORTS("ports: [{port: \"1\", endPort: 1024}]\n      serverNames: [a.example]"), ""},
    {"Cilium's TLS", TO_PORTS("terminatingTLS: {secret: {name: x}}"),
     "7:7: terminatingTLS is not supported: certificates are made on the spot, and upstream's is "
     "verified, for every connection; say what TLS must be under tls, the roots as tls.trustedCA"},
    {"a listener", TO_PORTS("listener: {name: x}"),
     "7:7: listener is not supported: traffic goes through Sallyport's own proxy and no other"},
};

static const struct compile_case tls[] = {
    {"empty", TO_PORTS("tls: {}"), "7:12: tls says nothing; leave it out"},
    {"versions", TO_PORTS("tls: {minVersion: TLSv1.2, maxVersion: \"1.1\"}"),
     "7:25: minVersion cannot be 'TLSv1.2'; say 1.2 or 1.3\n"
     "7:46: TLS 1.1 is spoken by nobody here, so maxVersion can be 1.2 or 1.3"},
    {"a version of the future", TO_PORTS("tls: {minVersion: \"1.4\"}"),
     "7:25: minVersion cannot be '1.4'; say 1.2 or 1.3"},
    {"the most is less than the least", TO_PORTS("tls: {minVersion: 1.3, maxVersion: 1.2}"),
     "7:42: maxVersion is older than minVersion"},
    {"a cipher misspelt", TO_PORTS("tls: {ciphers: [TLS_AES_128_GCM_SHA265]}"),
     "7:23: ciphers cannot be 'TLS_AES_128_GCM_SHA265'; did you mean 'TLS_AES_128_GCM_SHA256'?"},
    {"no ciphers", TO_PORTS("tls: {ciphers: []}"),
     "7:22: ciphers is empty: no connection could come about; leave it out for all"},
    {"a cipher that the versions exclude",
     TO_PORTS("tls: {minVersion: 1.3, ciphers: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]}"),
     "7:40: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 is of TLS 1.2, which minVersion excludes"},
    {"... on the other side", TO_PORTS("tls: {maxVersion: 1.2, ciphers: [TLS_AES_128_GCM_SHA256]}"),
     "7:40: TLS_AES_128_GCM_SHA256 is of TLS 1.3, which maxVersion excludes"},
    {"paths from nowhere", TO_PORTS("tls: {trustedCA: ca.pem, clientCertificate: ./c}"),
     "7:24: trustedCA is 'ca.pem', which is no path from the root on; say /etc/…\n"
     "7:51: clientCertificate is './c', which is no path from the root on; say /etc/…"},
    {"of what is denied",
     SPEC("  egressDeny: [{toPorts: [{ports: [{port: 1}], tls: {minVersion: 1.3}}]}]"),
     "5:48: tls says how what is allowed must be; egressDeny takes none"},
};

static const struct compile_case rules[] = {
    {"an empty rule", EGRESS("{}"),
     "6:5: an empty rule says nothing; say 'egress: []' to deny all, or toEntities: [all] to allow "
     "all"},
    {"an empty rule that denies", SPEC("  egressDeny: [{}]"),
     "5:16: an empty rule denies nothing; leave it out, or say toEntities: [all]"},
    {"nothing to deny", SPEC("  egressDeny: []"),
     "5:15: egressDeny is empty: leave it out; to deny all, say egress: []"},
    {"no value", SPEC("  egress:"), "5:3: egress has no value; leave it out, or say one"},
    {"a key misspelt", EGRESS("toPort: []"),
     "6:5: a rule of egress has no key 'toPort'; did you "
     "mean 'toPorts'?"},
    {"pods", EGRESS("toEndpoints: [{}, {matchLabels: {app: kube-dns}}]"),
     "6:19: toEndpoints is not supported: " PODS "\n6:23: toEndpoints is not supported: " PODS},
    {"pods by labels without keys",
     EGRESS("toEndpoints: [{matchLabels: [kube-dns]}, {matchLabels: kube-dns}]"),
     "6:19: toEndpoints is not supported: " PODS "\n6:46: toEndpoints is not supported: " PODS},
    {"more than the DNS of the cluster's",
     EGRESS("toEndpoints: [{matchLabels: {k8s-app: kube-dns}}]\n"
            "  - toEndpoints: [{matchLabels: {k8s-app: kube-dns}}]\n"
            "    toPorts: [{ports: [{port: 53}, {port: 9153}]}]"),
     "6:5: toEndpoints of the cluster's DNS is supported on port 53 alone; say toPorts\n"
     "7:5: toEndpoints of the cluster's DNS is supported on port 53 alone; say toPorts"},
    {"groups", EGRESS("toGroups: []"),
     "6:5: toGroups is not supported: nobody is asked what a group of a cloud's is; say its "
     "networks under toCIDR"},
    {"nodes", EGRESS("toNodes: []"),
     "6:5: toNodes is not supported: nodes are not known here; say their networks under toCIDR"},
    {"icmps", EGRESS("icmps: []"),
     "6:5: icmps is not supported: only TCP and UDP are judged; leave it to a policy of its own "
     "for Cilium"},
    {"authentication", EGRESS("authentication: {mode: required}"),
     "6:5: authentication is not supported: who the peer is is judged by its certificate; say "
     "toPorts[].tls.trustedCA"},
    {"allowed and denied",
     SPEC("  egress: [{toCIDR: [203.0.113.0/25], toPorts: [{ports: [{port: 443}]}]}]\n"
          "  egressDeny: [{toCIDR: [198.51.100.0/24]}, {toCIDR: [203.0.113.0/24]}]"),
     "5:12: nothing is left of this rule: egressDeny[1], line 6, denies all of it"},
    {"allowed and denied by name",
     SPEC("  egress: [{toFQDNs: [{matchName: a.example}]}]\n"
          "  egressDeny: [{toFQDNs: [{matchPattern: \"*.example\"}]}]"),
     "5:12: nothing is left of this rule: egressDeny[0], line 6, denies all of it"},
    {"allowed, and all is denied on its port",
     SPEC("  egress: [{toFQDNs: [{matchName: a.example}], toPorts: [{ports: [{port: 80}]}]}]\n"
          "  egressDeny: [{toPorts: [{ports: [{port: 1, endPort: 100}]}]}]"),
     "5:12: nothing is left of this rule: egressDeny[0], line 6, denies all of it"},
    {"something is left: a protocol, a port, a network, a name, a request",
     SPEC("  egress:\n"
          "  - {toCIDR: [10.0.0.0/8], toPorts: [{ports: [{port: 80}]}]}\n"
          "  - {toCIDR: [10.0.0.0/8]}\n"
          "  - {toCIDR: [10.0.0.0/8, 192.0.2.0/24], toPorts: [{ports: [{port: 80, protocol: "
          "TCP}]}]}\n"
          "  - {toFQDNs: [{matchPattern: \"*.example\"}]}\n"
          "  - {toPorts: [{ports: [{port: 443}]}]}\n"
          "  egressDeny:\n"
          "  - {toCIDR: [10.0.0.0/8], toPorts: [{ports: [{port: 80, protocol: TCP}]}]}\n"
          "  - {toFQDNs: [{matchPattern: a.example}]}\n"
          "  - {toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]}\n"
          "  - {toPorts: [{ports: [{port: 443}], rules: {http: [{method: PUT}]}}]}"),
     ""},
};

static void test_faults(void **state)
{
    (void)state;
    compile_check_faults(names, ARRAY_SIZE(names));
    compile_check_faults(networks, ARRAY_SIZE(networks));
    compile_check_faults(ports, ARRAY_SIZE(ports));
    compile_check_faults(tls, ARRAY_SIZE(tls));
    compile_check_faults(rules, ARRAY_SIZE(rules));
}

static const struct compile_case fine[] = {
    {"names as they are compared",
     EGRESS("toFQDNs: [{matchName: API.Example.com.}, {matchPattern: \"**.Example\"}]"),
     "egress[0] names=api.example.com,~**.example\n"},
    {"networks",
     EGRESS("toCIDR: [203.0.113.7, \"2001:db8::/32\", 0.0.0.0/0]\n"
            "    toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.96.0.0/12, 10.1.2.3]}]"),
     "egress[0] "
     "cidrs=203.0.113.7/32,2001:db8::/32,0.0.0.0/0,10.0.0.0/8!10.96.0.0/12!10.1.2.3/32\n"},
    {"entities",
     EGRESS("toEntities: [all]\n  - toEntities: [world]\n  - toEntities: "
            "[world-ipv4]\n  - toEntities: [world-ipv6]\n  - toEntities: [none]"),
     "egress[0] cidrs=0.0.0.0/0,::/0\n"
     "egress[1] cidrs=0.0.0.0/0,::/0\n"
     "egress[2] cidrs=0.0.0.0/0\n"
     "egress[3] cidrs=::/0\n"
     "egress[4] nowhere\n"},
    {"ports",
     TO_PORTS("ports: [{port: \"443\"}, {port: 8000, endPort: 8099, protocol: TCP}, {port: "
              "0, protocol: UDP}, {port: 53, protocol: ANY}]"),
     "egress[0]\n"
     "egress[0].toPorts[0] ports=443-443/TU,8000-8099/T,0-65535/U,53-53/TU\n"},
    {"server names",
     TO_PORTS("serverNames: [A.example, \"*.b.example\"]\n    - tls: {maxVersion: "
              "\"1.2\", trustedCA: /ca, clientCertificate: /c}"),
     "egress[0]\n"
     "egress[0].toPorts[0] sni=a.example,~*.b.example\n"
     "egress[0].toPorts[1]\n"
     "egress[0].toPorts[1].tls 0-303 ca=/ca cert=/c\n"},
    {"what is denied",
     SPEC("  egressDeny:\n  - toPorts: [{ports: [{port: 22}]}]\n"
          "  - toFQDNs: [{matchName: a.example}]"),
     "egressDeny[0]\n"
     "egressDeny[0].toPorts[0] ports=22-22/TU\n"
     "egressDeny[1] names=a.example\n"},
};

static void test_fine(void **state)
{
    (void)state;
    compile_check_policies(fine, ARRAY_SIZE(fine), false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_fine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
