/* document_fuzz: whatever bytes are called a document, what becomes of them keeps to its bounds and
 * to its promises: places that are in the file, keys that stand once, faults that can be told. */
#include "policy/document.h"
#include "tests/fuzz/check.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(const struct node *node, const struct node *map, unsigned depth)
{
    size_t seen = 0;

    for (const struct node *at = node; at; at = at->next) {
        size_t len = 0;

        CHECK(at->mark.line && at->mark.column);
        CHECK(at->kind == NODE_TEXT || depth < DOCUMENT_DEPTH_MAX);
        CHECK(!map == !at->key);
        for (const struct node *other = map ? map->first : at; other != at; other = other->next)
            CHECK(strcmp(other->key, at->key) != 0);
        for (const struct node *child = at->first; child; child = child->next)
            len++;
        CHECK(len == at->len);
        CHECK((at->kind == NODE_TEXT) == (at->text != NULL));
        CHECK(at->kind != NODE_TEXT || !at->first);
        seen += 1 + walk(at->first, at->kind == NODE_MAP ? at : NULL, depth + 1);
    }
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(document_free) struct document *document = NULL;
    CLEANUP(faults_fini) struct faults faults = {0};
    CLEANUP(text_free) char *told = NULL;
    struct span bytes = span_of(data, size);
    int result = document_parse(&document, bytes, &faults);

    CHECK(result == 0 || result == -EINVAL);
    CHECK((result == 0) == (faults_count(&faults) == 0));
    CHECK(walk(document_first(document), NULL, 0) <= DOCUMENT_NODES_MAX);
    told = faults_tell(&faults, "f", bytes);
    CHECK(told && (faults_count(&faults) == 0) == (*told == 0));
    for (const char *at = told; *at; at++)
        CHECK((unsigned char)*at >= 0x20 || *at == '\n' || *at == '\t');
    return 0;
}
