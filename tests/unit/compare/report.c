/* rows: the same comparison as text, JSON and a page. What strangers said in it is harmless there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/compare/rows.h"

static char *argv[] = {(char *)"curl", (char *)"<script>alert('1')</script>",
                       (char *)"\x1b[2J\xff&\"", NULL};

static void count(struct seen_texts *texts, const char *text, uint64_t n)
{
    snprintf(texts->list[texts->len].text, SEEN_TEXT_MAX, "%s", text);
    texts->list[texts->len++].count = n;
}

static void add_rounds(struct compare_row *row, double program, double agent, double system)
{
    row->rounds = 4;
    for (size_t i = 0; i < row->rounds; i++) {
        row->round[COMPARE_WALL][i] = 20000 + 1000 * (double)i;
        row->round[COMPARE_PROGRAM][i] = program;
        row->round[COMPARE_AGENT][i] = agent;
        row->round[COMPARE_SYSTEM][i] = system;
        row->round[COMPARE_CPU][i] = program + agent + system + (double)i;
    }
}

static void fill(struct compare *compare, double *latencies)
{
    struct compare_row *proxy = &compare->rows[COMPARE_PROXY];
    struct compare_row *pass = &compare->rows[COMPARE_PASSTHROUGH];

    memset(compare, 0, sizeof(*compare));
    compare->argv = argv;
    compare->rounds = 4;
    compare->cpus = 2;
    strcpy(compare->kernel, "Linux 6.12");
    strcpy(compare->cpu, "<b>");
    strcpy(compare->backend, "lsm: words");
    add_rounds(&compare->rows[COMPARE_DIRECT], 9000, 0, 1000);
    add_rounds(pass, 9000, 500, 1500);
    pass->seen.bytes = pass->seen.crypted = pass->seen.tls_bytes = 1000;
    add_rounds(proxy, 9000, 8000, 3000);
    proxy->agent_rss_kb = 20000;
    proxy->seen.requests = 40;
    proxy->seen.bytes = 1000;
    proxy->seen.crypted = 3000;
    for (size_t i = 0; i < 40; i++)
        latencies[i] = (double)(40 - i) * 100;
    proxy->seen.latencies_us = latencies;
    proxy->seen.latencies_len = 40;
    count(&proxy->seen.hosts, "\x1b]0;<img src=x>", 40);
    count(&proxy->seen.visibility, "terminated", 4);
    strcpy(proxy->note, "a < b");
    strcpy(compare->rows[COMPARE_KERNEL].why, "no <i>back-end</i>");
}

/* The text with a NUL behind it, borrowed from out. */
static const char *closed(struct buffer *out)
{
    buffer_append(out, "", 1);
    assert_false(out->failed);
    return out->data;
}

static void a_table(void **state)
{
    static const char want[] =
        "curl <script>alert('1')</script> \"\\x1b[2J\\xff&\\\"\"\n"
        "Linux 6.12; <b>, 2 CPUs; kernel route: lsm: words\n"
        "\n"
        "route        requests    time  x direct     CPU  x direct  program   agent  kernel      "
        "p50      p99  encryptions  memory\n"
        "direct              -  21.5ms      1.00  10.0ms      1.00   9.00ms       -  1.00ms  "
        "21.0ms*  23.0ms*            1       -\n"
        "passthrough   0 of 40  21.5ms      1.00  11.0ms      1.10   9.00ms   500us  1.50ms  "
        "21.0ms*  23.0ms*            1       -\n"
        "proxy        40 of 40  21.5ms      1.00  20.0ms      2.00   9.00ms  8.00ms  3.00ms   "
        "2.00ms   4.00ms            3   20 MB\n"
        "kernel       cannot be taken here: no <i>back-end</i>\n"
        "* of the whole command: nobody saw a request\n"
        "\n"
        "passthrough  nothing\n"
        "proxy        requests to \"\\x1b]0;<img src=x>\" (40)  connections terminated (4)\n"
        "             a < b\n"
        "\n"
        "Passthrough saw no request; compared with direct: 10 % more CPU, no difference in time "
        "that these 4 rounds show.\n"
        "The proxy saw all 40 requests; compared with direct: 2.0 times the CPU, no difference in "
        "time that these 4 rounds show.\n"
        "The kernel route cannot be taken here: no <i>back-end</i>.\n";
    CLEANUP(buffer_fini) struct buffer out = {0};
    static struct compare compare;
    double latencies[40];

    (void)state;
    fill(&compare, latencies);
    compare_text(&out, &compare);
    assert_string_equal(closed(&out), want);
}

