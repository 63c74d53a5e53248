#include "proxy/flow/inspection.h"

#include <string.h>

#include "policy/decode.h"
#include "policy/inspect.h"
#include "proxy/flow/finding.h"
#include "proxy/flow/inspection_own.h"
#include "proxy/flow/inspection_plan.h"
#include "proxy/flow/steps.h"
#include "proxy/limits.h"
#include "proxy/wire/grpc.h"
#include "proxy/wire/websocket.h"

enum framing { WHOLE, GRPC, WEBSOCKET };

struct side {
    struct inspection *inspection;
    enum policy_direction direction;
    uint64_t reach; /* so much of a body, or of each message, is looked at; 0: nothing */
    uint64_t bound; /* the first maxBytes that none has gone beyond yet */
    enum framing framing;
    struct grpc grpc;
    struct websocket websocket;
    char encoding[INSPECTION_ENCODING_MAX]; /* of a body, or of the messages that are compressed */
    struct decode *decode;
    bool begun, compressed; /* the body, or message, at hand */
    struct inspect_stream *stream;
    uint64_t seen;                /* of it, decoded */
    struct inspect_stream *aside; /* of what goes with the body, as sent */
    unsigned told;
    bool unseen; /* was told */
    enum inspected result;
};

struct inspection {
    struct flow *flow;
    struct inspection_plan *plan;
    struct side up, down;
    bool socket, connect; /* a WebSocket was asked for, and by CONNECT (RFC 8441) */
    char *host, *method, *path;
};

/* ---- what is found ---- */

static void settle(struct side *side, struct finding *finding)
{
    struct inspection *inspection = side->inspection;

    if (finding->pattern && finding->verdict.verdict != VERDICT_DENY &&
        side->told++ >= INSPECTION_TOLD_MAX)
        return;
    finding->host = inspection->host;
    finding->method = inspection->method;
    finding->path = inspection->path;
    if (!verdict_found(inspection->flow, finding))
        side->result = INSPECTED_STOP;
    else if (side->result == INSPECTED_FINE)
        side->result = INSPECTED_TOLD;
}

static bool on_hit(const struct inspect_hit *hit, void *arg)
{
    struct side *side = arg;
    const struct inspection *inspection = side->inspection;
    const struct inspection_plan *plan = inspection->plan;
    struct finding finding;

    if (finding_pattern(inspection->flow, plan, side->direction, hit, &finding))
        settle(side, &finding);
    if (side->result != INSPECTED_STOP && plan->tokens && side->direction == POLICY_REQUEST &&
        strcmp(inspect_name(plan->lane->inspect, hit->pattern), "jwt") == 0 &&
        finding_token(inspection->flow, plan, hit->bytes, hit->offset, &finding))
        settle(side, &finding);
    return side->result != INSPECTED_STOP;
}

/* Told once; what is still to come is not looked at. */
static void cannot_see(struct side *side, const char *why)
{
    struct finding finding;

    if (side->unseen)
        return;
    side->unseen = true;
    if (finding_unseen(side->inspection->plan, side->direction, why, &finding))
        settle(side, &finding);
}

/* Policies whose bound the body, or message, has gone beyond: told once each. */
static void note_beyond(struct side *side)
{
    const struct inspection_plan *plan = side->inspection->plan;
    struct finding finding;

    while (side->seen > side->bound && side->result != INSPECTED_STOP) {
        if (finding_beyond(plan, side->direction, side->bound, &finding))
            settle(side, &finding);
        side->bound = inspection_plan_bound(plan, side->direction, side->bound);
    }
}

/* ---- a body, or a message ---- */

static bool room(void *arg, int64_t bytes)
{
    struct limits *limits = arg;

    if (bytes > 0)
        return limits_take(limits, LIMIT_MEMORY, (uint64_t)bytes);
    limits_give(limits, LIMIT_MEMORY, (uint64_t)-bytes);
    return true;
}

/* False: nothing more of it is looked at. */
static bool look(struct span bytes, void *arg)
{
    struct side *side = arg;
    struct inspection_plan *plan = side->inspection->plan;
    uint64_t left = side->reach - side->seen;

    if (!side->stream && inspect_stream_new(&side->stream, plan->lane->inspect,
                                            inspection_plan_denies(plan, side->direction)) < 0) {
        cannot_see(side, "no memory to look at it");
        return false;
    }
    if (bytes.len > left)
        bytes.len = (size_t)left;
    side->seen += bytes.len;
    inspect_feed(side->stream, plan->lane->scratch, bytes, on_hit, side);
    if (inspect_failed(side->stream))
        cannot_see(side, "no memory to look at it");
    note_beyond(side);
    return side->result != INSPECTED_STOP && !side->unseen;
}

static bool look_while_it_counts(struct span bytes, void *arg)
{
    struct side *side = arg;

    return look(bytes, arg) && side->seen < side->reach;
}

