/* body: a stream's bytes and trailers, from one leg to the other. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/http2/own.h"

enum {
    FRAME_HEAD = 9,
    CHUNK_MIN = 1000, /* malloc(3) has those at hand */
};

/* Nobody writes it: its sender has his credit back. */
void body_drop(struct http2_stream *stream, enum http2_side from)
{
    struct half *half = &stream->half[from];
    struct session *session = stream_leg(stream, from);

    while (half->first) {
        struct chunk *chunk = half->first;

        half->first = chunk->next;
        free(chunk);
    }
    half->last = NULL;
    free(TAKE(half->trailers));
    half->dropping = true;
    if (half->ours) /* nobody sent it, so nobody has credit for it */
        half->queued = 0;
    if (!half->queued || session->broken)
        return;
    if (stream->open[from])
        nghttp2_session_consume(session->ng, stream->id[from], half->queued);
    else
        nghttp2_session_consume_connection(session->ng, half->queued);
    half->queued = 0;
}

/* Something is there for who asked in vain. */
static void wake(struct http2_stream *stream, enum http2_side from)
{
    enum http2_side to = opposite(from);
    struct half *half = &stream->half[from];

    if (half->waiting && stream->open[to])
        nghttp2_session_resume_data(stream_leg(stream, to)->ng, stream->id[to]);
    half->waiting = false;
}

/* Its end does not go on: something in it shall not. */
static void stop_at_end(struct http2_stream *stream, enum http2_side from,
                        const struct http2_refusal *refusal)
{
    stream->half[from].ended = from == HTTP2_POD;
    stream_stop(stream, from, refusal);
}

void body_ended(struct http2_stream *stream, enum http2_side from)
{
    const struct http2 *http2 = stream->http2;
    struct http2_refusal refusal = {0};
    struct half *half = &stream->half[from];

    if (!half->dropping && !http2->hooks->ended(http2->arg, stream, from, &refusal)) {
        stop_at_end(stream, from, &refusal);
        return;
    }
    half->ended = true;
    wake(stream, from);
}

void body_trailers(struct http2_stream *stream, struct session *from)
{
    struct http2 *http2 = stream->http2;
    struct half *half = &stream->half[from->side];
    struct facts_field regular[HTTP2_FIELDS_MAX];
    struct http2_refusal refusal = {0};
    struct http2_head head;

    fields_head(&from->fields, regular, &head);
    head.end = true; /* or nghttp2 had not taken it (RFC 9113 section 8.1) */
    if (half->dropping)
        return;
    if (from->fields.status == FIELDS_FINE && stream_take_room(stream, &from->fields))
        half->trailers = fields_copy(&from->fields);
    if (!half->trailers) {
        stream_blame(stream, from->side,
                     from->fields.status == FIELDS_TOO_LONG ? "a header list past the limit"
                                                            : "no memory for the trailers");
        nghttp2_submit_rst_stream(from->ng, NGHTTP2_FLAG_NONE, stream->id[from->side],
                                  NGHTTP2_CANCEL);
        return;
    }
    if (http2->hooks->trailers(http2->arg, stream, from->side, &head, &refusal))
        body_ended(stream, from->side);
    else
        stop_at_end(stream, from->side, &refusal);
}

/* Into what the last chunk has room for, then into one more: of many small frames each in memory of
 * its own, most would be malloc's. */
static bool put(struct half *half, struct span bytes)
{
    struct chunk *last = half->last;
    size_t room = last ? last->size - last->len : 0, size;
    struct chunk *chunk = NULL;

    if (room > bytes.len)
        room = bytes.len;
    if (bytes.len > room) {
        size = bytes.len - room > CHUNK_MIN ? bytes.len - room : CHUNK_MIN;
        chunk = malloc(sizeof(*chunk) + size);
        if (!chunk)
            return false;
        *chunk = (struct chunk){.len = bytes.len - room, .size = size};
        memcpy(chunk->data, bytes.data + room, chunk->len);
    }
    if (room)
        memcpy(last->data + last->len, bytes.data, room);
    if (last)
        last->len += room;
    if (!chunk)
        return true;
    if (last)
        last->next = chunk;
    else
        half->first = chunk;
    half->last = chunk;
    return true;
}

