#include "proxy/http2/http2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/http2/own.h"

int http2_new(struct http2 **out, const struct http2_hooks *hooks, void *arg)
{
    CLEANUP(http2_free) struct http2 *http2 = calloc(1, sizeof(*http2));

    if (!http2)
        return -ENOMEM;
    http2->hooks = hooks;
    http2->arg = arg;
    /* what is promised to each connection goes a long way: not having more is no reason to refuse
     */
    http2->room = hooks->room(arg, HTTP2_BYTES, true) ? HTTP2_BYTES : 0;
    for (enum http2_side side = 0; side < HTTP2_SIDES; side++)
        if (session_init(&http2->sessions[side], http2, side) < 0)
            return -ENOMEM;
    *out = TAKE(http2);
    return 0;
}

void http2_free(struct http2 **http2)
{
    struct http2 *gone = *http2;

    if (!gone)
        return;
    while (gone->streams) /* who is told of their ends may ask it for its fault */
        stream_free(gone->streams);
    *http2 = NULL;
    if (gone->room)
        gone->hooks->room(gone->arg, -gone->room, true);
    for (enum http2_side side = 0; side < HTTP2_SIDES; side++)
        session_fini(&gone->sessions[side]);
    free(gone);
}

/* nghttp2 has given up on it. */
static void break_off(struct session *session, int error)
{
    session->broken = true;
    switch (error) {
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
        session_fail(session, NGHTTP2_PROTOCOL_ERROR, "no HTTP/2 preface");
        session->last_words_len = 0; /* it speaks another language */
        break;
    case NGHTTP2_ERR_FLOODED:
        session_fail(session, NGHTTP2_ENHANCE_YOUR_CALM, "too many frames that want an answer");
        break;
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
        session_fail(session, NGHTTP2_ENHANCE_YOUR_CALM, "too many CONTINUATION frames");
        break;
    default:
        session_fail(session, NGHTTP2_INTERNAL_ERROR, nghttp2_strerror(error));
        break;
    }
}

bool http2_feed(struct http2 *http2, enum http2_side from, struct span bytes, uint64_t now_ns)
{
    struct session *session = session_of(http2, from);
    ssize_t n;

    http2->now_ns = now_ns;
    if (http2->fault[0])
        return false;
    session->deaf = session->deaf || !nghttp2_session_want_read(session->ng);
    n = nghttp2_session_mem_recv(session->ng, bytes.data, bytes.len);
    if (n < 0)
        break_off(session, (int)n);
    if (session->widen_due)
        credit_widen(session);
    return !http2->fault[0];
}

/* Nothing is open behind a GOAWAY, but something that will be is yet to be written: nghttp2 would
 * drop what comes before. */
static bool is_deaf_for_now(const struct session *session)
{
    return !nghttp2_session_want_read(session->ng) && nghttp2_session_want_write(session->ng);
}

/* Frames that are not streams' bytes: answers to what a side says, requests that wait for their
 * turn. */
enum { QUEUE_MAX = 2 * HTTP2_STREAMS_MAX };

bool http2_wants(const struct http2 *http2, enum http2_side from)
{
    if (http2->fault[0])
        return false;
    for (enum http2_side side = 0; side < HTTP2_SIDES; side++)
        if (nghttp2_session_get_outbound_queue_size(http2->sessions[side].ng) > QUEUE_MAX)
            return false;
    if (from == HTTP2_UPSTREAM)
        return !is_deaf_for_now(&http2->sessions[from]);
    /* before it was greeted it does not know how many streams there may be */
    return http2->greeting ||
           nghttp2_session_get_outbound_queue_size(http2->sessions[HTTP2_POD].ng) < GREETING_ACKS;
}

/* Of nghttp2's bytes, what fits; the rest waits in nghttp2's own memory for the next time. */
static void put(struct session *session, struct span bytes)
{
    size_t len = bytes.len < session->room ? bytes.len : session->room;

    session->rest = bytes;
    if (!len)
        return;
    memcpy(session->out, bytes.data, len);
    session->out += len;
    session->room -= len;
    session->rest = span_of(bytes.data + len, bytes.len - len);
}

/* A reset is not to be read together with the answer before it: there are clients (curl 7.88) that
 * then look at the reset first, and servers write it by itself. So it begins what is pulled. */
static bool resets(struct session *session, const uint8_t *begin)
{
    return session->out == begin && stream_resets(session);
}

static void pull(struct session *session)
{
    const uint8_t *begin = session->out;
    struct span rest = session->rest;

    session->rest = span_of(NULL, 0);
    put(session, rest);
    if (session->side == HTTP2_POD && !session->http2->greeted)
        frames_greet(session);
    while (session->room && !session->rest.len) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(session->ng, &data);

        if (n < 0)
            break_off(session, (int)n);
        if (n < 0 || (n == 0 && !resets(session, begin) && !frames_goodbye(session)))
            break;
        put(session, span_of(data, (size_t)n));
    }
}

bool http2_has(const struct http2 *http2, enum http2_side to)
{
    const struct session *session = &http2->sessions[to];

    if (session->broken)
        return session->last_words_len;
    return session->rest.len || session->resets || session->goaway_due ||
           nghttp2_session_want_write(session->ng);
}

size_t http2_pull(struct http2 *http2, enum http2_side to, uint8_t *out, size_t size)
{
    struct session *session = session_of(http2, to);

    if (to == HTTP2_POD && !http2->greeting && !http2->fault[0])
        return 0; /* the first that it hears must be SETTINGS */
    session->out = out;
    session->room = size;
    if (!session->broken)
        pull(session);
    if (session->broken && session->last_words_len && session->room >= session->last_words_len) {
        put(session, span_of(session->last_words, session->last_words_len));
        session->last_words_len = 0;
    }
    session->out = NULL;
    return size - session->room;
}

void http2_written(struct http2 *http2, enum http2_side to)
{
    credit_written(session_of(http2, to));
}

void http2_retire(struct http2 *http2)
{
    if (!http2->fault[0])
        frames_retire(session_of(http2, HTTP2_POD));
}

void http2_ended(struct http2 *http2, enum http2_side from)
{
    session_of(http2, from)->ended = true;
}

bool http2_finished(const struct http2 *http2, enum http2_side to)
{
    const struct session *session = &http2->sessions[to];
    const struct session *other = &http2->sessions[opposite(to)];

    if (http2->fault[0])
        return true;
    if (!nghttp2_session_want_read(session->ng) && !nghttp2_session_want_write(session->ng))
        return true;
    if (!other->ended || session->resets)
        return false;
    for (const struct http2_stream *stream = http2->streams; stream; stream = stream->next)
        if (body_pends(stream, other->side))
            return false;
    return true;
}

unsigned http2_open(const struct http2 *http2)
{
    return http2->open;
}

bool http2_awaits(const struct http2 *http2, enum http2_side from)
{
    const struct session *session = &http2->sessions[from];

    return !session->met || session->fields.open;
}

const char *http2_fault(const struct http2 *http2)
{
    return http2->fault[0] ? http2->fault : NULL;
}

const char *http2_code_name(uint32_t code)
{
    return nghttp2_http2_strerror(code);
}
