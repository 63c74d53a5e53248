#include "events/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "events/metrics_labels.h"

typedef atomic_uint_fast64_t counter_t;

/* Upper bounds of the latency's buckets, in microseconds and as the label says them. */
static const struct {
    uint64_t us;
    const char *le;
} buckets[] = {
    {500, "0.0005"},  {1000, "0.001"},  {2500, "0.0025"}, {5000, "0.005"},  {10000, "0.01"},
    {25000, "0.025"}, {50000, "0.05"},  {100000, "0.1"},  {250000, "0.25"}, {500000, "0.5"},
    {1000000, "1"},   {2500000, "2.5"}, {5000000, "5"},   {10000000, "10"}, {UINT64_MAX, "+Inf"},
};
enum { BUCKETS = ARRAY_SIZE(buckets), CLASSES = 6 }; /* 1xx to 5xx, and none */
enum { SENT, RECEIVED, WAYS };                       /* by the program */

struct metrics {
    counter_t events[FLOW_EVENT_MAX];
    counter_t lost[METRICS_LOST_MAX];
    counter_t connects[PROTOCOL_MAX];
    counter_t flows[PROTOCOL_MAX][ROUTE_MAX][VISIBILITY_MAX];
    counter_t flow_errors[PROTOCOL_MAX];
    counter_t tx[PROTOCOL_MAX], rx[PROTOCOL_MAX];
    counter_t requests[CLASSES][VERDICT_MAX];
    counter_t latency[BUCKETS], latency_ns;
    counter_t faults[METRICS_LEG_MAX][METRICS_FAULT_MAX];
    counter_t calls[METRICS_GRPC_MAX], call_messages[WAYS];
    counter_t websockets, websocket_messages[WAYS];
    counter_t handshakes[METRICS_VERSION_MAX][2];
    counter_t failures[METRICS_LEG_MAX][METRICS_FAILURE_MAX];
    counter_t refusals[METRICS_REFUSAL_MAX];
    counter_t decisions[METRICS_POINT_MAX][VERDICT_MAX][METRICS_ACTION_MAX][METRICS_MODE_MAX];
    counter_t questions, answers[METRICS_RCODE_MAX], unanswered;
};

