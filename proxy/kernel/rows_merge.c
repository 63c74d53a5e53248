/* rows_merge: rows that no text tells apart, as one (Moore's minimization): those that say the same
 * are of one class, until two of a class lead to different ones. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/kernel/rows.h"

struct merge {
    struct rows *rows;
    size_t from, len;   /* which rows: places in theirs */
    uint16_t *class_of; /* by row */
    uint16_t *fresh;    /* likewise, the next one's */
    uint16_t *first;    /* of each class: the first row, as places among these */
    uint64_t *hashes;
    size_t classes;
};

static void merge_fini(struct merge *merge)
{
    free(merge->class_of);
    free(merge->fresh);
    free(merge->first);
    free(merge->hashes);
}

/* Where a byte leads: to a class of these rows, or elsewhere; with its flags. */
static uint32_t leads(const struct merge *merge, size_t row, size_t byte)
{
    uint16_t next = merge->rows->next[merge->from + row][byte];
    size_t to = (size_t)(next & SPELL_ROW), first = merge->rows->base + merge->from;

    if (to < first || to >= first + merge->len)
        return next;
    return 1u << 16 | (uint32_t)(next & ~SPELL_ROW) | merge->class_of[to - first];
}

static bool is_alike(const struct merge *merge, size_t a, size_t b)
{
    if (merge->class_of[a] != merge->class_of[b])
        return false;
    for (size_t byte = 0; byte < 256; byte++)
        if (leads(merge, a, byte) != leads(merge, b, byte))
            return false;
    return true;
}

static uint64_t hash_of(const struct merge *merge, size_t row)
{
    uint64_t hash = merge->class_of[row];

    for (size_t byte = 0; byte < 256; byte++)
        hash = (hash ^ leads(merge, row, byte)) * UINT64_C(0x9e3779b97f4a7c15);
    return hash;
}

static bool says_the_same(const struct merge *merge, size_t a, size_t b)
{
    const struct spell_about *x = &merge->rows->abouts[merge->from + a];
    const struct spell_about *y = &merge->rows->abouts[merge->from + b];

    return x->fits == y->fits && x->action == y->action && x->what == y->what;
}

/* The class that a row is of, by those before it; a new one, whose first it is. */
static void find_class(struct merge *merge, size_t row, bool begin, size_t *classes)
{
    size_t i = 0;

    for (; i < *classes; i++) {
        size_t other = merge->first[i];

        if (begin ? says_the_same(merge, row, other)
                  : merge->hashes[row] == merge->hashes[other] && is_alike(merge, row, other))
            break;
    }
    if (i == *classes)
        merge->first[(*classes)++] = (uint16_t)row;
    merge->fresh[row] = (uint16_t)i;
}

static void part_classes(struct merge *merge, bool begin)
{
    size_t classes = 0;

    for (size_t i = 0; i < merge->len && !begin; i++)
        merge->hashes[i] = hash_of(merge, i);
    for (size_t i = 0; i < merge->len; i++)
        find_class(merge, i, begin, &classes);
    memcpy(merge->class_of, merge->fresh, merge->len * sizeof(*merge->fresh));
    merge->classes = classes;
}

/* The first row of each class goes to the class's place, and all lead there. Row 0 is the first of
 * class 0. */
static void keep_first(struct merge *merge)
{
    struct rows *rows = merge->rows;
    size_t first = rows->base + merge->from;

    for (size_t i = 0; i < merge->classes; i++) { /* no place is behind its row's */
        size_t row = merge->first[i];

        for (size_t byte = 0; byte < 256; byte++) {
            uint32_t to = leads(merge, row, byte);
            uint16_t flags = (uint16_t)to & (uint16_t)~SPELL_ROW;

            if (to >> 16)
                to = flags | (uint32_t)(first + (to & SPELL_ROW));
            rows->next[merge->from + i][byte] = (uint16_t)to;
        }
        rows->abouts[merge->from + i] = rows->abouts[merge->from + row];
    }
    rows->len = merge->from + merge->classes;
}

int rows_merge(struct rows *rows, uint16_t first)
{
    CLEANUP(merge_fini) struct merge merge = {.rows = rows, .from = (size_t)(first - rows->base)};
    size_t before = 0;

    merge.len = rows->len - merge.from;
    merge.class_of = calloc(merge.len, sizeof(*merge.class_of));
    merge.fresh = calloc(merge.len, sizeof(*merge.fresh));
    merge.first = calloc(merge.len, sizeof(*merge.first));
    merge.hashes = calloc(merge.len, sizeof(*merge.hashes));
    if (!merge.class_of || !merge.fresh || !merge.first || !merge.hashes)
        return -ENOMEM;
    part_classes(&merge, true);
    while (merge.classes != before) {
        before = merge.classes;
        part_classes(&merge, false);
    }
    keep_first(&merge);
    return 0;
}
