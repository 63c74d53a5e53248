#include "proxy/dns/lookups.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "events/verdict.h"
#include "proxy/dns/names.h"
#include "proxy/enforce/act.h"
#include "proxy/wire/dns.h"

enum { ID_LEN = 2, FLAGS_AT = 2, FLAG_RESPONSE = 0x80, TYPE_IXFR = 251, TYPE_AXFR = 252 };
enum { OPCODE_QUERY = 0, OPEN_FIRST = 4 };

/* A question is kept as the answer that would refuse it, but for the bit that says so: as much of
 * it as there is to compare, and small however long the message was. */
struct lookups_question {
    size_t len;
    uint8_t bytes[];
};

/* ---- open questions ---- */

static struct lookups_question *question_new(const struct dns *query)
{
    uint8_t refusal[LOOKUPS_REFUSAL_MAX];
    size_t len = dns_refuse(query, DNS_SERVFAIL, refusal, sizeof(refusal));
    struct lookups_question *question = len ? malloc(sizeof(*question) + len) : NULL;

    if (!question)
        return NULL;
    question->len = len;
    memcpy(question->bytes, refusal, len);
    question->bytes[FLAGS_AT] &= (uint8_t)~FLAG_RESPONSE;
    return question;
}

static size_t question_refuse(const struct lookups_question *question, uint8_t *out)
{
    memcpy(out, question->bytes, question->len);
    out[FLAGS_AT] |= FLAG_RESPONSE;
    return question->len;
}

static void forget(struct lookups *lookups, size_t i)
{
    free(lookups->open[i]);
    lookups->open_len--;
    memmove(&lookups->open[i], &lookups->open[i + 1],
            (lookups->open_len - i) * sizeof(struct lookups_question *));
}

/* For one more; where there can be no more, the oldest makes way. False when out of memory. */
static bool make_room(struct lookups *lookups)
{
    size_t room = lookups->open_room ? 2 * lookups->open_room : OPEN_FIRST;
    struct lookups_question **open;

    if (lookups->open_len < lookups->open_room)
        return true;
    if (room > LOOKUPS_OPEN_MAX) {
        forget(lookups, 0);
        return true;
    }
    open = realloc(lookups->open, room * sizeof(struct lookups_question *));
    if (!open)
        return false;
    lookups->open = open;
    lookups->open_room = room;
    return true;
}

static bool remember(struct lookups *lookups, const struct dns *query)
{
    struct lookups_question *question = question_new(query);

    if (!question || !make_room(lookups)) {
        free(question);
        return false;
    }
    lookups->open[lookups->open_len++] = question;
    return true;
}

void lookups_fini(struct lookups *lookups)
{
    while (lookups->open_len)
        free(lookups->open[--lookups->open_len]);
    free(TAKE(lookups->open));
    lookups->open_room = 0;
    consent_fini(&lookups->consent);
}

/* The next open question from *i on with the message's id, parsed. */
static bool find_by_id(const struct lookups *lookups, struct span message, size_t *i,
                       struct dns *question)
{
    const char *why;

    for (; message.len >= ID_LEN && *i < lookups->open_len; ++*i) {
        const struct lookups_question *open = lookups->open[*i];

        if (memcmp(open->bytes, message.data, ID_LEN) == 0 &&
            dns_parse(span_of(open->bytes, open->len), question, &why) == 0)
            return true;
    }
    return false;
}

/* A server that did not understand a message need not repeat its question; of a message that is no
 * query, such as an update, it never need (RFC 2136 section 3.8); and none of the messages of a
 * zone transfer but the first does (RFC 5936 section 2.2.1). */
static bool answers_without_words(const struct dns *question, const struct dns *answer,
                                  bool transfer)
{
    return answer->response && !answer->questions && answer->opcode == question->opcode &&
           (transfer || answer->rcode != DNS_NOERROR || answer->opcode != OPCODE_QUERY);
}

/* Takes the open question that this answers; one for a zone transfer stays open. */
static bool settle(struct lookups *lookups, const struct dns *answer, struct dns *question)
{
    for (size_t i = 0; find_by_id(lookups, answer->message, &i, question); i++) {
        bool transfer = question->type == TYPE_AXFR || question->type == TYPE_IXFR;

        if (!dns_answers(question, answer) && !answers_without_words(question, answer, transfer))
            continue;
        if (!transfer)
            forget(lookups, i);
        return true;
    }
    return false;
}

