/* http2_peers: the client and the server of http2_relay_fuzz: nghttp2's own sessions, which hold
 * what comes against the model, and say of it what a test wants said. Between them is the relay;
 * bytes go from one to the other only as the test moves them. */
#pragma once

#include "tests/fuzz/http2_model.h"

struct pipe {
    uint8_t *data;
    size_t start, len, size;
};

struct site;

struct peer {
    struct site *site;
    enum http2_side side;
    nghttp2_session *ng;
    struct pipe out, in; /* to the relay, and from it */
    struct block block;  /* what is being received */
    struct {
        uint8_t head[9];
        size_t head_len, left; /* of the frame that is being pulled for it */
    } frame;
    uint64_t waited; /* the most that it sent and the other side was not written yet */
    bool unwritten, shut, ended;
};

struct site {
    struct http2 *http2;
    struct peer peers[HTTP2_SIDES];
    struct exchange exchanges[EXCHANGES_MAX];
    unsigned len, accepted;
    uint64_t now_ns;
    int64_t room;
    unsigned room_fails; /* so many times more */
    bool refusing;       /* something happened after which streams may be refused */
    bool ending;         /* a side has left, in the middle of everything */
    bool left;           /* a side has left behind a GOAWAY, with all done that it took on */
    bool narrow;         /* windows may have been shut */
    int32_t last;        /* of the server's GOAWAY */
};

/* ---- bytes ---- */

static inline void pipe_add(struct pipe *pipe, const uint8_t *data, size_t len)
{
    if (pipe->start) {
        pipe->len -= pipe->start;
        memmove(pipe->data, pipe->data + pipe->start, pipe->len);
        pipe->start = 0;
    }
    if (pipe->len + len > pipe->size) {
        pipe->size = 2 * (pipe->len + len);
        pipe->data = realloc(pipe->data, pipe->size);
        CHECK(pipe->data);
    }
    if (len)
        memcpy(pipe->data + pipe->len, data, len);
    pipe->len += len;
}

/* A copy of its own, so that who reads past its end is seen. */
static inline uint8_t *pipe_take(struct pipe *pipe, size_t *len)
{
    uint8_t *piece;

    if (*len > pipe->len - pipe->start)
        *len = pipe->len - pipe->start;
    piece = malloc(*len ? *len : 1);
    CHECK(piece);
    if (*len)
        memcpy(piece, pipe->data + pipe->start, *len);
    pipe->start += *len;
    return piece;
}

/* ---- what a peer is told ---- */

static inline struct exchange *exchange_of(struct peer *peer, int32_t id)
{
    return nghttp2_session_get_stream_user_data(peer->ng, id);
}

static inline struct exchange *exchange_by_id(struct peer *peer, int32_t id)
{
    for (unsigned i = 0; i < peer->site->len; i++)
        if (peer->site->exchanges[i].id[peer->side] == id)
            return &peer->site->exchanges[i];
    return NULL;
}

static inline enum http2_side other(enum http2_side side)
{
    return side == HTTP2_POD ? HTTP2_UPSTREAM : HTTP2_POD;
}

static inline int peer_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct peer *peer = arg;

    (void)ng, (void)frame;
    peer->block.len = peer->block.used = 0;
    return 0;
}

static inline int peer_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                              size_t name_len, const uint8_t *value, size_t value_len,
                              uint8_t flags, void *arg)
{
    struct peer *peer = arg;

    (void)ng, (void)frame;
    block_add(&peer->block, (const char *)name, (const char *)value); /* NUL follows them */
    CHECK(peer->block.nv[peer->block.len - 1].namelen == name_len);
    CHECK(peer->block.nv[peer->block.len - 1].valuelen == value_len);
    peer->block.nv[peer->block.len - 1].flags = flags;
    return 0;
}

