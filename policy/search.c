#include "policy/search.h"

enum {
    DIRECT = 4,      /* so many rules are quicker asked than sought */
    SKIPS = 32,      /* what an index must try in vain takes a part of what asking a rule takes */
    FEW_GRANTS = 16, /* so many are quicker noted than looked up for each rule found */
    DNS_PORT = 53
};

/* Grants of a segment; words before from and from to on are zero. */
struct fits {
    struct bits bits;
    size_t from, to;
};

/* The first at or behind at; SIZE_MAX: none. */
static size_t fits_next(const struct fits *fits, size_t at)
{
    return bits_next(fits->bits.words, fits->to, at < fits->from * 64 ? fits->from * 64 : at);
}

static void fits_and(struct fits *fits, const uint64_t *other)
{
    bits_and(fits->bits.words + fits->from, other + fits->from, fits->to - fits->from);
}

static void fits_and_not(struct fits *fits, const uint64_t *other)
{
    bits_and_not(fits->bits.words + fits->from, other + fits->from, fits->to - fits->from);
}

static void fits_trim(struct fits *fits)
{
    while (fits->from < fits->to && !fits->bits.words[fits->from])
        fits->from++;
    while (fits->from < fits->to && !fits->bits.words[fits->to - 1])
        fits->to--;
}

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
                     const struct ask *ask, enum view_part part, struct fits *fits)
{
    struct bits ports;

    fits->from = 0;
    fits->to = segment->words;
    memset(fits->bits.words, 0, segment->words * sizeof(uint64_t));
    memset(ports.words, 0, segment->words * sizeof(uint64_t));
    index_find_address(&segment->where, ask->facts->dst, fits->bits.words);
    add_names(segment, ask, part, fits->bits.words);
    fits_trim(fits);
    index_find_port(&segment->ports, ask->facts->protocol, ask->facts->dst->port, ports.words);
    fits_and(fits, ports.words);
    if (scope->mask)
        fits_and(fits, scope->mask + segment->mask_at);
    fits_trim(fits);
}

/* ---- by what is demanded beside rules: as ask_fits_demands() has it ---- */

static void by_datagram(const struct segment *segment, const struct ask *ask, struct fits *fits)
{
    fits_and_not(fits, segment->http);
    fits_and_not(fits, segment->tls);
    if (ask->facts->dst->port == DNS_PORT)
        fits_and_not(fits, segment->served);
    if (ask->point != POLICY_POINT_DNS && ask->facts->dst->port != DNS_PORT)
        fits_and_not(fits, segment->dns);
}

static void by_tls(const struct segment *segment, const struct ask *ask, struct fits *fits)
{
    if (ask->facts->plain)
        fits_and_not(fits, segment->tls);
    else if (ask->version || ask->version_max || ask->cipher)
        for (size_t i = fits_next(fits, 0); i != SIZE_MAX; i = fits_next(fits, i + 1))
            if (bits_has(segment->tls, i) && !ask_fits_tls(ask, segment->grants[i].to_ports->tls))
                bits_clear(fits->bits.words, i);
}

static void by_server_name(const struct segment *segment, const struct ask *ask,
                           enum view_part part, struct fits *fits)
{
    char name[ASK_NAME_MAX];
    struct bits served;

    if (!segment->serves)
        return;
    if (ask->point == POLICY_POINT_CONNECT) {
        if (part == VIEW_DENY)
            fits_and_not(fits, segment->served);
    } else if (ask->facts->plain || !ask->server_name || !ask_normal_name(ask->server_name, name)) {
        fits_and_not(fits, segment->served);
    } else {
        memset(served.words, 0, segment->words * sizeof(uint64_t));
        index_find(&segment->servers, span_of_text(name), fits->bits.words, served.words);
        fits_and(fits, served.words);
    }
}

static void by_demands(const struct segment *segment, const struct ask *ask, enum view_part part,
                       struct fits *fits)
{
    if (ask->facts->protocol == PROTOCOL_UDP)
        by_datagram(segment, ask, fits);
    else if (part == VIEW_ALLOW)
        by_tls(segment, ask, fits);
    by_server_name(segment, ask, part, fits);
}

/* ---- by rules ---- */

/* How many numbers of rules these grants have, or more than most. */
static size_t count_rules(const struct segment *segment, const struct fits *grants, bool http,
                          size_t most)
{
    size_t n = 0;

    for (size_t i = fits_next(grants, 0); i != SIZE_MAX && n <= most; i = fits_next(grants, i + 1))
        n += http ? segment->grants[i].http_len : segment->grants[i].dns_len;
    return n;
}

