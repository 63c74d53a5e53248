/* admin: /metrics, /livez and /readyz over HTTP, for who watches the agent.
 *
 * Not a web server: GET and HEAD of three paths, a connection a request, on the control loop. What
 * a client may take is bounded: bytes of its head, seconds in all, and connections, of which the
 * oldest goes when there is one too many; libevent's own server bounds neither of the last two.
 * Called by:  telemetry.c. The request is read by wire/http1. */
#pragma once

#include <event2/event.h>

#include "base/err.h"
#include "base/span.h"
#include "events/buffer.h"

enum {
    ADMIN_HEAD_MAX = 8192,
    ADMIN_CONNECTIONS = 32,
    ADMIN_PATIENCE_S = 10, /* for all of a connection */
};

struct admin_pages {
    void *arg;
    void (*metrics)(void *arg, struct buffer *out);
    const char *(*not_ready)(void *arg); /* why not, as a sentence; NULL: it is */
};

struct admin;

/* Listens at "127.0.0.1:9470", "[::1]:9470". Copies pages, borrows what they point to. */
int admin_new(struct admin **out, struct event_base *base, const char *address,
              const struct admin_pages *pages, struct err *err);
void admin_free(struct admin **admin);

/* Pure: the answer to the bytes of a request. False: more bytes are needed. */
bool admin_answer(struct span bytes, const struct admin_pages *pages, struct buffer *out);
