/* hearing: a stream that is told pieces by hand, and what it tells, as lines; for the tests of
 * kernel/. Linked with bus_emit and sockets_flow_done wrapped. */
#pragma once

#include "tests/unit/dns/policed.h"

#include <stdio.h>
#include <string.h>

#include "proxy/dns/names.h"
#include "proxy/flow/flow.h"
#include "proxy/flow/inspection_plan.h"
#include "proxy/kernel/stream.h"
#include "proxy/limits.h"
#include "proxy/worker.h"

#define PIECES_MAX 12

struct piece {
    enum abi_direction direction;
    struct span bytes;
    uint8_t flags;
    bool denied;
    uint64_t skipped, lost;
    uint32_t before; /* denied: so many before these, too */
    uint16_t keys;   /* instead: the program hands over keys of this version */
    bool unread;     /* ... by which nothing is read */
};

#define UP(text)                                                                                   \
    {                                                                                              \
        ABI_TX, BYTES(text)                                                                        \
    }
#define DOWN(text)                                                                                 \
    {                                                                                              \
        ABI_RX, BYTES(text)                                                                        \
    }
#define KEEPS           "HTTP/1.1\r\nHost: a.example\r\n"
#define GET(path)       "GET " path " " KEEPS "\r\n"
#define FINE(len, body) "HTTP/1.1 200 OK\r\nContent-Length: " len "\r\n\r\n" body
#define BAD             "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"
/* A policy's: of all requests to where streams go it allows one. */
#define NO_RULE "egress: [{toCIDR: [203.0.113.0/24], toPorts: [{rules: {http: [{path: /fine}]}}]}]"

static struct worker *worker;
static struct flow *hearing;
static struct pod hearing_pod = {.cgroup_id = 7, .space = (char *)"", .name = (char *)""};
static char heard[1 << 16];
static uint64_t hearing_ns, heard_tx, heard_rx;
static uint64_t hearing_untold; /* denials, as its end says */
static enum stream_ended hearing_ended;
static unsigned heard_undecided, heard_http2; /* early words */

static inline void heard_add(const char *ahead, const char *text)
{
    size_t len = strlen(heard);

    if (text && *text)
        snprintf(heard + len, sizeof(heard) - len, "%s%s", ahead, text);
}

static inline void heard_number(const char *ahead, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    if (number)
        heard_add(ahead, text);
}

static inline void heard_visibility(const struct flow_event *event)
{
    heard_add(" ", visibility_name(event->visibility));
    heard_add("/", event->visibility == VISIBILITY_OPAQUE ? opaque_name(event->opaque) : NULL);
}

static inline void heard_http(const struct flow_event *event)
{
    heard_add("", event->http.method ? event->http.method : "?");
    heard_add(" ", event->http.host);
    heard_add(" ", event->http.url);
    heard_number(" #", event->http.stream);
    heard_number(" ", event->http.code);
    heard_number(" up ", event->http.request_bytes);
    heard_number(" down ", event->http.response_bytes);
    heard_number(" after ", event->http.latency_ns);
    heard_visibility(event);
    if (event->verdict != VERDICT_ALLOW)
        heard_add(" ", verdict_name(event->verdict));
}

void __wrap_bus_emit(struct bus_producer *producer, struct flow_event **event);
void __wrap_sockets_flow_done(struct sockets *sockets, struct sockets_flow **flow);

void __wrap_bus_emit(struct bus_producer *producer, struct flow_event **event)
{
    struct flow_event *told = *event;

    (void)producer;
    assert_non_null(told);
    assert_int_equal(told->route, ROUTE_KERNEL);
    switch (told->kind) {
    case FLOW_EVENT_HTTP:
        heard_http(told);
        break;
    case FLOW_EVENT_TLS:
        heard_add("", "tls");
        heard_add(" ", told->tls.sni);
        heard_add(" ", told->tls.version);
        heard_add(" ", told->tls.cipher);
        heard_add(" ", told->tls.alpn);
        heard_add(" ", told->tls.resumed ? "resumed" : NULL);
        heard_add(" ", told->tls.subject);
        heard_visibility(told);
        break;
    case FLOW_EVENT_GRPC:
        heard_add("grpc ", told->grpc.service);
        heard_add("/", told->grpc.method);
        heard_add(" ", told->grpc.status_name);
        heard_number(" up ", told->grpc.request_messages);
        heard_number(" down ", told->grpc.response_messages);
        break;
    case FLOW_EVENT_WEBSOCKET:
        heard_add("websocket ", told->websocket.path);
        heard_number(" up ", told->websocket.request_messages);
        heard_number(" down ", told->websocket.response_messages);
        break;
    case FLOW_EVENT_POLICY:
        heard_add("policy ", verdict_name(told->verdict));
        heard_add(" ", told->decision.action);
        heard_add(" ", told->decision.point);
        heard_add(" ", told->decision.method);
        heard_add(": ", told->decision.reason);
        break;
    default:
        heard_add("an event of another kind", "");
    }
    heard_add(" error: ", told->error);
    heard_add("", "\n");
    flow_event_free(event);
}

