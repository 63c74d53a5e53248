#include "policy/compile_own.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "policy/suggest.h"

enum { WORDS_MAX = 128, SHOWN_MAX = 160 };

/* "a, b or c"; "a, b, …" when that would be too long. */
static void join(const char *const *words, size_t len, char out[SHOWN_MAX])
{
    size_t at = 0;

    out[0] = 0;
    for (size_t i = 0; i < len; i++) {
        const char *between = i == 0 ? "" : i + 1 == len ? " or " : ", ";

        if (at + strlen(between) + strlen(words[i]) + sizeof(", …") > SHOWN_MAX) {
            memcpy(out + at, ", …", sizeof(", …"));
            return;
        }
        at += (size_t)snprintf(out + at, SHOWN_MAX - at, "%s%s", between, words[i]);
    }
}

void compile_unknown(struct compile *c, struct mark mark, const char *what, const char *text,
                     const char *const *words)
{
    const char *said[WORDS_MAX], *meant;
    char all[SHOWN_MAX];
    size_t len = 0;

    for (size_t i = 0; words[i] && len < WORDS_MAX; i++)
        if (words[i][0])
            said[len++] = words[i];
    meant = suggest(text, said, len);
    if (meant) {
        faults_add(c->faults, mark, "%s cannot be '%.100s'; did you mean '%s'?", what, text, meant);
        return;
    }
    join(said, len, all);
    faults_add(c->faults, mark, "%s cannot be '%.100s'; say %s", what, text, all);
}

/* ---- maps ---- */

const struct node *compile_find(const struct node *map, const char *key)
{
    for (const struct node *at = map->kind == NODE_MAP ? map->first : NULL; at; at = at->next)
        if (strcmp(at->key, key) == 0)
            return at;
    return NULL;
}

const struct node *compile_find_text(const struct node *map, const char *key)
{
    const struct node *node = compile_find(map, key);

    return node && node->kind == NODE_TEXT && !node_is_null(node) ? node : NULL;
}

bool compile_is_empty(const struct compile *c, const struct node *node)
{
    return !node->len && !c->cut;
}

static void tell_unknown(struct compile *c, const struct node *entry, const struct shape *shape)
{
    const char *names[WORDS_MAX], *meant;
    char all[SHOWN_MAX];
    size_t len = 0;

    for (size_t i = 0; i < shape->len && len < WORDS_MAX; i++)
        if (!shape->keys[i].why)
            names[len++] = shape->keys[i].name;
    meant = suggest(entry->key, names, len);
    if (meant) {
        faults_add(c->faults, entry->key_mark, "%s has no key '%.100s'; did you mean '%s'?",
                   shape->what, entry->key, meant);
        return;
    }
    join(names, len, all);
    faults_add(c->faults, entry->key_mark, "%s has no key '%.100s'; say %s", shape->what,
               entry->key, all);
}

static void read_items(struct compile *c, const struct node *list, const struct key *key,
                       void *into)
{
    size_t i = 0;

    if (compile_is_empty(c, list) && key->empty)
        faults_add(c->faults, list->mark, "%s is empty: %s", key->name, key->empty);
    for (const struct node *item = list->first; item; item = item->next, i++)
        if (node_is_null(item))
            faults_add(c->faults, item->mark, "an item of %s has no value", key->name);
        else if (item->kind != key->items)
            faults_add(c->faults, item->mark, "an item of %s is %s, not %s", key->name,
                       node_kind_name(key->items), node_kind_name(item->kind));
        else
            key->item(c, item, i, key, into);
}

