#include "proxy/handshakes/hello_verdict.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "bpf/abi.h"
#include "events/verdict.h"
#include "policy/decide.h"
#include "proxy/dns/names.h"
#include "proxy/enforce/act.h"
#include "proxy/enforce/policies.h"
#include "proxy/identity/identity.h"
#include "proxy/wire/ja4.h"

enum { NAME_SIZE = 256 };

/* One judgement, from what is known to what is told. */
struct judging {
    const struct handshakes_parts *parts;
    const struct hello_seen *seen;
    struct addr dst;
    char name[NAME_SIZE]; /* "" where none was said, or none that is one */
    struct policy_view *view;
    struct policy_scope *scope;
    struct names_trusted names;
    struct policy_facts facts;
    struct policy_verdict verdict; /* what has the last word so far */
    enum policy_point point;       /* ... and what that was about */
};

/* ---- telling ---- */

static struct flow_event *new_event(const struct judging *judging, enum flow_event_kind kind)
{
    const struct handshakes_who *who = judging->seen->who;
    struct flow_event *event = flow_event_new(kind, who->process, who->pod);

    if (!event)
        return NULL;
    if (judging->parts->identity)
        event->time_ns = identity_wall_ns(judging->parts->identity, judging->seen->record->time_ns);
    event->protocol = PROTOCOL_UDP;
    event->src = who->src;
    event->dst = judging->dst;
    event->socket_cookie = judging->seen->record->cookie;
    event->route = ROUTE_DIRECT;
    event->visibility = VISIBILITY_OPAQUE;
    return event;
}

static void tell_decision(const struct judging *judging, enum policy_point point,
                          const struct policy_verdict *verdict)
{
    struct flow_event *event = new_event(judging, FLOW_EVENT_POLICY);

    if (event) {
        flow_event_set_verdict(event, point, verdict);
        if (judging->name[0])
            event->decision.name = flow_event_text(event, span_of_text(judging->name));
    }
    bus_emit(judging->parts->producer, &event);
}

/* "h3,hq" */
static const char *offered(struct flow_event *event, const struct hello *hello)
{
    struct span list = hello->alpn, protocol;
    char text[512] = "";
    size_t len = 0;

    while (span_take_vector(&list, 1, &protocol) && protocol.len + len + 2 < sizeof(text)) {
        if (len)
            text[len++] = ',';
        memcpy(text + len, protocol.data, protocol.len);
        len += protocol.len;
    }
    return len ? flow_event_text(event, span_of(text, len)) : NULL;
}

static bool sha256(struct span bytes, uint8_t digest[JA4_DIGEST])
{
    return EVP_Digest(bytes.data, bytes.len, digest, NULL, EVP_sha256(), NULL) == 1;
}

static void fill_tls(struct flow_event *event, const struct judging *judging)
{
    const struct hello *hello = judging->seen->hello;
    char ja4[JA4_SIZE];

    event->tls.transport = judging->seen->transport;
    if (!hello)
        return;
    if (judging->name[0])
        event->tls.sni = flow_event_text(event, span_of_text(judging->name));
    event->tls.alpn = offered(event, hello);
    if (ja4_of(hello, sha256, ja4))
        event->tls.ja4 = flow_event_text(event, span_of_text(ja4));
}

static void tell_hello(const struct judging *judging, const char *said)
{
    struct flow_event *event = new_event(judging, FLOW_EVENT_TLS);

    if (event) {
        fill_tls(event, judging);
        if (judging->verdict.policy)
            flow_event_set_verdict(event, judging->point, &judging->verdict);
        if (said[0])
            event->error = flow_event_text(event, span_of_text(said));
    }
    bus_emit(judging->parts->producer, &event);
}

/* ---- judging ---- */

