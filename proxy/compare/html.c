/* html: a comparison as one page that needs nothing else: no script, no file, no network. What it
 * says of strangers' words is escaped, and a policy in its head lets nothing be loaded. */
#include <inttypes.h>
#include <string.h>

#include "events/units.h"
#include "proxy/compare/chart.h"
#include "proxy/compare/rows.h"

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<title>sallyport compare</title>\n<style>\n"
    ":root{--page:#f6f7f9;--card:#fff;--ink:#1a2130;--soft:#5b6678;--line:#dfe3ea;--grid:#e8ebf0;"
    "--program:#3f7fd9;--kernel:#8d99ad;--agent:#e0912f;--time:#2f9e83;--tail:#9fd5c6;"
    "--bad:#b3362f;--code:#eef1f5}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#12161d;--card:#1a202a;--ink:#e6eaf0;"
    "--soft:#98a4b5;--line:#2d3644;--grid:#283140;--program:#5b98ec;--kernel:#76849a;"
    "--agent:#eba74c;--time:#3fb698;--tail:#2c6c5e;--bad:#ef7d75;--code:#232b37}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"
    "'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\n"
    "main{max-width:1080px;margin:0 auto;padding:28px 20px 48px}\n"
    "h1{font-size:23px;margin:0 0 10px}h2{font-size:16px;margin:0 0 10px}\n"
    "code{display:block;font:13px/1.5 ui-monospace,'DejaVu Sans Mono',monospace;background:var(--"
    "code);"
    "border-radius:6px;padding:8px 12px;overflow-wrap:anywhere}\n"
    "p.soft,figcaption,dl{color:var(--soft);font-size:13px}p.soft{margin:8px 0 0}\n"
    "section,figure{background:var(--card);border:1px solid var(--line);border-radius:10px;"
    "padding:18px 20px;margin:18px 0 0;overflow-x:auto}\n"
    ".verdict{border-left:4px solid var(--time)}.verdict p{margin:4px 0}\n"
    "svg{display:block;width:100%;min-width:560px;height:auto}\n"
    "svg text{font-size:12.5px;fill:var(--ink);font-family:inherit}\n"
    ".label{text-anchor:end}svg .tick{font-size:11px;fill:var(--soft);text-anchor:middle}\n"
    "svg .value{font-size:12px}svg .missing{fill:var(--soft);font-style:italic}\n"
    ".grid{stroke:var(--grid)}.spread{stroke:var(--ink);stroke-width:1.3;fill:none;opacity:.75}\n"
    ".point{fill:var(--card);stroke:var(--ink);stroke-width:.8;opacity:.8}\n"
    ".program{fill:var(--program)}.kernel{fill:var(--kernel)}.agent{fill:var(--agent)}"
    ".time{fill:var(--time)}.tail{fill:var(--tail)}\n"
    ".key{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 5px 0 14px}\n"
    ".key:first-child{margin-left:0}i.program{background:var(--program)}"
    "i.kernel{background:var(--kernel)}i.agent{background:var(--agent)}"
    "i.time{background:var(--time)}i.tail{background:var(--tail)}\n"
    "table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}"
    "\n"
    "th{color:var(--soft);font-weight:600;font-size:12px;vertical-align:bottom}\n"
    "th,td{text-align:right;padding:6px 8px;border-bottom:1px solid var(--line)}\n"
    "tr:last-child td{border-bottom:0}th:first-child,td:first-child,.words{text-align:left}\n"
    "td:first-child{font-weight:600}td.words{overflow-wrap:anywhere}td small{color:var(--soft)}\n"
    ".failed{color:var(--bad)}dl{margin:0}dt{font-weight:600;margin-top:8px}dd{margin:0}\n"
    "@media print{body{background:#fff}section,figure{break-inside:avoid}}\n"
    "</style>\n</head>\n<body>\n<main>\n<h1>One command, four routes</h1>\n";

static const char explained[] =
    "<section><h2>How to read this</h2><dl>\n"
    "<dt>Routes</dt><dd>direct: the command without sallyport. passthrough: its connections are "
    "steered and passed on unread. proxy: TLS is ended and read by the agent. kernel: what the "
    "command says is read where it enters the kernel.</dd>\n"
    "<dt>Time and CPU</dt><dd>The median of the rounds; the whisker spans them all, a circle is "
    "one "
    "of them. Time is from the command’s first moment to its end. CPU is what the command and the "
    "agent took, without the agent’s start and end and without servers: program and agent by "
    "themselves, kernel for either of them. A difference is told only where the order of the "
    "rounds "
    "shows one (Mann and Whitney’s test, five errors in a hundred).</dd>\n"
    "<dt>Latency</dt><dd>From a request’s head to its answer’s, as the agent saw them; with * of "
    "the "
    "whole command, where nobody saw a request.</dd>\n"
    "<dt>Encryptions</dt><dd>How often a byte that the command says or hears is encrypted or "
    "decrypted on its side: once by itself (or by the kernel for it), twice more where the proxy "
    "ends TLS. 0: it does not speak TLS.</dd>\n"
    "<dt>Memory</dt><dd>The most that the agent had at a time while the command ran.</dd>\n"
    "</dl></section>\n";

