/* stream_http2: HTTP/2 as it goes by: each direction's frames are read by ../http2/watch.c. */
#include <errno.h>
#include <stdio.h>
#include <sys/queue.h>

#include "proxy/flow/streams.h"
#include "proxy/http2/watch.h"
#include "proxy/kernel/stream_own.h"
#include "proxy/wire/authority.h"

enum {
    ROWS = 64,       /* of streams, by number */
    OPEN_MAX = 1024, /* streams, as on the proxy route */
    REASON_MAX = 256,
};

struct asked {
    LIST_ENTRY(asked) row;
    int32_t id;
    struct exchange exchange;
    bool answered, up_ended, down_ended;
};

struct stream_http2 {
    struct http2_watch *up, *down;
    LIST_HEAD(, asked) rows[ROWS];
    unsigned open;
    int32_t last;    /* the highest stream of the program's, over or not */
    bool unfollowed; /* ... of which there were too many to tell them all */
};

static bool ready(struct stream *stream)
{
    struct stream_http2 *http2 = stream->http2;

    if (http2)
        return http2->up && http2->down;
    http2 = stream->http2 = calloc(1, sizeof(*http2));
    if (!http2)
        return false;
    http2->up = http2_watch_new(true);
    http2->down = http2_watch_new(false);
    return http2->up && http2->down;
}

/* ---- streams ---- */

static struct asked *find(const struct stream_http2 *http2, int32_t id)
{
    struct asked *asked;

    LIST_FOREACH(asked, &http2->rows[(uint32_t)id / 2 % ROWS], row)
    if (asked->id == id)
        return asked;
    return NULL;
}

static void over(struct flow *flow, struct asked *asked, const char *error)
{
    exchange_end(flow, &asked->exchange, error);
    LIST_REMOVE(asked, row);
    flow->stream->http2->open--;
    free(asked);
}

static void end_all(struct flow *flow, const char *error)
{
    struct stream_http2 *http2 = flow->stream->http2;

    for (size_t i = 0; i < ROWS; i++)
        while (!LIST_EMPTY(&http2->rows[i]))
            over(flow, LIST_FIRST(&http2->rows[i]), error);
}

static void end_if_whole(struct flow *flow, struct asked *asked)
{
    if (asked->up_ended && (asked->down_ended || !stream_hears_answers(flow->stream)))
        over(flow, asked, NULL);
}

static struct asked *add(struct flow *flow, int32_t id)
{
    struct stream_http2 *http2 = flow->stream->http2;
    struct asked *asked = http2->open < OPEN_MAX ? calloc(1, sizeof(*asked)) : NULL;

    if (!asked)
        return NULL;
    asked->id = id;
    LIST_INSERT_HEAD(&http2->rows[(uint32_t)id / 2 % ROWS], asked, row);
    http2->open++;
    return asked;
}

/* The program began it, and it was told: what comes of it now that it is over was on its way when
 * one side reset it. What a server began (a push) is told by its answer. */
static bool was_told(const struct stream_http2 *http2, int32_t id)
{
    return id % 2 && id <= http2->last && !http2->unfollowed;
}

/* ---- what is said ---- */

/* What has gone. Where its head makes no sense, no rule can say whom it was for. */
static void judge_head(struct flow *flow, const struct facts_request *request, const char *odd)
{
    struct exchange_decision decision = {.verdict = VERDICT_ALLOW};

    if (flow->stream->opening.accepted)
        return;
    if (odd)
        verdict_settle_unseen(flow, odd, request);
    else
        verdict_request(flow, request, &decision);
}

static void request_seen(struct flow *flow, const struct http2_told *told)
{
    struct stream *stream = flow->stream;
    struct authority_parts authority;
    struct facts_request request;
    char address[ADDR_TEXT_MAX];
    struct asked *asked;
    const char *odd;
    bool named;

    verdict_next(flow);
    flow->relay.requests++;
    named = streams_facts(told->stream, &told->head, &authority, &request);
    exchange_name(flow, &request, address);
    if (stream->denied) {
        stream_deny(flow, &request);
        return;
    }
    asked = add(flow, told->stream);
    if (!asked) {
        stream->http2->unfollowed = true;
        if (!flow->why.text[0])
            err_set(&flow->why, -ENOBUFS, "too many streams are open to follow them all");
        return;
    }
    if (told->stream > stream->http2->last)
        stream->http2->last = told->stream;
    odd = streams_judge(flow, named, &request).reason;
    judge_head(flow, &request, odd);
    exchange_begin(flow, &asked->exchange, &request);
    if (odd && asked->exchange.event)
        asked->exchange.event->error = flow_event_text(asked->exchange.event, span_of_text(odd));
    verdict_onto(flow, asked->exchange.event);
    if (!stream->opening.accepted)
        exchange_inspect(flow, &asked->exchange, &request);
    asked->up_ended = told->end;
    end_if_whole(flow, asked);
}

static void answer_seen(struct flow *flow, const struct http2_told *told)
{
    const struct facts_answer answer = {
        .code = told->head.code,
        .body = !told->end,
        .fields = told->head.fields,
        .fields_len = told->head.fields_len,
    };
    const struct facts_request unseen = {.protocol = "HTTP/2", .stream = (uint32_t)told->stream};
    struct asked *asked = find(flow->stream->http2, told->stream);

    if (answer.code < 200)
        return; /* its request is still open */
    if (!asked) {
        if (was_told(flow->stream->http2, told->stream))
            return;
        asked = add(flow, told->stream);
        if (!asked)
            return;
        asked->up_ended = true;
        exchange_begin(flow, &asked->exchange, &unseen);
    }
    asked->answered = true;
    exchange_answered(flow, &asked->exchange, &answer);
    asked->down_ended = told->end;
    end_if_whole(flow, asked);
}

