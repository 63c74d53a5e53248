/* spelling: which rules there are, and which share a number. */
#include "policy/spelling.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "policy/regex.h"
#include "policy/search.h"
#include "policy/spelling_parts.h"

/* ---- one rule ---- */

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_http(const struct policy_http *a, const struct policy_http *b)
{
    if (!a || !b)
        return a == b;
    if (!same_text(a->method, b->method) || !same_text(a->path, b->path) ||
        !same_text(a->host, b->host) || a->headers_len != b->headers_len)
        return false;
    for (size_t i = 0; i < a->headers_len; i++)
        if (strcasecmp(a->headers[i].name, b->headers[i].name) != 0 ||
            !same_text(a->headers[i].value, b->headers[i].value))
            return false;
    return true;
}

static bool same_ports(const struct policy_to_ports *a, const struct policy_to_ports *b)
{
    if (!a || !b || a == b)
        return a == b;
    if (a->ports_len != b->ports_len || a->server_names_len || b->server_names_len)
        return false;
    for (size_t i = 0; i < a->ports_len; i++)
        if (a->ports[i].first != b->ports[i].first || a->ports[i].last != b->ports[i].last ||
            a->ports[i].protocols != b->ports[i].protocols)
            return false;
    return true;
}

/* What differs in nothing but names, or where it leads to, is one. */
static bool same_rule(const struct spelling_rule *a, const struct spelling_rule *b)
{
    bool served = (a->to_ports && a->to_ports->server_names_len) ||
                  (b->to_ports && b->to_ports->server_names_len);

    if (a->deny != b->deny || a->by_name != b->by_name || a->tls != b->tls ||
        !same_http(a->http, b->http))
        return false;
    if (!a->by_name && !served)
        return true;
    return a->policy == b->policy && same_ports(a->to_ports, b->to_ports);
}

bool policy_spelling_knows_header(const char *name)
{
    static const char *const framing[] = {"host", "content-length", "transfer-encoding",
                                          "connection", "upgrade"};

    for (size_t i = 0; i < ARRAY_SIZE(framing); i++)
        if (strcasecmp(name, framing[i]) == 0)
            return false;
    return true;
}

static bool is_exact(const struct policy_http *http)
{
    for (size_t i = 0; i < http->headers_len; i++)
        if (!policy_spelling_knows_header(http->headers[i].name))
            return false;
    return (!http->path_is || regex_has_dfa(http->path_is)) &&
           (!http->host_is || regex_has_dfa(http->host_is));
}

static size_t count_headers(const struct policy_spelling *spelling)
{
    size_t len = 0;

    for (size_t i = 0; i < spelling->rules_len; i++)
        len += spelling->rules[i].http ? spelling->rules[i].http->headers_len : 0;
    return len;
}

/* ---- all of them ---- */

static bool add_egress(struct spelling_rule *rule, const struct policy_egress *egress)
{
    const struct policy_egress **more;

    for (size_t i = 0; i < rule->egress_len; i++)
        if (rule->egress[i] == egress)
            return true;
    more = realloc(rule->egress, (rule->egress_len + 1) * sizeof(struct policy_egress *));
    if (!more)
        return false;
    rule->egress = more;
    rule->egress[rule->egress_len++] = egress;
    return true;
}

/* Its number; SPELLING_RULES: there is no room; -ENOMEM. */
static int number_of(struct policy_spelling *spelling, struct spelling_rule rule,
                     const struct policy_egress *egress)
{
    size_t i = 2;

    if (rule.http) {
        rule.inexact = !is_exact(rule.http);
        if (count_headers(spelling) + rule.http->headers_len > SPELLING_HEADERS)
            rule.inexact = true;
    }
    while (i < spelling->rules_len && !same_rule(&spelling->rules[i], &rule))
        i++;
    if (i == SPELLING_RULES)
        return SPELLING_RULES;
    if (i == spelling->rules_len)
        spelling->rules[spelling->rules_len++] = rule;
    if (rule.by_name && !add_egress(&spelling->rules[i], egress))
        return -ENOMEM;
    return (int)i;
}