/* ---- what is told ---- */

static struct flow_event *event_new(const struct lookups *lookups, enum flow_event_kind kind)
{
    struct flow_event *event = flow_event_new(kind, lookups->process, lookups->pod);

    if (!event)
        return NULL;
    event->protocol = lookups->protocol;
    event->src = lookups->src;
    event->dst = lookups->dst;
    event->socket_cookie = lookups->cookie;
    event->route = ROUTE_PROXY;
    event->visibility = lookups->tls ? VISIBILITY_TERMINATED : VISIBILITY_PLAINTEXT;
    return event;
}

/* of: its question, where it has one. */
static struct flow_event *event_of(const struct lookups *lookups, const struct dns *of)
{
    struct flow_event *event = event_new(lookups, FLOW_EVENT_DNS);
    char type[DNS_TYPE_TEXT_MAX];

    if (event && of && of->questions) {
        event->dns.name = flow_event_text(event, span_of_text(of->name));
        event->dns.qtype = flow_event_text(event, span_of_text(dns_type_text(of->type, type)));
    }
    return event;
}

static void set_rcode(struct flow_event *event, uint16_t rcode)
{
    char text[DNS_TYPE_TEXT_MAX];

    event->dns.response = true;
    event->dns.rcode = flow_event_text(event, span_of_text(dns_rcode_text(rcode, text)));
}

/* What a policy decided about it: point, and how. */
struct judged {
    enum policy_point point;
    struct policy_verdict verdict;
};

static void tell_question(const struct lookups *lookups, const struct dns *question,
                          const struct judged *judged)
{
    struct flow_event *event = event_of(lookups, question);

    if (event)
        flow_event_set_verdict(event, judged->point, &judged->verdict);
    bus_emit(lookups->producer, &event);
}

static void tell_policy(const struct lookups *lookups, const struct dns *question,
                        const struct judged *judged)
{
    struct flow_event *event = event_new(lookups, FLOW_EVENT_POLICY);
    char type[DNS_TYPE_TEXT_MAX];

    if (event) {
        flow_event_set_verdict(event, judged->point, &judged->verdict);
        if (question && question->questions) {
            event->decision.name = flow_event_text(event, span_of_text(question->name));
            event->decision.qtype =
                flow_event_text(event, span_of_text(dns_type_text(question->type, type)));
        }
    }
    bus_emit(lookups->producer, &event);
}

/* why: a phrase, or NULL. */
static void tell_fault(struct lookups *lookups, const struct dns *of, bool response,
                       const char *what, const char *why)
{
    struct flow_event *event;
    char text[160];

    if (lookups->faults == LOOKUPS_FAULTS_MAX)
        return;
    lookups->faults++;
    event = event_of(lookups, of);
    if (event) {
        snprintf(text, sizeof(text), "%s%s%s", what, why ? ": " : "", why ? why : "");
        event->error = flow_event_text(event, span_of_text(text));
        if (response && of)
            set_rcode(event, of->rcode);
        event->dns.response = response;
    }
    bus_emit(lookups->producer, &event);
}

/* answered: by a SERVFAIL of ours. */
static void tell_refusal(const struct lookups *lookups, const struct dns *question, bool answered,
                         const char *reason)
{
    struct flow_event *event = event_of(lookups, question);

    if (event) {
        if (answered)
            set_rcode(event, DNS_SERVFAIL);
        event->error = flow_event_text(event, span_of_text(reason));
    }
    bus_emit(lookups->producer, &event);
}

static void set_found(struct flow_event *event, const struct dns_found *found)
{
    char room[DNS_ADDRESSES_MAX][ADDR_TEXT_MAX];
    const char *ips[DNS_ADDRESSES_MAX], *cnames[DNS_CNAMES_MAX];

    for (size_t i = 0; i < found->addresses_len; i++)
        ips[i] = addr_format_ip(&found->addresses[i], room[i]);
    for (size_t i = 0; i < found->cnames_len; i++)
        cnames[i] = found->cnames[i];
    flow_event_set_list(event, ips, found->addresses_len, &event->dns.ips, &event->dns.ips_len);
    flow_event_set_list(event, cnames, found->cnames_len, &event->dns.cnames,
                        &event->dns.cnames_len);
    event->dns.ttl = found->ttl;
}

