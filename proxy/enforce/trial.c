#include "proxy/enforce/trial.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "policy/compile_words.h"
#include "policy/explain.h"
#include "policy/reason.h"
#include "proxy/telemetry/status.h"
#include "proxy/wire/authority.h"

enum { FIELDS_MAX = 64, NAMES_MAX = 64, LABELS_MAX = 64, DNS_PORT = 53 };

/* What is asked, and all that the facts point to; not to be moved. */
struct trial {
    const json_t *question;
    struct process process;
    struct addr dst;
    struct policy_facts facts;
    const char *names[NAMES_MAX];
    struct authority_parts host;
    char bare[AUTHORITY_HOST_MAX]; /* host without brackets */
    struct authority_parts said;   /* by a Host among the headers */
    struct policy_hello hello;
    struct policy_question dns;
    struct facts_request request;
    struct facts_field fields[FIELDS_MAX];
    bool tls;
    const char *name; /* whom TLS is with, once that is said; NULL: it does not say */
    struct policy_scope *scope;
    json_t *answer, *steps;
};

static const char *text_of(const struct trial *trial, const char *key)
{
    return json_string_value(json_object_get(trial->question, key));
}

/* ---- the pod ---- */

int trial_pod(struct pod **out, const json_t *question, struct err *err)
{
    const char *name = json_string_value(json_object_get(question, "pod"));
    const char *space = json_string_value(json_object_get(question, "namespace"));
    json_t *labels = json_object_get(question, "labels"), *value;
    struct pod_label list[LABELS_MAX];
    const char *key;
    size_t len = 0;

    json_object_foreach(labels, key, value)
    {
        if (len == LABELS_MAX || !json_is_string(value))
            return err_set(err, -EINVAL, "these are no labels, or more than %d", LABELS_MAX);
        list[len++] = (struct pod_label){(char *)key, (char *)json_string_value(value)};
    }
    *out = pod_new(0, space ? space : "", name ? name : "", list, len);
    return *out ? 0 : err_set(err, -ENOMEM, "policies: out of memory");
}

/* ---- the question ---- */

static bool parse_address(const char *text, struct addr *out)
{
    struct match_cidr one;

    if (strchr(text, '/') || !match_cidr_parse(text, &one))
        return false;
    memcpy(out->ip, one.network.ip, sizeof(out->ip));
    return true;
}

/* Whom a host and port name: an address, or a name that leads to any. */
static int parse_host(struct trial *trial, struct span text, uint16_t port, struct err *err)
{
    size_t len;

    if (!authority_parse(text, &trial->host))
        return err_set(err, -EINVAL, "'%.*s' is no host and port", (int)text.len, text.data);
    len = strlen(trial->host.host);
    if (trial->host.host[0] == '[')
        snprintf(trial->bare, sizeof(trial->bare), "%.*s", (int)len - 2, trial->host.host + 1);
    else
        snprintf(trial->bare, sizeof(trial->bare), "%s", trial->host.host);
    trial->dst.port = trial->host.port ? trial->host.port : port;
    if (!parse_address(trial->bare, &trial->dst)) {
        trial->names[0] = trial->bare;
        trial->facts.resolved.len = 1;
    }
    return 0;
}

/* "https://host:port/path?query" */
static int parse_url(struct trial *trial, const char *url, struct err *err)
{
    static const char http[] = "http://", https[] = "https://";
    struct facts_request *request = &trial->request;
    const char *at, *target;
    int result;

    trial->tls = strncasecmp(url, https, sizeof(https) - 1) == 0;
    if (!trial->tls && strncasecmp(url, http, sizeof(http) - 1) != 0)
        return err_set(err, -EINVAL, "'%.200s' begins neither with https:// nor with http://", url);
    at = url + (trial->tls ? sizeof(https) : sizeof(http)) - 1;
    target = at + strcspn(at, "/?#");
    result = parse_host(trial, span_of(at, (size_t)(target - at)), trial->tls ? 443 : 80, err);
    if (result < 0)
        return result;
    request->url = span_of(target, strcspn(target, "#"));
    if (*target != '/') /* a query may follow a host at once, but what is sent has a path */
        request->url = BYTES("/");
    request->path = span_of(request->url.data, 0);
    while (request->path.len < request->url.len && request->url.data[request->path.len] != '?')
        request->path.len++;
    request->host = trial->host.host;
    request->port = trial->host.port;
    request->protocol = "HTTP/1.1";
    request->stream = 1;
    if (trial->tls && trial->facts.resolved.len) { /* no SNI says an address */
        trial->name = trial->bare;
        request->name = trial->bare;
    }
    return 0;
}

