/* json: one event as one line, in Tetragon's envelope and names. */
#include "events/json_process.h"
#include "events/json_writer.h"
#include "events/redact.h"
#include "events/sink.h"

static void append_socket(struct buffer *out, const struct flow_event *event)
{
    char ip[ADDR_TEXT_MAX];
    size_t mark = json_begin(out, "socket", '{');

    json_text(out, "protocol", protocol_name(event->protocol));
    json_text(out, "saddr", addr_format_ip(&event->src, ip));
    json_number(out, "sport", event->src.port);
    json_text(out, "daddr", addr_format_ip(&event->dst, ip));
    json_number(out, "dport", event->dst.port);
    if (event->socket_cookie)
        json_long(out, "cookie", event->socket_cookie);
    json_end(out, mark, '}');
    json_list(out, "destination_names", event->names, event->names_len);
}

static void append_outcome(struct buffer *out, const struct flow_event *event)
{
    json_text(out, "visibility", visibility_name(event->visibility));
    if (event->visibility == VISIBILITY_OPAQUE && event->opaque)
        json_text(out, "visibility_reason", opaque_name(event->opaque));
    json_text(out, "error", event->error);
    json_text(out, "client_refused", event->client_refused);
    json_text(out, "route", route_name(event->route));
}

/* Of what no policy had a say in: nothing. */
static void append_decided(struct buffer *out, const struct flow_event *event)
{
    if (event->policy || event->verdict != VERDICT_ALLOW)
        json_text(out, "verdict", verdict_name(event->verdict));
    json_text(out, "policy", event->policy);
    json_text(out, "rule", event->rule);
}

static void append_exit(struct buffer *out, const struct flow_event *event)
{
    char name[FLOW_EVENT_SIGNAL_MAX];

    if (event->exit.signal)
        json_text(out, "signal", flow_event_signal(event->exit.signal, name));
    else
        json_number(out, "status", event->exit.status);
    json_time(out, "time", event->time_ns);
}

static void append_dns(struct buffer *out, const struct flow_event *event)
{
    size_t mark = json_begin(out, "dns", '{');

    json_list(out, "names", &event->dns.name, 1);
    json_list(out, "qtypes", &event->dns.qtype, 1);
    json_flag(out, "response", event->dns.response);
    json_text(out, "rcode", event->dns.rcode);
    json_list(out, "ips", event->dns.ips, event->dns.ips_len);
    json_list(out, "cnames", event->dns.cnames, event->dns.cnames_len);
    if (event->dns.ips_len || event->dns.cnames_len)
        json_number(out, "ttl", event->dns.ttl);
    json_end(out, mark, '}');
    json_list(out, "stripped", event->dns.stripped, event->dns.stripped_len);
    append_decided(out, event);
}

static void append_tls(struct buffer *out, const struct flow_event *event)
{
    size_t mark;

    json_text(out, "sni", event->tls.sni);
    json_text(out, "version", event->tls.version);
    json_text(out, "cipher", event->tls.cipher);
    json_text(out, "alpn", event->tls.alpn);
    json_text(out, "transport", event->tls.transport);
    if (event->tls.version)
        json_flag(out, "resumed", event->tls.resumed);
    json_text(out, "ja4", event->tls.ja4);
    mark = json_begin(out, "server", '{');
    json_text(out, "subject", event->tls.subject);
    json_text(out, "issuer", event->tls.issuer);
    json_text(out, "not_after", event->tls.not_after);
    json_text(out, "sha256", event->tls.sha256);
    json_end(out, mark, '}');
    json_text(out, "client_certificate", event->tls.client_certificate);
    append_decided(out, event);
}

static void append_redacted(struct buffer *out, const char *key, const char *text,
                            const char *redact(const char *text, struct buffer *storage))
{
    CLEANUP(buffer_fini) struct buffer storage = {0};

    if (text)
        json_text(out, key, redact(text, &storage));
    out->failed |= storage.failed;
}

static void append_url(struct buffer *out, const char *key, const char *url)
{
    append_redacted(out, key, url, redact_url);
}

/* A request's target, or its Host. */
static void append_target(struct buffer *out, const char *key, const char *target)
{
    append_redacted(out, key, target, redact_target);
}

