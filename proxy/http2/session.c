/* session: one leg's nghttp2_session: what it is set up with, and what it tells. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/http2/own.h"

enum {
    BLOCK_SEND_MAX = 2 * HTTP2_LIST_MAX, /* a block that was taken must fit when it is sent */
};

/* ---- faults ---- */

/* A phrase for events and metrics; nghttp2's own sentences quote what strangers sent. */
static const char *reason_of(int error)
{
    switch (error) {
    case NGHTTP2_ERR_HEADER_COMP:
        return "a header block that does not decode";
    case NGHTTP2_ERR_HTTP_HEADER:
        return "a malformed header field";
    case NGHTTP2_ERR_HTTP_MESSAGING:
        return "a malformed message";
    case NGHTTP2_ERR_FLOW_CONTROL:
        return "more than the window allows";
    case NGHTTP2_ERR_FRAME_SIZE_ERROR:
        return "a frame of the wrong size";
    case NGHTTP2_ERR_STREAM_CLOSED:
        return "a frame on a closed stream";
    case NGHTTP2_ERR_REFUSED_STREAM:
        return "too many streams";
    case NGHTTP2_ERR_SETTINGS_EXPECTED:
        return "no SETTINGS at first";
    case NGHTTP2_ERR_TOO_MANY_SETTINGS:
        return "too many settings";
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
        return "no HTTP/2 preface";
    case NGHTTP2_ERR_FLOODED:
        return "too many frames that want an answer";
    default:
        return "a frame against the protocol";
    }
}

const char *session_reason(uint32_t code)
{
    switch (code) {
    case NGHTTP2_COMPRESSION_ERROR:
        return reason_of(NGHTTP2_ERR_HEADER_COMP);
    case NGHTTP2_FLOW_CONTROL_ERROR:
        return reason_of(NGHTTP2_ERR_FLOW_CONTROL);
    case NGHTTP2_FRAME_SIZE_ERROR:
        return reason_of(NGHTTP2_ERR_FRAME_SIZE_ERROR);
    case NGHTTP2_STREAM_CLOSED:
        return reason_of(NGHTTP2_ERR_STREAM_CLOSED);
    default:
        return NULL;
    }
}

/* RFC 9113 sections 3.4 and 6.8. */
static void write_goaway(struct session *session, uint32_t code)
{
    static const uint8_t settings[9] = {0, 0, 0, NGHTTP2_SETTINGS};
    static const uint8_t goaway[17] = {0, 0, 8, NGHTTP2_GOAWAY};
    uint8_t *at = session->last_words;

    if (session->side == HTTP2_POD && !session->http2->greeted)
        at = mempcpy(at, settings, sizeof(settings));
    at = mempcpy(at, goaway, sizeof(goaway));
    at[-4] = (uint8_t)(code >> 24);
    at[-3] = (uint8_t)(code >> 16);
    at[-2] = (uint8_t)(code >> 8);
    at[-1] = (uint8_t)code;
    session->last_words_len = (size_t)(at - session->last_words);
}

static void say_goodbye(struct session *session, uint32_t code)
{
    struct http2 *http2 = session->http2;

    if (session->broken) {
        write_goaway(session, code);
        return;
    }
    if (session->side == HTTP2_POD && !http2->greeting) { /* also now, the first it hears */
        http2->greeting = true;
        nghttp2_submit_settings(session->ng, NGHTTP2_FLAG_NONE, NULL, 0);
    }
    nghttp2_session_terminate_session(session->ng, code);
}

void session_fail(struct session *session, uint32_t code, const char *reason)
{
    struct http2 *http2 = session->http2;

    if (http2->fault[0])
        return;
    snprintf(http2->fault, sizeof(http2->fault), "%s: %s",
             session->side == HTTP2_POD ? "the program's HTTP/2" : "the upstream's HTTP/2", reason);
    say_goodbye(session, code);
    /* the pod is to know that it was not its fault; upstream, that it was not upstream's */
    say_goodbye(session_of(http2, opposite(session->side)),
                session->side == HTTP2_POD ? NGHTTP2_NO_ERROR : code);
}

