/* view: whom policies are for, what pods share, and how they are steered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/policy/scene.h"

#define HEAD(name)                                                                                 \
    "---\napiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: " name "}\nspec:\n"

#define ALL  HEAD("all") "  egress: []\n"
#define CART HEAD("cart") "  podSelector: {matchLabels: {app: cart}}\n  egress: []\n"
#define CURL                                                                                       \
    HEAD("curl") "  matchBinaries: [{operator: In, values: [/usr/bin/curl]}]\n  egress: []\n"

static const char three[] = ALL CART CURL;

static struct pod *pod(const char *name, const char *app)
{
    static char key[] = "app";
    const struct pod_label label = {key, (char *)(uintptr_t)app};

    return pod_new(1, "shop", name, &label, 1);
}

static void is_one_for_pods_alike(void **state)
{
    struct scene scene = {0};
    struct pod *cart = pod("cart-2", "cart"), *web = pod("web-1", "web");
    struct policy_view *same, *other, *again;

    (void)state;
    scene_read(&scene, three);
    scene_begin(&scene, NULL);
    assert_int_equal(policy_view_len(scene.view), 3);
    same = policy_view_new(scene.set, cart);
    other = policy_view_new(scene.set, web);
    assert_ptr_equal(same, scene.view);
    assert_ptr_not_equal(other, scene.view);
    assert_int_equal(policy_view_len(other), 2);
    assert_string_equal(policy_view_at(other, 0)->id, "all");
    policy_view_unref(&other);
    again = policy_view_new(scene.set, web);
    assert_int_equal(policy_view_len(again), 2);
    policy_view_unref(&again);
    policy_view_unref(&same);
    pod_unref(&cart);
    pod_unref(&web);
    scene_end(&scene);
}

static void has_scopes_for_programs(void **state)
{
    struct scene scene = {0};
    struct policy_scope *scope;

    (void)state;
    scene_read(&scene, three);
    scene_begin(&scene, "/usr/bin/wget");
    assert_int_equal(policy_scope_len(scene.scope), 2);
    assert_string_equal(policy_scope_at(scene.scope, 1)->id, "cart");
    scope = scene_scope(&scene, "/usr/bin/curl");
    assert_int_equal(policy_scope_len(scope), 3);
    policy_scope_free(&scope);
    assert_true(policy_scope_is_empty(NULL));
    assert_int_equal(policy_scope_len(NULL), 0);
    scene_end(&scene);
}

static void says_what_becomes_of_what_is_connected_already(void **state)
{
    static const struct {
        const char *name, *said[3];
        enum policy_existing want;
        const char *by; /* NULL: nobody */
    } cases[] = {
        {"nothing is said", {"mode: enforce"}, POLICY_EXISTING_REPORT, NULL},
        {"it is told", {"existing: report"}, POLICY_EXISTING_REPORT, NULL},
        {"one leaves it",
         {"existing: report", "existing: leave", "existing: leave"},
         POLICY_EXISTING_LEAVE,
         "p1"},
        {"one resets it, whoever leaves it",
         {"existing: leave", "existing: reset", "existing: reset"},
         POLICY_EXISTING_RESET,
         "p1"},
        {"one would reset it",
         {"mode: monitor, existing: reset", "existing: leave"},
         POLICY_EXISTING_RESET,
         "p0"},
        {"one does, and one would",
         {"mode: monitor, existing: reset", "existing: reset"},
         POLICY_EXISTING_RESET,
         "p1"},
        {"one for other programs",
         {"existing: reset, matchBinaries: [{operator: In, values: [/usr/bin/wget]}]"},
         POLICY_EXISTING_REPORT,
         NULL},
    };
    const struct policy *by;

    (void)state;
    assert_int_equal(policy_scope_existing(NULL, &by), POLICY_EXISTING_REPORT);
    assert_null(by);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct scene scene = {0};
        char yaml[1024] = "";

        print_message("  %s\n", cases[i].name);
        for (size_t j = 0; j < 3 && cases[i].said[j]; j++) {
            const char *said = cases[i].said[j];

            snprintf(yaml + strlen(yaml), sizeof(yaml) - strlen(yaml), HEAD("p%zu") "  {%s}\n", j,
                     said);
        }
        scene_read(&scene, yaml);
        scene_begin(&scene, "/usr/bin/curl");
        assert_int_equal(policy_scope_existing(scene.scope, &by), cases[i].want);
        assert_int_equal(!by, !cases[i].by);
        if (by)
            assert_string_equal(by->id, cases[i].by);
        scene_end(&scene);
    }
}

static const struct {
    const char *name, *spec;
    bool all;
    uint16_t ports[4];
} steered[] = {
    {"addresses alone",
     "  egress: [{toCIDR: [10.0.0.0/8], toPorts: [{ports: [{port: '22'}]}]}]\n",
     false,
     {0}},
    {"a name's port",
     "  egress: [{toFQDNs: [{matchName: a.test}], toPorts: [{ports: [{port: '22'}]}]}]\n",
     false,
     {22}},
    {"a name on any port", "  egress: [{toFQDNs: [{matchName: a.test}]}]\n", true, {0}},
    {"requests",
     "  egress: [{toCIDR: [10.0.0.0/8], toPorts: [{ports: [{port: '9000', endPort: 9002, protocol: "
     "TCP}], rules: {http: [{method: GET}]}}]}]\n",
     false,
     {9000, 9001, 9002}},
    {"requests that are denied",
     "  egressDeny: [{toEntities: [world], toPorts: [{ports: [{port: '7', protocol: TCP}], rules: "
     "{http: [{method: PUT}]}}]}]\n",
     false,
     {7}},
    {"too many to be listed",
     "  egress: [{toCIDR: [10.0.0.0/8], toPorts: [{ports: [{port: '9000', endPort: 9016}], rules: "
     "{http: [{method: GET}]}}]}]\n",
     true,
     {0}},
    {"names of TLS on any port",
     "  egress: [{toEntities: [world], toPorts: [{serverNames: [a.test]}]}]\n",
     true,
     {0}},
};

static void says_which_ports_must_be_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(steered); i++) {
        struct scene scene = {0};
        char yaml[1024];
        uint16_t *ports;
        size_t len, want = 0;
        bool all;

        print_message("  %s\n", steered[i].name);
        snprintf(yaml, sizeof(yaml), HEAD("p") "%s", steered[i].spec);
        scene_read(&scene, yaml);
        scene_begin(&scene, NULL);
        assert_int_equal(policy_view_ports(scene.view, &all, &ports, &len), 0);
        assert_int_equal(all, steered[i].all);
        while (want < ARRAY_SIZE(steered[i].ports) && steered[i].ports[want])
            want++;
        assert_int_equal(len, want);
        assert_memory_equal(ports, steered[i].ports, len * sizeof(*ports));
        free(ports);
        scene_end(&scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_one_for_pods_alike),
        cmocka_unit_test(has_scopes_for_programs),
        cmocka_unit_test(says_what_becomes_of_what_is_connected_already),
        cmocka_unit_test(says_which_ports_must_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
