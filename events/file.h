/* file: a sink's file that begins anew when it is full, keeping the last ones: F, F.1, F.2, ...
 *
 * A file ends where a line ends, and is moved by rename: whoever reads F finds one at any time.
 * What cannot be written is the sink's to count; what cannot be moved goes on in the same file.
 * Called by:  command/run.c. Works on the event thread, as the sink it is made for. */
#pragma once

#include "events/sink.h"

struct events_file;

struct events_file_settings {
    const char *path;
    uint64_t max_bytes; /* of one file, as long as one batch of lines fits; 0: never begins anew */
    unsigned backups;   /* how many full ones are kept */
};

/* Opens the file, to write behind what is in it (if that ends inside a line when there is one to
 * write: in a new one), and initialises the sink with it. Until then another agent may write it. */
int events_file_open(struct events_file **out, const struct events_file_settings *settings,
                     struct sink *sink,
                     void (*render)(struct sink *, const struct flow_event *, struct buffer *),
                     const char *node_name, struct err *err);
/* After the bus that has the sink. */
void events_file_free(struct events_file **file);

/* Somebody else has moved the file away (logrotate): the next line goes to a new one of that name.
 * Any thread, a signal's handler too. */
void events_file_reopen(struct events_file *file);
