#include "policy/explain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/ask.h"
#include "policy/explain_why.h"
#include "policy/view_parts.h"

enum { RULES_TOLD = 200 }; /* beyond so many, only those that fit by where it goes */

struct telling {
    FILE *out;
    const struct ask *ask;
    const struct policy_verdict *verdict;
    bool all; /* rules for other places, too */
    size_t left_out;
};

static void put_place(FILE *out, const struct policy *policy, const struct policy_place *place)
{
    fprintf(out, "%s %s (%s%s%u:%u)", policy->id, place->rule, policy->file,
            policy->file[0] ? ":" : "", place->mark.line, place->mark.column);
}

static void put_line(const struct telling *telling, const struct policy *policy,
                     const struct policy_place *place, const char *why)
{
    fputs("  ", telling->out);
    put_place(telling->out, policy, place);
    fprintf(telling->out, ": %s\n", why);
}

/* A rule that fits: it decided, or says why it did not have to. */
static void put_fitting(const struct telling *telling, const struct policy *policy,
                        const struct policy_place *place, bool deny)
{
    const struct policy_verdict *verdict = telling->verdict;

    if (place == verdict->place && policy == verdict->policy)
        put_line(telling, policy, place, "it decides");
    else if (policy->mode == POLICY_MONITOR)
        put_line(telling, policy, place, "it fits, and only tells: its policy monitors");
    else if (!deny && verdict->verdict == VERDICT_DENY)
        put_line(telling, policy, place, "it fits, but what denies is stronger");
    else
        put_line(telling, policy, place, "it fits, too");
}

/* ---- one rule ---- */

static void tell_http(struct telling *telling, const struct policy *policy,
                      const struct policy_to_ports *to_ports, bool deny)
{
    const struct ask *ask = telling->ask;

    for (size_t i = 0; i < to_ports->http_len; i++) {
        const struct policy_http *http = &to_ports->http[i];
        char why[EXPLAIN_WHY];
        size_t fits = 0;

        for (size_t j = 0; j < ask->paths_len; j++)
            if (explain_http(ask, http, j, why))
                fits++;
        if (deny ? fits > 0 : fits == ask->paths_len)
            put_fitting(telling, policy, &http->place, deny);
        else
            put_line(telling, policy, &http->place, why);
    }
}

static void tell_dns(struct telling *telling, const struct policy *policy,
                     const struct policy_to_ports *to_ports, bool deny)
{
    for (size_t i = 0; i < to_ports->dns_len; i++) {
        const struct policy_dns *dns = &to_ports->dns[i];
        char why[EXPLAIN_WHY];

        if (explain_dns(telling->ask, dns, why))
            put_fitting(telling, policy, &dns->place, deny);
        else
            put_line(telling, policy, &dns->place, why);
    }
}

static void tell_entry(struct telling *telling, const struct policy *policy,
                       const struct policy_to_ports *to_ports, bool deny)
{
    const struct ask *ask = telling->ask;
    char why[EXPLAIN_WHY];

    if (!explain_entry(ask, to_ports, deny, why))
        put_line(telling, policy, &to_ports->place, why);
    else if (!to_ports->http_len && !to_ports->dns_len)
        put_fitting(telling, policy, &to_ports->place, deny);
    else if (ask->point == POLICY_POINT_HTTP && to_ports->http_len)
        tell_http(telling, policy, to_ports, deny);
    else if (ask->point == POLICY_POINT_DNS && to_ports->dns_len)
        tell_dns(telling, policy, to_ports, deny);
    else if (ask->point == POLICY_POINT_HTTP)
        put_line(telling, policy, &to_ports->place, "its rules are for questions of the DNS alone");
    else if (ask->point == POLICY_POINT_DNS)
        put_line(telling, policy, &to_ports->place, "its rules are for HTTP requests alone");
    else if (deny)
        put_line(telling, policy, &to_ports->place, "its rules look at what is said later");
    else
        put_fitting(telling, policy, &to_ports->place, deny);
}

static void tell_rule(struct telling *telling, const struct policy *policy,
                      const struct policy_egress *egress, bool deny)
{
    char why[EXPLAIN_WHY];

    if (!explain_egress(telling->ask, egress, deny, why)) {
        if (telling->all)
            put_line(telling, policy, &egress->place, why);
        else
            telling->left_out++;
        return;
    }
    if (!egress->to_ports_len)
        put_fitting(telling, policy, &egress->place, deny);
    for (size_t i = 0; i < egress->to_ports_len; i++)
        tell_entry(telling, policy, &egress->to_ports[i], deny);
}

