/* regex_tree: recursive descent, a call a level of brackets. */
#include "policy/regex_tree.h"

#include <errno.h>
#include <stdlib.h>

struct parser {
    struct span text;
    size_t at;
    struct tree *tree;
    struct byte_sets *sets;
    uint32_t singles[256]; /* places of sets of one byte, plus 1 */
    uint32_t copies;       /* what repeats added to the size */
    unsigned depth;
    bool nocase;
    struct regex_fault *fault;
    int error;
};

void byte_sets_fini(struct byte_sets *sets)
{
    free(sets->list);
    *sets = (struct byte_sets){0};
}

void tree_fini(struct tree *tree)
{
    free(tree->list);
    *tree = (struct tree){0};
}

/* Room for one more; NULL: none. */
static void *grown(void *list, size_t len, size_t *room, size_t each)
{
    size_t more = *room ? *room * 2 : 16;
    void *moved;

    if (len < *room)
        return list;
    moved = realloc(list, more * each);
    if (moved)
        *room = more;
    return moved;
}

/* Its place in the list; -ENOMEM. */
static int sets_add(struct byte_sets *sets, const struct byte_set *set)
{
    struct byte_set *list;

    for (size_t i = 0; i < sets->len; i++)
        if (memcmp(&sets->list[i], set, sizeof(*set)) == 0)
            return (int)i;
    list = grown(sets->list, sets->len, &sets->room, sizeof(*list));
    if (!list)
        return -ENOMEM;
    sets->list = list;
    list[sets->len] = *set;
    return (int)sets->len++;
}

/* Functions below return a place in the tree; 0: error is set. */

static uint32_t wrong(struct parser *parser, size_t at, const char *text)
{
    *parser->fault = (struct regex_fault){at, text};
    parser->error = -EINVAL;
    return 0;
}

static uint32_t add(struct parser *parser, struct tree_node node)
{
    struct tree *tree = parser->tree;
    struct tree_node *list = grown(tree->list, tree->len, &tree->room, sizeof(*list));

    if (!list) {
        parser->error = -ENOMEM;
        return 0;
    }
    tree->list = list;
    if (tree->len == 0)
        list[tree->len++] = (struct tree_node){0}; /* place 0 */
    list[tree->len] = node;
    return (uint32_t)tree->len++;
}

static uint32_t add_set(struct parser *parser, const struct byte_set *set)
{
    int place = sets_add(parser->sets, set);

    if (place < 0) {
        parser->error = place;
        return 0;
    }
    return add(parser, (struct tree_node){
                           .kind = TREE_SET, .set = (uint32_t)place, .size = 1, .shortest = 1});
}

/* Most of an expression is bytes: their sets are looked up, not searched. */
static uint32_t add_byte(struct parser *parser, uint8_t byte)
{
    struct byte_set set = {0};
    uint32_t place = parser->singles[byte], node;

    if (place)
        return add(parser, (struct tree_node){
                               .kind = TREE_SET, .set = place - 1, .size = 1, .shortest = 1});
    byte_set_add(&set, byte, byte);
    if (parser->nocase)
        byte_set_fold(&set);
    node = add_set(parser, &set);
    if (node)
        parser->singles[byte] = parser->tree->list[node].set + 1;
    return node;
}

