#include "proxy/wire/http1_rules.h"

#include <stddef.h>

#include "base/cleanup.h"

enum { CONTENT_LENGTH_DIGITS = 18 }; /* more would not fit a signed 64-bit integer everywhere */

static const char *const names[] = {
    [HTTP1_RULE_CONNECTION] = "connection",
    [HTTP1_RULE_CONTENT_LENGTH] = "content-length",
    [HTTP1_RULE_HOST] = "host",
    [HTTP1_RULE_TRANSFER_ENCODING] = "transfer-encoding",
    [HTTP1_RULE_UPGRADE] = "upgrade",
};
_Static_assert(ARRAY_SIZE(names) == _HTTP1_RULE_MAX, "name every rule's field");

void http1_rules_begin(struct http1_rules *rules, bool request)
{
    memset(rules, 0, offsetof(struct http1_rules, gathered));
    rules->request = request;
}

bool http1_rules_seen(const struct http1_rules *rules, enum http1_rule rule)
{
    return rules->seen & 1u << rule;
}

static void gather(struct http1_rules *rules, struct span piece)
{
    size_t room = sizeof(rules->gathered) - rules->gathered_len;

    if (rules->gathered_len < sizeof(rules->gathered) && piece.len)
        memcpy(rules->gathered + rules->gathered_len, piece.data,
               piece.len < room ? piece.len : room);
    rules->gathered_len += piece.len;
}

/* What was gathered, without the blanks around it; empty when it did not fit. */
static struct span gathered(const struct http1_rules *rules)
{
    struct span all = span_of(rules->gathered, rules->gathered_len);

    if (all.len > sizeof(rules->gathered))
        return span_of(rules->gathered, 0);
    while (all.len && (all.data[0] == ' ' || all.data[0] == '\t'))
        all = span_of(all.data + 1, all.len - 1);
    while (all.len && (all.data[all.len - 1] == ' ' || all.data[all.len - 1] == '\t'))
        all.len--;
    return all;
}

/* ---- target ---- */

/* Servers cut a fragment off or take it for path; some take a backslash for a slash, which matters
 * in the path alone. All else that is printable, and bytes beyond ASCII, go by as with nginx. */
void http1_rules_target(struct http1_rules *rules, struct span piece)
{
    for (size_t i = 0; i < piece.len && !rules->target_fault; i++) {
        if (piece.data[i] == '#')
            rules->target_fault = "a fragment in the target";
        else if (piece.data[i] == '\\' && !rules->query)
            rules->target_fault = "a backslash in the target's path";
        rules->query |= piece.data[i] == '?';
    }
    gather(rules, piece);
}

/* The scheme's port, 0 when it is neither of those an HTTP server serves. */
static uint16_t scheme_port(struct span scheme)
{
    if (span_equal_nocase(scheme, "http://"))
        return 80;
    return span_equal_nocase(scheme, "https://") ? 443 : 0;
}

static const char *absolute_ends(struct http1_rules *rules, struct span target, bool connect)
{
    struct span authority;

    if (!authority_in_target(target, connect, &authority))
        return "a target of no known form";
    if (!connect) {
        rules->port_default =
            scheme_port(span_of(target.data, (size_t)(authority.data - target.data)));
        if (!rules->port_default)
            return "a target of a foreign scheme";
    }
    if (!authority_parse(authority, &rules->asked)) /* cut by our buffer, it is too long anyway */
        return "an invalid authority in the target";
    rules->absolute = !connect;
    return connect && !rules->asked.port ? "a CONNECT without a port" : NULL;
}

const char *http1_rules_target_ends(struct http1_rules *rules, bool connect)
{
    size_t len = rules->gathered_len;
    struct span target =
        span_of(rules->gathered, len < sizeof(rules->gathered) ? len : sizeof(rules->gathered));
    const char *fault = rules->target_fault;

    if (!fault && (connect || (target.data[0] != '/' && !span_equal(target, BYTES("*")))))
        fault = absolute_ends(rules, target, connect);
    rules->gathered_len = 0;
    return fault;
}

/* ---- fields ---- */

void http1_rules_name(struct http1_rules *rules, struct span piece)
{
    gather(rules, piece);
}

