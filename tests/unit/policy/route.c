/* route: which route policies want for a connection, and what `route: kernel` does not keep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "policy/route.h"
#include "tests/unit/policy/scene.h"

#define HEAD(name)                                                                                 \
    "---\napiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: " name "}\nspec:\n"
#define WORLD   "  egress: [{toEntities: [world]}]\n"
#define MONITOR "  mode: monitor\n"
#define PORTS(what)                                                                                \
    "  egress: [{toEntities: [world], toPorts: [{ports: [{port: '443', protocol: TCP}], " what     \
    "}]}]\n"
#define REQUESTS PORTS("rules: {http: [{method: GET}]}")
#define NAMED    "  egress: [{toFQDNs: [{matchName: a.test}]}]\n"
#define CURL     "  matchBinaries: [{operator: In, values: [/usr/bin/curl]}]\n"

static const struct {
    const char *name, *policies;
    enum policy_way want;
    const char *to; /* "ADDRESS:PORT", with " NAME" that it was resolved from; NULL: :443 */
    const char *binary;
} ways[] = {
    {"nobody says", HEAD("a") WORLD, POLICY_WAY_ANY, NULL, NULL},
    {"by themselves", HEAD("a") "  route: auto\n" WORLD, POLICY_WAY_ANY, NULL, NULL},
    {"requests are looked at", HEAD("a") REQUESTS, POLICY_WAY_SURE, NULL, NULL},
    {"... at another port", HEAD("a") REQUESTS, POLICY_WAY_ANY, "192.0.2.1:80", NULL},
    {"... by one that only watches", HEAD("m") MONITOR REQUESTS, POLICY_WAY_ANY, NULL, NULL},
    {"... where another allows all", HEAD("a") REQUESTS HEAD("b") WORLD, POLICY_WAY_ANY, NULL,
     NULL},
    {"requests are denied",
     HEAD("a") "  egressDeny: [{toEntities: [world], toPorts: [{ports: [{port: '443', protocol: "
               "TCP}], rules: {http: [{path: /admin}]}}]}]\n",
     POLICY_WAY_SURE, NULL, NULL},
    {"names of TLS are looked at", HEAD("a") PORTS("serverNames: [a.test]"), POLICY_WAY_NEEDS_PROXY,
     NULL, NULL},
    {"... at another port", HEAD("a") PORTS("serverNames: [a.test]"), POLICY_WAY_ANY,
     "192.0.2.1:80", NULL},
    {"TLS is to be so", HEAD("a") PORTS("tls: {minVersion: '1.3'}"), POLICY_WAY_NEEDS_PROXY, NULL,
     NULL},
    {"... for one that only watches", HEAD("a") MONITOR PORTS("tls: {minVersion: '1.3'}"),
     POLICY_WAY_ANY, NULL, NULL},
    {"bodies are denied",
     HEAD("a") WORLD "  inspect: {bodies: [{patterns: [jwt], action: deny}]}\n",
     POLICY_WAY_NEEDS_PROXY, NULL, NULL},
    {"bodies are told", HEAD("a") WORLD "  inspect: {bodies: [{patterns: [jwt], action: alert}]}\n",
     POLICY_WAY_SURE, NULL, NULL},
    {"tokens are denied", HEAD("a") WORLD "  inspect: {tokens: deny}\n", POLICY_WAY_NEEDS_PROXY,
     NULL, NULL},
    {"names must agree", HEAD("a") WORLD "  inspect: {consistency: deny}\n", POLICY_WAY_NEEDS_PROXY,
     NULL, NULL},
    {"a name is allowed", HEAD("a") NAMED, POLICY_WAY_NEEDS_PROXY, "192.0.2.1:443 a.test", NULL},
    {"... and its address, too", HEAD("a") NAMED HEAD("b") WORLD, POLICY_WAY_ANY,
     "192.0.2.1:443 a.test", NULL},
    {"... and another name's address", HEAD("a") NAMED, POLICY_WAY_ANY, "192.0.2.1:443 b.test",
     NULL},
    {"... by one that only watches", HEAD("a") MONITOR NAMED, POLICY_WAY_ANY,
     "192.0.2.1:443 a.test", NULL},
    {"a name is denied", HEAD("a") WORLD "  egressDeny: [{toFQDNs: [{matchName: b.test}]}]\n",
     POLICY_WAY_NEEDS_PROXY, "192.0.2.1:443 a.test", NULL},
    {"... by one that only watches",
     HEAD("a") MONITOR WORLD "  egressDeny: [{toFQDNs: [{matchName: b.test}]}]\n", POLICY_WAY_ANY,
     "192.0.2.1:443 a.test", NULL},
    {"the kernel, said", HEAD("a") "  route: kernel\n" WORLD, POLICY_WAY_KERNEL, NULL, NULL},
    {"... whatever is looked at", HEAD("a") "  route: kernel\n" REQUESTS, POLICY_WAY_KERNEL, NULL,
     NULL},
    {"... by one that only watches", HEAD("a") MONITOR "  route: kernel\n" WORLD, POLICY_WAY_KERNEL,
     NULL, NULL},
    {"... beside what another looks at", HEAD("a") "  route: kernel\n" WORLD HEAD("b") REQUESTS,
     POLICY_WAY_KERNEL, NULL, NULL},
    {"... of another program", HEAD("a") CURL "  route: kernel\n" WORLD, POLICY_WAY_ANY, NULL,
     "/usr/bin/wget"},
    {"... of this program", HEAD("a") CURL "  route: kernel\n" WORLD, POLICY_WAY_KERNEL, NULL,
     "/usr/bin/curl"},
    {"the proxy, said", HEAD("a") "  route: proxy\n" WORLD, POLICY_WAY_PROXY, NULL, NULL},
    {"... beside the kernel",
     HEAD("a") "  route: kernel\n" WORLD HEAD("b") "  route: proxy\n" WORLD, POLICY_WAY_PROXY, NULL,
     NULL},
    {"left alone, beside the kernel",
     HEAD("a") "  route: kernel\n" WORLD HEAD("b") "  route: passthrough\n" WORLD, POLICY_WAY_PROXY,
     NULL, NULL},
};

