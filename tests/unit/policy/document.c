/* document: what YAML says, where it says it, and everything that is wrong with it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "policy/document.h"

/* {key: value}, [item], text, "quoted text"; documents are joined by ---. */
static void render(FILE *out, const struct node *node)
{
    if (node->kind == NODE_TEXT) {
        fprintf(out, node->quoted ? "\"%s\"" : "%s", node->text);
        return;
    }
    fputc(node->kind == NODE_MAP ? '{' : '[', out);
    for (const struct node *at = node->first; at; at = at->next) {
        if (node->kind == NODE_MAP)
            fprintf(out, "%s: ", at->key);
        render(out, at);
        if (at->next)
            fputs(", ", out);
    }
    fputc(node->kind == NODE_MAP ? '}' : ']', out);
}

static const struct {
    const char *name;
    struct span bytes;
    const char *want; /* the nodes */
} good[] = {
    {"nothing", BYTES(""), ""},
    {"comments alone", BYTES("# ca: x\n\n# b\n"), ""},
    {"a map", BYTES("ca: /etc/ca\nworkers: 2\n"), "{ca: /etc/ca, workers: 2}"},
    {"a list in lines", BYTES("ports:\n- 443\n- 80\n"), "{ports: [443, 80]}"},
    {"a list in brackets", BYTES("ports: [443, 80]"), "{ports: [443, 80]}"},
    {"maps in a map", BYTES("a:\n  b:\n    c: d\n  e: f\n"), "{a: {b: {c: d}, e: f}}"},
    {"quotes", BYTES("a: \"true\"\nb: 'x y'\nc: \"\\x41\\n\"\n"),
     "{a: \"true\", b: \"x y\", c: \"A\n\"}"},
    {"a text in lines", BYTES("a: |\n  one\n  two\n"), "{a: \"one\ntwo\n\"}"},
    {"values left out", BYTES("a:\nb: ~\nc: null\n"), "{a: , b: ~, c: null}"},
    {"nothing in brackets", BYTES("a: []\nb: {}\n"), "{a: [], b: {}}"},
    {"JSON", BYTES("{\"a\": [1, {\"b\": null}]}"), "{a: [1, {b: null}]}"},
    {"two documents", BYTES("---\na: b\n---\nc\n...\n"), "{a: b}---c"},
    {"a byte order mark",
     BYTES("\xef\xbb\xbf"
           "a: b\nc: d\n"),
     "{a: b, c: d}"},
    {"Windows' line ends", BYTES("a: b\r\nc: d\r\n"), "{a: b, c: d}"},
    {"the tag of a text", BYTES("a: !!str true"), "{a: \"true\"}"},
    {"the tags of list and map", BYTES("a: !!seq []\nb: !!map {}\n"), "{a: [], b: {}}"},
};

static void says_what_yaml_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        CLEANUP(document_free) struct document *document = NULL;
        CLEANUP(text_free) char *got = NULL;
        CLEANUP(faults_fini) struct faults faults = {0};
        size_t size;
        FILE *out = open_memstream(&got, &size);

        print_message("  %s\n", good[i].name);
        assert_int_equal(document_parse(&document, good[i].bytes, &faults), 0);
        for (const struct node *at = document_first(document); at; at = at->next) {
            render(out, at);
            if (at->next)
                fputs("---", out);
        }
        fclose(out);
        assert_string_equal(got, good[i].want);
        assert_int_equal(faults_count(&faults), 0);
    }
}

