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

static int find_begins(struct scan_set *set, const uint32_t *shortest)
{
    const struct program *program = set->program;
    CLEANUP(memory_free) uint16_t *stack = calloc(program->len, sizeof(*stack));
    struct program_at begin = {.begin = true};

    set->start = calloc(program->words, sizeof(*set->start));
    set->begin = calloc(program->words, sizeof(*set->begin));
    set->matches = calloc(program->words, sizeof(*set->matches));
    if (!stack || !set->start || !set->begin || !set->matches)
        return -ENOMEM;
    program_close(program, program->start, (struct program_at){0}, set->start, stack);
    program_keep(program, set->start);
    program_close(program, program->start, begin, set->begin, stack);
    set->begin[program->len / 64] |= UINT64_C(1) << program->len % 64;
    program_keep(program, set->begin);
    for (size_t i = 0; i < program->len; i++)
        if (program->nodes[i].kind == PROGRAM_MATCH)
            set->matches[i / 64] |= UINT64_C(1) << i % 64;
    return scan_find_pairs(set, shortest, stack);
}

static int parse_one(struct scan_set *set, uint32_t *shortest, struct tree *tree,
                     struct byte_sets *sets, const char *expression, struct regex_fault *fault)
{
    int result = tree_parse(tree, sets, span_of_text(expression), fault);
    const struct tree_node *root;

    if (result < 0)
        return result;
    root = &tree->list[tree->root];
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
    if (!set || !shortest || !trees.list)
        return -ENOMEM;
    set->serial = atomic_fetch_add(&serial, 1) + 1;
    for (size_t i = 0; result == 0 && i < len && i < SCAN_PATTERNS_MAX; i++) {
        *which = i;
        result = parse_one(set, shortest, &trees.list[trees.len++], &sets, expressions[i], fault);
    }
    if (result == 0)
        result =
            len > SCAN_PATTERNS_MAX ? -E2BIG : program_new(&set->program, trees.list, len, &sets);
    if (result == -E2BIG)
        *fault = (struct regex_fault){0, "too long"};
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
    free(TAKE(*set));
}

size_t scan_set_size(const struct scan_set *set)
{
    return sizeof(*set) + program_size(set->program) +
           3 * set->program->words * sizeof(*set->start);
}
