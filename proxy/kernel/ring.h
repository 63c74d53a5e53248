/* ring: the kernel's ring buffer `said` -> the streams that it is about.
 *
 * Control thread. Connections of the kernel route come as records of sockets, in a ring buffer of
 * their own (../identity/); what they say is copied here, once, into batches for the worker that
 * has the stream. What a worker cannot take in time is lost, and counted for its stream. Called by:
 * agent.c, identity.c (records), its own loop (bytes). Leads to:   lane.h; ring_handover.c. The
 * kernel's side: bpf/say.h. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "bpf/abi.h"

struct identity;
struct limits;
struct pods;
struct ring;
struct sockets;
struct worker;

struct ring_parts { /* all borrowed, all outlive it but the workers, which end before it is freed */
    struct event_base *base;
    int said_fd; /* the map */
    bool held;   /* from the start: ring_release() */
    struct identity *identity;
    struct pods *pods;
    struct sockets *sockets;
    struct limits *limits;
    struct worker *const *workers;
    unsigned workers_len;
};

int ring_new(struct ring **out, const struct ring_parts *parts, struct err *err);
/* Reads what there is, then nothing any more, and ends all streams. Before the workers end. */
void ring_stop(struct ring *ring);
/* Of one that was stopped, or was never used. */
void ring_free(struct ring **ring);

/* Records of connections of the kernel route, after sockets_on_record(); others are left alone. */
void ring_on_socket(struct ring *ring, const struct abi_socket *record);
/* One that was there before anybody listened, as if it connected now. */
void ring_adopt(struct ring *ring, const struct abi_socket *record);
void ring_on_ktls(struct ring *ring, const struct abi_ktls *record);

/* All is known that an agent before us had: until then what was said waits, for nobody could tell
 * whose it is. */
void ring_release(struct ring *ring);
/* Takes in what was said so far, then nothing any more, for it is another's to read; but
 * connections are followed until ring_hand_over() (ring_handover.h). */
void ring_pause(struct ring *ring);
/* Takes in what was said so far: then what was closed before is over, too. */
void ring_drain(struct ring *ring);

/* So far, but for streams: those that are open. */
struct ring_stats {
    uint64_t streams, opened, pieces, bytes, denied;
    uint64_t lost;   /* bytes that did not come, for which there was no room, or of connections that
                        nobody knows, for that they began was lost, or an agent's before us */
    uint64_t untold; /* of denied, those that for these reasons nobody is told of */
};
void ring_stats(const struct ring *ring, struct ring_stats *out);
