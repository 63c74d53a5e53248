/* policy: what a decision costs, by how many rules there are and how they look.
 *
 *     cc -O2 … (see tests/bench/policy): policy [ROUNDS]
 *
 * Each line: a shape of policies, how many rules, how long they take to be read and made ready for
 * a pod, the memory of one such view, and what one request costs, allowed and denied. */
#include <arpa/inet.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/compile.h"
#include "policy/decide.h"
#include "tests/unit/policy/many.h"

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- shapes: n rules each ---- */

static void of_ten(FILE *out, int n)
{
    many_names(out, n, "GET|HEAD");
}

static void names_of_one(FILE *out, int n)
{
    many_head(out, 0);
    fprintf(out, "  - toFQDNs:\n");
    for (int i = 0; i < n; i++)
        fprintf(out, "    - matchName: n%d.example.com\n", i);
    fprintf(out, "    toPorts: [{ports: [{port: '443', protocol: TCP}], rules: {http: [{method: "
                 "GET}]}}]\n");
}

static void many_patterns(FILE *out, int n)
{
    many_head(out, 0);
    fprintf(out, "  - toFQDNs:\n    - matchName: n1.example.com\n");
    for (int i = 0; i < n; i++)
        fprintf(out, "    - matchPattern: 'a%d-*.s.example.com'\n", i);
    fprintf(out, "    toPorts: [{ports: [{port: '443', protocol: TCP}], rules: {http: [{method: "
                 "GET}]}}]\n");
}

static void http_rules(FILE *out, int n, const char *text)
{
    many_head(out, 0);
    fprintf(out, "  - toFQDNs: [{matchName: n1.example.com}]\n"
                 "    toPorts:\n    - ports: [{port: '443', protocol: TCP}]\n      rules:\n"
                 "        http:\n");
    for (int i = 0; i < n; i++) {
        char path[128];

        fprintf(out, "        - {method: GET, path: '%s'}\n", many_numbered(path, text, i));
    }
}

static void many_literals(FILE *out, int n)
{
    http_rules(out, n, "/v1/item#");
}

static void many_prefixes(FILE *out, int n)
{
    http_rules(out, n, "/v1/item#(/.*)?");
}

static void many_suffixes(FILE *out, int n)
{
    http_rules(out, n, "/.*/item#");
}

static void many_puzzles(FILE *out, int n)
{
    http_rules(out, n, ".*(/item#|/x)/?.*");
}

static void many_infixes(FILE *out, int n)
{
    http_rules(out, n, ".*/item#/.*");
}

static void many_networks(FILE *out, int n)
{
    many_head(out, 0);
    fprintf(out, "  - toFQDNs: [{matchName: n1.example.com}]\n    toCIDR:\n");
    for (int i = 0; i < n; i++)
        fprintf(out, "    - 10.%d.%d.0/%d\n", i / 256, i % 256, 24);
    fprintf(out, "    toPorts: [{ports: [{port: '443', protocol: TCP}], rules: {http: [{method: "
                 "GET}]}}]\n");
}

static void of_ten_alike(FILE *out, int n)
{
    many_alike(out, n, "/v1/item#(/.*)?");
}

static const struct {
    const char *name;
    void (*write)(FILE *out, int n);
    const char *host, *path; /* of what the last one allows: # stands for its number */
} shapes[] = {
    {"policies of 10 rules, each with its name", of_ten, "n#.example.com", "/v1/x"},
    {"names of one rule", names_of_one, "n#.example.com", "/v1/x"},
    {"patterns of one rule", many_patterns, "a#-x.s.example.com", "/v1/x"},
    {"networks of one rule", many_networks, "n1.example.com", "/v1/x"},
    {"paths, as they are", many_literals, "n1.example.com", "/v1/item#"},
    {"paths that begin each its own way", many_prefixes, "n1.example.com", "/v1/item#/x"},
    {"paths that end each its own way", many_suffixes, "n1.example.com", "/v1/item#"},
    {"policies of 10 rules, all for one place", of_ten_alike, "n1.example.com", "/v1/item#/x"},
    {"paths with a part of their own (.*/…/.*)", many_infixes, "n1.example.com", "/v1/item#/x"},
    {"paths that nothing tells apart", many_puzzles, "n1.example.com", "/v1/item#/"},
};