/* ---- words ---- */

static void escape(struct buffer *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        switch (text[i]) {
        case '&':
            buffer_text(out, "&amp;");
            break;
        case '<':
            buffer_text(out, "&lt;");
            break;
        case '>':
            buffer_text(out, "&gt;");
            break;
        case '"':
            buffer_text(out, "&quot;");
            break;
        case '\'':
            buffer_text(out, "&#39;");
            break;
        default:
            buffer_append(out, text + i, 1);
        }
}

static void append_escaped(struct buffer *out, const char *text)
{
    escape(out, text, strlen(text));
}

static void append_strange(struct buffer *out, const char *text)
{
    CLEANUP(buffer_fini) struct buffer words = {0};

    compare_words(&words, text);
    escape(out, words.data, words.len);
    out->failed |= words.failed;
}

static void append_time(struct buffer *out, double us)
{
    units_duration(out, (uint64_t)(us * 1000));
}

/* ---- head and verdict ---- */

static void append_top(struct buffer *out, const struct compare *compare)
{
    CLEANUP(buffer_fini) struct buffer command = {0};

    compare_command(&command, compare->argv);
    buffer_text(out, "<code>");
    escape(out, command.data, command.len);
    buffer_format(out,
                  "</code>\n<p class=\"soft\">%zu round%s of each route, and one before them to "
                  "warm up. ",
                  compare->rounds, compare->rounds == 1 ? "" : "s");
    append_escaped(out, compare->kernel);
    buffer_text(out, ", ");
    append_escaped(out, compare->cpu);
    buffer_format(out, ", %u CPU%s. Kernel route: ", compare->cpus, compare->cpus == 1 ? "" : "s");
    append_escaped(out, compare->backend);
    buffer_text(out, ".</p>\n");
    out->failed |= command.failed;
}

static void append_verdict(struct buffer *out, const struct compare *compare)
{
    CLEANUP(buffer_fini) struct buffer words = {0};
    char *rest, *line;

    compare_verdict(&words, compare);
    buffer_append(&words, "", 1);
    out->failed |= words.failed;
    if (words.failed)
        return;
    buffer_text(out, "<section class=\"verdict\">\n");
    rest = words.data;
    while ((line = strsep(&rest, "\n")) && rest) {
        buffer_text(out, "<p>");
        append_escaped(out, line);
        buffer_text(out, "</p>\n");
    }
    buffer_text(out, "</section>\n");
}

/* ---- charts ---- */

static double most_of(const struct compare *compare, enum compare_measure measure)
{
    double most = 0, here;

    for (size_t i = 0; i < _COMPARE_ROUTES; i++) {
        if (!compare->rows[i].rounds)
            continue;
        here = compare_figures(&compare->rows[i], measure).most;
        most = here > most ? here : most;
    }
    return most;
}

static const char *missing_words(const struct compare_row *row)
{
    return row->failed ? "failed" : "cannot be taken here";
}

/* The spread of a route's rounds, each of them, and in words what it comes to. */
static void end_row(struct chart *chart, const struct compare *compare, enum compare_route route,
                    enum compare_measure measure)
{
    CLEANUP(buffer_fini) struct buffer words = {0};
    const struct compare_row *row = &compare->rows[route];
    struct figures figures = compare_figures(row, measure);
    double ratio = compare_ratio(compare, route, measure);

    chart_spread(chart, figures.least, figures.most);
    for (size_t i = 0; i < row->rounds; i++)
        chart_point(chart, row->round[measure][i]);
    append_time(&words, figures.median);
    if (ratio > 0 && route != COMPARE_DIRECT)
        buffer_format(&words, " (× %.2f)", ratio);
    buffer_append(&words, "", 1);
    if (!words.failed)
        chart_words(chart, figures.most, words.data);
}

