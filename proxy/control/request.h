/* request: one line of bytes from the control socket -> one request, or what is wrong with it.
 *
 * Pure. A request is an object with a member "verb"; the rest is the verb's to judge.
 * Called by:  control.c, for each line; the sentence goes back to who sent it. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "base/span.h"

enum {
    REQUEST_BYTES_MAX = 65536, /* with the newline */
    REQUEST_DEPTH_MAX = 16,
    REQUEST_VERB_MAX = 32,
};

struct request {
    json_t *args;     /* the whole object */
    const char *verb; /* a text in it */
};

/* line: without its newline. *out is untouched on failure. */
int request_parse(struct span line, struct request *out, struct err *err);
void request_fini(struct request *request);
