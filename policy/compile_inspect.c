/* What is looked for in what passes. */
#include "policy/compile_own.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/inspect.h"
#include "policy/scan.h"

enum { NAME_MAX_LEN = 63 };

/* ---- bodies ---- */

static struct policy_body_pattern *add_pattern(struct compile *c, struct policy_bodies *bodies,
                                               const struct node *name)
{
    struct policy_body_pattern *made;

    for (size_t i = 0; i < bodies->patterns_len; i++)
        if (strcmp(bodies->patterns[i].name, name->text) == 0) {
            faults_add(c->faults, name->mark, "the pattern '%.100s' stands here already",
                       name->text);
            return NULL;
        }
    made = compile_grow(c, &bodies->patterns, &bodies->patterns_len, sizeof(*made));
    if (made) {
        made->mark = name->mark;
        made->name = compile_copy(c, name->text);
        if (!made->name)
            bodies->patterns_len--;
    }
    return made && made->name ? made : NULL;
}

static const struct key pattern_keys[] = {
    {.name = "name", .kind = NODE_TEXT, .read = compile_keep, .must = true},
    {.name = "regex", .kind = NODE_TEXT, .read = compile_keep, .must = true},
};
static const struct shape pattern_shape = {"a pattern of one's own", pattern_keys,
                                           ARRAY_SIZE(pattern_keys)};

/* It is confirmed by itself (inspect.c), and looked for from each byte of a body on: neither may
 * cost more than an expression of a request does. */
static int check_speed(const char *expression, struct regex_fault *fault)
{
    static const char nocase[] = "(?i)"; /* stands at the start */
    bool folds = strncmp(expression, nocase, strlen(nocase)) == 0;
    CLEANUP(regex_free) struct regex *itself = NULL;
    CLEANUP(regex_free) struct regex *anywhere = NULL;
    size_t size = strlen(expression) + sizeof(".*()");
    CLEANUP(text_free) char *text = malloc(size);
    int result = text ? regex_new(&itself, expression, fault) : -ENOMEM;

    if (result < 0)
        return result;
    snprintf(text, size, "%s.*(%s)", folds ? nocase : "",
             folds ? expression + strlen(nocase) : expression);
    result = regex_new(&anywhere, text, fault);
    fault->at = 0; /* of the expression, not of this text */
    return result;
}

static void read_own_pattern(struct compile *c, const struct node *node,
                             struct policy_bodies *bodies)
{
    const struct node *name = compile_find_text(node, "name");
    const struct node *regex = compile_find_text(node, "regex");
    struct policy_body_pattern *made = NULL;
    struct scan_set *compiled = NULL;
    struct regex_fault fault = {0};
    size_t which;
    int result;

