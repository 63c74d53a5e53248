/* For whom a policy is: labels of pods as Kubernetes selects by them, binaries as Tetragon does. */
#include "policy/compile_own.h"

#include <string.h>

enum { LABEL_MAX = 63, PREFIX_MAX = 253 };

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* A label's value, or the name in its key. */
static bool is_label(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_letter(text[i]) && !strchr("-_.", text[i]))
            return false;
    return len && len <= LABEL_MAX && is_letter(text[0]) && is_letter(text[len - 1]);
}

static bool read_label_key(struct compile *c, struct mark mark, const char *key)
{
    const char *slash = strchr(key, '/'), *name = slash ? slash + 1 : key;
    size_t prefix = slash ? (size_t)(slash - key) : 0;
    bool fine = is_label(name, strlen(name)) && prefix <= PREFIX_MAX && (!slash || prefix);

    for (size_t i = 0; i < prefix; i++)
        fine &= is_letter(key[i]) || key[i] == '-' || key[i] == '.';
    if (!fine)
        faults_add(c->faults, mark,
                   "'%.100s' cannot be the key of a label; such is 'app' or "
                   "'app.kubernetes.io/name'",
                   key);
    return fine;
}

static void check_value(struct compile *c, struct mark mark, const char *value)
{
    if (*value && !is_label(value, strlen(value)))
        faults_add(c->faults, mark,
                   "'%.100s' cannot be the value of a label: letters, digits, "
                   "'-', '_' and '.', at most %d",
                   value, LABEL_MAX);
}

/* Cilium says where a label comes from: here all are Kubernetes'. NULL: none of ours. */
static const char *without_source(struct compile *c, struct mark mark, const char *key)
{
    static const char *const sources[] = {"k8s:", "any:"};
    const char *colon = strchr(key, ':');

    if (!c->cilium || !colon)
        return key;
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
        if (strncmp(key, sources[i], strlen(sources[i])) == 0)
            return colon + 1;
    faults_add(c->faults, mark, "labels of the source '%.*s' are not known here; k8s: and any: are",
               (int)(colon - key > 60 ? 60 : colon - key), key);
    return NULL;
}

/* NULL: a fault, or no memory. */
static struct policy_requirement *add(struct compile *c, struct mark mark, const char *key)
{
    struct policy_requirement *made;

    key = without_source(c, mark, key);
    if (!key || !read_label_key(c, mark, key))
        return NULL;
    if (strncmp(key, "io.cilium.", strlen("io.cilium.")) == 0) {
        faults_add(c->faults, mark,
                   "'%.100s' is a label that Cilium makes, and is not known here; select by the "
                   "pod's own labels or by " POLICY_NAMESPACE_LABEL,
                   key);
        return NULL;
    }
    made = compile_grow(c, &c->policy->selector, &c->policy->selector_len, sizeof(*made));
    if (made)
        made->key = compile_copy(c, key);
    return made;
}

static void read_labels(struct compile *c, const struct node *node, const struct key *key,
                        void *into)
{
    (void)into;
    for (const struct node *label = node->first; label; label = label->next) {
        struct policy_requirement *made;

        if (label->kind != NODE_TEXT) {
            faults_add(c->faults, label->mark, "a label of %s takes a text, not %s", key->name,
                       node_kind_name(label->kind));
            continue;
        }
        check_value(c, label->mark, label->text);
        made = add(c, label->key_mark, label->key);
        if (!made)
            continue;
        made->operator= POLICY_IN;
        compile_add_text(c, label->text, &made->values, &made->values_len);
    }
}

static void read_value(struct compile *c, const struct node *node, size_t i, const struct key *key,
                       void *into)
{
    struct policy_requirement *made = into;

    (void)i;
    (void)key;
    check_value(c, node->mark, node->text);
    compile_add_text(c, node->text, &made->values, &made->values_len);
}

static const char *const operators[] = {[POLICY_IN] = "In",
                                        [POLICY_NOT_IN] = "NotIn",
                                        [POLICY_EXISTS] = "Exists",
                                        [POLICY_DOES_NOT_EXIST] = "DoesNotExist",
                                        [POLICY_DOES_NOT_EXIST + 1] = NULL};