void __wrap_sockets_flow_done(struct sockets *sockets, struct sockets_flow **flow)
{
    (void)sockets;
    if ((*flow)->early) {
        heard_undecided += (*flow)->undecided;
        heard_http2 += (*flow)->http2;
        free(TAKE(*flow));
        return;
    }
    heard_add("", "closed");
    heard_add(" ", visibility_name((*flow)->visibility));
    heard_add("/", (*flow)->visibility == VISIBILITY_OPAQUE ? opaque_name((*flow)->opaque) : NULL);
    if ((*flow)->tls)
        heard_add(" by ", (*flow)->tls_cipher ? (*flow)->tls_cipher : "TLS");
    heard_number(" ", (*flow)->tls_version);
    heard_add(" error: ", (*flow)->error);
    heard_add("", "\n");
    heard_tx = (*flow)->tx;
    heard_rx = (*flow)->rx;
    free(TAKE(*flow));
}

static inline void hearing_reaps(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

static inline int hearing_begin(void **state)
{
    (void)state;
    atomic_init(&hearing_pod.refs, 1);
    worker = calloc(1, sizeof(*worker));
    if (!worker || policed_begin(&hearing_pod) < 0 || names_new(&worker->parts.names, NULL) < 0)
        return -1;
    worker->parts.policies = policies;
    worker->parts.limits = calloc(1, sizeof(*worker->parts.limits));
    limits_init(worker->parts.limits,
                &(struct limits_machine){.files = 1000, .memory = UINT64_C(1) << 32});
    worker->base = event_base_new();
    worker->reaper = evtimer_new(worker->base, hearing_reaps, NULL);
    return worker->reaper && worker->parts.limits ? 0 : -1;
}

static inline int hearing_end(void **state)
{
    (void)state;
    inspection_lanes_fini(worker);
    while (worker->spare_len)
        free(worker->spare[--worker->spare_len]);
    event_free(worker->reaper);
    event_base_free(worker->base);
    names_free(&worker->parts.names);
    free(worker->parts.limits);
    free(worker);
    policed_end();
    return 0;
}

static inline void hearing_opens(bool accepted, bool midway)
{
    const struct origin origin = {
        .src = {.ip = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 2}, .port = 40000},
        .dst = {.ip = {[10] = 0xff, [11] = 0xff, 203, 0, 113, 10}, .port = 80},
        .cookie = 1,
    };
    const struct stream_opening opening = {
        .accepted = accepted, .midway = midway, .seat = &hearing};
    struct stream *stream = kernel_stream_new(&opening);

    heard[0] = 0;
    heard_undecided = heard_http2 = 0;
    hearing_ns = 1000;
    hearing_untold = 0;
    hearing_ended = STREAM_ENDED_UNKNOWN;
    assert_non_null(stream);
    hearing = flow_watch(worker, &origin, NULL, &hearing_pod, stream, !accepted);
    assert_non_null(hearing);
}

/* A millisecond later. */
static inline void hears(const struct piece *piece)
{
    struct abi_said said = {
        .kind = piece->denied ? ABI_SAID_DENIED : ABI_SAID_BYTES,
        .direction = (uint8_t)piece->direction,
        .flags = piece->flags,
        .time_ns = hearing_ns += 1000000,
        .skipped = piece->skipped,
        .lost = piece->lost,
        .len = (uint32_t)piece->bytes.len,
        .before = piece->before,
    };
    const struct abi_ktls keys = {
        .direction = (uint8_t)piece->direction,
        .time_ns = said.time_ns,
        .version = piece->keys,
        .cipher = 51,
        .unread = piece->unread,
    };

    if (piece->keys)
        kernel_stream_ktls(hearing, &keys);
    else
        kernel_stream_said(hearing, &said, piece->bytes, 0);
}

static inline void hearing_ends(bool goes_on)
{
    const struct stream_closing closing = {
        .time_ns = hearing_ns += 1000000,
        .ended = hearing_ended,
        .goes_on = goes_on,
        .untold = hearing_untold,
    };
    struct flow *flow = hearing;

    kernel_stream_closed(flow, &closing);
    assert_null(hearing);
    assert_ptr_equal(worker->dead, flow);
    assert_null(worker->flows);
    worker->dead = NULL;
    flow_free(&flow);
}

static inline void hearing_closes(void)
{
    hearing_ends(false);
}
