#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PATIENCE_MS = 100 };

static void write_line(const char *level, const char *format, va_list args)
{
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
    char line[1024];
    int at = snprintf(line, sizeof(line), "sallyport: %s", level);
    size_t len;

    vsnprintf(line + at, sizeof(line) - (size_t)at - 1, format, args);
    len = strlen(line);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[len++] = '\n';
    /* a line is shorter than PIPE_BUF: a pipe that has room takes it whole, without blocking */
    if (poll(&room, 1, PATIENCE_MS) <= 0)
        return; /* a reader that does not read must not stop us */
    if (write(STDERR_FILENO, line, len) < 0)
        return; /* nobody left to tell */
}

void log_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line("", format, args);
    va_end(args);
}

void log_warn(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line("warning: ", format, args);
    va_end(args);
}
