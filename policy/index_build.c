/* How an index is made: its terms are sorted, those of one key come to stand together, and of one
 * key those with the same expression. */
#include "policy/index.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "policy/index_own.h"

static size_t key_len(const struct index_term *term)
{
    return term->kind == INDEX_PREFIX ? term->bits : index_key_of(term).len;
}

static int compare(uintptr_t a, uintptr_t b)
{
    return (a > b) - (a < b);
}

static int by_check(const struct index_term *a, const struct index_term *b)
{
    if (a->check != b->check)
        return compare(a->check, b->check);
    if (a->written && b->written)
        return strcmp(a->written, b->written);
    return compare((uintptr_t)a->what, (uintptr_t)b->what);
}

static int by_key(const struct index_term *a, const struct index_term *b)
{
    int order;

    if (a->kind != b->kind)
        return compare(a->kind, b->kind);
    if (a->kind == INDEX_PREFIX && a->bits != b->bits)
        return compare(a->bits, b->bits);
    order = index_compare_spans(index_key_of(a), index_key_of(b));
    return order ? order : by_check(a, b);
}

static int in_order(const void *x, const void *y)
{
    const struct index_term *a = *(const struct index_term *const *)x;
    const struct index_term *b = *(const struct index_term *const *)y;
    int order = by_key(a, b);

    return order ? order : compare(a->first, b->first);
}

/* ---- the whole ---- */

struct sizes {
    size_t keys, leaves, bytes, pairs, dense;
};

struct build {
    struct index *index;
    struct index_term **list;
    size_t len;
    struct sizes at; /* how far each is filled */
};

/* Merges the things of terms that stand for the same: pairs into out, where not NULL. */
static size_t merge(struct index_term **list, size_t len, uint32_t *out)
{
    uint32_t first = 0, end = 0;
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (n && list[i]->first <= end) {
            if (list[i]->first + list[i]->n > end)
                end = list[i]->first + list[i]->n;
        } else {
            first = list[i]->first;
            end = first + list[i]->n;
            n++;
        }
        if (out)
            out[n - 1] = first << 16 | (end - first - 1);
    }
    return n;
}

static size_t same_leaf(struct index_term **list, size_t len)
{
    size_t n = 1;

    while (n < len && by_key(list[0], list[n]) == 0)
        n++;
    return n;
}

static bool same_key(const struct index_term *a, const struct index_term *b)
{
    return a->kind == b->kind && (a->kind != INDEX_PREFIX || a->bits == b->bits) &&
           span_equal(index_key_of(a), index_key_of(b));
}

static void add_leaf(struct build *build, struct index_term **list, size_t n)
{
    struct index *index = build->index;
    size_t pairs = merge(list, n, NULL);
    struct index_leaf *leaf = &index->leaves[build->at.leaves++];

    *leaf = (struct index_leaf){.check = list[0]->check, .what = list[0]->what};
    leaf->dense = pairs * sizeof(*index->pairs) > index->words * sizeof(*index->dense);
    if (leaf->dense) {
        leaf->at = (uint32_t)build->at.dense;
        leaf->len = (uint32_t)index->words;
        for (size_t i = 0; i < n; i++)
            bits_fill(index->dense + leaf->at, list[i]->first, list[i]->n);
        build->at.dense += leaf->len;
    } else {
        leaf->at = (uint32_t)build->at.pairs;
        leaf->len = (uint32_t)merge(list, n, index->pairs + leaf->at);
        build->at.pairs += leaf->len;
    }
}

static void note_length(struct index *index, const struct index_key *key)
{
    if (key->kind == INDEX_TEXT)
        index->has_texts = true;
    else
        bits_set(key->kind == INDEX_HEAD    ? index->heads
                 : key->kind == INDEX_TAIL  ? index->tails
                 : key->kind == INDEX_INNER ? index->inners
                                            : index->prefixes,
                 key->len);
    if (key->kind == INDEX_HEAD && !key->len)
        index->tried = key->leaves;
}

static void add_key(struct build *build, const struct index_term *term)
{
    struct index *index = build->index;
    struct span bytes = index_key_of(term);
    struct index_key *key = &index->keys[build->at.keys++];

    *key = (struct index_key){
        .at = (uint32_t)build->at.bytes,
        .len = (uint16_t)key_len(term),
        .kind = (uint8_t)term->kind,
        .inner = (uint32_t)index->inner_keys,
        .leaf = (uint32_t)build->at.leaves,
    };
    index->inner_keys += term->kind == INDEX_INNER;
    if (bytes.len)
        memcpy(index->bytes + key->at, bytes.data, bytes.len);
    build->at.bytes += bytes.len;
}

