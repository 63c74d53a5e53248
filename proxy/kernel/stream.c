#include "proxy/kernel/stream_own.h"

#include <errno.h>
#include <inttypes.h>

#include "proxy/flow/tap.h"
#include "proxy/wire/http2_preface.h"

/* ---- what is spoken ---- */

void stream_turns_opaque(struct flow *flow, enum opaque why)
{
    flow->stream->kind = STREAM_RAW;
    if (flow->facts.visibility == VISIBILITY_OPAQUE)
        return;
    facts_set_opaque(&flow->facts, why);
    if (!flow->stream->opening.accepted)
        verdict_unseen_opaque(flow, why);
}

/* Whether bytes begin an answer of HTTP/1: 1 yes, 0 no, -1 too few to say. */
static int looks_like_answer(struct span bytes)
{
    struct span begins = BYTES("HTTP/1.");

    if (memcmp(bytes.data, begins.data, bytes.len < begins.len ? bytes.len : begins.len) != 0)
        return 0;
    return bytes.len >= begins.len ? 1 : -1;
}

static bool keep(struct flow *flow, struct pipeline *line, struct span bytes)
{
    if (!line->data)
        line->data = worker_buffer_get(flow->worker, &line->size);
    if (!line->data || line->size - line->len < bytes.len)
        return false;
    memcpy(line->data + line->len, bytes.data, bytes.len);
    line->len += bytes.len;
    return true;
}

static void feed(struct flow *flow, bool up, struct span bytes)
{
    switch (flow->stream->kind) {
    case STREAM_HTTP1:
        stream_http1_feed(flow, up, bytes);
        break;
    case STREAM_HTTP2:
        stream_http2_feed(flow, up, bytes);
        break;
    case STREAM_RAW:
        if (exchange_looks(&flow->relay.answering, up))
            exchange_body(flow, &flow->relay.answering, up, bytes);
        break;
    case STREAM_MEETING:
    case STREAM_TLS:
        break;
    }
}

/* What was kept is its beginning. */
static void feed_kept(struct flow *flow, bool up)
{
    struct pipeline line = up ? flow->relay.up : flow->relay.down;

    *(up ? &flow->relay.up : &flow->relay.down) = (struct pipeline){.in_head = true};
    feed(flow, up, span_of(line.data, line.len));
    relay_release(&line, flow->worker);
}

/* Of a server that receives by itself, as of TLS 1.3 with OpenSSL before 3.2, the kernel encrypts
 * what it sends alone. */
static bool has_answers_alone(const struct stream *stream)
{
    return stream->down.ktls && !stream->up.ktls;
}

static enum relay_kind decide(const struct flow *flow)
{
    struct span up = span_of(flow->relay.up.data, flow->relay.up.len),
                down = span_of(flow->relay.down.data, flow->relay.down.len);
    int answers = !up.len && down.len ? looks_like_answer(down) : 0;

    if (answers) /* to a request that was not seen */
        return answers > 0 ? RELAY_HTTP : RELAY_UNDECIDED;
    if (!up.len && has_answers_alone(flow->stream) && http2_looks_like_settings(down) > 0)
        return RELAY_HTTP2;
    return relay_decide(up, down, false);
}

static void meet(struct flow *flow, bool up, struct span bytes)
{
    struct stream *stream = flow->stream;
    struct relay *relay = &flow->relay;
    enum relay_kind kind;

    if (!keep(flow, up ? &relay->up : &relay->down, bytes)) {
        stream_turns_opaque(flow, OPAQUE_UNKNOWN);
        return;
    }
    kind = decide(flow);
    if (kind == RELAY_UNDECIDED)
        return;
    if (kind == RELAY_RAW)
        stream_turns_opaque(flow, relay->up.len || has_answers_alone(stream) ? OPAQUE_UNKNOWN
                                                                             : OPAQUE_SERVER_FIRST);
    else
        stream->kind = kind == RELAY_HTTP2 ? STREAM_HTTP2 : STREAM_HTTP1;
    if (kind == RELAY_HTTP2 && !stream->opening.accepted)
        report_early(flow, true, false);
    feed_kept(flow, true);
    feed_kept(flow, false);
}

/* ---- pieces ---- */