/* ---- all of them ---- */

static void tell_policy(struct telling *telling, const struct policy *policy)
{
    for (size_t i = 0; i < policy->egress_deny_len; i++)
        tell_rule(telling, policy, &policy->egress_deny[i], true);
    for (size_t i = 0; i < policy->egress_len; i++)
        tell_rule(telling, policy, &policy->egress[i], false);
    if (policy->has_egress && !policy->egress_len)
        put_line(telling, policy, &policy->place, "it has no rule: nothing is allowed");
}

static size_t count_rules(const struct policy_scope *scope)
{
    size_t n = 0;

    for (size_t i = 0; i < scope->len; i++)
        n += scope->list[i]->egress_len + scope->list[i]->egress_deny_len;
    return n;
}

/* Those of the pod that are for other programs. */
static void tell_others(FILE *out, const struct policy_scope *scope)
{
    const struct policy_view *view = scope->view;
    size_t next = 0;

    for (size_t i = 0; i < view->len; i++) {
        if (next < scope->len && scope->list[next] == view->list[i]) {
            next++;
            continue;
        }
        fprintf(out, "  %s: its matchBinaries leave this program out\n", view->list[i]->id);
    }
}

static void put_verdict(FILE *out, const struct policy_verdict *verdict)
{
    fputs(verdict_name(verdict->verdict), out);
    if (!verdict->policy) {
        fputs(": no rule is about it, and no policy with egress is for this program\n", out);
        return;
    }
    if (verdict->verdict == VERDICT_DENY)
        fprintf(out, " (%s)", policy_action_name(verdict->action));
    else if (verdict->mode == POLICY_MONITOR)
        fputs(" (monitor)", out);
    fputs(": ", out);
    put_place(out, verdict->policy, verdict->place);
    fprintf(out, "%s%s\n", verdict->reason[0] ? ": " : "", verdict->reason);
}

static void ask_of(struct ask *ask, const struct policy_case *what, uint8_t *buffer)
{
    const char *odd;

    if (what->point == POLICY_POINT_HTTP) {
        ask_init_http(ask, what->facts, what->request, buffer, &odd);
    } else if (what->point == POLICY_POINT_DNS) {
        ask_init_dns(ask, what->facts, what->question);
    } else if (what->point == POLICY_POINT_TLS) {
        ask_init_hello(ask, what->facts, what->hello);
    } else {
        ask_init(ask, what->point, what->facts, what->facts->name);
        ask->version = what->version;
        ask->cipher = what->cipher;
    }
}

static void decide(const struct policy_scope *scope, const struct policy_case *what,
                   struct policy_verdict *verdict)
{
    bool bad;

    switch (what->point) {
    case POLICY_POINT_HTTP:
        policy_decide_http(scope, what->facts, what->request, &bad, verdict);
        break;
    case POLICY_POINT_DNS:
        policy_decide_dns(scope, what->facts, what->question, verdict);
        break;
    case POLICY_POINT_TLS:
        policy_decide_hello(scope, what->facts, what->hello, verdict);
        break;
    case POLICY_POINT_CERTIFICATE:
        policy_decide_session(scope, what->facts, what->version, what->cipher, verdict);
        break;
    default:
        policy_decide_connect(scope, what->facts, verdict);
        break;
    }
}

int policy_explain(const struct policy_scope *scope, const struct policy_case *what,
                   struct policy_verdict *verdict, char **text)
{
    size_t room = what->request ? what->request->path.len : 0, size;
    CLEANUP(text_free) char *buffer = malloc(room + 1);
    CLEANUP(text_free) char *told = NULL;
    struct telling telling = {.verdict = verdict};
    struct ask ask;
    bool failed;

    if (!buffer || !(telling.out = open_memstream(&told, &size)))
        return -ENOMEM;
    decide(scope, what, verdict);
    put_verdict(telling.out, verdict);
    if (scope) {
        ask_of(&ask, what, (uint8_t *)buffer);
        telling.ask = &ask;
        telling.all = count_rules(scope) <= RULES_TOLD;
        for (size_t i = 0; i < scope->len; i++)
            tell_policy(&telling, scope->list[i]);
        if (telling.left_out)
            fprintf(telling.out, "  %zu rules are for other destinations\n", telling.left_out);
        tell_others(telling.out, scope);
    }
    failed = ferror(telling.out);
    if (fclose(telling.out) != 0 || failed)
        return -ENOMEM;
    *text = TAKE(told);
    return 0;
}
