/* regex: expressions against texts, against what they are refused for, and against glibc's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <regex.h>

#include "base/cleanup.h"
#include "policy/regex.h"

static const struct {
    const char *expression, *text;
    bool fits;
} cases[] = {
    /* the whole text, or nothing */
    {"GET|HEAD", "GET", true},
    {"GET|HEAD", "HEAD", true},
    {"GET|HEAD", "GETHEAD", false},
    {"GET|HEAD", "get", false},
    {"GET|HEAD", "", false},
    {"/v1/.*", "/v1/", true},
    {"/v1/.*", "/v1/items?x", true},
    {"/v1/.*", "/v1", false},
    {"/v1/.*", "/x/v1/", false},
    {"api[.]example[.]com", "api.example.com", true},
    {"api[.]example[.]com", "apixexample.com", false},
    {"", "", true},
    {"", "a", false},
    {"()", "", true},
    {"a||b", "", true},
    {"(|a)b", "b", true},
    {"(|a)b", "ab", true},
    /* how often */
    {"a*", "", true},
    {"a*", "aaaa", true},
    {"a+", "", false},
    {"ab?c", "ac", true},
    {"ab?c", "abbc", false},
    {"a{3}", "aa", false},
    {"a{3}", "aaa", true},
    {"a{2,3}", "aaaa", false},
    {"a{2,3}", "aa", true},
    {"a{2,}", "a", false},
    {"a{2,}", "aaaaaa", true},
    {"a{0}b", "b", true},
    {"a{0}b", "ab", false},
    {"a{0,0}", "", true},
    {"(ab){1,2}", "abab", true},
    {"(a*)*", "aaa", true},
    {"(a*)+b", "b", true},
    {"((a?){3}){2}", "aaaaaa", true},
    {"((a?){3}){2}", "aaaaaaa", false},
    {"a{1000}", "a", false},
    {"[a-z]{0,1000}", "aaaaaaaaaaaaaaaa", true},
    {".*a.{100}", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    {"a+?", "", false},
    {"a+?", "aa", true},
    {"a*?b", "aab", true},
    {"a{2}?", "", false},
    {"a}b", "a}b", true},
    {"a]b", "a]b", true},
    /* classes */
    {"[abc]+", "cab", true},
    {"[^abc]", "d", true},
    {"[^abc]", "a", false},
    {"[^a]", "\n", true},
    {"[]a]+", "]a", true},
    {"[^]a]", "b", true},
    {"[^]a]", "]", false},
    {"[a-]+", "a-a", true},
    {"[-a]+", "-a", true},
    {"[+--]", ",", true},
    {"[a\\-z]+", "-az", true},
    {"[a\\-z]", "b", false},
    {"[\\]]", "]", true},
    {"[\\\\]", "\\", true},
    {"[.]", "x", false},
    {"[$^]+", "^$", true},
    {"[[:alpha:]_]+", "aZ_", true},
    {"[[:digit:][:space:]]+", "1 2\v", true},
    {"[^[:upper:]]+", "abc", true},
    {"[^[:upper:]]+", "aBc", false},
    {"[[:punct:]]+", "!/:@[`{~", true},
    {"[[:punct:]]", "0", false},
    {"[[:xdigit:]]+", "09afAF", true},
    {"[[:xdigit:]]", "g", false},
    {"[\\d-]+", "1-2", true},
    {"[^\\d]", "1", false},
    {"[^\\D]", "1", true},
    {"[^\\x00-\\xff]", "a", false},
    {"\\d+", "0123", true},
    {"\\D", "1", false},
    {"\\w+", "a_Z0", true},
    {"\\w", "-", false},
    {"\\W", "-", true},
    {"\\s", "\t", true},
    {"\\s", "\v", false},
    {"\\S+", "ab", true},
    /* escapes */
    {"a\\.b", "a.b", true},
    {"a\\.b", "axb", false},
    {"\\/\\-\\_\\@", "/-_@", true},
    {"\\{\\}", "{}", true},
    {"\\x41\\t", "A\t", true},
    {"\\xff", "\xff", true},
    /* any byte but the end of a line */
    {".", "x", true},
    {".", "\n", false},
    {".", "\xff", true},
    {"..", "\xc3\xa4", true},
    {"a.b", "a\nb", false},
    /* characters beyond ASCII */
    {"\xc3\xa4+", "\xc3\xa4\xc3\xa4", true},
    {"\xc3\xa4?b", "b", true},
    {"\xc3\xa4?b", "\xc3\x62", false},
    {"(\xc3\xa4|\xc3\xb6)", "\xc3\xb6", true},
    /* either case */
    {"(?i)get|Head", "GeT", true},
    {"(?i)get|Head", "hEAD", true},
    {"(?i)[a-c]+", "aBC", true},
    {"(?i)[^a]", "A", false},
    {"(?i)[[:upper:]]+", "ab", true},
    {"(?i)\\x41", "a", true},
    {"(?i)", "", true},
    {"(?:ab)+", "abab", true},
    /* anchors are at the ends anyway, and elsewhere never true */
    {"^abc$", "abc", true},
    {"^(abc)$", "abc", true},
    {"(^a|b)c", "ac", true},
    {"(^a|b)c", "bc", true},
    {"x(^a|b)c", "xac", false},
    {"x(^a|b)c", "xbc", true},
    {"a^b", "a^b", false},
    {"a$b", "ab", false},
    {"a($|b)", "a", true},
    {"a($|b)", "ab", true},
    {"^^a$$", "a", true},
    {"$^", "", true},
    {"($^)*", "", true},
    {"a*$^b*", "", true},
    {"a*$^b*", "a", false},
    {"(^|a)*", "aa", true},
    {"(a|^b|c$)*", "ac", true},
    {"(a|^b|c$)*", "baac", true},
    {"(a|^b|c$)*", "abaca", false},
};

