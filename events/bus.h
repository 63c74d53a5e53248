/* bus: events from the threads that see them to the sinks, in order, without slowing anybody.
 *
 * Each producing thread owns a single-producer ring of pointers (bus_producer). The event
 * thread wakes on a 20 ms timer or a half-full ring, merges the rings by ticket and writes
 * batches. Tickets are taken from one counter only after room in the ring is sure, so what was
 * delivered has no gaps and the merge is exact: if A happened before B, A is told before B. A
 * full ring drops the event, counts it, and the count is told as a LOST event with its reason. */
#pragma once

#include "base/err.h"
#include "events/sink.h"

struct bus;
struct bus_producer;

/* Who is told of events otherwise than by lines in a sink. The functions run on the event thread
 * and must not wait. */
struct bus_tap {
    void *arg;
    void (*on_event)(void *arg,
                     struct flow_event *event); /* may hold it, but LOST: flow_event_hold() */
    /* After each turn, every 20 ms at least; last: nothing comes after it. May be NULL. */
    void (*on_turn)(void *arg, bool last);
    int fd; /* readable: there should be a turn at once; -1: none */
};
enum { BUS_TAPS_MAX = 4 };

/* Borrows the sinks, which must outlive the bus; starts the event thread. */
int bus_new(struct bus **out, struct sink *sinks, size_t sinks_len, struct err *err);
/* Ends the event thread after everything emitted so far was written and flushed; a slow
 * reader gets all of it, one that takes nothing for 30 s is given up: what is left is lost, and
 * counted in the sink. No producer may emit any more. */
void bus_free(struct bus **bus);

/* What is emitted before this call is written to the sinks there were, and flushed; what is emitted
 * after it returned, to these: borrowed as those of bus_new(). A reader who takes nothing for a
 * second is given up, as in bus_free(). Any thread but the event thread. */
void bus_redirect(struct bus *bus, struct sink *sinks, size_t sinks_len);
/* From now on the tap is told of what is emitted; copies it, and borrows what it points to until
 * the bus is freed. Any thread. */
int bus_add_tap(struct bus *bus, const struct bus_tap *tap, struct err *err);

/* A ring of its own for one thread; capacity is rounded up to a power of two. The bus owns it
 * and frees it. Call before or after the event thread began, from any thread. */
int bus_producer_new(struct bus_producer **out, struct bus *bus, const char *name, size_t capacity,
                     struct err *err);
/* Takes the event (also when it is lost, also NULL; that and an incomplete one are counted as lost:
 * out of memory).
 * One thread at a time per producer; never blocks. */
void bus_emit(struct bus_producer *producer, struct flow_event **event);
/* Waits until all that was emitted before this call is written and flushed. Any thread but the
 * event thread. */
void bus_flush(struct bus *bus);
/* The same, at most ms milliseconds: for who must not hang with a reader. */
void bus_flush_within(struct bus *bus, unsigned ms);
