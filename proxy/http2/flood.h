/* flood: what one side of an HTTP/2 connection may ask for that costs it nothing (CVE-2019-9512 and
 * its kin, CVE-2023-44487): a bucket of tokens for each kind of frame that others drown in.
 *
 * Pure: the clock is an argument. Called by:  the relay, for every frame of such a kind that a side
 * sent; who has spent all is told ENHANCE_YOUR_CALM. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum flood_kind {
    FLOOD_RESET, /* RST_STREAM, and streams that its faults made us reset: 1000, 500 a second, since
                  * deadlines that are over are many; FLOOD_EARN_STREAM for each stream that was
                  * opened to it: a server that answers before it has all of a request may end each
                  * of them so */
    FLOOD_SETTINGS, /* 100, 10 a second */
    FLOOD_PING,     /* 1000, 100 a second, FLOOD_EARN_PING for each DATA frame that it was sent:
                     * gRPC measures the way of what comes by a PING to each */
    FLOOD_EMPTY, /* DATA without payload or end, and RST_STREAM of what is over: 1000, 100 a second,
                  * FLOOD_EARN_ANSWER for each DATA frame that it was sent: a server may reset
                  * what it wants no more of at each that was on its way */
    FLOOD_PRIORITY, /* 1000, 100 a second, FLOOD_EARN_STREAM for each stream that it opens */
    FLOOD_WINDOW,   /* 1000, 100 a second, FLOOD_EARN_STREAM for each stream that it opens,
                     * FLOOD_EARN_DATA for each DATA frame that it was sent */
    _FLOOD_KIND_MAX,
};

enum {
    FLOOD_EARN_STREAM = 1,
    FLOOD_EARN_DATA = 10,
    FLOOD_EARN_PING = 1,
    FLOOD_EARN_ANSWER = 1,
    FLOOD_EARNED_MAX = 1 << 17, /* two for each of the frames that fit into a window of 64 kB */
};

/* All zero: nothing was spent yet. */
struct flood {
    uint64_t full_ns[_FLOOD_KIND_MAX]; /* when each bucket will be full again */
    uint32_t earned[_FLOOD_KIND_MAX];
};

/* Takes one token. False: there is none, too many were asked for; none is taken. */
bool flood_spend(struct flood *flood, enum flood_kind kind, uint64_t now_ns);

/* n tokens beside the bucket's, to be spent whenever: what they are earned by is in flight before
 * it is answered. */
void flood_earn(struct flood *flood, enum flood_kind kind, uint32_t n);

/* "too many resets" and the like. */
const char *flood_reason(enum flood_kind kind);
