/* decide: so many rules that they are looked up, and how many expressions that takes. No clock:
 * what is counted is what would take the time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "policy/regex.h"
#include "tests/unit/policy/many.h"
#include "tests/unit/policy/scene.h"

/* ---- counted ---- */

static size_t matches;

bool __real_regex_match(const struct regex *regex, struct span text);
bool __wrap_regex_match(const struct regex *regex, struct span text);
bool __wrap_regex_match(const struct regex *regex, struct span text)
{
    matches++;
    return __real_regex_match(regex, text);
}

/* ---- shapes ---- */

static void names_of_their_own(FILE *out, int n)
{
    many_names(out, n, "GET");
}

static void one_place(FILE *out, int n)
{
    many_alike(out, n, "/v1/n#(/.*)?");
}

static void one_entry(FILE *out, int n, const char *before, const char *behind)
{
    many_head(out, 0);
    fprintf(out, "  - toEntities: [world]\n"
                 "    toPorts:\n    - ports: [{port: '443', protocol: TCP}]\n      rules:\n"
                 "        http:\n");
    for (int i = 0; i < n; i++)
        fprintf(out, "        - {path: '%s%d%s'}\n", before, i, behind);
}

static void many_paths(FILE *out, int n)
{
    one_entry(out, n, "/v1/n", "");
}

static void many_begins(FILE *out, int n)
{
    one_entry(out, n, "/v1/n", "(/.*)?");
}

static void many_ends(FILE *out, int n)
{
    one_entry(out, n, "/.*/n", "");
}

static void many_within(FILE *out, int n)
{
    one_entry(out, n, ".*/n", "/.*");
}

static void many_hosts(FILE *out, int n)
{
    many_head(out, 0);
    fprintf(out, "  - toEntities: [world]\n"
                 "    toPorts:\n    - ports: [{port: '443', protocol: TCP}]\n      rules:\n"
                 "        http:\n");
    for (int i = 0; i < n; i++)
        fprintf(out, "        - {host: '.*[.]n%d[.]example[.]com'}\n", i);
}

static const struct {
    const char *name;
    void (*write)(FILE *out, int n);
    const char *host, *path; /* of a request that rule # allows, and it alone */
    size_t most;             /* expressions that one decision may try */
} shapes[] = {
    {"names of their own", names_of_their_own, "n#.example.com", "/v1/x", 1},
    {"one place", one_place, "a.test", "/v1/n#/x", 4}, /* n1, n12, ... */
    {"paths", many_paths, "a.test", "/v1/n#", 0},
    {"begins of paths", many_begins, "a.test", "/v1/n#/x", 4},
    {"ends of paths", many_ends, "a.test", "/v2/n#", 1},
    {"paths with a part of their own", many_within, "a.test", "/v1/n#/x", 2},
    {"ends of hosts", many_hosts, "a.n#.example.com", "/v1/x", 1},
};

enum { RULES = 1500 };

static void decide(struct policy_scope *scope, const char *host, const char *path,
                   struct policy_verdict *verdict)
{
    const char *names[] = {host};
    struct addr dst = scene_addr("192.0.2.1:443");
    const struct policy_facts facts = {.dst = &dst, .resolved = {names, 1}};
    const struct facts_request request = {
        .method = BYTES("GET"), .path = span_of_text(path), .host = host};
    bool bad;

    matches = 0;
    policy_decide_http(scope, &facts, &request, &bad, verdict);
    assert_false(bad);
}

static void read_shape(struct scene *scene, size_t shape)
{
    CLEANUP(text_free) char *yaml = NULL;
    size_t size;
    FILE *out = open_memstream(&yaml, &size);

    shapes[shape].write(out, RULES);
    fclose(out);
    scene_read(scene, yaml);
    scene_begin(scene, NULL);
}

static void finds_one_of_many(void **state)
{
    (void)state;
    for (size_t shape = 0; shape < ARRAY_SIZE(shapes); shape++) {
        struct scene scene = {0};
        size_t worst = 0;

        print_message("  %s\n", shapes[shape].name);
        read_shape(&scene, shape);
        for (int i = 0; i < RULES; i += 7) {
            struct policy_verdict verdict;
            char host[128], path[128], rule[64];

            many_numbered(host, shapes[shape].host, i);
            many_numbered(path, shapes[shape].path, i);
            decide(scene.scope, host, path, &verdict);
            assert_int_equal(verdict.verdict, VERDICT_ALLOW);
            snprintf(rule, sizeof(rule), "http[%d]", i);
            if (shape >= 2)
                assert_non_null(strstr(verdict.place->rule, rule));
            if (matches > worst)
                worst = matches;
            many_numbered(host, shapes[shape].host, RULES + i);
            many_numbered(path, shapes[shape].path, RULES + i);
            decide(scene.scope, host, path, &verdict);
            assert_int_equal(verdict.verdict, VERDICT_DENY);
            if (matches > worst)
                worst = matches;
        }
        print_message("    %zu tried\n", worst);
        assert_true(worst <= shapes[shape].most);
        scene_end(&scene);
    }
}

