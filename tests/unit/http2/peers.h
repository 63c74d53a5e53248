/* peers: a client and a server, nghttp2's own, with the relay between them; what each heard is
 * counted. Nothing moves until pump(), or its steps, are called. Of a stream the numbers on both
 * legs are the same as long as none was refused. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <nghttp2/nghttp2.h>

#include "base/cleanup.h"
#include "proxy/http2/http2.h"

enum { HEARD_MAX = 128, PIECE = 16 << 10 };

/* Of one stream, by one peer. */
struct heard {
    unsigned code, interim;
    char grpc_status[4];
    size_t bytes, to_send;
    bool asked, end, trailers, closed;
    bool ends, ends_with_trailers, stalled;
    size_t untaken;
    uint32_t closed_code;
};

struct peers;

struct peer {
    struct peers *peers;
    enum http2_side side;
    nghttp2_session *ng;
    struct heard heard[HEARD_MAX];
    unsigned pings, pongs, goaways, first_frame;
    int32_t last;
    uint32_t goaway_code;
    bool started;
};

struct peers {
    struct http2 *http2;
    struct peer peer[HTTP2_SIDES];
    uint64_t now_ns;
    uint64_t tick_ns; /* how long each of pump()'s rounds takes */
    int64_t room, room_max;
    unsigned requests, answers, closed, malformed, malformed_code;
    size_t told[HTTP2_SIDES];    /* bytes */
    char reason[64];             /* of the latest that was malformed */
    size_t stop_at[HTTP2_SIDES]; /* what comes of bodies from there on does not go on */
    bool stop_end[HTTP2_SIDES];
    uint16_t stop_code;
    struct http2_end end; /* of the latest that closed */
};

/* ---- hooks ---- */

static inline bool hook_room(void *arg, int64_t bytes, bool needed)
{
    struct peers *peers = arg;

    (void)needed;
    if (bytes > 0 && peers->room_max && peers->room + bytes > peers->room_max)
        return false;
    peers->room += bytes;
    assert_true(peers->room >= 0);
    return true;
}

static inline bool hook_request(void *arg, struct http2_stream *stream, int32_t id,
                                const struct http2_head *head, struct http2_refusal *refusal)
{
    struct peers *peers = arg;

    (void)stream, (void)id;
    peers->requests++;
    if (span_equal(head->path, BYTES("/denied")))
        *refusal = (struct http2_refusal){403, "denied by policy"};
    return !span_equal(head->path, BYTES("/no-memory"));
}

static inline void hook_answer(void *arg, struct http2_stream *stream,
                               const struct http2_head *head)
{
    (void)stream, (void)head;
    ((struct peers *)arg)->answers++;
}

static inline bool hook_body(void *arg, struct http2_stream *stream, enum http2_side from,
                             struct span bytes, struct http2_refusal *refusal)
{
    struct peers *peers = arg;

    (void)stream;
    peers->told[from] += bytes.len;
    *refusal = (struct http2_refusal){peers->stop_code, "something in it"};
    return !peers->stop_at[from] || peers->told[from] < peers->stop_at[from];
}

static inline bool hook_ended(void *arg, struct http2_stream *stream, enum http2_side from,
                              struct http2_refusal *refusal)
{
    const struct peers *peers = arg;

    (void)stream;
    *refusal = (struct http2_refusal){peers->stop_code, "something in it"};
    return !peers->stop_end[from];
}

static inline bool hook_trailers(void *arg, struct http2_stream *stream, enum http2_side from,
                                 const struct http2_head *head, struct http2_refusal *refusal)
{
    (void)arg, (void)stream, (void)from, (void)refusal;
    assert_true(head->fields_len > 0);
    return true;
}

static inline void hook_closed(void *arg, struct http2_stream *stream, const struct http2_end *end)
{
    struct peers *peers = arg;

    (void)stream;
    peers->closed++;
    peers->end = *end;
}

static inline void hook_malformed(void *arg, int32_t id, const struct http2_head *head,
                                  uint16_t code, const char *reason)
{
    struct peers *peers = arg;

    (void)id, (void)head;
    peers->malformed++;
    peers->malformed_code = code;
    snprintf(peers->reason, sizeof(peers->reason), "%s", reason);
}

static const struct http2_hooks peers_hooks = {hook_room,   hook_request,  hook_answer,
                                               hook_body,   hook_ended,    hook_trailers,
                                               hook_closed, hook_malformed};

/* ---- what a peer hears ---- */

static inline struct heard *heard_of(struct peer *peer, int32_t id)
{
    assert_in_range(id, 1, 2 * HEARD_MAX - 1);
    return &peer->heard[id / 2];
}