static void append_headers(struct buffer *out, const char *key,
                           const struct flow_event_header *headers, size_t len)
{
    size_t array = json_begin(out, key, '[');

    for (size_t i = 0; headers && i < len; i++) {
        size_t mark;

        if (!headers[i].key) /* there was no memory for its name */
            continue;
        mark = json_begin(out, NULL, '{');
        json_text(out, "key", headers[i].key);
        if (redact_field(headers[i].key, headers[i].value))
            json_text(out, "value", REDACTED);
        else if (strcasecmp(headers[i].key, "host") == 0)
            append_target(out, "value", headers[i].value);
        else
            append_url(out, "value", headers[i].value);
        json_end(out, mark, '}');
    }
    json_end(out, array, ']');
}

static void append_http(struct buffer *out, const struct flow_event *event)
{
    json_text(out, "host", event->http.host);
    json_text(out, "method", event->http.method);
    append_target(out, "url", event->http.url);
    append_target(out, "path", event->http.path);
    json_text(out, "protocol", event->http.protocol);
    json_number(out, "stream", event->http.stream);
    append_headers(out, "request_headers", event->http.request_headers,
                   event->http.request_headers_len);
    if (event->http.code)
        json_number(out, "code", event->http.code);
    append_headers(out, "response_headers", event->http.response_headers,
                   event->http.response_headers_len);
    if (event->http.code)
        json_long(out, "latency_ns", event->http.latency_ns);
    json_long(out, "request_bytes", event->http.request_bytes);
    if (event->http.code)
        json_long(out, "response_bytes", event->http.response_bytes);
    json_text(out, "verdict", verdict_name(event->verdict));
    json_text(out, "policy", event->policy);
    json_text(out, "rule", event->rule);
}

static void append_grpc(struct buffer *out, const struct flow_event *event)
{
    json_text(out, "host", event->grpc.host);
    json_text(out, "service", event->grpc.service);
    json_text(out, "method", event->grpc.method);
    json_text(out, "protocol", event->grpc.protocol);
    json_number(out, "stream", event->grpc.stream);
    if (event->grpc.status_name)
        json_number(out, "status", event->grpc.status);
    json_text(out, "status_name", event->grpc.status_name);
    append_url(out, "status_message", event->grpc.message);
    json_long(out, "request_messages", event->grpc.request_messages);
    json_long(out, "request_bytes", event->grpc.request_bytes);
    json_long(out, "response_messages", event->grpc.response_messages);
    json_long(out, "response_bytes", event->grpc.response_bytes);
    json_long(out, "duration_ns", event->grpc.duration_ns);
}

static void append_websocket(struct buffer *out, const struct flow_event *event)
{
    json_text(out, "host", event->websocket.host);
    append_url(out, "url", event->websocket.url);
    append_url(out, "path", event->websocket.path);
    json_text(out, "protocol", event->websocket.protocol);
    json_number(out, "stream", event->websocket.stream);
    json_long(out, "request_messages", event->websocket.request_messages);
    json_long(out, "request_bytes", event->websocket.request_bytes);
    json_long(out, "request_frames", event->websocket.request_frames);
    json_long(out, "response_messages", event->websocket.response_messages);
    json_long(out, "response_bytes", event->websocket.response_bytes);
    json_long(out, "response_frames", event->websocket.response_frames);
    if (event->websocket.close_code)
        json_number(out, "close_code", event->websocket.close_code);
    append_url(out, "close_reason", event->websocket.close_reason);
    json_long(out, "duration_ns", event->websocket.duration_ns);
}

static void append_sock_stats(struct buffer *out, const struct flow_event *event)
{
    json_long(out, "tx", event->close.tx);
    json_long(out, "rx", event->close.rx);
}

static void append_close(struct buffer *out, const struct flow_event *event)
{
    append_sock_stats(out, event);
    json_long(out, "duration_ns", event->close.duration_ns);
}

static void append_token(struct buffer *out, const struct flow_event *event)
{
    size_t mark = json_begin(out, "token", '{');

    json_text(out, "namespace", event->decision.token_namespace);
    json_text(out, "service_account", event->decision.token_service_account);
    json_text(out, "pod", event->decision.token_pod);
    json_end(out, mark, '}');
}

