/* text: one event as one compact line, laid out and coloured as Tetragon's. */
#include <inttypes.h>

#include "events/quote.h"
#include "events/redact.h"
#include "events/sink.h"
#include "events/units.h"

#define BLUE    "\x1b[34m"
#define GREEN   "\x1b[32m"
#define MAGENTA "\x1b[35m"
#define CYAN    "\x1b[36m"
#define RED     "\x1b[31m"
#define PLAIN   "\x1b[0m"

/* Appends a field of a line with a blank behind it, as all below do; nothing for an empty one. */
static void field(struct buffer *out, const char *text)
{
    if (!text || !*text)
        return;
    quote_text(out, span_of_text(text));
    buffer_append(out, " ", 1);
}

static void append_arguments(struct buffer *out, const struct flow_event *event)
{
    CLEANUP(buffer_fini) struct buffer storage = {0};

    if (event->process)
        field(out, redact_arguments(event->process->arguments, &storage));
    out->failed |= storage.failed;
}

/* "[ebpf.io. www.ebpf.io.] ": a blank inside a text puts that one in quotes. */
static void list(struct buffer *out, const char *const *texts, size_t len)
{
    size_t start;

    buffer_append(out, "[", 1);
    start = out->len;
    for (size_t i = 0; i < len; i++)
        field(out, texts[i]);
    if (out->len > start)
        out->len--; /* the blank behind the last */
    buffer_append(out, "] ", 2);
}

static void append_socket(struct buffer *out, const struct flow_event *event)
{
    char src[ADDR_TEXT_MAX], dst[ADDR_TEXT_MAX];

    buffer_format(out, "%s %s => %s ", protocol_name(event->protocol),
                  addr_format(&event->src, src), addr_format(&event->dst, dst));
    if (event->names_len)
        list(out, event->names, event->names_len);
}

/* What passed without being read must not look as if it had been. */
static void append_unread(struct buffer *out, const struct flow_event *event)
{
    if (event->visibility == VISIBILITY_OPAQUE || event->visibility == VISIBILITY_PASSTHROUGH ||
        event->visibility == VISIBILITY_PRE_EXISTING)
        field(out, visibility_name(event->visibility));
    if (event->visibility == VISIBILITY_OPAQUE && event->opaque) /* our own words: no quotes */
        buffer_format(out, "(%s) ", opaque_name(event->opaque));
}

static void append_connect(struct buffer *out, const struct flow_event *event)
{
    append_socket(out, event);
    append_unread(out, event);
}

static void append_dns(struct buffer *out, const struct flow_event *event)
{
    field(out, event->dns.rcode);
    list(out, &event->dns.name, 1);
    list(out, &event->dns.qtype, 1);
    if (event->dns.response)
        list(out, event->dns.ips, event->dns.ips_len);
    if (!event->dns.stripped_len)
        return;
    buffer_text(out, "stripped ");
    for (size_t i = 0; i < event->dns.stripped_len; i++) { /* our own words: no need to quote */
        const char *stripped = event->dns.stripped[i];

        if (stripped)
            buffer_format(out, "%s,", stripped);
    }
    if (!out->failed)
        out->data[out->len - 1] = ' '; /* in place of the last comma */
}

static void append_tls(struct buffer *out, const struct flow_event *event)
{
    char dst[ADDR_TEXT_MAX];

    field(out, addr_format(&event->dst, dst));
    field(out, event->tls.sni);
    field(out, event->tls.transport ? event->tls.transport : event->tls.version);
    field(out, event->tls.cipher);
    append_unread(out, event);
}

/* A field that has its place in the line: whoever counts columns finds the next one in its own. */
static void column(struct buffer *out, const char *text)
{
    field(out, text && *text ? text : "-");
}

/* field(), for what may have a password in it, without that. */
static void redacted(struct buffer *out, const char *text,
                     const char *redact(const char *text, struct buffer *storage))
{
    CLEANUP(buffer_fini) struct buffer storage = {0};

    if (text)
        field(out, redact(text, &storage));
    out->failed |= storage.failed;
}

static void append_http(struct buffer *out, const struct flow_event *event)
{
    char dst[ADDR_TEXT_MAX];

    column(out, event->http.host ? event->http.host : addr_format(&event->dst, dst));
    column(out, event->http.method);
    redacted(out, event->http.path && *event->http.path ? event->http.path : "-", redact_target);
    if (event->http.code)
        buffer_format(out, "%" PRIu32 " ", event->http.code);
    else
        column(out, NULL);
    if (!event->http.latency_ns)
        return; /* our own answer: no server took its time */
    units_duration(out, event->http.latency_ns);
    buffer_append(out, " ", 1);
}