/* What need be found is only among the rules of these grants; of many, more than that. */
static void want_rules(const struct segment *segment, const struct fits *grants, bool http,
                       uint64_t *rules, size_t words)
{
    size_t n = 0;

    memset(rules, 0, words * sizeof(uint64_t));
    for (size_t i = fits_next(grants, 0); i != SIZE_MAX; i = fits_next(grants, i + 1)) {
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
                        const struct fits *grants, struct span path)
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
        if (bits_has(grants->bits.words, segment->http_grants[i]) &&
            ask_fits_headers(ask, segment->https[i]))
            break;
    return i;
}

static size_t ask_each_http(const struct segment *segment, const struct ask *ask,
                            const struct fits *grants, struct span path)
{
    for (size_t i = fits_next(grants, 0); i != SIZE_MAX; i = fits_next(grants, i + 1)) {
        const struct segment_grant *grant = &segment->grants[i];

        for (size_t j = 0; j < grant->http_len; j++)
            if (ask_fits_http(ask, &grant->http[j], path))
                return grant->http_first + j;
    }
    return SIZE_MAX;
}

/* hits: one for each spelling. */
static void by_http(const struct segment *segment, const struct ask *ask, const struct fits *grants,
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

static void by_dns(const struct segment *segment, const struct ask *ask, const struct fits *grants,
                   struct search_hit *hit)
{
    size_t words = segment->questions.words;
    struct bits rules;

    want_rules(segment, grants, false, rules.words, words);
    if (count_rules(segment, grants, false, DIRECT) > DIRECT)
        narrow(&segment->questions, span_of_text(ask->asked), &rules);
    for (size_t i = bits_next(rules.words, words, 0); i != SIZE_MAX;
         i = bits_next(rules.words, words, i + 1))
        if (bits_has(grants->bits.words, segment->dns_grants[i]) &&
            ask_fits_dns(ask, segment->dnss[i])) {
            note(hit, segment->grants[segment->dns_grants[i]].policy, &segment->dnss[i]->place);
            return;
        }
}

static void note_readers(const struct segment *segment, const struct fits *grants,
                         struct search *out)
{
    size_t first = fits_next(grants, 0);
    size_t path =
        bits_next_both(grants->bits.words, segment->pathed, grants->to, grants->from * 64);

    if (first != SIZE_MAX)
        note(&out->ruled, segment->grants[first].policy, &segment->grants[first].http->place);
    if (path != SIZE_MAX)
        note(&out->pathed, segment->grants[path].policy, &segment->grants[path].path->place);
}

/* ---- the whole ---- */

/* Of grants that fit, the first that lets everything pass at this point, or denies it. */
static size_t first_open(const struct segment *segment, const struct ask *ask, enum view_part part,
                         const struct fits *fits)
{
    bool rules_now =
        part == VIEW_DENY || ask->point == POLICY_POINT_HTTP || ask->point == POLICY_POINT_DNS;

    if (!rules_now) /* what they are about comes later */
        return fits_next(fits, 0);
    for (size_t i = fits->from; i < fits->to; i++) {
        uint64_t open = fits->bits.words[i] & ~segment->http[i] & ~segment->dns[i];

        if (open)
            return i * 64 + (size_t)__builtin_ctzll(open);
    }
    return SIZE_MAX;
}

struct met {                    /* by rules that look at what is said */
    struct search_hit spelt[2]; /* a request's spellings, or a question */
    struct search readers;
};

static void by_rules(const struct segment *segment, const struct ask *ask, struct fits *fits,
                     struct met *met)
{
    if (ask->point == POLICY_POINT_HTTP) {
        fits_and(fits, segment->http);
        note_readers(segment, fits, &met->readers);
        by_http(segment, ask, fits, met->spelt);
    } else if (ask->point == POLICY_POINT_DNS) {
        fits_and(fits, segment->dns);
        by_dns(segment, ask, fits, &met->spelt[0]);
    }
}

/* met: what rules that look at what is said would do. near: NULL, or the first that fits by where
 * it goes. */
static struct search_hit search_part(const struct policy_scope *scope, const struct ask *ask,
                                     const struct segments *segments, enum view_part part,
                                     struct met *met, struct search_hit *near)
{
    struct search_hit open = {0};
    struct fits fits;

    for (size_t i = 0; i < segments->len && !open.policy; i++) {
        const struct segment *segment = &segments->list[i];

        by_where(scope, segment, ask, part, &fits);
        note_grant(near, segment, fits_next(&fits, 0));
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
            struct fits fits;

            by_where(each->scope, segment, each->ask, each->part, &fits);
            if (each->demands)
                by_demands(segment, each->ask, each->part, &fits);
            memcpy(each->fits.words, fits.bits.words, segment->words * sizeof(uint64_t));
        }
        next = bits_next(each->fits.words, segment->words, each->next);
        if (next != SIZE_MAX) {
            each->next = next + 1;
            return &segment->grants[next];
        }
    }
    return NULL;
}