static const struct {
    const char *expression;
    size_t at;
    const char *text;
} faults[] = {
    {"a(b", 1, "'(' is never closed"},
    {"a)b", 1, "')' was never opened"},
    {"(a))", 3, "')' was never opened"},
    {"ab[c", 2, "'[' is never closed"},
    {"[]", 0, "'[' is never closed"},
    {"[^]", 0, "'[' is never closed"},
    {"[a-", 0, "'[' is never closed"},
    {"[z-a]", 1, "the range ends before it begins"},
    {"[a-c-e]", 4, "'-' in the middle: put it first or last, or escape it"},
    {"[a-\\d]", 1, "a range goes from one byte to another"},
    {"[\\d-a]", 1, "a range goes from one byte to another"},
    {"[[:foo:]]", 1, "no such class; there are [:alpha:], [:digit:], [:space:], ..."},
    {"[[:alpha]", 1, "no such class; there are [:alpha:], [:digit:], [:space:], ..."},
    {"x[:alpha:]", 1, "a named class stands in two brackets: [[:alpha:]]"},
    {"[[.a.]]", 1, "collating elements are not known"},
    {"[[=a=]]", 1, "collating elements are not known"},
    {"[a\xc3\xa4]", 2,
     "a class has single bytes: write characters beyond ASCII as (\xc3\xa4|\xc3\xb6)"},
    {"*a", 0, "there is nothing to repeat"},
    {"a|*b", 2, "there is nothing to repeat"},
    {"(+)", 1, "there is nothing to repeat"},
    {"{2}", 0, "there is nothing to repeat: \\{ is the brace itself"},
    {"^*", 1, "an anchor cannot be repeated"},
    {"a**", 2, "two repeats, one on the other: put the first in ( )"},
    {"a+{2}", 2, "two repeats, one on the other: put the first in ( )"},
    {"a*??", 3, "two repeats, one on the other: put the first in ( )"},
    {"a{", 1, "no count such as {2} or {2,5}: \\{ is the brace itself"},
    {"a{,5}", 1, "no count such as {2} or {2,5}: \\{ is the brace itself"},
    {"a{2", 1, "no count such as {2} or {2,5}: \\{ is the brace itself"},
    {"a{2,x}", 1, "no count such as {2} or {2,5}: \\{ is the brace itself"},
    {"a{5,2}", 1, "the least of this count is more than its most"},
    {"a{1001}", 1, "repeats too much: 1000 times is the most"},
    {"a{1,99999999999999999999}", 1, "repeats too much: 1000 times is the most"},
    {"((a{100}){100}){100}", 9, "repeats too much: what it stands for is too long"},
    {"(((){1000}){1000}){1000}", 11, "repeats too much: what it stands for is too long"},
    {"a{1000}b{1000}c{1000}", 15, "repeats too much: what it stands for is too long"},
    {".*a.{200}", 0, "repeats too much to be matched quickly"},
    {"(a)\\1", 3, "back-references are not known: matching could take forever"},
    {"\\bfoo", 0, "'\\b' and '\\B' (word boundaries) are not known"},
    {"foo\\z", 3, "'\\A' and '\\z' are not known: say ^ and $"},
    {"\\pL", 0, "classes of Unicode are not known: bytes are matched"},
    {"\\Qa\\E", 0, "'\\Q' is not known: escape each character"},
    {"\\0", 0, "'\\0' is not known: say \\x and two digits"},
    {"\\x4", 0, "'\\x' wants two hexadecimal digits"},
    {"\\x{41}", 0, "'\\x' wants two hexadecimal digits"},
    {"[\\x4]", 1, "'\\x' wants two hexadecimal digits"},
    {"\\y", 0, "no such escape"},
    {"\\\xc3\xa4", 0, "no escape is needed here"},
    {"ab\\", 2, "a '\\' at the end escapes nothing"},
    {"a(?=b)", 1, "look-around is not known: matching could take forever"},
    {"a(?<!b)", 1, "look-around is not known: matching could take forever"},
    {"(?P<n>a)", 0, "groups have no names here: ( ) is enough"},
    {"a(?i)b", 1, "(?i) stands at the start, for the whole expression"},
    {"(?s).", 0, "of what begins with (? only (?:...), and (?i) at the start, are known"},
};

