/* stream_own: what the files of stream.h share; private to them. */
#pragma once

#include "proxy/flow/steps.h"
#include "proxy/kernel/stream.h"
#include "proxy/wire/http1.h"

enum stream_kind {
    STREAM_MEETING, /* what is spoken is not known yet */
    STREAM_TLS,     /* records as the program made them: a handshake, or all there is to see */
    STREAM_HTTP1,
    STREAM_HTTP2,
    STREAM_RAW, /* behind an upgrade, or nothing that is read here */
};

/* What one end says. */
struct stream_side {
    bool ktls;       /* the kernel has its keys */
    bool heard;      /* something of it in plain text */
    bool waits;      /* bytes are missing: nothing is read before the next head */
    uint64_t lost;   /* bytes, so far */
    uint64_t missed; /* ... that came while it waits */
    uint64_t at;     /* bytes, read or not */
};

struct stream_tls;
struct stream_http2;

struct stream {
    struct stream_opening opening;
    enum stream_kind kind;
    bool skipping; /* what is being read are zeros, in the place of what was not handed up */
    bool denied;   /* ... is what the kernel has refused */
    bool spliced;  /* ... for it was to encrypt pages that can still change */
    struct exchange unexplained;          /* of that, a request that policies allow */
    bool explained;                       /* ... and another one they do not */
    const char *why_unexplained;          /* ... why that is not decided there */
    bool undecided;                       /* what was refused the proxy might have let go */
    uint64_t untold;                      /* denials that nobody told us of */
    uint64_t unsent;                      /* what was asked from here on has not gone: up.at */
    uint64_t asked_at[RELAY_PENDING_MAX]; /* where the heads begin of those that wait: up.at */
    unsigned unowed;                      /* answers to come before theirs, for which was no room */
    bool unread;                 /* what is asked is not, behind a request that makes no sense */
    struct stream_side up, down; /* requests, answers */
    struct stream_tls *tls;      /* NULL: no handshake was seen */
    struct stream_http2 *http2;  /* of STREAM_HTTP2 */
};

/* Whether what answers say comes here at all. */
static inline bool stream_hears_answers(const struct stream *stream)
{
    return !stream->up.ktls || stream->down.ktls || stream->down.heard;
}

/* ---- stream.c ---- */

/* It is nothing that can be read, from here on; told, and judged. */
void stream_turns_opaque(struct flow *flow, enum opaque why);
/* What was said and counted before, of a head that is not whole. */
void stream_read_again(struct flow *flow, bool up, struct span bytes);
/* What is said, and was counted. */
void stream_take(struct flow *flow, const struct abi_said *said, struct span bytes);

/* ---- stream_denied.c ---- */

/* What was told of a request; NULL: nothing. */
struct facts_request stream_request_told(const struct flow_event *event);
/* A request that the kernel has refused, or that was sent with one. */
void stream_deny(struct flow *flow, const struct facts_request *request);
/* ... that makes no sense: exchange, which ends. */
void stream_deny_odd(struct flow *flow, struct exchange *exchange, const char *reason);
/* Whether there was one in what it refuses now. */
bool stream_has_denied(const struct stream *stream);
/* That was all of what it refused at once. */
void stream_denied(struct flow *flow);
/* It has refused what was not read; ABI_SAID_AGAIN: for it was not what had been said. */
void stream_denied_unread(struct flow *flow, const struct abi_said *said);
/* Those that were read before and have not gone either, in one send with it. */
void stream_unsent(struct flow *flow);

/* ---- stream_tls.c: handshakes ---- */

/* Records that go by in the clear. */
void stream_tls_feed(struct flow *flow, bool up, struct span bytes);
/* Of a record that somebody encrypted, which is not handed up. */
void stream_tls_skip(struct flow *flow, bool up, uint64_t len);
void stream_tls_keys(struct flow *flow, const struct abi_ktls *record);
/* What can be said of it is told, unless it was. */
void stream_tls_tell(struct flow *flow);
void stream_tls_free(struct stream_tls **tls);

/* ---- stream_http1.c ---- */

void stream_http1_feed(struct flow *flow, bool up, struct span bytes);
void stream_http1_skip(struct flow *flow, bool up, uint64_t len);
/* Bytes are missing: what is under way is over. */
void stream_http1_lost(struct flow *flow, bool up);
/* What was refused ends here. */
void stream_http1_denied(struct flow *flow);
/* A head begins with what comes next, whatever there was. */
void stream_http1_afresh(struct flow *flow);
/* No more comes. */
void stream_http1_end(struct flow *flow);

/* ---- stream_http1_told.c: what the parser has found; head: its bytes, from the first one on ----
 */

void stream_http1_head(struct flow *flow, bool up, struct span head);
/* A message ends. */
void stream_http1_whole(struct flow *flow, bool up);
/* It is HTTP no more, or was not. */
void stream_http1_odd(struct flow *flow, bool up, struct span head);
/* The beginning of a head that was refused. */
void stream_http1_begun(struct flow *flow, struct span head);

/* Requests whose answer is to come; those that were told have no event. */
static inline struct pending *stream_oldest(struct relay *relay)
{
    return &relay->pending[relay->pending_at];
}

static inline struct pending *stream_newest(struct relay *relay)
{
    return &relay->pending[(relay->pending_at + relay->pending_len - 1) % RELAY_PENDING_MAX];
}

static inline void stream_drop_oldest(struct relay *relay)
{
    relay->pending_at = (relay->pending_at + 1) % RELAY_PENDING_MAX;
    relay->pending_len--;
}

/* ---- stream_http2.c ---- */

void stream_http2_feed(struct flow *flow, bool up, struct span bytes);
void stream_http2_skip(struct flow *flow, bool up, uint64_t len);
void stream_http2_lost(struct flow *flow, bool up);
void stream_http2_denied(struct flow *flow);
/* Whether a request was not answered in full. */
bool stream_http2_waits(const struct stream *stream);
/* Tells what is open. error: NULL, or why it is over. */
void stream_http2_end(struct flow *flow, const char *error);
