/* status: how the agent is, for who asks at the control socket: verb "status". Each part of the
 * agent tells its own; so nobody knows all of them.
 *
 * Control thread only.
 * Called by:  command/run.c; the parts, with status_on().
 * Leads to:   command/status.c, which shows it. */
#pragma once

#include <jansson.h>
#include <openssl/x509.h>
#include <stdint.h>

#include "base/err.h"
#include "events/buffer.h"

enum { STATUS_PARTS_MAX = 16 };

struct control;
struct status;

/* Serves the verb; tells version, pid and since when itself. control: borrowed, ends before it. */
int status_new(struct status **out, struct control *control, struct err *err);
void status_free(struct status **status);
/* fn adds members to the answer, in the order of these calls. */
int status_on(struct status *status, void (*fn)(void *arg, json_t *answer), void *arg,
              struct err *err);

/* Adds a text, whatever bytes are in it; nothing for NULL. */
void status_add_text(json_t *object, const char *key, const char *text);
/* Adds a time of day, from nanoseconds since 1970. */
void status_add_time(json_t *object, const char *key, uint64_t ns);

/* Adds whom a certificate is of, and until when. */
void status_add_cert(json_t *object, const char *key, const X509 *cert);

/* Pure: an answer as lines for a person: a line for each member, and for each item of a list. */
void status_render(struct buffer *out, const json_t *answer);