static void file_key(struct index *index, size_t i)
{
    const struct index_key *key = &index->keys[i];
    size_t n = key->kind == INDEX_PREFIX ? (key->len + 7u) / 8 : key->len, at;
    const uint8_t *bytes = index->bytes + key->at;
    uint64_t hash = key->kind == INDEX_INNER ? 0 : INDEX_HASH_SEED;

    for (size_t j = 0; j < n; j++)
        hash = key->kind == INDEX_INNER  ? index_hash_inner(hash, bytes[j])
               : key->kind == INDEX_TAIL ? index_hash_byte(hash, bytes[n - 1 - j])
                                         : index_hash_byte(hash, bytes[j]);
    at = index_hash_end(hash, key->kind, key->len) & index->slots_mask;
    while (index->slots[at])
        at = (at + 1) & index->slots_mask;
    index->slots[at] = (uint32_t)i + 1;
}

static void fill(struct build *build)
{
    struct index *index = build->index;
    size_t n;

    for (size_t i = 0; i < build->len; i += n) {
        struct index_term **list = build->list + i;

        n = same_leaf(list, build->len - i);
        if (list[0]->kind == INDEX_ANY) {
            index->has_any = true;
            for (size_t j = 0; j < n; j++)
                bits_fill(index->any, list[j]->first, list[j]->n);
            continue;
        }
        if (!i || !same_key(list[-1], list[0]))
            add_key(build, list[0]);
        add_leaf(build, list, n);
        index->keys[build->at.keys - 1].leaves++;
    }
    for (size_t i = 0; i < build->at.keys; i++) {
        note_length(index, &index->keys[i]);
        file_key(index, i);
    }
}

/* How much of each there will be. */
static struct sizes measure(const struct build *build, size_t words)
{
    struct sizes sizes = {0};
    size_t n;

    for (size_t i = 0; i < build->len; i += n) {
        struct index_term **list = build->list + i;
        size_t pairs;

        n = same_leaf(list, build->len - i);
        if (list[0]->kind == INDEX_ANY)
            continue;
        if (!i || !same_key(list[-1], list[0])) {
            sizes.keys++;
            sizes.bytes += index_key_of(list[0]).len;
        }
        sizes.leaves++;
        pairs = merge(list, n, NULL);
        if (pairs * sizeof(uint32_t) > words * sizeof(uint64_t))
            sizes.dense += words;
        else
            sizes.pairs += pairs;
    }
    return sizes;
}

static int reserve(struct index *index, const struct sizes *sizes, size_t words)
{
    size_t slots = 4;

    while (slots < sizes->keys * 2)
        slots *= 2;
    index->words = words;
    index->slots_mask = slots - 1;
    index->any = calloc(words + 1, sizeof(*index->any));
    index->slots = calloc(slots, sizeof(*index->slots));
    index->keys = calloc(sizes->keys + 1, sizeof(*index->keys));
    index->leaves = calloc(sizes->leaves + 1, sizeof(*index->leaves));
    index->bytes = calloc(sizes->bytes + 1, 1);
    index->pairs = calloc(sizes->pairs + 1, sizeof(*index->pairs));
    index->dense = calloc(sizes->dense + 1, sizeof(*index->dense));
    return index->any && index->slots && index->keys && index->leaves && index->bytes &&
                   index->pairs && index->dense
               ? 0
               : -ENOMEM;
}

static void list_free(struct index_term ***list)
{
    free(*list);
}

int index_make(struct index *out, struct index_terms *terms, size_t things)
{
    CLEANUP(index_fini) struct index index = {0};
    CLEANUP(list_free)
    struct index_term **list = calloc(terms->len + 1, sizeof(struct index_term *));
    struct build build = {.index = &index, .list = list, .len = terms->len};
    size_t ends = 0;
    struct sizes sizes;

    if (!list || terms->no_memory)
        return -ENOMEM;
    for (size_t i = 0; i < terms->len; i++)
        if (terms->list[i].kind == INDEX_HEAD)
            list[ends++] = &terms->list[i];
    index_choose_keys(list, ends);
    for (size_t i = 0; i < terms->len; i++)
        list[i] = &terms->list[i];
    qsort(list, terms->len, sizeof(struct index_term *), in_order);
    sizes = measure(&build, bits_words(things));
    if (reserve(&index, &sizes, bits_words(things)) < 0)
        return -ENOMEM;
    fill(&build);
    *out = index;
    index = (struct index){0};
    return 0;
}
