/* stream_handover: a connection that goes on with the next agent: what that must know to read on
 * where this one stopped. Where it cannot, it reads on with the next head. */
#include <stdlib.h>
#include <string.h>

#include "proxy/kernel/stream_own.h"

/* ---- here ---- */

/* Its answer may lead away from HTTP. */
static bool may_turn(const struct relay *relay)
{
    for (unsigned i = 0; i < relay->pending_len; i++) {
        const struct pending *pending =
            &relay->pending[(relay->pending_at + i) % RELAY_PENDING_MAX];

        if (pending->connect || pending->upgrade)
            return true;
    }
    return relay->settling;
}

static bool can_go_on(const struct flow *flow)
{
    const struct stream *stream = flow->stream;

    return (stream->kind == STREAM_MEETING || stream->kind == STREAM_HTTP1 ||
            stream->kind == STREAM_RAW) &&
           !may_turn(&flow->relay) && !flow->tunnel.requests;
}

/* Within a body its end is not known there. False: no memory. */
static bool leave_side(const struct stream *stream, const struct stream_side *side,
                       const struct pipeline *line, bool parses, struct stream_state_side *out)
{
    bool within = stream->kind == STREAM_HTTP1 && parses && !line->in_head;

    *out = (struct stream_state_side){
        .ktls = side->ktls,
        .heard = side->heard,
        .waits = side->waits || within,
        .at = side->at,
    };
    if (stream->kind == STREAM_RAW || out->waits || !line->len)
        return true;
    out->kept = malloc(line->len);
    if (!out->kept)
        return false;
    memcpy(out->kept, line->data, line->len);
    out->kept_len = line->len;
    return true;
}

void kernel_stream_leave(const struct flow *flow, struct stream_state *out)
{
    const struct stream *stream = flow->stream;
    const struct relay *relay = &flow->relay;

    if (!can_go_on(flow))
        return;
    out->kind = stream->kind;
    out->visibility = flow->facts.visibility;
    out->opaque = flow->facts.opaque;
    out->tx = flow->pod.rx;
    out->rx = flow->pod.tx;
    out->requests = relay->requests;
    out->unowed = stream->unowed;
    out->unread = stream->unread;
    out->awaited = relay->pending_len;
    for (unsigned i = 0; i < relay->pending_len; i++)
        if (relay->pending[(relay->pending_at + i) % RELAY_PENDING_MAX].head)
            out->heads |= UINT64_C(1) << i;
    out->known = leave_side(stream, &stream->up, &relay->up, relay->request, &out->up) &&
                 leave_side(stream, &stream->down, &relay->down, relay->response, &out->down);
}

void stream_state_free(struct stream_state **state)
{
    struct stream_state *gone = TAKE(*state);

    if (!gone)
        return;
    free(gone->up.kept);
    free(gone->down.kept);
    free(gone);
}

/* ---- there ---- */

static struct stream_side resume_side(const struct stream_state_side *from)
{
    return (struct stream_side){
        .ktls = from->ktls,
        .heard = from->heard,
        .waits = from->waits,
        .at = from->at,
    };
}

/* Requests that were told, and whose answers are yet to come. */
static void await_told(struct relay *relay, const struct stream_state *from)
{
    relay->pending_len = from->awaited < RELAY_PENDING_MAX ? from->awaited : RELAY_PENDING_MAX;
    for (unsigned i = 0; i < relay->pending_len; i++)
        relay->pending[i] = (struct pending){.head = from->heads >> i & 1};
}

void kernel_stream_resume(struct flow *flow, const struct stream_state *from)
{
    struct stream *stream = flow->stream;

    if (from->kind != STREAM_MEETING && from->kind != STREAM_HTTP1 && from->kind != STREAM_RAW)
        return; /* as another version has it */
    stream->kind = (enum stream_kind)from->kind;
    stream->up = resume_side(&from->up);
    stream->down = resume_side(&from->down);
    stream->unowed = from->unowed;
    stream->unread = from->unread;
    flow->facts.visibility = from->visibility;
    flow->facts.opaque = from->opaque;
    flow->pod.rx = from->tx;
    flow->pod.tx = from->rx;
    flow->relay.requests = from->requests;
    flow->relay.said = from->tx || from->rx;
    await_told(&flow->relay, from);
    stream_read_again(flow, true, span_of(from->up.kept, from->up.kept_len));
    stream_read_again(flow, false, span_of(from->down.kept, from->down.kept_len));
}
