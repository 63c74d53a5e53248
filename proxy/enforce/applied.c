#include "proxy/enforce/applied.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "certs/file.h"
#include "policy/document.h"

static const char suffix[] = ".yaml";

/* ---- texts ---- */

static void text_unref(struct applied_text **text)
{
    struct applied_text *gone = TAKE(*text);

    if (!gone || --gone->refs)
        return;
    free(gone->file);
    free(gone->data);
    free(gone);
}

static int text_new(struct applied_text **out, struct span bytes, const char *file)
{
    CLEANUP(text_unref) struct applied_text *text = calloc(1, sizeof(*text));
    unsigned char digest[SHA256_DIGEST_LENGTH];

    if (!text)
        return -ENOMEM;
    text->refs = 1;
    text->file = strdup(file);
    text->data = malloc(bytes.len + 1);
    if (!text->file || !text->data)
        return -ENOMEM;
    memcpy(text->data, bytes.data, bytes.len);
    text->len = bytes.len;
    SHA256(text->data, text->len, digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(text->digest + 2 * i, 3, "%02x", digest[i]);
    *out = TAKE(text);
    return 0;
}

/* ---- what a document means ---- */

static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
    const unsigned char *at = data;

    while (len--)
        hash = (hash ^ *at++) * UINT64_C(0x100000001b3); /* FNV-1a */
    return hash;
}

static uint64_t mix_text(uint64_t hash, const char *text)
{
    return mix(hash, text ? text : "", text ? strlen(text) + 1 : 1);
}

/* Depth is bounded by DOCUMENT_DEPTH_MAX. */
static uint64_t mix_node(uint64_t hash, const struct node *node)
{
    hash = mix_text(hash, node->key);
    hash = mix(hash, &node->kind, sizeof(node->kind));
    hash = mix(hash, &node->quoted, sizeof(node->quoted));
    hash = mix_text(hash, node->text);
    hash = mix(hash, &node->len, sizeof(node->len));
    for (const struct node *item = node->kind == NODE_TEXT ? NULL : node->first; item;
         item = item->next)
        hash = mix_node(hash, item);
    return hash;
}

/* Of the document in which the line is; policies are asked for in their order. */
static uint64_t meaning(const struct node *document, unsigned line)
{
    while (document && document->next && document->next->mark.line <= line)
        document = document->next;
    return document ? mix_node(UINT64_C(0xcbf29ce484222325), document) : 0;
}

/* ---- the list ---- */

static void forget(struct applied_policy *one)
{
    policy_unref(&one->policy);
    text_unref(&one->text);
}

void applied_fini(struct applied *applied)
{
    while (applied->len)
        forget(&applied->list[--applied->len]);
    free(applied->list);
    *applied = (struct applied){0};
}

static struct applied_policy *find(const struct applied *applied, const char *id)
{
    for (size_t i = 0; i < applied->len; i++)
        if (strcmp(applied->list[i].policy->id, id) == 0)
            return &applied->list[i];
    return NULL;
}

const struct applied_policy *applied_find(const struct applied *applied, const char *id)
{
    return find(applied, id);
}

static struct applied_policy refer(const struct applied_policy *one)
{
    one->text->refs++;
    return (struct applied_policy){policy_ref(one->policy), one->text, one->meaning};
}