static void head_seen(struct flow *flow, bool up, const struct http2_told *told)
{
    struct asked *asked = find(flow->stream->http2, told->stream);

    if (up && !asked) { /* or late trailers */
        if (told->head.method.len || flow->stream->denied ||
            !was_told(flow->stream->http2, told->stream))
            request_seen(flow, told);
        return;
    }
    if (!up && (!asked || !asked->answered)) {
        answer_seen(flow, told);
        return;
    }
    exchange_trailers(flow, &asked->exchange, up, told->head.fields, told->head.fields_len);
    exchange_body_ended(flow, &asked->exchange, up);
    *(up ? &asked->up_ended : &asked->down_ended) = true;
    end_if_whole(flow, asked);
}

static void body_seen(struct flow *flow, bool up, const struct http2_told *told, size_t skipped)
{
    struct asked *asked = find(flow->stream->http2, told->stream);

    if (!asked)
        return;
    if (skipped)
        exchange_skipped(flow, &asked->exchange, up, skipped);
    else if (told->body.len)
        exchange_body(flow, &asked->exchange, up, told->body);
    if (!told->end)
        return;
    exchange_body_ended(flow, &asked->exchange, up);
    *(up ? &asked->up_ended : &asked->down_ended) = true;
    end_if_whole(flow, asked);
}

static void reset_seen(struct flow *flow, bool up, const struct http2_told *told)
{
    enum { NO_ERROR = 0, REFUSED_STREAM = 7 }; /* RFC 9113 section 7 */
    struct asked *asked = find(flow->stream->http2, told->stream);
    char error[REASON_MAX];

    if (!asked)
        return;
    snprintf(error, sizeof(error), "%s %s: %s", up ? "the program" : "the upstream",
             !up && told->code == REFUSED_STREAM ? "did not take the request" : "reset the stream",
             http2_code_name(told->code));
    over(flow, asked, !up && told->code == NO_ERROR && asked->down_ended ? NULL : error);
}

/* ---- bytes ---- */

/* Nothing can be read from here on: later heads refer to what was missed. */
static void give_up(struct flow *flow, bool up, const char *reason)
{
    struct stream_http2 *http2 = flow->stream->http2;
    char error[REASON_MAX];

    snprintf(error, sizeof(error), "%s's HTTP/2 could not be read: %s",
             up ? "the program" : "the upstream", reason);
    if (!flow->why.text[0])
        err_set(&flow->why, -EPROTO, "%s", error);
    if (http2)
        end_all(flow, error);
    flow->stream->kind = STREAM_RAW;
}

static void odd(struct flow *flow, bool up, const char *reason)
{
    give_up(flow, up, reason);
    stream_turns_opaque(flow, OPAQUE_UNKNOWN);
}

void stream_http2_feed(struct flow *flow, bool up, struct span bytes)
{
    struct stream *stream = flow->stream;
    struct http2_watch *watch, *other;
    enum http2_watched status;
    struct http2_told told;
    size_t consumed;

    if (!ready(stream)) {
        odd(flow, up, "not enough memory");
        return;
    }
    watch = up ? stream->http2->up : stream->http2->down;
    other = up ? stream->http2->down : stream->http2->up;
    do {
        status = http2_watch_feed(watch, bytes, &consumed, &told);
        bytes = span_of(bytes.data + consumed, bytes.len - consumed);
        switch (status) {
        case HTTP2_WATCHED_MORE:
            break;
        case HTTP2_WATCHED_HEAD:
            head_seen(flow, up, &told);
            break;
        case HTTP2_WATCHED_BODY:
            body_seen(flow, up, &told, 0);
            break;
        case HTTP2_WATCHED_RESET:
            reset_seen(flow, up, &told);
            break;
        case HTTP2_WATCHED_TABLE:
            http2_watch_table(other, told.table_size);
            break;
        case HTTP2_WATCHED_BAD:
            odd(flow, up, http2_watch_reason(watch));
            break;
        }
    } while (status != HTTP2_WATCHED_MORE && status != HTTP2_WATCHED_BAD);
}

void stream_http2_skip(struct flow *flow, bool up, uint64_t len)
{
    struct stream *stream = flow->stream;
    struct http2_told told;
    size_t taken;

    while (len && stream->kind == STREAM_HTTP2) {
        taken = ready(stream)
                    ? http2_watch_skip(up ? stream->http2->up : stream->http2->down, len, &told)
                    : 0;
        if (!taken) {
            odd(flow, up, "more was skipped than a body has");
            return;
        }
        if (told.stream)
            body_seen(flow, up, &told, taken);
        len -= taken;
    }
}

void stream_http2_lost(struct flow *flow, bool up)
{
    give_up(flow, up, "bytes of it are missing");
    stream_turns_opaque(flow, OPAQUE_LOST);
}

/* What was not sent has changed what the program's later heads refer to; none will come. */
void stream_http2_denied(struct flow *flow)
{
    stream_denied(flow);
    if (flow->stream->kind == STREAM_HTTP2)
        flow->stream->kind = STREAM_RAW;
}

bool stream_http2_waits(const struct stream *stream)
{
    return stream->http2 && stream->http2->open;
}

void stream_http2_end(struct flow *flow, const char *error)
{
    struct stream_http2 *http2 = TAKE(flow->stream->http2);

    if (!http2)
        return;
    flow->stream->http2 = http2;
    end_all(flow, error);
    flow->stream->http2 = NULL;
    http2_watch_free(&http2->up);
    http2_watch_free(&http2->down);
    free(http2);
}
