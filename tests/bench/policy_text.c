/* policy_text: CPU time of what policies do with texts: expressions made and matched, paths made
 * normal, bodies scanned. Prints a table; run by tests/bench/policy. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "policy/inspect.h"
#include "policy/path.h"
#include "policy/regex.h"
#include "policy/scan.h"

enum { RULES = 10000, TEXT = 16 << 20, PIECE = 16384, ROUNDS = 5 };

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    fprintf(stderr, "bench_policy_text: %s\n", what);
    exit(1);
}

static uint64_t seed = 1;

static unsigned any(unsigned below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % below;
}

/* ---- http rules ------------------------------------------------------------ */

static void bench_rules(void)
{
    static struct regex *rules[RULES];
    struct regex_fault fault;
    struct span path = BYTES("/v77/tenants/123456/items/0123456789");
    size_t bytes = 0, fitted = 0;
    double began = cpu_seconds();

    for (int i = 0; i < RULES; i++) {
        char expression[64];

        snprintf(expression, sizeof(expression), "/v%d/tenants/[0-9]+/items/.*", i);
        if (regex_new(&rules[i], expression, &fault) < 0)
            fail(fault.text);
        bytes += regex_size(rules[i]);
    }
    printf("%-44s %8.1f ms, %zu B each\n", "10000 expressions made", (cpu_seconds() - began) * 1e3,
           bytes / RULES);
    began = cpu_seconds();
    for (int i = 0; i < 1000 * RULES; i++)
        fitted += regex_match(rules[77], path);
    printf("%-44s %8.1f ns\n", "a path of 36 bytes that matches",
           (cpu_seconds() - began) * 1e9 / (1000.0 * RULES));
    began = cpu_seconds();
    for (int i = 0; i < 1000 * RULES; i++)
        fitted += regex_match(rules[i % RULES], path);
    printf("%-44s %8.1f ns\n", "... by each of 10000 expressions in turn",
           (cpu_seconds() - began) * 1e9 / (1000.0 * RULES));
    if (fitted != 2000 * RULES / 2 + 1000)
        fail("an expression matched what it should not");
    for (int i = 0; i < RULES; i++)
        regex_free(&rules[i]);
}

static void bench_path(void)
{
    struct span path = BYTES("/v1/tenants/%7e123456/../items//0123456789%20");
    uint8_t out[64];
    struct path_normal normal;
    double began = cpu_seconds();

    for (int i = 0; i < 1000 * RULES; i++)
        if (!path_normalize(path, out, sizeof(out), &normal) || normal.oddities)
            fail("a path is not normal");
    printf("%-44s %8.1f ns\n", "a path of 46 bytes made normal",
           (cpu_seconds() - began) * 1e9 / (1000.0 * RULES));
}

/* ---- bodies ------------------------------------------------------------------ */

static void fill_words(char *text)
{
    static const char *const words[] = {
        "the ",        "of ",        "and ",   "they ",           "right ",
        "connection ", "Every ",     "key ",   "what ",           "never ",
        "eye, ",       "might ",     "says. ", "two-fold ",       "page ",
        "through ",    "is ",        "it ",    "NASA\n",          "12 ",
        "in ",         "1987 ",      "a ",     "enough ",         "with ",
        "for ",        "https://x/", "e.g. ",  "\xc3\xa4hnlich ", "London ",
        "I ",          "box ",
    };
    size_t len = 0;

    while (len + 16 < TEXT) {
        const char *word = words[any(ARRAY_SIZE(words))];

        len += (size_t)sprintf(text + len, "%s", word);
    }
    memset(text + len, ' ', TEXT - len);
}

static void fill_json(char *text)
{
    size_t len = 0;

    while (len + 256 < TEXT)
        len += (size_t)sprintf(text + len,
                               "{\"id\":%u,\"price\":%u.%02u,\"at\":\"2026-11-%02uT%02u:%02u:00Z\","
                               "\"name\":\"%s\",\"trace\":\"%08x%08x\",\"ok\":true}\n",
                               any(1000000), any(1000), any(100), 1 + any(28), any(24), any(60),
                               any(2) ? "order" : "customer", any(~0U), any(~0U));
    memset(text + len, ' ', TEXT - len);
}

static void fill_base64(char *text)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < TEXT; i++)
        text[i] = letters[any(64)];
}

static void fill_random(char *text)
{
    for (size_t i = 0; i < TEXT; i++)
        text[i] = (char)any(256);
}