static void append_cpu_chart(struct buffer *out, const struct compare *compare)
{
    struct chart chart;

    buffer_text(out, "<figure><h2>CPU for one run of the command</h2>\n");
    chart_begin(&chart, out, "CPU by route", _COMPARE_ROUTES, most_of(compare, COMPARE_CPU));
    for (enum compare_route route = 0; route < _COMPARE_ROUTES; route++) {
        const struct compare_row *row = &compare->rows[route];
        double program, system, agent, scale;

        chart_row(&chart, compare_route_name(route));
        if (!row->rounds) {
            chart_missing(&chart, missing_words(row));
            continue;
        }
        program = compare_figures(row, COMPARE_PROGRAM).median;
        system = program + compare_figures(row, COMPARE_SYSTEM).median;
        agent = system + compare_figures(row, COMPARE_AGENT).median;
        /* the parts' medians are of different rounds: together they are to be that of the whole */
        scale = agent > 0 ? compare_figures(row, COMPARE_CPU).median / agent : 0;
        chart_bar(&chart, 0, program * scale, "program");
        chart_bar(&chart, program * scale, system * scale, "kernel");
        chart_bar(&chart, system * scale, agent * scale, "agent");
        end_row(&chart, compare, route, COMPARE_CPU);
    }
    chart_end(&chart);
    buffer_text(out, "<figcaption><i class=\"key program\"></i>the program<i class=\"key kernel\">"
                     "</i>the kernel for it and for the agent<i class=\"key agent\"></i>the agent"
                     "</figcaption></figure>\n");
}

static void append_time_chart(struct buffer *out, const struct compare *compare)
{
    struct chart chart;

    buffer_text(out, "<figure><h2>Time of one run of the command</h2>\n");
    chart_begin(&chart, out, "time by route", _COMPARE_ROUTES, most_of(compare, COMPARE_WALL));
    for (enum compare_route route = 0; route < _COMPARE_ROUTES; route++) {
        const struct compare_row *row = &compare->rows[route];

        chart_row(&chart, compare_route_name(route));
        if (!row->rounds) {
            chart_missing(&chart, missing_words(row));
            continue;
        }
        chart_bar(&chart, 0, compare_figures(row, COMPARE_WALL).median, "time");
        end_row(&chart, compare, route, COMPARE_WALL);
    }
    chart_end(&chart);
    buffer_text(out, "</figure>\n");
}

/* Of the routes that saw requests; no chart where none did. */
static void append_latency_chart(struct buffer *out, struct compare *compare)
{
    double p50[_COMPARE_ROUTES], p99[_COMPARE_ROUTES], most = 0;
    bool seen[_COMPARE_ROUTES] = {false};
    size_t rows = 0;
    struct chart chart;

    for (size_t i = 0; i < _COMPARE_ROUTES; i++) {
        if (compare->rows[i].rounds)
            seen[i] = compare_latency(&compare->rows[i], &p50[i], &p99[i]);
        rows += seen[i];
        most = seen[i] && p99[i] > most ? p99[i] : most;
    }
    if (!rows)
        return;
    buffer_text(out, "<figure><h2>Latency of a request, as the agent saw it</h2>\n");
    chart_begin(&chart, out, "latency by route", rows, most);
    for (enum compare_route route = 0; route < _COMPARE_ROUTES; route++) {
        CLEANUP(buffer_fini) struct buffer words = {0};

        if (!seen[route])
            continue;
        chart_row(&chart, compare_route_name(route));
        chart_bar(&chart, 0, p50[route], "time");
        chart_bar(&chart, p50[route], p99[route], "tail");
        append_time(&words, p50[route]);
        buffer_text(&words, " to ");
        append_time(&words, p99[route]);
        buffer_append(&words, "", 1);
        if (!words.failed)
            chart_words(&chart, p99[route], words.data);
    }
    chart_end(&chart);
    buffer_text(out,
                "<figcaption><i class=\"key time\"></i>half of the requests (p50)<i class=\"key "
                "tail\"></i>99 of 100 (p99)</figcaption></figure>\n");
}

/* ---- tables ---- */

static void append_cell(struct buffer *out, double us, double ratio)
{
    buffer_text(out, "<td>");
    append_time(out, us);
    if (ratio > 0)
        buffer_format(out, " <small>× %.2f</small>", ratio);
    buffer_text(out, "</td>");
}

