/* http2_told: what the relay tells of what goes through it, by its hooks and by the credit that it
 * gives, held against the model. */
#pragma once

#include "tests/fuzz/http2_peers.h"

/* ---- hooks ---- */

static bool on_room(void *arg, int64_t bytes, bool needed)
{
    struct site *site = arg;

    (void)needed;
    if (bytes >= HTTP2_STREAM_BYTES && site->room_fails) { /* a stream or a window; not a head */
        site->room_fails--;
        site->refusing = true;
        return false;
    }
    site->room += bytes;
    CHECK(site->room >= 0);
    return true;
}

static inline struct span field_of(const struct http2_head *head, const char *name)
{
    return facts_find_field(head->fields, head->fields_len, name);
}

/* The same as was sent, but for its pseudo-headers. */
static inline void check_fields(const struct http2_head *head, const struct block *want)
{
    size_t at = 0;

    while (at < want->len && want->nv[at].name[0] == ':')
        at++;
    CHECK(head->fields_len == want->len - at);
    for (size_t i = 0; i < head->fields_len; i++, at++) {
        CHECK(span_equal(head->fields[i].name, span_of(want->nv[at].name, want->nv[at].namelen)));
        CHECK(
            span_equal(head->fields[i].value, span_of(want->nv[at].value, want->nv[at].valuelen)));
    }
}

static bool on_request(void *arg, struct http2_stream *stream, int32_t id,
                       const struct http2_head *head, struct http2_refusal *refusal)
{
    static struct block want;
    struct site *site = arg;
    struct span number = field_of(head, "x-n");
    struct exchange *exchange;
    unsigned at = 0;

    for (size_t i = 0; i < number.len; i++)
        at = at * 10 + (unsigned)(number.data[i] - '0');
    CHECK(number.len && at < site->len);
    exchange = &site->exchanges[at];
    CHECK(exchange->told == TOLD_NOTHING && exchange->id[HTTP2_POD] == id);
    exchange->told = TOLD_REQUEST;
    http2_stream_set_user(stream, exchange);
    make_head(exchange, HTTP2_POD, 0, &want);
    check_fields(head, &want);
    CHECK(head->end == !(exchange->shape & SHAPE_BODY));
    CHECK(!head->protocol.len == !(exchange->shape & SHAPE_WEBSOCKET));
    CHECK(!head->path.len == !!(exchange->shape & SHAPE_CONNECT));
    if (span_equal(head->path, BYTES("/no-memory"))) {
        exchange->no_memory = true;
        return false;
    }
    if (span_equal(head->path, BYTES("/denied?a=b"))) {
        exchange->refused = true;
        *refusal = (struct http2_refusal){403, "no"};
        plan_head(&exchange->by[HTTP2_UPSTREAM], KIND_REFUSAL, 0);
        exchange->by[HTTP2_UPSTREAM].heads_sent = 1;
        return true;
    }
    exchange->id[HTTP2_UPSTREAM] = (int32_t)(2 * site->accepted++ + 1);
    return true;
}

static void on_answer(void *arg, struct http2_stream *stream, const struct http2_head *head)
{
    static struct block want;
    struct exchange *exchange = http2_stream_user(stream);
    const struct message *message = &exchange->by[HTTP2_UPSTREAM];
    unsigned at = 0;

    (void)arg;
    CHECK(exchange->told == TOLD_REQUEST && !exchange->refused && !exchange->no_memory);
    exchange->told = TOLD_ANSWER;
    while (at < message->heads_sent && message->heads[at].kind == KIND_INTERIM)
        at++;
    CHECK(at < message->heads_sent && message->heads[at].kind == KIND_ANSWER);
    make_head(exchange, HTTP2_UPSTREAM, at, &want);
    check_fields(head, &want);
    CHECK(head->code / 100 == want.nv[0].value[0] - '0');
}

static bool on_body(void *arg, struct http2_stream *stream, enum http2_side from, struct span bytes,
                    struct http2_refusal *refusal)
{
    struct exchange *exchange = http2_stream_user(stream);
    struct message *message = &exchange->by[from];

    (void)arg, (void)refusal;
    CHECK(exchange->told == TOLD_ANSWER || (from == HTTP2_POD && exchange->told == TOLD_REQUEST));
    check_bytes(exchange, from, message->told, bytes);
    message->told += bytes.len;
    CHECK(message->told <= message->sent);
    return true;
}

static bool on_ended(void *arg, struct http2_stream *stream, enum http2_side from,
                     struct http2_refusal *refusal)
{
    (void)arg, (void)stream, (void)from, (void)refusal;
    return true;
}

static bool on_trailers(void *arg, struct http2_stream *stream, enum http2_side from,
                        const struct http2_head *head, struct http2_refusal *refusal)
{
    static struct block want;
    struct exchange *exchange = http2_stream_user(stream);
    const struct message *message = &exchange->by[from];

    (void)arg, (void)refusal;
    CHECK(exchange->told == TOLD_ANSWER || (from == HTTP2_POD && exchange->told == TOLD_REQUEST));
    CHECK(message->told == message->sent && message->heads_sent == message->heads_len);
    CHECK(message->heads[message->heads_len - 1].kind == KIND_TRAILERS);
    make_head(exchange, from, message->heads_len - 1, &want);
    check_fields(head, &want);
    return true;
}

static void on_closed(void *arg, struct http2_stream *stream, const struct http2_end *end)
{
    struct exchange *exchange = http2_stream_user(stream);

    (void)arg;
    CHECK(exchange->told == TOLD_REQUEST || exchange->told == TOLD_ANSWER);
    CHECK(!end->reason); /* nobody did anything wrong */
    exchange->told = TOLD_CLOSED;
    exchange->end = *end;
}

static void on_malformed(void *arg, int32_t id, const struct http2_head *head, uint16_t code,
                         const char *reason)
{
    (void)arg, (void)id, (void)head, (void)code, (void)reason;
    CHECK(!"a request that makes no sense");
}

static const struct http2_hooks hooks = {on_room,  on_request,  on_answer, on_body,
                                         on_ended, on_trailers, on_closed, on_malformed};

/* ---- credit ---- */

/* A window begins at HTTP2_WINDOW, grows by what was written, and that of a connection by what
 * waits (credit.c): who sends may have no more under way than that. */
static inline void check_credit(struct peer *peer)
{
    uint64_t written_all = 0, under_way = 0;
    int32_t left;

    for (unsigned i = 0; i < peer->site->len; i++) {
        const struct exchange *exchange = &peer->site->exchanges[i];
        const struct message *message = &exchange->by[peer->side];

        written_all += message->written;
        if (is_dropped(exchange) || !exchange->id[peer->side])
            continue;
        if (peer->site->refusing && !exchange->by[HTTP2_POD].heads_got)
            continue; /* may have been refused */
        under_way += message->sent - message->written;
        left = nghttp2_session_get_stream_remote_window_size(peer->ng, exchange->id[peer->side]);
        if (left < 0 || message->end_sent)
            continue;
        CHECK((uint64_t)left + message->sent - message->written <= HTTP2_WINDOW + message->written);
        CHECK((uint64_t)left + message->sent - message->written <= HTTP2_STREAM_WINDOW_MAX);
    }
    left = nghttp2_session_get_remote_window_size(peer->ng);
    CHECK((uint64_t)left + under_way <= HTTP2_WINDOW + written_all + 4 * peer->waited);
    CHECK((uint64_t)left + under_way <= HTTP2_WINDOW_MAX);
}