    compile_map(c, node, &pattern_shape, NULL);
    if (name && (!name->text[0] || strlen(name->text) > NAME_MAX_LEN ||
                 strspn(name->text, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(name->text)))
        faults_add(c->faults, name->mark,
                   "'%.100s' cannot be the name of a pattern: small letters, digits and '-', at "
                   "most %d",
                   name->text, NAME_MAX_LEN);
    else if (name && inspect_is_built_in(name->text))
        faults_add(c->faults, name->mark, "'%s' is built in; give yours another name", name->text);
    else if (name)
        made = add_pattern(c, bodies, name);
    if (!regex)
        return;
    result = scan_set_new(&compiled, (const char *const[]){regex->text}, 1, &which, &fault);
    if (result == 0)
        result = check_speed(regex->text, &fault);
    if (result == -ENOMEM)
        c->no_memory = true;
    else if (result < 0)
        faults_add(c->faults, compile_mark_in(c, regex, fault.at), "this cannot be looked for: %s",
                   fault.text);
    scan_set_free(&compiled);
    if (made)
        made->regex = compile_copy(c, regex->text);
}

static void read_patterns(struct compile *c, const struct node *node, const struct key *key,
                          void *into)
{
    struct policy_bodies *bodies = into;

    if (compile_is_empty(c, node))
        faults_add(c->faults, node->mark, "patterns is empty: say what to look for");
    for (const struct node *at = node->first; at; at = at->next)
        if (at->kind == NODE_MAP)
            read_own_pattern(c, at, bodies);
        else if (at->kind == NODE_LIST)
            faults_add(c->faults, at->mark, "a pattern is a text, or {name: …, regex: …}");
        else if (inspect_is_built_in(at->text))
            add_pattern(c, bodies, at);
        else
            compile_unknown(c, at->mark, key->name, at->text, inspect_built_in);
}

static void read_direction(struct compile *c, const struct node *node, const struct key *key,
                           void *into)
{
    static const char *const words[] = {"", "request", "response", "both", NULL};
    struct policy_bodies *bodies = into;

    for (int i = POLICY_REQUEST; words[i]; i++)
        if (strcmp(words[i], node->text) == 0) {
            bodies->direction = (enum policy_direction)i;
            return;
        }
    compile_unknown(c, node->mark, key->name, node->text, words);
}

static const char *const actions[] = {
    [VERDICT_ALLOW] = "", [VERDICT_DENY] = "deny", [VERDICT_ALERT] = "alert", [VERDICT_MAX] = NULL};
_Static_assert(sizeof(enum verdict) == sizeof(int), "compile_word writes an int");

static void read_size(struct compile *c, const struct node *node, const struct key *key, void *into)
{
    static const struct {
        const char *word;
        uint64_t bytes;
    } units[] = {{"", 1},         {"k", 1000},     {"M", 1000000},   {"Ki", 1 << 10},
                 {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"G", 1000000000}};
    struct policy_bodies *bodies = into;
    size_t digits = strspn(node->text, "0123456789");
    uint64_t most = UINT64_C(1) << 40, value;

    for (size_t i = 0; digits && digits < 14 && i < ARRAY_SIZE(units); i++) {
        value = strtoull(node->text, NULL, 10);
        if (strcmp(node->text + digits, units[i].word) == 0 && value &&
            value <= most / units[i].bytes) {
            bodies->max_bytes = value * units[i].bytes;
            return;
        }
    }
    faults_add(c->faults, node->mark,
               "%s is no size: '%.100s'; say such as 64Ki or 1Mi, up to "
               "1024Gi",
               key->name, node->text);
}

static const struct key bodies_keys[] = {
    {.name = "patterns", .kind = NODE_LIST, .read = read_patterns, .must = true},
    {.name = "direction", .kind = NODE_TEXT, .read = read_direction},
    {.name = "action",
     .kind = NODE_TEXT,
     .read = compile_word,
     .field = offsetof(struct policy_bodies, action),
     .words = actions},
    {.name = "maxBytes", .kind = NODE_TEXT, .read = read_size},
};
static const struct shape bodies_shape = {"an item of bodies", bodies_keys,
                                          ARRAY_SIZE(bodies_keys)};

static void read_bodies(struct compile *c, const struct node *node, size_t i, const struct key *key,
                        void *into)
{
    struct policy *policy = into;
    struct policy_bodies *made =
        compile_grow(c, &policy->bodies, &policy->bodies_len, sizeof(*made));
    size_t before = compile_enter(c, "%s[%zu]", key->name, i);

    if (made) {
        made->direction = POLICY_BOTH;
        made->action = VERDICT_ALERT;
        made->max_bytes = UINT64_MAX;
        compile_place(c, &made->place, node->mark);
        compile_map(c, node, &bodies_shape, made);
    }
    compile_leave(c, before);
}

/* ---- all of it ---- */

static const char *const inspect_words[] = {[POLICY_INSPECT_OFF] = "off",
                                            [POLICY_INSPECT_ALERT] = "alert",
                                            [POLICY_INSPECT_DENY] = "deny",
                                            [POLICY_INSPECT_MAX] = NULL};
_Static_assert(sizeof(enum policy_inspect) == sizeof(int), "compile_word writes an int");

static void read_inspect(struct compile *c, const struct node *node, const struct key *key,
                         void *into)
{
    struct policy *policy = into;
    size_t before = compile_enter(c, "%s", key->name);

    compile_place(
        c, strcmp(key->name, "tokens") == 0 ? &policy->tokens_place : &policy->consistency_place,
        node->mark);
    compile_word(c, node, key, into);
    compile_leave(c, before);
}

static const struct key inspect_keys[] = {
    {.name = "consistency",
     .kind = NODE_TEXT,
     .read = read_inspect,
     .field = offsetof(struct policy, consistency),
     .words = inspect_words},
    {.name = "bodies",
     .kind = NODE_LIST,
     .item = read_bodies,
     .items = NODE_MAP,
     .empty = "leave it out"},
    {.name = "tokens",
     .kind = NODE_TEXT,
     .read = read_inspect,
     .field = offsetof(struct policy, tokens),
     .words = inspect_words},
};
static const struct shape inspect_shape = {"inspect", inspect_keys, ARRAY_SIZE(inspect_keys)};

void compile_inspect(struct compile *c, const struct node *node, const struct key *key, void *into)
{
    size_t before = compile_enter(c, "%s", key->name);

    compile_map(c, node, &inspect_shape, into);
    if (compile_is_empty(c, node))
        faults_add(c->faults, node->mark, "inspect says nothing; leave it out");
    compile_leave(c, before);
}
