/* scan_pairs: how matches begin: what lets scan.c pass most bytes by without following anything.
 *
 * A table of pairs holds for all patterns of a group together, so one of which anything may be the
 * beginning spoils its group: patterns that are alike in this are put together. */
#include "policy/scan_parts.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct finder {
    struct scan_set *set;
    uint64_t *from, *first, *second, *next; /* sets of nodes */
    uint16_t *stack;
};

struct rank { /* of a pattern */
    size_t pattern;
    uint64_t width; /* of how many texts of SCAN_DEPTH bytes, behind the first, it may go on with */
};

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

/* What is new of `from` by a byte. A node where matches begin anyway is not: what goes on there
 * matches nothing that does not match when it begins there. */
static bool step_news(const struct finder *finder, const uint64_t *from, uint8_t byte,
                      uint64_t *news)
{
    const struct program *program = finder->set->program;

    memset(news, 0, program->words * sizeof(*news));
    program_step(program, from, byte, news, finder->stack);
    program_keep(program, news);
    for (size_t i = 0; i < program->words; i++)
        news[i] &= ~finder->set->start[i];
    return !is_empty(news, program->words);
}

/* Begins anew with the patterns of a group. */
static void begin_with(struct finder *finder, const uint8_t *group_of, uint8_t group)
{
    const struct program *program = finder->set->program;
    uint16_t pattern = 0;

    memset(finder->from, 0, program->words * sizeof(*finder->from));
    for (size_t i = 0; i < program->len; i++) {
        if (program->nodes[i].kind == PROGRAM_MATCH) /* the first node of each pattern */
            pattern = program->nodes[i].other;
        if (group_of[pattern] == group)
            finder->from[i / 64] |= finder->set->start[i / 64] & UINT64_C(1) << i % 64;
    }
}

/* Moves finder->from on by one byte, whichever it is; by how many of them it can. */
static unsigned step_any(struct finder *finder)
{
    const struct program *program = finder->set->program;
    unsigned width = 0;

    memset(finder->next, 0, program->words * sizeof(*finder->next));
    for (size_t kind = 0; kind < program->classes; kind++) {
        if (!step_news(finder, finder->from, program->byte_of[kind], finder->first))
            continue;
        for (unsigned byte = 0; byte < 256; byte++)
            width += program->class_of[byte] == kind;
        for (size_t i = 0; i < program->words; i++)
            finder->next[i] |= finder->first[i];
    }
    memcpy(finder->from, finder->next, program->words * sizeof(*finder->from));
    return width;
}

/* Sets a bit for each pair of bytes by which finder->from can go on. */
static void set_pairs(struct finder *finder, uint32_t bit)
{
    struct scan_set *set = finder->set;
    const struct program *program = set->program;

    for (size_t a = 0; a < program->classes; a++) {
        uint32_t *row = &set->pairs[(size_t)set->letter_of[program->byte_of[a]] * SCAN_LETTERS];
        bool whole;

        if (!step_news(finder, finder->from, program->byte_of[a], finder->first))
            continue;
        whole = program_matches(program, finder->first);
        for (size_t b = 0; b < program->classes; b++)
            if (whole || step_news(finder, finder->first, program->byte_of[b], finder->second))
                row[set->letter_of[program->byte_of[b]]] |= bit;
    }
}

static uint64_t width_of(struct finder *finder, uint8_t *group_of, size_t pattern,
                         uint32_t shortest)
{
    uint64_t width = 1;

    group_of[pattern] = 1;
    begin_with(finder, group_of, 1);
    group_of[pattern] = 0;
    step_any(finder);
    for (unsigned i = 1; i <= SCAN_DEPTH; i++) {
        unsigned more = step_any(finder);

        width *= i < shortest ? more : 256; /* over: anything may follow */
    }
    return width;
}

static int by_width(const void *a, const void *b)
{
    const struct rank *one = a, *other = b;

    return (one->width > other->width) - (one->width < other->width);
}

static void find_pairs(struct finder *finder, struct rank *ranks, uint8_t *group_of,
                       const uint32_t *shortest)
{
    struct scan_set *set = finder->set;
    uint32_t depth[SCAN_GROUPS];

    for (size_t i = 0; i < set->len; i++)
        ranks[i] = (struct rank){i, width_of(finder, group_of, i, shortest[i])};
    qsort(ranks, set->len, sizeof(*ranks), by_width);
    for (unsigned group = 0; group < SCAN_GROUPS; group++)
        depth[group] = SCAN_DEPTH;
    for (size_t i = 0; i < set->len; i++) {
        size_t group = i * SCAN_GROUPS / set->len;
        uint32_t pairs = shortest[ranks[i].pattern] - 1;

        group_of[ranks[i].pattern] = (uint8_t)group;
        if (pairs < depth[group])
            depth[group] = pairs ? pairs : 1;
    }
    for (unsigned group = 0; group < SCAN_GROUPS; group++) {
        begin_with(finder, group_of, (uint8_t)group);
        for (unsigned i = 0; i < depth[group]; i++) {
            set_pairs(finder, UINT32_C(1) << (group * SCAN_DEPTH + i));
            step_any(finder);
        }
        set->enough |= UINT32_C(1) << (group * SCAN_DEPTH + depth[group] - 1);
    }
}

int scan_find_pairs(struct scan_set *set, const uint32_t *shortest, uint16_t *stack)
{
    size_t words = set->program->words;
    CLEANUP(memory_free) uint64_t *sets = calloc(4 * words, sizeof(*sets));
    CLEANUP(memory_free) struct rank *ranks = calloc(set->len, sizeof(*ranks));
    CLEANUP(memory_free) uint8_t *group_of = calloc(set->len, sizeof(*group_of));

    if (!sets || !ranks || !group_of)
        return -ENOMEM;
    for (unsigned byte = 0; byte < 256; byte++)
        set->letter_of[byte] = set->program->class_of[byte] % SCAN_LETTERS;
    find_pairs(&(struct finder){set, sets, sets + words, sets + 2 * words, sets + 3 * words, stack},
               ranks, group_of, shortest);
    return 0;
}