static const struct key requirement_keys[] = {
    {.name = "key", .kind = NODE_TEXT, .read = compile_keep, .must = true},
    {.name = "operator",
     .kind = NODE_TEXT,
     .read = compile_word,
     .field = offsetof(struct policy_requirement, operator),
     .words = operators,
     .must = true},
    {.name = "values", .kind = NODE_LIST, .item = read_value, .items = NODE_TEXT},
};
static const struct shape requirement_shape = {"a requirement of matchExpressions",
                                               requirement_keys, ARRAY_SIZE(requirement_keys)};

static void read_requirement(struct compile *c, const struct node *node, size_t i,
                             const struct key *key, void *into)
{
    const struct node *label = compile_find_text(node, "key");
    const struct node *values = compile_find(node, "values");
    struct policy_requirement none = {0}, *made = label ? add(c, label->mark, label->text) : NULL;
    bool listed;

    (void)i;
    (void)key;
    (void)into;
    if (!made)
        made = &none;
    compile_map(c, node, &requirement_shape, made);
    listed = made->operator== POLICY_IN || made->operator== POLICY_NOT_IN;
    if (compile_find(node, "operator") && listed != (made->values_len > 0))
        faults_add(c->faults, values ? values->key_mark : node->mark,
                   listed ? "the operators In and NotIn take values"
                          : "the operators Exists and DoesNotExist take no values");
    while (none.values_len)
        free(none.values[--none.values_len]);
    free(none.values);
}

static const struct key selector_keys[] = {
    {.name = "matchLabels", .kind = NODE_MAP, .read = read_labels},
    {.name = "matchExpressions",
     .kind = NODE_LIST,
     .item = read_requirement,
     .items = NODE_MAP,
     .empty = "leave it out, or say what a pod's labels must be"},
};
const struct shape compile_selector = {"a selector of pods", selector_keys,
                                       ARRAY_SIZE(selector_keys)};

/* ---- binaries ---- */

static void read_path(struct compile *c, const struct node *node, size_t i, const struct key *key,
                      void *into)
{
    struct policy_binaries *made = into;

    (void)i;
    (void)key;
    if (!node->text[0])
        faults_add(c->faults, node->mark, "an empty value says nothing of a binary's path");
    compile_add_text(c, node->text, &made->values, &made->values_len);
}

static const char *const binary_operators[] = {[POLICY_IN] = "In",
                                               [POLICY_NOT_IN] = "NotIn",
                                               [POLICY_EXISTS] = "",
                                               [POLICY_DOES_NOT_EXIST] = "",
                                               [POLICY_PREFIX] = "Prefix",
                                               [POLICY_NOT_PREFIX] = "NotPrefix",
                                               [POLICY_POSTFIX] = "Postfix",
                                               [POLICY_NOT_POSTFIX] = "NotPostfix",
                                               [POLICY_NOT_POSTFIX + 1] = NULL};
_Static_assert(sizeof(enum policy_operator) == sizeof(int), "compile_word writes an int");

static const struct key binaries_keys[] = {
    {.name = "operator",
     .kind = NODE_TEXT,
     .read = compile_word,
     .field = offsetof(struct policy_binaries, operator),
     .words = binary_operators,
     .must = true},
    {.name = "values",
     .kind = NODE_LIST,
     .item = read_path,
     .items = NODE_TEXT,
     .empty = "say the paths of binaries",
     .must = true},
    {.name = "followChildren",
     .kind = NODE_TEXT,
     .read = compile_truth,
     .field = offsetof(struct policy_binaries, follow_children)},
};
static const struct shape binaries_shape = {"an item of matchBinaries", binaries_keys,
                                            ARRAY_SIZE(binaries_keys)};

void compile_binaries(struct compile *c, const struct node *node, size_t i, const struct key *key,
                      void *into)
{
    struct policy *policy = into;
    struct policy_binaries *made =
        compile_grow(c, &policy->binaries, &policy->binaries_len, sizeof(*made));
    const struct node *values = compile_find(node, "values");
    bool tail;

    (void)i;
    (void)key;
    if (!made)
        return;
    compile_map(c, node, &binaries_shape, made);
    tail = made->operator== POLICY_POSTFIX || made->operator== POLICY_NOT_POSTFIX;
    for (const struct node *at = values ? values->first : NULL; at && !tail; at = at->next)
        if (at->kind == NODE_TEXT && at->text[0] && at->text[0] != '/')
            faults_add(c->faults, at->mark,
                       "'%.100s' is no path from the root on; say it whole, or the operator "
                       "Postfix",
                       at->text);
}
