/* own: what the files of http2/ share; private to this folder.
 *
 *   http2.c    the connection: its two sessions made, fed, pulled from, ended
 *   session.c  one leg: nghttp2's callbacks, which note and hand on
 *   stream.c   one request and its answer, from one leg to the other
 *   body.c     their bytes and trailers
 *   credit.c   windows: what each side may send
 *   frames.c   what concerns a connection: SETTINGS, PING, GOAWAY, priorities
 *   fields.c   a header block */
#pragma once

#include <nghttp2/nghttp2.h>

#include "proxy/http2/fields.h"
#include "proxy/http2/flood.h"
#include "proxy/http2/http2.h"

enum {
    PINGS_MAX = 64,      /* passed on and not answered yet */
    GREETING_ACKS = 100, /* SETTINGS that came before our own went out */
    ROOM_MIN = 1024,     /* a DATA frame that is cut shorter than that costs more than it brings */
    FAULT_MAX = 160,
};

struct chunk {
    struct chunk *next;
    size_t at, len, size; /* [at, len) waits; up to size there is room */
    uint8_t data[];
};

/* What goes from one side of a stream to the other. */
struct half {
    struct chunk *first, *last;
    size_t queued;          /* bytes that wait */
    size_t owed;            /* bytes pulled, not written: their sender is owed credit for them */
    size_t taken;           /* bytes written since the window was looked at */
    int32_t window, theirs; /* ours to who sends; theirs, of who takes, at its widest */
    uint64_t credited_ns;   /* when its sender last got credit; 0: it has sent since */
    size_t burst;           /* what came between such silences */
    bool far;               /* it is the window that keeps the sender waiting */
    bool begun;             /* the head went on */
    bool ended;             /* the end came, */
    bool sent;              /* and went on */
    bool waiting;           /* nghttp2 asked for bytes when there were none */
    bool dropping;          /* nobody is there to take them */
    bool ours;              /* the bytes are our own: nobody is owed credit for them */
    struct fields_copy *trailers;
};

struct http2_stream {
    struct http2 *http2;
    void *user;
    int32_t id[HTTP2_SIDES];       /* its numbers */
    bool open[HTTP2_SIDES];        /* nghttp2 knows it there */
    struct half half[HTTP2_SIDES]; /* by the side that sends */
    bool grpc, is_head;            /* its request */
    bool was_reset;                /* by a side: else it was nghttp2 that found a fault */
    bool reset_due;                /* when what came before has gone on, reset_to gets reset_code */
    enum http2_side reset_to;
    uint32_t reset_code;
    const char *fault; /* what was wrong with what a side sent, */
    enum http2_side fault_by;
    int64_t heads; /* bytes of all that it had */
    int64_t room;  /* what hooks->room() gave for it and them */
    struct http2_end end;
    struct http2_stream *next, **link; /* http2->streams */
    /* session->owed of the side that bytes were pulled for */
    struct http2_stream *owed_next[HTTP2_SIDES], **owed_link[HTTP2_SIDES];
    bool over; /* the first of what ended it is in `end` */
};

/* One leg. */
struct session {
    struct http2 *http2;
    enum http2_side side;
    nghttp2_session *ng;
    struct fields fields; /* the block under way */
    struct flood flood;
    struct span rest; /* of nghttp2's bytes, what did not fit the last time */
    uint8_t *out;     /* in http2_pull() */
    size_t room;
    struct http2_stream *owed; /* with bytes pulled for this side, not written */
    size_t owed_bytes;         /* of this side's, pulled for the other, not written */
    size_t taken;              /* of this side's, written since taken_ns */
    uint64_t taken_ns;
    bool widen_due;         /* streams of this side's may be stalled */
    int32_t window, theirs; /* as in struct half */
    unsigned resets;        /* streams whose reset is due to this side */
    unsigned pings;         /* of this side's, not answered */
    bool goaway_due;        /* the pod's, to go on behind its requests */
    uint32_t goaway_code;
    unsigned goaways;       /* ours to submit, not sent yet */
    bool met;               /* its first SETTINGS came */
    const char *fault;      /* the latest that nghttp2 found */
    bool ended;             /* its bytes are at their end */
    bool deaf;              /* behind a GOAWAY: no stream may begin here any more */
    bool broken;            /* nghttp2 has given up: it may not be called */
    uint8_t last_words[26]; /* then: a GOAWAY frame, behind SETTINGS if need be, */
    size_t last_words_len;  /* until it was pulled */
};

struct http2 {
    const struct http2_hooks *hooks;
    void *arg;
    struct session sessions[HTTP2_SIDES];
    struct http2_stream *streams; /* the latest first */
    unsigned open;
    int32_t pod_last; /* the number of the latest request that went on */
    int32_t pod_left; /* the pod was told that none but those below it are looked at */
    bool retiring;    /* the pod was told that this will come */
    int64_t room;     /* what hooks->room() gave, but for streams */
    uint64_t now_ns;
    nghttp2_settings_entry told[3]; /* what of upstream's SETTINGS the pod was told */
    bool greeting;                  /* the pod's first frame, our SETTINGS, may go out */
    bool greeted;                   /* ... and has */
    char fault[FAULT_MAX];
};

