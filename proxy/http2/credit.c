/* credit: what a side may send (RFC 9113 section 5.2): as much as the other side takes. */
#include "proxy/http2/own.h"

#define FAR_NS  UINT64_C(1000000)
#define RATE_NS UINT64_C(1000000000)

void credit_forget(struct http2_stream *stream, enum http2_side to)
{
    struct http2_stream *next = stream->owed_next[to];

    if (!stream->owed_link[to])
        return;
    *stream->owed_link[to] = next;
    if (next)
        next->owed_link[to] = stream->owed_link[to];
    stream->owed_link[to] = NULL;
}

void credit_owe(struct http2_stream *stream, struct session *to, size_t len)
{
    enum http2_side from = opposite(to->side);

    stream->half[from].owed += len;
    stream_leg(stream, from)->owed_bytes += len;
    if (stream->owed_link[to->side])
        return;
    stream->owed_next[to->side] = to->owed;
    stream->owed_link[to->side] = &to->owed;
    if (to->owed)
        to->owed->owed_link[to->side] = &stream->owed_next[to->side];
    to->owed = stream;
}

/* Who takes all that he is sent as it comes may be sent more at a time: as much as his own window
 * says, for what lies on the way beyond that would only keep others waiting, here as between the
 * two ends themselves. */
static int32_t grown(int32_t window, size_t taken, size_t waiting, int32_t most)
{
    if (taken < (size_t)window || waiting > (size_t)window / 2 || window >= most)
        return window;
    return window < most / 2 ? window * 2 : most;
}

static int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static void credit_stream(struct http2_stream *stream, struct session *from)
{
    struct half *half = &stream->half[from->side];
    const struct session *to = session_of(from->http2, opposite(from->side));
    int32_t window, id = stream->id[from->side];

    half->taken += half->owed;
    if (stream->open[from->side] && !half->ended) {
        nghttp2_session_consume_stream(from->ng, id, half->owed);
        if (stream->open[to->side] && !to->broken) /* at its widest, as seen from here */
            half->theirs =
                larger(half->theirs,
                       nghttp2_session_get_stream_remote_window_size(to->ng, stream->id[to->side]));
        window = grown(
            half->window, half->taken, half->queued,
            smaller(half->theirs, half->far ? HTTP2_STREAM_WINDOW_MAX : HTTP2_STREAM_WINDOW_NEAR));
        if (window != half->window) {
            half->window = window;
            half->taken = 0;
            half->far = false;
            nghttp2_session_set_local_window_size(from->ng, NGHTTP2_FLAG_NONE, id, window);
        }
        half->credited_ns = from->http2->now_ns;
    }
    half->owed = 0;
}

/* A silence behind credit, when about a window's worth came before it: the sender has waited for
 * the credit, and it is the way to him that takes so long. A larger window fills it; where he is
 * near, it would fill only buffers, in which others' bytes wait. */
void credit_received(struct half *half, size_t len, uint64_t now_ns)
{
    if (half->credited_ns && now_ns - half->credited_ns > FAR_NS) {
        half->far = half->far || half->burst >= (size_t)half->window / 2;
        half->burst = 0;
    }
    half->credited_ns = 0;
    half->burst += len;
}

static void widen(struct session *from, int32_t window)
{
    struct http2 *http2 = from->http2;

    if (window == from->window || !http2->hooks->room(http2->arg, window - from->window, false))
        return;
    http2->room += window - from->window;
    from->window = window;
    from->taken = 0;
    nghttp2_session_set_local_window_size(from->ng, NGHTTP2_FLAG_NONE, 0, window);
}

static void credit_connection(struct session *from)
{
    const struct session *to = session_of(from->http2, opposite(from->side));
    size_t bytes = from->owed_bytes;

    from->owed_bytes = 0;
    if (from->http2->now_ns - from->taken_ns > RATE_NS) { /* in hours, any window would be filled */
        from->taken = 0;
        from->taken_ns = from->http2->now_ns;
    }
    from->taken += bytes;
    nghttp2_session_consume_connection(from->ng, bytes);
    if (!to->broken)
        from->theirs = larger(from->theirs, nghttp2_session_get_remote_window_size(to->ng));
    widen(from, grown(from->window, from->taken, 0, smaller(from->theirs, HTTP2_WINDOW_MAX)));
}

void credit_written(struct session *to)
{
    struct session *from = session_of(to->http2, opposite(to->side));

    while (to->owed) {
        struct http2_stream *stream = to->owed;

        credit_forget(stream, to->side);
        if (!from->broken)
            credit_stream(stream, from);
    }
    if (from->owed_bytes && !from->broken)
        credit_connection(from);
    credit_widen(from); /* what is left may wait for a window that this has shut */
}

/* Bytes that wait for streams whose windows the other side keeps shut. */
static size_t stalled(const struct session *from)
{
    const struct session *to = session_of(from->http2, opposite(from->side));
    size_t bytes = 0;

    for (const struct http2_stream *stream = from->http2->streams; stream; stream = stream->next)
        if (stream->open[to->side] && stream->half[from->side].queued &&
            nghttp2_session_get_stream_remote_window_size(to->ng, stream->id[to->side]) <= 0)
            bytes += stream->half[from->side].queued;
    return bytes;
}

void credit_widen(struct session *from)
{
    const struct session *to = session_of(from->http2, opposite(from->side));
    int32_t half = from->window / 2;

    from->widen_due = false;
    if (from->broken || to->broken || from->window >= HTTP2_WINDOW_MAX ||
        nghttp2_session_get_effective_recv_data_length(from->ng) <= half ||
        nghttp2_session_get_remote_window_size(to->ng) <= 0)
        return;
    if (stalled(from) > (size_t)half)
        widen(from, from->window < HTTP2_WINDOW_MAX / 2 ? from->window * 2 : HTTP2_WINDOW_MAX);
}