void body_bytes(struct http2_stream *stream, struct session *from, struct span bytes)
{
    struct half *half = &stream->half[from->side];
    struct http2_refusal refusal = {0};

    if (half->dropping) {
        nghttp2_session_consume(from->ng, stream->id[from->side], bytes.len);
        return;
    }
    if (!stream->http2->hooks->body(stream->http2->arg, stream, from->side, bytes, &refusal)) {
        nghttp2_session_consume(from->ng, stream->id[from->side], bytes.len);
        stream_stop(stream, from->side, &refusal);
        return;
    }
    credit_received(half, bytes.len, stream->http2->now_ns);
    if (!put(half, bytes)) { /* a hole must not look like a message */
        stream_blame(stream, from->side, "no memory for its bytes");
        body_drop(stream, from->side);
        nghttp2_session_consume(from->ng, stream->id[from->side], bytes.len);
        nghttp2_submit_rst_stream(from->ng, NGHTTP2_FLAG_NONE, stream->id[from->side],
                                  NGHTTP2_INTERNAL_ERROR);
        return;
    }
    half->queued += bytes.len;
    wake(stream, from->side);
    if (half->queued > bytes.len) /* it did not go on at once */
        from->widen_due = true;
}

bool body_own(struct http2_stream *stream, struct span text)
{
    struct half *half = &stream->half[HTTP2_UPSTREAM];

    if (!put(half, text))
        return false;
    half->ours = half->begun = half->ended = true;
    half->queued = text.len;
    return true;
}

/* The end is about to go on: trailers, if there are any, carry it. */
static void send_end(struct http2_stream *stream, struct session *to, uint32_t *flags)
{
    struct half *half = &stream->half[opposite(to->side)];
    int32_t id = stream->id[to->side];

    *flags |= NGHTTP2_DATA_FLAG_EOF;
    half->sent = true;
    if (half->trailers) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(to->ng, id, half->trailers->nv, half->trailers->len) != 0)
            nghttp2_submit_rst_stream(to->ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_INTERNAL_ERROR);
        free(TAKE(half->trailers));
    }
}

ssize_t body_read(nghttp2_session *ng, int32_t id, uint8_t *out, size_t len, uint32_t *flags,
                  nghttp2_data_source *source, void *arg)
{
    struct session *to = arg;
    struct http2_stream *stream = source->ptr;
    struct half *half = &stream->half[opposite(to->side)];

    (void)ng, (void)id, (void)out;
    if (half->queued) {
        if (to->room < ROOM_MIN)
            return NGHTTP2_ERR_PAUSE;
        if (len > half->queued)
            len = half->queued;
        if (len > to->room - FRAME_HEAD)
            len = to->room - FRAME_HEAD;
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
        if (len == half->queued && half->ended)
            send_end(stream, to, flags);
        return (ssize_t)len;
    }
    if (half->ended) {
        send_end(stream, to, flags);
        return 0;
    }
    half->waiting = true;
    return NGHTTP2_ERR_DEFERRED;
}

static void copy_out(struct half *half, struct session *to, size_t len)
{
    half->queued -= len;
    while (len) {
        struct chunk *chunk = half->first;
        size_t n = chunk->len - chunk->at < len ? chunk->len - chunk->at : len;

        memcpy(to->out, chunk->data + chunk->at, n);
        to->out += n;
        to->room -= n;
        chunk->at += n;
        len -= n;
        if (chunk->at == chunk->len) {
            half->first = chunk->next;
            if (!half->first)
                half->last = NULL;
            free(chunk);
        }
    }
}

int body_send(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t len,
              nghttp2_data_source *source, void *arg)
{
    struct session *to = arg;
    struct http2_stream *stream = source->ptr;
    enum http2_side from = opposite(to->side);
    struct half *half = &stream->half[from];

    (void)ng;
    (void)frame; /* never padded: no select_padding callback is set */
    if (to->room < FRAME_HEAD + len)
        return NGHTTP2_ERR_WOULDBLOCK;
    memcpy(to->out, head, FRAME_HEAD);
    to->out += FRAME_HEAD;
    to->room -= FRAME_HEAD;
    copy_out(half, to, len);
    if (!half->ours)
        credit_owe(stream, to, len);
    return 0;
}

bool body_pends(const struct http2_stream *stream, enum http2_side from)
{
    const struct half *half = &stream->half[from];

    return stream->open[opposite(from)] && (half->queued || (half->ended && !half->sent));
}