static enum http1_rule rule_of(struct span name)
{
    for (size_t i = 1; i < ARRAY_SIZE(names); i++)
        if (span_equal_nocase(name, names[i]))
            return (enum http1_rule)i;
    return HTTP1_RULE_NONE;
}

static const char *framing_twice(enum http1_rule rule)
{
    switch (rule) {
    case HTTP1_RULE_CONTENT_LENGTH:
        return "two Content-Length fields";
    case HTTP1_RULE_TRANSFER_ENCODING:
        return "two Transfer-Encoding fields";
    case HTTP1_RULE_HOST:
        return "two Host fields";
    default:
        return NULL;
    }
}

const char *http1_rules_name_ends(struct http1_rules *rules, unsigned minor)
{
    bool again;

    rules->rule = rule_of(gathered(rules));
    rules->gathered_len = 0;
    again = http1_rules_seen(rules, rules->rule);
    if (rules->trailer) /* RFC 9110 section 6.5.1: some servers would merge it into the head */
        return framing_twice(rules->rule) ? "a framing field in a trailer" : NULL;
    rules->seen |= 1u << rules->rule;
    if (again && framing_twice(rules->rule) && (rules->request || rules->rule != HTTP1_RULE_HOST))
        return framing_twice(rules->rule);
    if (http1_rules_seen(rules, HTTP1_RULE_TRANSFER_ENCODING)) {
        if (http1_rules_seen(rules, HTTP1_RULE_CONTENT_LENGTH))
            return "Content-Length with Transfer-Encoding";
        if (!minor)
            return "Transfer-Encoding in HTTP/1.0";
    }
    return NULL;
}

/* One option of a Connection field (RFC 9110 section 7.6.1). */
static void option_ends(struct http1_rules *rules)
{
    struct span option = gathered(rules);

    rules->close |= span_equal_nocase(option, "close");
    rules->keep_alive |= span_equal_nocase(option, "keep-alive");
    rules->upgrade |= span_equal_nocase(option, "upgrade");
    rules->gathered_len = 0;
}

void http1_rules_value(struct http1_rules *rules, struct span piece)
{
    if (rules->rule == HTTP1_RULE_NONE)
        return;
    for (const uint8_t *comma; rules->rule == HTTP1_RULE_CONNECTION && piece.len &&
                               (comma = memchr(piece.data, ',', piece.len));) {
        size_t len = (size_t)(comma - piece.data);

        gather(rules, span_of(piece.data, len));
        option_ends(rules);
        piece = span_of(comma + 1, piece.len - len - 1);
    }
    gather(rules, piece);
}

/* An absolute target beats Host (RFC 9112 section 3.2.2), but not every server knows. */
static const char *host_ends(const struct http1_rules *rules)
{
    struct authority_parts host = {.host = ""};
    bool empty = !rules->gathered_len;

    if (!rules->request)
        return NULL;
    if (!empty && !authority_parse(gathered(rules), &host))
        return "an invalid Host";
    if (rules->absolute && (strcmp(host.host, rules->asked.host) != 0 ||
                            (host.port ? host.port : rules->port_default) !=
                                (rules->asked.port ? rules->asked.port : rules->port_default)))
        return "a Host other than the target's";
    return NULL;
}

const char *http1_rules_value_ends(struct http1_rules *rules)
{
    const char *fault = NULL;

    switch (rules->rule) {
    case HTTP1_RULE_CONNECTION:
        option_ends(rules);
        break;
    case HTTP1_RULE_CONTENT_LENGTH:
        if (gathered(rules).len > CONTENT_LENGTH_DIGITS || !gathered(rules).len)
            fault = "an overlong Content-Length";
        break;
    case HTTP1_RULE_HOST:
        fault = host_ends(rules);
        break;
    case HTTP1_RULE_TRANSFER_ENCODING:
        if (!span_equal_nocase(gathered(rules), "chunked"))
            fault = "a Transfer-Encoding other than chunked";
        break;
    case HTTP1_RULE_UPGRADE:
    case HTTP1_RULE_NONE:
    case _HTTP1_RULE_MAX:
        break;
    }
    rules->gathered_len = 0;
    return fault;
}