static const struct {
    const char *name;
    struct span bytes;
    const char *want; /* as told, of file f */
} bad[] = {
    {"a key twice, on both levels", BYTES("a: {b: 1, b: 2}\nc: 3\na: 4\n"),
     "f:1:11: error: 'b' stands here again, after line 1\n"
     "    a: {b: 1, b: 2}\n"
     "              ^\n"
     "f:3:1: error: 'a' stands here again, after line 1\n"
     "    a: 4\n"
     "    ^\n"},
    {"an anchor and its alias", BYTES("a: &x [1]\nb: *x\n"),
     "f:1:4: error: anchors such as '&x' are not read; leave it out\n"
     "    a: &x [1]\n"
     "       ^\n"
     "f:2:4: error: aliases such as '*x' are not read; write it out\n"
     "    b: *x\n"
     "       ^\n"},
    {"a cycle", BYTES("a: &x [*x]"),
     "f:1:4: error: anchors such as '&x' are not read; leave it out\n"
     "    a: &x [*x]\n"
     "       ^\n"
     "f:1:8: error: aliases such as '*x' are not read; write it out\n"
     "    a: &x [*x]\n"
     "           ^\n"},
    {"a tag of ours", BYTES("a: !secret b\n"),
     "f:1:4: error: the tag '!secret' means nothing here; leave it out\n"
     "    a: !secret b\n"
     "       ^\n"},
    {"a tag that is not so", BYTES("a: !!map []\n"),
     "f:1:4: error: the tag 'tag:yaml.org,2002:map' means nothing here; leave it out\n"
     "    a: !!map []\n"
     "       ^\n"},
    {"a list for a key", BYTES("? [a]\n: b\nc: d\n"),
     "f:1:3: error: a list cannot be a key\n"
     "    ? [a]\n"
     "      ^\n"},
    {"no YAML", BYTES("a: b\n\tc: d\n"),
     "f:2:1: error: this is no YAML: a tab stands here, and YAML is indented by spaces "
     "alone\n"
     "    \tc: d\n"
     "    ^\n"},
    {"a bracket too few, and a fault before it", BYTES("a: 1\na: [2, 3\nb: 4\n"),
     "f:2:1: error: 'a' stands here again, after line 1\n"
     "    a: [2, 3\n"
     "    ^\n"
     "f:3:2: error: this is no YAML: did not find expected ',' or ']', while parsing a flow "
     "sequence that begins in line 2\n"
     "    b: 4\n"
     "     ^\n"},
    {"bytes that are no text", BYTES("a: b\nc: \xff\n"),
     "f:2:4: error: this is no text in UTF-8: invalid leading UTF-8 octet\n"
     "    c: ?\n"
     "       ^\n"},
    {"bytes that are no text, behind the other line ends",
     BYTES("a: b\rc: d\xe2\x80\xa8"
           "e: \xff\n"),
     "f:3:4: error: this is no text in UTF-8: invalid leading UTF-8 octet\n"
     "    e: ?\n"
     "       ^\n"},
    {"a NUL", BYTES("a: \"b\\0c\"\n"),
     "f:1:4: error: a text cannot hold a NUL character\n"
     "    a: \"b\\0c\"\n"
     "       ^\n"},
};

static void tells_every_fault(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(document_free) struct document *document = NULL;
        CLEANUP(faults_fini) struct faults faults = {0};
        CLEANUP(text_free) char *told = NULL;

        print_message("  %s\n", bad[i].name);
        assert_int_equal(document_parse(&document, bad[i].bytes, &faults), -EINVAL);
        told = faults_tell(&faults, "f", bad[i].bytes);
        assert_string_equal(told, bad[i].want);
        assert_non_null(document);
    }
}

/* many(60, "["): that text so often. */
static struct span many(char *out, size_t times, const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < times; i++)
        memcpy(out + i * len, text, len);
    return span_of(out, times * len);
}

static void stops_where_it_is_too_much(void **state)
{
    static char text[DOCUMENT_SIZE_MAX + 1];
    const struct {
        const char *name;
        struct span bytes;
        const char *want;
    } cases[] = {
        {"64 lists", many(text, 64, "["), "this is no YAML"},
        {"65 lists", many(text + 100, 65, "["), "inside each other are more than 64"},
        {"65 maps", many(text + 200, 65, "? "), "inside each other are more than 64"},
        {"1000000 items", many(text + 400, 1000000, "- a\n"), "maps are more than 1000000"},
        {"16 MiB and a byte", span_of(text, sizeof(text)), "larger than 16 MiB"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(document_free) struct document *document = NULL;
        CLEANUP(faults_fini) struct faults faults = {0};

        print_message("  %s\n", cases[i].name);
        assert_int_equal(document_parse(&document, cases[i].bytes, &faults), -EINVAL);
        assert_int_equal(faults_count(&faults), 1);
        assert_non_null(strstr(faults.list[0].text, cases[i].want));
    }
}

static void knows_what_is_left_out(void **state)
{
    static const struct {
        struct span bytes;
        bool null;
    } cases[] = {
        {BYTES("a:"), true},     {BYTES("a: ~"), true},       {BYTES("a: null"), true},
        {BYTES("a: ''"), false}, {BYTES("a: 'null'"), false}, {BYTES("a: []"), false},
        {BYTES("a: 0"), false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(document_free) struct document *document = NULL;
        CLEANUP(faults_fini) struct faults faults = {0};

        assert_int_equal(document_parse(&document, cases[i].bytes, &faults), 0);
        assert_int_equal(node_is_null(document_first(document)->first), cases[i].null);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_yaml_says),
        cmocka_unit_test(tells_every_fault),
        cmocka_unit_test(stops_where_it_is_too_much),
        cmocka_unit_test(knows_what_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