/* "tx 3 msgs 120 B " */
static void append_messages(struct buffer *out, const char *way, uint64_t messages, uint64_t bytes)
{
    buffer_format(out, "%s %" PRIu64 " msg%s ", way, messages, messages == 1 ? "" : "s");
    units_bytes(out, bytes);
    buffer_append(out, " ", 1);
}

static void append_grpc(struct buffer *out, const struct flow_event *event)
{
    CLEANUP(buffer_fini) struct buffer call = {0};
    char dst[ADDR_TEXT_MAX];

    column(out, event->grpc.host ? event->grpc.host : addr_format(&event->dst, dst));
    if (event->grpc.service)
        buffer_format(&call, "%s/", event->grpc.service);
    buffer_text(&call, event->grpc.method ? event->grpc.method : "");
    buffer_append(&call, "", 1);
    column(out, call.failed ? NULL : call.data);
    out->failed |= call.failed;
    column(out, event->grpc.status_name);
    append_messages(out, "tx", event->grpc.request_messages, event->grpc.request_bytes);
    append_messages(out, "rx", event->grpc.response_messages, event->grpc.response_bytes);
    units_duration(out, event->grpc.duration_ns);
    buffer_append(out, " ", 1);
}

static void append_websocket(struct buffer *out, const struct flow_event *event)
{
    char dst[ADDR_TEXT_MAX];

    column(out, event->websocket.host ? event->websocket.host : addr_format(&event->dst, dst));
    redacted(out, event->websocket.path && *event->websocket.path ? event->websocket.path : "-",
             redact_target);
    if (event->websocket.close_code)
        buffer_format(out, "%" PRIu32 " ", event->websocket.close_code);
    else
        column(out, NULL);
    append_messages(out, "tx", event->websocket.request_messages, event->websocket.request_bytes);
    append_messages(out, "rx", event->websocket.response_messages, event->websocket.response_bytes);
    units_duration(out, event->websocket.duration_ns);
    buffer_append(out, " ", 1);
}

static void append_counts(struct buffer *out, const struct flow_event *event)
{
    append_socket(out, event);
    buffer_text(out, "tx ");
    units_bytes(out, event->close.tx);
    buffer_text(out, " rx ");
    units_bytes(out, event->close.rx);
    buffer_append(out, " ", 1);
}

static void append_close(struct buffer *out, const struct flow_event *event)
{
    append_counts(out, event);
    append_unread(out, event);
}

static void append_policy(struct buffer *out, const struct flow_event *event)
{
    column(out, event->policy);
    field(out, verdict_name(event->verdict));
    column(out, event->verdict == VERDICT_DENY ? event->decision.action : event->decision.mode);
    column(out, event->decision.point);
    redacted(out, event->decision.reason, redact_sentence);
}

/* The binary before it is of who asked, not of the pod. */
static void append_capture(struct buffer *out, const struct flow_event *event)
{
    buffer_format(out, "%s %s by pid %" PRIu32 " uid %" PRIu32 " ", event->capture.what,
                  event->capture.ended ? "ended, asked for" : "asked for", event->capture.pid,
                  event->capture.uid);
    if (!event->capture.ended)
        return;
    units_bytes(out, event->capture.bytes);
    buffer_format(out, " missed %" PRIu64 ": ", event->capture.missed);
    buffer_format(out, "%s ", event->capture.ended); /* our own words */
}

static void append_lost(struct buffer *out, const struct flow_event *event)
{
    /* the reason is our own words, never a stranger's: no need to quote it */
    buffer_format(out, "%" PRIu64 " event%s: %s ", event->lost.count,
                  event->lost.count == 1 ? "" : "s", event->lost.reason);
}

