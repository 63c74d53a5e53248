/* stream: one request and its answer, on their way from one leg to the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/http2/own.h"
#include "proxy/wire/grpc_call.h"

enum {
    RESET_FRAME = 13,
    HEADS_MAX = 4 * HTTP2_LIST_MAX, /* a stream's: those of request and answer, their trailers */
};

void *http2_stream_user(const struct http2_stream *stream)
{
    return stream->user;
}

void http2_stream_set_user(struct http2_stream *stream, void *user)
{
    stream->user = user;
}

/* ---- its life ---- */

/* Room for a head, kept until the stream is over: a few bytes of HPACK may make a large one, which
 * waits for the other side. Those of most streams are within half of what each takes anyway. */
bool stream_take_room(struct http2_stream *stream, const struct fields *fields)
{
    struct http2 *http2 = stream->http2;
    int64_t heads = stream->heads + (int64_t)fields->bytes;
    int64_t more = HTTP2_STREAM_BYTES / 2 + heads - stream->room;

    if (heads > HEADS_MAX || (more > 0 && !http2->hooks->room(http2->arg, more, true)))
        return false;
    stream->heads = heads;
    if (more > 0)
        stream->room += more;
    return true;
}

static struct http2_stream *stream_new(struct session *pod, int32_t id)
{
    struct http2 *http2 = pod->http2;
    struct http2_stream *stream;

    if (http2->open >= HTTP2_STREAMS_MAX ||
        !http2->hooks->room(http2->arg, HTTP2_STREAM_BYTES, true))
        return NULL;
    stream = malloc(sizeof(*stream)); /* calloc(3) takes none of those just freed */
    if (stream)
        *stream = (struct http2_stream){.http2 = http2, .room = HTTP2_STREAM_BYTES};
    if (!stream || !stream_take_room(stream, &pod->fields)) {
        http2->hooks->room(http2->arg, -HTTP2_STREAM_BYTES, true);
        free(stream);
        return NULL;
    }
    stream->id[HTTP2_POD] = id;
    stream->open[HTTP2_POD] = true;
    stream->half[HTTP2_POD].window = stream->half[HTTP2_UPSTREAM].window = HTTP2_WINDOW;
    stream->next = http2->streams;
    stream->link = &http2->streams;
    if (stream->next)
        stream->next->link = &stream->next;
    http2->streams = stream;
    http2->open++;
    return stream;
}

static void detach(struct http2_stream *stream, enum http2_side side)
{
    if (stream->open[side] && !stream_leg(stream, side)->broken)
        nghttp2_session_set_stream_user_data(stream_leg(stream, side)->ng, stream->id[side], NULL);
    stream->open[side] = false;
}

void stream_blame(struct http2_stream *stream, enum http2_side by, const char *reason)
{
    if (stream->fault)
        return;
    stream->fault = reason;
    stream->fault_by = by;
}

static void note_end(struct http2_stream *stream, enum http2_side by, uint32_t code)
{
    if (stream->over)
        return;
    stream->over = true;
    stream->end = (struct http2_end){
        .by = stream->fault ? stream->fault_by : by, .code = code, .reason = stream->fault};
}

void stream_free(struct http2_stream *stream)
{
    struct http2 *http2 = stream->http2;

    note_end(stream, HTTP2_UPSTREAM, NGHTTP2_NO_ERROR);
    stream->end.whole =
        stream->half[HTTP2_POD].ended && stream->half[HTTP2_UPSTREAM].ended && !stream->end.reason;
    http2->hooks->closed(http2->arg, stream, &stream->end);
    for (enum http2_side side = 0; side < HTTP2_SIDES; side++) {
        detach(stream, side);
        body_drop(stream, side);
        credit_forget(stream, side);
    }
    *stream->link = stream->next;
    if (stream->next)
        stream->next->link = stream->link;
    http2->open--;
    if (stream->reset_due)
        stream_leg(stream, stream->reset_to)->resets--;
    http2->hooks->room(http2->arg, -stream->room, true);
    free(stream);
}

/* ---- refusing ---- */

static uint32_t grpc_status(uint16_t code)
{
    switch (code) {
    case 431:
        return GRPC_STATUS_RESOURCE_EXHAUSTED;
    case 502:
        return GRPC_STATUS_UNAVAILABLE;
    default:
        return GRPC_STATUS_PERMISSION_DENIED;
    }
}

