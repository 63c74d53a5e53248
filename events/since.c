#include "events/since.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define SECOND_NS UINT64_C(1000000000)

static const struct {
    const char *word;
    uint64_t ns;
} units[] = {
    {"ms", 1000000},
    {"s", SECOND_NS},
    {"m", 60 * SECOND_NS},
    {"h", 3600 * SECOND_NS},
    {"d", 24 * 3600 * SECOND_NS},
};

/* Digits at *at, moved behind them. False: none, or too many. */
static bool take_number(const char **at, uint64_t *out)
{
    const char *start = *at;

    for (*out = 0; isdigit((unsigned char)**at); (*at)++)
        if (__builtin_mul_overflow(*out, 10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(**at - '0'), out))
            return false;
    return *at > start;
}

static bool take_unit(const char **at, uint64_t *ns)
{
    size_t len = strspn(*at, "abcdefghijklmnopqrstuvwxyz");

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strlen(units[i].word) == len && strncmp(*at, units[i].word, len) == 0) {
            *ns = units[i].ns;
            *at += len;
            return true;
        }
    return false;
}

static bool parse_duration(const char *text, uint64_t *ns)
{
    *ns = 0;
    do {
        uint64_t number, unit;

        if (!take_number(&text, &number) || !take_unit(&text, &unit) ||
            __builtin_mul_overflow(number, unit, &number) ||
            __builtin_add_overflow(*ns, number, ns))
            return false;
    } while (*text);
    return true;
}

/* ".123" behind the seconds, if it is there. */
static bool take_fraction(const char **at, uint64_t *ns)
{
    uint64_t unit = SECOND_NS / 10;

    *ns = 0;
    if (**at != '.')
        return true;
    (*at)++;
    if (!isdigit((unsigned char)**at))
        return false;
    for (; isdigit((unsigned char)**at); (*at)++, unit /= 10)
        *ns += unit * (uint64_t)(**at - '0');
    return true;
}

/* "Z" or "+01:00", to the end of the text. */
static bool parse_zone(const char *text, int64_t *seconds)
{
    int sign = *text == '-' ? -1 : 1;
    struct tm tm = {0};
    const char *end;

    *seconds = 0;
    if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
        return true;
    if ((*text != '+' && *text != '-') || strlen(text) != 6)
        return false;
    end = strptime(text + 1, "%H:%M", &tm);
    *seconds = sign * (tm.tm_hour * INT64_C(3600) + tm.tm_min * INT64_C(60));
    return end && !*end;
}

static bool parse_moment(const char *text, uint64_t *ns)
{
    struct tm tm = {0};
    const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    uint64_t fraction;
    int64_t zone, seconds;

    if (!at || !take_fraction(&at, &fraction) || !parse_zone(at, &zone))
        return false;
    seconds = timegm(&tm) - zone;
    if (seconds < 0 || (uint64_t)seconds > UINT64_MAX / SECOND_NS - 1)
        return false;
    *ns = (uint64_t)seconds * SECOND_NS + fraction;
    return true;
}

int since_parse(const char *text, uint64_t now_ns, uint64_t *out, struct err *err)
{
    uint64_t ns;

    if (parse_duration(text, &ns))
        *out = ns < now_ns ? now_ns - ns : 1;
    else if (parse_moment(text, &ns))
        *out = ns ? ns : 1;
    else
        return err_set(err, -EINVAL,
                       "'%s' is neither a time back from now, such as 5m or 1h30m, nor a moment "
                       "such as 2026-11-23T18:00:00Z",
                       text);
    return 0;
}
