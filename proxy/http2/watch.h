/* watch: one direction of an HTTP/2 connection (RFC 9113) as it goes by: frames in, heads and the
 * bytes of bodies out. Nobody here answers for it: what makes no sense ends the reading, never the
 * bytes' way.
 *
 * Pure: no socket, no clock. Allocates what a header block at hand takes, bounded.
 * Called by:  ../kernel/stream_http2.c; tests/fuzz. */
#pragma once

#include "proxy/http2/http2.h"

enum http2_watched {
    HTTP2_WATCHED_MORE,  /* all was consumed; nothing to tell */
    HTTP2_WATCHED_HEAD,  /* a header block is whole: told->head; or trailers */
    HTTP2_WATCHED_BODY,  /* bytes of a body */
    HTTP2_WATCHED_RESET, /* a stream was given up: told->code */
    HTTP2_WATCHED_TABLE, /* what the other direction's heads may refer to: told->table_size */
    HTTP2_WATCHED_BAD,   /* it makes no sense: http2_watch_reason(); feed no more */
};

struct http2_told {
    int32_t stream;
    bool end;               /* HEAD, BODY: nothing of this direction follows in the stream */
    struct http2_head head; /* borrows until the next call */
    struct span body;       /* may be empty, with end */
    uint32_t code;
    uint32_t table_size;
};

struct http2_watch;

/* NULL: no memory. preface: it begins with a client's (who asks), else with SETTINGS. */
struct http2_watch *http2_watch_new(bool preface);
void http2_watch_free(struct http2_watch **watch);

/* Consumes bytes up to the next thing to tell; *consumed says how far. */
enum http2_watched http2_watch_feed(struct http2_watch *watch, struct span bytes, size_t *consumed,
                                    struct http2_told *told);
/* So many bytes of a body at most are next and can be skipped: returns how many of len are, as BODY
 * in *told with their number lost but for `end`. 0: none may be skipped here. */
size_t http2_watch_skip(struct http2_watch *watch, uint64_t len, struct http2_told *told);
/* The other direction said how large its table is: never made smaller, for who encodes says so when
 * he does that. */
void http2_watch_table(struct http2_watch *watch, uint32_t size);
const char *http2_watch_reason(const struct http2_watch *watch);
