/* regex: a DFA made when the expression is read, where it stays small; else the NFA, all its ways
 * followed at once. Either way each byte is looked at once, and costs at most as much as the
 * expression is long. */
#include "policy/regex.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "policy/regex_program.h"
#include "policy/regex_states.h"

enum {
    DFA_ENTRIES_MAX = 16384, /* of the table: 32 kB */
    DFA_WORK_MAX = 400000,   /* nodes looked at while it is made: a millisecond or so */
    NFA_COPIES_MAX = 128,    /* what repeats may add where there is no DFA: 0.3 us a byte */
};

/* A table of a row for each state: where (in the table) the row is to which each class of bytes
 * leads, and last whether the text may end here. The second row is where texts begin. */
struct regex {
    struct program *program; /* there is no DFA: this is followed */
    uint16_t *table;
    size_t row, entries;
    uint8_t class_of[256];
};

struct maker { /* of a DFA */
    const struct program *program;
    struct states states;
    uint16_t *table;
    size_t table_room, row, work;
    uint64_t *nodes, *ends;
    uint16_t *stack;
};

static void maker_fini(struct maker *maker)
{
    states_fini(&maker->states);
    free(maker->table);
    free(maker->nodes);
    free(maker->ends);
    free(maker->stack);
}

static int maker_init(struct maker *maker, const struct program *program)
{
    maker->program = program;
    maker->row = program->classes + 1;
    maker->nodes = calloc(program->words, sizeof(*maker->nodes));
    maker->ends = calloc(program->words, sizeof(*maker->ends));
    maker->stack = calloc(program->len, sizeof(*maker->stack));
    if (!maker->nodes || !maker->ends || !maker->stack)
        return -ENOMEM;
    return states_init(&maker->states, program->words, 16);
}

static size_t count_nodes(const uint64_t *nodes, size_t words)
{
    size_t count = 0;

    for (size_t i = 0; i < words; i++)
        count += (size_t)__builtin_popcountll(nodes[i]);
    return count;
}

/* Whether the text may end where these nodes are. */
static bool accepts(const struct program *program, const uint64_t *nodes, uint64_t *ends,
                    uint16_t *stack)
{
    memset(ends, 0, program->words * sizeof(*ends));
    program_end(program, nodes, nodes_has(nodes, program->len), ends, stack);
    return program_matches(program, nodes) || program_matches(program, ends);
}

/* The state that maker->nodes are: its number; -E2BIG, -ENOMEM. */
static int state_of_nodes(struct maker *maker)
{
    size_t number;
    bool fresh;

    maker->work += maker->program->words + count_nodes(maker->nodes, maker->program->words);
    program_keep(maker->program, maker->nodes);
    if (maker->states.len == maker->states.room && states_grow(&maker->states) < 0)
        return -ENOMEM;
    number = states_find(&maker->states, maker->nodes, &fresh);
    if (!fresh)
        return (int)number;
    if (maker->states.len * maker->row > DFA_ENTRIES_MAX)
        return -E2BIG;
    if (maker->states.len * maker->row > maker->table_room) {
        size_t room = maker->states.room * maker->row;
        uint16_t *table = realloc(maker->table, room * sizeof(*table));

        if (!table)
            return -ENOMEM;
        maker->table = table;
        maker->table_room = room;
    }
    maker->table[number * maker->row + maker->program->classes] =
        accepts(maker->program, maker->nodes, maker->ends, maker->stack);
    return (int)number;
}

static int make_table(struct maker *maker)
{
    const struct program *program = maker->program;
    struct program_at begin = {.begin = true};
    int state = state_of_nodes(maker); /* of none: it is REGEX_DEAD */

    if (state >= 0) {
        program_close(program, program->start, begin, maker->nodes, maker->stack);
        maker->nodes[program->len / 64] |= UINT64_C(1) << program->len % 64;
        state = state_of_nodes(maker);
    }
    for (size_t at = 0; state >= 0 && at < maker->states.len; at++) {
        for (size_t byte = 0; state >= 0 && byte < program->classes; byte++) {
            const uint64_t *from = states_at(&maker->states, at);

            memset(maker->nodes, 0, program->words * sizeof(*maker->nodes));
            program_step(program, from, program->byte_of[byte], maker->nodes, maker->stack);
            maker->work += count_nodes(from, program->words);
            state = maker->work > DFA_WORK_MAX ? -E2BIG : state_of_nodes(maker);
            if (state >= 0)
                maker->table[at * maker->row + byte] = (uint16_t)((size_t)state * maker->row);
        }
    }
    return state < 0 ? state : 0;
}

