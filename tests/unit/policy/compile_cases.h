/* compile_cases: a table of files, and of what compiling says of each: its policies, or its faults,
 * a line each: "LINE:COLUMN: text". */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "policy/compile.h"

/* Its spec begins in line 5; a rule of egress in line 6. */
#define SPEC(spec)                                                                                 \
    "apiVersion: sallyport.io/v1\n"                                                                \
    "kind: TrafficPolicy\n"                                                                        \
    "metadata: {name: p}\n"                                                                        \
    "spec:\n" spec "\n"
#define EGRESS(rule)   SPEC("  egress:\n  - " rule)
#define TO_PORTS(rule) EGRESS("toPorts:\n    - " rule) /* line 7 */

struct compile_case {
    const char *name, *yaml, *want;
};

static inline char *compile_faults(struct span bytes)
{
    CLEANUP(policy_list_fini) struct policy_list list = {0};
    CLEANUP(faults_fini) struct faults faults = {0};
    CLEANUP(text_free) char *told = NULL;
    char *got = NULL;
    size_t size;
    FILE *out = open_memstream(&got, &size);
    int result = policy_compile(&list, bytes, "f", &faults);

    told = faults_tell(&faults, "f", bytes); /* sorts them */
    assert_int_equal(result == 0, faults_count(&faults) == 0);
    assert_true(result == 0 || list.len == 0);
    for (size_t i = 0; i < faults.len; i++)
        fprintf(out, "%u:%u: %s\n", faults.list[i].mark.line, faults.list[i].mark.column,
                faults.list[i].text);
    fclose(out);
    return got;
}

static inline void compile_check_faults(const struct compile_case *cases, size_t len)
{
    size_t wrong = 0;

    for (size_t i = 0; i < len; i++) {
        CLEANUP(text_free) char *got = compile_faults(span_of_text(cases[i].yaml));
        CLEANUP(text_free) char *want = NULL;

        assert_true(asprintf(&want, "%s%s", cases[i].want, cases[i].want[0] ? "\n" : "") >= 0);
        if (strcmp(got, want) == 0)
            continue;
        print_error("%s: got\n%swant\n%s", cases[i].name, got, want);
        wrong++;
    }
    assert_int_equal(wrong, 0);
}

/* ---- what a policy became ---- */

static inline void dump_texts(FILE *out, const char *title, char *const *list, size_t len)
{
    for (size_t i = 0; i < len; i++)
        fprintf(out, "%s%s", i ? "," : title, list[i]);
}

static inline void dump_names(FILE *out, const char *title, const struct policy_name *list,
                              size_t len)
{
    for (size_t i = 0; i < len; i++)
        fprintf(out, "%s%s%s", i ? "," : title, list[i].exact ? "" : "~", list[i].text);
}

static inline void dump_cidr(FILE *out, const struct match_cidr *cidr)
{
    char text[ADDR_TEXT_MAX];
    unsigned less = addr_is_v4(&cidr->network) && cidr->bits >= 96 ? 96 : 0;

    fprintf(out, "%s/%u", addr_format_ip(&cidr->network, text), cidr->bits - less);
}

/* Expressions stand between slashes, texts do not. */
static inline void dump_field(FILE *out, const char *title, const char *text,
                              const struct regex *is, const char *written)
{
    if (text)
        fprintf(out, " %s=%s", title, text);
    else if (is)
        fprintf(out, " %s=/%s/", title, written);
}

static inline void dump_to_ports(FILE *out, const struct policy_to_ports *to)
{
    fprintf(out, "%s", to->place.rule);
    for (size_t i = 0; i < to->ports_len; i++)
        fprintf(out, "%s%u-%u/%s%s", i ? "," : " ports=", to->ports[i].first, to->ports[i].last,
                to->ports[i].protocols & POLICY_TCP ? "T" : "",
                to->ports[i].protocols & POLICY_UDP ? "U" : "");
    dump_names(out, " sni=", to->server_names, to->server_names_len);
    fputc('\n', out);
    if (to->tls) {
        fprintf(out, "%s %x-%x", to->tls->place.rule, to->tls->version_min, to->tls->version_max);
        dump_texts(out, " ciphers=", to->tls->ciphers, to->tls->ciphers_len);
        fprintf(out, " ca=%s cert=%s\n", to->tls->trusted_ca ? to->tls->trusted_ca : "",
                to->tls->client_certificate ? to->tls->client_certificate : "");
    }
    for (size_t i = 0; i < to->http_len; i++) {
        const struct policy_http *http = &to->http[i];

        fputs(http->place.rule, out);
        dump_field(out, "method", http->method_text, http->method_is, http->method);
        dump_field(out, "path", http->path_text, http->path_is, http->path);
        dump_field(out, "host", http->host_text, http->host_is, http->host);
        for (size_t j = 0; j < http->headers_len; j++)
            fprintf(out, " %s:%s", http->headers[j].name,
                    http->headers[j].value ? http->headers[j].value : "*");
        fputc('\n', out);
    }
    for (size_t i = 0; i < to->dns_len; i++) {
        fputs(to->dns[i].place.rule, out);
        if (to->dns[i].name.text)
            dump_names(out, " name=", &to->dns[i].name, 1);
        for (size_t j = 0; j < to->dns[i].types_len; j++)
            fprintf(out, "%s%u", j ? "," : " types=", to->dns[i].types[j]);
        fputc('\n', out);
    }
}

