/* Rules for HTTP requests and for questions of the DNS. */
#include "policy/compile_own.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/compile_words.h"
#include "policy/path.h"
#include "policy/regex.h"

/* ---- expressions ---- */

static bool is_punctuation(char c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
}

/* What an expression says that is a text without operators ("/v1", "api[.]example[.]com"), so that
 * it can be compared as bytes. out has room for it. False: it is more than that. */
static bool literal(const char *expression, char *out)
{
    for (const char *at = expression; *at; at++) {
        char c = *at;

        if (c == '\\' && is_punctuation(at[1])) {
            c = *++at;
        } else if (c == '[' && at[1] && !strchr("^]\\[", at[1]) && at[2] == ']') {
            c = at[1];
            at += 2;
        } else if (strchr("\\^$.|?*+()[]{}", c)) {
            return false;
        }
        *out++ = c;
    }
    *out = 0;
    return true;
}

struct expression { /* where one is kept, in three ways */
    char **written, **text;
    struct regex **is;
    bool any_case;
};

static void read_expression(struct compile *c, const struct node *node, const struct key *key,
                            struct expression to)
{
    static const char any_case[] = "(?i)";
    CLEANUP(text_free) char *expression = NULL, *text = compile_copy(c, node->text);
    size_t before = to.any_case ? sizeof(any_case) - 1 : 0;
    struct regex_fault fault = {0};
    int result;

    if (!node->text[0])
        faults_add(c->faults, node->mark, "%s is empty; leave it out, or say '.*'", key->name);
    *to.written = compile_copy(c, node->text);
    if (text && literal(node->text, text)) {
        *to.text = TAKE(text);
        return;
    }
    if (asprintf(&expression, "%s%s", to.any_case ? any_case : "", node->text) < 0) {
        expression = NULL;
        c->no_memory = true;
        return;
    }
    result = regex_new(to.is, expression, &fault);
    if (result == -ENOMEM)
        c->no_memory = true;
    else if (result < 0)
        faults_add(c->faults, compile_mark_in(c, node, fault.at > before ? fault.at - before : 0),
                   "this is no expression: %s", fault.text);
}

static bool has_small_letter(const char *text)
{
    while (*text && !(*text >= 'a' && *text <= 'z'))
        text++;
    return *text;
}

static void read_method(struct compile *c, const struct node *node, const struct key *key,
                        void *into)
{
    struct policy_http *http = into;

    read_expression(
        c, node, key,
        (struct expression){&http->method, &http->method_text, &http->method_is, false});
    if (http->method_text && has_small_letter(http->method_text))
        faults_add(
            c->faults, node->mark,
            "'%.100s' is no method that a program uses: they are in capitals, and case counts",
            node->text);
}

/* Paths are compared as sent and as normal: both must fit. */
static void check_path(struct compile *c, const struct node *node, const char *path)
{
    size_t len = strlen(path);
    CLEANUP(text_free) char *out = malloc(len);
    struct path_normal normal = {0};

    if (strcmp(path, "*") == 0)
        return; /* of OPTIONS */
    if (path[0] != '/')
        faults_add(c->faults, node->mark, "'%.100s' matches no path: they begin with '/'", path);
    else if (!out || !path_normalize(span_of(path, len), (uint8_t *)out, len, &normal))
        c->no_memory = true;
    else if (normal.oddities)
        faults_add(c->faults, node->mark, "'%.100s' matches no path: with %s a request is refused",
                   path, path_oddity_name(normal.oddities));
    else if (!span_equal(normal.path, span_of(path, len)))
        faults_add(c->faults, node->mark,
                   "'%.100s' matches no path: servers read it as '%.*s', and both must match", path,
                   (int)(normal.path.len > 100 ? 100 : normal.path.len),
                   (const char *)normal.path.data);
}

static void read_path(struct compile *c, const struct node *node, const struct key *key, void *into)
{
    struct policy_http *http = into;

    read_expression(c, node, key,
                    (struct expression){&http->path, &http->path_text, &http->path_is, false});
    if (http->path_text && *http->path_text)
        check_path(c, node, http->path_text);
}

static void read_host(struct compile *c, const struct node *node, const struct key *key, void *into)
{
    struct policy_http *http = into;
    const char *port;

    read_expression(c, node, key,
                    (struct expression){&http->host, &http->host_text, &http->host_is, true});
    for (char *at = http->host_text; at && *at; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at + 'a' - 'A');
    port = strrchr(node->text, ':');
    if (strstr(node->text, "://"))
        faults_add(c->faults, node->mark, "'%.100s' is a URL; say the name in it alone",
                   node->text);
    else if (port && port[1] && strspn(port + 1, "0123456789") == strlen(port + 1) &&
             strchr(node->text, ':') == port)
        faults_add(c->faults, node->mark,
                   "'%.100s' matches no host: the port is split off before; say it under toPorts",
                   node->text);
}

/* ---- headers ---- */

/* RFC 9110 section 5.6.2. */
static bool is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'z') &&
            !(text[i] >= 'A' && text[i] <= 'Z') && !strchr("!#$%&'*+-.^_`|~", text[i]))
            return false;
    return len > 0;
}

static bool check_header_name(struct compile *c, const struct node *node, const char *name,
                              size_t len)
{
    if (is_token(name, len))
        return true;
    faults_add(c->faults, node->mark, "'%.*s' cannot be the name of a header",
               (int)(len > 100 ? 100 : len), name);
    return false;
}