bool session_spend(struct session *session, enum flood_kind kind)
{
    if (flood_spend(&session->flood, kind, session->http2->now_ns))
        return true;
    session_fail(session, NGHTTP2_ENHANCE_YOUR_CALM, flood_reason(kind));
    return false;
}

/* ---- what nghttp2 tells ---- */

static struct http2_stream *stream_of(struct session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session->ng, id);
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct session *session = arg;

    (void)ng;
    (void)frame;
    fields_begin(&session->fields);
    return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *arg)
{
    struct session *session = arg;

    (void)ng;
    (void)frame;
    switch (fields_add(&session->fields, name, value, flags)) {
    case FIELDS_BOMB:
        session_fail(session, NGHTTP2_ENHANCE_YOUR_CALM, "a header list far past the limit");
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    case FIELDS_NO_MEMORY: /* the stream gets INTERNAL_ERROR, and its block no end */
        fields_done(&session->fields);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    default:
        return 0;
    }
}

/* Without this, nghttp2 would drop the field and take the message: others could read it. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                             nghttp2_rcbuf *value, uint8_t flags, void *arg)
{
    (void)ng;
    (void)frame;
    (void)name;
    (void)value;
    (void)flags;
    (void)arg;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void on_headers(struct session *session, const nghttp2_frame *frame)
{
    struct http2_stream *stream = stream_of(session, frame->hd.stream_id);

    fields_weigh(&session->fields, frame->hd.length); /* its CONTINUATIONs' included */
    if (session->side == HTTP2_POD && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        stream_request(session, frame);
    else if (!stream)
        ; /* of one that was refused: nobody wants it */
    else if (session->side == HTTP2_UPSTREAM && !stream->half[HTTP2_UPSTREAM].begun)
        stream_answer(session, frame);
    else
        body_trailers(stream, session);
    fields_done(&session->fields);
}

static void on_data(struct session *session, const nghttp2_frame *frame)
{
    struct http2_stream *stream = stream_of(session, frame->hd.stream_id);
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

    if (!end && frame->hd.length <= frame->data.padlen && !session_spend(session, FLOOD_EMPTY))
        return;
    if (end && stream)
        body_ended(stream, session->side);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct session *session = arg;
    struct http2_stream *stream;

    (void)ng;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        on_headers(session, frame);
        break;
    case NGHTTP2_DATA:
        on_data(session, frame);
        break;
    case NGHTTP2_SETTINGS:
        frames_settings(session, frame);
        break;
    case NGHTTP2_PING:
        frames_ping(session, frame);
        break;
    case NGHTTP2_GOAWAY:
        frames_goaway(session, frame);
        break;
    case NGHTTP2_PRIORITY:
        frames_priority(session, frame);
        break;
    case NGHTTP2_RST_STREAM:
        stream = stream_of(session, frame->hd.stream_id);
        if (stream)
            stream->was_reset = true;
        /* of one that is over, it answers what was on its way to it: a server may to each frame */
        session_spend(session, stream ? FLOOD_RESET : FLOOD_EMPTY);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        if (session_spend(session, FLOOD_WINDOW) && !frame->hd.stream_id)
            credit_widen(session_of(session->http2, opposite(session->side)));
        break;
    default:
        break;
    }
    return 0;
}

static int on_bytes(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                    void *arg)
{
    struct session *session = arg;
    struct http2_stream *stream = stream_of(session, id);

    (void)flags;
    if (stream)
        body_bytes(stream, session, span_of(data, len));
    else
        nghttp2_session_consume(ng, id, len);
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
    struct session *session = arg;
    struct http2_stream *stream = stream_of(session, id);

    (void)ng;
    if (stream)
        stream_closed(stream, session->side, code);
    return 0;
}

