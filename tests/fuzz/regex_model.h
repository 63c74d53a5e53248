/* regex_model: what an expression matches, said by its tree and by nothing cleverer: the set of
 * places (a bit each) where a part can end when it begins at one of a set of places. */
#pragma once

#include "policy/regex_tree.h"

enum { MODEL_TEXT_MAX = 63 };

static uint64_t model_ends(const struct tree *tree, const struct byte_sets *sets, uint32_t place,
                           struct span text, uint64_t starts)
{
    const struct tree_node *node = &tree->list[place];
    uint64_t ends = 0, last = starts;

    switch (node->kind) {
    case TREE_SET:
        for (size_t i = 0; i < text.len; i++)
            if (starts >> i & 1 && byte_set_has(&sets->list[node->set], text.data[i]))
                ends |= UINT64_C(2) << i;
        return ends;
    case TREE_CAT:
        for (uint32_t at = node->child; at; at = tree->list[at].next)
            starts = model_ends(tree, sets, at, text, starts);
        return starts;
    case TREE_ALT:
        for (uint32_t at = node->child; at; at = tree->list[at].next)
            ends |= model_ends(tree, sets, at, text, starts);
        return ends;
    case TREE_REPEAT:
        for (unsigned i = 0; i < node->least && last; i++)
            last = model_ends(tree, sets, node->child, text, last);
        ends = last;
        for (unsigned i = node->least; i < node->most && last; i++) {
            last = model_ends(tree, sets, node->child, text, last) & ~ends; /* what is new */
            ends |= last;
        }
        return ends;
    case TREE_BEGIN:
        return starts & 1;
    case TREE_END:
        return starts & UINT64_C(1) << text.len;
    }
    return 0;
}
