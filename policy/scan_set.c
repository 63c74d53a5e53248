/* scan_set: expressions -> one program, and what begins a match. */
#include "policy/scan_parts.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct trees {
    struct tree *list;
    size_t len;
};

static void trees_fini(struct trees *trees)
{
    for (size_t i = 0; i < trees->len; i++)
        tree_fini(&trees->list[i]);
    free(trees->list);
}

static void memory_free(void *at)
{
    free(*(void **)at);
}

static bool is_empty(const uint64_t *nodes, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (nodes[i])
            return false;
    return true;
}

struct pairs { /* what finding them needs */
    struct scan_set *set;
    uint64_t *from, *first, *second, *next; /* sets of nodes */
    uint16_t *stack;
};

/* What is new of `from` by a byte. A node where matches begin anyway is not: what goes on there
 * matches nothing that does not match when it begins there. */
static bool step_news(const struct pairs *pairs, const uint64_t *from, uint8_t byte, uint64_t *news)
{
    const struct program *program = pairs->set->program;

    memset(news, 0, program->words * sizeof(*news));
    program_step(program, from, byte, news, pairs->stack);
    program_keep(program, news);
    for (size_t i = 0; i < program->words; i++)
        news[i] &= ~pairs->set->start[i];
    return !is_empty(news, program->words);
}

/* Sets a bit for each pair of bytes that may follow where pairs->from is; that moves on by a byte,
 * whichever it is. */
static void find_bit(struct pairs *pairs, uint8_t bit)
{
    const struct program *program = pairs->set->program;

    memset(pairs->next, 0, program->words * sizeof(*pairs->next));
    for (size_t a = 0; a < program->classes; a++) {
        uint8_t *row = pairs->set->pairs + (a << pairs->set->shift);
        bool whole;

        if (!step_news(pairs, pairs->from, program->byte_of[a], pairs->first))
            continue;
        whole = program_matches(program, pairs->first);
        for (size_t b = 0; b < program->classes; b++)
            if (whole || step_news(pairs, pairs->first, program->byte_of[b], pairs->second))
                row[b] |= bit;
        for (size_t i = 0; i < program->words; i++)
            pairs->next[i] |= pairs->first[i];
    }
    memcpy(pairs->from, pairs->next, program->words * sizeof(*pairs->from));
}

static unsigned group_of(uint32_t shortest)
{
    return shortest > SCAN_DEPTH_MAX;
}

static void find_pairs(struct pairs *pairs, const uint32_t *shortest)
{
    struct scan_set *set = pairs->set;
    const struct program *program = set->program;

    for (unsigned group = 0; group < SCAN_GROUPS; group++) {
        unsigned pattern = 0;

        set->depth[group] = SCAN_DEPTH_MAX;
        for (size_t i = 0; i < set->len; i++)
            if (group_of(shortest[i]) == group && shortest[i] <= set->depth[group])
                set->depth[group] = shortest[i] > 1 ? shortest[i] - 1 : 1;
        memset(pairs->from, 0, program->words * sizeof(*pairs->from));
        for (size_t i = 0; i < program->len; i++) {
            if (program->nodes[i].kind == PROGRAM_MATCH) /* the first node of each pattern */
                pattern = program->nodes[i].other;
            if (group_of(shortest[pattern]) == group)
                pairs->from[i / 64] |= set->start[i / 64] & UINT64_C(1) << i % 64;
        }
        for (unsigned i = 0; i < set->depth[group]; i++)
            find_bit(pairs, (uint8_t)(1U << (group * SCAN_DEPTH_MAX + i)));
    }
}