/* Whom the request is for is said by its Host, whomever the connection is with. */
static int parse_said(struct trial *trial, const char *host, struct err *err)
{
    if (!authority_parse(span_of_text(host), &trial->said))
        return err_set(err, -EINVAL, "'%.200s' is no Host", host);
    trial->request.host = trial->said.host;
    trial->request.port = trial->said.port;
    return 0;
}

static int parse_headers(struct trial *trial, struct err *err)
{
    const json_t *item;
    size_t i;

    json_array_foreach(json_object_get(trial->question, "headers"), i, item)
    {
        const char *text = json_string_value(item), *colon = text ? strchr(text, ':') : NULL;
        const char *value = colon ? colon + 1 + strspn(colon + 1, " ") : NULL;

        if (!value || colon == text)
            return err_set(err, -EINVAL, "'%.100s' is no header; say 'name: value'",
                           text ? text : "");
        if (i == FIELDS_MAX)
            return err_set(err, -EINVAL, "there are more than %d headers", FIELDS_MAX);
        trial->fields[i] =
            (struct facts_field){span_of(text, (size_t)(colon - text)), span_of_text(value)};
        if (span_equal_nocase(trial->fields[i].name, "host") && parse_said(trial, value, err) < 0)
            return err->code;
        trial->request.fields_len = i + 1;
    }
    trial->request.fields = trial->fields;
    return 0;
}

static int parse_request(struct trial *trial, const char *method, struct err *err)
{
    const char *url = text_of(trial, "url");

    if (!url || strcmp(method, "CONNECT") == 0)
        return err_set(err, -EINVAL, "say a method and a URL, such as GET https://example.com/");
    trial->request.method = span_of_text(method);
    return parse_url(trial, url, err) < 0 ? err->code : parse_headers(trial, err);
}

static int parse_dns(struct trial *trial, const char *name, struct err *err)
{
    const char *type = text_of(trial, "type"), *server = text_of(trial, "name_server");
    int number = compile_dns_type(type ? type : "A");

    if (number < 0)
        return err_set(err, -EINVAL, "'%.100s' is no type of the DNS, such as A or TYPE65", type);
    if (server && !parse_address(server, &trial->dst))
        return err_set(err, -EINVAL, "'%.100s' is no address of a name server", server);
    trial->facts.protocol = PROTOCOL_UDP;
    trial->facts.name_server = !server;
    trial->dst.port = DNS_PORT;
    trial->dns = (struct policy_question){.name = name,
                                          .type = (uint16_t)number,
                                          .type_name = type ? type : "A",
                                          .configured = !server};
    return 0;
}

static int parse_connect(struct trial *trial, const char *text, struct err *err)
{
    const char *slash = strrchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    int result = parse_host(trial, span_of(text, len), 0, err);

    if (result < 0)
        return result;
    if (!trial->dst.port ||
        (slash && strcasecmp(slash, "/TCP") != 0 && strcasecmp(slash, "/UDP") != 0))
        return err_set(err, -EINVAL, "'%.200s' is no ADDRESS:PORT or ADDRESS:PORT/UDP", text);
    if (slash && strcasecmp(slash, "/UDP") == 0)
        trial->facts.protocol = PROTOCOL_UDP;
    return 0;
}

