/* compile_select: whom a policy is for, and the words of its spec. */
#include "tests/unit/policy/compile_cases.h"

#define POD(text)    SPEC("  egress: []\n  podSelector:\n    " text) /* line 7 */
#define BINARY(text) SPEC("  egress: []\n  matchBinaries:\n  - " text)

static const struct compile_case pods[] = {
    {"an unknown key", POD("{matchLabel: {a: b}}"),
     "7:6: a selector of pods has no key 'matchLabel'; did you mean 'matchLabels'?"},
    {"a label that is a list", POD("matchLabels: {a: [b]}"),
     "7:22: a label of matchLabels takes a text, not a list"},
    {"keys of labels", POD("matchLabels: {\"k8s:app\": b, \"a b\": c, /d: e, -f: g, \"h/\": i}"),
     "7:19: 'k8s:app' cannot be the key of a label; such is 'app' or 'app.kubernetes.io/name'\n"
     "7:33: 'a b' cannot be the key of a label; such is 'app' or 'app.kubernetes.io/name'\n"
     "7:43: '/d' cannot be the key of a label; such is 'app' or 'app.kubernetes.io/name'\n"
     "7:50: '-f' cannot be the key of a label; such is 'app' or 'app.kubernetes.io/name'\n"
     "7:57: 'h/' cannot be the key of a label; such is 'app' or 'app.kubernetes.io/name'"},
    {"values of labels", POD("matchLabels: {a: b c, d: /e, f: ''}"),
     "7:22: 'b c' cannot be the value of a label: letters, digits, '-', '_' and '.', at most 63\n"
     "7:30: '/e' cannot be the value of a label: letters, digits, '-', '_' and '.', at most 63"},
    {"no expressions", POD("matchExpressions: []"),
     "7:23: matchExpressions is empty: leave it out, or say what a pod's labels must be"},
    {"expressions that lack something", POD("matchExpressions: [{}, {key: a, operator: IN}]"),
     "7:24: a requirement of matchExpressions lacks key\n"
     "7:24: a requirement of matchExpressions lacks operator\n"
     "7:28: the operators In and NotIn take values\n"
     "7:47: operator cannot be 'IN'; did you mean 'In'?"},
    {"values that are missing, and too many",
     POD("matchExpressions: [{key: a, operator: NotIn}, {key: b, operator: Exists, values: [c]}]"),
     "7:24: the operators In and NotIn take values\n"
     "7:78: the operators Exists and DoesNotExist take no values"},
    {"an operator of binaries", POD("matchExpressions: [{key: a, operator: Prefix, values: [b]}]"),
     "7:43: operator cannot be 'Prefix'; say In, NotIn, Exists or DoesNotExist"},
};

static const struct compile_case binaries[] = {
    {"none", SPEC("  egress: []\n  matchBinaries: []"),
     "6:18: matchBinaries is empty: leave it out for every binary"},
    {"nothing said", BINARY("{}"),
     "7:5: an item of matchBinaries lacks operator\n"
     "7:5: an item of matchBinaries lacks values"},
    {"an operator of labels", BINARY("{operator: Exists, values: [/a]}"),
     "7:16: operator cannot be 'Exists'; say In, NotIn, Prefix, NotPrefix, Postfix or NotPostfix"},
    {"no values", BINARY("{operator: In, values: []}"),
     "7:28: values is empty: say the paths of binaries"},
    {"paths from nowhere",
     BINARY("{operator: In, values: [curl, /a, '']}\n"
            "  - {operator: Postfix, values: [curl]}"),
     "7:29: 'curl' is no path from the root on; say it whole, or the operator Postfix\n"
     "7:39: an empty value says nothing of a binary's path"},
    {"neither true nor false",
     BINARY("{operator: In, values: [/a], followChildren: yes}\n"
            "  - {operator: In, values: [/a], followChildren: \"true\"}"),
     "7:50: followChildren takes true or false, without quotes\n"
     "8:50: followChildren takes true or false, without quotes"},
};

static const struct compile_case specs[] = {
    {"nothing", SPEC("  {}"),
     "5:3: the spec says nothing of what may pass; say egress, egressDeny "
     "or inspect"},
    {"whom alone", SPEC("  podSelector: {}\n  matchBinaries: [{operator: In, values: [/a]}]"),
     "5:3: the spec says nothing of what may pass; say egress, egressDeny or inspect"},
    {"words",
     SPEC("  mode: watch\n  route: direct\n  ktls: on\n  onNoVisibility: default\n  learn: true\n"
          "  onAgentDown: close\n  onDeny: drop\n  existing: kill"),
     "5:9: mode cannot be 'watch'; say enforce or monitor\n"
     "6:10: route cannot be 'direct'; say auto, proxy, kernel or passthrough\n"
     "7:9: ktls cannot be 'on'; say leave or prefer\n"
     "8:19: onNoVisibility cannot be 'default'; say alert, drop, sigkill, freeze or steer\n"
     "9:10: learn cannot be 'true'; say off or passthrough\n"
     "10:16: onAgentDown cannot be 'close'; did you mean 'closed'?\n"
     "11:11: onDeny cannot be 'drop'; say reject, reset, sigkill or freeze\n"
     "12:13: existing cannot be 'kill'; say report, leave or reset"},
    {"a word that is a list", SPEC("  mode: [enforce]\n  egress: []"),
     "5:9: mode takes a text, not a list"},
    {"Cilium's keys",
     SPEC("  endpointSelector: {}\n  enableDefaultDeny: {egress: true}\n  ingress: []\n"
          "  ingressDeny: []\n  nodeSelector: {}"),
     "5:3: endpointSelector is not supported: a TrafficPolicy says podSelector\n"
     "6:3: enableDefaultDeny is not supported: with egress, what it does not allow is denied; "
     "without, nothing is\n"
     "7:3: ingress is not supported: what comes in is not Sallyport's to judge; remove it, or keep "
     "it in a policy of its own for Cilium\n"
     "8:3: ingressDeny is not supported: what comes in is not Sallyport's to judge; remove it, or "
     "keep it in a policy of its own for Cilium\n"
     "9:3: nodeSelector is not supported: policies are for pods; say podSelector"},
};

static void test_faults(void **state)
{
    (void)state;
    compile_check_faults(pods, ARRAY_SIZE(pods));
    compile_check_faults(binaries, ARRAY_SIZE(binaries));
    compile_check_faults(specs, ARRAY_SIZE(specs));
}

static const struct compile_case fine[] = {
    {"every pod", POD("{}"), ""},
    {"labels", POD("matchLabels: {app: cart, app.kubernetes.io/name: \"\"}"),
     "label app 0 cart\nlabel app.kubernetes.io/name 0 \n"},
    {"expressions",
     POD("matchExpressions: [{key: a, operator: In, values: [b, c]}, {key: d, operator: NotIn, "
         "values: [e]}, {key: f, operator: Exists}, {key: g, operator: DoesNotExist}]"),
     "label a 0 b,c\nlabel d 1 e\nlabel f 2\nlabel g 3\n"},
    {"binaries",
     BINARY("{operator: In, values: [/a, /b], followChildren: true}\n"
            "  - {operator: NotIn, values: [/c]}\n"
            "  - {operator: Prefix, values: [/d/], followChildren: false}\n"
            "  - {operator: NotPrefix, values: [/e/]}\n"
            "  - {operator: Postfix, values: [curl]}\n"
            "  - {operator: NotPostfix, values: [/wget]}"),
     "binary 0 and children /a,/b\nbinary 1 /c\nbinary 4 /d/\nbinary 5 /e/\nbinary 6 curl\n"
     "binary 7 /wget\n"},
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
