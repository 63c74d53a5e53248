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

enum { DOT_AT = sizeof("0000-00-00T00:00:00") - 1, NANO_DIGITS = 9 };

/* Events come by the thousand a second: what gmtime_r(3), strftime(3) and printf(3) take for each
 * would be a third of what telling it costs. */
void units_time(struct buffer *out, uint64_t ns)
{
    static _Thread_local time_t last = -1;
    static _Thread_local char text[] = "0000-00-00T00:00:00.000000000Z";
    time_t seconds = (time_t)(ns / 1000000000);
    uint64_t rest = ns % 1000000000;

    if (seconds != last) {
        struct tm tm = {0};

        gmtime_r(&seconds, &tm);
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
        text[DOT_AT] = '.';
        last = seconds;
    }
    for (size_t i = 0; i < NANO_DIGITS; i++, rest /= 10)
        text[DOT_AT + NANO_DIGITS - i] = (char)('0' + rest % 10);
    buffer_append(out, text, sizeof(text) - 1);
}