/* A WebSocket's later messages refer to what the earlier ones said. */
static bool look_and_go_on(struct span bytes, void *arg)
{
    struct side *side = arg;

    if (side->seen < side->reach)
        look(bytes, side);
    return side->result != INSPECTED_STOP;
}

static decode_on_bytes *looker(const struct side *side)
{
    return side->framing == WEBSOCKET ? look_and_go_on : look_while_it_counts;
}

static void note_decoded(struct side *side, enum decode_status status)
{
    if (status != DECODE_FINE && status != DECODE_ENOUGH)
        cannot_see(side, decode_reason(status));
}

static int open_decode(struct side *side)
{
    struct limits *limits = side->inspection->flow->worker->parts.limits;

    if (side->framing == WEBSOCKET)
        return decode_new_messages(&side->decode, limits ? room : NULL, limits);
    return decode_new(&side->decode, span_of_text(side->encoding), limits ? room : NULL, limits);
}

static void part_begins(struct side *side, bool compressed)
{
    side->begun = true;
    side->compressed = compressed;
    side->seen = 0;
    inspect_stream_free(&side->stream);
    if (compressed && !side->decode && open_decode(side) < 0)
        cannot_see(side, decode_reason(DECODE_NO_MEMORY));
    else if (compressed && side->framing == GRPC && decode_is_plain(side->decode))
        cannot_see(side, decode_reason(DECODE_UNKNOWN)); /* it does not say by what */
}

static void part_goes_on(struct side *side, struct span bytes)
{
    if (side->unseen || side->result == INSPECTED_STOP)
        return;
    if (side->compressed)
        note_decoded(side, decode_feed(side->decode, bytes, looker(side), side));
    else if (side->seen < side->reach)
        look(bytes, side);
}

static void part_ends(struct side *side)
{
    struct inspection_plan *plan = side->inspection->plan;

    if (!side->begun || side->unseen || side->result == INSPECTED_STOP)
        return;
    side->begun = false;
    if (side->compressed)
        note_decoded(side, decode_end(side->decode, looker(side), side));
    if (side->stream && !side->unseen && side->result != INSPECTED_STOP)
        inspect_end(side->stream, plan->lane->scratch, on_hit, side);
    if (side->framing == GRPC)
        decode_free(&side->decode);
}

/* ---- what goes beside it ---- */

static bool is_empty_line(struct span bytes)
{
    return bytes.len <= 2 && (bytes.data[0] == '\r' || bytes.data[0] == '\n');
}

/* Whatever is known of the body, this can be seen; or there is no memory to. */
static void note_aside(struct side *side)
{
    if (side->result == INSPECTED_STOP || (side->aside && !inspect_failed(side->aside)))
        return;
    verdict_blind(side->inspection->flow);
    side->result = INSPECTED_STOP;
}

static void look_aside(struct side *side, struct span bytes)
{
    const struct inspection_plan *plan = side->inspection->plan;

    if (side->result == INSPECTED_STOP || !bytes.len || (!side->aside && is_empty_line(bytes)))
        return;
    if (!side->aside)
        inspect_stream_new(&side->aside, plan->lane->inspect,
                           inspection_plan_denies(plan, side->direction));
    if (side->aside)
        inspect_feed(side->aside, plan->lane->scratch, bytes, on_hit, side);
    note_aside(side);
}

/* ---- framing ---- */

static void feed_grpc(struct side *side, struct span bytes)
{
    struct grpc_piece piece;

    while (grpc_next(&side->grpc, &bytes, &piece)) {
        if (piece.first)
            part_begins(side, piece.compressed);
        part_goes_on(side, piece.bytes);
        if (piece.last)
            part_ends(side);
    }
    if (side->grpc.gave_up)
        cannot_see(side, side->grpc.gave_up);
}

static void on_piece(void *arg, const struct websocket_message *message, struct span bytes)
{
    struct side *side = arg;

    if (!side->begun)
        part_begins(side, message->compressed);
    part_goes_on(side, bytes);
}

static void on_message(void *arg, const struct websocket_message *message)
{
    (void)message;
    part_ends(arg);
}

static void on_control(void *arg, struct span bytes)
{
    look_aside(arg, bytes);
}

static void feed_websocket(struct side *side, struct span bytes)
{
    websocket_feed(&side->websocket, bytes);
    if (side->websocket.gave_up)
        cannot_see(side, side->websocket.gave_up);
}

static void feed(struct side *side, struct span bytes)
{
    if (side->framing == GRPC) {
        feed_grpc(side, bytes);
    } else if (side->framing == WEBSOCKET) {
        feed_websocket(side, bytes);
    } else {
        if (!side->begun)
            part_begins(side, side->encoding[0]);
        part_goes_on(side, bytes);
    }
}

/* ---- a request and its answer ---- */

static void frame(struct side *side, const struct facts_field *fields, size_t len)
{
    enum grpc_kind kind = inspection_coding(fields, len, side->encoding);

    if (kind == GRPC_NONE)
        return;
    side->framing = GRPC;
    grpc_init(&side->grpc, kind);
}

