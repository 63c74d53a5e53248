/* stream_http1: HTTP/1 as it goes by. Both directions are parsed by ../wire/http1.c, as on the
 * proxy route; what was not handed up of bodies is made up for by zeros. */
#include <errno.h>

#include "proxy/kernel/stream_own.h"

/* What may wait for the answer that says whether it is HTTP. */
enum { SETTLING_MAX = 65536 };

/* ---- the two directions ---- */

/* Answers to what was not read are nobody's. */
static bool is_unasked(const struct flow *flow, bool up)
{
    return !up && flow->stream->unread && !flow->relay.pending_len && flow->relay.down.in_head;
}

/* From here on nothing is read in this direction before a head is known to begin. */
static void give_up(struct flow *flow, bool up)
{
    struct relay *relay = &flow->relay;
    struct pipeline *line = up ? &relay->up : &relay->down;

    relay_release(line, flow->worker);
    line->in_head = true;
    http1_free(up ? &relay->request : &relay->response);
    (up ? &flow->stream->up : &flow->stream->down)->waits = true;
}

static bool ready(struct flow *flow, bool up)
{
    struct http1 **parser = up ? &flow->relay.request : &flow->relay.response;

    if (*parser)
        return true;
    (up ? &flow->relay.up : &flow->relay.down)->in_head = true;
    *parser = http1_new(up ? HTTP1_REQUEST : HTTP1_RESPONSE);
    if (!*parser && !flow->why.text[0])
        err_set(&flow->why, -ENOMEM, "not enough memory to read HTTP");
    return *parser;
}

static enum http1_status step(struct flow *flow, bool up, struct span bytes, size_t *consumed)
{
    struct relay *relay = &flow->relay;

    if (!up && relay->pending_len && !flow->stream->unowed && http1_idle(relay->response))
        http1_answers(relay->response, stream_oldest(relay)->head, stream_oldest(relay)->connect);
    return http1_feed(up ? relay->request : relay->response, bytes, consumed);
}

/* Something that the parser tells. head: the bytes from the head's, or message's, first one on.
 * False: no more is to be fed here. */
static bool handle(struct flow *flow, bool up, enum http1_status status, struct span head)
{
    struct relay *relay = &flow->relay;
    struct pipeline *line = up ? &relay->up : &relay->down;

    switch (status) {
    case HTTP1_MORE:
        return false;
    case HTTP1_HEAD:
        stream_http1_head(flow, up, head);
        line->in_head = false;
        return flow->stream->kind == STREAM_HTTP1;
    case HTTP1_DONE:
        stream_http1_whole(flow, up);
        line->in_head = true;
        return !is_unasked(flow, up);
    case HTTP1_RAW:
        if (flow->stream->kind == STREAM_HTTP1)
            stream_turns_opaque(flow, OPAQUE_OTHER_PROTOCOL);
        return false;
    case HTTP1_BAD:
        stream_http1_odd(flow, up, head);
        give_up(flow, up);
        return false;
    }
    return false;
}

/* To what is kept; false: no memory. */
static bool append(struct flow *flow, struct pipeline *line, struct span bytes)
{
    if (!line->data)
        line->data = worker_buffer_get(flow->worker, &line->size);
    while (line->data && line->size - line->len < bytes.len) {
        uint8_t *grown = worker_buffer_grow(flow->worker, line->data, line->len, &line->size);

        if (!grown)
            return false;
        line->data = grown;
    }
    if (!line->data)
        return false;
    if (bytes.len)
        memcpy(line->data + line->len, bytes.data, bytes.len);
    line->len += bytes.len;
    return true;
}

static void no_room(struct flow *flow, bool up)
{
    if (!flow->why.text[0])
        err_set(&flow->why, -ENOBUFS, "not enough memory to read %s's head",
                up ? "a request" : "an answer");
    stream_http1_lost(flow, up);
}

/* A head that is not whole, or what cannot be read before an answer has come: [from, bytes.len), of
 * which so much was parsed. It may be the line's own bytes. */
static void keep(struct flow *flow, bool up, struct span bytes, size_t from, size_t parsed)
{
    struct pipeline *line = up ? &flow->relay.up : &flow->relay.down;
    struct span left = span_of(bytes.data + from, bytes.len - from);

    if (line->data && bytes.data == line->data) {
        memmove(line->data, left.data, left.len);
        line->len = left.len;
    } else if (left.len && !append(flow, line, left)) {
        no_room(flow, up);
        return;
    }
    line->parsed = parsed - from;
    if (!line->len)
        relay_release(line, flow->worker);
}

/* What came behind an upgrade, or a tunnel's answer, is another protocol's. */
static void hand_on(struct flow *flow, bool up, struct span bytes)
{
    struct stream *stream = flow->stream;
    const struct abi_said said = {
        .direction = up != stream->opening.accepted ? ABI_TX : ABI_RX,
        .flags = (up ? stream->up : stream->down).ktls ? ABI_SAID_KTLS : 0,
        .time_ns = flow->said_ns,
    };

    if (!bytes.len)
        return;
    stream_take(flow, &said, bytes);
}

static void leave(struct flow *flow, bool up, struct span rest)
{
    struct relay *relay = &flow->relay;
    struct pipeline here = up ? relay->up : relay->down, other = up ? relay->down : relay->up;

    relay->up = relay->down = (struct pipeline){.in_head = true};
    hand_on(flow, !up, span_of(other.data, other.len));
    hand_on(flow, up, rest);
    relay_release(&here, flow->worker);
    relay_release(&other, flow->worker);
}