static inline void check_block(const struct block *got, const struct block *want)
{
    CHECK(got->len == want->len);
    for (size_t i = 0; i < got->len; i++) {
        const nghttp2_nv *a = &got->nv[i], *b = &want->nv[i];

        CHECK(a->namelen == b->namelen && !memcmp(a->name, b->name, a->namelen));
        CHECK(a->valuelen == b->valuelen && !memcmp(a->value, b->value, a->valuelen));
        CHECK(!(b->flags & ~a->flags & NGHTTP2_NV_FLAG_NO_INDEX)); /* never to be indexed */
    }
}

static inline struct exchange *exchange_by_number(struct site *site, const struct block *block)
{
    for (size_t i = 0; i < block->len; i++)
        if (block->nv[i].namelen == 3 && !memcmp(block->nv[i].name, "x-n", 3)) {
            unsigned number = 0;

            CHECK(sscanf((const char *)block->nv[i].value, "%2u", &number) == 1);
            CHECK(number < site->len);
            return &site->exchanges[number];
        }
    CHECK(!"a request without its number");
    return NULL;
}

static inline void got_head(struct peer *peer, const nghttp2_frame *frame)
{
    static struct block want;
    struct exchange *exchange = exchange_of(peer, frame->hd.stream_id);
    struct message *message;

    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        exchange = exchange_by_number(peer->site, &peer->block);
        CHECK(exchange->id[peer->side] == frame->hd.stream_id && exchange->told);
        CHECK(!exchange->refused && !exchange->no_memory);
        nghttp2_session_set_stream_user_data(peer->ng, frame->hd.stream_id, exchange);
    }
    CHECK(exchange);
    message = &exchange->by[other(peer->side)];
    CHECK(message->heads_got < message->heads_sent && !message->end_got);
    make_head(exchange, other(peer->side), message->heads_got, &want);
    check_block(&peer->block, &want);
    if (message->heads[message->heads_got].kind == KIND_TRAILERS)
        CHECK(message->got == message->sent);
    message->heads_got++;
    message->end_got = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
}

static inline int peer_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct peer *peer = arg;
    struct exchange *exchange;

    (void)ng;
    if (frame->hd.type == NGHTTP2_HEADERS)
        got_head(peer, frame);
    if (frame->hd.type == NGHTTP2_GOAWAY)
        CHECK(frame->goaway.error_code == NGHTTP2_NO_ERROR);
    CHECK(frame->hd.type != NGHTTP2_PUSH_PROMISE);
    if (frame->hd.type != NGHTTP2_DATA || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    exchange = exchange_of(peer, frame->hd.stream_id);
    if (exchange)
        exchange->by[other(peer->side)].end_got = true;
    return 0;
}

/* What is answered in upstream's place has words, too. */
static inline void got_words(struct peer *peer, struct exchange *exchange, struct span bytes)
{
    struct span words = span_of_text(REFUSAL_WORDS);

    CHECK(peer->side == HTTP2_POD && !(exchange->shape & (SHAPE_GRPC | SHAPE_HEAD)));
    CHECK(bytes.len <= words.len - exchange->words);
    CHECK(!memcmp(bytes.data, words.data + exchange->words, bytes.len));
    exchange->words += bytes.len;
}

static inline int peer_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data,
                            size_t len, void *arg)
{
    struct peer *peer = arg;
    struct exchange *exchange = exchange_of(peer, id);
    struct message *message;

    (void)flags;
    CHECK(exchange);
    if (exchange->refused) {
        got_words(peer, exchange, span_of(data, len));
        return nghttp2_session_consume(ng, id, len);
    }
    message = &exchange->by[other(peer->side)];
    CHECK(message->got + len <= message->sent && !message->end_got);
    check_bytes(exchange, other(peer->side), message->got, span_of(data, len));
    message->got += len;
    nghttp2_session_consume_connection(ng, len);
    if (message->stalled)
        message->untaken += len;
    else
        nghttp2_session_consume_stream(ng, id, len);
    return 0;
}

static inline int peer_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
    struct peer *peer = arg;
    struct exchange *exchange = exchange_of(peer, id);

    (void)ng;
    if (exchange) {
        CHECK(!exchange->by[peer->side].closed);
        exchange->by[peer->side].closed = true;
        exchange->by[peer->side].closed_code = code;
    }
    return 0;
}