static void count(struct flow *flow, const struct abi_said *said, uint64_t len)
{
    struct stream *stream = flow->stream;
    bool up = (said->direction == ABI_TX) != stream->opening.accepted;

    (up ? &stream->up : &stream->down)->at += len;
    if (said->time_ns < stream->opening.since_ns)
        len = 0; /* the kernel had counted it by then */
    if (said->direction == ABI_TX)
        flow->pod.rx += len;
    else
        flow->pod.tx += len;
    flow->relay.said = true;
    flow->active_ns = clock_ns();
}

static void lose(struct flow *flow, bool up, uint64_t len)
{
    struct stream *stream = flow->stream;
    struct stream_side *side = up ? &stream->up : &stream->down;

    side->lost += len;
    side->waits = true;
    if (stream->kind == STREAM_HTTP1)
        stream_http1_lost(flow, up);
    else if (stream->kind == STREAM_HTTP2)
        stream_http2_lost(flow, up);
}

static void skip(struct flow *flow, bool up, uint64_t len)
{
    struct stream *stream = flow->stream;

    if (stream->kind == STREAM_HTTP1)
        stream_http1_skip(flow, up, len);
    else if (stream->kind == STREAM_HTTP2)
        stream_http2_skip(flow, up, len);
    else if (stream->kind == STREAM_RAW && exchange_looks(&flow->relay.answering, up))
        exchange_skipped(flow, &flow->relay.answering, up, len);
}

/* In plain text, for the kernel encrypts it, or nobody does. What was read, and is nothing that is
 * read on, stays that. */
static void note_visible(struct flow *flow, struct stream_side *side, bool ktls)
{
    enum visibility *visibility = &flow->facts.visibility;

    side->heard = true;
    side->ktls = side->ktls || ktls;
    if (ktls && flow->stream->kind != STREAM_RAW) {
        *visibility = VISIBILITY_KTLS;
        flow->facts.opaque = OPAQUE_NO_REASON;
    } else if (*visibility == VISIBILITY_UNKNOWN) {
        *visibility = VISIBILITY_PLAINTEXT;
    }
    if (ktls)
        stream_tls_tell(flow);
    if (flow->stream->kind == STREAM_TLS)
        flow->stream->kind = STREAM_MEETING;
}

static void read_plain(struct flow *flow, bool up, struct span bytes)
{
    if (flow->stream->kind == STREAM_MEETING)
        meet(flow, up, bytes);
    else
        feed(flow, up, bytes);
}

void stream_read_again(struct flow *flow, bool up, struct span bytes)
{
    if (bytes.len)
        read_plain(flow, up, bytes);
}

/* Whether what the kernel could not read is HTTP all the same, and so tells why. */
static bool may_tell_why(struct flow *flow, const struct abi_said *said, struct span bytes)
{
    struct stream *stream = flow->stream;
    const struct pipeline *line = &flow->relay.up;
    bool begun = line->len;

    if (stream->kind == STREAM_MEETING && (begun || http1_looks_like_request(bytes) == 1))
        stream->kind = relay_decide(begun ? span_of(line->data, line->len) : bytes,
                                    (struct span){0}, false) == RELAY_HTTP
                           ? STREAM_HTTP1
                           : STREAM_MEETING;
    return stream->kind == STREAM_HTTP1 &&
           (said->flags & ABI_SAID_BEGINS || begun || !line->in_head);
}

/* What was refused is nothing that was said: too little of it came to know what it is. */
static void drop_unmet(struct flow *flow, struct span bytes)
{
    struct pipeline *up = &flow->relay.up;

    up->len -= bytes.len < up->len ? bytes.len : up->len;
    if (!up->len)
        relay_release(up, flow->worker);
}

static void read_denied(struct flow *flow, bool up, const struct abi_said *said, struct span bytes)
{
    struct stream *stream = flow->stream;
    bool again = said->flags & ABI_SAID_AGAIN, unread = said->flags & ABI_SAID_UNSEEN;
    uint64_t before = bytes.len + said->before;
    /* of a body, the head of which has gone: its program may send that in another way yet */
    bool frames = said->flags & ABI_SAID_SPLICED && !(said->flags & ABI_SAID_BEGINS) &&
                  stream->kind == STREAM_HTTP1 && !flow->relay.up.in_head;

    stream->denied = true;
    stream->undecided = false;
    stream->spliced = said->flags & ABI_SAID_SPLICED;
    flow->gone = false;
    flow->held = said->flags & ABI_SAID_HELD;
    stream->unsent = stream->up.at > before ? stream->up.at - before : 0;
    stream_unsent(flow);
    if (said->flags & ABI_SAID_RECORDS) {
        stream_tls_feed(flow, up, bytes);
    } else if (!unread && !frames) {
        read_plain(flow, up, bytes);
    } else if (unread && !again && may_tell_why(flow, said, bytes)) {
        if (said->flags & ABI_SAID_BEGINS)
            stream_http1_afresh(flow);
        stream_http1_feed(flow, up, bytes);
        unread = false;
    }
    if (unread)
        stream_denied_unread(flow, said);
    else if (stream->kind == STREAM_HTTP1 && !frames)
        stream_http1_denied(flow);
    else if (stream->kind == STREAM_HTTP2)
        stream_http2_denied(flow);
    else
        stream_denied(flow);
    if (stream->kind == STREAM_MEETING && !unread && !(said->flags & ABI_SAID_RECORDS))
        drop_unmet(flow, bytes);
    stream->denied = false;
    flow->gone = true;
    if (stream->undecided && !stream->opening.accepted)
        report_early(flow, false, true);
}

