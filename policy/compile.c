/* A file's documents, one by one: what kind each is, and what it is called. */
#include "policy/compile_own.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/suggest.h"

enum { LABEL_MAX = 63, NAME_MAX_LEN = 253 };

void policy_list_fini(struct policy_list *list)
{
    while (list->len)
        policy_unref(&list->list[--list->len]);
    free(TAKE(list->list));
    list->room = 0;
}

/* Room for so many more. */
static bool reserve(struct policy_list *list, size_t more)
{
    size_t room = list->room ? list->room : 8;
    struct policy **grown;

    while (room < list->len + more)
        room *= 2;
    if (room == list->room)
        return true;
    grown = realloc(list->list, room * sizeof(struct policy *));
    if (!grown)
        return false;
    list->list = grown;
    list->room = room;
    return true;
}

/* ---- names ---- */

/* RFC 1123: labels of small letters, digits and '-', with dots between where those are allowed. */
static bool is_name(const char *text, size_t most, bool dots)
{
    size_t len = strlen(text), label = 0;

    for (size_t i = 0; i <= len; i++) {
        bool end = i == len || (dots && text[i] == '.');

        if (end && (!label || label > LABEL_MAX || text[i - 1] == '-' || text[i - label] == '-'))
            return false;
        if (!end && !(text[i] >= 'a' && text[i] <= 'z') && !(text[i] >= '0' && text[i] <= '9') &&
            text[i] != '-')
            return false;
        label = end ? 0 : label + 1;
    }
    return len <= most;
}

static void read_name(struct compile *c, const struct node *node, const struct key *key, void *into)
{
    bool space = strcmp(key->name, "namespace") == 0;
    char *copy;

    if (!is_name(node->text, space ? LABEL_MAX : NAME_MAX_LEN, !space))
        faults_add(c->faults, node->mark,
                   "'%.100s' cannot be a %s: small letters, digits%s and '-', a letter or digit at "
                   "both ends, at most %d",
                   node->text, key->name, space ? "" : ", '.'", space ? LABEL_MAX : NAME_MAX_LEN);
    copy = compile_copy(c, node->text);
    memcpy((char *)into + key->field, &copy, sizeof(copy));
}

/* What Kubernetes adds to what it keeps is let be. */
static const struct key metadata_keys[] = {
    {.name = "name",
     .kind = NODE_TEXT,
     .read = read_name,
     .field = offsetof(struct title, name),
     .must = true},
    {.name = "namespace",
     .kind = NODE_TEXT,
     .read = read_name,
     .field = offsetof(struct title, space)},
    {.name = "labels", .read = compile_ignore},
    {.name = "annotations", .read = compile_ignore},
    {.name = "uid", .read = compile_ignore},
    {.name = "resourceVersion", .read = compile_ignore},
    {.name = "creationTimestamp", .read = compile_ignore},
    {.name = "generation", .read = compile_ignore},
    {.name = "managedFields", .read = compile_ignore},
    {.name = "ownerReferences", .read = compile_ignore},
    {.name = "finalizers", .read = compile_ignore},
    {.name = "selfLink", .read = compile_ignore},
};
static const struct shape metadata_shape = {"metadata", metadata_keys, ARRAY_SIZE(metadata_keys)};

void compile_metadata(struct compile *c, const struct node *node, const struct key *key, void *into)
{
    const struct node *name = compile_find(node, "name");
    struct title *title = into;

    (void)key;
    title->mark = name ? name->mark : node->mark;
    compile_map(c, node, &metadata_shape, title);
}

void title_fini(struct title *title)
{
    free(title->name);
    free(title->space);
}

/* ---- a policy ---- */