static struct regex *compiled(const char *expression)
{
    struct regex *regex = NULL;
    struct regex_fault fault = {0};

    if (regex_new(&regex, expression, &fault) < 0)
        fail_msg("'%s' at %zu: %s", expression, fault.at, fault.text);
    return regex;
}

static bool fits(const char *expression, const char *text)
{
    CLEANUP(regex_free) struct regex *regex = compiled(expression);

    return regex_match(regex, span_of_text(text));
}

static void test_matches(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (fits(cases[i].expression, cases[i].text) != cases[i].fits)
            fail_msg("'%s' and '%s'", cases[i].expression, cases[i].text);
}

static void test_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        struct regex *regex = NULL;
        struct regex_fault fault = {0};

        assert_int_equal(regex_new(&regex, faults[i].expression, &fault), -EINVAL);
        assert_null(regex);
        if (fault.at != faults[i].at || strcmp(fault.text, faults[i].text) != 0)
            fail_msg("'%s' at %zu: %s", faults[i].expression, fault.at, fault.text);
    }
}

/* What `once` is written so many times in a row between two others. */
static char *repeated(const char *before, const char *once, size_t times, const char *after)
{
    char *text = malloc(strlen(before) + strlen(once) * times + strlen(after) + 1);

    assert_non_null(text);
    strcpy(text, before);
    for (size_t i = 0; i < times; i++)
        strcat(text, once);
    return strcat(text, after);
}

static void test_bounds(void **state)
{
    static const struct {
        const char *before, *once;
        size_t times;
        const char *after;
        const char *fault; /* NULL: it is fine */
    } bounds[] = {
        {"", "(", 64, "a", "'(' is never closed"},
        {"", "(", 65, "a", "more than 64 brackets, each in the other"},
        {"", "(", 4000, "", "more than 64 brackets, each in the other"},
        {"", "a", 4096, "", NULL},
        {"", "a", 4097, "", "too long: 4096 bytes are the most"},
        {"", "[", 4000, "", "'[' is never closed"},
        {"", "a*", 2048, "", NULL},
        {"", "|", 4096, "", "too long: its parts are more than 8192"},
        {"", "(a|b)?", 500, "", NULL},
        {"(", "()", 1000, "){1000}", "repeats too much: what it stands for is too long"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bounds); i++) {
        CLEANUP(text_free)
        char *expression =
            repeated(bounds[i].before, bounds[i].once, bounds[i].times, bounds[i].after);
        CLEANUP(regex_free) struct regex *regex = NULL;
        struct regex_fault fault = {0};
        int result = regex_new(&regex, expression, &fault);

        if (!bounds[i].fault)
            assert_int_equal(result, 0);
        else if (result != -EINVAL || strcmp(fault.text, bounds[i].fault) != 0)
            fail_msg("%zu times '%s': %s", bounds[i].times, bounds[i].once, fault.text);
    }
}

/* Whose DFA would have a million million states: matched all the same, and in time that
 * does not grow with anything but the text. */
static void test_without_dfa(void **state)
{
    CLEANUP(regex_free) struct regex *regex = compiled("[ab]*a[ab]{40}");
    CLEANUP(regex_free) struct regex *loops = compiled("((a?){30}(a*)*)*b");
    CLEANUP(text_free) char *text = repeated("", "a", 20000, "");

    (void)state;
    assert_true(regex_size(regex) < 16384);
    assert_true(regex_match(regex, span_of(text, 10000)));
    text[10000 - 41] = 'b';
    assert_false(regex_match(regex, span_of(text, 10000)));
    assert_true(regex_match(regex, span_of(text, 10001)));
    assert_false(regex_match(loops, span_of(text, 20000)));
}

