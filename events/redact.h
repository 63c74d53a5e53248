/* redact: secrets that events must not carry. Pure. */
#pragma once

#include <stdbool.h>

#include "events/buffer.h"

#define REDACTED "*****"

/* Whether the values of headers of this name are secrets: credentials, cookies, tokens, keys. */
bool redact_header(const char *name);

/* The text, or, where it begins as a URL with user information ("https://user:secret@host"), a
 * copy of it in storage with that replaced. Ends in a NUL; "" when out of memory. */
const char *redact_url(const char *text, struct buffer *storage);
