#include "proxy/flow/carried.h"

#include <stdio.h>

#include "proxy/flow/steps.h"
#include "proxy/wire/grpc.h"
#include "proxy/wire/websocket.h"

enum { MESSAGE_MAX = 1024 }; /* of a status' message: an answer's head could be a megabyte */

struct call {
    struct grpc up, down;
};

struct socket {
    struct websocket up, down;
    const struct websocket *closing; /* who sent a close frame first; NULL: nobody did */
    bool open;
    bool connect; /* asked for by CONNECT (RFC 8441), and so agreed to by a 2xx */
};

struct carried {
    struct flow_event *event; /* filled but for what went by */
    bool is_call;             /* else a WebSocket */
    union {
        struct call call;
        struct socket socket;
    };
};

static const char *copy(struct flow_event *event, struct span text)
{
    return text.data ? flow_event_text(event, text) : NULL;
}

/* ---- a gRPC call ---- */

static void call_begins(struct carried *carried, const struct facts_request *request,
                        enum grpc_kind kind)
{
    struct flow_event *event = carried->event;
    struct span service = {0}, method = request->path;

    grpc_path(request->path, &service, &method);
    event->grpc.host = copy(event, span_of_text(request->host));
    event->grpc.service = copy(event, service);
    event->grpc.method = copy(event, method);
    event->grpc.protocol = request->protocol;
    event->grpc.stream = request->stream;
    grpc_init(&carried->call.up, kind);
}

static void call_status(struct flow_event *event, struct span status, struct span message)
{
    uint8_t text[MESSAGE_MAX];

    if (!status.data)
        return;
    event->grpc.status = grpc_status_parse(status);
    event->grpc.status_name = grpc_status_name(event->grpc.status);
    if (message.len)
        event->grpc.message =
            flow_event_text(event, grpc_message_decode(message, text, sizeof(text)));
}

static void call_fields(struct flow_event *event, const struct facts_field *fields, size_t len)
{
    call_status(event, facts_find_field(fields, len, "grpc-status"),
                facts_find_field(fields, len, "grpc-message"));
}

/* Who asks by gRPC may be answered by something else: a proxy's error page. */
static void call_answered(struct carried *carried, const struct facts_answer *answer)
{
    struct flow_event *event = carried->event;
    enum grpc_kind kind =
        grpc_kind_of(facts_find_field(answer->fields, answer->fields_len, "content-type"));
    char text[64];

    grpc_init(&carried->call.down, kind);
    call_fields(event, answer->fields, answer->fields_len);
    if (kind == GRPC_NONE && !event->grpc.status_name) {
        snprintf(text, sizeof(text), "the answer is not gRPC: HTTP status %u", answer->code);
        event->error = flow_event_text(event, span_of_text(text));
    }
}

static void call_ends(struct carried *carried)
{
    struct flow_event *event = carried->event;
    const struct grpc *up = &carried->call.up, *down = &carried->call.down;
    struct span status = {0}, message = {0};

    grpc_trailer(down, "grpc-message", &message);
    if (grpc_trailer(down, "grpc-status", &status))
        call_status(event, status, message);
    event->grpc.request_messages = up->messages;
    event->grpc.request_bytes = up->bytes;
    event->grpc.response_messages = down->messages;
    event->grpc.response_bytes = down->bytes;
}

/* ---- a WebSocket ---- */

static void socket_begins(struct carried *carried, const struct facts_request *request)
{
    struct flow_event *event = carried->event;

    event->websocket.host = copy(event, span_of_text(request->host));
    event->websocket.url = report_text(event, request->url);
    event->websocket.path = report_text(event, request->path);
    event->websocket.protocol = request->protocol;
    event->websocket.stream = request->stream;
    carried->socket.connect = span_equal(request->method, BYTES("CONNECT"));
}

static bool socket_agreed(const struct socket *socket, const struct facts_answer *answer)
{
    if (socket->connect)
        return answer->code / 100 == 2;
    return answer->code == 101 &&
           facts_find_field(answer->fields, answer->fields_len, "sec-websocket-accept").data;
}

static void socket_opens(struct socket *socket, const struct facts_answer *answer)
{
    bool deflate = websocket_deflates(
        facts_find_field(answer->fields, answer->fields_len, "sec-websocket-extensions"));

    socket->open = true;
    websocket_init(&socket->up, WEBSOCKET_CLIENT, deflate, NULL);
    websocket_init(&socket->down, WEBSOCKET_SERVER, deflate, NULL);
}

static void socket_feed(struct socket *socket, struct websocket *side, struct span bytes)
{
    websocket_feed(side, bytes);
    if (!socket->closing && side->closed)
        socket->closing = side;
}

