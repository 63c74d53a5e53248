/* document: YAML into nodes that remember their place.
 *
 * Pure: bytes in, nodes out. What nobody needs in a file that a person writes, and what has broken
 * readers of YAML, is a fault here: aliases and anchors, tags, keys that stand twice, keys that are
 * no text, deep nesting. So are bytes that are no YAML. Every fault of one pass is found, but what
 * follows a place where the bytes stop being YAML is not read.
 * Called by:  proxy/config.c. */
#pragma once

#include <stdbool.h>

#include "policy/fault.h"

/* Ten thousand rules of a policy are 4 MB and 450 000 nodes; 1 000 000 take 150 MB while they are
 * read. */
enum { DOCUMENT_SIZE_MAX = 16 << 20, DOCUMENT_DEPTH_MAX = 64, DOCUMENT_NODES_MAX = 1000000 };

enum node_kind { NODE_TEXT, NODE_LIST, NODE_MAP };

struct node {
    enum node_kind kind;
    struct mark mark;
    const char *text; /* of NODE_TEXT, as it is meant: without quotes, escapes resolved */
    bool quoted;      /* ... or said to be a text: `"true"` is not the word true */
    size_t len;       /* of NODE_LIST, NODE_MAP: how many */
    struct node *first;
    struct node *next;    /* in the same list or map, or among the file's documents */
    const char *key;      /* in a map: what this is the value of */
    struct mark key_mark; /* ... and where that stands */
};

struct document;

/* *out is the caller's, also where there are faults: what could be read. -EINVAL: there are, in
 * faults; -ENOMEM. */
int document_parse(struct document **out, struct span bytes, struct faults *faults);
void document_free(struct document **document);

/* The first of the file's documents (those behind it: next); NULL where there is none. */
const struct node *document_first(const struct document *document);

/* False: what follows some place was not read, so what is missing may stand there. */
bool document_is_whole(const struct document *document);

/* A value left out: nothing, ~ or null. */
bool node_is_null(const struct node *node);
const char *node_kind_name(enum node_kind kind); /* "a text", … */
