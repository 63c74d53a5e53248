#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A line is not longer than PIPE_BUF: a pipe that has room takes it whole, without blocking. */
enum { PATIENCE_MS = 100, TEXT_MAX = 1024, LINE_MAX_ = 4096 };

enum level { LEVEL_ERROR, LEVEL_WARN, LEVEL_INFO };

static atomic_bool json_wanted;

void log_set_json(bool json)
{
    json_wanted = json;
}

static void write_out(const char *line, size_t len)
{
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (poll(&room, 1, PATIENCE_MS) <= 0)
        return; /* a reader that does not read must not stop us */
    if (write(STDERR_FILENO, line, len) < 0)
        return; /* nobody left to tell */
}

/* ---- text ---- */

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

static void write_text(const char *before, const char *text, size_t text_len)
{
    char line[TEXT_MAX];
    int len = snprintf(line, sizeof(line) - 1, "%s%.*s", before, (int)text_len, text);
    size_t end = (size_t)len < sizeof(line) - 1 ? (size_t)len : sizeof(line) - 2;

    for (size_t i = 0; i < end; i++)
        if (is_control(line[i]))
            line[i] = line[i] == '\t' ? ' ' : '?'; /* as wide as in the line about it */
    line[end++] = '\n';
    write_out(line, end);
}

/* ---- JSON ---- */

/* Length of the UTF-8 sequence that begins there (RFC 3629); 0: there is none. */
static size_t sequence(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t len = *at < 0x80   ? 1
                 : *at < 0xc2 ? 0
                 : *at < 0xe0 ? 2
                 : *at < 0xf0 ? 3
                 : *at < 0xf5 ? 4
                              : 0;

    for (size_t i = 1; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if ((*at == 0xe0 && at[1] < 0xa0) || (*at == 0xed && at[1] > 0x9f) ||
        (*at == 0xf0 && at[1] < 0x90) || (*at == 0xf4 && at[1] > 0x8f))
        return 0;
    return len;
}

/* What of text fits, as the inside of a JSON string. */
static size_t escape(const char *text, char *out, size_t size)
{
    size_t len = 0;

    while (*text && len + 6 < size) {
        size_t bytes = sequence(text);

        if (*text == '\n') {
            out[len++] = '\\';
            out[len++] = 'n';
        } else if (*text == '"' || *text == '\\') {
            out[len++] = '\\';
            out[len++] = *text;
        } else if (!bytes || is_control(*text)) {
            out[len++] = '?';
        } else {
            memcpy(out + len, text, bytes);
            len += bytes;
        }
        text += bytes ? bytes : 1;
    }
    return len;
}

static void write_json(enum level level, const char *text)
{
    static const char *const names[] = {
        [LEVEL_ERROR] = "error", [LEVEL_WARN] = "warn", [LEVEL_INFO] = "info"};
    char line[LINE_MAX_], date[32];
    struct timespec now;
    struct tm parts;
    size_t len;

    clock_gettime(CLOCK_REALTIME, &now);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &parts));
    len =
        (size_t)snprintf(line, sizeof(line), "{\"time\":\"%s.%09ldZ\",\"level\":\"%s\",\"msg\":\"",
                         date, now.tv_nsec, names[level]);
    len += escape(text, line + len, sizeof(line) - len - 4);
    len += (size_t)snprintf(line + len, sizeof(line) - len, "\"}\n");
    write_out(line, len);
}

/* ---- both ---- */

static void say(enum level level, const char *format, va_list args)
{
    char text[TEXT_MAX];

    vsnprintf(text, sizeof(text), format, args);
    if (json_wanted)
        write_json(level, text);
    else
        write_text(level == LEVEL_WARN ? "sallyport: warning: " : "sallyport: ", text,
                   strlen(text));
}

void log_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(LEVEL_ERROR, format, args);
    va_end(args);
}

void log_warn(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(LEVEL_WARN, format, args);
    va_end(args);
}

void log_info(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(LEVEL_INFO, format, args);
    va_end(args);
}

void log_story(const char *text)
{
    if (json_wanted) {
        write_json(LEVEL_ERROR, text);
        return;
    }
    while (*text) {
        size_t len = strcspn(text, "\n");

        write_text("", text, len);
        text += len + (text[len] == '\n');
    }
}
