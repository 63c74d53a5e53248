/* stream: one connection of the kernel route: what the kernel hands up of it, as requests and
 * answers, judged and told like those of the proxy route (../flow/). Nothing of it can be held
 * back here: what is read has gone, or the kernel has refused it.
 *
 * A stream is a flow without legs (FLOW_WATCHING), on its worker's thread.
 * Called by:  lane.c, piece by piece; flow.c at the end; flow/report.c and row.c, for what it is.
 * Leads to:   stream_tls.c, stream_http1.c, stream_http2.c, by what is spoken; ../flow/exchange.c.
 */
#pragma once

#include "base/span.h"
#include "bpf/abi.h"
#include "policy/facts.h"

struct flow;
struct flow_event;
struct flow_row;
struct stream;

struct stream_opening {
    bool accepted;      /* its program is the server */
    struct flow **seat; /* where its flow is kept, until it ends */
    bool midway;        /* it had begun before anybody listened */
    uint64_t since_ns;  /* ... what was said before, boot clock, is counted already */
};

/* What the next agent must know of it to read on where this one stopped. */
struct stream_state {
    bool known;    /* else nothing is: it is read from the next head on */
    unsigned kind; /* of stream_own.h */
    enum visibility visibility;
    enum opaque opaque;
    uint64_t tx, rx;   /* so far */
    uint32_t requests; /* likewise */
    unsigned unowed;   /* as struct stream has it */
    bool unread;       /* likewise */
    unsigned awaited;  /* answers to requests that were told */
    uint64_t heads;    /* ... of these, to a HEAD: bits, from the oldest on */
    struct stream_state_side {
        bool ktls, heard, waits;
        uint64_t at;
        uint8_t *kept; /* what was read of a head that is not whole */
        size_t kept_len;
    } up, down;
};
void stream_state_free(struct stream_state **state);

/* Which end was the first to end it, as far as its program's kernel knew when that closed it. */
enum stream_ended {
    STREAM_ENDED_UNKNOWN,
    STREAM_ENDED_HERE,  /* the pod's side */
    STREAM_ENDED_THERE, /* by FIN */
    STREAM_ENDED_RESET, /* there, too */
    STREAM_ENDED_MAX,
};

struct stream_closing {
    uint64_t time_ns;              /* boot clock */
    uint64_t lost[ABI_DIRECTIONS]; /* bytes at its end */
    uint64_t untold;               /* denials that were lost, too */
    enum stream_ended ended;
    bool goes_on;               /* its program has not closed it: nobody listens any more */
    struct stream_state *state; /* ... to be written down, borrowed; NULL: for nobody */
};

/* NULL: no memory. */
struct stream *kernel_stream_new(const struct stream_opening *opening);
void kernel_stream_free(struct stream **stream);

/* A piece: said's head; bytes are behind it, or anywhere. lost: bytes before these that the agent
 * lost, beyond those that the kernel did. */
void kernel_stream_said(struct flow *flow, const struct abi_said *said, struct span bytes,
                        uint64_t lost);
/* Its program hands a direction's keys to the kernel. */
void kernel_stream_ktls(struct flow *flow, const struct abi_ktls *record);
void kernel_stream_closed(struct flow *flow, const struct stream_closing *closing);
/* Writes down what there is for whom it goes on with; and goes on with what another one did. */
void kernel_stream_leave(const struct flow *flow, struct stream_state *out);
void kernel_stream_resume(struct flow *flow, const struct stream_state *from);
/* What was seen of its handshake, into a process_tls. */
void kernel_stream_describe_tls(const struct stream *stream, struct flow_event *event);
/* Whether TLS is spoken, and what was seen to be agreed on: 0 and NULL where that was not. */
bool kernel_stream_agreed(const struct stream *stream, uint16_t *version, const char **cipher);
/* What is spoken, for `sessions`. */
void kernel_stream_describe_row(const struct stream *stream, struct flow_row *row);
/* What is left is told; of a flow of another route: nothing. */
void kernel_stream_end(struct flow *flow);