static int add_grant(struct policy_spelling *spelling, const struct spelling_grant *grant)
{
    struct spelling_grant *more;

    if (spelling->grants_len % 64 == 0) {
        more = realloc(spelling->grants, (spelling->grants_len + 64) * sizeof(*more));
        if (!more)
            return -ENOMEM;
        spelling->grants = more;
    }
    spelling->grants[spelling->grants_len++] = *grant;
    return 0;
}

/* One rule of one grant, twice: by where it goes, and by the name it says. */
static int add_rule(struct policy_spelling *spelling, struct spelling_grant grant,
                    const struct policy_http *http)
{
    const struct policy_to_ports *to_ports = grant.to_ports;
    bool served = to_ports && to_ports->server_names_len;
    struct spelling_rule rule = {
        .http = http,
        .policy = grant.policy,
        .to_ports = to_ports,
        .deny = grant.deny,
        .tls = served || (to_ports && to_ports->tls && !grant.deny),
    };
    bool open = !http && !served && !grant.deny; /* by where it goes: the first two numbers */

    grant.by_address = grant.by_name = SPELLING_RULES;
    if (!open)
        grant.by_address = number_of(spelling, rule, grant.egress);
    rule.by_name = true;
    if (grant.egress->names_len)
        grant.by_name = number_of(spelling, rule, grant.egress);
    if (grant.by_address < 0 || grant.by_name < 0)
        return -ENOMEM;
    spelling->over |= grant.deny && (grant.by_address == SPELLING_RULES ||
                                     (grant.egress->names_len && grant.by_name == SPELLING_RULES));
    return add_grant(spelling, &grant);
}

static int add_ports(struct policy_spelling *spelling, struct spelling_grant grant)
{
    const struct policy_to_ports *to_ports = grant.to_ports;
    int code = 0;

    if (to_ports && to_ports->dns_len && !to_ports->http_len)
        return 0; /* it says nothing of requests */
    if (!to_ports || !to_ports->http_len)
        return add_rule(spelling, grant, NULL);
    for (size_t i = 0; code == 0 && i < to_ports->http_len; i++)
        code = add_rule(spelling, grant, &to_ports->http[i]);
    return code;
}

static int add_list(struct policy_spelling *spelling, const struct policy *policy, bool deny)
{
    const struct policy_egress *list = deny ? policy->egress_deny : policy->egress;
    size_t len = deny ? policy->egress_deny_len : policy->egress_len;
    int code = 0;

    for (size_t i = 0; code == 0 && i < len; i++) {
        struct spelling_grant grant = {.policy = policy, .egress = &list[i], .deny = deny};

        if (list[i].nowhere)
            continue;
        if (!list[i].to_ports_len)
            code = add_ports(spelling, grant);
        for (size_t j = 0; code == 0 && j < list[i].to_ports_len; j++) {
            grant.to_ports = &list[i].to_ports[j];
            code = add_ports(spelling, grant);
        }
    }
    return code;
}

/* ---- names as an expression ---- */

static void write_name(FILE *out, const char *pattern)
{
    if (strcmp(pattern, "*") == 0) {
        fputs(".*", out);
        return;
    }
    if (strncmp(pattern, "**.", 3) == 0) { /* as match.h: one label or more */
        fputs(".+[.]", out);
        pattern += 3;
    }
    for (; *pattern; pattern++)
        if (*pattern == '*')
            fputs("[a-z0-9_-]*", out);
        else
            fprintf(out, *pattern == '.' ? "[%c]" : "%c", *pattern);
}

static void write_names(FILE *out, const struct policy_name *names, size_t len, const char **bar)
{
    for (size_t i = 0; i < len; i++, *bar = "|") {
        fputs(*bar, out);
        write_name(out, names[i].text);
    }
}