static json_int_t number(const json_t *all, const char *route, const char *key)
{
    const json_t *row;
    size_t i;

    json_array_foreach(json_object_get(all, "rows"), i,
                       row) if (strcmp(json_string_value(json_object_get(row, "route")), route) ==
                                0) return json_integer_value(json_object_get(row, key));
    return -1;
}

static void one_object(void **state)
{
    CLEANUP(buffer_fini) struct buffer out = {0};
    static struct compare compare;
    double latencies[40];
    json_t *all;

    (void)state;
    fill(&compare, latencies);
    compare_json(&out, &compare);
    all = json_loads(closed(&out), 0, NULL);
    assert_non_null(all);
    assert_int_equal(strchr(out.data, '\n') - out.data, strlen(out.data) - 1);
    assert_null(strchr(out.data, '\x1b'));
    assert_int_equal(json_array_size(json_object_get(all, "command")), 3);
    assert_int_equal(json_array_size(json_object_get(all, "verdict")), 3);
    assert_int_equal(number(all, "direct", "cpu_us"), 10002);
    assert_int_equal(number(all, "proxy", "requests_seen"), 40);
    assert_int_equal(number(all, "proxy", "rounds"), 4);
    assert_int_equal(number(all, "proxy", "p50_us"), 2000);
    assert_int_equal(number(all, "proxy", "p99_us"), 4000);
    assert_int_equal(number(all, "proxy", "cpu_us_program"), 9000);
    assert_int_equal(number(all, "proxy", "cpu_us_agent"), 8000);
    assert_int_equal(number(all, "proxy", "cpu_us_kernel"), 3000);
    assert_int_equal(number(all, "proxy", "rss_kb"), 20000);
    assert_int_equal(number(all, "passthrough", "p50_us"), 21000); /* of the command */
    assert_int_equal(number(all, "kernel", "rounds"), 0);
    json_decref(all);
}

static size_t occurrences(const char *text, const char *word)
{
    size_t n = 0;

    while ((text = strstr(text, word))) {
        text += strlen(word);
        n++;
    }
    return n;
}

static void a_page(void **state)
{
    static const char *const never[] = {"<script", "<img",   "<i>back", "<b>", "\x1b", "http:",
                                        "https:",  "src=\"", "href",    "nan", "inf"};
    CLEANUP(buffer_fini) struct buffer out = {0};
    static struct compare compare;
    double latencies[40];
    const char *page;

    (void)state;
    fill(&compare, latencies);
    compare_html(&out, &compare);
    page = closed(&out);
    for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
        print_message("  never %s\n", never[i]);
        assert_null(strstr(page, never[i]));
    }
    assert_non_null(strstr(page, "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"));
    assert_non_null(strstr(page, "\\x1b]0;&lt;img src=x&gt;"));
    assert_non_null(strstr(page, "no &lt;i&gt;back-end&lt;/i&gt;"));
    assert_int_equal(occurrences(page, "<svg"), 3);
    assert_int_equal(occurrences(page, "</svg>"), 3);
    assert_int_equal(occurrences(page, "class=\"spread\""), 6);
    assert_int_equal(occurrences(page, "class=\"point\""), 24);
}

static void commands_are_cut(void **state)
{
    static char word[3000];
    static const struct {
        const char *name;
        char *argv[4];
        const char *want;
        size_t most;
    } cases[] = {
        {"an empty word", {(char *)"a", (char *)"", NULL}, "a \"\"", 8},
        {"a blank", {(char *)"a b", NULL}, "\"a b\"", 8},
        {"a long one", {word, NULL}, NULL, 170},
        {"several", {word, word, word, NULL}, NULL, 600},
    };

    (void)state;
    memset(word, 'x', sizeof(word) - 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(buffer_fini) struct buffer out = {0};

        print_message("  %s\n", cases[i].name);
        compare_command(&out, cases[i].argv);
        assert_true(out.len < cases[i].most);
        if (cases[i].want)
            assert_string_equal(closed(&out), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table),
        cmocka_unit_test(one_object),
        cmocka_unit_test(a_page),
        cmocka_unit_test(commands_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
