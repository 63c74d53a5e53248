/* frames: what concerns a connection, not one of its streams. Of SETTINGS, what one side may ask of
 * the other is told on; PING and GOAWAY go end to end; the rest is each leg's own. */
#include <string.h>

#include "base/cleanup.h"
#include "proxy/http2/own.h"

enum { FRAME_HEAD = 9, GOAWAY_DEBUG_MAX = 1024 };

/* ---- SETTINGS (RFC 9113 section 6.5) ---- */

static uint32_t smaller(size_t a, uint32_t b)
{
    return a < b ? (uint32_t)a : b;
}

/* What upstream allows, as far as we bear it: who would ask for more of upstream asks us. Extended
 * CONNECT (RFC 8441) and kinds of priorities (RFC 9218) are upstream's to offer; both belong into
 * the first SETTINGS, where some clients alone look for them, and which therefore wait for
 * upstream's. */
static void tell_pod(struct http2 *http2)
{
    nghttp2_session *upstream = session_of(http2, HTTP2_UPSTREAM)->ng;
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
         smaller(HTTP2_STREAMS_MAX, nghttp2_session_get_remote_settings(
                                        upstream, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
         smaller(HTTP2_LIST_MAX, nghttp2_session_get_remote_settings(
                                     upstream, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE))},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL,
         nghttp2_session_get_remote_settings(upstream, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL)},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES,
         nghttp2_session_get_remote_settings(upstream, NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES) ==
             1},
    };
    size_t len = ARRAY_SIZE(settings);

    if (http2->greeting && memcmp(&settings[0], http2->told, sizeof(http2->told)) == 0)
        return;
    memcpy(http2->told, settings, sizeof(http2->told));
    if (http2->greeting) /* may not change after the first (RFC 9218 section 2.1) */
        len--;
    else if (!settings[len - 1].value)
        len--;
    if (!settings[2].value) { /* "0" behind "1" would be an error (RFC 8441 section 3) */
        settings[2] = settings[len - 1];
        len--;
    }
    nghttp2_submit_settings(session_of(http2, HTTP2_POD)->ng, NGHTTP2_FLAG_NONE, settings, len);
    http2->greeting = true;
}

void frames_settings(struct session *from, const nghttp2_frame *frame)
{
    if (frame->hd.flags & NGHTTP2_FLAG_ACK)
        return;
    from->met = true;
    if (session_spend(from, FLOOD_SETTINGS) && from->side == HTTP2_UPSTREAM)
        tell_pod(from->http2);
}

void frames_greet(struct session *pod)
{
    static const uint8_t ack[FRAME_HEAD] = {0, 0, 0, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK};
    unsigned acks = 0;
    const uint8_t *data;
    ssize_t n;

    /* nghttp2 has them in one queue, in the order in which they came up, each a chunk of its own;
     * the preface must begin with SETTINGS that are no acknowledgement (section 3.4) */
    for (;;) {
        n = nghttp2_session_mem_send(pod->ng, &data);
        if (n != sizeof(ack) || memcmp(data, ack, sizeof(ack)) != 0)
            break;
        acks++;
    }
    if (n > 0) {
        memcpy(pod->out, data, (size_t)n);
        pod->out += n;
        pod->room -= (size_t)n;
    }
    for (; acks && pod->room >= sizeof(ack); acks--) {
        memcpy(pod->out, ack, sizeof(ack));
        pod->out += sizeof(ack);
        pod->room -= sizeof(ack);
    }
    pod->http2->greeted = true;
}

/* ---- PING (section 6.7) ---- */

/* From end to end: whoever asks wants to know whether the other end is there, and wants what is in
 * between to see that the connection is in use. */
void frames_ping(struct session *from, const nghttp2_frame *frame)
{
    struct session *to = session_of(from->http2, opposite(from->side));
    const uint8_t *payload = frame->ping.opaque_data;

    if (frame->hd.flags & NGHTTP2_FLAG_ACK) {
        if (!to->pings)
            return; /* to no question */
        to->pings--;
        nghttp2_submit_ping(to->ng, NGHTTP2_FLAG_ACK, payload);
        return;
    }
    if (!session_spend(from, FLOOD_PING))
        return;
    if (to->ended || to->broken) {
        nghttp2_submit_ping(from->ng, NGHTTP2_FLAG_ACK, payload);
        return;
    }
    if (from->pings == PINGS_MAX) {
        session_fail(from, NGHTTP2_ENHANCE_YOUR_CALM, flood_reason(FLOOD_PING));
        return;
    }
    from->pings++;
    nghttp2_submit_ping(to->ng, NGHTTP2_FLAG_NONE, payload);
}

/* ---- GOAWAY (section 6.8) ---- */