/* Of whom the host must be one, unless policy_spoken tells that. */
static int find_names(struct spelling_rule *rule)
{
    const struct policy_to_ports *to_ports = rule->to_ports;
    CLEANUP(text_free) char *text = NULL;
    struct regex_fault fault;
    const char *bar = "";
    size_t size;
    FILE *out = open_memstream(&text, &size);
    int code;

    if (!out)
        return -ENOMEM;
    for (size_t i = 0; rule->by_name && rule->deny && i < rule->egress_len; i++)
        write_names(out, rule->egress[i]->names, rule->egress[i]->names_len, &bar);
    if (to_ports && to_ports->server_names_len && *bar)
        rule->inexact = true; /* both */
    else if (to_ports && to_ports->server_names_len)
        write_names(out, to_ports->server_names, to_ports->server_names_len, &bar);
    if (fclose(out) != 0 || !text)
        return -ENOMEM;
    if (!*bar)
        return 0;
    code = regex_new(&rule->names, text, &fault);
    if (code == 0 && !regex_has_dfa(rule->names))
        regex_free(&rule->names);
    rule->inexact |= !rule->names;
    return code == -ENOMEM ? code : 0;
}

/* ---- names that are resolved ---- */

static int by_egress(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const struct spelling_lead *)a)->egress;
    uintptr_t y = (uintptr_t)((const struct spelling_lead *)b)->egress;

    return (x > y) - (x < y);
}

static int find_leads(struct policy_spelling *spelling)
{
    size_t len = 0;

    spelling->leads = calloc(spelling->grants_len + 1, sizeof(*spelling->leads));
    if (!spelling->leads)
        return -ENOMEM;
    for (size_t i = 0; i < spelling->grants_len; i++) {
        const struct spelling_grant *grant = &spelling->grants[i];

        if (!grant->deny && grant->by_name != SPELLING_RULES)
            spelling->leads[len++] =
                (struct spelling_lead){grant->egress, UINT64_C(1) << grant->by_name};
    }
    qsort(spelling->leads, len, sizeof(*spelling->leads), by_egress);
    for (size_t i = 0; i < len; i++) {
        struct spelling_lead *last = &spelling->leads[spelling->leads_len];

        if (spelling->leads_len && last[-1].egress == spelling->leads[i].egress)
            last[-1].rules |= spelling->leads[i].rules;
        else
            spelling->leads[spelling->leads_len++] = spelling->leads[i];
    }
    return 0;
}

struct policy_spelling *policy_spelling_new(const struct policy_view *view)
{
    CLEANUP(policy_spelling_free) struct policy_spelling *spelling = calloc(1, sizeof(*spelling));
    int code = 0;

    if (!spelling)
        return NULL;
    spelling->rules_len = 2;
    spelling->rules[1].tls = true;
    for (size_t deny = 2; deny-- > 0;) /* those that deny find room first */
        for (size_t i = 0; code == 0 && i < policy_view_len(view); i++)
            if (policy_view_at(view, i)->mode == POLICY_ENFORCE)
                code = add_list(spelling, policy_view_at(view, i), deny);
    for (size_t i = 2; code == 0 && i < spelling->rules_len; i++)
        code = find_names(&spelling->rules[i]);
    if (code == 0)
        code = find_leads(spelling);
    return code < 0 ? NULL : TAKE(spelling);
}

void policy_spelling_free(struct policy_spelling **spelling)
{
    struct policy_spelling *gone = TAKE(*spelling);

    if (!gone)
        return;
    for (size_t i = 0; i < gone->rules_len; i++) {
        free(gone->rules[i].egress);
        regex_free(&gone->rules[i].names);
    }
    free(gone->grants);
    free(gone->leads);
    free(gone->places);
    free(gone);
}

/* ---- questions ---- */

uint64_t policy_spelling_named(const struct policy_spelling *spelling,
                               const struct policy_egress *egress)
{
    const struct spelling_lead key = {.egress = egress}, *found;

    found = spelling->leads_len
                ? bsearch(&key, spelling->leads, spelling->leads_len, sizeof(key), by_egress)
                : NULL;
    return found ? found->rules : 0;
}

bool policy_spelling_has_paths(const struct policy_spelling *spelling)
{
    for (size_t i = 0; i < spelling->rules_len; i++)
        if (spelling->rules[i].http && spelling->rules[i].http->path)
            return true;
    return false;
}