static void look_up(struct judging *judging)
{
    const struct handshakes_parts *parts = judging->parts;
    uint64_t pod = judging->seen->record->pod;

    judging->view = parts->policies ? policies_view(parts->policies, pod) : NULL;
    if (!judging->view || policy_view_is_empty(judging->view))
        return;
    judging->scope = policy_scope_new(judging->view, judging->seen->who->process);
    if (parts->names)
        names_find_trusted(parts->names, pod, &judging->dst, clock_ns(), &judging->names);
    judging->facts = (struct policy_facts){
        .protocol = PROTOCOL_UDP,
        .dst = &judging->dst,
        .resolved = judging->names.names,
    };
}

/* Whether it goes on. What has the last word is what denies; then what tells; then who allows. */
static bool settle(struct judging *judging, enum policy_point point,
                   const struct policy_verdict *verdict)
{
    if (verdict->verdict == VERDICT_DENY || !judging->verdict.policy ||
        (verdict->verdict == VERDICT_ALERT && judging->verdict.verdict == VERDICT_ALLOW)) {
        judging->verdict = *verdict;
        judging->point = point;
    }
    if (verdict->verdict != VERDICT_ALLOW)
        tell_decision(judging, point, verdict);
    return verdict->verdict != VERDICT_DENY;
}

static bool judge_unseen(struct judging *judging)
{
    struct policy_verdict verdict;
    enum policy_unseen what;

    policy_decide_unseen(judging->scope, &judging->facts,
                         judging->seen->hello ? "what follows a handshake by datagrams is not read"
                                              : "it is no handshake that can be read",
                         &what, &verdict);
    return settle(judging, POLICY_POINT_VISIBILITY, &verdict);
}

static bool judge(struct judging *judging)
{
    const struct policy_hello hello = {.server_name = judging->name[0] ? judging->name : NULL};
    struct policy_verdict verdict;

    if (judging->view && !policy_view_is_empty(judging->view) && !judging->scope)
        return settle(judging, POLICY_POINT_TLS, &policy_unjudged);
    if (policy_scope_is_empty(judging->scope))
        return true;
    if (!judging->seen->hello)
        return judge_unseen(judging);
    policy_decide_hello(judging->scope, &judging->facts, &hello, &verdict);
    if (!settle(judging, POLICY_POINT_TLS, &verdict))
        return false;
    judging->facts.name = hello.server_name;
    policy_decide_consistency(judging->scope, &judging->facts, hello.server_name, &verdict);
    return settle(judging, POLICY_POINT_TLS, &verdict) && judge_unseen(judging);
}

/* ---- what is done ---- */

static void say(const struct policy_verdict *verdict, char said[320])
{
    if (verdict->policy)
        snprintf(said, 320, "denied by policy %.80s, %.80s: %s", verdict->policy->id,
                 verdict->place ? verdict->place->rule : "", verdict->reason);
    else
        snprintf(said, 320, "denied: %s", verdict->reason);
}

static void punish(const struct judging *judging)
{
    enum policy_action action = judging->verdict.action;
    struct err err = {0};
    int code = 0;

    if (action == POLICY_SIGKILL)
        code = act_kill(judging->seen->who->process, &err);
    else if (action == POLICY_FREEZE && judging->parts->act)
        code = act_freeze(judging->parts->act, judging->seen->record->pod, &err);
    if (code < 0 && code != -ESRCH && code != -ENOENT)
        log_warn("a policy's %s: %s", policy_action_name(action), err.text);
}

bool hello_verdict(const struct handshakes_parts *parts, const struct hello_seen *seen, bool tells,
                   char said[320])
{
    const struct abi_datagram *record = seen->record;
    struct judging judging = {.parts = parts, .seen = seen, .dst = {.port = record->dst_port}};
    bool goes_on;

    memcpy(judging.dst.ip, record->dst, sizeof(judging.dst.ip));
    if (seen->hello)
        (void)span_to_text(seen->hello->server_name, judging.name, sizeof(judging.name));
    look_up(&judging);
    goes_on = judge(&judging);
    said[0] = 0;
    if (!goes_on)
        say(&judging.verdict, said);
    if (tells)
        tell_hello(&judging, said);
    if (!goes_on)
        punish(&judging);
    policy_scope_free(&judging.scope);
    policy_view_unref(&judging.view);
    names_trusted_fini(&judging.names);
    return goes_on;
}