/* The last of the pod's streams that upstream may have looked at, when its own is `last`: numbers
 * on either leg rise together. Also after the notice of a GOAWAY to come (2^31-1): nghttp2 asks no
 * more of who has sent any. It may not rise again. */
static int32_t last_of_pod(struct http2 *http2, int32_t last)
{
    int32_t first_refused = 0;

    for (const struct http2_stream *stream = http2->streams; stream; stream = stream->next)
        if (stream->id[HTTP2_UPSTREAM] > last &&
            (!first_refused || stream->id[HTTP2_POD] < first_refused))
            first_refused = stream->id[HTTP2_POD];
    last = first_refused ? first_refused - 2 : http2->pod_last;
    if (last < 0)
        last = 0;
    if (http2->pod_left && http2->pod_left - 1 < last)
        last = http2->pod_left - 1;
    http2->pod_left = last + 1;
    return last;
}

static void submit_goaway(struct session *to, int32_t last, uint32_t code, struct span debug)
{
    size_t queued = nghttp2_session_get_outbound_queue_size(to->ng);

    /* of its debug data, what goes into one frame of the least size */
    nghttp2_submit_goaway(to->ng, NGHTTP2_FLAG_NONE, last, code, debug.data,
                          smaller(debug.len, GOAWAY_DEBUG_MAX));
    /* none is sent, and 0 returned, behind one of nghttp2's own */
    if (nghttp2_session_get_outbound_queue_size(to->ng) > queued)
        to->goaways++;
}

void frames_goaway(struct session *from, const nghttp2_frame *frame)
{
    struct http2 *http2 = from->http2;
    struct session *to = session_of(http2, opposite(from->side));
    const nghttp2_goaway *goaway = &frame->goaway;

    if (!session_spend(from, FLOOD_SETTINGS) || to->broken)
        return;
    if (from->side == HTTP2_UPSTREAM) {
        submit_goaway(to, last_of_pod(http2, goaway->last_stream_id), goaway->error_code,
                      span_of(goaway->opaque_data, goaway->opaque_data_len));
        return;
    }
    to->goaway_due = true;
    to->goaway_code = goaway->error_code;
}

void frames_retire(struct session *pod)
{
    struct http2 *http2 = pod->http2;
    int32_t last = nghttp2_session_get_last_proc_stream_id(pod->ng);

    if (http2->pod_left)
        return; /* it was told, by upstream or by us */
    if (!http2->retiring) {
        http2->retiring = true;
        if (nghttp2_submit_shutdown_notice(pod->ng) == 0)
            pod->goaways++;
        return;
    }
    http2->pod_left = last + 1;
    submit_goaway(pod, last, NGHTTP2_NO_ERROR, span_of(NULL, 0));
}

bool frames_goodbye(struct session *to)
{
    if (!to->goaway_due || nghttp2_session_get_outbound_queue_size(to->ng))
        return false;
    to->goaway_due = false;
    submit_goaway(to, 0, to->goaway_code, span_of(NULL, 0)); /* we take no pushed streams */
    return to->goaways;
}

bool frames_goaway_sent(struct session *to)
{
    if (!to->goaways)
        return false;
    to->goaways--;
    return true;
}

/* ---- priorities (RFC 7540 section 5.3, RFC 9113 section 5.3.2) ---- */

/* The pod's streams depend on each other by its numbers; one that is over or was never passed on
 * cannot be named to upstream. */
nghttp2_priority_spec frames_priority_spec(struct session *pod, const nghttp2_priority_spec *asked)
{
    const struct http2_stream *stream =
        asked->stream_id ? nghttp2_session_get_stream_user_data(pod->ng, asked->stream_id) : NULL;
    nghttp2_priority_spec spec;

    nghttp2_priority_spec_init(&spec, stream ? stream->id[HTTP2_UPSTREAM] : 0, asked->weight,
                               asked->exclusive);
    return spec;
}

void frames_priority(struct session *from, const nghttp2_frame *frame)
{
    const struct http2_stream *stream =
        nghttp2_session_get_stream_user_data(from->ng, frame->hd.stream_id);
    nghttp2_priority_spec spec;

    if (!session_spend(from, FLOOD_PRIORITY) || from->side == HTTP2_UPSTREAM || !stream ||
        !stream->open[HTTP2_UPSTREAM])
        return;
    spec = frames_priority_spec(from, &frame->priority.pri_spec);
    if (spec.stream_id != stream->id[HTTP2_UPSTREAM])
        nghttp2_submit_priority(session_of(from->http2, HTTP2_UPSTREAM)->ng, NGHTTP2_FLAG_NONE,
                                stream->id[HTTP2_UPSTREAM], &spec);
}
