/* regex_program: each part of a tree is emitted with the node that follows it, from the back. */
#include "policy/regex_program.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct emitter {
    struct program *program;
    const struct tree *tree;
};

static uint16_t emit_node(struct emitter *emitter, struct program_node node)
{
    struct program *program = emitter->program;

    program->nodes[program->len] = node; /* there is room: program_new() summed it up */
    return (uint16_t)program->len++;
}

static uint16_t emit_fork(struct emitter *emitter, uint16_t one, uint16_t other)
{
    return emit_node(emitter, (struct program_node){PROGRAM_FORK, one, other});
}

static uint16_t emit(struct emitter *emitter, uint32_t place, uint16_t next);

/* The last first: the list is turned round in steps, as a call for each would go deep. */
static uint16_t emit_sequence(struct emitter *emitter, uint32_t first, uint16_t next)
{
    uint32_t places[64], at = first;
    size_t len = 0;

    for (; at && len < ARRAY_SIZE(places); at = emitter->tree->list[at].next)
        places[len++] = at;
    if (at)
        next = emit_sequence(emitter, at, next);
    while (len)
        next = emit(emitter, places[--len], next);
    return next;
}

static uint16_t emit_alternatives(struct emitter *emitter, uint32_t first, uint16_t next)
{
    uint16_t entry = emit(emitter, first, next);

    for (uint32_t at = emitter->tree->list[first].next; at; at = emitter->tree->list[at].next)
        entry = emit_fork(emitter, emit(emitter, at, next), entry);
    return entry;
}

static uint16_t emit_repeat(struct emitter *emitter, const struct tree_node *node, uint16_t next)
{
    unsigned must = node->least;
    uint16_t entry = next;

    if (node->most == REGEX_NO_END) {
        uint16_t fork = emit_fork(emitter, 0, next), body = emit(emitter, node->child, fork);

        emitter->program->nodes[fork].next = body;
        entry = must ? body : fork;
        must -= must > 0;
    } else {
        for (unsigned i = node->least; i < node->most; i++)
            entry = emit_fork(emitter, emit(emitter, node->child, entry), next);
    }
    while (must--)
        entry = emit(emitter, node->child, entry);
    return entry;
}

static uint16_t emit(struct emitter *emitter, uint32_t place, uint16_t next)
{
    const struct tree_node *node = &emitter->tree->list[place];

    switch (node->kind) {
    case TREE_SET:
        return emit_node(emitter, (struct program_node){PROGRAM_SET, next, (uint16_t)node->set});
    case TREE_CAT:
        return emit_sequence(emitter, node->child, next);
    case TREE_ALT:
        return emit_alternatives(emitter, node->child, next);
    case TREE_REPEAT:
        return emit_repeat(emitter, node, next);
    case TREE_BEGIN:
        return emit_node(emitter, (struct program_node){PROGRAM_BEGIN, next, 0});
    case TREE_END:
        return emit_node(emitter, (struct program_node){PROGRAM_END, next, 0});
    }
    return next;
}

/* Parts the classes by one more set: bytes of a class that are in it, and those that are not. */
static void refine(uint8_t class_of[256], const struct byte_set *set)
{
    int renamed[2][256];
    int classes = 0;

    memset(renamed, -1, sizeof(renamed));
    for (unsigned byte = 0; byte < 256; byte++) {
        int *name = &renamed[byte_set_has(set, (uint8_t)byte)][class_of[byte]];

        if (*name < 0)
            *name = classes++;
        class_of[byte] = (uint8_t)*name;
    }
}

/* Most sets are of one byte, which is then of a class of its own: known without comparing. */
static void find_classes(struct program *program, const struct byte_sets *sets)
{
    struct byte_set alone = {0};
    uint8_t class_of[256] = {0};
    int name[256];

    for (size_t i = 0; i < sets->len; i++) {
        const uint64_t *bits = sets->list[i].bits;
        int count = 0;

        for (size_t word = 0; word < 4; word++)
            count += __builtin_popcountll(bits[word]);
        if (count > 1)
            refine(class_of, &sets->list[i]);
        for (size_t word = 0; count == 1 && word < 4; word++)
            alone.bits[word] |= bits[word];
    }
    memset(name, -1, sizeof(name));
    for (unsigned byte = 0; byte < 256; byte++) {
        int own = -1, *final = byte_set_has(&alone, (uint8_t)byte) ? &own : &name[class_of[byte]];

        if (*final < 0) {
            *final = (int)program->classes++;
            program->byte_of[*final] = (uint8_t)byte;
        }
        program->class_of[byte] = (uint8_t)*final;
    }
}