static int find_begins(struct scan_set *set, const uint32_t *shortest)
{
    const struct program *program = set->program;
    CLEANUP(memory_free) uint64_t *sets = calloc(4 * program->words, sizeof(*sets));
    CLEANUP(memory_free) uint16_t *stack = calloc(program->len, sizeof(*stack));
    struct program_at begin = {.begin = true};

    set->shift = program->classes > 1 << SCAN_SHIFT ? 8 : SCAN_SHIFT;
    set->pairs = calloc(program->classes << set->shift, sizeof(*set->pairs));
    set->start = calloc(program->words, sizeof(*set->start));
    set->begin = calloc(program->words, sizeof(*set->begin));
    set->matches = calloc(program->words, sizeof(*set->matches));
    if (!sets || !stack || !set->pairs || !set->start || !set->begin || !set->matches)
        return -ENOMEM;
    program_close(program, program->start, (struct program_at){0}, set->start, stack);
    program_keep(program, set->start);
    program_close(program, program->start, begin, set->begin, stack);
    set->begin[program->len / 64] |= UINT64_C(1) << program->len % 64;
    program_keep(program, set->begin);
    for (size_t i = 0; i < program->len; i++)
        if (program->nodes[i].kind == PROGRAM_MATCH)
            set->matches[i / 64] |= UINT64_C(1) << i % 64;
    find_pairs(&(struct pairs){set, sets, sets + program->words, sets + 2 * program->words,
                               sets + 3 * program->words, stack},
               shortest);
    return 0;
}

static int parse_one(struct scan_set *set, uint32_t *shortest, struct tree *tree,
                     struct byte_sets *sets, const char *expression, struct regex_fault *fault)
{
    int result = tree_parse(tree, sets, span_of_text(expression), fault);
    const struct tree_node *root;

    if (result < 0)
        return result;
    root = &tree->list[tree->root];
    set->longest[set->len] = root->longest == UINT32_MAX ? SIZE_MAX : root->longest;
    shortest[set->len++] = root->shortest;
    if (root->shortest)
        return 0;
    *fault = (struct regex_fault){0, "matches no bytes at all, so everywhere"};
    return -EINVAL;
}

int scan_set_new(struct scan_set **out, const char *const *expressions, size_t len, size_t *which,
                 struct regex_fault *fault)
{
    static atomic_uint_fast64_t serial;
    CLEANUP(scan_set_free) struct scan_set *set = calloc(1, sizeof(*set));
    CLEANUP(byte_sets_fini) struct byte_sets sets = {0};
    CLEANUP(trees_fini) struct trees trees = {.list = calloc(len, sizeof(*trees.list))};
    CLEANUP(memory_free) uint32_t *shortest = calloc(len, sizeof(*shortest));
    int result = 0;

    *which = 0;
    if (set)
        set->longest = calloc(len, sizeof(*set->longest));
    if (!set || !set->longest || !shortest || !trees.list)
        return -ENOMEM;
    set->serial = atomic_fetch_add(&serial, 1) + 1;
    for (size_t i = 0; result == 0 && i < len && i < SCAN_PATTERNS_MAX; i++) {
        *which = i;
        result = parse_one(set, shortest, &trees.list[trees.len++], &sets, expressions[i], fault);
    }
    if (result == 0)
        result =
            len > SCAN_PATTERNS_MAX ? -E2BIG : program_new(&set->program, trees.list, len, &sets);
    if (result == -E2BIG) {
        *fault = (struct regex_fault){0, "too long together with those before it"};
        return -EINVAL;
    }
    if (result == 0)
        result = find_begins(set, shortest);
    if (result == 0)
        *out = TAKE(set);
    return result;
}

void scan_set_free(struct scan_set **set)
{
    if (!*set)
        return;
    program_free(&(*set)->program);
    free((*set)->start);
    free((*set)->begin);
    free((*set)->matches);
    free((*set)->longest);
    free((*set)->pairs);
    free(TAKE(*set));
}

size_t scan_set_size(const struct scan_set *set)
{
    return sizeof(*set) + program_size(set->program) +
           3 * set->program->words * sizeof(*set->start) + set->len * sizeof(*set->longest) +
           (set->program->classes << set->shift);
}

size_t scan_longest(const struct scan_set *set, size_t pattern)
{
    return set->longest[pattern];
}