static nghttp2_nv nv_of(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

enum { WORDS_MAX = 400 };

/* As gRPC over HTTP/2 has Status-Message: with '%' for what is not plain, so that one itself is
 * not.
 */
static void encode(char out[3 * WORDS_MAX], const char *words)
{
    size_t len = 0;

    for (; *words && len < 3 * WORDS_MAX - 4; words++)
        if (*words == '%' || *words < ' ' || *words > '~')
            len += (size_t)sprintf(out + len, "%%%02X", (unsigned char)*words);
        else
            out[len++] = *words;
    out[len] = 0;
}

void stream_refuse(struct session *pod, int32_t id, bool grpc, uint16_t code, const char *reason)
{
    char status[8], result[8], words[WORDS_MAX], message[3 * WORDS_MAX];
    nghttp2_nv fields[4];
    size_t len = 0;

    snprintf(status, sizeof(status), "%u", grpc ? 200u : code);
    fields[len++] = nv_of(":status", status);
    if (grpc) { /* trailers only: gRPC over HTTP/2, "Responses" */
        snprintf(result, sizeof(result), "%u", grpc_status(code));
        snprintf(words, sizeof(words), "sallyport: %s", reason);
        encode(message, words);
        fields[len++] = nv_of("content-type", "application/grpc");
        fields[len++] = nv_of("grpc-status", result);
        fields[len++] = nv_of("grpc-message", message);
    }
    if (nghttp2_submit_response(pod->ng, id, fields, len, NULL) != 0)
        nghttp2_submit_rst_stream(pod->ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_INTERNAL_ERROR);
}

/* The same with the reason for a body. False: not so. */
static bool refuse_in_words(struct http2_stream *stream, struct session *pod,
                            const struct http2_refusal *refusal)
{
    const nghttp2_data_provider body = {.source.ptr = stream, .read_callback = body_read};
    char status[8], length[8], words[WORDS_MAX];
    int32_t id = stream->id[HTTP2_POD];
    nghttp2_nv fields[3];

    snprintf(words, sizeof(words), "sallyport: %s\n", refusal->reason);
    snprintf(status, sizeof(status), "%u", refusal->code);
    snprintf(length, sizeof(length), "%zu", strlen(words));
    fields[0] = nv_of(":status", status);
    fields[1] = nv_of("content-type", "text/plain");
    fields[2] = nv_of("content-length", length);
    return body_own(stream, span_of_text(words)) &&
           nghttp2_submit_response(pod->ng, id, fields, ARRAY_SIZE(fields), &body) == 0;
}

/* Nothing of it goes on; what is still to come of it is nobody's. */
static void refuse(struct http2_stream *stream, struct session *pod,
                   const struct http2_refusal *refusal)
{
    int32_t id = stream->id[HTTP2_POD];

    if (!stream->grpc && !stream->is_head && refuse_in_words(stream, pod, refusal)) {
        nghttp2_session_set_stream_user_data(pod->ng, id, stream);
        stream->half[HTTP2_POD].dropping = true;
        return;
    }
    stream_refuse(pod, id, stream->grpc, refusal->code, refusal->reason);
    stream_free(stream);
}

void stream_stop(struct http2_stream *stream, enum http2_side from,
                 const struct http2_refusal *refusal)
{
    struct session *pod = stream_leg(stream, HTTP2_POD);
    struct session *upstream = stream_leg(stream, HTTP2_UPSTREAM);

    note_end(stream, from, NGHTTP2_CANCEL);
    if (stream->reset_due)
        stream_leg(stream, stream->reset_to)->resets--;
    stream->reset_due = false;
    if (stream->open[HTTP2_UPSTREAM])
        nghttp2_submit_rst_stream(upstream->ng, NGHTTP2_FLAG_NONE, stream->id[HTTP2_UPSTREAM],
                                  NGHTTP2_CANCEL);
    detach(stream, HTTP2_UPSTREAM);
    body_drop(stream, HTTP2_POD);
    if (refusal->code && stream->open[HTTP2_POD] && !stream->half[HTTP2_UPSTREAM].begun) {
        refuse(stream, pod, refusal);
        return;
    }
    if (stream->open[HTTP2_POD])
        nghttp2_submit_rst_stream(pod->ng, NGHTTP2_FLAG_NONE, stream->id[HTTP2_POD],
                                  NGHTTP2_INTERNAL_ERROR);
    stream_free(stream);
}

/* ---- heads ---- */

static bool is_grpc(const struct http2_head *head)
{
    struct span type = facts_find_field(head->fields, head->fields_len, "content-type");

    return type.data && grpc_kind_of(type) == GRPC_PLAIN;
}

/* Upstream's turn: the request as it came, with upstream's number and the pod's priorities. */
static int forward(struct http2_stream *stream, struct session *pod, const nghttp2_frame *frame,
                   bool end)
{
    struct http2 *http2 = stream->http2;
    nghttp2_nv fields[HTTP2_FIELDS_MAX];
    size_t len = fields_nv(&pod->fields, fields);
    nghttp2_priority_spec priority = frames_priority_spec(pod, &frame->headers.pri_spec);
    const nghttp2_data_provider body = {.source.ptr = stream, .read_callback = body_read};
    struct session *upstream = stream_leg(stream, HTTP2_UPSTREAM);
    int32_t id = nghttp2_submit_request(upstream->ng,
                                        frame->hd.flags & NGHTTP2_FLAG_PRIORITY ? &priority : NULL,
                                        fields, len, end ? NULL : &body, stream);

    if (id < 0)
        return id;
    flood_earn(&upstream->flood, FLOOD_RESET, FLOOD_EARN_STREAM);
    stream->id[HTTP2_UPSTREAM] = id;
    stream->open[HTTP2_UPSTREAM] = true;
    stream->half[HTTP2_POD].begun = true;
    stream->half[HTTP2_POD].ended = stream->half[HTTP2_POD].sent = end;
    http2->pod_last = stream->id[HTTP2_POD];
    return 0;
}

static void reset_pod(struct session *pod, int32_t id)
{
    nghttp2_submit_rst_stream(pod->ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
}

/* The pod has said GOAWAY while nothing was open, or upstream has: that leg is over, or its bytes
 * were dropped, without which nothing makes sense that comes later. */
static bool is_left(struct session *upstream)
{
    upstream->deaf = upstream->deaf || (!nghttp2_session_want_read(upstream->ng) &&
                                        !nghttp2_session_want_write(upstream->ng));
    return upstream->deaf;
}

void stream_request(struct session *pod, const nghttp2_frame *frame)
{
    struct http2 *http2 = pod->http2;
    struct http2_refusal refusal = {0};
    struct http2_stream *stream;
    struct facts_field regular[HTTP2_FIELDS_MAX];
    struct http2_head head;
    int32_t id = frame->hd.stream_id;

    flood_earn(&pod->flood, FLOOD_WINDOW, FLOOD_EARN_STREAM);
    flood_earn(&pod->flood, FLOOD_PRIORITY, FLOOD_EARN_STREAM);
    fields_head(&pod->fields, regular, &head);
    head.end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (pod->fields.status != FIELDS_FINE) {
        static const char reason[] = "a header list past the limit";

        stream_refuse(pod, id, is_grpc(&head), 431, reason);
        http2->hooks->malformed(http2->arg, id, &head, 431, reason);
        session_spend(pod, FLOOD_RESET); /* each is told at length */
        return;
    }
    stream = is_left(session_of(http2, HTTP2_UPSTREAM)) ? NULL : stream_new(pod, id);
    if (!stream) {
        reset_pod(pod, id);
        return;
    }
    stream->grpc = is_grpc(&head);
    stream->is_head = span_equal(head.method, BYTES("HEAD"));
    if (!http2->hooks->request(http2->arg, stream, id, &head, &refusal)) {
        stream_free(stream);
        reset_pod(pod, id);
        return;
    }
    if (refusal.code) {
        stream->half[HTTP2_POD].ended = head.end;
        refuse(stream, pod, &refusal);
        return;
    }
    nghttp2_session_set_stream_user_data(pod->ng, id, stream);
    if (forward(stream, pod, frame, head.end) < 0) {
        stream_free(stream);
        reset_pod(pod, id);
    }
}

/* What upstream said cannot go on, and the pod has nothing of it yet: it is answered in its place.
 */
static void blame_upstream(struct http2_stream *stream)
{
    struct session *pod = stream_leg(stream, HTTP2_POD);

    stream_refuse(pod, stream->id[HTTP2_POD], stream->grpc, 502, stream->fault);
    body_drop(stream, HTTP2_POD);
    detach(stream, HTTP2_POD);
}

static bool is_interim(uint16_t code)
{
    return code / 100 == 1;
}

void stream_answer(struct session *upstream, const nghttp2_frame *frame)
{
    struct http2_stream *stream =
        nghttp2_session_get_stream_user_data(upstream->ng, frame->hd.stream_id);
    struct http2 *http2 = upstream->http2;
    struct half *half = &stream->half[HTTP2_UPSTREAM];
    struct session *pod = session_of(http2, HTTP2_POD);
    const nghttp2_data_provider body = {.source.ptr = stream, .read_callback = body_read};
    nghttp2_nv fields[HTTP2_FIELDS_MAX];
    struct facts_field regular[HTTP2_FIELDS_MAX];
    struct http2_head head;
    size_t len;
    int result;

    fields_head(&upstream->fields, regular, &head);
    head.end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (upstream->fields.status != FIELDS_FINE || !stream_take_room(stream, &upstream->fields)) {
        stream_blame(stream, HTTP2_UPSTREAM,
                     upstream->fields.status != FIELDS_FINE ? "a header list past the limit"
                                                            : "no memory for its heads");
        nghttp2_submit_rst_stream(upstream->ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_CANCEL);
        return;
    }
    if (!stream->open[HTTP2_POD])
        return;
    len = fields_nv(&upstream->fields, fields);
    if (is_interim(head.code)) {
        nghttp2_submit_headers(pod->ng, NGHTTP2_FLAG_NONE, stream->id[HTTP2_POD], NULL, fields, len,
                               NULL);
        return;
    }
    http2->hooks->answer(http2->arg, stream, &head);
    half->begun = true;
    half->ended = half->sent = head.end;
    result = nghttp2_submit_response(pod->ng, stream->id[HTTP2_POD], fields, len,
                                     head.end ? NULL : &body);
    if (result != 0)
        nghttp2_submit_rst_stream(pod->ng, NGHTTP2_FLAG_NONE, stream->id[HTTP2_POD],
                                  NGHTTP2_INTERNAL_ERROR);
}

/* ---- ends ---- */

/* The other side is to know, when it has all that came before. Not sooner: of a stream for which it
 * has a RST_STREAM, nghttp2 sends nothing more, not even what was submitted earlier, and does not
 * heed what still comes. But a request that has not gone on need not go at all. */
static void pass_reset(struct http2_stream *stream, enum http2_side by, uint32_t code)
{
    enum http2_side to = opposite(by);
    struct session *session = stream_leg(stream, to);

    if (stream->fault && by == HTTP2_UPSTREAM) {
        if (!stream->half[by].begun) {
            blame_upstream(stream);
            return;
        }
        code = NGHTTP2_PROTOCOL_ERROR;
    }
    if ((stream->fault && by == HTTP2_POD) ||
        !nghttp2_session_find_stream(session->ng, stream->id[to])) {
        nghttp2_submit_rst_stream(session->ng, NGHTTP2_FLAG_NONE, stream->id[to],
                                  stream->fault ? NGHTTP2_CANCEL : code);
        return;
    }
    stream->reset_due = true;
    stream->reset_to = to;
    stream->reset_code = code;
    session->resets++;
}

/* nghttp2 has nothing more to send, so what still waits is kept back by shut windows: between the
 * two themselves it would not have gone before the reset. Unless the message was whole: who said
 * all of it and resets the stream wants the rest of the other one's no more. */
static bool reset_is_next(struct http2_stream *stream, const struct session *to)
{
    const struct half *half = &stream->half[opposite(to->side)];

    if (!stream->reset_due || stream->reset_to != to->side || (half->ended && !half->sent))
        return false;
    if (half->queued && to->room >= ROOM_MIN)
        body_drop(stream, opposite(to->side));
    return !half->queued;
}

bool stream_resets(struct session *to)
{
    size_t room = to->room;
    bool any = false;

    if (!to->resets)
        return false;
    for (struct http2_stream *stream = to->http2->streams; stream; stream = stream->next) {
        if (!reset_is_next(stream, to))
            continue;
        if (room < RESET_FRAME)
            break;
        room -= RESET_FRAME;
        stream->reset_due = false;
        to->resets--;
        /* whoever said all and then reset (section 8.1): only who has not said all need know */
        if (stream->half[opposite(to->side)].ended && stream->half[to->side].ended)
            continue;
        nghttp2_submit_rst_stream(to->ng, NGHTTP2_FLAG_NONE, stream->id[to->side],
                                  stream->reset_code);
        any = true;
    }
    return any;
}

/* Nobody reset it and nobody was told of a frame: nghttp2 has found DATA that makes no message, or
 * windows that are none. */
static void note_found(struct http2_stream *stream, enum http2_side by, uint32_t code)
{
    const char *reason =
        code == NGHTTP2_PROTOCOL_ERROR ? "a malformed message" : session_reason(code);

    if (!reason)
        return;
    stream_blame(stream, by, reason);
    session_spend(stream_leg(stream, by), FLOOD_RESET);
}

void stream_closed(struct http2_stream *stream, enum http2_side side, uint32_t code)
{
    enum http2_side other = opposite(side);
    bool whole = stream->half[side].ended && stream->half[other].sent && code == NGHTTP2_NO_ERROR;

    if (!stream->was_reset && !stream->over && !stream->fault)
        note_found(stream, side, code);
    stream->open[side] = false;
    body_drop(stream, other);
    if (!whole) {
        note_end(stream, side, code);
        if (stream->open[other] && !stream_leg(stream, other)->broken)
            pass_reset(stream, side, code);
    }
    if (!stream->open[other])
        stream_free(stream);
}
