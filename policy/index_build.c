/* How an index is made: its terms are sorted, those of one key come to stand together, and of one
 * key those with the same expression. */
#include "policy/index.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "policy/index_own.h"

struct index_term {
    enum index_kind kind; /* of a pattern or an expression INDEX_HEAD, until the better is known */
    enum index_check check;
    const void *what;
    const char *written; /* same text, same check; NULL: what says it */
    const char *text;    /* the key, where it is longer than literal has room for */
    struct literal literal;
    size_t bits; /* of INDEX_PREFIX, whose bytes are in literal.head */
    uint32_t first, n;
    uint32_t head_peers; /* how many have the same */
};

void index_terms_fini(struct index_terms *terms)
{
    free(terms->list);
    *terms = (struct index_terms){0};
}

static struct index_term *add(struct index_terms *terms, enum index_kind kind, size_t first,
                              size_t n)
{
    if (terms->len == terms->room) {
        size_t room = terms->room ? terms->room * 2 : 64;
        struct index_term *list = realloc(terms->list, room * sizeof(*list));

        if (!list) {
            terms->no_memory = true;
            return NULL;
        }
        terms->list = list;
        terms->room = room;
    }
    terms->list[terms->len] = (struct index_term){
        .kind = kind,
        .first = (uint32_t)first,
        .n = (uint32_t)n,
    };
    return &terms->list[terms->len++];
}

void index_add_any(struct index_terms *terms, size_t first, size_t n)
{
    add(terms, INDEX_ANY, first, n);
}

void index_add_text(struct index_terms *terms, const char *text, size_t first, size_t n)
{
    struct index_term *term;

    if (strlen(text) > UINT16_MAX)
        return; /* no text that comes is as long */
    if ((term = add(terms, INDEX_TEXT, first, n)))
        term->text = text;
}

void index_add_name(struct index_terms *terms, const struct policy_name *name, size_t first,
                    size_t n)
{
    struct index_term *term;

    if (name->exact) {
        index_add_text(terms, name->text, first, n);
    } else if ((term = add(terms, INDEX_HEAD, first, n))) {
        term->check = INDEX_PATTERN;
        term->what = term->written = name->text;
        literal_of_pattern(name->text, &term->literal);
    }
}

static void to_lower(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] = (char)(text[i] + 'a' - 'A');
}

void index_add_expression(struct index_terms *terms, const char *written, const struct regex *regex,
                          bool lower, size_t first, size_t n)
{
    const char *at = written;
    struct literal literal;

    while (literal_next(&at, &literal)) {
        struct index_term *term = add(terms, literal.whole ? INDEX_TEXT : INDEX_HEAD, first, n);

        if (!term)
            return;
        if (lower) {
            to_lower(literal.head, literal.head_len);
            to_lower(literal.tail, literal.tail_len);
        }
        term->literal = literal;
        if (literal.whole)
            continue;
        term->check = INDEX_REGEX;
        term->what = regex;
        term->written = written;
    }
}

static void add_prefix(struct index_terms *terms, const uint8_t *bytes, size_t bits,
                       const struct policy_cidr *cidr, size_t first, size_t n)
{
    struct index_term *term = add(terms, INDEX_PREFIX, first, n);
    size_t len = (bits + 7) / 8;

    if (!term)
        return;
    term->bits = bits;
    term->literal.head_len = len;
    memcpy(term->literal.head, bytes, len);
    if (bits % 8)
        term->literal.head[len - 1] &= (char)(0xff00 >> bits % 8);
    if (cidr && cidr->except_len) {
        term->check = INDEX_EXCEPT;
        term->what = cidr;
    }
}

void index_add_cidr(struct index_terms *terms, const struct policy_cidr *cidr, size_t first,
                    size_t n)
{
    add_prefix(terms, cidr->cidr.network.ip, cidr->cidr.bits, cidr, first, n);
}

/* As few blocks of ports as make up the range, each as large as where it begins allows. */
static void add_ports(struct index_terms *terms, enum protocol protocol,
                      const struct policy_port *port, size_t first, size_t n)
{
    unsigned from = port->first;

    while (from <= port->last) {
        const uint8_t bytes[] = {(uint8_t)protocol, (uint8_t)(from >> 8), (uint8_t)from};
        unsigned bits = 16;

        while (bits && !(from & 1u << (16 - bits)) && from + (2u << (16 - bits)) - 1 <= port->last)
            bits--;
        add_prefix(terms, bytes, 8 + bits, NULL, first, n);
        from += 1u << (16 - bits);
    }
}

