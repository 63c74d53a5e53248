#include "policy/decide.h"

#include "policy/decide_parts.h"
#include "policy/reason.h"

static bool has_one_host(const struct facts_request *request)
{
    size_t hosts = 0;

    for (size_t i = 0; i < request->fields_len; i++)
        hosts += span_equal_nocase(request->fields[i].name, "host");
    return (request->host || request->cut) && hosts <= 1;
}

static void refuse_bad(const struct search_hit *hit, const char *why, struct policy_verdict *out)
{
    decide_deny(hit->policy, hit->place, out);
    out->action = POLICY_REJECT;
    out->reason[0] = 0;
    reason_add(out->reason, sizeof(out->reason), why);
}

/* False: rules that look at requests cannot judge this one. odd: what its path is; NULL: nothing.
 */
static bool is_readable(const struct search *found, const struct facts_request *request,
                        const char *odd, struct policy_verdict *out)
{
    if (found->ruled.policy && !has_one_host(request))
        refuse_bad(&found->ruled, request->host ? "more than one Host" : "no Host", out);
    else if (found->pathed.policy && odd)
        refuse_bad(&found->pathed, odd, out);
    else
        return true;
    return false;
}

enum { PATH_ROOM = 4096 };

static void refuse_unspelt(const struct policy_scope *scope, struct policy_verdict *out)
{
    const struct policy *policy = policy_scope_at(scope, 0);

    decide_deny(policy, &policy->place, out);
    out->verdict = VERDICT_DENY;
    reason_add(out->reason, sizeof(out->reason), "there is no memory to judge its path");
}

void policy_decide_http(const struct policy_scope *scope, const struct policy_facts *facts,
                        const struct facts_request *request, bool *bad, struct policy_verdict *out)
{
    size_t len = request->path.len;
    CLEANUP(text_free) char *more = len > PATH_ROOM ? malloc(len) : NULL;
    uint8_t room[PATH_ROOM];
    struct policy_verdict with;
    struct search found;
    const char *odd;
    struct ask ask;

    *bad = false;
    if (policy_scope_is_empty(scope)) {
        decide_allow(out);
        return;
    }
    if (len > PATH_ROOM && !more) {
        refuse_unspelt(scope, out);
        return;
    }
    ask_init_http(&ask, facts, request, more ? (uint8_t *)more : room, &odd);
    decide_ask(scope, &ask, &found, out);
    *bad = !is_readable(&found, request, odd, out);
    if (*bad || ask_is_tunnel(request) || !ask_other_name(facts->name, request->host))
        return;
    /* whom TLS is with was said, too, and must be allowed by itself */
    ask_init(&ask, POLICY_POINT_TLS, facts, facts->name);
    decide_ask(scope, &ask, NULL, &with);
    if (decide_graver(out, &with) == &with)
        *out = with;
}
