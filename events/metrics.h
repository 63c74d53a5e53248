/* metrics: events counted, and what is read when somebody asks, as Prometheus' text (0.0.4).
 *
 * No name, path, address or body of traffic becomes a label: what a pod says must not decide how
 * many lines there are. The labels are words of ours; what is not among them is "other".
 * Counted by: the event thread, as a tap of the bus. Rendered by: proxy/telemetry/admin.c, on its
 * own. */
#pragma once

#include "events/buffer.h"
#include "events/bus.h"

struct metrics;

int metrics_new(struct metrics **out, struct err *err);
/* After the bus that has its tap. */
void metrics_free(struct metrics **metrics);

/* How many events were told so far, and how many were lost on the way there. Any thread. */
void metrics_count(const struct metrics *metrics, uint64_t *told, uint64_t *lost);

struct bus_tap metrics_tap(struct metrics *metrics);

/* Something read when it is asked for, on the thread that renders: a number at a time. */
enum metrics_kind { METRICS_GAUGE, METRICS_COUNTER };
struct metrics_reading {
    const char *name, *help; /* "sallyport_pods"; borrowed, as all of this */
    enum metrics_kind kind;
    const char *labels; /* "what=\"files\"", or NULL; readings of one name stand side by side */
    double (*read)(void *arg);
    void *arg;
};

/* Everything, complete with HELP and TYPE. The readings come behind what was counted. */
void metrics_render(const struct metrics *metrics, const struct metrics_reading *readings,
                    size_t readings_len, struct buffer *out);
