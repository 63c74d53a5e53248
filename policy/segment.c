#include "policy/segment.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

const struct policy_place *segment_place(const struct segment_grant *grant)
{
    return grant->to_ports ? &grant->to_ports->place : &grant->egress->place;
}

static void segment_fini(struct segment *segment)
{
    index_fini(&segment->where);
    index_fini(&segment->ports);
    index_fini(&segment->servers);
    index_fini(&segment->methods);
    index_fini(&segment->hosts);
    index_fini(&segment->paths);
    index_fini(&segment->questions);
    free(segment->named); /* and those that stand behind it */
    free(segment->grants);
    free(segment->https);
    free(segment->http_grants);
    free(segment->dnss);
    free(segment->dns_grants);
    free(segment->runs);
}

void segments_fini(struct segments *segments)
{
    for (size_t i = 0; i < segments->len; i++)
        segment_fini(&segments->list[i]);
    free(segments->list);
    *segments = (struct segments){0};
}

/* ---- grants ---- */

struct layout {
    struct segments segments;
    size_t room, grants_room;
    bool no_memory;
};

static void layout_fini(struct layout *layout)
{
    segments_fini(&layout->segments);
}

static struct segment *next_segment(struct layout *layout)
{
    struct segments *segments = &layout->segments;

    if (segments->len == layout->room) {
        size_t room = layout->room ? layout->room * 2 : 1;
        struct segment *list = realloc(segments->list, room * sizeof(*list));

        if (!list) {
            layout->no_memory = true;
            return NULL;
        }
        segments->list = list;
        layout->room = room;
    }
    layout->grants_room = 0;
    segments->list[segments->len] = (struct segment){0};
    return &segments->list[segments->len++];
}

/* One with room for a grant, and for a rule beneath it. */
static struct segment *segment_with_room(struct layout *layout)
{
    struct segments *segments = &layout->segments;
    struct segment *last = segments->len ? &segments->list[segments->len - 1] : NULL;