/* Answers cannot be seen, or have: what follows a request that asked to leave HTTP says itself
 * whether it did. */
static void settle(struct flow *flow, struct span bytes)
{
    struct relay *relay = &flow->relay;

    if (!relay->settling || stream_hears_answers(flow->stream) || !bytes.len)
        return;
    relay->settling = false;
    http1_upgraded(relay->request, http1_looks_like_request(bytes) != 1);
}

void stream_http1_feed(struct flow *flow, bool up, struct span bytes)
{
    struct relay *relay = &flow->relay;
    struct pipeline *line = up ? &relay->up : &relay->down;
    size_t from = 0, at = 0, consumed;
    enum http1_status status;
    bool more, was_settling = relay->settling;

    if (is_unasked(flow, up) || !ready(flow, up))
        return;
    if (line->len) {
        at = line->parsed;
        if (line->len + bytes.len > HTTP1_HEAD_MAX + SETTLING_MAX || !append(flow, line, bytes)) {
            no_room(flow, up);
            return;
        }
        bytes = span_of(line->data, line->len);
    }
    if (up)
        settle(flow, span_of(bytes.data + at, bytes.len - at));
    do {
        status = step(flow, up, span_of(bytes.data + at, bytes.len - at), &consumed);
        at += consumed;
        more = handle(flow, up, status, span_of(bytes.data + from, bytes.len - from));
        if (status == HTTP1_HEAD || status == HTTP1_DONE || !line->in_head)
            from = at;
    } while (more);
    if (flow->stream->kind != STREAM_HTTP1) {
        leave(flow, up, span_of(bytes.data + at, bytes.len - at));
        return;
    }
    if (status == HTTP1_BAD)
        return;
    if (is_unasked(flow, up))
        relay_release(line, flow->worker);
    else
        keep(flow, up, bytes, from, at);
    if (!up && was_settling && !relay->settling && relay->up.len) /* its answer was awaited */
        stream_http1_feed(flow, true, (struct span){0});
}

void stream_http1_skip(struct flow *flow, bool up, uint64_t len)
{
    static const uint8_t zeros[16384];
    struct relay *relay = &flow->relay;
    struct http1 *parser = up ? relay->request : relay->response;

    if (!parser || (up ? &relay->up : &relay->down)->in_head) {
        stream_http1_lost(flow, up); /* nothing is under way of which it could be the body */
        return;
    }
    flow->stream->skipping = true;
    while (len && flow->stream->kind == STREAM_HTTP1) {
        size_t most = len < sizeof(zeros) ? (size_t)len : sizeof(zeros), consumed = 0;
        enum http1_status status = step(flow, up, span_of(zeros, most), &consumed);

        len -= consumed;
        if (status != HTTP1_MORE && !handle(flow, up, status, span_of(zeros, 0)))
            break;
        if (status == HTTP1_DONE && len) { /* more was skipped than its body */
            stream_http1_lost(flow, up);
            break;
        }
    }
    flow->stream->skipping = false;
}

static const char bytes_lost[] = "bytes of it were lost on their way to the agent";
static const char answers_lost[] = "bytes of answers were lost on their way to the agent";

/* Bytes of its body are missing, of which nobody knows how many. Its answer may come all the same.
 */
static void tear(struct flow *flow, struct exchange *exchange)
{
    exchange_skipped(flow, exchange, true, 0);
    if (!exchange->event)
        return;
    exchange->event->http.request_bytes = http1_body_bytes(flow->relay.request);
    exchange->event->error = bytes_lost;
}

void stream_http1_lost(struct flow *flow, bool up)
{
    struct relay *relay = &flow->relay;

    if (up) {
        if (!relay->up.in_head && relay->pending_len)
            tear(flow, &stream_newest(relay)->exchange);
        relay->settling = false;
    } else {
        exchange_end(flow, &relay->answering, bytes_lost);
        /* who waits for each answer, as most do, has but one to wait for */
        for (; relay->pending_len > 1; stream_drop_oldest(relay))
            exchange_end(flow, &stream_oldest(relay)->exchange, answers_lost);
        flow->stream->unowed = 0;
    }
    give_up(flow, up);
}

void stream_http1_afresh(struct flow *flow)
{
    give_up(flow, true);
    flow->stream->up.waits = false;
}

void stream_http1_denied(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    if (relay->request && relay->up.in_head && relay->up.len) /* not even its head was whole */
        stream_http1_begun(flow, span_of(relay->up.data, relay->up.len));
    stream_denied(flow);
    relay_release(&relay->up, flow->worker);
    relay->up.in_head = true;
    http1_free(&relay->request);
}

void stream_http1_end(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    if (relay->up.in_head && relay->up.len && !relay->settling && !flow->why.text[0])
        err_set(&flow->why, -EPROTO, "closed within a request's head, of which %zu bytes had come",
                relay->up.len);
    if (!relay->response || (relay->down.in_head && !relay->down.len))
        return;
    if (http1_eof(relay->response) == HTTP1_DONE)
        stream_http1_whole(flow, false);
    else if (relay->down.ended && !flow->why.text[0]) /* else its program did not wait for all */
        err_set(&flow->why, -EPROTO, "the upstream's answer was cut short");
}