static double ask(struct policy_scope *scope, const char *method, const char *host,
                  const char *path, int rounds, enum verdict want)
{
    const char *names[] = {host};
    struct addr dst = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 1}, .port = 443};
    const struct policy_facts facts = {.dst = &dst, .resolved = {names, 1}, .name = host};
    const struct facts_field fields[] = {{BYTES("host"), span_of_text(host)},
                                         {BYTES("user-agent"), BYTES("bench")},
                                         {BYTES("accept"), BYTES("*/*")}};
    const struct facts_request request = {.method = span_of_text(method),
                                          .path = span_of_text(path),
                                          .host = host,
                                          .fields = fields,
                                          .fields_len = 3};
    struct policy_verdict verdict;
    double best = 1e9;
    bool bad;

    for (int i = 0; i < 5; i++) {
        double begin = now();

        for (int j = 0; j < rounds; j++) {
            policy_decide_http(scope, &facts, &request, &bad, &verdict);
            if (verdict.verdict != want) {
                fprintf(stderr, "%s%s: %s\n", host, path, verdict.reason);
                exit(1);
            }
        }
        if (now() - begin < best)
            best = now() - begin;
    }
    return best / rounds * 1e6;
}

/* Each policy as if it had a file of its own: one may hold no more than so much. */
static void read_each(struct policy_list *list, char *yaml)
{
    static struct faults faults;
    char *next;

    for (char *at = yaml; at; at = next) {
        struct span one;

        next = strstr(at + 1, "---\n");
        one = span_of(at, next ? (size_t)(next - at) : strlen(at));
        if (policy_compile(list, one, "bench.yaml", &faults) < 0) {
            fprintf(stderr, "%s", faults_tell(&faults, "bench.yaml", one));
            exit(1);
        }
    }
}

static void measure(size_t shape, int n, int rounds)
{
    struct policy_list list = {0};
    struct pod *pod = pod_new(1, "shop", "cart", NULL, 0);
    struct policy_set *set;
    struct policy_view *view;
    struct policy_scope *scope;
    char *yaml, host[128], path[128];
    size_t size, before;
    double read, made, begin, allowed, denied;
    FILE *out = open_memstream(&yaml, &size);

    shapes[shape].write(out, n);
    fclose(out);
    begin = now();
    read_each(&list, yaml);
    read = now() - begin;
    set = policy_set_new(list.list, list.len, 1);
    before = mallinfo2().uordblks;
    begin = now();
    view = policy_view_new(set, pod);
    made = now() - begin;
    before = mallinfo2().uordblks - before;
    scope = policy_scope_new(view, NULL);
    many_numbered(host, shapes[shape].host, n - 1);
    many_numbered(path, shapes[shape].path, n - 1);
    allowed = ask(scope, "GET", host, path, rounds, VERDICT_ALLOW);
    denied = ask(scope, "PUT", host, path, rounds, VERDICT_DENY);
    printf("%-41s %6d %8.1f %8.1f %8.1f %9.3f %9.3f\n", shapes[shape].name, n, read * 1e3,
           made * 1e3, (double)before / 1024, allowed, denied);
    policy_scope_free(&scope);
    policy_view_unref(&view);
    policy_set_unref(&set);
    policy_list_fini(&list);
    pod_unref(&pod);
    free(yaml);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 20000;

    printf("%-41s %6s %8s %8s %8s %9s %9s\n", "", "rules", "read ms", "view ms", "view kB",
           "us allow", "us deny");
    for (size_t shape = 0; shape < sizeof(shapes) / sizeof(shapes[0]); shape++)
        for (int n = 10; n <= 10000; n *= 10)
            measure(shape, n, shapes[shape].write == many_puzzles ? rounds / n + 1 : rounds);
    return 0;
}
