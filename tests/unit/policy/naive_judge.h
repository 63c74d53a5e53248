/* naive_judge: what a model of policies means. See naive.h. */
#pragma once

#include <arpa/inet.h>

#include "tests/unit/policy/naive.h"

enum naive_kind {
    NAIVE_CONNECT,
    NAIVE_DNS,
    NAIVE_HELLO,
    NAIVE_SESSION,
    NAIVE_HTTP_REQUEST,
    NAIVE_KINDS
};

struct naive_ask {
    enum naive_kind kind;
    bool udp, curl, cannot_resolve, name_server, plain;
    const char *address;
    int port;
    const char *resolved[3];
    int resolved_len;
    const char *name;                          /* SNI; NULL: none */
    const char *method, *host, *field, *value; /* a request */
    const char *paths[2];
    int paths_len;
    bool odd;
    const char *question;
    int type;
    bool configured;
    int version; /* a ClientHello's, a session's: 0, 2, 3 */
    const char *cipher;
    const char *server; /* for serverNames */
};

static struct naive_ask random_ask(void)
{
    struct naive_ask ask = {.kind = (enum naive_kind)chance(NAIVE_KINDS)};

    ask.curl = chance(2);
    ask.udp = ask.kind <= NAIVE_HELLO && chance(3) == 0;
    ask.address = ANY(naive_addresses);
    ask.port = ask.kind == NAIVE_DNS && chance(3) ? 53 : ANY(naive_port);
    ask.resolved_len = chance(4);
    for (int i = 0; i < ask.resolved_len; i++)
        ask.resolved[i] = ANY(naive_names);
    ask.name = chance(3) ? ANY(naive_names) : NULL;
    ask.cannot_resolve = ask.name && chance(6) == 0;
    ask.name_server = chance(4) == 0;
    ask.plain = chance(8) == 0;
    if (ask.kind == NAIVE_DNS) {
        ask.question = ANY(naive_names);
        ask.type = chance(2) ? 1 : 16;
        ask.configured = chance(2);
        ask.name = NULL;
    }
    if (ask.kind == NAIVE_HELLO || ask.kind == NAIVE_SESSION) {
        ask.version = ask.kind == NAIVE_HELLO && chance(3) == 0 ? 0 : 2 + chance(2);
        if (ask.kind == NAIVE_SESSION)
            ask.cipher = chance(2) ? naive_ciphers[1] : naive_ciphers[2];
    }
    ask.server = ask.name;
    if (ask.kind == NAIVE_HTTP_REQUEST) {
        int path = chance((int)COUNT(naive_path));

        ask.method = ANY(naive_method);
        ask.host = chance(12) == 0 ? NULL : ask.name && chance(2) ? ask.name : ANY(naive_names);
        ask.paths[0] = naive_path[path].sent;
        ask.paths[1] = naive_path[path].normal;
        ask.paths_len = 1 + (strcmp(ask.paths[0], ask.paths[1]) != 0);
        ask.odd = naive_path[path].odd;
        if (chance(2)) {
            ask.field = chance(2) ? "X-A" : "x-b";
            ask.value = chance(2) ? "1" : "2";
        }
    }
    return ask;
}

/* ---- texts and addresses ---- */

static bool expression_fits(const char *expression, bool any_case, const char *text)
{
    static struct {
        const char *expression;
        bool any_case;
        regex_t compiled;
    } known[128];
    static size_t len;
    size_t i = 0;

    while (i < len &&
           (strcmp(known[i].expression, expression) != 0 || known[i].any_case != any_case))
        i++;
    if (i == len) {
        char anchored[256];

        snprintf(anchored, sizeof(anchored), "^(%s)$", expression);
        if (len++ == COUNT(known) || regcomp(&known[i].compiled, anchored,
                                             REG_EXTENDED | REG_NOSUB | (any_case ? REG_ICASE : 0)))
            abort();
        known[i].expression = strdup(expression);
        known[i].any_case = any_case;
    }
    return regexec(&known[i].compiled, text, 0, NULL, 0) == 0;
}