static void place_rule(FILE *out, const char *network, int i)
{
    fprintf(out,
            "  - toCIDR: ['%s']\n"
            "    toPorts: [{ports: [{port: '443', protocol: TCP}], rules: {http: [{path: "
            "/v1/n%d}]}}]\n",
            network, i);
}

static enum verdict verdict_of(struct scene *scene, int i)
{
    struct policy_verdict verdict;
    char path[128];

    decide(scene->scope, "a.test", many_numbered(path, "/v1/n#", i), &verdict);
    return verdict.verdict;
}

/* Of every second of many, and of the first and the last. */
static void keeps_places_apart(void **state)
{
    static const struct {
        int n, every;
    } cases[] = {{400, 2}, {400, 399}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(text_free) char *yaml = NULL;
        struct scene scene = {0};
        size_t size;
        FILE *out = open_memstream(&yaml, &size);

        many_head(out, 0);
        for (int j = 0; j < cases[i].n; j++)
            place_rule(out, j % cases[i].every ? "198.51.100.0/24" : "192.0.2.0/24", j);
        fclose(out);
        scene_read(&scene, yaml);
        scene_begin(&scene, NULL);
        for (int j = 0; j < cases[i].n; j++)
            assert_int_equal(verdict_of(&scene, j),
                             j % cases[i].every ? VERDICT_DENY : VERDICT_ALLOW);
        scene_end(&scene);
    }
}

/* A program chooses its paths: what many places of one lead to is tried once. */
static void tries_an_expression_once(void **state)
{
    CLEANUP(text_free) char *yaml = NULL;
    struct policy_verdict verdict;
    struct scene scene = {0};
    char path[2000] = "";
    size_t size;
    FILE *out = open_memstream(&yaml, &size);

    (void)state;
    one_entry(out, 100, ".*/n", "/x[0-9]");
    fclose(out);
    scene_read(&scene, yaml);
    scene_begin(&scene, NULL);
    while (strlen(path) < sizeof(path) - 16)
        strcat(path, "/n7/x/n8/x");
    decide(scene.scope, "a.test", path, &verdict);
    assert_int_equal(verdict.verdict, VERDICT_DENY);
    print_message("  %zu tried\n", matches);
    assert_int_equal(matches, 2);
    scene_end(&scene);
}

/* More than a segment has room for. */
static void finds_the_last_of_more_than_fit_one_segment(void **state)
{
    CLEANUP(text_free) char *yaml = NULL;
    struct policy_verdict verdict;
    struct scene scene = {0};
    size_t size;
    FILE *out = open_memstream(&yaml, &size);

    (void)state;
    one_entry(out, 18000, "/v1/n", "");
    fprintf(out, "  - toCIDR: [192.0.2.1/32]\n"
                 "    toPorts: [{ports: [{port: '443', protocol: TCP}], rules: {http: [{path: "
                 "/last}]}}]\n");
    fclose(out);
    scene_read(&scene, yaml);
    scene_begin(&scene, NULL);
    for (int i = 16300; i < 16500; i++) {
        char path[64], rule[64];

        snprintf(path, sizeof(path), "/v1/n%d", i);
        snprintf(rule, sizeof(rule), "egress[0].toPorts[0].rules.http[%d]", i);
        decide(scene.scope, "a.test", path, &verdict);
        assert_int_equal(verdict.verdict, VERDICT_ALLOW);
        assert_string_equal(verdict.place->rule, rule);
    }
    decide(scene.scope, "a.test", "/last", &verdict);
    assert_string_equal(verdict.place->rule, "egress[1].toPorts[0].rules.http[0]");
    decide(scene.scope, "a.test", "/v1/n18000", &verdict);
    assert_int_equal(verdict.verdict, VERDICT_DENY);
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_one_of_many),
        cmocka_unit_test(keeps_places_apart),
        cmocka_unit_test(tries_an_expression_once),
        cmocka_unit_test(finds_the_last_of_more_than_fit_one_segment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
