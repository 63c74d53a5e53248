/* sink: the interface of a way out, and one event to every sink.
 *
 * Only the event thread calls sinks, so they need no locks. A sink renders events into a
 * buffer of its own and writes the buffer at the end of a batch (sink_flush). */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "events/buffer.h"
#include "events/flow_event.h"

struct sink {
    /* Appends one event's line, with its newline, to out. The line's number is seq + 1. */
    void (*render)(struct sink *sink, const struct flow_event *event, struct buffer *out);
    int fd; /* borrowed: whoever made the sink closes it */
    /* Before lines are written to fd, when none is begun there: may change fd. May be NULL. */
    void (*before_write)(struct sink *sink);
    void *owner;                  /* before_write's */
    uint64_t seq;                 /* lines written so far: the next line's number less one */
    uint64_t lost;                /* events this sink could not write and has not told of yet */
    int lost_code;                /* why: an errno */
    bool color;                   /* text: colours (a terminal, and no NO_COLOR) */
    const char *node_name;        /* borrowed */
    bool is_file;                 /* a write to it never waits for a reader */
    _Atomic uint64_t hurried_ns;  /* monotonic; 0: any reader is waited for, however slow */
    _Atomic uint64_t patience_ns; /* ... from then on */
    uint64_t moved_ns;            /* when a byte last got out */
    bool stuck;                   /* patience is over, and none got out since */
    bool torn;                    /* given up inside a line: what follows there needs a new one */
    struct buffer pending;        /* rendered, not yet written; may begin inside a line */
    uint64_t begun;               /* events of that line; 0: it does not */
    struct buffer lines;          /* a struct of sink.c for each whole line in pending */
};

/* The two renderers. */
void text_render(struct sink *sink, const struct flow_event *event, struct buffer *out);
void json_render(struct sink *sink, const struct flow_event *event, struct buffer *out);
/* What is before `node_name` in it: the one member that says what happened, with its comma. */
void json_render_member(const struct flow_event *event, struct buffer *out);

void sink_init(struct sink *sink,
               void (*render)(struct sink *, const struct flow_event *, struct buffer *), int fd,
               const char *node_name, bool color);
void sink_fini(struct sink *sink);
/* Any thread, a signal's handler too: from now on a reader who takes nothing for ms milliseconds is
 * not waited for any longer; one who reads now and then is. The least ms counts. */
void sink_hurry(struct sink *sink, unsigned ms);
/* Renders one event into the sink's pending bytes and counts it in seq; flushes when there is
 * much. */
void sink_write(struct sink *sink, const struct flow_event *event);
/* Writes what is pending: whole lines, waiting (poll) while the reader is slow, on the event
 * thread only. What cannot be written (EPIPE, ENOSPC) is dropped, counted in lost and given its
 * seq back; the next line that gets out is a LOST event that tells how many and why. A line cut
 * in two by the failure is kept, so that its rest comes first. SIGPIPE must be blocked. */
void sink_flush(struct sink *sink);
/* After the last flush: counts a line that was cut in two and never got its rest as lost. */
void sink_give_up(struct sink *sink);
/* Why what is lost is lost, in words. */
const char *sink_why(const struct sink *sink);
