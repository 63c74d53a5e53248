#include "events/units.h"

#include <inttypes.h>
#include <time.h>

#include "base/cleanup.h"

/* value / scale, rounded half up; the sum cannot overflow as value + scale / 2 could. */
static uint64_t rounded(uint64_t value, uint64_t scale)
{
    return value / scale + (value % scale >= scale - scale / 2);
}

void units_bytes(struct buffer *out, uint64_t bytes)
{
    static const char *const names[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    uint64_t scale = 1000, tenths;
    size_t i = 0;

    if (bytes < 1000) {
        buffer_format(out, "%" PRIu64 " B", bytes);
        return;
    }
    for (; i + 1 < ARRAY_SIZE(names) && rounded(bytes, scale) >= 1000; i++)
        scale *= 1000;
    tenths = rounded(bytes, scale / 10);
    if (tenths < 100)
        buffer_format(out, "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10, names[i]);
    else
        buffer_format(out, "%" PRIu64 " %s", rounded(bytes, scale), names[i]);
}

void units_duration(struct buffer *out, uint64_t ns)
{
    const char *unit = "ms";
    uint64_t scale = 1000000, hundredths;

    if (rounded(ns, 1000) < 1000) {
        buffer_format(out, "%" PRIu64 "us", rounded(ns, 1000));
        return;
    }
    if (rounded(ns, scale) >= 1000) {
        unit = "s";
        scale = 1000000000;
    }
    hundredths = rounded(ns, scale / 100);
    if (hundredths < 1000)
        buffer_format(out, "%" PRIu64 ".%02" PRIu64 "%s", hundredths / 100, hundredths % 100, unit);
    else if (rounded(ns, scale / 10) < 1000)
        buffer_format(out, "%" PRIu64 ".%" PRIu64 "%s", rounded(ns, scale / 10) / 10,
                      rounded(ns, scale / 10) % 10, unit);
    else
        buffer_format(out, "%" PRIu64 "%s", rounded(ns, scale), unit);
}

void units_time(struct buffer *out, uint64_t ns)
{
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm tm = {0};
    char text[32];

    gmtime_r(&seconds, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    buffer_format(out, "%s.%09" PRIu64 "Z", text, ns % 1000000000);
}
