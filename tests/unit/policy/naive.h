/* naive: random policies as a model, the YAML of it, and what it means, by nothing but loops and
 * the C library's regular expressions: to be held against policy/decide.h. Shares nothing with it.
 */
#pragma once

#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

enum { NAIVE_LIST = 3, NAIVE_RULES = 4, NAIVE_HTTP = 12, NAIVE_POLICIES = 4 };

struct naive_http {
    const char *method, *path, *host, *headers[2]; /* NULL: not said */
};
struct naive_dns {
    const char *name;
    int type; /* 0: any */
};
struct naive_ports {
    struct {
        int first, last; /* first 0: any */
        const char *protocol;
    } ports[NAIVE_LIST];
    int ports_len;
    const char *servers[NAIVE_LIST];
    int servers_len;
    int version; /* 0, 2, 3 */
    const char *cipher;
    struct naive_http http[NAIVE_HTTP];
    int http_len;
    struct naive_dns dns[NAIVE_HTTP];
    int dns_len;
};
struct naive_rule {
    const char *names[NAIVE_LIST];
    int names_len;
    const char *cidrs[NAIVE_LIST], *except[NAIVE_LIST];
    int cidrs_len;
    struct naive_ports to_ports[NAIVE_LIST];
    int to_ports_len;
};
struct naive_policy {
    bool monitor, curl_only, closed;
    struct naive_rule egress[NAIVE_RULES], deny[NAIVE_RULES];
    int egress_len, deny_len;
};
struct naive {
    struct naive_policy policies[NAIVE_POLICIES];
    int len;
};

/* ---- what there is to say ---- */

static const char *const naive_patterns[] = {
    "a.x.test",  "b.x.test",  "c.y.test",     "*.x.test",   "**.test",  "*",
    "a*.x.test", "*b.y.test", "a-*-z.x.test", "*b*.x.test", "*.*.test", "**.x.test",
};
static const char *const naive_names[] = {
    "a.x.test",  "b.x.test",   "c.y.test",     "ab.x.test",
    "bb.y.test", "q.a.x.test", "a-1-z.x.test", "other.example",
};
static const char *const naive_cidrs[] = {
    "10.0.0.0/8",  "10.1.0.0/16",   "10.1.2.0/24",     "10.1.2.3/32",  "0.0.0.0/0",
    "10.1.2.0/25", "2001:db8::/32", "2001:db8::1/128", "192.0.2.0/30", "::/0",
};
static const char *const naive_excepts[] = {NULL, NULL, "10.1.2.3/32", "10.1.0.0/16"};
static const char *const naive_addresses[] = {
    "10.1.2.3", "10.1.2.200", "10.1.3.1", "10.9.9.9", "192.0.2.1", "2001:db8::1", "2001:db8:1::1",
};
static const int naive_ports[][2] = {{443, 443},    {80, 80},     {50, 53},  {8000, 8080},
                                     {1024, 65535}, {8033, 8033}, {79, 444}, {0, 65535}};
static const int naive_port[] = {443, 80, 53, 8000, 8033, 8080, 8081, 1024, 443, 443};
static const char *const naive_methods[] = {
    NULL, "GET", "GET|HEAD", "P.*", "POST|PUT|PATCH", "[A-Z]+", "(GET|PUT)"};
static const char *const naive_method[] = {"GET", "HEAD", "POST", "PUT", "get", "GETX", "CONNECT"};
static const char *const naive_paths[] = {
    NULL,        "/",        "/v1/.*",    "/v1/a",     ".*",     "/(a|b)/x",       "/v[12]/.*",
    ".*/x",      "/a+",      "/v1/?.*",   "/a|/b.*",   ".*b.*",  "/v1/[^/]+",      "/a{1,3}",
    "/v1(/.*)?", "/[a].*/x", "/v1/a.?b*", "/b/x|.*/y", "/a[.]b", "/v1/a|/v2/a|/b",
};
static const struct {
    const char *sent, *normal;
    bool odd;
} naive_path[] = {
    {"/", "/", false},
    {"/v1/a", "/v1/a", false},
    {"/v1/a/b", "/v1/a/b", false},
    {"/v1/../a", "/a", false},
    {"//a/x", "/a/x", false},
    {"/%61", "/a", false},
    {"/v2/b/x", "/v2/b/x", false},
    {"/a/./x", "/a/x", false},
    {"/aaa", "/aaa", false},
    {"/aaaa", "/aaaa", false},
    {"/b/x", "/b/x", false},
    {"/v1", "/v1", false},
    {"/v1/", "/v1/", false},
    {"/a.b", "/a.b", false},
    {"/aXb", "/aXb", false},
    {"/x/..", "/", false},
    {"/v1/%2e%2e/b", "/b", false},
    {"/v1/%2fa", "/v1/%2fa", true},
    {"/v1\\a", "/v1\\a", true},
    {"/a%00", "/a%00", true},
    {"/b/y", "/b/y", false},
    {"*", "*", false},
};
static const char *const naive_hosts[] = {NULL,
                                          NULL,
                                          "a[.]x[.]test",
                                          ".*[.]x[.]test",
                                          "A.*",
                                          "(a|c)[.].*test",
                                          "c[.]y[.]test|b[.]x[.]test",
                                          "[A-C][.].*"};
