/* decide_fuzz: requests, names and questions of any bytes under policies with enough rules to be
 * looked up. What is decided is what asking each rule says; what is allowed is allowed as it is
 * normal, too; a reason is printable and ends. The input's lines: method, path, host, SNI, a name
 * that was resolved, a header's name and value. */
#include <stdio.h>
#include <stdlib.h>

#include "policy/ask.h"
#include "policy/compile.h"
#include "policy/path.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char yaml[] =
    "apiVersion: sallyport.io/v1\n"
    "kind: TrafficPolicy\n"
    "metadata: {name: fuzz}\n"
    "spec:\n"
    "  egress:\n"
    "  - toFQDNs: [{matchName: a.test}, {matchPattern: '*.b.test'}, {matchPattern: '**.c.test'},\n"
    "      {matchPattern: 'x-*-y.test'}, {matchPattern: 'z*.test'}]\n"
    "    toPorts:\n"
    "    - ports: [{port: '443', protocol: TCP}]\n"
    "      rules:\n"
    "        http:\n"
    "        - {method: GET|HEAD, path: '/v1/.*'}\n"
    "        - {path: '/v2/[^/]+/edit'}\n"
    "        - {path: '/a|/b/.*|.*/c'}\n"
    "        - {method: 'P.*', path: '.*/item/.*', host: '.*[.]b[.]test'}\n"
    "        - {path: '/exact', headers: [x-a]}\n"
    "        - {path: '/exact2', headers: ['x-a b']}\n"
    "        - {method: PUT, host: 'a[.]test'}\n"
    "        - {path: '/x.?y*'}\n"
    "        - {path: '.*[.]gz'}\n"
    "    - ports: [{port: '53', protocol: ANY}]\n"
    "      rules:\n"
    "        dns:\n"
    "        - {matchName: a.test}\n"
    "        - {matchPattern: '*.b.test'}\n"
    "        - {matchPattern: '**.c.test', types: [A]}\n"
    "        - {matchPattern: 'x-*-y.test'}\n"
    "        - {matchPattern: 'z*.test'}\n"
    "        - {matchName: d.test}\n"
    "  egressDeny:\n"
    "  - toEntities: [world]\n"
    "    toPorts:\n"
    "    - ports: [{port: '443', protocol: TCP}]\n"
    "      rules: {http: [{path: '/v1/secret(/.*)?'}]}\n";

static struct policy_scope *scope;
static const struct policy *policy;

static void begin(void)
{
    static struct faults faults;
    struct policy_list list = {0};
    struct pod *pod = pod_new(1, "shop", "cart", NULL, 0);
    struct policy_set *set;
    struct policy_view *view;

    CHECK(policy_compile(&list, BYTES(yaml), "fuzz", &faults) == 0 && pod);
    set = policy_set_new(list.list, list.len, 1);
    CHECK(set && (view = policy_view_new(set, pod)));
    scope = policy_scope_new(view, NULL); /* which holds all it needs from now on */
    CHECK(scope);
    policy = policy_view_at(view, 0);
    policy_view_unref(&view);
    policy_set_unref(&set);
    policy_list_fini(&list);
    pod_unref(&pod);
}

static struct span take_line(struct span *from)
{
    const uint8_t *end = from->len ? memchr(from->data, '\n', from->len) : NULL;
    struct span line = span_of(from->data, end ? (size_t)(end - from->data) : from->len);

    from->data += line.len + (end ? 1 : 0);
    from->len -= line.len + (end ? 1 : 0);
    return line;
}

static const char *take_text(struct span *from, char out[300])
{
    return span_to_text(take_line(from), out, 300) && out[0] ? out : NULL;
}

static void check_reason(const struct policy_verdict *verdict)
{
    size_t len = strnlen(verdict->reason, sizeof(verdict->reason));

    CHECK(len < sizeof(verdict->reason));
    CHECK((verdict->verdict == VERDICT_ALLOW) == (len == 0));
    for (size_t i = 0; i < len; i++)
        CHECK(verdict->reason[i] >= ' ' && verdict->reason[i] < 0x7f);
}

