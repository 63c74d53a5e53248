/* lane: the way from ring.c to one worker, in order: streams that begin, what they say, their end.
 * Filled by the control thread, batch by batch, emptied by the worker between its flows' turns;
 * bounded.
 *
 * Called by:  ring.c. Leads to:  stream.c. */
#pragma once

#include "bpf/abi.h"
#include "proxy/doors/origin.h"
#include "proxy/kernel/stream.h"

struct lane;
struct pod;
struct process;
struct worker;

/* Where a stream's flow is found, shared by both threads: the worker's but for `waiting`. */
struct seat;

struct lane_opening {
    struct origin origin;
    struct process *process; /* taken; NULL: not known (yet) */
    struct pod *pod;         /* borrowed */
    bool accepted, midway;
    uint64_t tx, rx, since_ns;  /* midway: what had been said then; boot clock */
    struct stream_state *state; /* taken; midway: where another agent stopped; NULL: unknown */
};

struct lane *lane_new(struct worker *worker); /* NULL: no memory */
/* After the worker's end. */
void lane_free(struct lane **lane);

/* A stream that limits_admit_stream() let in. NULL: no memory, and its end was seen to. */
struct seat *lane_open(struct lane *lane, const struct lane_opening *opening);
/* As if there had been no memory. */
void lane_refuse(struct lane *lane, const struct lane_opening *opening);
/* A piece; lost: bytes before it that the agent lost. False: there is no room for it now. */
bool lane_said(struct lane *lane, struct seat *seat, const struct abi_said *said, uint64_t lost);
void lane_ktls(struct lane *lane, struct seat *seat, const struct abi_ktls *record);
/* Whose it is; takes process. */
void lane_process(struct lane *lane, struct seat *seat, struct process *process);
/* Its end, after which the seat is no more. Never fails for want of memory. */
void lane_close(struct lane *lane, struct seat *seat, const struct stream_closing *closing);
/* What was put in since goes on its way. */
void lane_send(struct lane *lane);
/* Of what was sent: the worker is past the mark when it has handled what was sent before that was
 * set, and said what became of it. Before any was set it is. */
void lane_mark(struct lane *lane);
bool lane_is_past_mark(const struct lane *lane);
/* The same as lane_send(), and waits until the worker has handled it; false: it has not by then
 * (clock_ns()), or there is no memory. Once. */
bool lane_settle(struct lane *lane, uint64_t until_ns);