void index_add_port(struct index_terms *terms, const struct policy_port *port, size_t first,
                    size_t n)
{
    if (port->protocols & POLICY_TCP)
        add_ports(terms, PROTOCOL_TCP, port, first, n);
    if (port->protocols & POLICY_UDP)
        add_ports(terms, PROTOCOL_UDP, port, first, n);
}

/* ---- the key of each ---- */

static struct span key_of(const struct index_term *term)
{
    if (term->text)
        return span_of_text(term->text);
    return term->kind == INDEX_TAIL ? span_of(term->literal.tail, term->literal.tail_len)
                                    : span_of(term->literal.head, term->literal.head_len);
}

static size_t key_len(const struct index_term *term)
{
    return term->kind == INDEX_PREFIX ? term->bits : key_of(term).len;
}

static int compare_spans(struct span a, struct span b)
{
    int order = a.len && b.len ? memcmp(a.data, b.data, a.len < b.len ? a.len : b.len) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
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
    order = compare_spans(key_of(a), key_of(b));
    return order ? order : by_check(a, b);
}

static int in_order(const void *x, const void *y)
{
    const struct index_term *a = *(const struct index_term *const *)x;
    const struct index_term *b = *(const struct index_term *const *)y;
    int order = by_key(a, b);

    return order ? order : compare(a->first, b->first);
}

static int by_tail(const void *x, const void *y)
{
    const struct literal *a = &(*(const struct index_term *const *)x)->literal;
    const struct literal *b = &(*(const struct index_term *const *)y)->literal;

    return compare_spans(span_of(a->tail, a->tail_len), span_of(b->tail, b->tail_len));
}

/* How many from the first on are alike. */
static size_t alike(struct index_term **list, size_t len,
                    int (*compare_two)(const void *, const void *))
{
    size_t n = 1;

    while (n < len && compare_two(&list[0], &list[n]) == 0)
        n++;
    return n;
}

static int by_head(const void *x, const void *y)
{
    const struct literal *a = &(*(const struct index_term *const *)x)->literal;
    const struct literal *b = &(*(const struct index_term *const *)y)->literal;

    return compare_spans(span_of(a->head, a->head_len), span_of(b->head, b->head_len));
}

/* Of its head and its tail the one that fewer others have finds it. */
static void choose_ends(struct index_term **list, size_t len)
{
    size_t n;

    qsort(list, len, sizeof(struct index_term *), by_head);
    for (size_t i = 0; i < len; i += n) {
        n = alike(list + i, len - i, by_head);
        for (size_t j = 0; j < n; j++)
            list[i + j]->head_peers = (uint32_t)n;
    }
    qsort(list, len, sizeof(struct index_term *), by_tail);
    for (size_t i = 0; i < len; i += n) {
        n = alike(list + i, len - i, by_tail);
        for (size_t j = 0; j < n; j++) {
            struct index_term *term = list[i + j];

            if (term->literal.tail_len &&
                (!term->literal.head_len || n < term->head_peers ||
                 (n == term->head_peers && term->literal.tail_len > term->literal.head_len)))
                term->kind = INDEX_TAIL;
        }
    }
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
           span_equal(key_of(a), key_of(b));
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
        bits_set(key->kind == INDEX_HEAD   ? index->heads
                 : key->kind == INDEX_TAIL ? index->tails
                                           : index->prefixes,
                 key->len);
    if (key->kind == INDEX_HEAD && !key->len)
        index->tried = key->leaves;
}

static void add_key(struct build *build, const struct index_term *term)
{
    struct index *index = build->index;
    struct span bytes = key_of(term);
    struct index_key *key = &index->keys[build->at.keys++];

    *key = (struct index_key){
        .at = (uint32_t)build->at.bytes,
        .len = (uint16_t)key_len(term),
        .kind = (uint8_t)term->kind,
        .leaf = (uint32_t)build->at.leaves,
    };
    if (bytes.len)
        memcpy(index->bytes + key->at, bytes.data, bytes.len);
    build->at.bytes += bytes.len;
}

static void file_key(struct index *index, size_t i)
{
    const struct index_key *key = &index->keys[i];
    size_t n = key->kind == INDEX_PREFIX ? (key->len + 7u) / 8 : key->len, at;
    const uint8_t *bytes = index->bytes + key->at;
    uint64_t hash = INDEX_HASH_SEED;

    for (size_t j = 0; j < n; j++)
        hash = index_hash_byte(hash, key->kind == INDEX_TAIL ? bytes[n - 1 - j] : bytes[j]);
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
            sizes.bytes += key_of(list[0]).len;
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
    choose_ends(list, ends);
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