static const char *const naive_headers[] = {NULL, NULL, NULL, "x-a", "x-a 1", "X-B 2"};
static const char *const naive_ciphers[] = {NULL, "TLS_AES_128_GCM_SHA256",
                                            "TLS_AES_256_GCM_SHA384"};

/* ---- chance ---- */

static unsigned naive_seed;

static int chance(int n)
{
    naive_seed = naive_seed * 1103515245u + 12345u;
    return (int)((naive_seed >> 8) % (unsigned)n);
}
#define ANY(list) (list)[chance((int)COUNT(list))]

static void random_port(struct naive_ports *to, int i, bool tcp, bool dns)
{
    static const char *const protocols[] = {"TCP", "TCP", "TCP", "UDP", "ANY"};
    const int *range = chance(2) ? naive_ports[0] : naive_ports[chance((int)COUNT(naive_ports))];

    to->ports[i].first = dns ? 53 : range[0];
    to->ports[i].last = dns ? 53 : range[1];
    to->ports[i].protocol = tcp ? "TCP" : ANY(protocols);
}

/* Of rules often none or a few, at times so many that they are looked up. */
static int random_len(void)
{
    return chance(3) ? 1 + chance(2) : chance(NAIVE_HTTP + 1);
}

static void random_ports(struct naive_ports *to, bool deny)
{
    int what = chance(8);
    bool servers = what == 0 || what == 4, tls = !deny && (what == 0 || what == 1);

    if (servers) {
        to->servers_len = 1 + chance(NAIVE_LIST - 1);
        for (int i = 0; i < to->servers_len; i++)
            to->servers[i] = ANY(naive_patterns);
    }
    if (tls) {
        to->version = chance(2) ? 0 : 2 + chance(2);
        to->cipher = ANY(naive_ciphers);
    }
    if (what <= 4)
        to->http_len = what == 4 ? 0 : random_len();
    else if (what == 5)
        to->dns_len = random_len();
    for (int i = 0; i < to->http_len; i++)
        to->http[i] = (struct naive_http){
            ANY(naive_methods), ANY(naive_paths), ANY(naive_hosts), {ANY(naive_headers), NULL}};
    for (int i = 0; i < to->http_len; i++)
        to->http[i].headers[1] = chance(3) ? NULL : ANY(naive_headers);
    for (int i = 0; i < to->dns_len; i++)
        to->dns[i] = (struct naive_dns){ANY(naive_patterns), chance(2) ? 0 : 1 + chance(2) * 15};
    to->ports_len = to->dns_len ? 1 : chance(NAIVE_LIST);
    for (int i = 0; i < to->ports_len; i++)
        random_port(to, i, to->http_len || servers || tls, to->dns_len > 0);
}

static void random_rule(struct naive_rule *rule, bool deny)
{
    rule->names_len = chance(NAIVE_LIST);
    for (int i = 0; i < rule->names_len; i++)
        rule->names[i] = ANY(naive_patterns);
    rule->cidrs_len = chance(NAIVE_LIST);
    for (int i = 0; i < rule->cidrs_len; i++) {
        rule->cidrs[i] = ANY(naive_cidrs);
        rule->except[i] = strcmp(rule->cidrs[i], "10.0.0.0/8") == 0 ? ANY(naive_excepts) : NULL;
    }
    rule->to_ports_len = chance(NAIVE_LIST);
    for (int i = 0; i < rule->to_ports_len; i++)
        random_ports(&rule->to_ports[i], deny);
    if (!rule->names_len && !rule->cidrs_len && !rule->to_ports_len)
        rule->cidrs[rule->cidrs_len++] = "0.0.0.0/0"; /* a rule that says nothing is a fault */
}

static void random_policies(struct naive *model)
{
    memset(model, 0, sizeof(*model));
    model->len = 1 + chance(NAIVE_POLICIES);
    for (int i = 0; i < model->len; i++) {
        struct naive_policy *policy = &model->policies[i];

        policy->monitor = chance(4) == 0;
        policy->curl_only = chance(4) == 0;
        policy->closed = chance(5) != 0;
        policy->egress_len = policy->closed ? chance(NAIVE_RULES + 1) : 0;
        for (int j = 0; j < policy->egress_len; j++)
            random_rule(&policy->egress[j], false);
        policy->deny_len = !policy->closed || chance(3) == 0 ? 1 + chance(2) : 0;
        for (int j = 0; j < policy->deny_len; j++)
            random_rule(&policy->deny[j], true);
    }
}