void stream_take(struct flow *flow, const struct abi_said *said, struct span bytes)
{
    struct stream *stream = flow->stream;
    bool up = (said->direction == ABI_TX) != stream->opening.accepted;
    struct stream_side *side = up ? &stream->up : &stream->down;

    if (side->waits && said->flags & ABI_SAID_BEGINS) {
        side->waits = false;
        stream->unread = stream->unread && !up;
    }
    if (side->waits && said->kind != ABI_SAID_DENIED)
        side->missed += bytes.len;
    if (said->kind != ABI_SAID_DENIED && (!bytes.len || side->waits))
        return;
    if (bytes.len && !(said->flags & ABI_SAID_RECORDS))
        note_visible(flow, side, said->flags & ABI_SAID_KTLS);
    if (said->kind == ABI_SAID_DENIED) {
        read_denied(flow, up, said, bytes);
        return;
    }
    if (said->flags & ABI_SAID_RECORDS) {
        stream_tls_feed(flow, up, bytes);
        return;
    }
    if (flow->taps)
        tap_bytes(flow, said->direction == ABI_TX ? TAP_PROGRAM : TAP_SERVER, bytes.data,
                  bytes.len);
    read_plain(flow, up, bytes);
}

void kernel_stream_said(struct flow *flow, const struct abi_said *said, struct span bytes,
                        uint64_t lost)
{
    struct stream *stream = flow->stream;
    bool up = (said->direction == ABI_TX) != stream->opening.accepted;
    struct stream_side *side = up ? &stream->up : &stream->down;

    flow->said_ns = said->time_ns;
    lost += said->lost;
    count(flow, said, said->skipped + lost + (said->flags & ABI_SAID_AGAIN ? 0 : bytes.len));
    if (said->flags & ABI_SAID_RECORDS)
        stream_tls_skip(flow, up, said->skipped);
    else if (said->skipped && !side->waits)
        skip(flow, up, said->skipped);
    if (lost)
        lose(flow, up, lost);
    stream_take(flow, said, bytes);
}

void kernel_stream_ktls(struct flow *flow, const struct abi_ktls *record)
{
    struct stream *stream = flow->stream;
    bool up = (record->direction == ABI_TX) != stream->opening.accepted;

    flow->said_ns = record->time_ns;
    if (record->unread)
        return; /* its records come, as of who encrypts by itself */
    (up ? &stream->up : &stream->down)->ktls = true;
    stream_tls_keys(flow, record);
}

/* ---- beginning and end ---- */

struct stream *kernel_stream_new(const struct stream_opening *opening)
{
    struct stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        return NULL;
    stream->opening = *opening;
    stream->up.waits = stream->down.waits = opening->midway;
    return stream;
}

void kernel_stream_free(struct stream **stream)
{
    if (!*stream)
        return;
    stream_tls_free(&(*stream)->tls);
    free(TAKE(*stream));
}

/* One that had begun before, and in which no head began that could be read. */
static void tell_missed(struct flow *flow)
{
    const struct stream *stream = flow->stream;
    uint64_t missed = stream->up.missed + stream->down.missed;

    if (!missed || stream->kind != STREAM_MEETING || stream->up.heard || stream->down.heard)
        return;
    err_set(&flow->why, -ENOBUFS,
            "%" PRIu64 " bytes of it could not be read without what was said before", missed);
    stream_turns_opaque(flow, OPAQUE_LOST);
}

/* So little came that nobody could tell what it is: or no more of it did, for the kernel reads on
 * only what may be HTTP or TLS. */
