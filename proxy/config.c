#include "proxy/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "certs/file.h"
#include "policy/document.h"
#include "policy/suggest.h"

const char config_default_file[] = "/etc/sallyport/sallyport.yaml";

static void *field_of(struct config *config, const struct config_key *key)
{
    return (char *)config + key->field;
}

/* What was said before does not count any more. */
static void *clear(struct config *config, const struct config_key *key)
{
    void *field = field_of(config, key);

    if (key->type->free)
        key->type->free(field);
    memset(field, 0, key->type->size);
    return field;
}

int config_new(struct config **out, struct err *err)
{
    CLEANUP(config_free) struct config *config = calloc(1, sizeof(*config));

    if (!config)
        return err_set(err, -ENOMEM, "the configuration");
    for (size_t i = 0; i < config_keys_len; i++) {
        const struct config_key *key = &config_keys[i];
        int result =
            key->preset ? key->type->read(key, key->preset, field_of(config, key), err) : 0;

        if (result < 0)
            return err_wrap(err, "%s", key->name);
    }
    *out = TAKE(config);
    return 0;
}

void config_free(struct config **config)
{
    struct config *gone = TAKE(*config);

    for (size_t i = 0; gone && i < config_keys_len; i++)
        clear(gone, &config_keys[i]);
    free(gone);
}

/* ---- the file ---- */

static void tell_unknown(const struct node *entry, struct faults *faults)
{
    const char *names[CONFIG_KEYS_MAX], *meant;

    for (size_t i = 0; i < config_keys_len; i++)
        names[i] = config_keys[i].name;
    meant = suggest(entry->key, names, config_keys_len);
    if (meant)
        faults_add(faults, entry->key_mark, "there is no key '%.100s'; did you mean '%s'?",
                   entry->key, meant);
    else
        faults_add(faults, entry->key_mark,
                   "there is no key '%.100s'; 'sallyport run --help' lists the options, whose "
                   "names these are",
                   entry->key);
}

static void read_item(const struct config_key *key, const struct node *item, void *field,
                      struct faults *faults)
{
    struct err err;

    if (node_is_null(item))
        faults_add(faults, item->mark, "%s has no value; leave it out for what is usual",
                   key->name);
    else if (item->kind != NODE_TEXT)
        faults_add(faults, item->mark, "%s takes %s, not %s", key->name,
                   key->form ? key->form : "true or false", node_kind_name(item->kind));
    else if (key->type->read(key, item->text, field, &err) < 0)
        faults_add(faults, item->mark, "%s: %s", key->name, err.text);
}

static void read_entry(struct config *config, const struct node *entry, struct faults *faults)
{
    size_t at = 0;
    void *field;

    while (at < config_keys_len && strcmp(config_keys[at].name, entry->key) != 0)
        at++;
    if (at == config_keys_len) {
        tell_unknown(entry, faults);
        return;
    }
    config->where[at] = entry->key_mark;
    field = clear(config, &config_keys[at]);
    if (!config_keys[at].type->list || entry->kind != NODE_LIST) {
        read_item(&config_keys[at], entry, field, faults);
        return;
    }
    for (const struct node *item = entry->first; item; item = item->next)
        read_item(&config_keys[at], item, field, faults);
}

void config_read(struct config *config, struct span bytes, struct faults *faults)
{
    CLEANUP(document_free) struct document *document = NULL;
    const struct node *root;
    int result = document_parse(&document, bytes, faults);

    if (result == -ENOMEM) {
        faults_add(faults, (struct mark){0}, "out of memory");
        return;
    }
    root = document_first(document);
    if (!root) {
        /* A file of comments is one where all is as usual. One with nothing at all is one that
         * somebody else has not finished writing, or whose disk was full. */
        if (result == 0 && !memchr(bytes.data, '#', bytes.len))
            faults_add(faults, (struct mark){0},
                       "is empty; a comment in it would say that it is "
                       "meant to be");
        return;
    }
    if (root->next)
        faults_add(faults, root->next->mark, "a second document begins here; there can be but one");
    if (root->kind != NODE_MAP) {
        faults_add(faults, root->mark, "%s stands where keys should, such as 'ca: DIR'",
                   node_kind_name(root->kind));
        return;
    }
    for (const struct node *entry = root->first; entry; entry = entry->next)
        read_entry(config, entry, faults);
}

/* ---- the command line ---- */

static int apply_one(const struct config_key *key, const char *value, void *field, struct err *err)
{
    CLEANUP(text_free) char *copy = NULL;
    char *rest, *item;
    int result = 0;

    if (!key->type->list)
        return key->type->read(key, value, field, err);
    copy = rest = strdup(value);
    if (!copy)
        return err_set(err, -ENOMEM, "out of memory");
    while (result == 0 && (item = strsep(&rest, ",")))
        result = key->type->read(key, item, field, err);
    return result;
}

int config_apply(struct config *config, const struct config_args *args, struct err *err)
{
    bool said[CONFIG_KEYS_MAX] = {false};

    for (size_t i = 0; i < args->len; i++) {
        const struct config_key *key = &config_keys[args->all[i].key];
        bool adds = key->type->list && said[args->all[i].key];
        void *field = adds ? field_of(config, key) : clear(config, key);
        int result = apply_one(key, args->all[i].value, field, err);

        said[args->all[i].key] = true;
        if (result < 0)
            return err_wrap(err, "--%s", key->option);
    }
    return 0;
}

/* ---- both ---- */

static bool same(const struct config_key *key, const struct config *a, const struct config *b)
{
    const char *x = (const char *)a + key->field, *y = (const char *)b + key->field;

    return key->type->same ? key->type->same(x, y) : memcmp(x, y, key->type->size) == 0;
}

void config_compare(const struct config *config, const struct config *running,
                    struct faults *faults)
{
    bool whole = faults_count(faults) == 0; /* else what is missing may not have been read */

    for (size_t i = 0; i < config_keys_len; i++)
        if (!config_keys[i].live && (whole || config->where[i].line) &&
            !same(&config_keys[i], config, running))
            faults_add(faults, config->where[i],
                       "%s was otherwise when the agent started, and cannot change while it runs; "
                       "restart it for that",
                       config_keys[i].name);
}

/* The default file need not be there; then it has no bytes, and *found is false. */
static int read_file(const struct config_source *source, struct file *file, bool *found,
                     struct err *err)
{
    int result = file_read(file, source->file ? source->file : config_default_file, err);

    *found = result == 0;
    return result == -ENOENT && !source->file ? 0 : result;
}

int config_load(struct config **out, const struct config_source *source,
                const struct config *running, char **story, struct err *err)
{
    CLEANUP(config_free) struct config *config = NULL;
    CLEANUP(faults_fini) struct faults faults = {0};
    CLEANUP(file_free) struct file file = {0};
    const char *name = source->file ? source->file : config_default_file;
    bool found = false;
    int result = config_new(&config, err);

    *story = NULL;
    if (result == 0)
        result = read_file(source, &file, &found, err);
    if (result < 0)
        return result;
    if (found)
        config_read(config, span_of(file.data, file.len), &faults);
    result = config_apply(config, source->args, err);
    if (result < 0)
        return result;
    if (running)
        config_compare(config, running, &faults);
    if (faults_count(&faults)) {
        *story = faults_tell(&faults, name, span_of(file.data, file.len));
        faults_summary(&faults, name, err);
        return err->code;
    }
    *out = TAKE(config);
    return 0;
}
