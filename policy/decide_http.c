#include "policy/decide.h"

#include "policy/decide_parts.h"
#include "policy/path.h"
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

/* Each way to write the path that a server could go by. buffer has room for one more; NULL: there
 * is none. False: it cannot be judged, as there is no memory. */
static bool spell(struct ask *ask, struct span path, uint8_t *buffer, const char **odd)
{
    struct path_normal normal;

    ask->paths[0] = path;
    ask->paths_len = 1;
    *odd = NULL;
    if (!buffer || !path_normalize(path, buffer, path.len, &normal))
        return false;
    *odd = path_oddity_name(normal.oddities);
    if (!span_equal(normal.path, path))
        ask->paths[ask->paths_len++] = normal.path;
    return true;
}

static void refuse_unspelt(const struct policy_scope *scope, struct policy_verdict *out)
{
    const struct policy *policy = policy_scope_at(scope, 0);

    decide_deny(policy, &policy->place, out);
    out->verdict = VERDICT_DENY;
    reason_add(out->reason, sizeof(out->reason), "there is no memory to judge its path");
}

static void judge(const struct policy_scope *scope, struct ask *ask, uint8_t *buffer, bool *bad,
                  struct policy_verdict *out)
{
    const struct facts_request *request = ask->request;
    struct search found;
    const char *odd = NULL;

    if (is_tunnel(request)) {
        ask->paths[0] = BYTES("");
        ask->paths_len = 1;
    } else if (!spell(ask, request->path, buffer, &odd)) {
        refuse_unspelt(scope, out);
        return;
    }
    decide_ask(scope, ask, &found, out);
    *bad = !is_readable(&found, request, odd, out);
}

void policy_decide_http(const struct policy_scope *scope, const struct policy_facts *facts,
                        const struct facts_request *request, bool *bad, struct policy_verdict *out)
{
    const char *host = is_tunnel(request) ? NULL : request->host;
    CLEANUP(text_free) char *more = NULL;
    struct policy_verdict with;
    uint8_t room[PATH_ROOM];
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
    if (request->path.len > sizeof(room))
        more = malloc(request->path.len);
    judge(scope, &ask, request->path.len > sizeof(room) ? (uint8_t *)more : room, bad, out);
    if (*bad || !ask_other_name(facts->name, host))
        return;
    /* whom TLS is with was said, too, and must be allowed by itself */
    ask_init(&ask, POLICY_POINT_TLS, facts, facts->name);
    decide_ask(scope, &ask, NULL, &with);
    if (decide_graver(out, &with) == &with)
        *out = with;
}