/* What it is called and where it stands; false: no memory. */
static bool complete(struct compile *c, const struct title *title, const char *suffix,
                     const struct node *spec)
{
    const struct node *egress = compile_find(spec, "egress");
    struct policy *policy = c->policy;
    size_t before = compile_enter(c, policy->has_egress ? "egress" : "spec");

    compile_place(c, &policy->place, egress ? egress->mark : spec->mark);
    compile_leave(c, before);
    policy->name = compile_copy(c, title->name ? title->name : "");
    policy->space = compile_copy(c, title->space ? title->space : "");
    policy->file = compile_copy(c, c->file);
    policy->mark = title->mark;
    if (c->no_memory)
        return false;
    if (asprintf(&policy->id, "%s%s%s%s", policy->space, policy->space[0] ? "/" : "", policy->name,
                 suffix) >= 0)
        return true;
    policy->id = NULL;
    c->no_memory = true;
    return false;
}

void compile_policy(struct compile *c, const struct title *title, const char *suffix,
                    const struct node *spec, struct policy_list *made)
{
    CLEANUP(policy_unref) struct policy *policy = calloc(1, sizeof(*policy));

    if (!policy) {
        c->no_memory = true;
        return;
    }
    atomic_init(&policy->refs, 1);
    c->policy = policy;
    if (c->cilium)
        cilium_spec(c, spec);
    else
        compile_spec(c, spec);
    if (!complete(c, title, suffix, spec))
        return;
    if (reserve(made, 1))
        made->list[made->len++] = TAKE(policy);
    else
        c->no_memory = true;
}

static const struct key root_keys[] = {
    {.name = "apiVersion", .read = compile_ignore},
    {.name = "kind", .read = compile_ignore},
    {.name = "metadata", .kind = NODE_MAP, .read = compile_metadata, .must = true},
    {.name = "spec", .kind = NODE_MAP, .read = compile_keep, .must = true},
};
static const struct shape root_shape = {"a TrafficPolicy", root_keys, ARRAY_SIZE(root_keys)};

static void compile_traffic(struct compile *c, const struct node *root, struct policy_list *made)
{
    CLEANUP(title_fini) struct title title = {0};
    const struct node *spec = compile_find(root, "spec");

    compile_map(c, root, &root_shape, &title);
    if (spec && spec->kind == NODE_MAP)
        compile_policy(c, &title, "", spec, made);
}

/* ---- kinds ---- */

static const struct {
    const char *name, *version;
    void (*compile)(struct compile *c, const struct node *root, struct policy_list *made);
    const char *why; /* others know it, but we do not */
} kinds[] = {
    {"TrafficPolicy", "sallyport.io/v1", compile_traffic, NULL},
    {"CiliumNetworkPolicy", "cilium.io/v2", cilium_compile, NULL},
    {"CiliumClusterwideNetworkPolicy", "cilium.io/v2", cilium_compile, NULL},
    {"NetworkPolicy", NULL, NULL, "its egress can be said as that of a TrafficPolicy"},
    {"TracingPolicy", NULL, NULL, "what programs do with files and kernel is Tetragon's to judge"},
    {"TracingPolicyNamespaced", NULL, NULL,
     "what programs do with files and kernel is Tetragon's to judge"},
    {"List", NULL, NULL, "write its items as documents of their own, with '---' between"},
};

static size_t kind_of(const char *name)
{
    size_t at = 0;

    while (at < ARRAY_SIZE(kinds) && strcmp(kinds[at].name, name) != 0)
        at++;
    return at;
}

/* Which of ours one is taken for that is none, so that what else is wrong with it is told, too. */
static size_t unknown_kind(struct compile *c, const struct node *kind, const struct node *version)
{
    const char *known[ARRAY_SIZE(kinds) + 1] = {NULL}, *meant;
    size_t len = 0;

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (kinds[i].compile)
            known[len++] = kinds[i].name;
    compile_unknown(c, kind->mark, "kind", kind->text, known);
    meant = suggest(kind->text, known, len);
    if (meant)
        return kind_of(meant);
    for (size_t i = 0; version && version->kind == NODE_TEXT && i < ARRAY_SIZE(kinds); i++)
        if (kinds[i].compile && strcmp(kinds[i].version, version->text) == 0)
            return i;
    return ARRAY_SIZE(kinds);
}

/* All that can be said of what is no policy of ours. */
static void check_metadata(struct compile *c, const struct node *root)
{
    CLEANUP(title_fini) struct title title = {0};
    const struct node *metadata = compile_find(root, "metadata");

    if (metadata && metadata->kind == NODE_MAP)
        compile_metadata(c, metadata, NULL, &title);
}

