/* redact: secrets that events must not carry. Pure. */
#pragma once

#include <stdbool.h>

#include "events/buffer.h"

#define REDACTED "*****"

/* Whether the values of headers of this name are secrets: credentials, cookies, tokens, keys. */
bool redact_header(const char *name);
/* Whether this header's value is one: by its name, or since browsers, who may set no other header
 * of a WebSocket's, put their tokens among the protocols that they ask for. */
bool redact_field(const char *name, const char *value);
/* The same as redact_header() for the first len bytes of name, whatever it names: an option, a
 * variable. */
bool redact_name(const char *name, size_t len);

/* The text, or, where it begins as a URL with user information ("https://user:secret@host"), a
 * copy of it in storage with that replaced. Ends in a NUL; "" when out of memory. */
const char *redact_url(const char *text, struct buffer *storage);

/* The same for a request's target or its Host: "user:secret@host" is no URL, but has one, too. */
const char *redact_target(const char *text, struct buffer *storage);

/* The same for a sentence of ours that may have a request's target in it: each word for itself. */
const char *redact_sentence(const char *text, struct buffer *storage);

/* The same for a process's arguments: user information in any URL, values of headers and options
 * whose names say that they are secrets, passwords of logins ("-u me:secret"). */
const char *redact_arguments(const char *text, struct buffer *storage);