static const struct {
    const char *name;
    void (*fill)(char *text);
} texts[] = {
    {"words", fill_words}, {"JSON", fill_json}, {"base64", fill_base64}, {"random", fill_random}};

static bool on_match(size_t pattern, uint64_t end, void *arg)
{
    (void)pattern;
    (void)end;
    ++*(size_t *)arg;
    return true;
}

/* What vectorscan and scan.h are given of the patterns that are built in, much the same. */
static const char *const expressions[] = {
    "[0-9](([ +-]|%20)?[0-9]){11}",
    "[A-Z][A-Z][0-9][0-9](([ +-]|%20)?[A-Z0-9]){11,30}",
    "-----BEGIN [A-Z0-9 ]{0,20}PRIVATE KEY( BLOCK)?-----",
    "(AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",
    "AIza[0-9A-Za-z_-]{35}",
    "gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}",
    "(xox[abeoprs]-|xapp-[0-9]-)[0-9A-Za-z-]{10,}",
    "eyJ",
    "(@|%40)[0-9A-Za-z.-]+[.][A-Za-z]{2,}",
    "[0-9]{3}[ +-][0-9]{2}[ +-][0-9]{4}",
};

static void bench_scan(const char *name, const struct scan_set *set, const char *text)
{
    CLEANUP(scan_cache_free) struct scan_cache *cache = NULL;
    struct scan_stream *stream = malloc(scan_stream_size(set));
    size_t ends = 0;
    double began;

    if (!stream || scan_cache_new(&cache, 1 << 20) < 0)
        fail("out of memory");
    scan_stream_init(set, stream);
    began = cpu_seconds();
    for (int round = 0; round < ROUNDS; round++)
        for (size_t at = 0; at < TEXT; at += PIECE)
            scan_feed(set, cache, stream, span_of(text + at, PIECE), on_match, &ends);
    printf("  %-10s ten expressions, own engine %18.2f GB/s, %zu ends\n", name,
           ROUNDS * (double)TEXT / (cpu_seconds() - began) / 1e9, ends / ROUNDS);
    free(stream);
}

static bool on_hit(const struct inspect_hit *hit, void *arg)
{
    (void)hit;
    ++*(size_t *)arg;
    return true;
}

/* All that is built in, found and confirmed. */
static void bench_inspect(const char *name, enum inspect_engine engine, const char *text)
{
    CLEANUP(inspect_unref) struct inspect *inspect = NULL;
    CLEANUP(inspect_scratch_free) struct inspect_scratch *scratch = NULL;
    CLEANUP(inspect_stream_free) struct inspect_stream *stream = NULL;
    struct inspect_pattern patterns[16];
    struct err err;
    size_t len = 0, hits = 0;
    double began;

    for (; inspect_built_in[len]; len++)
        patterns[len] = (struct inspect_pattern){inspect_built_in[len], NULL};
    if (inspect_new(&inspect, patterns, len, engine, &err) < 0)
        fail(err.text);
    if (inspect_scratch_new(&scratch, inspect) < 0 ||
        inspect_stream_new(&stream, inspect, false) < 0)
        fail("out of memory");
    began = cpu_seconds();
    for (int round = 0; round < ROUNDS; round++)
        for (size_t at = 0; at < TEXT; at += PIECE)
            inspect_feed(stream, scratch, span_of(text + at, PIECE), on_hit, &hits);
    printf("  %-10s all built in, engine %-10s %12.2f GB/s, %zu hits\n", name,
           inspect_engine_name(inspect), ROUNDS * (double)TEXT / (cpu_seconds() - began) / 1e9,
           hits / ROUNDS);
}

static void bench_bodies(void)
{
    CLEANUP(scan_set_free) struct scan_set *set = NULL;
    CLEANUP(text_free) char *text = malloc(TEXT);
    struct regex_fault fault;
    size_t which;

    if (!text || scan_set_new(&set, expressions, ARRAY_SIZE(expressions), &which, &fault) < 0)
        fail("the expressions cannot be scanned for");
    printf("a body, in pieces of 16 kB: %zu B a set, %zu B a stream\n", scan_set_size(set),
           scan_stream_size(set));
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        texts[i].fill(text);
        bench_scan(texts[i].name, set, text);
        bench_inspect(texts[i].name, INSPECT_OWN, text);
        bench_inspect(texts[i].name, INSPECT_BEST, text);
    }
}

int main(void)
{
    bench_rules();
    bench_path();
    bench_bodies();
    return 0;
}