static void side_init(struct side *side, struct inspection *inspection,
                      enum policy_direction direction)
{
    side->inspection = inspection;
    side->direction = direction;
    side->reach = inspection_plan_reach(inspection->plan, direction);
    side->bound = inspection_plan_bound(inspection->plan, direction, 0);
}

static void side_fini(struct side *side)
{
    grpc_fini(&side->grpc);
    websocket_fini(&side->websocket);
    decode_free(&side->decode);
    inspect_stream_free(&side->stream);
    inspect_stream_free(&side->aside);
}

bool inspection_new(struct inspection **out, struct flow *flow, const struct facts_request *request)
{
    CLEANUP(inspection_plan_unref) struct inspection_plan *plan = NULL;
    CLEANUP(inspection_free) struct inspection *inspection = NULL;

    *out = NULL;
    if (!inspection_is_wanted(flow))
        return true;
    plan = inspection_plan_get(flow);
    inspection = calloc(1, sizeof(*inspection));
    if (!plan || !inspection)
        return false;
    inspection->plan = TAKE(plan);
    if (!inspection_copy(&inspection->host, span_of_text(request->host)) ||
        !inspection_copy(&inspection->method, request->method) ||
        !inspection_copy(&inspection->path, request->path))
        return false;
    side_init(&inspection->up, inspection, POLICY_REQUEST);
    side_init(&inspection->down, inspection, POLICY_RESPONSE);
    inspection->socket = websocket_asked(request->upgrade);
    inspection->connect = span_equal(request->method, BYTES("CONNECT"));
    frame(&inspection->up, request->fields, request->fields_len);
    *out = TAKE(inspection);
    return true;
}

void inspection_free(struct inspection **inspection)
{
    struct inspection *gone = TAKE(*inspection);

    if (!gone)
        return;
    side_fini(&gone->up);
    side_fini(&gone->down);
    inspection_plan_unref(&gone->plan);
    free(gone->host);
    free(gone->method);
    free(gone->path);
    free(gone);
}

bool inspection_wants(const struct inspection *inspection, bool up)
{
    return (up ? &inspection->up : &inspection->down)->reach;
}

static void open_socket(struct inspection *inspection, const struct facts_answer *answer)
{
    bool deflate = false;
    struct side *sides[] = {&inspection->up, &inspection->down};

    for (size_t i = 0; i < answer->fields_len; i++)
        if (span_equal_nocase(answer->fields[i].name, "sec-websocket-extensions"))
            deflate = deflate || websocket_deflates(answer->fields[i].value);
    for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
        const struct websocket_hooks hooks = {
            .message = on_message, .piece = on_piece, .control = on_control, .arg = sides[i]};

        sides[i]->framing = WEBSOCKET;
        sides[i]->begun = false;
        websocket_init(&sides[i]->websocket, i ? WEBSOCKET_SERVER : WEBSOCKET_CLIENT, deflate,
                       &hooks);
    }
}

void inspection_answered(struct inspection *inspection, const struct facts_answer *answer)
{
    bool agreed = inspection->connect ? answer->code / 100 == 2 : answer->code == 101;

    if (inspection->socket && agreed)
        open_socket(inspection, answer);
    else
        frame(&inspection->down, answer->fields, answer->fields_len);
}

static struct side *begin(struct flow *flow, struct inspection *inspection, bool up)
{
    struct side *side = up ? &inspection->up : &inspection->down;

    inspection->flow = flow;
    if (side->result == INSPECTED_TOLD)
        side->result = INSPECTED_FINE;
    return side;
}

enum inspected inspection_body(struct flow *flow, struct inspection *inspection, bool up,
                               struct span bytes)
{
    struct side *side = begin(flow, inspection, up);

    if (side->reach && bytes.len && side->result != INSPECTED_STOP)
        feed(side, bytes);
    return side->result;
}

enum inspected inspection_skipped(struct flow *flow, struct inspection *inspection, bool up)
{
    struct side *side = begin(flow, inspection, up);

    if (side->reach && side->seen < side->reach && side->result != INSPECTED_STOP)
        cannot_see(side, "it was not handed up by the kernel");
    return side->result;
}

enum inspected inspection_aside(struct flow *flow, struct inspection *inspection, bool up,
                                struct span bytes)
{
    struct side *side = begin(flow, inspection, up);

    if (side->reach)
        look_aside(side, bytes);
    return side->result;
}

enum inspected inspection_end(struct flow *flow, struct inspection *inspection, bool up)
{
    struct side *side = begin(flow, inspection, up);

    if (side->framing == WHOLE)
        part_ends(side);
    if (side->aside && side->result != INSPECTED_STOP) {
        inspect_end(side->aside, inspection->plan->lane->scratch, on_hit, side);
        note_aside(side);
    }
    return side->result;
}
