/* feed: the latest events, kept, and who follows them: each subscriber reads at its own pace.
 *
 * One history for all, bounded; a subscriber is a place in it, a filter and a few rendered bytes,
 * so nobody waits for a slow one. What it has not read when the history moves on is lost for it,
 * counted by its filter, and told in its place; its seq has no gap. Who shuts its end for writing
 * gets what was emitted before, and then the end.
 * Called by:  proxy/telemetry/followers.c. It is a tap of the bus, and works on the event thread.
 */
#pragma once

#include "events/bus.h"
#include "events/filter.h"

enum {
    FEED_EVENTS = 16384,   /* kept at most ... */
    FEED_BYTES = 8 << 20,  /* ... and as many bytes, by flow_event_size() */
    FEED_SUBSCRIBERS = 16, /* at a time */
};

struct feed;

int feed_new(struct feed **out, const char *node_name, struct err *err);
/* After the bus that has its tap. */
void feed_free(struct feed **feed);

struct bus_tap feed_tap(struct feed *feed);

struct feed_order {
    int fd;                /* a connected stream socket; taken, when feed_add() returns 0 */
    struct filter *filter; /* the same */
    const char *greeting;  /* the first line, without newline: sent once events follow for sure */
    bool json, color;
    uint64_t
        since_ns; /* wall clock: begin with the first kept event from then on; 0: with the next */
};

/* Who follows gets what was told until now and then the end of its stream, as soon as it has read
 * that; nobody else is let in. For an agent that is replaced: what happens from here on is the next
 * one's to tell. Any thread. */
void feed_dismiss(struct feed *feed);

/* Any thread. What is emitted after the greeting went out is told, or counted as lost. */
int feed_add(struct feed *feed, struct feed_order *order, struct err *err);

/* The moment before which events are not kept any more; 0: all are. Any thread. */
uint64_t feed_begins_ns(const struct feed *feed);
/* How many follow, and how many events went by those who were too slow. Any thread. */
unsigned feed_subscribers(const struct feed *feed);
uint64_t feed_missed(const struct feed *feed);