static inline int heard_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                               size_t name_len, const uint8_t *value, size_t value_len,
                               uint8_t flags, void *arg)
{
    struct heard *heard = heard_of(arg, frame->hd.stream_id);

    (void)ng, (void)flags, (void)name_len, (void)value_len;
    if (strcmp((const char *)name, ":status") == 0) {
        heard->code = (unsigned)atoi((const char *)value);
        heard->interim += heard->code < 200;
    }
    if (strcmp((const char *)name, "grpc-status") == 0)
        snprintf(heard->grpc_status, sizeof(heard->grpc_status), "%s", value);
    return 0;
}

static inline int heard_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct peer *peer = arg;
    uint8_t flags = frame->hd.flags;

    (void)ng;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        heard_of(peer, frame->hd.stream_id)->asked = true;
        if (frame->headers.cat == NGHTTP2_HCAT_HEADERS && flags & NGHTTP2_FLAG_END_STREAM)
            heard_of(peer, frame->hd.stream_id)->trailers = true;
        heard_of(peer, frame->hd.stream_id)->end = flags & NGHTTP2_FLAG_END_STREAM;
        break;
    case NGHTTP2_DATA:
        heard_of(peer, frame->hd.stream_id)->end = flags & NGHTTP2_FLAG_END_STREAM;
        break;
    case NGHTTP2_PING:
        peer->pings += !(flags & NGHTTP2_FLAG_ACK);
        peer->pongs += flags & NGHTTP2_FLAG_ACK;
        break;
    case NGHTTP2_GOAWAY:
        peer->goaways++;
        peer->last = frame->goaway.last_stream_id;
        peer->goaway_code = frame->goaway.error_code;
        break;
    default:
        break;
    }
    return 0;
}

static inline int heard_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data,
                             size_t len, void *arg)
{
    struct heard *heard = heard_of(arg, id);

    (void)flags, (void)data;
    heard->bytes += len;
    nghttp2_session_consume_connection(ng, len);
    if (heard->stalled)
        heard->untaken += len;
    else
        nghttp2_session_consume_stream(ng, id, len);
    return 0;
}

static inline int heard_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
    struct heard *heard = heard_of(arg, id);

    (void)ng;
    heard->closed = true;
    heard->closed_code = code;
    return 0;
}

static inline int heard_invalid(nghttp2_session *ng, const nghttp2_frame *frame, int error,
                                void *arg)
{
    (void)ng, (void)frame, (void)error, (void)arg;
    fail_msg("a frame that makes no sense");
    return 0;
}

static inline ssize_t say(nghttp2_session *ng, int32_t id, uint8_t *out, size_t len,
                          uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    static const nghttp2_nv trailer = {(uint8_t *)"grpc-status", (uint8_t *)"0", 11, 1, 0};
    struct heard *heard = heard_of(arg, id);

    (void)source;
    if (len > heard->to_send)
        len = heard->to_send;
    if (!len && !heard->ends)
        return NGHTTP2_ERR_DEFERRED;
    memset(out, 'x', len);
    heard->to_send -= len;
    if (heard->ends && !heard->to_send)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (*flags & NGHTTP2_DATA_FLAG_EOF && heard->ends_with_trailers) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        assert_int_equal(nghttp2_submit_trailer(ng, id, &trailer, 1), 0);
    }
    return (ssize_t)len;
}

/* ---- what it says ---- */

#define NV(name, value)                                                                            \
    {                                                                                              \
        (uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value), 0                      \
    }

static inline int32_t ask(struct peers *peers, const char *path, bool grpc, bool body)
{
    const nghttp2_nv fields[] = {NV(":method", body ? "POST" : "GET"), NV(":scheme", "https"),
                                 NV(":authority", "a.example"), NV(":path", path),
                                 NV("content-type", "application/grpc")};
    const nghttp2_data_provider provider = {.read_callback = say};

    return nghttp2_submit_request(peers->peer[HTTP2_POD].ng, NULL, fields, grpc ? 5 : 4,
                                  body ? &provider : NULL, NULL);
}

static inline void answer(struct peers *peers, int32_t id, const char *code, bool body)
{
    const nghttp2_nv fields[] = {NV(":status", code)};
    const nghttp2_data_provider provider = {.read_callback = say};
    nghttp2_session *ng = peers->peer[HTTP2_UPSTREAM].ng;

    if (code[0] == '1')
        assert_int_equal(nghttp2_submit_headers(ng, 0, id, NULL, fields, 1, NULL), 0);
    else
        assert_int_equal(nghttp2_submit_response(ng, id, fields, 1, body ? &provider : NULL), 0);
}

