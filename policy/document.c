/* libyaml's events, one by one. Containers that are open stand on a stack of fixed depth; nodes
 * hang on one list, by which they are freed, whatever became of the tree. */
#include "policy/document.h"

#include <errno.h>
#include <search.h>
#include <string.h>
#include <yaml.h>

struct made { /* a node as it is kept */
    struct node node;
    struct made *before;
    char *text, *key; /* what the node's point to */
};

struct document {
    struct node *first;
    struct made *last; /* made */
    size_t len;
    bool cut; /* the reading ended before the bytes did */
};

struct open { /* a list or map that is being read */
    struct node *node;
    struct node **end; /* where the next one hangs */
    bool expects_key;  /* a map: what comes is a key */
    struct node *key;  /* a map: the key that was read; NULL: it was no text */
    void *names;       /* a map: its keys, for tsearch(3) */
};

struct reader {
    struct document *document;
    struct faults *faults;
    struct open open[DOCUMENT_DEPTH_MAX];
    size_t depth;
    struct node **root_end;
    bool stopped; /* more than we read */
    int code;
};

static struct mark mark_of(yaml_mark_t mark)
{
    return (struct mark){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

static void stop(struct reader *reader, struct mark mark, const char *why, int most)
{
    faults_add(reader->faults, mark, "%s more than %d; what follows was not read", why, most);
    reader->stopped = true;
    reader->document->cut = true;
}

/* ---- nodes ---- */

/* NULL: out of memory, or too many. */
static struct made *make(struct reader *reader, enum node_kind kind, struct mark mark)
{
    struct document *document = reader->document;
    struct made *made;

    if (document->len == DOCUMENT_NODES_MAX) {
        stop(reader, mark, "texts, lists and maps are", DOCUMENT_NODES_MAX);
        return NULL;
    }
    made = calloc(1, sizeof(*made));
    if (!made) {
        reader->code = -ENOMEM;
        return NULL;
    }
    made->node.kind = kind;
    made->node.mark = mark;
    made->before = document->last;
    document->last = made;
    document->len++;
    return made;
}

static struct made *made_of(struct node *node)
{
    return (struct made *)node; /* its first member */
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const struct node *)a)->key, ((const struct node *)b)->key);
}

/* The value of a map's key, or what stands where a key should. */
static void add_to_map(struct reader *reader, struct open *map, struct node *node)
{
    struct node **known;

    if (map->expects_key) {
        map->expects_key = false;
        map->key = node->kind == NODE_TEXT ? node : NULL;
        if (!map->key)
            faults_add(reader->faults, node->mark, "%s cannot be a key",
                       node_kind_name(node->kind));
        return;
    }
    map->expects_key = true;
    if (!map->key)
        return;
    made_of(node)->key = TAKE(made_of(map->key)->text);
    node->key = made_of(node)->key;
    node->key_mark = map->key->mark;
    known = tsearch(node, &map->names, compare_keys);
    if (!known) {
        reader->code = -ENOMEM;
        return;
    }
    if (*known != node) {
        faults_add(reader->faults, node->key_mark, "'%.100s' stands here again, after line %u",
                   node->key, (*known)->key_mark.line);
        return;
    }
    *map->end = node;
    map->end = &node->next;
    map->node->len++;
}

static void add(struct reader *reader, struct node *node)
{
    struct open *open = reader->depth ? &reader->open[reader->depth - 1] : NULL;

    if (open && open->node->kind == NODE_MAP) {
        add_to_map(reader, open, node);
        return;
    }
    if (open) {
        *open->end = node;
        open->end = &node->next;
        open->node->len++;
        return;
    }
    *reader->root_end = node;
    reader->root_end = &node->next;
}

/* ---- events ---- */

/* True: the tag says only what is so. */
static bool check_tag(struct reader *reader, const yaml_char_t *tag, const char *usual,
                      struct mark mark)
{
    if (!tag)
        return false;
    if (strcmp((const char *)tag, "!") == 0 || strcmp((const char *)tag, usual) == 0)
        return true;
    faults_add(reader->faults, mark, "the tag '%.100s' means nothing here; leave it out",
               (const char *)tag);
    return false;
}

static void check_anchor(struct reader *reader, const yaml_char_t *anchor, struct mark mark)
{
    if (anchor)
        faults_add(reader->faults, mark, "anchors such as '&%.100s' are not read; leave it out",
                   (const char *)anchor);
}

static void on_text(struct reader *reader, const yaml_event_t *event)
{
    const yaml_char_t *value = event->data.scalar.value;
    struct mark mark = mark_of(event->start_mark);
    struct made *made = make(reader, NODE_TEXT, mark);

    if (!made)
        return;
    check_anchor(reader, event->data.scalar.anchor, mark);
    made->node.quoted = check_tag(reader, event->data.scalar.tag, YAML_STR_TAG, mark) ||
                        event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (memchr(value, 0, event->data.scalar.length))
        faults_add(reader->faults, mark, "a text cannot hold a NUL character");
    made->text = strdup((const char *)value);
    if (!made->text)
        reader->code = -ENOMEM;
    made->node.text = made->text;
    add(reader, &made->node);
}

static void on_begin(struct reader *reader, enum node_kind kind, const yaml_char_t *tag,
                     const yaml_char_t *anchor, struct mark mark)
{
    struct made *made = make(reader, kind, mark);

    if (!made)
        return;
    check_anchor(reader, anchor, mark);
    check_tag(reader, tag, kind == NODE_LIST ? YAML_SEQ_TAG : YAML_MAP_TAG, mark);
    if (reader->depth == DOCUMENT_DEPTH_MAX) {
        stop(reader, mark, "lists and maps inside each other are", DOCUMENT_DEPTH_MAX);
        return;
    }
    reader->open[reader->depth++] = (struct open){
        .node = &made->node, .end = &made->node.first, .expects_key = kind == NODE_MAP};
}