    if (!last || last->len == BITS_MAX || last->https_len == BITS_MAX || last->dnss_len == BITS_MAX)
        last = next_segment(layout);
    if (last && last->len == layout->grants_room) {
        size_t room = layout->grants_room ? layout->grants_room * 2 : 4;
        struct segment_grant *grants = realloc(last->grants, room * sizeof(*grants));

        if (!grants) {
            layout->no_memory = true;
            return NULL;
        }
        last->grants = grants;
        layout->grants_room = room;
    }
    return last;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* A grant with more rules than a segment takes is several. */
static void add_grant(struct layout *layout, struct segment_grant grant)
{
    const struct policy_to_ports *to_ports = grant.to_ports;
    size_t http = to_ports ? to_ports->http_len : 0, dns = to_ports ? to_ports->dns_len : 0;

    do {
        struct segment *segment = segment_with_room(layout);

        if (!segment)
            return;
        grant.http = http ? to_ports->http + (to_ports->http_len - http) : NULL;
        grant.http_len = least(http, BITS_MAX - segment->https_len);
        grant.http_first = segment->https_len;
        grant.dns = dns ? to_ports->dns + (to_ports->dns_len - dns) : NULL;
        grant.dns_len = least(dns, BITS_MAX - segment->dnss_len);
        grant.dns_first = segment->dnss_len;
        segment->https_len += grant.http_len;
        segment->dnss_len += grant.dns_len;
        http -= grant.http_len;
        dns -= grant.dns_len;
        segment->grants[segment->len++] = grant;
    } while (http || dns);
}

static void lay_out(struct layout *layout, const struct policy *policy, size_t at, bool deny)
{
    const struct policy_egress *rules = deny ? policy->egress_deny : policy->egress;
    size_t len = deny ? policy->egress_deny_len : policy->egress_len;

    for (size_t i = 0; i < len; i++) {
        struct segment_grant grant = {
            .policy = policy,
            .policy_at = at,
            .egress = &rules[i],
        };

        if (rules[i].nowhere)
            continue;
        if (!rules[i].to_ports_len)
            add_grant(layout, grant);
        for (size_t j = 0; j < rules[i].to_ports_len; j++) {
            grant.to_ports = &rules[i].to_ports[j];
            add_grant(layout, grant);
        }
    }
}

/* ---- what each wants ---- */

static void add_where(struct index_terms *terms, const struct policy_egress *egress, size_t first,
                      size_t n)
{
    if (!egress->names_len && !egress->cidrs_len)
        index_add_any(terms, first, n);
    for (size_t i = 0; i < egress->names_len; i++)
        index_add_name(terms, &egress->names[i], first, n);
    for (size_t i = 0; i < egress->cidrs_len; i++)
        index_add_cidr(terms, &egress->cidrs[i], first, n);
}

static int index_where(struct segment *segment)
{
    CLEANUP(index_terms_fini) struct index_terms terms = {0};
    size_t n;

    for (size_t i = 0; i < segment->len; i += n) {
        n = 1;
        while (i + n < segment->len && segment->grants[i + n].egress == segment->grants[i].egress)
            n++;
        add_where(&terms, segment->grants[i].egress, i, n);
    }
    return index_make(&segment->where, &terms, segment->len);
}

static int index_ports(struct segment *segment)
{
    CLEANUP(index_terms_fini) struct index_terms ports = {0}, servers = {0};

    for (size_t i = 0; i < segment->len; i++) {
        const struct policy_to_ports *to_ports = segment->grants[i].to_ports;

        if (!to_ports || !to_ports->ports_len)
            index_add_any(&ports, i, 1);
        for (size_t j = 0; to_ports && j < to_ports->ports_len; j++)
            index_add_port(&ports, &to_ports->ports[j], i, 1);
        if (!to_ports || !to_ports->server_names_len)
            index_add_any(&servers, i, 1);
        for (size_t j = 0; to_ports && j < to_ports->server_names_len; j++)
            index_add_name(&servers, &to_ports->server_names[j], i, 1);
    }
    if (index_make(&segment->ports, &ports, segment->len) < 0)
        return -ENOMEM;
    return index_make(&segment->servers, &servers, segment->len);
}

static void add_field(struct index_terms *terms, const char *written, const char *text,
                      const struct regex *regex, bool lower, size_t i)
{
    if (text)
        index_add_text(terms, text, i, 1);
    else if (regex)
        index_add_expression(terms, written, regex, lower, i, 1);
    else
        index_add_any(terms, i, 1);
}

static int index_requests(struct segment *segment)
{
    CLEANUP(index_terms_fini) struct index_terms methods = {0}, hosts = {0}, paths = {0};

    for (size_t i = 0; i < segment->https_len; i++) {
        const struct policy_http *http = segment->https[i];

        add_field(&methods, http->method, http->method_text, http->method_is, false, i);
        add_field(&hosts, http->host, http->host_text, http->host_is, true, i);
        add_field(&paths, http->path, http->path_text, http->path_is, false, i);
    }
    if (index_make(&segment->methods, &methods, segment->https_len) < 0 ||
        index_make(&segment->hosts, &hosts, segment->https_len) < 0)
        return -ENOMEM;
    return index_make(&segment->paths, &paths, segment->https_len);
}

static int index_questions(struct segment *segment)
{
    CLEANUP(index_terms_fini) struct index_terms terms = {0};

    for (size_t i = 0; i < segment->dnss_len; i++) {
        if (segment->dnss[i]->name.text)
            index_add_name(&terms, &segment->dnss[i]->name, i, 1);
        else
            index_add_any(&terms, i, 1);
    }
    return index_make(&segment->questions, &terms, segment->dnss_len);
}

static void note_marks(struct segment *segment, size_t i)
{
    const struct segment_grant *grant = &segment->grants[i];

    if (grant->egress->names_len)
        bits_set(segment->named, i);
    if (!grant->to_ports)
        return;
    if (grant->to_ports->server_names_len) {
        bits_set(segment->served, i);
        segment->serves = true;
    }
    if (grant->to_ports->tls)
        bits_set(segment->tls, i);
    if (grant->to_ports->http_len)
        bits_set(segment->http, i);
    if (grant->to_ports->dns_len)
        bits_set(segment->dns, i);
}

static void number_rules(struct segment *segment, size_t i)
{
    struct segment_grant *grant = &segment->grants[i];

    for (size_t j = 0; j < grant->http_len; j++) {
        segment->https[grant->http_first + j] = &grant->http[j];
        segment->http_grants[grant->http_first + j] = (uint16_t)i;
        if (grant->http[j].path && !grant->path) {
            grant->path = &grant->http[j];
            bits_set(segment->pathed, i);
        }
    }
    for (size_t j = 0; j < grant->dns_len; j++) {
        segment->dnss[grant->dns_first + j] = &grant->dns[j];
        segment->dns_grants[grant->dns_first + j] = (uint16_t)i;
    }
}

static void note_run(struct segment *segment, size_t i)
{
    size_t policy_at = segment->grants[i].policy_at;

    if (!segment->runs_len || segment->runs[segment->runs_len - 1].policy_at != policy_at)
        segment->runs[segment->runs_len++] = (struct segment_run){policy_at, i, 0};
    segment->runs[segment->runs_len - 1].len++;
}

static int complete(struct segment *segment)
{
    size_t words = bits_words(segment->len);

    segment->words = words;
    segment->named = calloc(words * 6 + 1, sizeof(uint64_t));
    segment->https = calloc(segment->https_len + 1, sizeof(const struct policy_http *));
    segment->http_grants = calloc(segment->https_len + 1, sizeof(uint16_t));
    segment->dnss = calloc(segment->dnss_len + 1, sizeof(const struct policy_dns *));
    segment->dns_grants = calloc(segment->dnss_len + 1, sizeof(uint16_t));
    segment->runs = calloc(segment->len + 1, sizeof(*segment->runs));
    if (!segment->named || !segment->https || !segment->http_grants || !segment->dnss ||
        !segment->dns_grants || !segment->runs)
        return -ENOMEM;
    segment->served = segment->named + words;
    segment->tls = segment->served + words;
    segment->http = segment->tls + words;
    segment->dns = segment->http + words;
    segment->pathed = segment->dns + words;
    for (size_t i = 0; i < segment->len; i++) {
        note_marks(segment, i);
        number_rules(segment, i);
        note_run(segment, i);
    }
    if (index_where(segment) < 0 || index_ports(segment) < 0 || index_requests(segment) < 0)
        return -ENOMEM;
    return index_questions(segment);
}

int segments_make(struct segments *out, const struct policy *const *policies, size_t len,
                  enum policy_mode mode, bool deny)
{
    CLEANUP(layout_fini) struct layout layout = {0};

    for (size_t i = 0; i < len; i++)
        if (policies[i]->mode == mode)
            lay_out(&layout, policies[i], i, deny);
    if (layout.no_memory)
        return -ENOMEM;
    for (size_t i = 0; i < layout.segments.len; i++)
        if (complete(&layout.segments.list[i]) < 0)
            return -ENOMEM;
    *out = layout.segments;
    layout.segments = (struct segments){0};
    return 0;
}
