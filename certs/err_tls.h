/* err_tls: a failure with what waits in OpenSSL's error queue of this thread (and empties it). */
#pragma once

#include "base/err.h"

int err_tls(struct err *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);
