/* An answer with a line for each item of an array: a client that reads slowly sees the array as it
 * was. */
#include <errno.h>

#include "proxy/control/control.h"

struct listing {
    json_t *rows;
    size_t at;
};

static int append_dumped(const char *bytes, size_t len, void *arg)
{
    buffer_append(arg, bytes, len);
    return 0;
}

static bool next_row(void *arg, struct buffer *line)
{
    struct listing *listing = arg;
    const json_t *row = json_array_get(listing->rows, listing->at++);

    if (row && json_dump_callback(row, append_dumped, line, JSON_COMPACT) < 0)
        line->failed = true;
    return row;
}

static void listing_done(void *arg)
{
    struct listing *listing = arg;

    json_decref(listing->rows);
    free(listing);
}

void control_answer_list(struct control_call *call, json_t *object, json_t *rows)
{
    static const struct err no_memory = {-ENOMEM, "the answer: out of memory"};
    struct listing *listing = rows ? calloc(1, sizeof(*listing)) : NULL;
    const struct control_rows how = {next_row, listing_done, listing};

    if (listing && object) {
        listing->rows = rows;
        control_answer_rows(call, object, &how);
        return;
    }
    json_decref(object);
    json_decref(rows);
    free(listing);
    control_refuse(call, &no_memory);
}