static void forget(void *node)
{
    (void)node; /* the document's */
}

static struct node *close_one(struct reader *reader)
{
    struct open *open = &reader->open[--reader->depth];

    tdestroy(TAKE(open->names), forget);
    return open->node;
}

/* It becomes a part of what it stands in only now. */
static void on_end(struct reader *reader)
{
    add(reader, close_one(reader));
}

/* The bytes ended inside: what stands before has faults of its own to tell, but what looks like a
 * key here need not be one. */
static void break_off(struct reader *reader)
{
    while (reader->depth) {
        struct node *node = close_one(reader);

        if (!reader->depth || !reader->open[reader->depth - 1].expects_key)
            add(reader, node);
    }
}

static void on_alias(struct reader *reader, const yaml_event_t *event)
{
    struct mark mark = mark_of(event->start_mark);
    struct made *made = make(reader, NODE_TEXT, mark);

    if (!made)
        return;
    faults_add(reader->faults, mark, "aliases such as '*%.100s' are not read; write it out",
               (const char *)event->data.alias.anchor);
    made->text = strdup("");
    if (!made->text)
        reader->code = -ENOMEM;
    made->node.text = made->text;
    made->node.quoted = true;
    add(reader, &made->node);
}

/* False: that was the last one. */
static bool on_event(struct reader *reader, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        on_text(reader, event);
        break;
    case YAML_ALIAS_EVENT:
        on_alias(reader, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        on_begin(reader, NODE_LIST, event->data.sequence_start.tag,
                 event->data.sequence_start.anchor, mark_of(event->start_mark));
        break;
    case YAML_MAPPING_START_EVENT:
        on_begin(reader, NODE_MAP, event->data.mapping_start.tag, event->data.mapping_start.anchor,
                 mark_of(event->start_mark));
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        on_end(reader);
        break;
    case YAML_STREAM_END_EVENT:
        return false;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        break;
    }
    return !reader->stopped && reader->code == 0;
}

/* ---- all of it ---- */

/* Somebody indents by it, and cannot see it. */
static bool is_tab(struct span bytes, yaml_mark_t mark)
{
    const uint8_t *line = bytes.data, *end = bytes.data + bytes.len;

    for (; line && mark.line; mark.line--) {
        line = memchr(line, '\n', (size_t)(end - line));
        if (line)
            line++;
    }
    if (!line || mark.column >= (size_t)(end - line))
        return false;
    for (size_t i = 0; i < mark.column; i++)
        if (line[i] != ' ' && line[i] != '\t')
            return false;
    return line[mark.column] == '\t';
}

static void tell_syntax(struct reader *reader, const yaml_parser_t *parser, struct span bytes)
{
    const char *problem = parser->problem ? parser->problem : "it cannot be read";

    if (parser->error == YAML_MEMORY_ERROR)
        reader->code = -ENOMEM;
    else if (parser->error == YAML_READER_ERROR)
        faults_add(reader->faults, fault_mark(bytes, parser->problem_offset),
                   "this is no text in UTF-8: %s", problem);
    else if (is_tab(bytes, parser->problem_mark))
        faults_add(reader->faults, mark_of(parser->problem_mark),
                   "this is no YAML: a tab stands here, and YAML is indented by spaces alone");
    else if (parser->context)
        faults_add(reader->faults, mark_of(parser->problem_mark),
                   "this is no YAML: %s, %s that begins in line %zu", problem, parser->context,
                   parser->context_mark.line + 1);
    else
        faults_add(reader->faults, mark_of(parser->problem_mark), "this is no YAML: %s", problem);
}

static void read_events(struct reader *reader, struct span bytes)
{
    yaml_parser_t parser;
    bool more = true;

    if (!yaml_parser_initialize(&parser)) {
        reader->code = -ENOMEM;
        return;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, bytes.data ? bytes.data : (const uint8_t *)"", bytes.len);
    while (more) {
        yaml_event_t event;

        if (!yaml_parser_parse(&parser, &event)) {
            tell_syntax(reader, &parser, bytes);
            reader->document->cut = true;
            break;
        }
        more = on_event(reader, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    break_off(reader);
}

int document_parse(struct document **out, struct span bytes, struct faults *faults)
{
    CLEANUP(document_free) struct document *document = calloc(1, sizeof(*document));
    struct reader reader = {.document = document, .faults = faults};
    size_t before = faults_count(faults);

    if (!document)
        return -ENOMEM;
    reader.root_end = &document->first;
    if (bytes.len > DOCUMENT_SIZE_MAX)
        faults_add(faults, (struct mark){0}, "is larger than %d MiB", DOCUMENT_SIZE_MAX >> 20);
    else
        read_events(&reader, fault_text(bytes)); /* libyaml takes the mark for an indent */
    if (reader.code < 0)
        return reader.code;
    *out = TAKE(document);
    return faults_count(faults) > before ? -EINVAL : 0;
}

void document_free(struct document **document)
{
    struct document *gone = TAKE(*document);

    while (gone && gone->last) {
        struct made *made = gone->last;

        gone->last = made->before;
        free(made->text);
        free(made->key);
        free(made);
    }
    free(gone);
}

const struct node *document_first(const struct document *document)
{
    return document->first;
}

bool document_is_whole(const struct document *document)
{
    return !document->cut;
}

bool node_is_null(const struct node *node)
{
    return node->kind == NODE_TEXT && !node->quoted &&
           (!*node->text || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

const char *node_kind_name(enum node_kind kind)
{
    static const char *const names[] = {
        [NODE_TEXT] = "a text", [NODE_LIST] = "a list", [NODE_MAP] = "a map"};

    return names[kind];
}
