#include "policy/search.h"

enum {
    DIRECT = 4,      /* so many rules are quicker asked than sought */
    SKIPS = 32,      /* what an index must try in vain takes a part of what asking a rule takes */
    FEW_GRANTS = 16, /* so many are quicker noted than looked up for each rule found */
    DNS_PORT = 53
};

static void note(struct search_hit *hit, const struct policy *policy,
                 const struct policy_place *place)
{
    if (!hit->policy)
        *hit = (struct search_hit){policy, place};
}

static void note_grant(struct search_hit *hit, const struct segment *segment, size_t grant)
{
    if (grant != SIZE_MAX)
        note(hit, segment->grants[grant].policy, segment_place(&segment->grants[grant]));
}

/* ---- by where it goes ---- */

static void add_names(const struct segment *segment, const struct ask *ask, enum view_part part,
                      uint64_t *fits)
{
    const char *name = ask->asked ? ask->asked : ask->said;
    bool resolved = part == VIEW_DENY || !ask->said;

    if (part == VIEW_ALLOW && ask_for_name_server(ask)) {
        bits_or(fits, segment->named, segment->words);
        return;
    }
    if (name && (part == VIEW_DENY || (ask->said && ask->said_resolved)))
        index_find(&segment->where, span_of_text(name), NULL, fits);
    for (size_t i = 0; resolved && i < ask->facts->resolved.len; i++)
        index_find(&segment->where, span_of_text(ask->facts->resolved.list[i]), NULL, fits);
}

static void by_where(const struct policy_scope *scope, const struct segment *segment,
                     const struct ask *ask, enum view_part part, struct bits *fits)
{
    struct bits ports;

    memset(fits->words, 0, segment->words * sizeof(uint64_t));
    memset(ports.words, 0, segment->words * sizeof(uint64_t));
    index_find_address(&segment->where, ask->facts->dst, fits->words);
    add_names(segment, ask, part, fits->words);
    index_find_port(&segment->ports, ask->facts->protocol, ask->facts->dst->port, ports.words);
    bits_and(fits->words, ports.words, segment->words);
    if (scope->mask)
        bits_and(fits->words, scope->mask + segment->mask_at, segment->words);
}

/* ---- by what is demanded beside rules: as ask_fits_demands() has it ---- */

static void by_datagram(const struct segment *segment, const struct ask *ask, uint64_t *fits)
{
    bits_and_not(fits, segment->http, segment->words);
    bits_and_not(fits, segment->served, segment->words);
    bits_and_not(fits, segment->tls, segment->words);
    if (ask->point != POLICY_POINT_DNS && ask->facts->dst->port != DNS_PORT)
        bits_and_not(fits, segment->dns, segment->words);
}

static void by_tls(const struct segment *segment, const struct ask *ask, uint64_t *fits)
{
    if (ask->facts->plain)
        bits_and_not(fits, segment->tls, segment->words);
    else if (ask->version || ask->version_max || ask->cipher)
        for (size_t i = bits_next_both(fits, segment->tls, segment->words, 0); i != SIZE_MAX;
             i = bits_next_both(fits, segment->tls, segment->words, i + 1))
            if (!ask_fits_tls(ask, segment->grants[i].to_ports->tls))
                bits_clear(fits, i);
}

static void by_server_name(const struct segment *segment, const struct ask *ask,
                           enum view_part part, uint64_t *fits)
{
    char name[ASK_NAME_MAX];
    struct bits served;

    if (ask->point == POLICY_POINT_CONNECT) {
        if (part == VIEW_DENY)
            bits_and_not(fits, segment->served, segment->words);
    } else if (ask->facts->plain || !ask->server_name || !ask_normal_name(ask->server_name, name)) {
        bits_and_not(fits, segment->served, segment->words);
    } else if (segment->serves) {
        memset(served.words, 0, segment->words * sizeof(uint64_t));
        index_find(&segment->servers, span_of_text(name), fits, served.words);
        bits_and(fits, served.words, segment->words);
    }
}

static void by_demands(const struct segment *segment, const struct ask *ask, enum view_part part,
                       struct bits *fits)
{
    if (ask->facts->protocol == PROTOCOL_UDP) {
        by_datagram(segment, ask, fits->words);
        return;
    }
    if (part == VIEW_ALLOW)
        by_tls(segment, ask, fits->words);
    by_server_name(segment, ask, part, fits->words);
}

/* ---- by rules ---- */

