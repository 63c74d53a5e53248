/* http1_trace: feeds bytes to an http1 in pieces and notes what it told, and where. */
#pragma once

#include "proxy/wire/http1.h"

enum { TRACE_MAX = 4096 };

struct trace {
    size_t len;
    struct {
        enum http1_status status;
        size_t at; /* bytes consumed until then */
    } events[TRACE_MAX];
    const char *reason; /* after BAD */
};

/* Feeds one piece to its end, or to RAW or BAD. False when no more may be fed. take_upgrades: what
 * the answer to each upgrade is. */
static inline bool trace_feed(struct trace *trace, struct http1 *http1, struct span piece,
                              size_t *total, bool take_upgrades)
{
    for (;;) {
        size_t consumed = SIZE_MAX;
        enum http1_status status = http1_feed(http1, piece, &consumed);

        assert_true(consumed <= piece.len);
        *total += consumed;
        piece = span_of(piece.data + consumed, piece.len - consumed);
        if (status == HTTP1_MORE) {
            assert_int_equal(piece.len, 0);
            return true;
        }
        assert_true(trace->len < TRACE_MAX);
        trace->events[trace->len].status = status;
        trace->events[trace->len++].at = *total;
        if (status == HTTP1_BAD)
            trace->reason = http1_reason(http1);
        if (status == HTTP1_BAD || status == HTTP1_RAW)
            return false;
        if (status == HTTP1_DONE)
            http1_upgraded(http1, take_upgrades);
    }
}

/* Feeds bytes in pieces of `step`, the first one `first` long. */
static inline void trace_run(struct trace *trace, struct http1 *http1, struct span bytes,
                             size_t first, size_t step, bool take_upgrades)
{
    size_t total = 0;
    bool more = true;
    /* each piece in memory of its own, so that a sanitizer sees any look beside it */
    for (size_t at = 0, len = first; more && (at < bytes.len || !bytes.len);
         at += len, len = step) {
        uint8_t *piece;

        if (len > bytes.len - at)
            len = bytes.len - at;
        piece = malloc(len ? len : 1);
        assert_non_null(piece);
        memcpy(piece, bytes.data + at, len);
        more = trace_feed(trace, http1, span_of(piece, len), &total, take_upgrades);
        free(piece);
        if (!bytes.len)
            break;
    }
}

static inline void assert_same_trace(const struct trace *a, const struct trace *b)
{
    assert_int_equal(a->len, b->len);
    for (size_t i = 0; i < a->len; i++) {
        assert_int_equal(a->events[i].status, b->events[i].status);
        assert_int_equal(a->events[i].at, b->events[i].at);
    }
    if (a->reason || b->reason)
        assert_string_equal(a->reason, b->reason);
}