int program_new(struct program **out, const struct tree *trees, size_t len, struct byte_sets *sets)
{
    CLEANUP(program_free) struct program *program = calloc(1, sizeof(*program));
    struct emitter emitter = {.program = program};
    size_t max = 0;

    if (!program)
        return -ENOMEM;
    for (size_t i = 0; i < len; i++)
        max += trees[i].list[trees[i].root].size + 2; /* it matches; a fork leads to it */
    if (max > PROGRAM_NODES_MAX)
        return -E2BIG;
    program->nodes = calloc(max, sizeof(*program->nodes));
    if (!program->nodes)
        return -ENOMEM;
    for (size_t i = len; i--;) {
        uint16_t entry, match;

        emitter.tree = &trees[i];
        match = emit_node(&emitter, (struct program_node){PROGRAM_MATCH, 0, (uint16_t)i});
        entry = emit(&emitter, trees[i].root, match);
        program->start = i + 1 == len ? entry : emit_fork(&emitter, entry, program->start);
    }
    program->words = program->len / 64 + 1;
    program->stops = calloc(program->words, sizeof(*program->stops));
    if (!program->stops)
        return -ENOMEM;
    for (size_t i = 0; i < program->len; i++)
        if (program->nodes[i].kind != PROGRAM_FORK && program->nodes[i].kind != PROGRAM_BEGIN)
            program->stops[i / 64] |= UINT64_C(1) << i % 64;
    find_classes(program, sets);
    program->sets_len = sets->len;
    program->sets = TAKE(sets->list);
    *sets = (struct byte_sets){0};
    *out = TAKE(program);
    return 0;
}

void program_free(struct program **program)
{
    if (!*program)
        return;
    free((*program)->nodes);
    free((*program)->sets);
    free((*program)->stops);
    free(TAKE(*program));
}

size_t program_size(const struct program *program)
{
    return sizeof(*program) + program->len * sizeof(*program->nodes) +
           program->sets_len * sizeof(*program->sets) + program->words * sizeof(*program->stops);
}

void program_close(const struct program *program, uint16_t node, struct program_at at,
                   uint64_t *nodes, uint16_t *stack)
{
    size_t len = 0;

    if (nodes_has(nodes, node))
        return;
    nodes[node / 64] |= UINT64_C(1) << node % 64;
    stack[len++] = node;
    while (len) {
        const struct program_node *now = &program->nodes[stack[--len]];
        uint16_t ways[2] = {now->next, now->other};
        size_t count = now->kind == PROGRAM_FORK                ? 2
                       : now->kind == PROGRAM_BEGIN && at.begin ? 1
                       : now->kind == PROGRAM_END && at.end     ? 1
                                                                : 0;

        for (size_t i = 0; i < count; i++) {
            if (nodes_has(nodes, ways[i]))
                continue;
            nodes[ways[i] / 64] |= UINT64_C(1) << ways[i] % 64; /* so each is stacked once */
            stack[len++] = ways[i];
        }
    }
}

void program_step(const struct program *program, const uint64_t *from, uint8_t byte, uint64_t *to,
                  uint16_t *stack)
{
    for (size_t word = 0; word < program->words; word++) {
        for (uint64_t bits = from[word] & program->stops[word]; bits; bits &= bits - 1) {
            const struct program_node *node =
                &program->nodes[word * 64 + (size_t)__builtin_ctzll(bits)];

            if (node->kind != PROGRAM_SET || !byte_set_has(&program->sets[node->other], byte))
                continue;
            if (nodes_has(program->stops, node->next)) /* most are: nothing else is reached */
                to[node->next / 64] |= UINT64_C(1) << node->next % 64;
            else
                program_close(program, node->next, (struct program_at){0}, to, stack);
        }
    }
}

void program_end(const struct program *program, const uint64_t *from, bool begin, uint64_t *to,
                 uint16_t *stack)
{
    struct program_at at = {.begin = begin, .end = true};

    for (size_t word = 0; word < program->words; word++) {
        for (uint64_t bits = from[word] & program->stops[word]; bits; bits &= bits - 1) {
            uint16_t place = (uint16_t)(word * 64 + (size_t)__builtin_ctzll(bits));

            if (program->nodes[place].kind == PROGRAM_END)
                program_close(program, program->nodes[place].next, at, to, stack);
        }
    }
}

void program_keep(const struct program *program, uint64_t *nodes)
{
    bool own = nodes_has(nodes, program->len);

    for (size_t word = 0; word < program->words; word++)
        nodes[word] &= program->stops[word];
    if (own)
        nodes[program->len / 64] |= UINT64_C(1) << program->len % 64;
}

bool program_matches(const struct program *program, const uint64_t *nodes)
{
    for (size_t word = 0; word < program->words; word++)
        for (uint64_t bits = nodes[word] & program->stops[word]; bits; bits &= bits - 1)
            if (program->nodes[word * 64 + (size_t)__builtin_ctzll(bits)].kind == PROGRAM_MATCH)
                return true;
    return false;
}