static void tell_undecided(struct flow *flow)
{
    const struct relay *relay = &flow->relay;

    if (flow->stream->kind == STREAM_MEETING && (relay->up.len || relay->down.len))
        stream_turns_opaque(flow, relay->up.len ? OPAQUE_UNKNOWN : OPAQUE_SERVER_FIRST);
}

/* Beside whatever else went wrong, of which enough is left out that the numbers are not. */
static void tell_lost(struct flow *flow)
{
    uint64_t lost = flow->stream->up.lost + flow->stream->down.lost, untold = flow->stream->untold;
    char bytes[96] = "", denials[64] = "";
    struct err other = flow->why;

    if (!lost && !untold)
        return;
    if (lost)
        snprintf(bytes, sizeof(bytes),
                 "%" PRIu64 " bytes of the connection were lost on their way to the agent", lost);
    if (untold)
        snprintf(denials, sizeof(denials), "%s%" PRIu64 " denials of it could not be told",
                 lost ? "; " : "", untold);
    err_set(&flow->why, other.text[0] ? other.code : -ENOBUFS, "%.340s%s%s%s", other.text,
            other.text[0] ? "; " : "", bytes, denials);
}

/* The kernel programs ask by whose rules it is, and then hear no more of it (bpf/spelling.h). */
static bool was_removed(const struct flow *flow)
{
    const struct pod *pod = flow->facts.who.pod;
    uint64_t removed_ns = pod ? atomic_load(&pod->removed_ns) : 0;

    return removed_ns && flow->said_ns > removed_ns;
}

static void tell_removed(struct flow *flow)
{
    if (was_removed(flow) && !flow->goes_on && !flow->why.text[0])
        err_set(&flow->why, -ESTALE,
                "its pod was removed while it was open: what it said from then on was not read");
}

/* All that was said before was heard: what was not answered then, was not. */
static bool hears_end(const struct flow *flow)
{
    const struct stream *stream = flow->stream;

    return stream_hears_answers(stream) && !stream->down.waits && !stream->down.lost &&
           !was_removed(flow);
}

/* What its program is asked, that program answers. */
static bool server_ended(const struct stream *stream, enum stream_ended ended)
{
    return ended == (stream->opening.accepted ? STREAM_ENDED_HERE : STREAM_ENDED_THERE);
}

/* Whether a request waits for its answer, or for more of it. */
static bool awaits(const struct flow *flow)
{
    const struct relay *relay = &flow->relay;

    if (flow->stream->kind == STREAM_HTTP2)
        return stream_http2_waits(flow->stream);
    return flow->stream->kind == STREAM_HTTP1 &&
           (relay->pending_len || (relay->response && !relay->down.in_head));
}

/* As relay_note_failure() tells it. */
static void note_ended(struct flow *flow, enum stream_ended ended)
{
    const struct stream *stream = flow->stream;

    if (!hears_end(flow))
        return;
    flow->relay.down.ended = server_ended(stream, ended);
    if (ended == STREAM_ENDED_RESET && !stream->opening.accepted && awaits(flow) &&
        !flow->why.text[0])
        err_sys(&flow->why, -ECONNRESET, "the upstream's side");
}

void kernel_stream_closed(struct flow *flow, const struct stream_closing *closing)
{
    flow->said_ns = closing->time_ns;
    flow->goes_on = closing->goes_on;
    for (unsigned i = 0; i < ABI_DIRECTIONS; i++)
        if (closing->lost[i])
            lose(flow, (i == ABI_TX) != flow->stream->opening.accepted, closing->lost[i]);
    flow->stream->untold = closing->untold;
    if (closing->state)
        kernel_stream_leave(flow, closing->state);
    if (!closing->goes_on)
        note_ended(flow, closing->ended);
    flow_watched(flow);
}

void kernel_stream_end(struct flow *flow)
{
    struct stream *stream = flow->stream;

    if (!stream)
        return;
    if (stream->opening.seat)
        *stream->opening.seat = NULL;
    tell_missed(flow);
    if (!flow->goes_on) /* else what is under way is not cut */
        tell_undecided(flow);
    if (stream->kind == STREAM_HTTP1 && !flow->goes_on)
        stream_http1_end(flow);
    tell_removed(flow);
    tell_lost(flow);
    stream_tls_tell(flow);
    if (stream->unread)
        facts_set_opaque(&flow->facts, OPAQUE_UNKNOWN); /* told, and judged, where it began */
    stream_http2_end(flow, relay_why_unanswered(flow));
}
