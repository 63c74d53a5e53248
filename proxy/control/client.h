/* client: the other end of the control socket, as the commands use it. Blocks.
 *
 * Called by:  the commands that ask a running agent.
 * Leads to:   control.h, in the agent. */
#pragma once

#include <jansson.h>

#include "base/err.h"

enum { CLIENT_PATIENCE_MS = 30000 }; /* for an answer to begin */

/* A connection, and what was read beyond the last line. */
struct client {
    int fd;
    char *data;
    size_t at, len, size;
};

/* runtime_dir: what --runtime-dir said, NULL: nothing. -ENOENT, with a sentence that says so: no
 * agent runs there. *client is filled on success. */
int client_connect(struct client *client, const char *runtime_dir, struct err *err);
void client_fini(struct client *client);

/* Sends request (taken) and len descriptors (borrowed), and reads the first line of the answer.
 * A refusal is -EREMOTEIO with the agent's sentence. */
int client_call(struct client *client, json_t *request, const int *fds, size_t len, json_t **answer,
                struct err *err);

/* One further line; ms < 0 waits for ever. 1: *line is the caller's; 0: the agent has ended the
 * connection. */
int client_read_line(struct client *client, int ms, json_t **line, struct err *err);
