/* call: one client of the control socket: its request comes in, a verb has it, the answer goes out,
 * and again. Private to this folder.
 *
 * Called by:  control.c, which accepts.
 * Leads to:   request.c, then the verb's function. */
#pragma once

#include <sys/queue.h>
#include <sys/stat.h>

#include "proxy/control/control.h"
#include "proxy/control/request.h"

enum client_state {
    CLIENT_ASKING,    /* its request comes in */
    CLIENT_WAITING,   /* the verb has it */
    CLIENT_ANSWERING, /* the answer goes out */
};

struct control_call {
    LIST_ENTRY(control_call) all;
    struct control *control;
    int fd;
    struct ucred peer;
    enum client_state state;
    uint64_t since; /* it is in this state */
    char *in;
    size_t in_len, in_size;
    int fds[CONTROL_FDS_MAX];
    size_t fds_len;
    struct request request;
    struct buffer out;
    size_t out_at;
    struct control_rows rows;
    bool last; /* close when this is answered */
    struct event *readable, *writable, *late;
};

struct control {
    struct event_base *base;
    int fd;
    char *path;
    struct stat bound;
    struct event *on_client, *resume;
    LIST_HEAD(, control_call) clients;
    unsigned clients_len;
    struct {
        const char *name;
        void (*fn)(void *arg, struct control_call *call);
        void *arg;
    } verbs[CONTROL_VERBS_MAX];
    size_t verbs_len;
};

/* Takes fd; closes it where there is no memory. */
void call_begin(struct control *control, int fd, const struct ucred *peer);
/* Closes the connection and frees all that is of it. */
void call_drop(struct control_call *call);