/* ---- YAML ---- */

static void print_names(FILE *out, const char *key, const char *const *names, int len)
{
    for (int i = 0; i < len; i++)
        fprintf(out, "%s{%s: '%s'}", i ? ", " : key,
                strchr(names[i], '*') ? "matchPattern" : "matchName", names[i]);
    if (len)
        fprintf(out, "]\n");
}

static void print_http(FILE *out, const struct naive_http *http)
{
    const char *comma = "";

    fprintf(out, "          - {");
    if (http->method)
        fprintf(out, "%smethod: '%s'", comma, http->method), comma = ", ";
    if (http->path)
        fprintf(out, "%spath: '%s'", comma, http->path), comma = ", ";
    if (http->host)
        fprintf(out, "%shost: '%s'", comma, http->host), comma = ", ";
    for (int i = 0; i < 2; i++)
        if (http->headers[i])
            fprintf(out, "%s'%s'%s",
                    i && http->headers[0] ? ", "
                    : comma[0]            ? ", headers: ["
                                          : "headers: [",
                    http->headers[i], i || !http->headers[1] ? "]" : "");
    fprintf(out, "}\n");
}

static void print_ports(FILE *out, const struct naive_ports *to)
{
    const char *before = "    - ";

    for (int i = 0; i < to->ports_len; i++) {
        fprintf(out, "%s{port: '%d', ", i ? ", " : "    - ports: [", to->ports[i].first);
        if (to->ports[i].first && to->ports[i].last > to->ports[i].first)
            fprintf(out, "endPort: %d, ", to->ports[i].last);
        fprintf(out, "protocol: %s}", to->ports[i].protocol);
    }
    if (to->ports_len)
        fprintf(out, "]\n"), before = "      ";
    for (int i = 0; i < to->servers_len; i++)
        fprintf(out, "%s%s'%s'", i ? "" : before, i ? ", " : "serverNames: [", to->servers[i]);
    if (to->servers_len)
        fprintf(out, "]\n"), before = "      ";
    if (to->version || to->cipher) {
        fprintf(out, "%stls: {", before);
        if (to->version)
            fprintf(out, "minVersion: '1.%d'%s", to->version, to->cipher ? ", " : "");
        if (to->cipher)
            fprintf(out, "ciphers: [%s]", to->cipher);
        fprintf(out, "}\n");
        before = "      ";
    }
    if (to->http_len || to->dns_len)
        fprintf(out, "%srules:\n        %s:\n", before, to->http_len ? "http" : "dns"), before = "";
    for (int i = 0; i < to->http_len; i++)
        print_http(out, &to->http[i]);
    for (int i = 0; i < to->dns_len; i++) {
        fprintf(out, "          - {%s: '%s'",
                strchr(to->dns[i].name, '*') ? "matchPattern" : "matchName", to->dns[i].name);
        if (to->dns[i].type)
            fprintf(out, ", types: [%s]", to->dns[i].type == 1 ? "A" : "TXT");
        fprintf(out, "}\n");
    }
    if (before[0] == ' ' && before[4] == '-')
        fprintf(out, "    - ports: [{port: '0', protocol: ANY}]\n"); /* of nothing else */
}

static void print_rule(FILE *out, const struct naive_rule *rule)
{
    fprintf(out, "  -\n");
    print_names(out, "    toFQDNs: [", rule->names, rule->names_len);
    for (int i = 0; i < rule->cidrs_len; i++) {
        fprintf(out, "%s{cidr: '%s'", i ? ", " : "    toCIDRSet: [", rule->cidrs[i]);
        if (rule->except[i])
            fprintf(out, ", except: ['%s']", rule->except[i]);
        fprintf(out, "}");
    }
    if (rule->cidrs_len)
        fprintf(out, "]\n");
    if (rule->to_ports_len)
        fprintf(out, "    toPorts:\n");
    for (int i = 0; i < rule->to_ports_len; i++)
        print_ports(out, &rule->to_ports[i]);
}

static char *print_policies(const struct naive *model)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    for (int i = 0; i < model->len; i++) {
        const struct naive_policy *policy = &model->policies[i];

        fprintf(
            out,
            "---\napiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: p%d}\nspec:\n"
            "  mode: %s\n",
            i, policy->monitor ? "monitor" : "enforce");
        if (policy->curl_only)
            fprintf(out, "  matchBinaries: [{operator: In, values: [/usr/bin/curl]}]\n");
        if (policy->closed)
            fprintf(out, "  egress:%s\n", policy->egress_len ? "" : " []");
        for (int j = 0; j < policy->egress_len; j++)
            print_rule(out, &policy->egress[j]);
        if (policy->deny_len)
            fprintf(out, "  egressDeny:\n");
        for (int j = 0; j < policy->deny_len; j++)
            print_rule(out, &policy->deny[j]);
    }
    fclose(out);
    return text;
}