static void add_header(struct compile *c, struct policy_http *http, const char *name, size_t len,
                       const char *value)
{
    struct policy_header *made = compile_grow(c, &http->headers, &http->headers_len, sizeof(*made));

    if (!made)
        return;
    made->name = strndup(name, len);
    made->value = value ? compile_copy(c, value) : NULL;
    if (!made->name)
        c->no_memory = true;
}

/* "x-tenant": it must be there; "X-Tenant: value", or as Cilium reads it, "X-Tenant value". */
static void read_header(struct compile *c, const struct node *node, size_t i, const struct key *key,
                        void *into)
{
    size_t len = strcspn(node->text, ": \t");
    const char *value = node->text + len;

    (void)i;
    (void)key;
    if (!check_header_name(c, node, node->text, len))
        return;
    if (*value == ':')
        value++;
    value += strspn(value, " \t");
    add_header(c, into, node->text, len, *value ? value : NULL);
}

#define ONLY_REJECT                                                                                \
    "requests go on as they came, or not at all; leave it out to refuse those that lack the "      \
    "header"
static const struct key match_keys[] = {
    {.name = "name", .kind = NODE_TEXT, .read = compile_keep, .must = true},
    {.name = "value", .kind = NODE_TEXT, .read = compile_keep},
    {.name = "mismatch", .why = ONLY_REJECT},
    {.name = "secret", .why = "secrets are not read of Kubernetes; say value, or the name alone"},
};
static const struct shape match_shape = {"an item of headerMatches", match_keys,
                                         ARRAY_SIZE(match_keys)};

static void read_header_match(struct compile *c, const struct node *node, size_t i,
                              const struct key *key, void *into)
{
    const struct node *name = compile_find_text(node, "name");
    const struct node *value = compile_find_text(node, "value");
    size_t len = name ? strlen(name->text) : 0;

    (void)i;
    (void)key;
    compile_map(c, node, &match_shape, NULL);
    if (name && check_header_name(c, name, name->text, len))
        add_header(c, into, name->text, len, value && *value->text ? value->text : NULL);
}

/* ---- the rules ---- */

static const struct key http_keys[] = {
    {.name = "method", .kind = NODE_TEXT, .read = read_method},
    {.name = "path", .kind = NODE_TEXT, .read = read_path},
    {.name = "host", .kind = NODE_TEXT, .read = read_host},
    {.name = "headers",
     .kind = NODE_LIST,
     .item = read_header,
     .items = NODE_TEXT,
     .empty = "leave it out"},
    {.name = "headerMatches",
     .kind = NODE_LIST,
     .item = read_header_match,
     .items = NODE_MAP,
     .empty = "leave it out"},
};
static const struct shape http_shape = {"a rule of http", http_keys, ARRAY_SIZE(http_keys)};

void compile_http(struct compile *c, const struct node *node, size_t i, const struct key *key,
                  void *into)
{
    struct policy_to_ports *to = into;
    struct policy_http *made = compile_grow(c, &to->http, &to->http_len, sizeof(*made));
    size_t before = compile_enter(c, "%s[%zu]", key->name, i);

    if (made) {
        compile_place(c, &made->place, node->mark);
        compile_map(c, node, &http_shape, made);
    }
    compile_leave(c, before);
}

static void read_dns_name(struct compile *c, const struct node *node, const struct key *key,
                          void *into)
{
    struct policy_dns *dns = into;

    if (dns->name.text)
        faults_add(c->faults, node->key_mark,
                   "matchName and matchPattern are two rules; begin the second with '- '");
    else
        compile_name(c, node, strcmp(key->name, "matchPattern") == 0, &dns->name);
}

static void read_type(struct compile *c, const struct node *node, size_t i, const struct key *key,
                      void *into)
{
    struct policy_dns *dns = into;
    int number = compile_dns_type(node->text);
    uint16_t *made;

    (void)i;
    if (number < 0) {
        compile_unknown(c, node->mark, key->name, node->text, compile_dns_types);
        return;
    }
    made = compile_grow(c, &dns->types, &dns->types_len, sizeof(*made));
    if (made)
        *made = (uint16_t)number;
}

static const struct key dns_keys[] = {
    {.name = "matchName", .kind = NODE_TEXT, .read = read_dns_name},
    {.name = "matchPattern", .kind = NODE_TEXT, .read = read_dns_name},
    {.name = "types",
     .kind = NODE_LIST,
     .item = read_type,
     .items = NODE_TEXT,
     .empty = "leave it out for every type",
     .ours = true},
};
static const struct shape dns_shape = {"a rule of dns", dns_keys, ARRAY_SIZE(dns_keys)};

void compile_dns(struct compile *c, const struct node *node, size_t i, const struct key *key,
                 void *into)
{
    struct policy_to_ports *to = into;
    struct policy_dns *made = compile_grow(c, &to->dns, &to->dns_len, sizeof(*made));
    size_t before = compile_enter(c, "%s[%zu]", key->name, i);

    if (made) {
        compile_place(c, &made->place, node->mark);
        compile_map(c, node, &dns_shape, made);
    }
    if (compile_is_empty(c, node))
        faults_add(c->faults, node->mark,
                   "a rule of dns says nothing; matchPattern: \"*\" is every name");
    compile_leave(c, before);
}
