/* scan: what is told of a stream, however it is cut, with plenty of room and with hardly any. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>

#include "base/cleanup.h"
#include "policy/scan.h"
#include "tests/fuzz/regex_model.h"

static const struct {
    const char *expressions[4];
    const char *text;
    const char *told; /* pattern@end, in order */
} cases[] = {
    {{"abc"}, "xxabcabcx", "0@5 0@8"},
    {{"abc"}, "ababcab", "0@5"},
    {{"aab"}, "aaaab", "0@5"},
    {{"ab{2,4}"}, "abbbbb", "0@3 0@4 0@5"},
    {{"abc", "bc", "c", "x"}, "abcx", "0@3 1@3 2@3 3@4"},
    {{"c", "bc", "abc"}, "abc", "0@3 1@3 2@3"},
    {{"c", "[ab]{70}c|c", "[ab]{70}x|c"}, "c", "0@1 1@1 2@1"},
    {{"a+"}, "aaxa", "0@1 0@2 0@4"},
    {{"^ab"}, "abab", "0@2"},
    {{"ab$"}, "abab", "0@4"},
    {{"^ab$"}, "ab", "0@2"},
    {{"^ab$"}, "abab", ""},
    {{"ab($|c)"}, "abcab", "0@3 0@5"},
    {{"ab(c|$)?"}, "ab", "0@2"},
    {{"(^|[^0-9])[0-9]{3}"}, "123 4567", "0@3 0@7"},
    {{"(?i)secret"}, "a SeCrEt", "0@8"},
    {{"a.*z"}, "a12z\nz", "0@4"},
    {{"\\x00\\xff+"}, "", ""},
    {{"[0-9]([ -]?[0-9]){12,18}"}, "n 4111-1111 1111 1111 x", "0@18 0@19 0@20 0@21"},
    {{"(AKIA|ASIA)[A-Z0-9]{16}", "AKIA"}, "AKIAIOSFODNN7EXAMPLE", "1@4 0@20"},
    {{"-----BEGIN [A-Z ]*PRIVATE KEY-----"}, "-----BEGIN RSA PRIVATE KEY-----\n", "0@31"},
};

struct told {
    char text[1 << 17];
    size_t len, enough; /* stops after so many; 0: never */
    size_t count;
};

static bool on_match(size_t pattern, uint64_t end, void *arg)
{
    struct told *told = arg;

    told->len +=
        (size_t)snprintf(told->text + told->len, sizeof(told->text) - told->len, "%s%zu@%llu",
                         told->len ? " " : "", pattern, (unsigned long long)end);
    assert_true(told->len < sizeof(told->text));
    return ++told->count != told->enough;
}

static struct scan_set *compiled(const char *const *expressions, size_t len)
{
    struct scan_set *set = NULL;
    struct regex_fault fault = {0};
    size_t which = 0;

    if (scan_set_new(&set, expressions, len, &which, &fault) < 0)
        fail_msg("'%s' at %zu: %s", expressions[which], fault.at, fault.text);
    return set;
}

static void free_memory(void *at)
{
    free(*(void **)at);
}

static struct scan_stream *begun(const struct scan_set *set)
{
    struct scan_stream *stream = malloc(scan_stream_size(set));

    assert_non_null(stream);
    scan_stream_init(set, stream);
    return stream;
}

/* By pieces of so many bytes. */
static void scan(const struct scan_set *set, struct scan_cache *cache, struct span text,
                 size_t piece, struct told *told)
{
    CLEANUP(free_memory) struct scan_stream *stream = begun(set);
    struct span now;

    while (text.len > piece && span_take(&text, piece, &now))
        if (!scan_feed(set, cache, stream, now, on_match, told))
            return;
    if (scan_feed(set, cache, stream, text, on_match, told))
        scan_end(set, cache, stream, on_match, told);
}