/* What was said beside, and counts more. */
static int parse_place(struct trial *trial, struct err *err)
{
    const char *address = text_of(trial, "address"), *sni = text_of(trial, "server_name");
    const json_t *item, *resolved = json_object_get(trial->question, "resolved");
    size_t i;

    if (address && !parse_address(address, &trial->dst))
        return err_set(err, -EINVAL, "'%.100s' is no address", address);
    if (sni && (trial->tls || (trial->facts.protocol == PROTOCOL_UDP && !trial->dns.name)))
        trial->name = trial->request.name = sni;
    if (json_array_size(resolved))
        trial->facts.resolved.len = 0;
    json_array_foreach(resolved, i, item)
    {
        if (i == NAMES_MAX || !json_is_string(item))
            return err_set(err, -EINVAL, "that are no names, or more than %d", NAMES_MAX);
        trial->names[i] = json_string_value(item);
        trial->facts.resolved.len = i + 1;
    }
    return 0;
}

static int parse(struct trial *trial, struct err *err)
{
    const char *method = text_of(trial, "method"), *name = text_of(trial, "question");
    const char *connect = text_of(trial, "connect");
    int result = method    ? parse_request(trial, method, err)
                 : name    ? parse_dns(trial, name, err)
                 : connect ? parse_connect(trial, connect, err)
                           : err_set(err, -EINVAL, "there is nothing to explain");

    return result < 0 ? result : parse_place(trial, err);
}

/* ---- the answer ---- */

static void add_verdict(json_t *object, enum policy_point point,
                        const struct policy_verdict *verdict)
{
    const struct policy *policy = verdict->policy;

    status_add_text(object, "verdict", verdict_name(verdict->verdict));
    status_add_text(object, "point", policy_point_name(point));
    if (!policy)
        return;
    status_add_text(object, "policy", policy->id);
    status_add_text(object, "mode", policy_mode_name(verdict->mode));
    if (verdict->verdict == VERDICT_DENY)
        status_add_text(object, "action", policy_action_name(verdict->action));
    if (verdict->place) {
        status_add_text(object, "rule", verdict->place->rule);
        status_add_text(object, "file", policy->file);
        json_object_set_new(object, "line", json_integer(verdict->place->mark.line));
        json_object_set_new(object, "column", json_integer(verdict->place->mark.column));
    }
    if (verdict->reason[0])
        status_add_text(object, "reason", verdict->reason);
}

/* Whether what it says has the last word so far. */
static bool outweighs(const struct policy_verdict *verdict, const json_t *answer)
{
    const char *so_far = json_string_value(json_object_get(answer, "verdict"));

    return !so_far || verdict->verdict == VERDICT_DENY ||
           (verdict->policy && (verdict->verdict == VERDICT_ALERT ||
                                strcmp(so_far, verdict_name(VERDICT_ALLOW)) == 0));
}

/* Whether the next point is come to. */
static bool add_step(struct trial *trial, enum policy_point point, const char *about,
                     const struct policy_verdict *verdict, const char *text)
{
    json_t *step = json_object();

    add_verdict(step, point, verdict);
    status_add_text(step, "about", about);
    status_add_text(step, "text", text);
    json_array_append_new(trial->steps, step);
    if (outweighs(verdict, trial->answer)) {
        json_object_clear(trial->answer);
        add_verdict(trial->answer, point, verdict);
    }
    return verdict->verdict != VERDICT_DENY;
}

/* 1: the next point is come to; 0: this is the end. */
static int explain(struct trial *trial, enum policy_point point, const char *about)
{
    const struct policy_case what = {
        .point = point,
        .facts = &trial->facts,
        .question = &trial->dns,
        .hello = &trial->hello,
        .request = point == POLICY_POINT_HTTP ? &trial->request : NULL,
    };
    CLEANUP(text_free) char *text = NULL;
    struct policy_verdict verdict;
    int result = policy_explain(trial->scope, &what, &verdict, &text);

    return result < 0 ? result : add_step(trial, point, about, &verdict, text);
}

/* Told only where it has something to say. */
static bool is_consistent(struct trial *trial, enum policy_point point, const char *host)
{
    struct policy_verdict verdict;
    char text[512];

    policy_decide_consistency(trial->scope, &trial->facts, host, &verdict);
    if (verdict.verdict == VERDICT_ALLOW)
        return true;
    snprintf(text, sizeof(text), "%s: %s %s (%s:%u:%u): %s\n", verdict_name(verdict.verdict),
             verdict.policy->id, verdict.place->rule, verdict.policy->file,
             verdict.place->mark.line, verdict.place->mark.column, verdict.reason);
    return add_step(trial, point, host, &verdict, text);
}