static void append_policy(struct buffer *out, const struct flow_event *event)
{
    if (event->dst.port) /* else of a socket that had no address yet */
        append_socket(out, event);
    json_text(out, "policy", event->policy);
    json_text(out, "rule", event->rule);
    json_text(out, "verdict", verdict_name(event->verdict));
    json_text(out, "action", event->decision.action);
    json_text(out, "point", event->decision.point);
    json_text(out, "mode", event->decision.mode);
    append_redacted(out, "reason", event->decision.reason, redact_sentence);
    append_target(out, "host", event->decision.host);
    json_text(out, "method", event->decision.method);
    append_target(out, "path", event->decision.path);
    json_text(out, "name", event->decision.name);
    json_text(out, "qtype", event->decision.qtype);
    json_text(out, "pattern", event->decision.pattern);
    json_text(out, "direction", event->decision.direction);
    if (event->decision.pattern)
        json_long(out, "offset", event->decision.offset);
    json_text(out, "sha256", event->decision.sha256);
    append_token(out, event);
    json_text(out, "route", route_name(event->route));
}

static void append_capture(struct buffer *out, const struct flow_event *event)
{
    size_t mark = json_begin(out, "asked_by", '{');

    json_number(out, "pid", event->capture.pid);
    json_number(out, "uid", event->capture.uid);
    json_number(out, "auid", event->capture.auid);
    json_text(out, "binary", event->capture.binary);
    json_end(out, mark, '}');
    json_text(out, "what", event->capture.what);
    json_text(out, "state", event->capture.ended ? "ended" : "began");
    if (!event->capture.ended)
        return;
    json_text(out, "reason", event->capture.ended);
    json_long(out, "duration_ns", event->capture.duration_ns);
    json_long(out, "bytes", event->capture.bytes);
    json_long(out, "missed", event->capture.missed);
}

static void append_lost(struct buffer *out, const struct flow_event *event)
{
    json_long(out, "count", event->lost.count);
    json_text(out, "reason", event->lost.reason);
}

static const struct {
    bool has_socket;
    void (*append)(struct buffer *out, const struct flow_event *event); /* may be NULL */
} kinds[] = {
    [FLOW_EVENT_EXEC] = {false, NULL},
    [FLOW_EVENT_EXIT] = {false, append_exit},
    [FLOW_EVENT_CONNECT] = {true, append_decided},
    [FLOW_EVENT_DNS] = {true, append_dns},
    [FLOW_EVENT_TLS] = {true, append_tls},
    [FLOW_EVENT_HTTP] = {true, append_http},
    [FLOW_EVENT_GRPC] = {true, append_grpc},
    [FLOW_EVENT_WEBSOCKET] = {true, append_websocket},
    [FLOW_EVENT_SOCK_STATS] = {true, append_sock_stats},
    [FLOW_EVENT_CLOSE] = {true, append_close},
    [FLOW_EVENT_POLICY] = {false, append_policy},
    [FLOW_EVENT_CAPTURE] = {false, append_capture},
    [FLOW_EVENT_LOST] = {false, append_lost},
};
_Static_assert(ARRAY_SIZE(kinds) == FLOW_EVENT_MAX, "render every kind");

static void append_who(struct buffer *out, const struct flow_event *event)
{
    if (event->process) {
        json_process(out, "process", event->process);
        json_process(out, "parent", event->process->parent);
    } else { /* a process nobody knows, but perhaps its pod */
        size_t mark = json_begin(out, "process", '{');

        json_pod(out, event->pod);
        json_end(out, mark, '}');
    }
}

void json_render_member(const struct flow_event *event, struct buffer *out)
{
    size_t mark;

    if (event->rendered_json) {
        buffer_text(out, event->rendered_json);
        return;
    }
    mark = json_begin(out, flow_event_name(event->kind), '{');
    append_who(out, event);
    if (kinds[event->kind].has_socket)
        append_socket(out, event);
    if (kinds[event->kind].append)
        kinds[event->kind].append(out, event);
    if (kinds[event->kind].has_socket)
        append_outcome(out, event);
    json_end(out, mark, '}');
}

void json_render(struct sink *sink, const struct flow_event *event, struct buffer *out)
{
    size_t line = json_begin(out, NULL, '{');

    json_render_member(event, out);
    json_text(out, "node_name", sink->node_name);
    json_time(out, "time", event->time_ns);
    json_long(out, "seq", sink->seq + 1);
    json_end(out, line, '}');
    if (!out->failed)
        out->data[out->len - 1] = '\n'; /* in place of the comma behind the object */
}
