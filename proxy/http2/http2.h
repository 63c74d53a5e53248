/* http2: the relay of one HTTP/2 connection (RFC 9113), frames in and frames out, without sockets.
 *
 * Each leg is a connection of its own: an nghttp2_session with its own HPACK contexts, SETTINGS,
 * stream numbers and windows. What is passed on is requests and answers, re-encoded, not frames.
 * Nothing is gathered: a side is given credit for its bytes only when they were written to the
 * other side, or dropped, so what waits here is bounded by the windows; heads, by what room()
 * gives.
 *
 * Pure: no socket, no flow, no clock of its own but http2_feed()'s argument. One thread.
 * Called by:  flow/streams.c, with what the legs read, and for what they are to write.
 * Leads to:   the hooks, which judge and tell. */
#pragma once

#include "base/span.h"
#include "policy/facts.h"

enum http2_side { HTTP2_POD, HTTP2_UPSTREAM, HTTP2_SIDES };

enum {
    HTTP2_FIELDS_MAX = 256,     /* of one header block, as for HTTP/1 */
    HTTP2_LIST_MAX = 128 << 10, /* its size, as RFC 9113 section 6.5.2 counts it */
    HTTP2_STREAMS_MAX = 1024,   /* open at once */
    HTTP2_WINDOW = 65535,       /* a stream's and a connection's, until they prove to need more */
    HTTP2_STREAM_WINDOW_NEAR = 256 << 10, /* a stream's, at most, ... */
    HTTP2_STREAM_WINDOW_MAX = 4 << 20,    /* ... and that of who is far away */
    HTTP2_WINDOW_MAX = 8 << 20,
    HTTP2_BYTES = 64 << 10,       /* what a connection takes of memory, about, */
    HTTP2_STREAM_BYTES = 4 << 10, /* and what each open stream does */
    HTTP2_PULL_MIN = 8 << 10,     /* the least room that http2_pull() is to be given */
};

/* A header block. Pseudo-headers that are not there are empty; all borrow for the call. */
struct http2_head {
    struct span method, scheme, authority, path;
    struct span protocol;             /* of an extended CONNECT (RFC 8441) */
    uint16_t code;                    /* of an answer */
    const struct facts_field *fields; /* the others, as sent */
    size_t fields_len;
    bool end; /* nothing follows */
};

/* One request and its answer. */
struct http2_stream;

/* Why a stream is not passed on. */
struct http2_refusal {
    uint16_t code;      /* 0: it is */
    const char *reason; /* a phrase; for gRPC it goes into grpc-message */
};

/* How a stream ended. */
struct http2_end {
    bool whole;         /* request and answer had their ends */
    enum http2_side by; /* else who ended it, */
    uint32_t code;      /* by this (RFC 9113 section 7), */
    const char *reason; /* and what was wrong with what he sent; NULL: he reset it */
};

/* All are called from within http2_feed(), http2_pull() and http2_free(). */
struct http2_hooks {
    /* So many bytes more, or given back (< 0), of the memory that connections may take. needed:
     * else it would only go faster with them. */
    bool (*room)(void *arg, int64_t bytes, bool needed);
    /* A request's head: nothing of it has gone on. id: on the pod's leg. Refuses it by filling
     * *refusal. False: no memory, the stream is reset as if it had never been looked at. */
    bool (*request)(void *arg, struct http2_stream *stream, int32_t id,
                    const struct http2_head *head, struct http2_refusal *refusal);
    /* An answer's final head. Interim ones (1xx) go on untold. */
    void (*answer)(void *arg, struct http2_stream *stream, const struct http2_head *head);
    /* Bytes of a body, before any of them goes on. False: nor do they, nor what follows. Of the
     * pod's, *refusal may be filled for an answer, if none has begun; else the stream is reset. */
    bool (*body)(void *arg, struct http2_stream *stream, enum http2_side from, struct span bytes,
                 struct http2_refusal *refusal);
    /* The same for the end of one that has begun. */
    bool (*ended)(void *arg, struct http2_stream *stream, enum http2_side from,
                  struct http2_refusal *refusal);
    /* The same for trailers, with which one ends. */
    bool (*trailers)(void *arg, struct http2_stream *stream, enum http2_side from,
                     const struct http2_head *head, struct http2_refusal *refusal);
    /* The last one of a stream for which request() was called. */
    void (*closed)(void *arg, struct http2_stream *stream, const struct http2_end *end);
    /* A request that makes no sense, with what was read of it until then: it was reset, or (code)
     * answered so. */
    void (*malformed)(void *arg, int32_t id, const struct http2_head *head, uint16_t code,
                      const char *reason);
};

/* What the hooks' owner keeps with a stream. */
void *http2_stream_user(const struct http2_stream *stream);
void http2_stream_set_user(struct http2_stream *stream, void *user);

struct http2;

/* Borrows hooks. -ENOMEM. */
int http2_new(struct http2 **out, const struct http2_hooks *hooks, void *arg);
/* Closes all streams first. */
void http2_free(struct http2 **http2);

/* Bytes that a side sent, all of them consumed. now_ns: monotonic, for how much is too much. False:
 * one of the sides said what ends the connection, and what http2_pull() has for both are the last
 * words; http2_fault() says what it was. */
bool http2_feed(struct http2 *http2, enum http2_side from, struct span bytes, uint64_t now_ns);
/* Whether that side's bytes are wanted now: not while it does not take what is said in return. */
bool http2_wants(const struct http2 *http2, enum http2_side from);
/* Whether there may be bytes for a side. */
bool http2_has(const struct http2 *http2, enum http2_side to);
/* Bytes for a side: at most size, which is HTTP2_PULL_MIN or more; 0: there is nothing to say. Not
 * to be called again for this side before these are all written. */
size_t http2_pull(struct http2 *http2, enum http2_side to, uint8_t *out, size_t size);
/* What was pulled is written: who sent it gets his credit. */
void http2_written(struct http2 *http2, enum http2_side to);
/* The pod is asked to open no more streams here (GOAWAY, RFC 9113 section 6.8); those that are open
 * go on. Called again, when it has had the time to hear of it: what it opens from then on is not
 * looked at, and with the last open one it is finished. */
void http2_retire(struct http2 *http2);
/* A side's bytes are at their end. */
void http2_ended(struct http2 *http2, enum http2_side from);
/* With nothing to pull: nothing more will come for this side, so its leg may be shut. */
bool http2_finished(const struct http2 *http2, enum http2_side to);

/* How many streams are open. */
unsigned http2_open(const struct http2 *http2);
/* A head, or a connection's first words, has begun and is not complete: from is waited for. */
bool http2_awaits(const struct http2 *http2, enum http2_side from);
/* What ended the connection, a phrase with whose fault it is: "the program's HTTP/2: too many
 * resets"; NULL: nothing did. */
const char *http2_fault(const struct http2 *http2);
/* "CANCEL": the name of an error code (RFC 9113 section 7), "unknown" for others. */
const char *http2_code_name(uint32_t code);