static inline int peer_invalid(nghttp2_session *ng, const nghttp2_frame *frame, int error,
                               void *arg)
{
    (void)ng, (void)arg, (void)frame;
    /* more streams than it has just begun to allow */
    CHECK(error == NGHTTP2_ERR_REFUSED_STREAM);
    return 0;
}

/* The most that ever waited: the relay may have looked when it did. */
static inline void note_waiting(struct peer *peer)
{
    uint64_t waits = 0;

    for (unsigned i = 0; i < peer->site->len; i++) {
        const struct message *message = &peer->site->exchanges[i].by[peer->side];

        waits += message->sent - message->written;
    }
    if (peer->waited < waits)
        peer->waited = waits;
}

static inline int peer_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct peer *peer = arg;
    struct exchange *exchange = exchange_by_id(peer, frame->hd.stream_id);
    struct message *message;

    (void)ng;
    if (frame->hd.type == NGHTTP2_GOAWAY) /* or it found a fault */
        CHECK(frame->goaway.error_code == NGHTTP2_NO_ERROR);
    if (!exchange || !frame->hd.stream_id)
        return 0;
    message = &exchange->by[peer->side];
    if (frame->hd.type == NGHTTP2_HEADERS)
        message->heads_sent++;
    if (frame->hd.type == NGHTTP2_DATA) {
        message->sent += frame->hd.length;
        note_waiting(peer);
    }
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        message->reset = true;
        message->code = frame->rst_stream.error_code;
    }
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        message->end_sent = true;
    return 0;
}

/* ---- what it says ---- */

static inline ssize_t peer_read(nghttp2_session *ng, int32_t id, uint8_t *out, size_t len,
                                uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct peer *peer = arg;
    struct exchange *exchange = source->ptr;
    struct message *message = &exchange->by[peer->side];
    static struct block block;

    if (len > message->target - message->sent)
        len = message->target - message->sent;
    for (size_t i = 0; i < len; i++)
        out[i] = pattern(exchange, peer->side, message->sent + i);
    if (!len && !message->ends)
        return NGHTTP2_ERR_DEFERRED;
    if (!message->ends || message->sent + len < message->target)
        return (ssize_t)len;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (message->trailers) {
        unsigned at = plan_head(message, KIND_TRAILERS, exchange->number);

        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        make_head(exchange, peer->side, at, &block);
        CHECK(nghttp2_submit_trailer(ng, id, block.nv, block.len) == 0);
    }
    return (ssize_t)len;
}

static inline void peer_init(struct peer *peer, struct site *site, enum http2_side side)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;

    peer->site = site;
    peer->side = side;
    peer->frame.left = side == HTTP2_UPSTREAM ? NGHTTP2_CLIENT_MAGIC_LEN : 0;
    CHECK(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, peer_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, peer_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, peer_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, peer_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, peer_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, peer_invalid);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, peer_sent);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_outbound_ack(option, 100000);
    if (side == HTTP2_POD)
        CHECK(nghttp2_session_client_new2(&peer->ng, callbacks, peer, option) == 0);
    else
        CHECK(nghttp2_session_server_new2(&peer->ng, callbacks, peer, option) == 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
}

static inline void peer_fini(struct peer *peer)
{
    nghttp2_session_del(peer->ng);
    free(peer->out.data);
    free(peer->in.data);
}

/* ---- transport ---- */