/* How many numbers of rules these grants have, or more than most. */
static size_t count_rules(const struct segment *segment, const uint64_t *grants, bool http,
                          size_t most)
{
    size_t n = 0;

    for (size_t i = bits_next(grants, segment->words, 0); i != SIZE_MAX && n <= most;
         i = bits_next(grants, segment->words, i + 1))
        n += http ? segment->grants[i].http_len : segment->grants[i].dns_len;
    return n;
}

/* What need be found is only among the rules of these grants; of many, more than that. */
static void want_rules(const struct segment *segment, const uint64_t *grants, bool http,
                       uint64_t *rules, size_t words)
{
    size_t n = 0;

    memset(rules, 0, words * sizeof(uint64_t));
    for (size_t i = bits_next(grants, segment->words, 0); i != SIZE_MAX;
         i = bits_next(grants, segment->words, i + 1)) {
        const struct segment_grant *grant = &segment->grants[i];

        if (++n > FEW_GRANTS) {
            bits_fill(rules, 0, http ? segment->https_len : segment->dnss_len);
            return;
        }
        if (http)
            bits_fill(rules, grant->http_first, grant->http_len);
        else
            bits_fill(rules, grant->dns_first, grant->dns_len);
    }
}

/* Drops those that do not take the text. */
static void narrow(const struct index *index, struct span text, struct bits *rules)
{
    struct bits found;

    memset(found.words, 0, index->words * sizeof(uint64_t));
    index_find(index, text, rules->words, found.words);
    bits_and(rules->words, found.words, index->words);
}

/* The number of the first rule that takes the request with such a path; SIZE_MAX: none does. */
static size_t find_http(const struct segment *segment, const struct ask *ask,
                        const uint64_t *grants, struct span path)
{
    const struct facts_request *request = ask->request;
    size_t words = segment->paths.words, i;
    struct bits rules;

    want_rules(segment, grants, true, rules.words, words);
    narrow(&segment->methods, request->method, &rules);
    narrow(&segment->hosts, span_of_text(request->host), &rules);
    narrow(&segment->paths, path, &rules);
    for (i = bits_next(rules.words, words, 0); i != SIZE_MAX;
         i = bits_next(rules.words, words, i + 1))
        if (bits_has(grants, segment->http_grants[i]) && ask_fits_headers(ask, segment->https[i]))
            break;
    return i;
}

static size_t ask_each_http(const struct segment *segment, const struct ask *ask,
                            const uint64_t *grants, struct span path)
{
    for (size_t i = bits_next(grants, segment->words, 0); i != SIZE_MAX;
         i = bits_next(grants, segment->words, i + 1)) {
        const struct segment_grant *grant = &segment->grants[i];

        for (size_t j = 0; j < grant->http_len; j++)
            if (ask_fits_http(ask, &grant->http[j], path))
                return grant->http_first + j;
    }
    return SIZE_MAX;
}

/* hits: one for each spelling. */
static void by_http(const struct segment *segment, const struct ask *ask, const uint64_t *grants,
                    struct search_hit *hits)
{
    size_t tried = segment->methods.tried + segment->hosts.tried + segment->paths.tried;
    size_t most = DIRECT + tried / SKIPS;
    bool few = count_rules(segment, grants, true, most) <= most;

    for (size_t i = 0; i < ask->paths_len; i++) {
        size_t rule = (few ? ask_each_http : find_http)(segment, ask, grants, ask->paths[i]);

        if (rule != SIZE_MAX)
            note(&hits[i], segment->grants[segment->http_grants[rule]].policy,
                 &segment->https[rule]->place);
    }
}

static void by_dns(const struct segment *segment, const struct ask *ask, const uint64_t *grants,
                   struct search_hit *hit)
{
    size_t words = segment->questions.words;
    struct bits rules;

    want_rules(segment, grants, false, rules.words, words);
    if (count_rules(segment, grants, false, DIRECT) > DIRECT)
        narrow(&segment->questions, span_of_text(ask->asked), &rules);
    for (size_t i = bits_next(rules.words, words, 0); i != SIZE_MAX;
         i = bits_next(rules.words, words, i + 1))
        if (bits_has(grants, segment->dns_grants[i]) && ask_fits_dns(ask, segment->dnss[i])) {
            note(hit, segment->grants[segment->dns_grants[i]].policy, &segment->dnss[i]->place);
            return;
        }
}

