/* ask: what the commands that ask a running agent share: options, and writing what it says. */
#pragma once

#include <stdbool.h>

#include "events/buffer.h"
#include "proxy/control/client.h"

struct ask { /* texts borrow from argv; NULL: not said */
    const char *runtime_dir, *space, *pod;
    bool json;
};

struct ask_command {
    const char *name; /* "sallyport status" */
    const char *usage;
    bool chooses_pods; /* -n and --pod */
    bool takes_words;  /* what follows the options is the command's: argv from optind on */
};

/* 0: go on; else the exit status plus one, and what is wrong, or the help, was said. */
int ask_parse(struct ask *ask, const struct ask_command *command, int argc, char **argv);
/* What -o said: -EINVAL if it is neither compact nor json, which is said. */
int ask_take_form(struct ask *ask, const char *command, const char *form);
/* Connects, calls, and says what went wrong: 0, or a negative errno. Takes request. */
int ask_call(struct client *client, const struct ask *ask, json_t *request, json_t **answer);
/* The next line of an answer of several; says what went wrong. *row is the caller's. */
int ask_read_row(struct client *client, json_t **row);
/* A text in it, "" where there is none; borrowed. */
const char *ask_text(const json_t *row, const char *key);
/* Appends a line of JSON. */
void ask_append_json(struct buffer *out, const json_t *line);
/* Writes out to stdout and empties it; says what went wrong. */
int ask_write(struct buffer *out);
