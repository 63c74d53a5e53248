#include "policy/decide.h"

#include "policy/decide_parts.h"
#include "policy/reason.h"

/* What leads elsewhere: its authority is not whom it is said to. */
static bool is_tunnel(const struct facts_request *request)
{
    return span_equal(request->method, BYTES("CONNECT")) && !request->upgrade.len;
}

static bool has_one_host(const struct facts_request *request)
{
    size_t hosts = 0;

    for (size_t i = 0; i < request->fields_len; i++)
        hosts += span_equal_nocase(request->fields[i].name, "host");
    return request->host && hosts <= 1;
}

/* What two servers could take for different paths. */
static bool is_ambiguous(struct span path)
{
    for (size_t i = 0; i < path.len; i++) {
        uint8_t c = path.data[i], high, low;

        if (c == '\\' || !c)
            return true;
        if (c != '%' || path.len - i < 3)
            continue;
        high = path.data[i + 1];
        low = path.data[i + 2] | 0x20;
        if ((high == '2' && low == 'f') || (high == '5' && low == 'c') ||
            (high == '0' && path.data[i + 2] == '0'))
            return true;
    }
    return false;
}

static void refuse_bad(const struct search_hit *hit, const char *why, struct policy_verdict *out)
{
    decide_deny(hit->policy, hit->place, out);
    out->action = POLICY_REJECT;
    out->reason[0] = 0;
    reason_add(out->reason, sizeof(out->reason), why);
}

/* False: rules that look at requests cannot judge this one. */
static bool is_readable(const struct search *found, const struct facts_request *request,
                        struct policy_verdict *out)
{
    if (found->ruled.policy && !has_one_host(request))
        refuse_bad(&found->ruled, request->host ? "more than one Host" : "no Host", out);
    else if (found->pathed.policy && is_ambiguous(request->path))
        refuse_bad(&found->pathed, "an encoded '/', a '\\' or a NUL in the path", out);
    else
        return true;
    return false;
}

void policy_decide_http(const struct policy_scope *scope, const struct policy_facts *facts,
                        const struct facts_request *request, bool *bad, struct policy_verdict *out)
{
    const char *host = is_tunnel(request) ? NULL : request->host;
    struct policy_verdict with = {0};
    struct search found;
    struct ask ask;

    *bad = false;
    if (policy_scope_is_empty(scope)) {
        decide_allow(out);
        return;
    }
    ask_init(&ask, POLICY_POINT_HTTP, facts, host ? host : facts->name);
    if (facts->name && host)
        ask.server_name = host;
    ask.request = request;
    ask.paths[ask.paths_len++] = is_tunnel(request) ? BYTES("") : request->path;
    decide_ask(scope, &ask, &found, out);
    if (!is_readable(&found, request, out)) {
        *bad = true;
        return;
    }
    if (!ask_other_name(facts->name, host))
        return;
    /* whom TLS is with was said, too, and must be allowed by itself */
    ask_init(&ask, POLICY_POINT_TLS, facts, facts->name);
    decide_ask(scope, &ask, NULL, &with);
    if (decide_graver(out, &with) == &with)
        *out = with;
}