/* -E2BIG: it would be too large. */
static int make_dfa(struct regex *regex, const struct program *program)
{
    CLEANUP(maker_fini) struct maker maker = {0};
    int result = maker_init(&maker, program);

    if (result == 0)
        result = make_table(&maker);
    if (result < 0)
        return result;
    regex->row = maker.row;
    regex->entries = maker.states.len * maker.row;
    memcpy(regex->class_of, program->class_of, sizeof(regex->class_of));
    regex->table = realloc(maker.table, regex->entries * sizeof(*regex->table)); /* none to spare */
    if (!regex->table)
        return -ENOMEM;
    maker.table = NULL;
    return 0;
}

int regex_new(struct regex **out, const char *expression, struct regex_fault *fault)
{
    CLEANUP(regex_free) struct regex *regex = calloc(1, sizeof(*regex));
    CLEANUP(byte_sets_fini) struct byte_sets sets = {0};
    CLEANUP(tree_fini) struct tree tree = {0};
    CLEANUP(program_free) struct program *program = NULL;
    int result;

    if (!regex)
        return -ENOMEM;
    result = tree_parse(&tree, &sets, span_of_text(expression), fault);
    if (result == 0)
        result = program_new(&program, &tree, 1, &sets);
    if (result == -E2BIG) {
        *fault = (struct regex_fault){0, "too long: its parts are more than 8192"};
        return -EINVAL;
    }
    if (result < 0)
        return result;
    result = make_dfa(regex, program);
    if (result == -E2BIG && program->len > strlen(expression) + NFA_COPIES_MAX) {
        *fault = (struct regex_fault){0, "repeats too much to be matched quickly"};
        return -EINVAL;
    }
    if (result == -E2BIG)
        regex->program = TAKE(program);
    else if (result < 0)
        return result;
    *out = TAKE(regex);
    return 0;
}

void regex_free(struct regex **regex)
{
    if (!*regex)
        return;
    program_free(&(*regex)->program);
    free((*regex)->table);
    free(TAKE(*regex));
}

size_t regex_size(const struct regex *regex)
{
    return sizeof(*regex) + (regex->program ? program_size(regex->program) : 0) +
           regex->entries * sizeof(*regex->table);
}

static bool match_nfa(const struct program *program, struct span text)
{
    uint64_t sets[2][PROGRAM_WORDS_MAX];
    uint16_t stack[PROGRAM_NODES_MAX];
    uint64_t *now = sets[0], *then = sets[1];
    size_t size = program->words * sizeof(*now);
    struct program_at begin = {.begin = true};

    memset(now, 0, size);
    program_close(program, program->start, begin, now, stack);
    now[program->len / 64] |= UINT64_C(1) << program->len % 64;
    for (size_t i = 0; i < text.len; i++) {
        uint64_t *last = now;

        memset(then, 0, size);
        program_step(program, now, text.data[i], then, stack);
        now = then;
        then = last;
    }
    return accepts(program, now, then, stack);
}

bool regex_match(const struct regex *regex, struct span text)
{
    const uint16_t *table = regex->table;
    size_t row = regex->row;

    if (regex->program)
        return match_nfa(regex->program, text);
    for (size_t i = 0; i < text.len && row != REGEX_DEAD; i++)
        row = table[row + regex->class_of[text.data[i]]];
    return table[row + regex->row - 1];
}

bool regex_has_dfa(const struct regex *regex)
{
    return regex->table;
}

uint32_t regex_begins(const struct regex *regex)
{
    return (uint32_t)regex->row;
}

uint32_t regex_leads(const struct regex *regex, uint32_t state, uint8_t byte)
{
    return regex->table[state + regex->class_of[byte]];
}

bool regex_ends(const struct regex *regex, uint32_t state)
{
    return regex->table[state + regex->row - 1];
}
