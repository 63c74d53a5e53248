/* ring_own: what ring.c and the files beside it share; nobody else's. */
#pragma once

#include <event2/event.h>

#include "proxy/doors/origin.h"
#include "proxy/kernel/lane.h"
#include "proxy/kernel/ring.h"
#include "proxy/limits.h"
#include "proxy/ringbuf.h"

/* A connection, by its socket's cookie, and when it began: a socket may connect again. */
struct entry {
    struct entry *next;      /* in its row */
    struct entry *next_over; /* in ring->over, or in ring->handed */
    struct origin origin;    /* its process may be known since only */
    uint64_t began_ns;       /* boot clock; 0: before anybody listened */
    bool accepted;
    struct lane *lane;
    struct seat *seat;
    bool known; /* its process is */
    bool over;
    uint64_t over_ns;
    enum stream_ended ended;
    uint64_t lost[ABI_DIRECTIONS];         /* bytes that its worker has not been told of */
    uint64_t untold;                       /* denials that it has not */
    struct abi_ktls *ktls[ABI_DIRECTIONS]; /* that what was said before is to come before */
    struct stream_state *state;            /* as its worker wrote it down, of ring->handed */
};

struct ring {
    struct ring_parts parts;
    struct ringbuf *buffer;
    struct event *on_said, *pause_over;
    struct entry **rows;
    size_t rows_len, len;
    struct entry *over;
    struct entry *handed; /* by next_over: what workers may have in hand until they end */
    bool settled;         /* they have not any more */
    struct lane **lanes;  /* one a worker */
    unsigned pieces;      /* of this turn */
    bool held, stopped, draining;
    uint64_t caught_ns; /* boot clock: up to when connections are known */
    uint64_t read_ns;   /* ... when the latest piece was said */
    uint64_t marked_ns; /* ... before when all was said that is before the marks in the lanes */
    struct ring_stats stats;
};

/* ---- ring_rows.c: connections by cookie ---- */

int ring_rows_init(struct ring *ring);
void ring_rows_fini(struct ring *ring);
/* The socket's connection at that time (boot clock); NULL: none is known. */
struct entry *ring_find(const struct ring *ring, uint64_t cookie, uint64_t time_ns);
/* Takes entry; never fails. */
void ring_insert(struct ring *ring, struct entry *entry);
void ring_forget(struct ring *ring, struct entry *entry);
/* The first of a row that has any, which is the caller's. */
struct entry *ring_take(struct ring *ring, struct entry **row);

/* ---- ring.c ---- */

/* The connection goes by unread; its close says why. */
void ring_refuse(const struct ring *ring, const struct origin *origin, enum limit why);
/* A connection that limits_admit_stream() let in. before: the socket's connection before, or NULL.
 * Takes what of opening lane_open() takes. NULL: no memory, and what there was of it has ended. */
struct entry *ring_open(struct ring *ring, const struct lane_opening *opening, uint64_t began_ns,
                        const struct entry *before);
/* Its program has closed it: it ends when all that it said before was read. */
void ring_note_over(struct ring *ring, struct entry *entry, uint64_t time_ns);
