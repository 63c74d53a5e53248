/* table_class: destinations that the same rules lead to, and of those all that the same lines are
 * about, are one class. */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "policy/table_parts.h"

struct known { /* what makes a class, and which it is */
    size_t len;
    uint32_t class;
    uint8_t bytes[];
};

static int by_bytes(const void *a, const void *b)
{
    const struct known *x = a, *y = b;

    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    return memcmp(x->bytes, y->bytes, x->len);
}

/* The one like this that is known already, or this. NULL: out of memory. */
static struct known *know(void **tree, const void *bytes, size_t len, uint32_t class)
{
    struct known *fresh = malloc(sizeof(*fresh) + len), **found;

    if (!fresh)
        return NULL;
    fresh->len = len;
    fresh->class = class;
    if (len)
        memcpy(fresh->bytes, bytes, len);
    found = tsearch(fresh, tree, by_bytes);
    if (!found || *found != fresh)
        free(fresh);
    return found ? *found : NULL;
}

static void forget(void **tree, struct known *known)
{
    tdelete(known, tree, by_bytes);
    free(known);
}

/* Lines from `from` on are of a new class: unless it is one that is there. */
static int settle_lines(struct policy_table *table, size_t from, uint32_t *class)
{
    size_t len = table->lines_len - from;
    const struct known *known;

    for (size_t i = from; i < table->lines_len; i++)
        table->lines[i].class = 0;
    known = know(&table->parts->known_lines, len ? &table->lines[from] : NULL,
                 len * sizeof(*table->lines), *class);
    if (!known)
        return -ENOMEM;
    if (known->class == *class) {
        for (size_t i = from; i < table->lines_len; i++)
            table->lines[i].class = *class;
        table->parts->classes_len++;
        return 0;
    }
    table->lines_len = from;
    *class = known->class;
    return 0;
}

int table_class_of(struct policy_table *table, const uint32_t *rules, size_t len,
                   const struct addr *example, const struct policy_names *names, uint32_t *class,
                   struct err *err)
{
    struct table_parts *parts = table->parts;
    size_t from = table->lines_len;
    struct known *known = know(&parts->known_sets, rules, len * sizeof(*rules), UINT32_MAX);
    uint32_t fresh = parts->classes_len;
    int code;

    if (!known)
        return table_no_memory(err);
    if (known->class == UINT32_MAX) {
        code = table_add_lines(table, fresh, rules, len, example, names, err);
        if (code == 0 && settle_lines(table, from, &fresh) < 0)
            code = table_no_memory(err);
        if (code < 0) {
            table->lines_len = from;
            forget(&parts->known_sets, known);
            return code;
        }
        known->class = fresh;
    }
    *class = known->class;
    return 0;
}