static inline void dump_egress(FILE *out, const struct policy_egress *list, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        fprintf(out, "%s%s", list[i].place.rule, list[i].nowhere ? " nowhere" : "");
        dump_names(out, " names=", list[i].names, list[i].names_len);
        for (size_t j = 0; j < list[i].cidrs_len; j++) {
            fputs(j ? "," : " cidrs=", out);
            dump_cidr(out, &list[i].cidrs[j].cidr);
            for (size_t k = 0; k < list[i].cidrs[j].except_len; k++) {
                fputc('!', out);
                dump_cidr(out, &list[i].cidrs[j].except[k]);
            }
        }
        fputc('\n', out);
        for (size_t j = 0; j < list[i].to_ports_len; j++)
            dump_to_ports(out, &list[i].to_ports[j]);
    }
}

static inline void dump_policy(FILE *out, const struct policy *policy)
{
    fprintf(out, "%s %s%s", policy->id, policy->has_egress ? "closed " : "",
            policy_mode_name(policy->mode));
    fprintf(out, " route=%d ktls=%d unseen=%d learn=%d down=%d deny=%s existing=%d\n",
            (int)policy->route, (int)policy->ktls, (int)policy->on_no_visibility,
            (int)policy->learn, (int)policy->on_agent_down, policy_action_name(policy->on_deny),
            (int)policy->existing);
    for (size_t i = 0; i < policy->selector_len; i++) {
        fprintf(out, "label %s %d", policy->selector[i].key, (int)policy->selector[i].operator);
        dump_texts(out, " ", policy->selector[i].values, policy->selector[i].values_len);
        fputc('\n', out);
    }
    for (size_t i = 0; i < policy->binaries_len; i++) {
        fprintf(out, "binary %d%s", (int)policy->binaries[i].operator,
                policy->binaries[i].follow_children ? " and children" : "");
        dump_texts(out, " ", policy->binaries[i].values, policy->binaries[i].values_len);
        fputc('\n', out);
    }
    dump_egress(out, policy->egress, policy->egress_len);
    dump_egress(out, policy->egress_deny, policy->egress_deny_len);
    for (size_t i = 0; i < policy->bodies_len; i++) {
        const struct policy_bodies *bodies = &policy->bodies[i];

        fprintf(out, "%s %d %s %ju", bodies->place.rule, (int)bodies->direction,
                verdict_name(bodies->action), (uintmax_t)bodies->max_bytes);
        for (size_t j = 0; j < bodies->patterns_len; j++)
            fprintf(out, " %s%s%s", bodies->patterns[j].name, bodies->patterns[j].regex ? "=" : "",
                    bodies->patterns[j].regex ? bodies->patterns[j].regex : "");
        fputc('\n', out);
    }
    if (policy->consistency_place.rule)
        fprintf(out, "%s %d\n", policy->consistency_place.rule, (int)policy->consistency);
    if (policy->tokens_place.rule)
        fprintf(out, "%s %d\n", policy->tokens_place.rule, (int)policy->tokens);
}

/* Without the first line, where a case is about what follows it. */
static inline void compile_check_policies(const struct compile_case *cases, size_t len, bool title)
{
    for (size_t i = 0; i < len; i++) {
        CLEANUP(policy_list_fini) struct policy_list list = {0};
        CLEANUP(faults_fini) struct faults faults = {0};
        CLEANUP(text_free) char *got = NULL;
        struct span bytes = span_of_text(cases[i].yaml);
        size_t size;
        FILE *out = open_memstream(&got, &size);

        print_message("  %s\n", cases[i].name);
        if (policy_compile(&list, bytes, "f", &faults) != 0) {
            CLEANUP(text_free) char *told = faults_tell(&faults, "f", bytes);

            fail_msg("%s", told);
        }
        for (size_t j = 0; j < list.len; j++)
            dump_policy(out, list.list[j]);
        fclose(out);
        assert_string_equal(title ? got : strchr(got, '\n') + 1, cases[i].want);
    }
}