static bool name_fits(const char *pattern, const char *name)
{
    char expression[256] = "";

    if (strcmp(pattern, "*") == 0)
        return true;
    if (strncmp(pattern, "**.", 3) == 0) {
        strcat(expression, "([-a-z0-9_]+[.])+");
        pattern += 3;
    }
    for (; *pattern; pattern++)
        if (*pattern == '*')
            strcat(expression, "[-a-z0-9_]*");
        else if (*pattern == '.')
            strcat(expression, "[.]");
        else
            strncat(expression, pattern, 1);
    return expression_fits(expression, true, name);
}

static bool names_fit(const char *const *patterns, int len, const char *name)
{
    for (int i = 0; i < len; i++)
        if (name_fits(patterns[i], name))
            return true;
    return false;
}

static bool network_has(const char *network, const char *address)
{
    char text[64];
    unsigned char a[16], b[16];
    int family = strchr(address, ':') ? AF_INET6 : AF_INET, bits;

    strcpy(text, network);
    bits = atoi(strchr(text, '/') + 1);
    *strchr(text, '/') = 0;
    if (inet_pton(family, text, a) != 1 || inet_pton(family, address, b) != 1)
        return false;
    for (int i = 0; i < bits; i++)
        if ((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1)
            return false;
    return true;
}

/* ---- rules ---- */

static bool goes_there(const struct naive_rule *rule, bool deny, const struct naive_ask *ask)
{
    const char *said = ask->question ? ask->question : ask->name;
    bool by_resolved = false, was_resolved = ask->cannot_resolve;

    if (!rule->names_len && !rule->cidrs_len)
        return true;
    for (int i = 0; i < rule->cidrs_len; i++)
        if (network_has(rule->cidrs[i], ask->address) &&
            !(rule->except[i] && network_has(rule->except[i], ask->address)))
            return true;
    for (int i = 0; i < ask->resolved_len; i++) {
        by_resolved |= names_fit(rule->names, rule->names_len, ask->resolved[i]);
        was_resolved |= said && strcmp(ask->resolved[i], said) == 0;
    }
    if (deny)
        return by_resolved || (said && names_fit(rule->names, rule->names_len, said));
    if (rule->names_len &&
        ((ask->question && ask->configured) || (ask->name_server && ask->port == 53)))
        return true;
    if (!said || ask->question)
        return by_resolved;
    return was_resolved && names_fit(rule->names, rule->names_len, said);
}

static bool on_ports(const struct naive_ports *to, const struct naive_ask *ask)
{
    for (int i = 0; i < to->ports_len; i++) {
        bool any = !to->ports[i].first;
        const char *protocol = to->ports[i].protocol;

        if ((any || (ask->port >= to->ports[i].first && ask->port <= to->ports[i].last)) &&
            (strcmp(protocol, "ANY") == 0 || strcmp(protocol, ask->udp ? "UDP" : "TCP") == 0))
            return true;
    }
    return !to->ports_len;
}

static bool meets_demands(const struct naive_ports *to, bool deny, const struct naive_ask *ask)
{
    bool tls = to->version || to->cipher;

    if (ask->udp && (to->http_len || tls || (to->servers_len && ask->port == 53) ||
                     (to->dns_len && !ask->question && ask->port != 53)))
        return false;
    if (tls && !deny) {
        if (ask->plain || (to->version && ask->version && ask->version < to->version))
            return false;
        if (to->cipher && ask->cipher && strcmp(to->cipher, ask->cipher) != 0)
            return false;
    }
    if (!to->servers_len)
        return true;
    if (ask->kind == NAIVE_CONNECT)
        return !deny;
    return !ask->plain && ask->server && names_fit(to->servers, to->servers_len, ask->server);
}

static bool request_fits(const struct naive_http *http, const struct naive_ask *ask,
                         const char *path)
{
    if ((http->method && !expression_fits(http->method, false, ask->method)) ||
        (http->path && !expression_fits(http->path, false, path)) ||
        (http->host && !expression_fits(http->host, true, ask->host ? ask->host : "")))
        return false;
    for (int i = 0; i < 2; i++) {
        const char *header = http->headers[i];
        char field[64];

        if (!header)
            continue;
        if (!ask->field || strncasecmp(header, ask->field, 3) != 0)
            return false;
        snprintf(field, sizeof(field), "%.3s %s", header, ask->value);
        if (header[3] && strcmp(header, field) != 0)
            return false;
    }
    return true;
}

static bool question_fits(const struct naive_dns *dns, const struct naive_ask *ask)
{
    return name_fits(dns->name, ask->question) && (!dns->type || dns->type == ask->type);
}

/* Whether one entry takes (or denies) it; which: of its rules only that one, or -1. */
static bool entry_takes(const struct naive_ports *to, bool deny, const struct naive_ask *ask,
                        const char *path, int which)
{
    if (!on_ports(to, ask) || !meets_demands(to, deny, ask))
        return false;
    if (!to->http_len && !to->dns_len)
        return true;
    if (ask->kind == NAIVE_HTTP_REQUEST) {
        for (int i = 0; i < to->http_len; i++)
            if ((which < 0 || which == i) && request_fits(&to->http[i], ask, path))
                return true;
        return false;
    }
    if (ask->kind == NAIVE_DNS) {
        for (int i = 0; i < to->dns_len; i++)
            if ((which < 0 || which == i) && question_fits(&to->dns[i], ask))
                return true;
        return false;
    }
    return !deny;
}

static bool rule_takes(const struct naive_rule *rule, bool deny, const struct naive_ask *ask,
                       const char *path)
{
    if (!goes_there(rule, deny, ask))
        return false;
    for (int i = 0; i < rule->to_ports_len; i++)
        if (entry_takes(&rule->to_ports[i], deny, ask, path, -1))
            return true;
    return !rule->to_ports_len;
}

/* ---- policies ---- */

static bool in_force(const struct naive_policy *policy, bool monitor, const struct naive_ask *ask)
{
    return policy->monitor == monitor && (!policy->curl_only || ask->curl);
}

static bool takes(const struct naive *model, bool monitor, bool deny, const struct naive_ask *ask,
                  const char *path)
{
    for (int i = 0; i < model->len; i++) {
        const struct naive_policy *policy = &model->policies[i];

        for (int j = 0;
             in_force(policy, monitor, ask) && j < (deny ? policy->deny_len : policy->egress_len);
             j++)
            if (rule_takes(deny ? &policy->deny[j] : &policy->egress[j], deny, ask, path))
                return true;
    }
    return false;
}

static bool closed(const struct naive *model, bool monitor, const struct naive_ask *ask)
{
    for (int i = 0; i < model->len; i++)
        if (in_force(&model->policies[i], monitor, ask) && model->policies[i].closed)
            return true;
    return false;
}

/* Any spelling may be denied; every one must be allowed. */
static bool any_takes(const struct naive *model, bool monitor, const struct naive_ask *ask)
{
    bool any = ask->paths_len == 0 && takes(model, monitor, true, ask, "");

    for (int i = 0; i < ask->paths_len; i++)
        any |= takes(model, monitor, true, ask, ask->paths[i]);
    return any;
}

static bool all_taken(const struct naive *model, bool monitor, const struct naive_ask *ask)
{
    bool all = ask->paths_len || takes(model, monitor, false, ask, "");

    for (int i = 0; i < ask->paths_len; i++)
        all &= takes(model, monitor, false, ask, ask->paths[i]);
    return all;
}

enum { NAIVE_ALLOWED, NAIVE_TOLD, NAIVE_DENIED };

static int judge_one(const struct naive *model, const struct naive_ask *ask)
{
    bool allowed = all_taken(model, false, ask);

    if (any_takes(model, false, ask) || (closed(model, false, ask) && !allowed))
        return NAIVE_DENIED;
    if (any_takes(model, true, ask) ||
        (closed(model, true, ask) && !allowed && !all_taken(model, true, ask)))
        return NAIVE_TOLD;
    return NAIVE_ALLOWED;
}

/* Whether a rule of an enforcing policy looks at requests (or their paths), without which nothing
 * is known of this one. */
static bool is_read(const struct naive *model, bool deny, bool path, const struct naive_ask *ask)
{
    for (int i = 0; i < model->len; i++) {
        const struct naive_policy *policy = &model->policies[i];

        for (int j = 0;
             in_force(policy, false, ask) && j < (deny ? policy->deny_len : policy->egress_len);
             j++) {
            const struct naive_rule *rule = deny ? &policy->deny[j] : &policy->egress[j];

            for (int k = 0; goes_there(rule, deny, ask) && k < rule->to_ports_len; k++) {
                const struct naive_ports *to = &rule->to_ports[k];
                bool looks = to->http_len && on_ports(to, ask) && meets_demands(to, deny, ask);

                for (int l = 0; looks && l < to->http_len; l++)
                    if (!path || to->http[l].path)
                        return true;
            }
        }
    }
    return false;
}

/* Whether rules without rules decide it. */
static bool decided_unread(const struct naive *model, bool deny, const struct naive_ask *ask)
{
    struct naive_ask other = *ask;

    other.kind = NAIVE_HELLO; /* egressDeny's rules do not hold there; those of egress all do */
    if (deny)
        return takes(model, false, true, &other, "");
    for (int i = 0; i < model->len; i++) {
        const struct naive_policy *policy = &model->policies[i];

        for (int j = 0; in_force(policy, false, ask) && j < policy->egress_len; j++) {
            struct naive_rule rule = policy->egress[j];
            bool had = rule.to_ports_len;

            for (int k = 0; k < rule.to_ports_len; k++)
                if (rule.to_ports[k].http_len || rule.to_ports[k].dns_len)
                    rule.to_ports[k--] = rule.to_ports[--rule.to_ports_len];
            if ((rule.to_ports_len || !had) && rule_takes(&rule, false, &other, ""))
                return true;
        }
    }
    return false;
}

static bool is_bad(const struct naive *model, const struct naive_ask *ask)
{
    bool deny, allow;

    if (ask->kind != NAIVE_HTTP_REQUEST || decided_unread(model, true, ask))
        return false;
    allow = !decided_unread(model, false, ask);
    deny = true;
    if (!ask->host &&
        (is_read(model, deny, false, ask) || (allow && is_read(model, false, false, ask))))
        return true;
    return ask->odd &&
           (is_read(model, deny, true, ask) || (allow && is_read(model, false, true, ask)));
}

static int judge(const struct naive *model, const struct naive_ask *asked, bool *bad)
{
    struct naive_ask ask = *asked, with;
    bool tunnel = ask.method && strcmp(ask.method, "CONNECT") == 0;
    int verdict, other;

    *bad = false;
    if (ask.kind == NAIVE_HTTP_REQUEST && !tunnel && ask.host) {
        if (ask.name)
            ask.server = ask.host;
        ask.name = ask.host;
    }
    if (tunnel) {
        ask.paths[0] = "";
        ask.paths_len = 1;
        ask.odd = false;
    }
    verdict = judge_one(model, &ask);
    if (is_bad(model, &ask)) {
        *bad = true;
        return NAIVE_DENIED;
    }
    if (ask.kind != NAIVE_HTTP_REQUEST || tunnel || !asked->name || !asked->host ||
        strcmp(asked->name, asked->host) == 0)
        return verdict;
    with = *asked; /* whom TLS is with */
    with.kind = NAIVE_HELLO;
    with.paths_len = 0;
    other = judge_one(model, &with);
    return other > verdict ? other : verdict;
}