static void test_bytes(void **state)
{
    CLEANUP(regex_free) struct regex *regex = compiled("a\\x00b[^c].");

    (void)state;
    assert_true(regex_match(regex, BYTES("a\0b\0\0")));
    assert_false(regex_match(regex, BYTES("a\0bc\0")));
    assert_false(regex_match(regex, BYTES("a\0b\0")));
    assert_false(regex_match(regex, (struct span){0}));
}

/* ---- against glibc ------------------------------------------------------- */

static unsigned long long seed = 1;

static unsigned any(unsigned below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(seed >> 33) % below;
}

struct text {
    char bytes[512];
    size_t len;
    bool anchors; /* has anchors and no repeats: glibc loses anchors inside of what is repeated */
};

static void put(struct text *text, const char *more)
{
    size_t len = strlen(more);

    if (text->len + len >= sizeof(text->bytes))
        return;
    memcpy(text->bytes + text->len, more, len + 1);
    text->len += len;
}

static void put_expression(struct text *text, unsigned depth);

static void put_piece(struct text *text, unsigned depth)
{
    static const char *const atoms[] = {
        "a", "b",     "c",   "ab", ".",           "a", "[ab]",  "[^a]",  "[b-d]", "[^b-c]",
        "-", "[]a-]", "\\.", "d",  "[[:digit:]]", "b", "[^-c]", "[^]b]", "7"};
    static const char *const repeats[] = {"*", "+", "?", "{2}", "{0,2}", "{1,}", "{2,3}", "{0}"};
    static const char *const anchors[] = {"^", "$"};
    unsigned kind = any(16);

    if (kind == 0 && text->anchors) {
        put(text, anchors[any(2)]);
        return;
    }
    if (kind < 5 && depth) {
        put(text, "(");
        put_expression(text, depth - 1);
        put(text, ")");
    } else {
        put(text, atoms[any(ARRAY_SIZE(atoms))]);
    }
    if (any(3) == 0 && !text->anchors)
        put(text, repeats[any(ARRAY_SIZE(repeats))]);
}

static void put_expression(struct text *text, unsigned depth)
{
    for (unsigned alternatives = 1 + any(5) / 3; alternatives; alternatives--) {
        for (unsigned pieces = 1 + any(3); pieces; pieces--)
            put_piece(text, depth);
        if (alternatives > 1)
            put(text, "|");
    }
}

static void test_as_glibc(void **state)
{
    unsigned expressions = getenv("SALLYPORT_FULL") ? 100000 : 3000, fitted = 0, total = 0;

    (void)state;
    for (unsigned i = 0; i < expressions; i++) {
        CLEANUP(regex_free) struct regex *regex = NULL;
        struct text expression = {.anchors = i % 3 == 0}, whole = {0};
        struct regex_fault fault = {0};
        regex_t theirs;

        put_expression(&expression, 3);
        put(&whole, "^(");
        put(&whole, expression.bytes);
        put(&whole, ")$");
        if (whole.len + 16 > sizeof(whole.bytes))
            continue; /* cut somewhere */
        if (regex_new(&regex, expression.bytes, &fault) < 0)
            fail_msg("'%s' at %zu: %s", expression.bytes, fault.at, fault.text);
        assert_int_equal(regcomp(&theirs, whole.bytes, REG_EXTENDED | REG_NOSUB), 0);
        for (unsigned texts = 0; texts < 12; texts++) {
            char text[12] = "";
            bool want;

            for (unsigned len = any(1 + any(sizeof(text))), at = 0; at < len; at++)
                text[at] = "aaabbbccd-.7]"[any(13)];
            want = regexec(&theirs, text, 0, NULL, 0) == 0;
            if (regex_match(regex, span_of_text(text)) != want)
                fail_msg("'%s' and '%s': glibc says %d", expression.bytes, text, want);
            fitted += want;
            total++;
        }
        regfree(&theirs);
    }
    print_message("  %u of %u match\n", fitted, total);
    assert_true(fitted > total / 50); /* else nothing much was compared */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches), cmocka_unit_test(test_faults),
        cmocka_unit_test(test_bounds),  cmocka_unit_test(test_without_dfa),
        cmocka_unit_test(test_bytes),   cmocka_unit_test(test_as_glibc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