static void test_told(void **state)
{
    CLEANUP(scan_cache_free) struct scan_cache *cache = NULL;

    (void)state;
    assert_int_equal(scan_cache_new(&cache, 0), 0); /* one for all: begins anew with each set */
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(scan_set_free) struct scan_set *set = NULL;
        struct span text = span_of_text(cases[i].text);
        size_t len = 0;

        while (len < ARRAY_SIZE(cases[i].expressions) && cases[i].expressions[len])
            len++;
        set = compiled(cases[i].expressions, len);
        for (size_t piece = 1; piece <= text.len + 1; piece++) {
            struct told told = {0};

            scan(set, cache, text, piece, &told);
            if (strcmp(told.text, cases[i].told) != 0)
                fail_msg("'%s' in pieces of %zu: %s", cases[i].expressions[0], piece, told.text);
        }
    }
}

static void test_faults(void **state)
{
    static const struct {
        const char *expressions[3];
        size_t which, at;
        const char *text;
    } faults[] = {
        {{"a", "b*", "c"}, 1, 0, "matches no bytes at all, so everywhere"},
        {{"a", "b", "^$"}, 2, 0, "matches no bytes at all, so everywhere"},
        {{"a(", "b", "c"}, 0, 1, "'(' is never closed"},
        {{"a", "b", "c\\1"}, 2, 1, "back-references are not known: matching could take forever"},
    };
    const char *many[SCAN_PATTERNS_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        struct scan_set *set = NULL;
        struct regex_fault fault = {0};
        size_t which = 9;

        assert_int_equal(scan_set_new(&set, faults[i].expressions, 3, &which, &fault), -EINVAL);
        assert_int_equal(which, faults[i].which);
        assert_int_equal(fault.at, faults[i].at);
        assert_string_equal(fault.text, faults[i].text);
    }
    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = i % 2 ? "abc" : "[0-9]x";
    for (size_t too_many = 0; too_many < 2; too_many++) {
        CLEANUP(scan_set_free) struct scan_set *set = NULL;
        struct regex_fault fault = {0};
        size_t which;
        int result = scan_set_new(&set, many, SCAN_PATTERNS_MAX + too_many, &which, &fault);

        assert_int_equal(result, too_many ? -E2BIG : 0);
    }
    for (size_t i = 0; i < 5; i++) {
        CLEANUP(scan_set_free) struct scan_set *set = NULL;
        struct regex_fault fault = {0};
        size_t which;

        many[i] = "a{1,1000}";
        assert_int_equal(scan_set_new(&set, many, i + 1, &which, &fault), i < 4 ? 0 : -E2BIG);
    }
}

static void test_enough(void **state)
{
    static const char *const expressions[] = {"a", "b"};
    CLEANUP(scan_set_free) struct scan_set *set = compiled(expressions, 2);
    CLEANUP(scan_cache_free) struct scan_cache *cache = NULL;
    CLEANUP(free_memory) struct scan_stream *stream = begun(set);
    struct told told = {.enough = 2};

    (void)state;
    assert_int_equal(scan_cache_new(&cache, 0), 0);
    assert_true(scan_feed(set, cache, stream, BYTES("xa"), on_match, &told));
    assert_false(scan_feed(set, cache, stream, BYTES("xba"), on_match, &told));
    assert_false(scan_feed(set, cache, stream, BYTES("a"), on_match, &told));
    assert_false(scan_end(set, cache, stream, on_match, &told));
    assert_string_equal(told.text, "0@2 1@4");
}

/* Two threads' caches, another set in between: a stream is nobody's. */
static void test_streams_move(void **state)
{
    static const char *const one[] = {"abcdef"}, *const other[] = {"xyz", "z"};
    CLEANUP(scan_set_free) struct scan_set *set = compiled(one, 1);
    CLEANUP(scan_set_free) struct scan_set *set2 = compiled(other, 2);
    CLEANUP(scan_cache_free) struct scan_cache *cache = NULL;
    CLEANUP(scan_cache_free) struct scan_cache *cache2 = NULL;
    CLEANUP(free_memory) struct scan_stream *stream = begun(set);
    CLEANUP(free_memory) struct scan_stream *stream2 = begun(set2);
    struct told told = {0}, told2 = {0};

    (void)state;
    assert_int_equal(scan_cache_new(&cache, 0), 0);
    assert_int_equal(scan_cache_new(&cache2, 0), 0);
    scan_feed(set, cache, stream, BYTES("ab"), on_match, &told);
    scan_feed(set2, cache, stream2, BYTES("x"), on_match, &told2);
    scan_feed(set, cache2, stream, BYTES("cd"), on_match, &told);
    scan_feed(set2, cache, stream2, BYTES("y"), on_match, &told2);
    scan_feed(set, cache, stream, BYTES("e"), on_match, &told);
    scan_feed(set2, cache2, stream2, BYTES("z"), on_match, &told2);
    scan_feed(set, cache, stream, BYTES("f"), on_match, &told);
    assert_string_equal(told.text, "0@6");
    assert_string_equal(told2.text, "0@3 1@3");
}