static void compile_kind(struct compile *c, const struct node *root, const struct node *kind,
                         struct policy_list *made)
{
    const struct node *version = compile_find(root, "apiVersion");
    size_t at = kind_of(kind->text);

    if (at == ARRAY_SIZE(kinds))
        at = unknown_kind(c, kind, version);
    else if (kinds[at].why)
        faults_add(c->faults, kind->mark, "the kind %s is not supported: %s", kind->text,
                   kinds[at].why);
    if (at == ARRAY_SIZE(kinds) || kinds[at].why) {
        check_metadata(c, root);
        return;
    }
    if (!version && !c->cut)
        faults_add(c->faults, root->mark, "apiVersion is missing; that of a %s is %s",
                   kinds[at].name, kinds[at].version);
    else if (version &&
             (version->kind != NODE_TEXT || strcmp(version->text, kinds[at].version) != 0))
        faults_add(c->faults, version->mark, "the apiVersion of a %s is %s", kinds[at].name,
                   kinds[at].version);
    c->cilium = kinds[at].compile == cilium_compile;
    kinds[at].compile(c, root, made);
}

static void compile_document(struct compile *c, const struct node *root, struct policy_list *made)
{
    const struct node *kind = compile_find(root, "kind");

    if (root->kind != NODE_MAP)
        faults_add(c->faults, root->mark,
                   "%s stands where a policy should: apiVersion, kind, metadata and spec",
                   node_kind_name(root->kind));
    else if (!kind && c->cut)
        return;
    else if (!kind || kind->kind != NODE_TEXT || node_is_null(kind))
        faults_add(c->faults, kind ? kind->mark : root->mark,
                   "kind is missing; say kind: TrafficPolicy");
    else
        compile_kind(c, root, kind, made);
}

/* ---- the file ---- */

/* Two of one name: which of them an event is about nobody could say. Those of one document have
 * one. */
static void check_twins(struct compile *c, const struct policy_list *known,
                        const struct policy_list *made, size_t from)
{
    const struct policy *policy = from < made->len ? made->list[from] : NULL;

    for (size_t i = 0; policy && i < known->len + from; i++) {
        const struct policy *other = i < known->len ? known->list[i] : made->list[i - known->len];

        if (strcmp(other->name, policy->name) != 0 || strcmp(other->space, policy->space) != 0 ||
            !policy->name[0])
            continue;
        faults_add(c->faults, policy->mark,
                   "a policy '%.100s%s%.100s' stands already in %.200s, "
                   "line %u",
                   policy->space, policy->space[0] ? "/" : "", policy->name, other->file,
                   other->mark.line);
        return;
    }
}

int policy_compile(struct policy_list *list, struct span bytes, const char *file,
                   struct faults *faults)
{
    CLEANUP(document_free) struct document *document = NULL;
    CLEANUP(policy_list_fini) struct policy_list made = {0};
    struct compile c = {.faults = faults, .bytes = bytes, .file = file};
    size_t before = faults_count(faults);
    const struct node *root;
    bool empty = true;

    if (document_parse(&document, bytes, faults) == -ENOMEM)
        return -ENOMEM;
    c.cut = !document_is_whole(document);
    for (root = document_first(document); root && !c.no_memory; root = root->next) {
        size_t from = made.len;

        if (node_is_null(root))
            continue;
        empty = false;
        compile_document(&c, root, &made);
        check_twins(&c, list, &made, from);
    }
    if (empty && faults_count(faults) == before &&
        (!bytes.len || !memchr(bytes.data, '#', bytes.len)))
        faults_add(faults, (struct mark){0},
                   "holds no policy; a comment in it would say that it "
                   "is meant to be empty");
    if (c.no_memory || !reserve(list, made.len))
        return -ENOMEM;
    if (faults_count(faults) > before)
        return -EINVAL;
    for (size_t i = 0; i < made.len; i++)
        list->list[list->len++] = TAKE(made.list[i]);
    made.len = 0;
    return 0;
}