static void finds_the_way(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        const char *to = ways[i].to ? ways[i].to : "192.0.2.1:443", *blank = strchr(to, ' ');
        const char *name = blank ? blank + 1 : NULL;
        struct addr dst = scene_addr(to);
        const struct policy_facts facts = {.dst = &dst, .resolved = {&name, blank ? 1 : 0}};
        struct scene scene = {0};

        print_message("  %s\n", ways[i].name);
        scene_read(&scene, ways[i].policies);
        scene_begin(&scene, ways[i].binary);
        assert_int_equal(policy_decide_route(scene.scope, &facts), ways[i].want);
        scene_end(&scene);
    }
    assert_int_equal(policy_decide_route(NULL, &(struct policy_facts){0}), POLICY_WAY_ANY);
}

static void warns_of_what_is_not_kept(void **state)
{
    static const struct {
        const char *policy;
        const char *about[3]; /* a piece of each warning */
    } cases[] = {
        {HEAD("a") "  route: kernel\n" WORLD, {NULL}},
        {HEAD("a") REQUESTS, {NULL}},
        {HEAD("a") "  route: kernel\n" MONITOR REQUESTS, {NULL}},
        {HEAD("a") "  route: kernel\n" REQUESTS, {"several threads", "403", NULL}},
        {HEAD("a") "  route: kernel\n  onDeny: sigkill\n" REQUESTS, {"several threads", NULL}},
        {HEAD("a") "  route: kernel\n" PORTS("serverNames: [a.test], tls: {minVersion: '1.3'}"),
         {"serverNames", "trustedCA", NULL}},
        {HEAD("a") "  route: kernel\n" NAMED, {"toFQDNs", NULL}},
        {HEAD("a") "  route: kernel\n  inspect: {tokens: deny}\n", {"inspect", NULL}},
        {HEAD("a") "  route: kernel\n  inspect: {tokens: alert}\n", {NULL}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct scene scene = {0};
        size_t j = 0;

        scene_read(&scene, cases[i].policy);
        for (; cases[i].about[j]; j++) {
            const char *warning = policy_kernel_warning(scene.list.list[0], j);

            assert_non_null(warning);
            assert_non_null(strstr(warning, cases[i].about[j]));
        }
        assert_null(policy_kernel_warning(scene.list.list[0], j));
        policy_list_fini(&scene.list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_way),
        cmocka_unit_test(warns_of_what_is_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
