/* log: the agent's own words to its user, one line each on stderr, "sallyport: …".
 *
 * What pods do goes to events/, not here. Safe from any thread: a line is one write(2).
 * Control characters of strangers' strings are replaced, so no escape sequence gets out. */
#pragma once

#include "base/cleanup.h"

void log_error(const char *format, ...) PRINTF_LIKE(1, 2);
void log_warn(const char *format, ...) PRINTF_LIKE(1, 2);