static void append_numbers(struct buffer *out, struct compare *compare, enum compare_route route)
{
    struct compare_row *row = &compare->rows[route];
    double p50, p99;
    const char *mark = compare_latency(row, &p50, &p99) ? "" : "*";

    if (route == COMPARE_DIRECT)
        buffer_text(out, "<td>–</td>");
    else
        buffer_format(out, "<td>%" PRIu64 " of %" PRIu64 "</td>", row->seen.requests,
                      compare_requests(compare));
    append_cell(out, compare_figures(row, COMPARE_WALL).median,
                compare_ratio(compare, route, COMPARE_WALL));
    append_cell(out, compare_figures(row, COMPARE_CPU).median,
                compare_ratio(compare, route, COMPARE_CPU));
    append_cell(out, compare_figures(row, COMPARE_PROGRAM).median, 0);
    if (route == COMPARE_DIRECT)
        buffer_text(out, "<td>–</td>");
    else
        append_cell(out, compare_figures(row, COMPARE_AGENT).median, 0);
    append_cell(out, compare_figures(row, COMPARE_SYSTEM).median, 0);
    buffer_text(out, "<td>");
    append_time(out, p50);
    buffer_format(out, "%s</td><td>", mark);
    append_time(out, p99);
    buffer_format(out, "%s</td><td>%.3g</td><td>", mark, compare_encryptions(compare, route));
    if (row->agent_rss_kb)
        units_bytes(out, row->agent_rss_kb * 1024);
    else
        buffer_text(out, "–");
    buffer_text(out, "</td>");
}

static void append_table(struct buffer *out, struct compare *compare)
{
    buffer_text(out, "<section><h2>Figures</h2><table>\n<tr><th>route</th><th>requests seen</th>"
                     "<th>time</th><th>CPU</th><th>program</th><th>agent</th><th>kernel</th>"
                     "<th>p50</th><th>p99</th><th>encryptions</th><th>memory</th></tr>\n");
    for (enum compare_route route = 0; route < _COMPARE_ROUTES; route++) {
        const struct compare_row *row = &compare->rows[route];

        buffer_format(out, "<tr><td>%s</td>", compare_route_name(route));
        if (row->rounds) {
            append_numbers(out, compare, route);
        } else {
            buffer_format(out,
                          "<td colspan=\"10\" class=\"words%s\">%s: ", row->failed ? " failed" : "",
                          missing_words(row));
            append_escaped(out, row->why);
            buffer_text(out, "</td>");
        }
        buffer_text(out, "</tr>\n");
    }
    buffer_text(out, "</table></section>\n");
}

static void append_counts(struct buffer *out, const struct seen_texts *texts)
{
    buffer_text(out, "<td class=\"words\">");
    for (size_t i = 0; i < texts->len; i++) {
        buffer_text(out, i ? "<br>" : "");
        append_strange(out, texts->list[i].text);
        buffer_format(out, " <small>%" PRIu64 "</small>", texts->list[i].count);
    }
    if (texts->more)
        buffer_format(out, "<br>others <small>%" PRIu64 "</small>", texts->more);
    buffer_text(out, texts->len ? "</td>" : "–</td>");
}

static void append_seen(struct buffer *out, const struct compare *compare)
{
    buffer_text(out,
                "<section><h2>What was seen</h2><table>\n<tr><th>route</th><th class=\"words\">"
                "requests to</th><th class=\"words\">TLS to</th><th class=\"words\">by</th>"
                "<th class=\"words\">connections</th><th class=\"words\">by route</th></tr>\n");
    for (enum compare_route route = COMPARE_PASSTHROUGH; route < _COMPARE_ROUTES; route++) {
        const struct compare_row *row = &compare->rows[route];

        if (!row->rounds)
            continue;
        buffer_format(out, "<tr><td>%s</td>", compare_route_name(route));
        append_counts(out, &row->seen.hosts);
        append_counts(out, &row->seen.names);
        append_counts(out, &row->seen.tls);
        append_counts(out, &row->seen.visibility);
        append_counts(out, &row->seen.routes);
        buffer_text(out, "</tr>\n");
        if (row->seen.lost)
            buffer_format(out,
                          "<tr><td></td><td colspan=\"5\" class=\"words\">%" PRIu64
                          " events were lost</td></tr>\n",
                          row->seen.lost);
        if (!row->note[0])
            continue;
        buffer_text(out, "<tr><td></td><td colspan=\"5\" class=\"words\">");
        append_escaped(out, row->note);
        buffer_text(out, "</td></tr>\n");
    }
    buffer_text(out, "</table></section>\n");
}

void compare_html(struct buffer *out, struct compare *compare)
{
    buffer_text(out, head);
    append_top(out, compare);
    append_verdict(out, compare);
    append_cpu_chart(out, compare);
    append_time_chart(out, compare);
    append_latency_chart(out, compare);
    append_table(out, compare);
    append_seen(out, compare);
    buffer_text(out, explained);
    buffer_text(out, "</main>\n</body>\n</html>\n");
}
