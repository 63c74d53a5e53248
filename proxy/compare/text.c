/* text: a comparison as a table for a terminal, and below it what was seen and the verdict. */
#include <inttypes.h>
#include <string.h>

#include "events/units.h"
#include "proxy/compare/rows.h"

enum column {
    ROUTE,
    REQUESTS,
    TIME,
    TIME_RATIO,
    CPU,
    CPU_RATIO,
    PROGRAM,
    AGENT,
    SYSTEM,
    P50,
    P99,
    CRYPT,
    MEMORY,
    _COLUMNS,
};
enum { CELL_MAX = 24 };
static const char *const titles[] = {
    [ROUTE] = "route",     [REQUESTS] = "requests",
    [TIME] = "time",       [TIME_RATIO] = "x direct",
    [CPU] = "CPU",         [CPU_RATIO] = "x direct",
    [PROGRAM] = "program", [AGENT] = "agent",
    [SYSTEM] = "kernel",   [P50] = "p50",
    [P99] = "p99",         [CRYPT] = "encryptions",
    [MEMORY] = "memory",
};
_Static_assert(ARRAY_SIZE(titles) == _COLUMNS, "title every column");

struct table {
    char cells[_COMPARE_ROUTES][_COLUMNS][CELL_MAX];
    bool of_commands; /* latencies of a row are those of the command */
};

static void put(char cell[CELL_MAX], struct buffer *text)
{
    size_t len = text->failed ? 0 : text->len < CELL_MAX ? text->len : CELL_MAX - 1;

    if (len)
        memcpy(cell, text->data, len);
    cell[len] = 0;
    text->len = 0;
}

static void fill_row(struct table *table, struct compare *compare, enum compare_route route,
                     struct buffer *text)
{
    static const struct {
        enum column column;
        enum compare_measure measure;
    } times[] = {{TIME, COMPARE_WALL},
                 {CPU, COMPARE_CPU},
                 {PROGRAM, COMPARE_PROGRAM},
                 {AGENT, COMPARE_AGENT},
                 {SYSTEM, COMPARE_SYSTEM}};
    struct compare_row *row = &compare->rows[route];
    char(*cells)[CELL_MAX] = table->cells[route];
    double p50, p99, ratio;
    bool of_requests;

    if (route == COMPARE_DIRECT)
        buffer_text(text, "-");
    else
        buffer_format(text, "%" PRIu64 " of %" PRIu64, row->seen.requests,
                      compare_requests(compare));
    put(cells[REQUESTS], text);
    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        if (route == COMPARE_DIRECT && times[i].column == AGENT)
            buffer_text(text, "-");
        else
            units_duration(text, (uint64_t)(1000 * compare_figures(row, times[i].measure).median));
        put(cells[times[i].column], text);
    }
    for (size_t i = 0; i < 2; i++) {
        ratio = compare_ratio(compare, route, times[i].measure);
        buffer_format(text, ratio > 0 ? "%.2f" : "-", ratio);
        put(cells[times[i].column + 1], text);
    }
    of_requests = compare_latency(row, &p50, &p99);
    table->of_commands |= !of_requests;
    units_duration(text, (uint64_t)(1000 * p50));
    buffer_text(text, of_requests ? "" : "*");
    put(cells[P50], text);
    units_duration(text, (uint64_t)(1000 * p99));
    buffer_text(text, of_requests ? "" : "*");
    put(cells[P99], text);
    buffer_format(text, "%.3g", compare_encryptions(compare, route));
    put(cells[CRYPT], text);
    if (row->agent_rss_kb)
        units_bytes(text, row->agent_rss_kb * 1024);
    else
        buffer_text(text, "-");
    put(cells[MEMORY], text);
}

static void append_row(struct buffer *out, char (*cells)[CELL_MAX], const size_t *widths)
{
    for (size_t i = 0; i < _COLUMNS; i++) {
        const int width = (int)widths[i];

        if (i == ROUTE)
            buffer_format(out, "%-*s", width, cells[i]);
        else
            buffer_format(out, "  %*s", width, cells[i]);
    }
    buffer_text(out, "\n");
}

static void append_table(struct buffer *out, struct compare *compare)
{
    CLEANUP(buffer_fini) struct buffer text = {0};
    struct table table = {0};
    char head[_COLUMNS][CELL_MAX];
    size_t widths[_COLUMNS] = {0};

    for (size_t i = 0; i < _COLUMNS; i++) {
        strcpy(head[i], titles[i]);
        widths[i] = strlen(titles[i]);
    }
    for (enum compare_route route = 0; route < _COMPARE_ROUTES; route++) {
        strcpy(table.cells[route][ROUTE], compare_route_name(route));
        if (compare->rows[route].rounds)
            fill_row(&table, compare, route, &text);
        for (size_t i = 0; i < _COLUMNS; i++)
            if (strlen(table.cells[route][i]) > widths[i])
                widths[i] = strlen(table.cells[route][i]);
    }
    append_row(out, head, widths);
    for (enum compare_route route = 0; route < _COMPARE_ROUTES; route++)
        if (compare->rows[route].rounds)
            append_row(out, table.cells[route], widths);
        else
            buffer_format(out, "%-*s  %s: %s\n", (int)widths[ROUTE], compare_route_name(route),
                          compare->rows[route].failed ? "failed" : "cannot be taken here",
                          compare->rows[route].why);
    if (table.of_commands)
        buffer_text(out, "* of the whole command: nobody saw a request\n");
}

static void append_counts(struct buffer *out, const char *what, const struct seen_texts *texts)
{
    if (!texts->len)
        return;
    buffer_format(out, "  %s", what);
    for (size_t i = 0; i < texts->len; i++) {
        buffer_text(out, i ? ", " : " ");
        compare_words(out, texts->list[i].text);
        buffer_format(out, " (%" PRIu64 ")", texts->list[i].count);
    }
    if (texts->more)
        buffer_format(out, ", others (%" PRIu64 ")", texts->more);
}

/* What each route saw of the command, a line each. */
static void append_seen(struct buffer *out, const struct compare *compare)
{
    for (enum compare_route route = COMPARE_PASSTHROUGH; route < _COMPARE_ROUTES; route++) {
        const struct compare_row *row = &compare->rows[route];

        if (!row->rounds)
            continue;
        buffer_format(out, "%-11s", compare_route_name(route));
        append_counts(out, "requests to", &row->seen.hosts);
        append_counts(out, "TLS to", &row->seen.names);
        append_counts(out, "by", &row->seen.tls);
        append_counts(out, "connections", &row->seen.visibility);
        append_counts(out, "by route", &row->seen.routes);
        if (!row->seen.hosts.len && !row->seen.names.len && !row->seen.visibility.len)
            buffer_text(out, "  nothing");
        if (row->seen.lost)
            buffer_format(out, "  and lost %" PRIu64 " events", row->seen.lost);
        buffer_text(out, "\n");
        if (row->note[0])
            buffer_format(out, "%-11s  %s\n", "", row->note);
    }
}

void compare_text(struct buffer *out, struct compare *compare)
{
    compare_command(out, compare->argv);
    buffer_format(out, "\n%s; %s, %u CPUs; kernel route: %s\n\n", compare->kernel, compare->cpu,
                  compare->cpus, compare->backend);
    append_table(out, compare);
    buffer_text(out, "\n");
    append_seen(out, compare);
    buffer_text(out, "\n");
    compare_verdict(out, compare);
}
