#include "certs/err_tls.h"

#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_tls(struct err *err, int code, const char *format, ...)
{
    /* The oldest entry is the cause; the later ones are the callers it passed through. */
    unsigned long cause = ERR_get_error();
    const char *reason = NULL;
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (cause && ERR_SYSTEM_ERROR(cause))
        reason = strerror(ERR_GET_REASON(cause));
    else if (cause)
        reason = ERR_reason_error_string(cause);
    ERR_clear_error();
    if (!reason)
        return err_set(err, code, "%s", text);
    return err_set(err, code, "%s: %s", text, reason);
}