static void add(counter_t *counter, uint64_t amount)
{
    atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

static uint64_t get(const counter_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

int metrics_new(struct metrics **out, struct err *err)
{
    struct metrics *metrics = calloc(1, sizeof(*metrics));

    if (!metrics)
        return err_set(err, -ENOMEM, "no memory for metrics");
    *out = metrics;
    return 0;
}

void metrics_free(struct metrics **metrics)
{
    free(TAKE(*metrics));
}

/* ---- counting ---- */

static void count_fault(struct metrics *metrics, const char *error)
{
    enum metrics_leg leg;
    enum metrics_fault fault;

    metrics_fault(error, &leg, &fault);
    add(&metrics->faults[leg][fault], 1);
}

static void count_close(struct metrics *metrics, const struct flow_event *event)
{
    add(&metrics->flows[event->protocol][event->route][event->visibility], 1);
    add(&metrics->tx[event->protocol], event->close.tx);
    add(&metrics->rx[event->protocol], event->close.rx);
    if (event->error)
        add(&metrics->flow_errors[event->protocol], 1);
    if (event->error && metrics_is_fault(event->error))
        count_fault(metrics, event->error);
    if (event->client_refused)
        add(&metrics->refusals[metrics_refusal(event->client_refused)], 1);
}

static void count_dns(struct metrics *metrics, const struct flow_event *event)
{
    if (event->dns.response)
        add(&metrics->answers[metrics_rcode(event->dns.rcode)], 1);
    else
        add(&metrics->questions, 1);
    if (!event->dns.response && event->error)
        add(&metrics->unanswered, 1);
}

static void count_tls(struct metrics *metrics, const struct flow_event *event)
{
    enum metrics_leg leg;
    enum metrics_failure failure;

    if (event->tls.version)
        add(&metrics->handshakes[metrics_version(event->tls.version)][event->tls.resumed], 1);
    if (!event->error)
        return;
    metrics_failure(event->error, &leg, &failure);
    add(&metrics->failures[leg][failure], 1);
}

static void count_http(struct metrics *metrics, const struct flow_event *event)
{
    unsigned class = event->http.code / 100;
    size_t bucket = 0;

    add(&metrics->requests[class < CLASSES ? class : 0][event->verdict], 1);
    if (event->verdict == VERDICT_DENY && !event->policy) /* a policy's is no fault of HTTP */
        count_fault(metrics, event->error);
    if (!event->http.code || !event->http.latency_ns)
        return; /* no server took its time */
    while (event->http.latency_ns / 1000 > buckets[bucket].us)
        bucket++;
    add(&metrics->latency[bucket], 1);
    add(&metrics->latency_ns, event->http.latency_ns);
}

static void count_grpc(struct metrics *metrics, const struct flow_event *event)
{
    add(&metrics->calls[metrics_grpc(event->grpc.status_name)], 1);
    add(&metrics->call_messages[SENT], event->grpc.request_messages);
    add(&metrics->call_messages[RECEIVED], event->grpc.response_messages);
}

static void count_websocket(struct metrics *metrics, const struct flow_event *event)
{
    add(&metrics->websockets, 1);
    add(&metrics->websocket_messages[SENT], event->websocket.request_messages);
    add(&metrics->websocket_messages[RECEIVED], event->websocket.response_messages);
}

static void count_policy(struct metrics *metrics, const struct flow_event *event)
{
    unsigned point = metrics_point(event->decision.point);
    unsigned action = metrics_action(event->decision.action);
    unsigned mode = metrics_mode(event->decision.mode);

    add(&metrics->decisions[point][event->verdict][action][mode], 1);
}

static void on_event(void *arg, struct flow_event *event)
{
    struct metrics *metrics = arg;

    add(&metrics->events[event->kind], 1);
    if (event->rendered_json)
        return; /* another agent's, who has counted the rest */
    switch (event->kind) {
    case FLOW_EVENT_CONNECT:
        add(&metrics->connects[event->protocol], 1);
        break;
    case FLOW_EVENT_CLOSE:
        count_close(metrics, event);
        break;
    case FLOW_EVENT_DNS:
        count_dns(metrics, event);
        break;
    case FLOW_EVENT_TLS:
        count_tls(metrics, event);
        break;
    case FLOW_EVENT_HTTP:
        count_http(metrics, event);
        break;
    case FLOW_EVENT_GRPC:
        count_grpc(metrics, event);
        break;
    case FLOW_EVENT_WEBSOCKET:
        count_websocket(metrics, event);
        break;
    case FLOW_EVENT_POLICY:
        count_policy(metrics, event);
        break;
    case FLOW_EVENT_LOST:
        add(&metrics->lost[metrics_lost(event->lost.reason)], event->lost.count);
        break;
    default:
        break;
    }
}

struct bus_tap metrics_tap(struct metrics *metrics)
{
    return (struct bus_tap){.arg = metrics, .on_event = on_event, .fd = -1};
}

void metrics_count(const struct metrics *metrics, uint64_t *told, uint64_t *lost)
{
    *told = *lost = 0;
    for (size_t i = 0; i < FLOW_EVENT_MAX; i++)
        *told += i == FLOW_EVENT_LOST ? 0 : get(&metrics->events[i]);
    for (size_t i = 0; i < METRICS_LOST_MAX; i++)
        *lost += get(&metrics->lost[i]);
}

/* ---- rendering ---- */

static void head(struct buffer *out, const char *name, const char *type, const char *help)
{
    buffer_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void plain(struct buffer *out, const char *name, const counter_t *counter, const char *help)
{
    head(out, name, "counter", help);
    buffer_format(out, "%s %" PRIu64 "\n", name, get(counter));
}

/* One counter for each of some words. */
static void by_word(struct buffer *out, const char *name, const char *label,
                    const counter_t *counters, size_t len, const char *(*word)(unsigned))
{
    for (unsigned i = 0; i < len; i++)
        buffer_format(out, "%s{%s=\"%s\"} %" PRIu64 "\n", name, label, word(i), get(&counters[i]));
}

static const char *kind_word(unsigned kind)
{
    return flow_event_name(kind);
}

static const char *protocol_word(unsigned protocol)
{
    return protocol_name(protocol);
}

static void by_protocol(struct buffer *out, const char *name, const counter_t *counters,
                        const char *help)
{
    head(out, name, "counter", help);
    by_word(out, name, "protocol", counters, PROTOCOL_MAX, protocol_word);
}

/* What never happened is left out where there are many combinations. */
static void render_flows(const struct metrics *metrics, struct buffer *out)
{
    head(out, "sallyport_flows_total", "counter",
         "Connections and datagram exchanges that ended, by how they were handled and seen.");
    for (unsigned p = 0; p < PROTOCOL_MAX; p++)
        for (unsigned r = 0; r < ROUTE_MAX; r++)
            for (unsigned v = 0; v < VISIBILITY_MAX; v++)
                if (get(&metrics->flows[p][r][v]))
                    buffer_format(out,
                                  "sallyport_flows_total{protocol=\"%s\",route=\"%s\","
                                  "visibility=\"%s\"} %" PRIu64 "\n",
                                  protocol_name(p), route_name(r), v ? visibility_name(v) : "none",
                                  get(&metrics->flows[p][r][v]));
}

static void render_http(const struct metrics *metrics, struct buffer *out)
{
    static const char *const classes[CLASSES] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    uint64_t total = 0;

    head(out, "sallyport_http_requests_total", "counter",
         "HTTP requests, by the class of the answer's status and by verdict.");
    for (unsigned c = 0; c < CLASSES; c++)
        for (unsigned v = 0; v < VERDICT_MAX; v++)
            buffer_format(
                out, "sallyport_http_requests_total{status=\"%s\",verdict=\"%s\"} %" PRIu64 "\n",
                classes[c], verdict_name(v), get(&metrics->requests[c][v]));
    head(out, "sallyport_http_request_duration_seconds", "histogram",
         "From a request's head sent on to its answer's head seen.");
    for (size_t i = 0; i < BUCKETS; i++) {
        total += get(&metrics->latency[i]);
        buffer_format(out,
                      "sallyport_http_request_duration_seconds_bucket{le=\"%s\"} %" PRIu64 "\n",
                      buckets[i].le, total);
    }
    buffer_format(out,
                  "sallyport_http_request_duration_seconds_sum %.9f\n"
                  "sallyport_http_request_duration_seconds_count %" PRIu64 "\n",
                  (double)get(&metrics->latency_ns) / 1e9, total);
}

static const char *way_word(unsigned way)
{
    return way == SENT ? "sent" : "received";
}

static void render_http_faults(const struct metrics *metrics, struct buffer *out)
{
    head(out, "sallyport_http_refused_total", "counter",
         "HTTP that was refused, by the side that said it and by what was wrong with it.");
    for (unsigned l = 0; l < METRICS_LEG_MAX; l++)
        for (unsigned f = 0; f < METRICS_FAULT_MAX; f++)
            buffer_format(out,
                          "sallyport_http_refused_total{leg=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
                          metrics_leg_word(l), metrics_fault_word(f), get(&metrics->faults[l][f]));
}

static void render_streams(const struct metrics *metrics, struct buffer *out)
{
    head(out, "sallyport_grpc_calls_total", "counter", "gRPC calls that ended, by status.");
    by_word(out, "sallyport_grpc_calls_total", "status", metrics->calls, METRICS_GRPC_MAX,
            metrics_grpc_word);
    head(out, "sallyport_grpc_messages_total", "counter", "Messages of gRPC calls since ended.");
    by_word(out, "sallyport_grpc_messages_total", "way", metrics->call_messages, WAYS, way_word);
    plain(out, "sallyport_websockets_total", &metrics->websockets, "WebSockets that ended.");
    head(out, "sallyport_websocket_messages_total", "counter",
         "Messages of WebSockets since ended.");
    by_word(out, "sallyport_websocket_messages_total", "way", metrics->websocket_messages, WAYS,
            way_word);
}

static void render_tls(const struct metrics *metrics, struct buffer *out)
{
    head(out, "sallyport_tls_handshakes_total", "counter",
         "TLS handshakes with servers that ended well.");
    for (unsigned v = 0; v < METRICS_VERSION_MAX; v++)
        for (unsigned r = 0; r < 2; r++)
            buffer_format(
                out, "sallyport_tls_handshakes_total{version=\"%s\",resumed=\"%s\"} %" PRIu64 "\n",
                metrics_version_word(v), r ? "true" : "false", get(&metrics->handshakes[v][r]));
    head(out, "sallyport_tls_failures_total", "counter",
         "TLS that failed or was refused, by the side where it did.");
    for (unsigned l = 0; l < METRICS_LEG_MAX; l++)
        for (unsigned f = 0; f < METRICS_FAILURE_MAX; f++)
            if (metrics_failure_exists(l, f))
                buffer_format(
                    out, "sallyport_tls_failures_total{leg=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
                    metrics_leg_word(l), metrics_failure_word(f), get(&metrics->failures[l][f]));
    head(out, "sallyport_tls_refusals_total", "counter",
         "Connections whose program refused our certificate, by how it said so.");
    by_word(out, "sallyport_tls_refusals_total", "how", metrics->refusals, METRICS_REFUSAL_MAX,
            metrics_refusal_word);
}

static void render_dns(const struct metrics *metrics, struct buffer *out)
{
    plain(out, "sallyport_dns_questions_total", &metrics->questions, "Questions to name servers.");
    plain(out, "sallyport_dns_failed_questions_total", &metrics->unanswered,
          "Questions for which there was no answer to relay.");
    head(out, "sallyport_dns_answers_total", "counter", "Answers of name servers, by their code.");
    by_word(out, "sallyport_dns_answers_total", "rcode", metrics->answers, METRICS_RCODE_MAX,
            metrics_rcode_word);
}

/* What never happened is left out. */
static void render_policy(const struct metrics *metrics, struct buffer *out)
{
    head(out, "sallyport_policy_decisions_total", "counter",
         "What policies denied or told of, by where and by what was done.");
    for (unsigned p = 0; p < METRICS_POINT_MAX; p++)
        for (unsigned v = 0; v < VERDICT_MAX; v++)
            for (unsigned a = 0; a < METRICS_ACTION_MAX; a++)
                for (unsigned m = 0; m < METRICS_MODE_MAX; m++)
                    if (get(&metrics->decisions[p][v][a][m]))
                        buffer_format(out,
                                      "sallyport_policy_decisions_total{point=\"%s\",verdict="
                                      "\"%s\",action=\"%s\",mode=\"%s\"} %" PRIu64 "\n",
                                      metrics_point_word(p), verdict_name(v),
                                      metrics_action_word(a), metrics_mode_word(m),
                                      get(&metrics->decisions[p][v][a][m]));
}

static void render_number(struct buffer *out, double number)
{
    if (number == floor(number) && fabs(number) < 9e15)
        buffer_format(out, " %.0f\n", number);
    else
        buffer_format(out, " %.9g\n", number);
}

static void render_readings(const struct metrics_reading *readings, size_t len, struct buffer *out)
{
    for (size_t i = 0; i < len; i++) {
        const struct metrics_reading *one = &readings[i];

        if (i == 0 || strcmp(one->name, readings[i - 1].name) != 0)
            head(out, one->name, one->kind == METRICS_COUNTER ? "counter" : "gauge", one->help);
        buffer_text(out, one->name);
        if (one->labels)
            buffer_format(out, "{%s}", one->labels);
        render_number(out, one->read(one->arg));
    }
}

void metrics_render(const struct metrics *metrics, const struct metrics_reading *readings,
                    size_t readings_len, struct buffer *out)
{
    head(out, "sallyport_events_total", "counter", "Events told, by type.");
    by_word(out, "sallyport_events_total", "type", metrics->events, FLOW_EVENT_MAX, kind_word);
    head(out, "sallyport_events_lost_total", "counter",
         "Events that nobody was told, by where they went missing.");
    by_word(out, "sallyport_events_lost_total", "reason", metrics->lost, METRICS_LOST_MAX,
            metrics_lost_word);
    by_protocol(out, "sallyport_connects_total", metrics->connects,
                "Connections and datagram exchanges that began.");
    render_flows(metrics, out);
    by_protocol(out, "sallyport_flow_errors_total", metrics->flow_errors,
                "Connections and datagram exchanges that failed or were refused.");
    by_protocol(out, "sallyport_flow_sent_bytes_total", metrics->tx,
                "Bytes that programs wrote to sockets since closed.");
    by_protocol(out, "sallyport_flow_received_bytes_total", metrics->rx,
                "Bytes that programs read from sockets since closed.");
    render_http(metrics, out);
    render_http_faults(metrics, out);
    render_streams(metrics, out);
    render_tls(metrics, out);
    render_dns(metrics, out);
    render_policy(metrics, out);
    render_readings(readings, readings_len, out);
}