static inline bool feed(struct peer *peer, size_t most)
{
    struct http2 *http2 = peer->site->http2;
    size_t waiting = peer->out.len - peer->out.start, len = most;
    const uint8_t *data;
    uint8_t *piece;
    ssize_t n;

    for (; waiting < most && (n = nghttp2_session_mem_send(peer->ng, &data)) != 0; waiting += n) {
        CHECK(n > 0);
        pipe_add(&peer->out, data, (size_t)n);
    }
    /* behind a GOAWAY and with no stream left, nghttp2 takes nothing more */
    if (!nghttp2_session_want_read(peer->ng) && !nghttp2_session_want_write(peer->ng))
        peer->shut = peer->site->left = true;
    if (!waiting && peer->shut && peer->in.start == peer->in.len && !peer->ended) {
        peer->ended = true;
        http2_ended(http2, peer->side);
        return true;
    }
    if (!waiting || peer->ended || !http2_wants(http2, peer->side))
        return false;
    piece = pipe_take(&peer->out, &len);
    CHECK(http2_feed(http2, peer->side, span_of(piece, len), peer->site->now_ns));
    free(piece);
    return true;
}

/* DATA that is on its way to this peer. */
static inline void count_pulled(struct peer *peer, struct span bytes)
{
    struct exchange *exchange;

    while (bytes.len) {
        size_t n = peer->frame.left < bytes.len ? peer->frame.left : bytes.len;

        peer->frame.left -= n;
        bytes = span_of(bytes.data + n, bytes.len - n);
        if (!bytes.len)
            break;
        peer->frame.head[peer->frame.head_len++] = bytes.data[0];
        bytes = span_of(bytes.data + 1, bytes.len - 1);
        if (peer->frame.head_len < sizeof(peer->frame.head))
            continue;
        peer->frame.head_len = 0;
        peer->frame.left = (size_t)peer->frame.head[0] << 16 | (size_t)peer->frame.head[1] << 8 |
                           peer->frame.head[2];
        if (peer->frame.head[3] != NGHTTP2_DATA)
            continue;
        exchange = exchange_by_id(
            peer,
            (int32_t)((uint32_t)peer->frame.head[5] << 24 | (uint32_t)peer->frame.head[6] << 16 |
                      (uint32_t)peer->frame.head[7] << 8 | peer->frame.head[8]));
        CHECK(exchange);
        if (exchange->refused) { /* in words of our own */
            CHECK(peer->side == HTTP2_POD);
            continue;
        }
        exchange->by[other(peer->side)].pulled += peer->frame.left;
        CHECK(exchange->by[other(peer->side)].pulled <= exchange->by[other(peer->side)].sent);
    }
}

static inline void written(struct peer *peer)
{
    if (!peer->unwritten)
        return;
    peer->unwritten = false;
    for (unsigned i = 0; i < peer->site->len; i++) {
        struct message *message = &peer->site->exchanges[i].by[other(peer->side)];

        message->written = message->pulled;
    }
    http2_written(peer->site->http2, peer->side);
}

static inline bool pull(struct peer *peer, size_t size)
{
    uint8_t *out;
    size_t n;

    if (peer->unwritten || peer->shut)
        return false;
    out = malloc(size);
    CHECK(out);
    n = http2_pull(peer->site->http2, peer->side, out, size);
    CHECK(n <= size);
    peer->unwritten = n > 0;
    count_pulled(peer, span_of(out, n));
    pipe_add(&peer->in, out, n);
    free(out);
    if (!n && http2_finished(peer->site->http2, peer->side)) {
        CHECK(peer->site->ending || peer->site->refusing); /* or nobody said goodbye */
        peer->shut = peer->site->left = true;
        return true;
    }
    return n > 0;
}

static inline bool deliver(struct peer *peer, size_t most)
{
    uint8_t *piece = pipe_take(&peer->in, &most);

    if (most)
        CHECK(nghttp2_session_mem_recv(peer->ng, piece, most) == (ssize_t)most);
    free(piece);
    return most > 0;
}

/* Everything goes where it can go. */
static inline void pump(struct site *site)
{
    bool moved = true;

    while (moved) {
        moved = false;
        for (enum http2_side side = 0; side < HTTP2_SIDES; side++) {
            struct peer *peer = &site->peers[side];

            moved |= feed(peer, 16 << 10);
            moved |= pull(peer, 16 << 10);
            written(peer);
            moved |= deliver(peer, SIZE_MAX);
        }
    }
}
