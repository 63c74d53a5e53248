#include "proxy/compare/rows.h"

#include <stdlib.h>
#include <string.h>

#include "events/quote.h"

static const char *const route_names[] = {
    [COMPARE_DIRECT] = "direct",
    [COMPARE_PASSTHROUGH] = "passthrough",
    [COMPARE_PROXY] = "proxy",
    [COMPARE_KERNEL] = "kernel",
};
_Static_assert(ARRAY_SIZE(route_names) == _COMPARE_ROUTES, "name every route");

const char *compare_route_name(enum compare_route route)
{
    return route_names[route];
}

struct figures compare_figures(const struct compare_row *row, enum compare_measure measure)
{
    double values[FIGURES_MAX];

    memcpy(values, row->round[measure], row->rounds * sizeof(*values));
    return figures_of(values, row->rounds);
}

double compare_ratio(const struct compare *compare, enum compare_route route,
                     enum compare_measure measure)
{
    const struct compare_row *direct = &compare->rows[COMPARE_DIRECT];
    const struct compare_row *row = &compare->rows[route];
    double whole;

    if (!row->rounds || !direct->rounds)
        return 0;
    whole = compare_figures(direct, measure).median;
    return whole > 0 ? compare_figures(row, measure).median / whole : 0;
}

uint64_t compare_requests(const struct compare *compare)
{
    uint64_t most = 0;

    for (size_t i = 0; i < _COMPARE_ROUTES; i++)
        if (compare->rows[i].rounds && compare->rows[i].seen.requests > most)
            most = compare->rows[i].seen.requests;
    return most;
}

double compare_encryptions(const struct compare *compare, enum compare_route route)
{
    const struct seen *seen = &compare->rows[route].seen;

    if (seen->bytes)
        return (double)seen->crypted / (double)seen->bytes;
    for (size_t i = 0; i < _COMPARE_ROUTES; i++) {
        seen = &compare->rows[i].seen;
        if (seen->bytes) /* by itself it encrypts what it says by TLS, once */
            return (double)seen->tls_bytes / (double)seen->bytes;
    }
    return 0;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

bool compare_latency(struct compare_row *row, double *p50, double *p99)
{
    double values[FIGURES_MAX], *ordered = row->seen.latencies_us;
    size_t len = row->seen.latencies_len;

    if (!len) {
        len = row->rounds;
        memcpy(values, row->round[COMPARE_WALL], len * sizeof(*values));
        ordered = values;
    }
    qsort(ordered, len, sizeof(*ordered), by_size);
    *p50 = figures_quantile(ordered, len, 0.5);
    *p99 = figures_quantile(ordered, len, 0.99);
    return ordered != values;
}

void compare_words(struct buffer *out, const char *text)
{
    CLEANUP(buffer_fini) struct buffer quoted = {0};
    size_t len = strlen(text);

    quote_text(&quoted, span_of(text, len));
    if (quoted.len == len + 2 && memcmp(quoted.data + 1, text, len) == 0)
        buffer_text(out, text); /* nothing but the quotes was added */
    else
        buffer_append(out, quoted.data, quoted.len);
    out->failed |= quoted.failed;
}

void compare_command(struct buffer *out, char *const *argv)
{
    enum { WORD_MAX = 160, COMMAND_MAX = 400 };

    for (size_t i = 0; argv[i]; i++) {
        size_t len = strlen(argv[i]);

        buffer_text(out, i ? " " : "");
        if (out->len > COMMAND_MAX) {
            buffer_text(out, "…");
            return;
        }
        if (len == 0)
            buffer_text(out, "\"\"");
        quote_text(out, span_of(argv[i], len < WORD_MAX ? len : WORD_MAX));
        buffer_text(out, len > WORD_MAX ? "…" : "");
    }
}
