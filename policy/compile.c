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
    char *copy = NULL;

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
     .field = offsetof(struct policy, name),
     .must = true},
    {.name = "namespace",
     .kind = NODE_TEXT,
     .read = read_name,
     .field = offsetof(struct policy, space)},
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

static void read_metadata(struct compile *c, const struct node *node, const struct key *key,
                          void *into)
{
    const struct node *name = compile_find(node, "name");

    (void)key;
    compile_map(c, node, &metadata_shape, into);
    c->policy->mark = name ? name->mark : node->mark;
}

/* ---- a TrafficPolicy ---- */

static void read_spec(struct compile *c, const struct node *node, const struct key *key, void *into)
{
    (void)key;
    (void)into;
    compile_spec(c, node);
}

static const struct key root_keys[] = {
    {.name = "apiVersion", .read = compile_ignore},
    {.name = "kind", .read = compile_ignore},
    {.name = "metadata", .kind = NODE_MAP, .read = read_metadata, .must = true},
    {.name = "spec", .kind = NODE_MAP, .read = read_spec, .must = true},
};
static const struct shape root_shape = {"a TrafficPolicy", root_keys, ARRAY_SIZE(root_keys)};

/* What it is called, once that is known; false: no memory. */
static bool complete(struct compile *c, const struct node *where)
{
    struct policy *policy = c->policy;

    if (!policy->name)
        policy->name = compile_copy(c, "");
    if (!policy->space)
        policy->space = compile_copy(c, "");
    policy->file = compile_copy(c, c->file);
    policy->place = (struct policy_place){
        .rule = compile_copy(c, policy->has_egress ? "egress" : "spec"), .mark = where->mark};
    if (c->no_memory)
        return false;
    if (asprintf(&policy->id, "%s%s%s", policy->space, policy->space[0] ? "/" : "", policy->name) >=
        0)
        return true;
    policy->id = NULL;
    c->no_memory = true;
    return false;
}

static void compile_traffic(struct compile *c, const struct node *root, struct policy_list *made)
{
    CLEANUP(policy_unref) struct policy *policy = calloc(1, sizeof(*policy));
    const struct node *spec = compile_find(root, "spec"), *egress;

    if (!policy) {
        c->no_memory = true;
        return;
    }
    atomic_init(&policy->refs, 1);
    c->policy = policy;
    compile_map(c, root, &root_shape, policy);
    egress = spec ? compile_find(spec, "egress") : NULL;
    if (!complete(c, egress ? egress : spec ? spec : root))
        return;
    if (reserve(made, 1))
        made->list[made->len++] = TAKE(policy);
    else
        c->no_memory = true;
}

/* ---- kinds ---- */

static const char ours[] = "sallyport.io/v1";
static const char *const kinds[] = {"TrafficPolicy", NULL};

static void compile_document(struct compile *c, const struct node *root, struct policy_list *made)
{
    const struct node *kind, *version;

    if (root->kind != NODE_MAP) {
        faults_add(c->faults, root->mark,
                   "%s stands where a policy should: apiVersion, kind, "
                   "metadata and spec",
                   node_kind_name(root->kind));
        return;
    }
    kind = compile_find(root, "kind");
    version = compile_find(root, "apiVersion");
    if (!kind || kind->kind != NODE_TEXT) {
        faults_add(c->faults, kind ? kind->mark : root->mark,
                   "kind is missing; say kind: TrafficPolicy");
        return;
    }
    if (strcmp(kind->text, kinds[0]) != 0) {
        compile_unknown(c, kind->mark, "kind", kind->text, kinds);
        return;
    }
    if (!version || version->kind != NODE_TEXT || strcmp(version->text, ours) != 0)
        faults_add(c->faults, version ? version->mark : root->mark,
                   "the apiVersion of a TrafficPolicy is %s", ours);
    compile_traffic(c, root, made);
}

/* ---- the file ---- */

/* Two of one name: which of them an event is about nobody could say. */
static void check_twins(struct compile *c, const struct policy_list *known,
                        const struct policy_list *made, size_t from)
{
    const struct policy_list *lists[] = {known, made};

    for (size_t i = from; i < made->len; i++)
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
            for (size_t j = 0; j < (lists[l] == made ? from : known->len); j++) {
                const struct policy *other = lists[l]->list[j], *policy = made->list[i];

                if (strcmp(other->id, policy->id) == 0 && policy->name[0])
                    faults_add(c->faults, policy->mark,
                               "the policy '%.100s' stands already in %.200s, line %u", policy->id,
                               other->file, other->mark.line);
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

    if (document_parse(&document, bytes, faults) == -ENOMEM)
        return -ENOMEM;
    root = document_first(document);
    if (!root && faults_count(faults) == before &&
        (!bytes.len || !memchr(bytes.data, '#', bytes.len)))
        faults_add(faults, (struct mark){0},
                   "holds no policy; a comment in it would say that it "
                   "is meant to be empty");
    for (; root && !c.no_memory; root = root->next) {
        size_t from = made.len;

        if (!node_is_null(root))
            compile_document(&c, root, &made);
        check_twins(&c, list, &made, from);
    }
    if (c.no_memory || !reserve(list, made.len))
        return -ENOMEM;
    if (faults_count(faults) > before)
        return -EINVAL;
    for (size_t i = 0; i < made.len; i++)
        list->list[list->len++] = TAKE(made.list[i]);
    made.len = 0;
    return 0;
}
