/* json: a comparison as one object. Numbers are JSON's: none of them is larger than it is exact. */
#include <jansson.h>

#include "events/quote.h"
#include "proxy/compare/rows.h"

/* Strangers' texts may be no UTF-8: what is not is replaced, as in events. */
static json_t *safe_text(const char *text)
{
    CLEANUP(buffer_fini) struct buffer quoted = {0};

    quote_json(&quoted, span_of_text(text));
    return quoted.failed ? NULL : json_loadb(quoted.data, quoted.len, JSON_DECODE_ANY, NULL);
}

static json_t *rounded(double number)
{
    return json_integer((json_int_t)(number + 0.5));
}

static void add_counts(json_t *to, const char *key, const struct seen_texts *texts)
{
    json_t *counts = json_object();

    for (size_t i = 0; i < texts->len; i++) {
        json_t *text = safe_text(texts->list[i].text);

        if (text)
            json_object_set_new(counts, json_string_value(text),
                                json_integer((json_int_t)texts->list[i].count));
        json_decref(text);
    }
    json_object_set_new(to, key, counts);
}

static json_t *seen_of(const struct seen *seen)
{
    json_t *all = json_object();

    add_counts(all, "hosts", &seen->hosts);
    add_counts(all, "names", &seen->names);
    add_counts(all, "tls", &seen->tls);
    add_counts(all, "visibility", &seen->visibility);
    add_counts(all, "routes", &seen->routes);
    json_object_set_new(all, "bytes", json_integer((json_int_t)seen->bytes));
    json_object_set_new(all, "lost_events", json_integer((json_int_t)seen->lost));
    return all;
}

static void add_ratio(json_t *row, const char *key, double ratio)
{
    if (ratio > 0)
        json_object_set_new(row, key, json_real(ratio));
}

static void add_rounds(json_t *to, const char *key, const struct compare_row *row,
                       enum compare_measure measure)
{
    json_t *rounds = json_array();

    for (size_t i = 0; i < row->rounds; i++)
        json_array_append_new(rounds, rounded(row->round[measure][i]));
    json_object_set_new(to, key, rounds);
}

static void add_numbers(json_t *to, struct compare *compare, enum compare_route route)
{
    static const struct {
        const char *key, *rounds, *ratio;
    } keys[] = {
        [COMPARE_WALL] = {"wall_us", "wall_us_rounds", "wall_ratio"},
        [COMPARE_CPU] = {"cpu_us", "cpu_us_rounds", "cpu_ratio"},
        [COMPARE_PROGRAM] = {"cpu_us_program", NULL, NULL},
        [COMPARE_AGENT] = {"cpu_us_agent", NULL, NULL},
        [COMPARE_SYSTEM] = {"cpu_us_kernel", NULL, NULL},
    };
    _Static_assert(ARRAY_SIZE(keys) == _COMPARE_MEASURES, "name every measure");
    struct compare_row *row = &compare->rows[route];
    double p50, p99;
    bool of_requests = compare_latency(row, &p50, &p99);

    json_object_set_new(to, "requests_seen", json_integer((json_int_t)row->seen.requests));
    json_object_set_new(to, "p50_us", rounded(p50));
    json_object_set_new(to, "p99_us", rounded(p99));
    json_object_set_new(to, "latency_of", json_string(of_requests ? "request" : "command"));
    for (enum compare_measure measure = 0; measure < _COMPARE_MEASURES; measure++) {
        json_object_set_new(to, keys[measure].key, rounded(compare_figures(row, measure).median));
        if (keys[measure].rounds)
            add_rounds(to, keys[measure].rounds, row, measure);
        if (keys[measure].ratio)
            add_ratio(to, keys[measure].ratio, compare_ratio(compare, route, measure));
    }
    json_object_set_new(to, "rss_kb", json_integer((json_int_t)row->agent_rss_kb));
    if (row->program_peak_kb)
        json_object_set_new(to, "program_peak_kb", json_integer((json_int_t)row->program_peak_kb));
    json_object_set_new(to, "encryptions", json_real(compare_encryptions(compare, route)));
    if (route != COMPARE_DIRECT)
        json_object_set_new(to, "seen", seen_of(&row->seen));
}

static json_t *row_of(struct compare *compare, enum compare_route route)
{
    const struct compare_row *row = &compare->rows[route];
    json_t *to = json_object();

    json_object_set_new(to, "route", json_string(compare_route_name(route)));
    json_object_set_new(to, "rounds", json_integer((json_int_t)row->rounds));
    if (row->note[0])
        json_object_set_new(to, "note", safe_text(row->note));
    if (row->rounds) {
        add_numbers(to, compare, route);
        return to;
    }
    json_object_set_new(to, row->failed ? "error" : "unavailable", safe_text(row->why));
    if (row->failed)
        json_object_set_new(to, "exit_status", json_integer(row->status));
    return to;
}

static json_t *verdict_of(const struct compare *compare)
{
    CLEANUP(buffer_fini) struct buffer words = {0};
    json_t *sentences = json_array();
    char *rest, *line;

    compare_verdict(&words, compare);
    buffer_append(&words, "", 1);
    if (words.failed)
        return sentences;
    rest = words.data;
    while ((line = strsep(&rest, "\n")) && rest)
        json_array_append_new(sentences, safe_text(line));
    return sentences;
}

void compare_json(struct buffer *out, struct compare *compare)
{
    json_t *all = json_object(), *command = json_array(), *rows = json_array();
    char *text;

    for (char *const *word = compare->argv; *word; word++)
        json_array_append_new(command, safe_text(*word));
    json_object_set_new(all, "command", command);
    json_object_set_new(all, "machine",
                        json_pack("{s:o, s:o, s:i, s:o}", "kernel", safe_text(compare->kernel),
                                  "cpu", safe_text(compare->cpu), "cpus", (int)compare->cpus,
                                  "kernel_route", safe_text(compare->backend)));
    for (enum compare_route route = 0; route < _COMPARE_ROUTES; route++)
        json_array_append_new(rows, row_of(compare, route));
    json_object_set_new(all, "rows", rows);
    json_object_set_new(all, "verdict", verdict_of(compare));
    text = json_dumps(all, JSON_COMPACT | JSON_REAL_PRECISION(4));
    json_decref(all);
    if (text) {
        buffer_text(out, text);
        buffer_text(out, "\n");
    } else {
        out->failed = true;
    }
    free(text);
}
