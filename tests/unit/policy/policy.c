/* policy: for which pods and processes a policy is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "policy/compile.h"

/* The one policy of a spec written on a line. */
static struct policy *policy_of(const char *metadata, const char *spec)
{
    CLEANUP(policy_list_fini) struct policy_list list = {0};
    CLEANUP(faults_fini) struct faults faults = {0};
    CLEANUP(text_free) char *text = NULL;

    assert_true(asprintf(&text,
                         "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {%s}\n"
                         "spec: {egress: [], %s}\n",
                         metadata, spec) > 0);
    assert_int_equal(policy_compile(&list, span_of_text(text), "f", &faults), 0);
    assert_int_equal(list.len, 1);
    return policy_ref(list.list[0]);
}

static const struct {
    const char *metadata, *selector;
    const char *space; /* of the pod, whose labels are app=cart and tier=web */
    bool selects;
} pods[] = {
    {"name: p", "podSelector: {}", "shop", true},
    {"name: p", "podSelector: {}", "", true},
    {"name: p, namespace: shop", "podSelector: {}", "shop", true},
    {"name: p, namespace: shop", "podSelector: {}", "shop2", false},
    {"name: p, namespace: shop", "podSelector: {}", "", false},
    {"name: p", "podSelector: {matchLabels: {app: cart}}", "shop", true},
    {"name: p", "podSelector: {matchLabels: {app: cart, tier: web}}", "shop", true},
    {"name: p", "podSelector: {matchLabels: {app: cart, tier: db}}", "shop", false},
    {"name: p", "podSelector: {matchLabels: {App: cart}}", "shop", false},
    {"name: p", "podSelector: {matchLabels: {other: ''}}", "shop", false},
    {"name: p", "podSelector: {matchExpressions: [{key: app, operator: In, values: [a, cart]}]}",
     "shop", true},
    {"name: p", "podSelector: {matchExpressions: [{key: app, operator: In, values: [a]}]}", "shop",
     false},
    {"name: p", "podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [a]}]}",
     "shop", true},
    {"name: p", "podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [a, cart]}]}",
     "shop", false},
    {"name: p", "podSelector: {matchExpressions: [{key: other, operator: NotIn, values: [a]}]}",
     "shop", true},
    {"name: p", "podSelector: {matchExpressions: [{key: app, operator: Exists}]}", "shop", true},
    {"name: p", "podSelector: {matchExpressions: [{key: other, operator: Exists}]}", "shop", false},
    {"name: p", "podSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}", "shop",
     false},
    {"name: p", "podSelector: {matchExpressions: [{key: other, operator: DoesNotExist}]}", "shop",
     true},
    {"name: p",
     "podSelector: {matchExpressions: [{key: io.kubernetes.pod.namespace, operator: In, values: "
     "[shop]}]}",
     "shop", true},
    {"name: p",
     "podSelector: {matchExpressions: [{key: io.kubernetes.pod.namespace, operator: Exists}]}", "",
     false},
};

static void selects_pods(void **state)
{
    const struct pod_label labels[] = {{(char *)"app", (char *)"cart"},
                                       {(char *)"tier", (char *)"web"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
        CLEANUP(policy_unref) struct policy *policy = policy_of(pods[i].metadata, pods[i].selector);
        CLEANUP(pod_unref) struct pod *pod = pod_new(1, pods[i].space, "p", labels, 2);

        if (policy_selects(policy, pod) != pods[i].selects)
            fail_msg("{%s} %s and a pod of '%s'", pods[i].metadata, pods[i].selector,
                     pods[i].space);
    }
}

static const struct {
    const char *binaries; /* of the process: /usr/bin/curl, a child of /bin/sh, of /sbin/init */
    bool fits;
} processes[] = {
    {"{operator: In, values: [/usr/bin/curl]}", true},
    {"{operator: In, values: [/usr/bin/wget, /usr/bin/curl]}", true},
    {"{operator: In, values: [/usr/bin/cur]}", false},
    {"{operator: In, values: [/bin/sh]}", false},
    {"{operator: In, values: [/bin/sh], followChildren: true}", true},
    {"{operator: In, values: [/sbin/init], followChildren: true}", true},
    {"{operator: In, values: [/bin/bash], followChildren: true}", false},
    {"{operator: NotIn, values: [/usr/bin/curl]}", false},
    {"{operator: NotIn, values: [/bin/sh]}", true},
    {"{operator: NotIn, values: [/bin/sh], followChildren: true}", false},
    {"{operator: NotIn, values: [/bin/bash], followChildren: true}", true},
    {"{operator: Prefix, values: [/usr/]}", true},
    {"{operator: Prefix, values: [/usr/bin/curl/]}", false},
    {"{operator: NotPrefix, values: [/usr/]}", false},
    {"{operator: NotPrefix, values: [/opt/]}", true},
    {"{operator: Postfix, values: [/curl]}", true},
    {"{operator: Postfix, values: [x/usr/bin/curl]}", false},
    {"{operator: NotPostfix, values: [/curl]}", false},
    {"{operator: NotPostfix, values: [/wget]}", true},
    {"{operator: Prefix, values: [/usr/]}, {operator: Postfix, values: [/wget]}", false},
    {"{operator: Prefix, values: [/usr/]}, {operator: Postfix, values: [/curl]}", true},
};

static void is_for_processes(void **state)
{
    struct process init = {.binary = (char *)"/sbin/init"};
    struct process shell = {.binary = (char *)"/bin/sh", .parent = &init};
    struct process curl = {.binary = (char *)"/usr/bin/curl", .parent = &shell};
    CLEANUP(policy_unref) struct policy *every = policy_of("name: p", "mode: enforce");

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(processes); i++) {
        CLEANUP(text_free) char *spec = NULL;
        CLEANUP(policy_unref) struct policy *policy = NULL;

        assert_true(asprintf(&spec, "matchBinaries: [%s]", processes[i].binaries) > 0);
        policy = policy_of("name: p", spec);
        if (policy_is_for(policy, &curl) != processes[i].fits)
            fail_msg("%s", processes[i].binaries);
        assert_false(policy_is_for(policy, NULL));
    }
    assert_true(policy_is_for(every, &curl));
    assert_true(policy_is_for(every, NULL));
}

static void sets_are_by_id(void **state)
{
    struct policy *list[] = {policy_of("name: b", "mode: enforce"),
                             policy_of("name: z, namespace: a", "mode: enforce"),
                             policy_of("name: a", "mode: monitor")};
    CLEANUP(policy_set_unref) struct policy_set *set = policy_set_new(list, 3, 7), *same = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(list); i++)
        policy_unref(&list[i]);
    same = policy_set_ref(set);
    assert_int_equal(set->generation, 7);
    assert_int_equal(set->len, 3);
    assert_string_equal(same->list[0]->id, "a");
    assert_string_equal(same->list[1]->id, "a/z");
    assert_string_equal(same->list[2]->id, "b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selects_pods),
        cmocka_unit_test(is_for_processes),
        cmocka_unit_test(sets_are_by_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
