/* scan_fuzz: expressions (a line each), a NUL, how it is cut, a text: what is told of it is what
 * the model says, and the same however it is cut and however often states are forgotten. */
#include "policy/scan.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/regex_model.h"

#include <errno.h>

#include "base/cleanup.h"

enum { EXPRESSIONS_MAX = 8, TOLD_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
    uint64_t list[TOLD_MAX]; /* end * EXPRESSIONS_MAX + pattern */
    size_t len;
};

static bool on_match(size_t pattern, uint64_t end, void *arg)
{
    struct told *told = arg;

    told->list[told->len++] = end * EXPRESSIONS_MAX + pattern;
    return told->len < TOLD_MAX;
}

static void scan(const struct scan_set *set, struct scan_cache *cache, struct span text,
                 size_t piece, struct told *told)
{
    struct scan_stream *stream = malloc(scan_stream_size(set));
    struct span now;
    bool on = true;

    CHECK(stream);
    scan_stream_init(set, stream);
    while (on && text.len > piece && span_take(&text, piece, &now))
        on = scan_feed(set, cache, stream, now, on_match, told);
    if (on && scan_feed(set, cache, stream, text, on_match, told))
        scan_end(set, cache, stream, on_match, told);
    free(stream);
}

static void model(const char *const *expressions, size_t len, struct span text, struct told *told)
{
    uint64_t everywhere = (UINT64_C(2) << text.len) - 1;
    uint64_t ends[EXPRESSIONS_MAX], open[EXPRESSIONS_MAX] = {0};

    for (size_t i = 0; i < len; i++) {
        CLEANUP(tree_fini) struct tree tree = {0};
        CLEANUP(byte_sets_fini) struct byte_sets sets = {0};
        struct regex_fault fault;

        CHECK(tree_parse(&tree, &sets, span_of_text(expressions[i]), &fault) == 0);
        ends[i] = model_ends(&tree, &sets, tree.root, text, everywhere);
        for (size_t end = 1; end <= text.len; end++) { /* without what only a '$' lets match */
            uint8_t more[MODEL_TEXT_MAX];

            memcpy(more, text.data, end);
            more[end] = 0;
            open[i] |= model_ends(&tree, &sets, tree.root, span_of(more, end + 1),
                                  (UINT64_C(2) << end) - 1) &
                       UINT64_C(1) << end;
        }
    }
    for (size_t end = 1; end <= text.len; end++)
        for (size_t i = 0; i < len; i++)
            if (open[i] >> end & 1)
                on_match(i, end, told);
    for (size_t i = 0; i < len; i++)
        if (ends[i] >> text.len & 1 && !(open[i] >> text.len & 1))
            on_match(i, text.len, told);
}

static bool same(const struct told *a, const struct told *b)
{
    return a->len == b->len && memcmp(a->list, b->list, a->len * sizeof(a->list[0])) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct scan_cache *cache;
    static struct told whole, pieces, want;
    CLEANUP(scan_set_free) struct scan_set *set = NULL;
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    CLEANUP(text_free) char *lines = nul ? strdup((const char *)data) : NULL;
    const char *expressions[EXPRESSIONS_MAX];
    struct regex_fault fault = {0};
    size_t len = 0, which = 0, piece;
    char *rest = lines;
    struct span text;
    int result;

    if (!nul || nul + 1 == data + size)
        return 0;
    piece = 1 + nul[1] % 70;
    text = span_of(nul + 2, size - (size_t)(nul + 2 - data));
    while (len < EXPRESSIONS_MAX && rest)
        expressions[len++] = strsep(&rest, "\n");
    result = scan_set_new(&set, expressions, len, &which, &fault);
    if (result < 0) {
        CHECK((result == -EINVAL || result == -E2BIG) && !set && fault.text && which < len);
        CHECK(fault.at <= strlen(expressions[which]));
        return 0;
    }
    if (!cache)
        CHECK(scan_cache_new(&cache, 0) == 0);
    whole.len = pieces.len = want.len = 0;
    scan(set, cache, text, text.len, &whole);
    scan(set, cache, text, piece, &pieces);
    CHECK(same(&whole, &pieces));
    if (text.len >= MODEL_TEXT_MAX)
        return 0;
    model(expressions, len, text, &want);
    CHECK(same(&whole, &want));
    return 0;
}
