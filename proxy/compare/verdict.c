/* verdict: what a comparison comes to, in words. A difference is told only where the rounds show
 * one: see figures_differ(). */
#include <inttypes.h>

#include "proxy/compare/rows.h"

static const char *const subjects[] = {
    [COMPARE_DIRECT] = "direct",
    [COMPARE_PASSTHROUGH] = "passthrough",
    [COMPARE_PROXY] = "the proxy",
    [COMPARE_KERNEL] = "the kernel route",
};
_Static_assert(ARRAY_SIZE(subjects) == _COMPARE_ROUTES, "name every route");

static bool differ(const struct compare_row *row, const struct compare_row *other,
                   enum compare_measure measure)
{
    return figures_differ(row->round[measure], row->rounds, other->round[measure], other->rounds);
}

/* "4 % more CPU", "3.1 times the CPU". */
static void append_change(struct buffer *out, const struct compare_row *row,
                          const struct compare_row *other, enum compare_measure measure,
                          const char *what)
{
    double whole = compare_figures(other, measure).median;
    double ratio = whole > 0 ? compare_figures(row, measure).median / whole : 1;

    double percent = 100 * (ratio < 1 ? 1 - ratio : ratio - 1);

    if (ratio >= 1.995)
        buffer_format(out, "%.1f times the %s", ratio, what);
    else
        buffer_format(out, "%.*f %% %s %s", percent < 9.95, percent, ratio < 1 ? "less" : "more",
                      what);
}

/* "4 % more CPU, no difference in time that these 5 rounds show". */
static void append_changes(struct buffer *out, const struct compare_row *row,
                           const struct compare_row *other)
{
    bool cpu = differ(row, other, COMPARE_CPU), wall = differ(row, other, COMPARE_WALL);

    if (cpu)
        append_change(out, row, other, COMPARE_CPU, "CPU");
    buffer_text(out, cpu && wall ? " and " : "");
    if (wall)
        append_change(out, row, other, COMPARE_WALL, "time");
    if (cpu && wall)
        return;
    buffer_format(out, "%sno difference in %s that ", cpu || wall ? ", " : "",
                  cpu    ? "time"
                  : wall ? "CPU"
                         : "CPU or time");
    if (row->rounds == 1)
        buffer_text(out, "one round can show");
    else
        buffer_format(out, "these %zu rounds show", row->rounds);
}

static void append_seen(struct buffer *out, uint64_t requests, uint64_t all)
{
    if (requests == all)
        buffer_format(out, all == 1 ? "saw the one request" : "saw all %" PRIu64 " requests", all);
    else if (requests)
        buffer_format(out, "saw %" PRIu64 " of %" PRIu64 " requests", requests, all);
    else
        buffer_text(out, "saw no request");
}

/* A sentence begins with a capital. */
static void append_subject(struct buffer *out, enum compare_route route)
{
    buffer_format(out, "%c%s", subjects[route][0] - 'a' + 'A', subjects[route] + 1);
}

static void append_route(struct buffer *out, const struct compare *compare,
                         enum compare_route route)
{
    const struct compare_row *row = &compare->rows[route];
    const struct compare_row *direct = &compare->rows[COMPARE_DIRECT];
    uint64_t all = compare_requests(compare);

    append_subject(out, route);
    if (row->why[0]) {
        buffer_format(out, "%s: %s.\n", row->failed ? " failed" : " cannot be taken here",
                      row->why);
        return;
    }
    if (all) {
        buffer_text(out, " ");
        append_seen(out, row->seen.requests, all);
    }
    if (direct->rounds) {
        buffer_text(out, all ? "; compared with direct: " : " compared with direct: ");
        append_changes(out, row, direct);
    } else if (!all) {
        buffer_text(out, " ran");
    }
    buffer_text(out, ".\n");
}

void compare_verdict(struct buffer *out, const struct compare *compare)
{
    const struct compare_row *proxy = &compare->rows[COMPARE_PROXY];
    const struct compare_row *kernel = &compare->rows[COMPARE_KERNEL];

    if (compare->rows[COMPARE_DIRECT].why[0])
        append_route(out, compare, COMPARE_DIRECT);
    else if (!compare_requests(compare))
        buffer_text(out, "No route saw a request: the command made none, or in a way that none can "
                         "read.\n");
    for (enum compare_route route = COMPARE_PASSTHROUGH; route < _COMPARE_ROUTES; route++)
        append_route(out, compare, route);
    if (!proxy->rounds || !kernel->rounds)
        return;
    buffer_text(out, "The kernel route compared with the proxy: ");
    append_changes(out, kernel, proxy);
    buffer_text(out, ".\n");
}