static inline void more(struct peers *peers, enum http2_side side, int32_t id, size_t bytes)
{
    heard_of(&peers->peer[side], id)->to_send += bytes;
    nghttp2_session_resume_data(peers->peer[side].ng, id);
}

static inline void end(struct peers *peers, enum http2_side side, int32_t id, bool trailers)
{
    heard_of(&peers->peer[side], id)->ends = true;
    heard_of(&peers->peer[side], id)->ends_with_trailers = trailers;
    nghttp2_session_resume_data(peers->peer[side].ng, id);
}

static inline void reset(struct peers *peers, enum http2_side side, int32_t id, uint32_t code)
{
    nghttp2_submit_rst_stream(peers->peer[side].ng, NGHTTP2_FLAG_NONE, id, code);
}

/* ---- how it gets there ---- */

/* What a side says goes into the relay; all of it. */
static inline size_t feed(struct peers *peers, enum http2_side from)
{
    size_t total = 0;
    const uint8_t *data;
    ssize_t n;

    while ((n = nghttp2_session_mem_send(peers->peer[from].ng, &data)) > 0) {
        http2_feed(peers->http2, from, span_of(data, (size_t)n), peers->now_ns);
        total += (size_t)n;
    }
    assert_int_equal(n, 0);
    return total;
}

/* What the relay has for a side gets there; without http2_written(). */
static inline size_t pull(struct peers *peers, enum http2_side to)
{
    struct peer *peer = &peers->peer[to];
    uint8_t out[PIECE];
    size_t n = http2_pull(peers->http2, to, out, sizeof(out));

    if (!n)
        return 0;
    if (to == HTTP2_POD && !peer->started)
        peer->first_frame = out[3];
    peer->started = true;
    assert_int_equal(nghttp2_session_mem_recv(peer->ng, out, n), n);
    return n;
}

static inline void pump(struct peers *peers)
{
    size_t moved = 1;

    while (moved) {
        moved = 0;
        peers->now_ns += peers->tick_ns;
        for (enum http2_side side = 0; side < HTTP2_SIDES; side++) {
            moved += feed(peers, side);
            moved += pull(peers, side);
            http2_written(peers->http2, side);
        }
    }
}

/* Bytes that are no peer's. */
static inline void feed_raw(struct peers *peers, enum http2_side from, const void *data, size_t len)
{
    http2_feed(peers->http2, from, span_of(data, len), peers->now_ns);
}

static inline void peer_begin(struct peers *peers, enum http2_side side)
{
    struct peer *peer = &peers->peer[side];
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;

    peer->peers = peers;
    peer->side = side;
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    assert_int_equal(nghttp2_option_new(&option), 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_send_header_block_length(option, 1 << 20);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, heard_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, heard_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, heard_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, heard_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, heard_invalid);
    if (side == HTTP2_POD)
        assert_int_equal(nghttp2_session_client_new2(&peer->ng, callbacks, peer, option), 0);
    else
        assert_int_equal(nghttp2_session_server_new2(&peer->ng, callbacks, peer, option), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
}

/* With their SETTINGS exchanged, but for those that a test has the server say. */
static inline struct peers *peers_new(const nghttp2_settings_entry *settings, size_t len)
{
    struct peers *peers = calloc(1, sizeof(*peers));

    assert_non_null(peers);
    peers->now_ns = 1ull << 40;
    assert_int_equal(http2_new(&peers->http2, &peers_hooks, peers), 0);
    for (enum http2_side side = 0; side < HTTP2_SIDES; side++)
        peer_begin(peers, side);
    nghttp2_submit_settings(peers->peer[HTTP2_POD].ng, NGHTTP2_FLAG_NONE, NULL, 0);
    nghttp2_submit_settings(peers->peer[HTTP2_UPSTREAM].ng, NGHTTP2_FLAG_NONE, settings, len);
    pump(peers);
    return peers;
}

static inline void peers_free(struct peers *peers)
{
    http2_free(&peers->http2);
    assert_int_equal(peers->room, 0);
    assert_int_equal(peers->closed, peers->requests);
    for (enum http2_side side = 0; side < HTTP2_SIDES; side++)
        nghttp2_session_del(peers->peer[side].ng);
    free(peers);
}

static inline struct heard *pod_heard(struct peers *peers, int32_t id)
{
    return heard_of(&peers->peer[HTTP2_POD], id);
}

static inline struct heard *upstream_heard(struct peers *peers, int32_t id)
{
    return heard_of(&peers->peer[HTTP2_UPSTREAM], id);
}