static const struct {
    const char *label; /* with its sign; seven columns wide */
    void (*details)(struct buffer *out, const struct flow_event *event);
} kinds[] = {
    [FLOW_EVENT_EXEC] = {"🚀 process", append_arguments},
    [FLOW_EVENT_EXIT] = {"💥 exit   ", append_arguments},
    [FLOW_EVENT_CONNECT] = {"🔌 connect", append_connect},
    [FLOW_EVENT_DNS] = {"📖 dns    ", append_dns},
    [FLOW_EVENT_TLS] = {"🔐 tls    ", append_tls},
    [FLOW_EVENT_HTTP] = {"🌐 http   ", append_http},
    [FLOW_EVENT_GRPC] = {"📨 grpc   ", append_grpc},
    [FLOW_EVENT_WEBSOCKET] = {"💬 ws     ", append_websocket},
    [FLOW_EVENT_SOCK_STATS] = {"📄 socket ", append_counts},
    [FLOW_EVENT_CLOSE] = {"🧹 close  ", append_close},
    [FLOW_EVENT_POLICY] = {"🚫 policy ", append_policy},
    [FLOW_EVENT_CAPTURE] = {"🎥 capture", append_capture},
    [FLOW_EVENT_LOST] = {"⚠️ lost   ", append_lost},
};
_Static_assert(ARRAY_SIZE(kinds) == FLOW_EVENT_MAX, "render every kind");

static void append_label(struct buffer *out, const struct flow_event *event)
{
    buffer_text(out, kinds[event->kind].label);
    buffer_append(out, " ", 1);
}

static void append_source(struct buffer *out, const struct flow_event *event)
{
    const struct pod *pod = event->pod;
    char ip[ADDR_TEXT_MAX];

    if (event->kind == FLOW_EVENT_LOST)
        return;
    if (!pod && event->process)
        pod = event->process->pod;
    if (!pod && !event->process) { /* it came by --listen: the other end is all that is known */
        field(out, addr_format_ip(&event->src, ip));
        return;
    }
    if (!pod || !*pod->name) {
        field(out, "HOST");
        return;
    }
    if (*pod->space) {
        quote_text(out, span_of_text(pod->space));
        buffer_append(out, "/", 1);
    }
    field(out, pod->name);
}

static void append_binary(struct buffer *out, const struct flow_event *event)
{
    if (event->kind == FLOW_EVENT_LOST)
        return;
    if (event->kind == FLOW_EVENT_CAPTURE) {
        column(out, event->capture.binary);
        return;
    }
    field(out, event->process && *event->process->binary ? event->process->binary : "-");
}

static void append_details(struct buffer *out, const struct flow_event *event)
{
    kinds[event->kind].details(out, event);
}

/* "denied by shop/cart "; of what was allowed: nothing. */
static void append_decided(struct buffer *out, const struct flow_event *event)
{
    if (event->verdict == VERDICT_ALLOW || event->kind == FLOW_EVENT_POLICY)
        return;
    field(out, event->verdict == VERDICT_DENY ? "denied" : "alert");
    if (event->policy)
        buffer_text(out, "by ");
    field(out, event->policy);
}

static void append_outcome(struct buffer *out, const struct flow_event *event)
{
    char name[FLOW_EVENT_SIGNAL_MAX];

    if (event->kind == FLOW_EVENT_EXIT && event->exit.signal)
        field(out, flow_event_signal(event->exit.signal, name));
    else if (event->kind == FLOW_EVENT_EXIT)
        buffer_format(out, "%" PRIu32 " ", event->exit.status);
    append_decided(out, event);
    if (event->kind == FLOW_EVENT_GRPC)
        redacted(out, event->grpc.message, redact_url);
    if (event->kind == FLOW_EVENT_WEBSOCKET)
        redacted(out, event->websocket.close_reason, redact_url);
    if (event->error) {
        field(out, "error:");
        field(out, event->error);
    }
}

void text_render(struct sink *sink, const struct flow_event *event, struct buffer *out)
{
    static const struct {
        const char *color;
        void (*append)(struct buffer *out, const struct flow_event *event);
    } parts[] = {
        {BLUE, append_label},   {GREEN, append_source}, {MAGENTA, append_binary},
        {CYAN, append_details}, {RED, append_outcome},
    };

    if (event->rendered_text) {
        buffer_text(out, event->rendered_text);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        size_t before = out->len, start;

        if (sink->color)
            buffer_text(out, parts[i].color);
        start = out->len;
        parts[i].append(out, event);
        if (out->len == start) {
            out->len = before; /* nothing to say: no colour either */
        } else if (sink->color) {
            out->len--; /* the blank goes behind the coloured part */
            buffer_text(out, PLAIN " ");
        }
    }
    if (!out->failed)
        out->data[out->len - 1] = '\n'; /* in place of the last blank */
}
