/* regex_fuzz: an expression, a NUL, a text: it is refused with a place in it, or matches just what
 * the model says it does; however large the text is, each of its bytes costs only so much. */
#include "policy/regex.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/regex_model.h"

#include <errno.h>

#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(regex_free) struct regex *regex = NULL;
    CLEANUP(tree_fini) struct tree tree = {0};
    CLEANUP(byte_sets_fini) struct byte_sets sets = {0};
    struct regex_fault fault = {0};
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    struct span text;
    int result;

    if (!nul)
        return 0;
    text = span_of(nul + 1, size - (size_t)(nul + 1 - data));
    result = regex_new(&regex, (const char *)data, &fault);
    if (result < 0) {
        CHECK(result == -EINVAL && !regex && fault.text);
        CHECK(fault.at <= (size_t)(nul - data));
        return 0;
    }
    CHECK(regex_size(regex) < 200000);
    regex_match(regex, text); /* of any length */
    if (text.len > MODEL_TEXT_MAX)
        text.len = MODEL_TEXT_MAX;
    CHECK(tree_parse(&tree, &sets, span_of(data, (size_t)(nul - data)), &fault) == 0);
    CHECK(regex_match(regex, text) ==
          (model_ends(&tree, &sets, tree.root, text, 1) >> text.len & 1));
    return 0;
}