static inline enum http2_side opposite(enum http2_side side)
{
    return side == HTTP2_POD ? HTTP2_UPSTREAM : HTTP2_POD;
}

static inline struct session *session_of(struct http2 *http2, enum http2_side side)
{
    return &http2->sessions[side];
}

static inline struct session *stream_leg(const struct http2_stream *stream, enum http2_side side)
{
    return session_of(stream->http2, side);
}

/* ---- session.c ---- */

/* With its SETTINGS submitted (of the pod's: not yet). 0, or -ENOMEM. */
int session_init(struct session *session, struct http2 *http2, enum http2_side side);
void session_fini(struct session *session);
/* It sent what ends the connection: both sides get their GOAWAY. reason: a phrase. */
void session_fail(struct session *session, uint32_t code, const char *reason);
/* Spends of its budget for frames that carry nothing. False: it was too much, the connection is at
 * its end. */
bool session_spend(struct session *session, enum flood_kind kind);
/* What nghttp2 means by a code with which it ends a stream or a connection; NULL: that is not said
 * by the code. */
const char *session_reason(uint32_t code);

/* ---- stream.c ---- */

/* A request's, or an answer's, header block is whole. */
void stream_request(struct session *pod, const nghttp2_frame *frame);
void stream_answer(struct session *upstream, const nghttp2_frame *frame);
/* Room for a head, kept until the stream is over. False: there is none, or it had too many. */
bool stream_take_room(struct http2_stream *stream, const struct fields *fields);
/* A side sent what makes no sense. The first fault is the one that counts. */
void stream_blame(struct http2_stream *stream, enum http2_side by, const char *reason);
/* What `from` sends goes on no further: upstream's part of it is reset, the pod is answered where
 * it can be. Frees it, or leaves it to the pod's side. */
void stream_stop(struct http2_stream *stream, enum http2_side from,
                 const struct http2_refusal *refusal);
/* nghttp2 has closed it on that side. */
void stream_closed(struct http2_stream *stream, enum http2_side side, uint32_t code);
/* An answer of our own that ends the pod's stream: HEADERS with END_STREAM, for gRPC a status. */
void stream_refuse(struct session *pod, int32_t id, bool grpc, uint16_t code, const char *reason);
/* Resets that are due to that side and have nothing before them any more: submits as many as there
 * is room for, when nghttp2 sends nothing else. False: none. */
bool stream_resets(struct session *to);
/* Frees it, in whatever state. Tells its end. */
void stream_free(struct http2_stream *stream);

/* ---- body.c ---- */

void body_bytes(struct http2_stream *stream, struct session *from, struct span bytes);
void body_trailers(struct http2_stream *stream, struct session *from);
void body_ended(struct http2_stream *stream, enum http2_side from);
/* All that the pod shall have for an answer, in upstream's place. False: no memory. */
bool body_own(struct http2_stream *stream, struct span text);
/* Nobody takes what that side sends. */
void body_drop(struct http2_stream *stream, enum http2_side from);
/* Something that came from `from` waits for the other side, or will. */
bool body_pends(const struct http2_stream *stream, enum http2_side from);
/* nghttp2 wants bytes, and has them written into session->out. */
ssize_t body_read(nghttp2_session *ng, int32_t id, uint8_t *out, size_t len, uint32_t *flags,
                  nghttp2_data_source *source, void *arg);
int body_send(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t len,
              nghttp2_data_source *source, void *arg);

/* ---- credit.c ---- */

/* Bytes were pulled for that side: when they are written, who sent them is owed credit. */
void credit_owe(struct http2_stream *stream, struct session *to, size_t len);
/* No more for this stream. */
void credit_forget(struct http2_stream *stream, enum http2_side to);
/* Bytes that were pulled for this side are written: who sent them may send more. */
void credit_written(struct session *to);
/* Streams that the other side does not take are not to use up what its others need: the
 * connection's window grows with what waits for them. */
void credit_widen(struct session *from);
/* Bytes came: how long did their sender keep silent when he had credit? */
void credit_received(struct half *half, size_t len, uint64_t now_ns);

/* ---- frames.c ---- */

void frames_settings(struct session *from, const nghttp2_frame *frame);
void frames_ping(struct session *from, const nghttp2_frame *frame);
void frames_goaway(struct session *from, const nghttp2_frame *frame);
void frames_priority(struct session *from, const nghttp2_frame *frame);
/* Priorities of the pod's, with the upstream's numbers. */
nghttp2_priority_spec frames_priority_spec(struct session *pod, const nghttp2_priority_spec *asked);
/* The pod's GOAWAY: goes on when its requests have; false: there is none, or it must wait. For who
 * heard it and has no stream open, requests that come behind it need not be looked at. */
bool frames_goodbye(struct session *to);
/* GOAWAY of our own to the pod: first the notice of one to come, for what is on its way, then that.
 */
void frames_retire(struct session *pod);
/* A GOAWAY is about to be sent. False: it was not ours, so nghttp2 has found a fault. */
bool frames_goaway_sent(struct session *to);
/* The first bytes for the pod, into session->out: our SETTINGS, before acknowledgements of its own.
 */
void frames_greet(struct session *pod);