/* ---- each rule asked ---- */

static bool one_takes(const struct ask *ask, const struct policy_egress *egress, bool deny,
                      size_t path)
{
    if (!ask_fits_egress(ask, egress, deny))
        return false;
    for (size_t i = 0; i < egress->to_ports_len; i++) {
        const struct policy_to_ports *to_ports = &egress->to_ports[i];

        if (!ask_fits_ports(ask, to_ports) || !ask_fits_demands(ask, to_ports, deny))
            continue;
        for (size_t j = 0; ask->request && j < to_ports->http_len; j++)
            if (ask_fits_http(ask, &to_ports->http[j], ask->paths[path]))
                return true;
        for (size_t j = 0; ask->question && j < to_ports->dns_len; j++)
            if (ask_fits_dns(ask, &to_ports->dns[j]))
                return true;
    }
    return false;
}

static bool all_take(const struct ask *ask)
{
    bool all = true;

    for (size_t i = 0; i < (ask->paths_len ? ask->paths_len : 1); i++)
        all &= one_takes(ask, &policy->egress[0], false, i) &&
               !one_takes(ask, &policy->egress_deny[0], true, i);
    return all;
}

static bool request_passes(const struct policy_facts *facts, const struct facts_request *request,
                           bool *bad)
{
    struct policy_verdict verdict;

    policy_decide_http(scope, facts, request, bad, &verdict);
    check_reason(&verdict);
    return verdict.verdict == VERDICT_ALLOW;
}

static void check_request(const struct policy_facts *facts, struct facts_request request)
{
    uint8_t buffer[4096];
    struct path_normal normal;
    const char *odd;
    struct ask ask;
    bool bad, passes;

    if (request.path.len > sizeof(buffer))
        return;
    passes = request_passes(facts, &request, &bad);
    ask_init_http(&ask, facts, &request, buffer, &odd);
    CHECK(!bad || (!passes && (odd || !request.host)));
    if (!facts->name || !ask_other_name(facts->name, request.host))
        CHECK(bad || passes == all_take(&ask));
    if (!passes || ask_is_tunnel(&request))
        return;
    CHECK(path_normalize(request.path, buffer, sizeof(buffer), &normal));
    request.path = normal.path;
    CHECK(request_passes(facts, &request, &bad) && !bad);
}

static void check_question(struct policy_facts facts, const char *name)
{
    const struct addr server = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 53}, .port = 53};
    const struct policy_question question = {name, 1, "A", true};
    struct policy_verdict verdict;
    struct ask ask;

    facts.dst = &server;
    facts.protocol = PROTOCOL_UDP;
    policy_decide_dns(scope, &facts, &question, &verdict);
    check_reason(&verdict);
    ask_init_dns(&ask, &facts, &question);
    CHECK((verdict.verdict == VERDICT_ALLOW) == all_take(&ask));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct addr dst = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 1}, .port = 443};
    char said[300], name[300], resolved[300], host[ASK_NAME_MAX], normal[ASK_NAME_MAX];
    const char *names[] = {normal};
    struct span rest = span_of(data, size);
    struct policy_facts facts = {.dst = &dst, .resolved = {names, 1}};
    struct facts_request request = {0};
    struct policy_verdict verdict;
    struct facts_field field;

    if (!scope)
        begin();
    request.method = take_line(&rest);
    request.path = take_line(&rest);
    request.host = take_text(&rest, said) && ask_normal_name(said, host) ? host : NULL;
    facts.name = take_text(&rest, name);
    if (!take_text(&rest, resolved) || !ask_normal_name(resolved, normal))
        facts.resolved.len = 0;
    field.name = take_line(&rest);
    field.value = rest;
    request.fields = &field;
    request.fields_len = 1;
    if (span_equal_nocase(field.name, "host"))
        return 0;
    check_request(&facts, request);
    if (request.host)
        check_question(facts, request.host);
    policy_decide_consistency(scope, &facts, request.host, &verdict);
    check_reason(&verdict);
    return 0;
}