/* A request that never became a stream of ours: what of it was read is told. */
static void tell_malformed(struct session *session, const nghttp2_frame *frame, const char *reason)
{
    struct http2 *http2 = session->http2;
    struct facts_field regular[HTTP2_FIELDS_MAX];
    struct http2_head head;

    fields_head(&session->fields, regular, &head);
    http2->hooks->malformed(http2->arg, frame->hd.stream_id, &head, 0, reason);
}

static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *arg)
{
    struct session *session = arg;
    struct http2_stream *stream;
    const char *reason = reason_of(error);

    (void)ng;
    stream = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id) : NULL;
    session->fault = reason; /* if it is the connection's, its GOAWAY will ask for it */
    if (stream)
        stream_blame(stream, session->side, reason);
    if (!stream && session->side == HTTP2_POD && frame->hd.type == NGHTTP2_HEADERS &&
        session->fields.open)
        tell_malformed(session, frame, reason);
    fields_done(&session->fields);
    /* each costs us a RST_STREAM, and may have cost upstream a request */
    session_spend(session, FLOOD_RESET);
    return 0;
}

/* nghttp2 has found a fault and ends the connection. */
static void fail_of(struct session *session, uint32_t code)
{
    const char *reason = session_reason(code);

    if (!reason)
        reason = session->fault ? session->fault : reason_of(NGHTTP2_ERR_PROTO);
    session_fail(session, code, reason);
}

static int on_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct session *session = arg;

    (void)ng;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
        flood_earn(&session->flood, FLOOD_WINDOW, FLOOD_EARN_DATA);
        flood_earn(&session->flood, FLOOD_PING, FLOOD_EARN_PING);
        flood_earn(&session->flood, FLOOD_EMPTY, FLOOD_EARN_ANSWER);
        break;
    default:
        break;
    }
    return 0;
}

/* A GOAWAY that is not ours says that nghttp2 has found a fault. Seen before it goes out: who gets
 * it may leave before anything else is looked at. */
static int before_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct session *session = arg;

    (void)ng;
    if (frame->hd.type == NGHTTP2_GOAWAY && !frames_goaway_sent(session) &&
        frame->goaway.error_code != NGHTTP2_NO_ERROR)
        fail_of(session, frame->goaway.error_code);
    return 0;
}

/* ---- set up ---- */

static nghttp2_session_callbacks *callbacks_new(void)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_bytes);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, before_sent);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, body_send);
    return callbacks;
}

static nghttp2_option *option_new(enum http2_side side)
{
    nghttp2_option *option;

    if (nghttp2_option_new(&option) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_auto_ping_ack(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX); /* ours: flood.h */
    nghttp2_option_set_max_send_header_block_length(option, BLOCK_SEND_MAX);
    if (side == HTTP2_POD) /* whatever kind of priorities the pod uses, our leg heeds */
        nghttp2_option_set_server_fallback_rfc7540_priorities(option, 1);
    return option;
}

static int session_new(struct session *session)
{
    nghttp2_session_callbacks *callbacks = callbacks_new();
    nghttp2_option *option = option_new(session->side);
    int result = NGHTTP2_ERR_NOMEM;

    if (callbacks && option && session->side == HTTP2_POD)
        result = nghttp2_session_server_new2(&session->ng, callbacks, session, option);
    else if (callbacks && option)
        result = nghttp2_session_client_new2(&session->ng, callbacks, session, option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return result == 0 ? 0 : -ENOMEM;
}

int session_init(struct session *session, struct http2 *http2, enum http2_side side)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP2_LIST_MAX},
    };

    session->http2 = http2;
    session->side = side;
    session->window = HTTP2_WINDOW;
    if (session_new(session) < 0)
        return -ENOMEM;
    if (side == HTTP2_UPSTREAM && nghttp2_submit_settings(session->ng, NGHTTP2_FLAG_NONE, settings,
                                                          ARRAY_SIZE(settings)) != 0)
        return -ENOMEM;
    return 0;
}

void session_fini(struct session *session)
{
    nghttp2_session_del(session->ng);
    session->ng = NULL;
    fields_fini(&session->fields);
}