static void note_readers(const struct segment *segment, const uint64_t *grants, struct search *out)
{
    size_t first = bits_next(grants, segment->words, 0);
    size_t path = bits_next_both(grants, segment->pathed, segment->words, 0);

    if (first != SIZE_MAX)
        note(&out->ruled, segment->grants[first].policy, &segment->grants[first].http->place);
    if (path != SIZE_MAX)
        note(&out->pathed, segment->grants[path].policy, &segment->grants[path].path->place);
}

/* ---- the whole ---- */

/* Of grants that fit, those that let everything pass at this point, or deny it. */
static size_t first_open(const struct segment *segment, const struct ask *ask, enum view_part part,
                         const struct bits *fits)
{
    bool rules_now =
        part == VIEW_DENY || ask->point == POLICY_POINT_HTTP || ask->point == POLICY_POINT_DNS;
    struct bits open;

    if (!rules_now) /* what they are about comes later */
        return bits_next(fits->words, segment->words, 0);
    memcpy(open.words, fits->words, segment->words * sizeof(uint64_t));
    bits_and_not(open.words, segment->http, segment->words);
    bits_and_not(open.words, segment->dns, segment->words);
    return bits_next(open.words, segment->words, 0);
}

struct met {                    /* by rules that look at what is said */
    struct search_hit spelt[2]; /* a request's spellings, or a question */
    struct search readers;
};

static void by_rules(const struct segment *segment, const struct ask *ask, struct bits *fits,
                     struct met *met)
{
    if (ask->point == POLICY_POINT_HTTP) {
        bits_and(fits->words, segment->http, segment->words);
        note_readers(segment, fits->words, &met->readers);
        by_http(segment, ask, fits->words, met->spelt);
    } else if (ask->point == POLICY_POINT_DNS) {
        bits_and(fits->words, segment->dns, segment->words);
        by_dns(segment, ask, fits->words, &met->spelt[0]);
    }
}

/* met: what rules that look at what is said would do. near: NULL, or the first that fits by where
 * it goes. */
static struct search_hit search_part(const struct policy_scope *scope, const struct ask *ask,
                                     const struct segments *segments, enum view_part part,
                                     struct met *met, struct search_hit *near)
{
    struct search_hit open = {0};
    struct bits fits;

    for (size_t i = 0; i < segments->len && !open.policy; i++) {
        const struct segment *segment = &segments->list[i];

        by_where(scope, segment, ask, part, &fits);
        note_grant(near, segment, bits_next(fits.words, segment->words, 0));
        by_demands(segment, ask, part, &fits);
        note_grant(&open, segment, first_open(segment, ask, part, &fits));
        if (!open.policy)
            by_rules(segment, ask, &fits, met);
    }
    return open;
}

void search(const struct policy_scope *scope, enum policy_mode mode, const struct ask *ask,
            struct search *out)
{
    const struct segments *parts = scope->view->parts[mode];
    struct met deny = {0}, allow = {0};
    struct search_hit unused = {0};

    *out = (struct search){0};
    out->denied = search_part(scope, ask, &parts[VIEW_DENY], VIEW_DENY, &deny, &unused);
    if (out->denied.policy)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(deny.spelt) && !out->denied.policy; i++)
        out->denied = deny.spelt[i];
    out->allowed = search_part(scope, ask, &parts[VIEW_ALLOW], VIEW_ALLOW, &allow, &out->near);
    out->ruled = deny.readers.ruled;
    out->pathed = deny.readers.pathed;
    if (out->allowed.policy)
        return;
    if (allow.spelt[0].policy && (ask->paths_len < 2 || allow.spelt[1].policy))
        out->allowed = allow.spelt[0];
    if (!out->ruled.policy)
        out->ruled = allow.readers.ruled;
    if (!out->pathed.policy)
        out->pathed = allow.readers.pathed;
}

const struct segment_grant *search_next(struct search_each *each)
{
    const struct segments *segments = &each->scope->view->parts[each->mode][each->part];

    for (; each->segment < segments->len; each->segment++, each->next = 0) {
        const struct segment *segment = &segments->list[each->segment];
        size_t next;

        if (!each->next) {
            by_where(each->scope, segment, each->ask, each->part, &each->fits);
            if (each->demands)
                by_demands(segment, each->ask, each->part, &each->fits);
        }
        next = bits_next(each->fits.words, segment->words, each->next);
        if (next != SIZE_MAX) {
            each->next = next + 1;
            return &segment->grants[next];
        }
    }
    return NULL;
}