/* What is known when follows what was said: at the connect no name was. */
static int run_request(struct trial *trial)
{
    char about[256] = "";
    int result;

    trial->facts.plain = !trial->tls;
    trial->hello.server_name = trial->name;
    result = explain(trial, POLICY_POINT_TLS,
                     trial->name  ? trial->name
                     : trial->tls ? "without a name"
                                  : "is not spoken");
    trial->facts.name = trial->name;
    if (result > 0 && trial->tls)
        result = is_consistent(trial, POLICY_POINT_TLS, trial->name);
    reason_add_foreign(about, sizeof(about), trial->request.method, 32);
    reason_add(about, sizeof(about), " ");
    reason_add_foreign(about, sizeof(about), trial->request.path, 160);
    if (result > 0)
        result = explain(trial, POLICY_POINT_HTTP, about);
    return result > 0 ? is_consistent(trial, POLICY_POINT_HTTP, trial->request.host) : result;
}

/* QUIC, DTLS. */
static int run_datagrams(struct trial *trial)
{
    int result;

    trial->hello.server_name = trial->name;
    result = explain(trial, POLICY_POINT_TLS, trial->name);
    trial->facts.name = trial->name;
    return result > 0 ? is_consistent(trial, POLICY_POINT_TLS, trial->name) : result;
}

static int run(struct trial *trial)
{
    static const uint8_t any[16] = {[10] = 0xff, [11] = 0xff};
    char where[ADDR_TEXT_MAX], about[ADDR_TEXT_MAX + 8];
    int result;

    if (memcmp(trial->dst.ip, any, sizeof(any)) == 0)
        snprintf(where, sizeof(where), "*:%u", trial->dst.port);
    else
        addr_format(&trial->dst, where);
    snprintf(about, sizeof(about), "%s/%s", where, protocol_name(trial->facts.protocol));
    result = explain(trial, POLICY_POINT_CONNECT, about);
    if (result > 0 && trial->dns.name)
        return explain(trial, POLICY_POINT_DNS, trial->dns.name);
    if (result > 0 && trial->name && trial->facts.protocol == PROTOCOL_UDP)
        return run_datagrams(trial);
    return result > 0 && trial->request.method.len ? run_request(trial) : result;
}

static void tell_assumed(const struct trial *trial)
{
    const char *address = text_of(trial, "address");
    char text[512];

    if (!trial->facts.resolved.len || json_array_size(json_object_get(trial->question, "resolved")))
        return;
    snprintf(text, sizeof(text), "the pod was told that %.300s is at %s", trial->bare,
             address ? address : "the address");
    status_add_text(trial->answer, "assumed", text);
}

int trial_run(json_t **answer, struct policy_view *view, const json_t *question, struct err *err)
{
    struct trial trial = {
        .question = question,
        .dst.ip = {[10] = 0xff, [11] = 0xff}, /* 0.0.0.0: any */
        .answer = json_object(),
        .steps = json_array(),
    };
    const char *binary = text_of(&trial, "binary");
    int result;

    trial.process.binary = (char *)(binary ? binary : "");
    trial.facts.dst = &trial.dst;
    trial.facts.resolved.list = trial.names;
    result = parse(&trial, err);
    if (result == 0) {
        trial.scope = policy_scope_new(view, binary ? &trial.process : NULL);
        result = trial.scope ? run(&trial) : -ENOMEM;
        if (result < 0)
            err_set(err, result, "policies: out of memory");
    }
    policy_scope_free(&trial.scope);
    if (result >= 0)
        tell_assumed(&trial);
    if (result >= 0 && json_object_set(trial.answer, "steps", trial.steps) == 0)
        *answer = json_incref(trial.answer);
    json_decref(trial.answer);
    json_decref(trial.steps);
    return result < 0 ? result : 0;
}
