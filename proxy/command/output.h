/* output: where a command writes events by itself: a file, or a standard stream. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "events/sink.h"

struct output {
    struct sink sink;
    char *file;     /* NULL: the stream */
    int fd, stream; /* fd -1: the stream's */
};

/* mode: what open(2) wants besides, O_TRUNC or nothing. */
int output_init(struct output *output, const char *file, int mode, int stream, bool json,
                const char *node_name, struct err *err);
void output_fini(struct output *output);

/* From now on signals that would end us make the sink wait for no reader. For the main thread, once
 * nobody else waits for them. */
void output_hurry_by_signals(struct output *output);
/* For status_on(): where events go. */
void output_tell(void *output, json_t *answer);
/* Behind the events, if they went to stderr. */
void output_tell_lost(const struct output *output);