static uint32_t sum(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

/* Puts a child behind the last one; what the parent matches follows from them. */
static void append(struct parser *parser, uint32_t parent, uint32_t *last, uint32_t child)
{
    struct tree_node *list = parser->tree->list, *up = &list[parent], *new = &list[child];
    bool first = !up->child;

    *(first ? &up->child : &list[*last].next) = child;
    *last = child;
    up->size += new->size;
    if (up->kind == TREE_CAT || first) {
        up->shortest = sum(up->shortest, new->shortest);
        return;
    }
    up->size++; /* where it parts */
    if (new->shortest < up->shortest)
        up->shortest = new->shortest;
}

static bool looking_at(const struct parser *parser, const char *text)
{
    size_t len = strlen(text);

    return parser->text.len - parser->at >= len &&
           memcmp(parser->text.data + parser->at, text, len) == 0;
}

/* The bytes of one character in UTF-8, or one byte that is none. */
static size_t character_len(struct span text)
{
    uint8_t lead = text.data[0];
    size_t len = lead >= 0xc2 && lead < 0xe0   ? 2
                 : lead >= 0xe0 && lead < 0xf0 ? 3
                 : lead >= 0xf0 && lead < 0xf5 ? 4
                                               : 1;

    if (len > text.len)
        return 1;
    for (size_t i = 1; i < len; i++)
        if ((text.data[i] & 0xc0) != 0x80)
            return 1;
    return len;
}

static uint32_t parse_character(struct parser *parser)
{
    struct span rest = {parser->text.data + parser->at, parser->text.len - parser->at};
    size_t len = character_len(rest);
    uint32_t all, last = 0;

    parser->at += len;
    if (len == 1)
        return add_byte(parser, rest.data[0]);
    all = add(parser, (struct tree_node){.kind = TREE_CAT});
    for (size_t i = 0; all && i < len; i++) {
        uint32_t byte = add_byte(parser, rest.data[i]);

        if (!byte)
            return 0;
        append(parser, all, &last, byte);
    }
    return all;
}

static uint32_t parse_alternatives(struct parser *parser);

static uint32_t parse_group(struct parser *parser)
{
    size_t open = parser->at;
    uint32_t inside;

    if (looking_at(parser, "(?=") || looking_at(parser, "(?!") || looking_at(parser, "(?<=") ||
        looking_at(parser, "(?<!"))
        return wrong(parser, open, "look-around is not known: matching could take forever");
    if (looking_at(parser, "(?P<") || looking_at(parser, "(?<"))
        return wrong(parser, open, "groups have no names here: ( ) is enough");
    if (looking_at(parser, "(?i"))
        return wrong(parser, open, "(?i) stands at the start, for the whole expression");
    if (looking_at(parser, "(?:"))
        parser->at += 3;
    else if (looking_at(parser, "(?"))
        return wrong(parser, open,
                     "of what begins with (? only (?:...), and (?i) at the start, are known");
    else
        parser->at++;
    if (++parser->depth > REGEX_DEPTH_MAX)
        return wrong(parser, open, "more than 64 brackets, each in the other");
    inside = parse_alternatives(parser);
    parser->depth--;
    if (!inside)
        return 0;
    if (!looking_at(parser, ")"))
        return wrong(parser, open, "'(' is never closed");
    parser->at++;
    return inside;
}

static uint32_t parse_class(struct parser *parser)
{
    struct byte_set set = {0};

    parser->at++;
    if (!class_parse(parser->text, &parser->at, parser->nocase, &set, parser->fault)) {
        parser->error = -EINVAL;
        return 0;
    }
    return add_set(parser, &set);
}

static uint32_t parse_escape(struct parser *parser)
{
    struct byte_set set = {0};
    int byte;

    parser->at++;
    if (!escape_parse(parser->text, &parser->at, &set, &byte, parser->fault)) {
        parser->error = -EINVAL;
        return 0;
    }
    return byte >= 0 ? add_byte(parser, (uint8_t)byte) : add_set(parser, &set);
}

static uint32_t parse_atom(struct parser *parser)
{
    struct byte_set any = {0};
    uint8_t c = parser->text.data[parser->at];

    switch (c) {
    case '(':
        return parse_group(parser);
    case '[':
        return parse_class(parser);
    case '\\':
        return parse_escape(parser);
    case '.':
        parser->at++;
        byte_set_add(&any, 0, '\n' - 1);
        byte_set_add(&any, '\n' + 1, 255);
        return add_set(parser, &any);
    case '^':
    case '$':
        parser->at++;
        return add(parser, (struct tree_node){.kind = c == '^' ? TREE_BEGIN : TREE_END, .size = 1});
    case '*':
    case '+':
    case '?':
        return wrong(parser, parser->at, "there is nothing to repeat");
    case '{':
        return wrong(parser, parser->at, "there is nothing to repeat: \\{ is the brace itself");
    default:
        return parse_character(parser);
    }
}

/* Digits; false: none. Stays at REGEX_REPEAT_MAX + 1 where there are too many. */
static bool parse_number(struct parser *parser, uint16_t *out)
{
    size_t from = parser->at;

    *out = 0;
    for (; parser->at < parser->text.len; parser->at++) {
        uint8_t c = parser->text.data[parser->at];

        if (c < '0' || c > '9')
            break;
        *out = (uint16_t)(*out * 10 + c - '0');
        if (*out > REGEX_REPEAT_MAX)
            *out = REGEX_REPEAT_MAX + 1;
    }
    return parser->at > from;
}

/* {2}, {2,}, {2,5} */
static bool parse_count(struct parser *parser, uint16_t *least, uint16_t *most)
{
    size_t open = parser->at++;
    bool fine = parse_number(parser, least);

    *most = *least;
    if (fine && looking_at(parser, ",")) {
        parser->at++;
        if (!parse_number(parser, most))
            *most = REGEX_NO_END;
    }
    if (!fine || !looking_at(parser, "}"))
        return wrong(parser, open, "no count such as {2} or {2,5}: \\{ is the brace itself");
    parser->at++;
    if (*least > REGEX_REPEAT_MAX || (*most > REGEX_REPEAT_MAX && *most != REGEX_NO_END))
        return wrong(parser, open, "repeats too much: 1000 times is the most");
    if (*least > *most)
        return wrong(parser, open, "the least of this count is more than its most");
    return true;
}

static uint32_t add_repeat(struct parser *parser, uint32_t child, uint16_t least, uint16_t most,
                           size_t at)
{
    const struct tree_node *node = &parser->tree->list[child];
    bool endless = most == REGEX_NO_END;
    uint64_t times = endless ? (least ? least : 1) : most;
    uint64_t size = node->size * times + (endless ? 1 : most - least);
    uint64_t shortest = (uint64_t)node->shortest * least;

    if (size > node->size)
        parser->copies += (uint32_t)(size - node->size);
    if (parser->copies > REGEX_COPIES_MAX)
        return wrong(parser, at, "repeats too much: what it stands for is too long");
    return add(parser, (struct tree_node){
                           .kind = TREE_REPEAT,
                           .least = least,
                           .most = most,
                           .child = child,
                           .size = (uint32_t)size,
                           .shortest = (uint32_t)(shortest < UINT32_MAX ? shortest : UINT32_MAX),
                       });
}

static bool at_repeat(const struct parser *parser)
{
    return looking_at(parser, "*") || looking_at(parser, "+") || looking_at(parser, "?") ||
           looking_at(parser, "{");
}

/* An atom, and how often. */
static uint32_t parse_piece(struct parser *parser)
{
    uint32_t atom = parse_atom(parser);
    size_t at = parser->at;
    uint16_t least = 0, most = REGEX_NO_END;

    if (!atom || !at_repeat(parser))
        return atom;
    if (parser->tree->list[atom].kind == TREE_BEGIN || parser->tree->list[atom].kind == TREE_END)
        return wrong(parser, at, "an anchor cannot be repeated");
    switch (parser->text.data[at]) {
    case '{':
        if (!parse_count(parser, &least, &most))
            return 0;
        break;
    case '?':
        most = 1;
        parser->at++;
        break;
    default:
        least = parser->text.data[at] == '+';
        parser->at++;
    }
    if (looking_at(parser, "?"))
        parser->at++; /* as few as possible: the same, where only the whole counts */
    if (at_repeat(parser))
        return wrong(parser, parser->at, "two repeats, one on the other: put the first in ( )");
    return add_repeat(parser, atom, least, most, at);
}

static uint32_t parse_sequence(struct parser *parser)
{
    uint32_t all = add(parser, (struct tree_node){.kind = TREE_CAT}), last = 0;

    while (all && parser->at < parser->text.len && !looking_at(parser, "|") &&
           !looking_at(parser, ")")) {
        uint32_t piece = parse_piece(parser);

        if (!piece)
            return 0;
        append(parser, all, &last, piece);
    }
    if (all && !parser->tree->list[all].size)
        parser->tree->list[all].size = 1; /* nothing, too, takes time when it is repeated */
    return all;
}

static uint32_t parse_alternatives(struct parser *parser)
{
    uint32_t all = add(parser, (struct tree_node){.kind = TREE_ALT}), last = 0;

    while (all) {
        uint32_t one = parse_sequence(parser);

        if (!one)
            return 0;
        append(parser, all, &last, one);
        if (!looking_at(parser, "|"))
            break;
        parser->at++;
    }
    return all;
}

int tree_parse(struct tree *tree, struct byte_sets *sets, struct span expression,
               struct regex_fault *fault)
{
    struct parser parser = {.text = expression, .tree = tree, .sets = sets, .fault = fault};

    if (expression.len > REGEX_LENGTH_MAX) {
        wrong(&parser, REGEX_LENGTH_MAX, "too long: 4096 bytes are the most");
        return parser.error;
    }
    if (looking_at(&parser, "(?i)")) {
        parser.nocase = true;
        parser.at += 4;
    }
    tree->root = parse_alternatives(&parser);
    if (tree->root && parser.at < expression.len)
        wrong(&parser, parser.at, "')' was never opened");
    return parser.error;
}