static void socket_ends(struct carried *carried)
{
    enum { NO_CODE = 1005 }; /* RFC 6455 section 7.1.5 */
    struct flow_event *event = carried->event;
    const struct websocket *up = &carried->socket.up, *down = &carried->socket.down;
    const struct websocket *closing = carried->socket.closing;

    event->websocket.request_messages = up->messages;
    event->websocket.request_bytes = up->bytes;
    event->websocket.request_frames = up->data_frames + up->control_frames;
    event->websocket.response_messages = down->messages;
    event->websocket.response_bytes = down->bytes;
    event->websocket.response_frames = down->data_frames + down->control_frames;
    if (closing) {
        event->websocket.close_code = closing->close_code ? closing->close_code : NO_CODE;
        event->websocket.close_reason = report_text(event, websocket_close_reason(closing));
    }
}

/* ---- either ---- */

struct carried *carried_new(struct flow *flow, const struct facts_request *request)
{
    enum grpc_kind kind =
        grpc_kind_of(facts_find_field(request->fields, request->fields_len, "content-type"));
    bool socket = kind == GRPC_NONE && websocket_asked(request->upgrade);
    CLEANUP(carried_free) struct carried *carried = NULL;

    if (kind == GRPC_NONE && !socket)
        return NULL;
    carried = calloc(1, sizeof(*carried));
    if (carried)
        carried->event = report_new(flow, socket ? FLOW_EVENT_WEBSOCKET : FLOW_EVENT_GRPC);
    if (!carried || !carried->event) {
        struct flow_event *lost = NULL;

        report_emit(flow, &lost);
        return NULL;
    }
    carried->is_call = !socket;
    if (socket)
        socket_begins(carried, request);
    else
        call_begins(carried, request, kind);
    return TAKE(carried);
}

void carried_free(struct carried **carried)
{
    struct carried *gone = TAKE(*carried);

    if (!gone)
        return;
    if (gone->is_call) {
        grpc_fini(&gone->call.up);
        grpc_fini(&gone->call.down);
    } else {
        websocket_fini(&gone->socket.up);
        websocket_fini(&gone->socket.down);
    }
    flow_event_free(&gone->event);
    free(gone);
}

void carried_answered(struct carried **carried, const struct facts_answer *answer)
{
    struct carried *one = *carried;

    if (!one)
        return;
    if (one->is_call) {
        call_answered(one, answer);
    } else if (socket_agreed(&one->socket, answer)) {
        socket_opens(&one->socket, answer);
    } else {
        carried_free(carried);
    }
}

void carried_body(struct carried *carried, bool up, struct span bytes)
{
    if (carried->is_call)
        grpc_feed(up ? &carried->call.up : &carried->call.down, bytes);
    else if (carried->socket.open)
        socket_feed(&carried->socket, up ? &carried->socket.up : &carried->socket.down, bytes);
}

void carried_skipped(struct carried *carried, bool up, uint64_t len)
{
    if (carried->is_call)
        grpc_skip(up ? &carried->call.up : &carried->call.down, len);
    else if (carried->socket.open)
        (up ? &carried->socket.up : &carried->socket.down)->gave_up =
            "the kernel did not hand them up";
}

void carried_trailers(struct carried *carried, bool up, const struct facts_field *fields,
                      size_t len)
{
    if (carried->is_call && !up)
        call_fields(carried->event, fields, len);
}

/* What could not be read of it, as a sentence, or NULL. */
static const char *unread(struct carried *carried)
{
    const char *up, *down;
    char text[128];

    if (carried->is_call) {
        up = carried->call.up.gave_up;
        down = carried->call.down.gave_up;
    } else {
        up = carried->socket.up.gave_up;
        down = carried->socket.down.gave_up;
    }
    if (!up && !down)
        return NULL;
    snprintf(text, sizeof(text), "the %s's messages could not be read: %s",
             down ? "server" : "program", down ? down : up);
    return flow_event_text(carried->event, span_of_text(text));
}

/* A call has its status, or both ends of a WebSocket have said goodbye: how the stream goes then is
 * no failure. gRPC resets it when the status came before the request's end. */
static bool done_with(const struct carried *carried)
{
    if (carried->is_call)
        return carried->event->grpc.status_name;
    return carried->socket.up.closed && carried->socket.down.closed;
}

void carried_end(struct flow *flow, struct carried **carried, uint64_t duration_ns,
                 const char *error)
{
    CLEANUP(carried_free) struct carried *one = TAKE(*carried);
    struct flow_event *event;

    if (!one || (!one->is_call && !one->socket.open))
        return;
    event = one->event;
    if (one->is_call) {
        call_ends(one);
        event->grpc.duration_ns = duration_ns;
    } else {
        socket_ends(one);
        event->websocket.duration_ns = duration_ns;
    }
    if (error && !done_with(one))
        event->error = flow_event_text(event, span_of_text(error));
    else if (!event->error)
        event->error = unread(one);
    event->time_ns = report_now(flow);
    report_emit(flow, &one->event);
}