static void read_value(struct compile *c, const struct node *node, const struct key *key,
                       void *into)
{
    if (key->why)
        faults_add(c->faults, node->key_mark, "%s is not supported: %s", key->name, key->why);
    else if (key->ours && c->cilium)
        faults_add(c->faults, node->key_mark,
                   "%s is Sallyport's, and Cilium would refuse it; say kind: TrafficPolicy",
                   key->name);
    else if (key->read == compile_ignore)
        return;
    else if (node_is_null(node))
        faults_add(c->faults, node->key_mark, "%s has no value; leave it out, or say one",
                   key->name);
    else if (node->kind != key->kind)
        faults_add(c->faults, node->mark, "%s takes %s, not %s", key->name,
                   node_kind_name(key->kind), node_kind_name(node->kind));
    else if (key->item)
        read_items(c, node, key, into);
    else
        key->read(c, node, key, into);
}

void compile_map(struct compile *c, const struct node *map, const struct shape *shape, void *into)
{
    for (const struct node *entry = map->first; entry; entry = entry->next) {
        size_t i = 0;

        while (i < shape->len && strcmp(shape->keys[i].name, entry->key) != 0)
            i++;
        if (i == shape->len)
            tell_unknown(c, entry, shape);
        else
            read_value(c, entry, &shape->keys[i], into);
    }
    for (size_t i = 0; i < shape->len && !c->cut; i++)
        if (shape->keys[i].must && !compile_find(map, shape->keys[i].name))
            faults_add(c->faults, map->mark, "%s lacks %s", shape->what, shape->keys[i].name);
}

/* ---- readers ---- */

void compile_ignore(struct compile *c, const struct node *node, const struct key *key, void *into)
{
    (void)c;
    (void)node;
    (void)key;
    (void)into;
}

void compile_keep(struct compile *c, const struct node *node, const struct key *key, void *into)
{
    compile_ignore(c, node, key, into);
}

void compile_word(struct compile *c, const struct node *node, const struct key *key, void *into)
{
    for (int i = 0; key->words[i]; i++)
        if (key->words[i][0] && strcmp(key->words[i], node->text) == 0) {
            memcpy((char *)into + key->field, &i, sizeof(i));
            return;
        }
    compile_unknown(c, node->mark, key->name, node->text, key->words);
}

void compile_truth(struct compile *c, const struct node *node, const struct key *key, void *into)
{
    bool truth = strcmp(node->text, "true") == 0;

    if (node->quoted || (!truth && strcmp(node->text, "false") != 0))
        faults_add(c->faults, node->mark, "%s takes true or false, without quotes", key->name);
    *(bool *)((char *)into + key->field) = truth;
}

/* ---- where we are ---- */

size_t compile_enter(struct compile *c, const char *format, ...)
{
    size_t before = strlen(c->rule), len = before;
    va_list args;

    if (len && len + 1 < sizeof(c->rule))
        c->rule[len++] = '.';
    va_start(args, format);
    vsnprintf(c->rule + len, sizeof(c->rule) - len, format, args);
    va_end(args);
    return before;
}

void compile_leave(struct compile *c, size_t before)
{
    c->rule[before] = 0;
}

void compile_place(struct compile *c, struct policy_place *place, struct mark mark)
{
    place->mark = mark;
    place->rule = compile_copy(c, c->rule);
}

/* ---- memory ---- */

char *compile_copy(struct compile *c, const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        c->no_memory = true;
    return copy;
}

/* Room doubles: at each power of two of the length. */
void *compile_grow(struct compile *c, void *list, size_t *len, size_t size)
{
    void *memory;
    char *more;

    memcpy(&memory, list, sizeof(memory));
    if ((*len & (*len - 1)) == 0) {
        memory = realloc(memory, (*len ? 2 * *len : 1) * size);
        if (!memory) {
            c->no_memory = true;
            return NULL;
        }
        memcpy(list, &memory, sizeof(memory));
    }
    more = (char *)memory + (*len)++ * size;
    memset(more, 0, size);
    return more;
}

void compile_add_text(struct compile *c, const char *text, char ***list, size_t *len)
{
    char *copy = compile_copy(c, text);
    char **more = copy ? compile_grow(c, list, len, sizeof(*more)) : NULL;

    if (more)
        *more = copy;
    else
        free(copy);
}