/* ---- against the model ---------------------------------------------------- */

static unsigned long long seed = 1;

static unsigned any(unsigned below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(seed >> 33) % below;
}

static void put_expression(char *out, unsigned depth)
{
    static const char *const atoms[] = {"a", "b", "ab", ".", "[ab]", "[^a]", "c", "ba", "^", "$"};
    static const char *const repeats[] = {"*", "+", "?", "{2}", "{1,3}", "{2,}"};

    for (unsigned pieces = 1 + any(4); pieces; pieces--) {
        unsigned atom = any(ARRAY_SIZE(atoms) + 3);

        if (atom < ARRAY_SIZE(atoms)) {
            strcat(out, atoms[atom]);
        } else if (depth) {
            strcat(out, "(");
            put_expression(out, depth - 1);
            strcat(out, ")");
        } else {
            strcat(out, "a");
        }
        if (any(4) == 0 && !strchr("^$", out[strlen(out) - 1]))
            strcat(out, repeats[any(ARRAY_SIZE(repeats))]);
    }
    if (depth && any(3) == 0) {
        strcat(out, "|");
        put_expression(out, depth - 1);
    }
}

/* What should be told of a text. */
static void model(const char *const *expressions, size_t len, struct span text, struct told *told)
{
    uint64_t everywhere = (UINT64_C(2) << text.len) - 1;
    uint64_t ends[4] = {0}, open[4] = {0};

    for (size_t i = 0; i < len; i++) {
        CLEANUP(tree_fini) struct tree tree = {0};
        CLEANUP(byte_sets_fini) struct byte_sets sets = {0};
        struct regex_fault fault;
        uint8_t more[MODEL_TEXT_MAX + 1];

        assert_int_equal(tree_parse(&tree, &sets, span_of_text(expressions[i]), &fault), 0);
        ends[i] = model_ends(&tree, &sets, tree.root, text, everywhere);
        /* what matches at the end, though there are more bytes, does not for a '$' */
        memcpy(more, text.data, text.len);
        more[text.len] = 'z';
        open[i] = model_ends(&tree, &sets, tree.root, span_of(more, text.len + 1), everywhere);
    }
    for (size_t end = 1; end <= text.len; end++)
        for (size_t i = 0; i < len; i++)
            if (open[i] >> end & 1)
                on_match(i, end, told);
    for (size_t i = 0; i < len; i++)
        if (ends[i] >> text.len & 1 && !(open[i] >> text.len & 1))
            on_match(i, text.len, told);
}

static void test_as_model(void **state)
{
    unsigned sets = getenv("SALLYPORT_FULL") ? 20000 : 1500, ends = 0;
    CLEANUP(scan_cache_free) struct scan_cache *cache = NULL;

    (void)state;
    assert_int_equal(scan_cache_new(&cache, 0), 0);
    for (unsigned round = 0; round < sets; round++) {
        CLEANUP(scan_set_free) struct scan_set *set = NULL;
        char written[3][1024];
        const char *expressions[3] = {written[0], written[1], written[2]};
        size_t len = 1 + any(3), which;
        struct regex_fault fault;

        for (size_t i = 0; i < len; i++) {
            written[i][0] = 0;
            put_expression(written[i], 2);
        }
        if (scan_set_new(&set, expressions, len, &which, &fault) < 0)
            continue; /* matches nothing at all, mostly */
        for (unsigned texts = 0; texts < 4; texts++) {
            struct told want = {0}, got = {0};
            char text[40];
            size_t text_len = 1 + any(sizeof(text) - 1);

            for (size_t i = 0; i < text_len; i++)
                text[i] = "aaabbcd"[any(7)];
            model(expressions, len, span_of(text, text_len), &want);
            scan(set, cache, span_of(text, text_len), 1 + any(20), &got);
            if (strcmp(want.text, got.text) != 0)
                fail_msg("%zu expressions ('%s') in %.*s: %s, not %s", len, written[0],
                         (int)text_len, text, got.text, want.text);
            ends += (unsigned)got.count;
        }
    }
    print_message("  %u ends\n", ends);
    assert_true(ends > sets);
}