static void tell_answer(const struct lookups *lookups, const struct dns *question, uint16_t rcode,
                        const struct dns_found *found, unsigned stripped)
{
    struct flow_event *event = event_of(lookups, question);
    const char *taken[2];
    size_t taken_len = 0;

    if (stripped & DNS_STRIPPED_ECH)
        taken[taken_len++] = "ech";
    if (stripped & DNS_STRIPPED_H3)
        taken[taken_len++] = "h3";
    if (event) {
        set_rcode(event, rcode);
        set_found(event, found);
        flow_event_set_list(event, taken, taken_len, &event->dns.stripped,
                            &event->dns.stripped_len);
    }
    bus_emit(lookups->producer, &event);
}

/* ---- the calls ---- */

static struct consent_parties parties_of(const struct lookups *lookups)
{
    return (struct consent_parties){
        .policies = lookups->policies,
        .names = lookups->names,
        .pod = lookups->pod,
        .process = lookups->process,
        .server = &lookups->dst,
        .protocol = lookups->protocol,
        .tls = lookups->tls,
        .server_name = lookups->server_name,
    };
}

/* What becomes of what a policy denies. A datagram has no connection to be reset. */
static void deny(const struct lookups *lookups, const struct dns *question,
                 const struct policy_verdict *verdict, struct lookups_denial *out)
{
    const char *policy = verdict->policy ? verdict->policy->id : "";
    bool answers = verdict->action == POLICY_REJECT || verdict->action == POLICY_FREEZE ||
                   (verdict->action == POLICY_RESET && lookups->protocol == PROTOCOL_UDP);

    out->answer_len =
        answers && question ? dns_prohibit(question, policy, out->answer, sizeof(out->answer)) : 0;
    snprintf(out->reason, sizeof(out->reason), "denied by policy %.80s: %s", policy,
             verdict->reason);
}

/* What a denial does beside. */
static void act(const struct lookups *lookups, const struct policy_verdict *verdict)
{
    struct err err = {0};

    if (verdict->verdict != VERDICT_DENY)
        return;
    if (verdict->action == POLICY_SIGKILL && lookups->process)
        act_kill(lookups->process, &err);
    if (verdict->action == POLICY_FREEZE && lookups->act && lookups->pod)
        act_freeze(lookups->act, lookups->pod->cgroup_id, &err);
    if (err.code < 0 && err.code != -ESRCH)
        log_warn("%s", err.text);
}

/* It, or bytes that are no question, may go on: 0. question: NULL: they are none. */
static int judge(struct lookups *lookups, const struct dns *question, const char *why,
                 struct judged *judged, struct lookups_denial *denial)
{
    const struct consent_parties parties = parties_of(lookups);

    if (question)
        consent_ask(&lookups->consent, &parties, question, &judged->point, &judged->verdict);
    else
        consent_ask_unseen(&lookups->consent, &parties, why, &judged->point, &judged->verdict);
    if (judged->verdict.verdict != VERDICT_DENY)
        return 0;
    deny(lookups, question, &judged->verdict, denial);
    return -EACCES;
}

static int ask_foreign(struct lookups *lookups, const struct dns *message, const char *why,
                       struct lookups_denial *denial)
{
    struct judged judged;
    int result = judge(lookups, NULL, "it is no question of the DNS", &judged, denial);

    if (message)
        tell_fault(lookups, message, true, "an answer where a question belongs", NULL);
    else
        tell_fault(lookups, NULL, false, "not a DNS message", why);
    if (judged.verdict.verdict != VERDICT_ALLOW)
        tell_policy(lookups, NULL, &judged);
    act(lookups, &judged.verdict);
    if (result < 0)
        return result;
    lookups->foreign = true;
    return -EBADMSG;
}

