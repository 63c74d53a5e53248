/* literal: what a text must begin and end with, and have within, to be matched by an expression. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/literal.h"
#include "policy/regex.h"

/* As read: "=text" for a whole one, else "head…inner…tail"; alternatives with " or " between. */
static const struct {
    const char *expression, *want;
} cases[] = {
    {"/v1", "=/v1"},
    {"/v1/.*", "/v1/~~"},
    {"^/v1$", "=/v1"},
    {"GET|HEAD", "=GET or =HEAD"},
    {"a|", "=a or ="},
    {"api[.]x[.]test", "=api.x.test"},
    {"api\\.x\\.test", "=api.x.test"},
    {".*[.]x[.]test", "~~.x.test"},
    {".*", "~~"},
    {"", "="},
    {"/v1/[^/]+/edit", "/v1/~~/edit"},
    {".*/item7/.*", "~/item7/~"},
    {"/a/.*/bc/.*/d.*/e", "/a/~/bc/~/e"},
    {"/v1/?", "/v1~~"},
    {"/v1/?x", "/v1~~x"},
    {"a*b", "~~b"},
    {"ab+c", "ab~~bc"},
    {"ab{2}c", "a~~c"},
    {"a(b|c)d", "a~~d"},
    {"a(b|c", ""},
    {"(a|b)|c", "~~ or =c"},
    {"a[b|c]d|e", "a~~d or =e"},
    {"a[]b]c", "a~~c"},
    {"a[^]]c", "a~~c"},
    {"a\\d+b", "a~~b"},
    {"a\\|b", "=a|b"},
    {"(?i)abc", "~~"},
    {"a\\x41b", "~~"},
    {"a\\Qb*\\Ec", "~~"},
    {"a[\\]]b", "~~"},
    {"a[[:alpha:]]b", "~~"},
    {"\xc3\xa9*a", "~~a"},
    {"a\xc3\xa9", "a~~"},
    {"a^b", "a~~b"},
    {"a$b", "a~~b"},
};

static void print(char *out, const char *expression)
{
    const char *at = expression;
    struct literal one;

    out[0] = 0;
    while (literal_next(&at, &one)) {
        if (*out)
            strcat(out, " or ");
        if (one.whole)
            sprintf(out + strlen(out), "=%.*s", (int)one.head_len, one.head);
        else
            sprintf(out + strlen(out), "%.*s~%.*s~%.*s", (int)one.head_len, one.head,
                    (int)one.inner_len, one.inner, (int)one.tail_len, one.tail);
    }
}

static void knows_what_must_be_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char out[256];

        print_message("  %s\n", cases[i].expression);
        print(out, cases[i].expression);
        if (cases[i].want[0])
            assert_string_equal(out, cases[i].want);
    }
}

/* ---- random ones: what is said of one holds for every text it matches ---- */

static unsigned seed = 1;

static unsigned chance(unsigned n)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 8) % n;
}

static void random_expression(char *out, int depth)
{
    static const char *const atoms[] = {"a",   "b",  "/",   ".",   "[ab]", "[^/]", "[a]",
                                        "\\.", "ab", "\\d", "[.]", "\\/",  "a/b",  "[a-c]"};
    static const char *const counts[] = {"", "", "", "", "*", "+", "?", "{2}", "{1,2}"};

    for (unsigned n = chance(4) + 1; n; n--) {
        if (depth && chance(5) == 0) {
            strcat(out, "(");
            random_expression(out, depth - 1);
            strcat(out, ")");
        } else {
            strcat(out, atoms[chance(ARRAY_SIZE(atoms))]);
        }
        strcat(out, counts[chance(ARRAY_SIZE(counts))]);
        if (chance(8) == 0)
            strcat(out, "|");
    }
}

static struct span random_text(char out[16])
{
    size_t len = chance(8);

    for (size_t i = 0; i < len; i++)
        out[i] = "ab/.1c"[chance(6)];
    return span_of(out, len);
}

static bool allows(const char *expression, struct span text)
{
    const char *at = expression;
    struct literal one;

    while (literal_next(&at, &one)) {
        if (one.whole && !span_equal(text, span_of(one.head, one.head_len)))
            continue;
        if (text.len >= one.head_len && text.len >= one.tail_len &&
            memcmp(text.data, one.head, one.head_len) == 0 &&
            memcmp(text.data + text.len - one.tail_len, one.tail, one.tail_len) == 0 &&
            memmem(text.data, text.len, one.inner, one.inner_len))
            return true;
    }
    return false;
}

static void holds_for_all_that_matches(void **state)
{
    size_t matched = 0;

    (void)state;
    for (int i = 0; i < 4000; i++) {
        struct regex_fault fault;
        struct regex *regex;
        char expression[512] = "", bytes[16];

        random_expression(expression, 2);
        if (regex_new(&regex, expression, &fault) < 0)
            continue;
        for (int j = 0; j < 60; j++) {
            struct span text = random_text(bytes);

            if (!regex_match(regex, text))
                continue;
            matched++;
            if (!allows(expression, text))
                fail_msg("%s matches %.*s", expression, (int)text.len, bytes);
        }
        regex_free(&regex);
    }
    print_message("  %zu matches\n", matched);
    assert_true(matched > 1000);
}

static void reads_patterns_of_names(void **state)
{
    struct literal one;

    (void)state;
    literal_of_pattern("a-*-z.x.test", &one);
    assert_false(one.whole);
    assert_int_equal(one.head_len, 2);
    assert_int_equal(one.tail_len, 9);
    literal_of_pattern("*", &one);
    assert_false(one.whole);
    assert_int_equal(one.head_len + one.tail_len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_what_must_be_there),
        cmocka_unit_test(holds_for_all_that_matches),
        cmocka_unit_test(reads_patterns_of_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