static int append(struct applied *applied, const struct applied_policy *one)
{
    if (applied->len == applied->room) {
        size_t room = applied->room ? applied->room * 2 : 16;
        struct applied_policy *grown = realloc(applied->list, room * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        applied->list = grown;
        applied->room = room;
    }
    applied->list[applied->len++] = refer(one);
    return 0;
}

int applied_put(struct applied *applied, const struct applied_policy *one)
{
    struct applied_policy *same = find(applied, one->policy->id);
    struct applied_policy gone;

    if (!same)
        return append(applied, one);
    gone = *same;
    *same = refer(one);
    forget(&gone);
    return 0;
}

void applied_drop(struct applied *applied, const char *id)
{
    struct applied_policy *gone = find(applied, id);

    forget(gone);
    applied->len--;
    memmove(gone, gone + 1, (size_t)(applied->list + applied->len - gone) * sizeof(*gone));
}

int applied_copy(struct applied *out, const struct applied *from)
{
    int result = 0;

    for (size_t i = 0; result == 0 && i < from->len; i++)
        result = append(out, &from->list[i]);
    return result;
}

bool applied_compile(struct applied *fresh, struct policy_list *list, struct span bytes,
                     const char *file, struct policy_story *story)
{
    CLEANUP(document_free) struct document *document = NULL;
    CLEANUP(faults_fini) struct faults faults = {0};
    CLEANUP(text_unref) struct applied_text *text = NULL;
    size_t before = list->len;
    int result;

    if (!policy_files_compile(list, bytes, file, story))
        return false;
    result = document_parse(&document, bytes, &faults);
    if (result == 0)
        result = text_new(&text, bytes, file);
    for (size_t i = before; result == 0 && i < list->len; i++) {
        struct policy *policy = list->list[i];
        const struct applied_policy one = {
            policy, text, meaning(document_first(document), policy->place.mark.line)};

        result = append(fresh, &one);
    }
    if (result < 0)
        policy_story_add(story, file, "out of memory");
    return result == 0;
}

/* ---- on disk ---- */

static bool is_first(const struct applied *applied, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (applied->list[i].text == applied->list[at].text)
            return false;
    return true;
}

static json_t *write_policies(const struct applied *applied, const struct applied_text *text)
{
    json_t *policies = json_array();

    for (size_t i = 0; policies && i < applied->len; i++)
        if (applied->list[i].text == text &&
            json_array_append_new(policies, json_string(applied->list[i].policy->id)) < 0)
            json_decref(TAKE(policies));
    return policies;
}

/* [{"file", "text", "policies": [ID…]}…], each text once. */
static json_t *write_index(const struct applied *applied)
{
    json_t *index = json_array();

    for (size_t i = 0; index && i < applied->len; i++) {
        const struct applied_text *text = applied->list[i].text;

        if (is_first(applied, i) &&
            json_array_append_new(index, json_pack("{s:s, s:s, s:o}", "file", text->file, "text",
                                                   text->digest, "policies",
                                                   write_policies(applied, text))) < 0)
            json_decref(TAKE(index));
    }
    return index;
}

static char *path_of(const char *dir, const char *name, const char *end)
{
    char *path = NULL;

    return asprintf(&path, "%s/%s%s", dir, name, end) < 0 ? NULL : path;
}

static int write_file(const char *dir, const char *name, const char *end, struct span bytes,
                      struct err *err)
{
    const struct file ours = {.mode = 0600, .uid = geteuid(), .gid = getegid()};
    CLEANUP(text_free) char *path = path_of(dir, name, end);

    return path ? file_replace(path, bytes, &ours, err) : err_set(err, -ENOMEM, "%s", dir);
}

static bool has_text(const struct applied *applied, const char *name)
{
    for (size_t i = 0; i < applied->len; i++)
        if (strncmp(applied->list[i].text->digest, name, 64) == 0)
            return true;
    return false;
}

static void sweep(const struct applied *applied, const char *dir)
{
    DIR *all = opendir(dir);
    const struct dirent *entry;

    while (all && (entry = readdir(all)))
        if (strlen(entry->d_name) == 64 + sizeof(suffix) - 1 &&
            strcmp(entry->d_name + 64, suffix) == 0 && !has_text(applied, entry->d_name))
            unlinkat(dirfd(all), entry->d_name, 0);
    if (all)
        closedir(all);
}

static int make_dir(const char *dir, struct err *err)
{
    CLEANUP(text_free) char *above = strdup(dir);
    char *slash = above ? strrchr(above, '/') : NULL;

    if (slash && slash != above) {
        *slash = 0;
        mkdir(above, 0755); /* /var/lib/sallyport, which a CA may have made */
    }
    return mkdir(dir, 0700) < 0 && errno != EEXIST ? err_sys(err, -errno, "making %s", dir) : 0;
}

/* The index is what counts, so it comes last. */
int applied_write(const struct applied *applied, const char *dir, struct err *err)
{
    json_t *index = write_index(applied);
    CLEANUP(text_free) char *text = index ? json_dumps(index, JSON_INDENT(1)) : NULL;
    int result = make_dir(dir, err);

    json_decref(index);
    if (result == 0 && !text)
        result = err_set(err, -ENOMEM, "%s: out of memory, or a name that is no text", dir);
    for (size_t i = 0; result == 0 && i < applied->len; i++) {
        const struct applied_text *one = applied->list[i].text;

        if (is_first(applied, i))
            result = write_file(dir, one->digest, suffix, span_of(one->data, one->len), err);
    }
    if (result == 0)
        result = write_file(dir, "index", ".json", span_of_text(text), err);
    if (result == 0)
        sweep(applied, dir);
    return result;
}

struct stat applied_look(const char *dir)
{
    CLEANUP(text_free) char *path = path_of(dir, "index", ".json");
    struct stat st;

    return path && stat(path, &st) == 0 ? st : (struct stat){0};
}

static int broken(const char *dir, const char *why, struct err *err)
{
    return err_set(err, -EINVAL,
                   "%s/index.json, of the policies that clients applied, %s; mend it, or remove it "
                   "to begin without them",
                   dir, why);
}

/* One text of the index. */
static int read_text(struct applied *out, const char *dir, const json_t *entry,
                     struct policy_story *story, struct err *err)
{
    const char *digest = json_string_value(json_object_get(entry, "text"));
    const char *name = json_string_value(json_object_get(entry, "file"));
    CLEANUP(policy_list_fini) struct policy_list all = {0};
    CLEANUP(applied_fini) struct applied fresh = {0};
    CLEANUP(file_free) struct file file = {0};
    CLEANUP(text_free) char *path = NULL;
    const json_t *id;
    int result;
    size_t i;

    if (!digest || strlen(digest) != 64 || strchr(digest, '/') || !name)
        return broken(dir, "names no text", err);
    path = path_of(dir, digest, suffix);
    result = path ? file_read(&file, path, err) : err_set(err, -ENOMEM, "%s", dir);
    if (result < 0)
        return result;
    if (!applied_compile(&fresh, &all, span_of(file.data, file.len), name, story))
        return 0;
    json_array_foreach(json_object_get(entry, "policies"), i, id)
    {
        const char *text = json_string_value(id);
        const struct applied_policy *one = text ? find(&fresh, text) : NULL;

        if (!one)
            return broken(dir, "names a policy that is not in its text", err);
        if (find(out, text))
            return broken(dir, "names a policy twice", err);
        if (append(out, one) < 0)
            return err_set(err, -ENOMEM, "%s", dir);
    }
    return 0;
}

int applied_read(struct applied *out, const char *dir, struct policy_story *story, struct err *err)
{
    CLEANUP(file_free) struct file file = {0};
    CLEANUP(text_free) char *path = path_of(dir, "index", ".json");
    json_t *index, *entry;
    json_error_t fault;
    int result = path ? file_read(&file, path, err) : err_set(err, -ENOMEM, "%s", dir);
    size_t i;

    if (result < 0)
        return result == -ENOENT ? 0 : result;
    index = json_loadb((const char *)file.data, file.len, JSON_REJECT_DUPLICATES, &fault);
    if (!json_is_array(index))
        result = broken(dir, "is not what an agent wrote", err);
    json_array_foreach(index, i, entry)
    {
        if (result == 0)
            result = read_text(out, dir, entry, story, err);
    }
    json_decref(index);
    if (result == 0 && story->faults)
        result = policy_story_summary(story, err);
    return result;
}
