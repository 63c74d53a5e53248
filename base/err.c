#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, int code, const char *format, ...)
{
    va_list args;

    if (!err)
        return code;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    err->code = code;
    return code;
}

int err_sys(struct err *err, int code, const char *format, ...)
{
    va_list args;
    size_t len;

    if (!err)
        return code;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    len = strlen(err->text);
    snprintf(err->text + len, sizeof(err->text) - len, ": %s", strerror(-code));
    err->code = code;
    return code;
}

int err_wrap(struct err *err, const char *format, ...)
{
    char before[sizeof(err->text)], after[sizeof(err->text)];
    va_list args;

    if (!err)
        return 0;
    va_start(args, format);
    vsnprintf(before, sizeof(before), format, args);
    va_end(args);
    memcpy(after, err->text, sizeof(after));
    snprintf(err->text, sizeof(err->text), "%.250s: %.250s", before, after);
    return err->code;
}