/* More states than the cache has room for by far: forgotten again and again, and still right. */
static void test_forgetting(void **state)
{
    static const char *const expressions[] = {"[ab]*a[ab]{25}c", "b(a|bb){9}(ab|ba){9}c",
                                              "(a[ab]{0,30}){3}d"};
    CLEANUP(scan_set_free) struct scan_set *set = compiled(expressions, 3);
    CLEANUP(scan_cache_free) struct scan_cache *small = NULL;
    CLEANUP(scan_cache_free) struct scan_cache *large = NULL;
    enum { LEN = 30000 };
    CLEANUP(text_free) char *text = malloc(LEN);
    static struct told with_little, with_much;

    (void)state;
    assert_non_null(text);
    assert_int_equal(scan_cache_new(&small, 0), 0);
    assert_int_equal(scan_cache_new(&large, 64 << 20), 0);
    for (size_t i = 0; i < LEN; i++)
        text[i] = any(100) ? "ab"[any(2)] : "cd"[any(2)];
    scan(set, small, span_of(text, LEN), 777, &with_little);
    scan(set, large, span_of(text, LEN), LEN, &with_much);
    print_message("  %zu ends\n", with_much.count);
    assert_true(with_much.count > 100);
    assert_string_equal(with_little.text, with_much.text);
}

/* Byte by byte nothing is passed by: the same must be told of a text whose bytes are in pieces and
 * together, be its classes of bytes few or many. */
static void test_passed_by(void **state)
{
    static const struct {
        const char *expressions[4];
        const char *letters; /* what the text is of, mostly */
        size_t ends;         /* at least */
    } texts[] = {
        {{"abcdefg", "xyz", "b{2,5}[0-9]", "q"}, "abcdefgxyzbb0", 1000},
        {{"abcdefgh", "c[0-9]{5}d", "gfedcba", "hh0123"}, "abcdefgh0123", 10},
        {{"ABCD", "abcdefghijklmnopqrstuvwxyz", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
          "[!-/].[:-@]..[[-`]"},
         "ABCD!/:@[`xyz",
         400},
    };
    CLEANUP(scan_cache_free) struct scan_cache *cache = NULL;

    (void)state;
    assert_int_equal(scan_cache_new(&cache, 1 << 20), 0);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP(scan_set_free) struct scan_set *set = compiled(texts[i].expressions, 4);
        static char text[50000];
        static struct told apart, together;

        apart.len = apart.count = together.len = together.count = 0;
        for (size_t at = 0; at < sizeof(text); at++)
            text[at] = texts[i].letters[any((unsigned)strlen(texts[i].letters))];
        for (size_t at = 0; at + 8 < sizeof(text); at += 100 + any(100)) {
            memcpy(text + at, "c12345d", 7);
            memcpy(text + at + 20, "abcdefghijklmnopqrstuvwxyz", at + 46 < sizeof(text) ? 26 : 0);
        }
        scan(set, cache, span_of(text, sizeof(text)), 1, &apart);
        scan(set, cache, span_of(text, sizeof(text)), 5000, &together);
        print_message("  %zu ends\n", together.count);
        assert_true(together.count >= texts[i].ends);
        assert_string_equal(apart.text, together.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told),       cmocka_unit_test(test_faults),
        cmocka_unit_test(test_enough),     cmocka_unit_test(test_streams_move),
        cmocka_unit_test(test_passed_by),  cmocka_unit_test(test_as_model),
        cmocka_unit_test(test_forgetting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