int lookups_ask(struct lookups *lookups, struct span message, struct lookups_denial *denial)
{
    struct dns query;
    struct judged judged;
    const char *why = NULL;
    bool ok = dns_parse(message, &query, &why) == 0;
    int result;

    if (!ok || query.response)
        return ask_foreign(lookups, ok ? &query : NULL, why, denial);
    lookups->asked = true;
    result = judge(lookups, &query, NULL, &judged, denial);
    tell_question(lookups, &query, &judged);
    if (judged.verdict.verdict != VERDICT_ALLOW)
        tell_policy(lookups, &query, &judged);
    act(lookups, &judged.verdict);
    if (result < 0)
        return result;
    return remember(lookups, &query) ? 0 : -ENOMEM;
}

/* All the names that led there, the one asked for last: so it is the newest. */
static void bind_names(struct lookups *lookups, const char *asked, const struct dns_found *found)
{
    const struct consent_parties parties = parties_of(lookups);
    bool trusted = found->addresses_len && consent_trusts(&lookups->consent, &parties);
    uint64_t now = clock_ns(), pod = lookups->pod->cgroup_id;

    for (size_t i = 0; i < found->addresses_len; i++) {
        const struct addr *address = &found->addresses[i];

        for (size_t j = found->cnames_len; j-- > 0;)
            names_add(lookups->names, pod, found->cnames[j], address, found->ttl, trusted, now);
        names_add(lookups->names, pod, asked, address, found->ttl, trusted, now);
    }
}

static enum lookups_result unreadable(struct lookups *lookups, struct span message, const char *why,
                                      uint8_t *out, size_t *out_len)
{
    struct dns question;
    size_t i = 0;
    char reason[160];

    if (lookups->foreign) {
        tell_fault(lookups, NULL, true, "not a DNS message", why);
        return LOOKUPS_RELAY;
    }
    if (!find_by_id(lookups, message, &i, &question)) {
        tell_fault(lookups, NULL, true, "not released: not a DNS message", why);
        return LOOKUPS_DROP;
    }
    snprintf(reason, sizeof(reason), "the server's answer is malformed: %s", why);
    tell_refusal(lookups, &question, true, reason);
    *out_len = question_refuse(lookups->open[i], out);
    forget(lookups, i);
    return LOOKUPS_CHANGED;
}

enum lookups_result lookups_answer(struct lookups *lookups, struct span message, uint8_t *out,
                                   size_t *out_len)
{
    struct dns answer, question;
    struct dns_found found;
    unsigned stripped = 0;
    const char *why = NULL;

    if (dns_parse(message, &answer, &why) < 0)
        return unreadable(lookups, message, why, out, out_len);
    if (!settle(lookups, &answer, &question)) {
        const char *what = answer.response ? "an answer to no open question"
                                           : "a question where an answer belongs";

        if (!lookups->foreign) {
            tell_fault(lookups, &answer, answer.response, "not released", what);
            return LOOKUPS_DROP;
        }
        tell_fault(lookups, &answer, answer.response, what, NULL);
        return LOOKUPS_RELAY;
    }
    dns_find(&answer, &found);
    if (lookups->pod && !atomic_load(&lookups->pod->removed_ns)) /* else nobody would forget them */
        bind_names(lookups, question.name, &found);
    if (lookups->pod && lookups->pod->tls_read)
        *out_len = dns_strip(&answer, out, &stripped);
    else
        *out_len = 0;
    tell_answer(lookups, &question, answer.rcode, &found, stripped);
    return *out_len ? LOOKUPS_CHANGED : LOOKUPS_RELAY;
}

size_t lookups_refuse(struct lookups *lookups, int code, struct span of, uint8_t *out)
{
    struct dns question;
    struct err reason;
    char server[ADDR_TEXT_MAX];
    size_t i = 0, len = 0;

    if (of.len < ID_LEN && lookups->open_len)
        of = span_of(lookups->open[0]->bytes, ID_LEN);
    if (!find_by_id(lookups, of, &i, &question))
        return 0;
    err_sys(&reason, code, "%s", addr_format(&lookups->dst, server));
    tell_refusal(lookups, &question, out, reason.text);
    if (out)
        len = question_refuse(lookups->open[i], out);
    forget(lookups, i);
    return len;
}
