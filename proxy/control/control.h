/* control: the socket by which root on this machine asks and tells the agent.
 *
 * SOCK_STREAM; a request is one line of JSON with at most 8 descriptors beside it, the answer one
 * line or several, then the next request may come. Who connects is trusted with the agent, but not
 * to be well: what it sends is bounded, and it is dropped when for 10 s it neither completes its
 * request nor reads its answer. All of this runs on the thread of the event_base.
 *
 * Called by:  command/run.c; the parts of the agent that have verbs.
 * Leads to:   request.c; client.h is the other end. */
#pragma once

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"
#include "events/buffer.h"

#define CONTROL_SOCKET "control.sock" /* in the runtime directory */

enum {
    CONTROL_CLIENTS_MAX = 128,
    CONTROL_FDS_MAX = 8,
    CONTROL_VERBS_MAX = 32,
    CONTROL_PATIENCE_S = 10,
};

struct control;
struct control_call; /* one request; ends by the first answer, refusal or control_take_stream() */

/* The lines of a long answer, made when there is room for them. */
struct control_rows {
    /* Appends one line, without its newline; false: that was all. */
    bool (*next)(void *arg, struct buffer *line);
    void (*done)(void *arg); /* all was sent, or the client is gone */
    void *arg;
};

/* Listens at path, which always leads to a socket that answers, or to what was there before: bound
 * under another name, then renamed. Knows the verb "ping". */
int control_new(struct control **out, struct event_base *base, const char *path, struct err *err);
/* Drops the clients with what they wait for: who holds calls has ended, or ends without touching
 * them. Removes the socket unless another agent's has taken its place. Not from within a verb. */
void control_free(struct control **control);

/* fn answers at once or later; verb is borrowed. */
int control_on(struct control *control, const char *verb,
               void (*fn)(void *arg, struct control_call *call), void *arg, struct err *err);

const json_t *control_args(const struct control_call *call);       /* borrowed; an object */
const struct ucred *control_peer(const struct control_call *call); /* borrowed */
/* The i-th descriptor that came with it, now the caller's; -1: there is none, or it was taken. */
int control_take_fd(struct control_call *call, size_t i);

/* Each ends the call. Takes object (NULL: an empty one), to which "ok":true is added. */
void control_answer(struct control_call *call, json_t *object);
/* As control_answer, then a line for each row. Say in object how many there are, or end them by a
 * row that shows it: how else could the client know? */
void control_answer_rows(struct control_call *call, json_t *object,
                         const struct control_rows *rows);
/* The same of an array's items. Takes both; where one is NULL it is refused for want of memory. */
void control_answer_list(struct control_call *call, json_t *object, json_t *rows);
void control_refuse(struct control_call *call, const struct err *err);
/* The connection itself (non-blocking), the caller's from now on; nothing was sent on it yet. */
int control_take_stream(struct control_call *call);
