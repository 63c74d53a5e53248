/* log: the agent's own words to its user, one line each on stderr: "sallyport: …", or JSON.
 *
 * What pods do goes to events/, not here. Safe from any thread: a line is one write(2).
 * Control characters of strangers' strings are replaced, so no escape sequence gets out. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

void log_error(const char *format, ...) PRINTF_LIKE(1, 2);
void log_warn(const char *format, ...) PRINTF_LIKE(1, 2);
/* What an operator wants to read: started, reloaded, a pod registered. Nothing for each flow. */
void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
/* What is wrong with a file, several lines that name their places; in JSON one object. */
void log_story(const char *text);

/* From now on {"time":…,"level":"error|warn|info","msg":…}; any thread, at any time. */
void log_set_json(bool json);
