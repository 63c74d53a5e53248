/* metrics: what was counted, as text; and which of the few words each sentence of ours gets. */
#include "sample.h"

#include "events/metrics.h"
#include "events/metrics_labels.h"

static struct flow_event closed(enum protocol protocol, enum visibility visibility, uint64_t tx,
                                uint64_t rx, const char *error)
{
    struct flow_event event = {.kind = FLOW_EVENT_CLOSE, .protocol = protocol, .error = error};

    event.visibility = visibility;
    event.close.tx = tx;
    event.close.rx = rx;
    return event;
}

static struct flow_event answered(uint32_t code, uint64_t latency_ns, enum verdict verdict)
{
    struct flow_event event = {.kind = FLOW_EVENT_HTTP, .process = &villain};

    event.http.host = "secret.example";
    event.http.path = "/secret";
    event.http.code = code;
    event.http.latency_ns = latency_ns;
    event.verdict = verdict;
    return event;
}

static struct flow_event decided(enum verdict verdict, const char *point, const char *action,
                                 const char *mode)
{
    struct flow_event event = {.kind = FLOW_EVENT_POLICY, .verdict = verdict, .policy = "secret"};

    event.decision.point = point;
    event.decision.action = action;
    event.decision.mode = mode;
    event.decision.path = "/secret";
    return event;
}

static double seven(void *arg)
{
    (void)arg;
    return 7;
}

static double half(void *arg)
{
    return *(double *)arg;
}

static char *rendered(const struct flow_event *events, size_t len)
{
    static double number = 0.5;
    static const struct metrics_reading readings[] = {
        {"sallyport_things", "Things.", METRICS_GAUGE, "kind=\"a\"", seven, NULL},
        {"sallyport_things", "Things.", METRICS_GAUGE, "kind=\"b\"", half, &number},
        {"sallyport_turns_total", "Turns.", METRICS_COUNTER, NULL, seven, NULL},
    };
    struct metrics *metrics = NULL;
    struct buffer out = {0};
    struct bus_tap tap;

    assert_int_equal(metrics_new(&metrics, NULL), 0);
    tap = metrics_tap(metrics);
    for (size_t i = 0; i < len; i++) {
        struct flow_event event = events[i];

        tap.on_event(tap.arg, &event);
    }
    metrics_render(metrics, readings, ARRAY_SIZE(readings), &out);
    buffer_append(&out, "", 1);
    assert_false(out.failed);
    metrics_free(&metrics);
    return out.data;
}

/* What becomes of the events below. */
static const char *const counted[] = {
    "# HELP sallyport_events_total Events told, by type.\n# TYPE sallyport_events_total "
    "counter\n",
    "sallyport_events_total{type=\"process_exec\"} 2\n",
    "sallyport_events_total{type=\"process_exit\"} 0\n",
    "sallyport_events_lost_total{reason=\"ring\"} 42\n",
    "sallyport_events_lost_total{reason=\"kernel\"} 0\n",
    "sallyport_connects_total{protocol=\"UDP\"} 1\n",
    "sallyport_flows_total{protocol=\"TCP\",route=\"proxy\",visibility=\"terminated\"} 2\n",
    "sallyport_flows_total{protocol=\"TCP\",route=\"proxy\",visibility=\"none\"} 1\n",
    "sallyport_flow_errors_total{protocol=\"TCP\"} 1\n",
    "sallyport_flow_sent_bytes_total{protocol=\"TCP\"} 15\n",
    "sallyport_flow_received_bytes_total{protocol=\"TCP\"} 1500\n",
    "sallyport_http_requests_total{status=\"2xx\",verdict=\"allow\"} 2\n",
    "sallyport_http_requests_total{status=\"4xx\",verdict=\"deny\"} 3\n",
    "sallyport_http_refused_total{leg=\"pod\",reason=\"authority\"} 1\n",
    "sallyport_http_refused_total{leg=\"pod\",reason=\"other\"} 1\n",
    "sallyport_http_refused_total{leg=\"pod\",reason=\"resets\"} 1\n",
    "sallyport_http_refused_total{leg=\"upstream\",reason=\"length\"} 1\n",
    "sallyport_grpc_calls_total{status=\"NOT_FOUND\"} 1\n",
    "sallyport_grpc_calls_total{status=\"none\"} 1\n",
    "sallyport_grpc_messages_total{way=\"sent\"} 3\n",
    "sallyport_grpc_messages_total{way=\"received\"} 3\n",
    "sallyport_websockets_total 1\n",
    "sallyport_websocket_messages_total{way=\"sent\"} 7\n",
    "sallyport_http_requests_total{status=\"5xx\",verdict=\"alert\"} 1\n",
    "sallyport_http_requests_total{status=\"none\",verdict=\"allow\"} 3\n",
    "# TYPE sallyport_http_request_duration_seconds histogram\n",
    "sallyport_http_request_duration_seconds_bucket{le=\"0.0005\"} 3\n",
    "sallyport_http_request_duration_seconds_bucket{le=\"0.001\"} 4\n",
    "sallyport_http_request_duration_seconds_bucket{le=\"10\"} 4\n",
    "sallyport_http_request_duration_seconds_bucket{le=\"+Inf\"} 5\n",
    "sallyport_http_request_duration_seconds_sum 20.001600001\n",
    "sallyport_http_request_duration_seconds_count 5\n",
    "sallyport_tls_handshakes_total{version=\"TLS1.3\",resumed=\"false\"} 2\n",
    "sallyport_tls_handshakes_total{version=\"TLS1.2\",resumed=\"true\"} 1\n",
    "sallyport_tls_failures_total{leg=\"pod\",reason=\"certificate\"} 1\n",
    "sallyport_tls_refusals_total{how=\"unknown_ca\"} 1\n",
    "sallyport_tls_refusals_total{how=\"other\"} 1\n",
    "sallyport_tls_refusals_total{how=\"silent\"} 0\n",
    "sallyport_dns_questions_total 2\n",
    "sallyport_dns_failed_questions_total 1\n",
    "sallyport_dns_answers_total{rcode=\"NXDOMAIN\"} 1\n",
    "sallyport_dns_answers_total{rcode=\"other\"} 1\n",
    "sallyport_policy_decisions_total{point=\"http\",verdict=\"deny\",action=\"reject\","
    "mode=\"enforce\"} 2\n",
    "sallyport_policy_decisions_total{point=\"body\",verdict=\"alert\",action=\"none\","
    "mode=\"enforce\"} 1\n",
    "sallyport_policy_decisions_total{point=\"dns\",verdict=\"alert\",action=\"sigkill\","
    "mode=\"monitor\"} 1\n",
    "sallyport_policy_decisions_total{point=\"other\",verdict=\"deny\",action=\"none\","
    "mode=\"enforce\"} 1\n",
    "# HELP sallyport_things Things.\n# TYPE sallyport_things gauge\n"
    "sallyport_things{kind=\"a\"} 7\nsallyport_things{kind=\"b\"} 0.5\n"
    "# HELP sallyport_turns_total Turns.\n# TYPE sallyport_turns_total counter\n"
    "sallyport_turns_total 7\n",
};

static void counts(void **state)
{
    struct flow_event events[] = {
        {.kind = FLOW_EVENT_EXEC},
        {.kind = FLOW_EVENT_EXEC},
        {.kind = FLOW_EVENT_CONNECT, .protocol = PROTOCOL_UDP},
        closed(PROTOCOL_TCP, VISIBILITY_TERMINATED, 10, 1000, NULL),
        closed(PROTOCOL_TCP, VISIBILITY_TERMINATED, 5, 500, NULL),
        closed(PROTOCOL_TCP, VISIBILITY_UNKNOWN, 0, 0, "refused"),
        {.kind = FLOW_EVENT_DNS, .dns = {.name = "secret.example."}},
        {.kind = FLOW_EVENT_DNS, .dns = {.name = "secret.example."}, .error = "no route"},
        {.kind = FLOW_EVENT_DNS, .dns = {.response = true, .rcode = "NXDOMAIN"}},
        {.kind = FLOW_EVENT_DNS, .dns = {.response = true, .rcode = "RCODE4000"}},
        {.kind = FLOW_EVENT_TLS, .tls = {.version = "TLS1.3", .sni = "secret.example"}},
        {.kind = FLOW_EVENT_TLS, .tls = {.version = "TLS1.2", .resumed = true}},
        {.kind = FLOW_EVENT_TLS,
         .tls = {.version = "TLS1.3"},
         .error = "client refused our certificate: unknown ca"},
        {.kind = FLOW_EVENT_CLOSE, .client_refused = "unknown_ca", .protocol = PROTOCOL_UDP},
        {.kind = FLOW_EVENT_CLOSE, .client_refused = "what", .protocol = PROTOCOL_UDP},
        answered(200, 400000, VERDICT_ALLOW),      /* 0.4 ms: the first bucket */
        answered(204, 500000, VERDICT_ALLOW),      /* its bound */
        answered(301, 700000, VERDICT_ALLOW),      /* the second */
        answered(503, 20000000000, VERDICT_ALERT), /* beyond the last */
        answered(403, 0, VERDICT_DENY),            /* our own: nobody's time */
        answered(0, 0, VERDICT_ALLOW),
        {.kind = FLOW_EVENT_HTTP,
         .verdict = VERDICT_DENY,
         .http = {.code = 421},
         .error = "the authority is not whom the connection is with"},
        {.kind = FLOW_EVENT_HTTP,
         .verdict = VERDICT_DENY,
         .http = {.code = 502},
         .error = "the upstream's answer was refused: two Content-Length fields"},
        {.kind = FLOW_EVENT_HTTP, .error = "the program's HTTP/2: too many resets"},
        {.kind = FLOW_EVENT_CLOSE,
         .protocol = PROTOCOL_UDP,
         .error = "the program's HTTP/2: too many resets"},
        {.kind = FLOW_EVENT_CLOSE,
         .protocol = PROTOCOL_UDP,
         .error = "the upstream's answer was refused: two Content-Length fields"},
        {.kind = FLOW_EVENT_GRPC,
         .grpc = {.status_name = "NOT_FOUND", .request_messages = 2, .response_messages = 3}},
        {.kind = FLOW_EVENT_GRPC, .grpc = {.method = "secret", .request_messages = 1}},
        {.kind = FLOW_EVENT_WEBSOCKET, .websocket = {.path = "/secret", .request_messages = 7}},
        {.kind = FLOW_EVENT_HTTP, /* a policy's: not what is wrong with HTTP */
         .verdict = VERDICT_DENY,
         .policy = "secret",
         .http = {.code = 403}},
        decided(VERDICT_DENY, "http", "reject", "enforce"),
        decided(VERDICT_DENY, "http", "reject", "enforce"),
        decided(VERDICT_ALERT, "body", NULL, "enforce"),
        decided(VERDICT_ALERT, "dns", "sigkill", "monitor"),
        decided(VERDICT_DENY, "secret", "secret", NULL), /* a word that is none of ours */
        answered(999, 1, VERDICT_ALLOW),                 /* no class that there is */
        {.kind = FLOW_EVENT_LOST, .lost = {.count = 41, .reason = "worker 3 ring full"}},
        {.kind = FLOW_EVENT_LOST, .lost = {.count = 1, .reason = "control ring full"}},
    };
    CLEANUP(text_free) char *text = rendered(events, ARRAY_SIZE(events));

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(counted); i++)
        if (!strstr(text, counted[i]))
            fail_msg("no '%s' in:\n%s", counted[i], text);
    assert_null(strstr(text, "secret")); /* nothing of traffic */
    assert_null(strstr(text, "evil"));
}

/* However odd the traffic, the lines are as many. */
static void all_that_was_told_and_lost_is_known(void **state)
{
    struct flow_event events[] = {
        {.kind = FLOW_EVENT_EXEC},
        {.kind = FLOW_EVENT_CONNECT},
        {.kind = FLOW_EVENT_LOST, .lost = {.count = 41, .reason = "worker 3 ring full"}},
        {.kind = FLOW_EVENT_LOST, .lost = {.count = 2, .reason = "something new"}},
    };
    struct metrics *metrics = NULL;
    uint64_t told, lost;

    (void)state;
    assert_int_equal(metrics_new(&metrics, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(events); i++)
        metrics_tap(metrics).on_event(metrics, &events[i]);
    metrics_count(metrics, &told, &lost);
    assert_int_equal(told, 2);
    assert_int_equal(lost, 43);
    metrics_free(&metrics);
}

static void what_pods_say_makes_no_lines(void **state)
{
    struct flow_event events[200];
    CLEANUP(text_free) char *before = rendered(NULL, 0), *after = NULL;
    size_t lines = 0;

    (void)state;
    for (uint32_t i = 0; i < ARRAY_SIZE(events); i++)
        switch (i % 6) {
        case 0:
            events[i] = answered(i * 977, i, VERDICT_ALLOW);
            break;
        case 1:
            events[i] = (struct flow_event){.kind = FLOW_EVENT_DNS,
                                            .dns = {.response = true, .rcode = "RCODE77"}};
            break;
        case 2:
            events[i] = (struct flow_event){
                .kind = FLOW_EVENT_TLS, .tls = {.version = "TLS9"}, .error = "whatever"};
            break;
        case 3:
            events[i] = (struct flow_event){.kind = FLOW_EVENT_GRPC, .grpc.status_name = "WHAT"};
            break;
        case 4:
            events[i] = (struct flow_event){
                .kind = FLOW_EVENT_HTTP, .verdict = VERDICT_DENY, .error = "whatever"};
            break;
        default:
            events[i] = (struct flow_event){.kind = FLOW_EVENT_LOST, .lost = {.count = 1}};
        }
    after = rendered(events, ARRAY_SIZE(events));
    for (const char *at = before; *at; at++)
        lines += *at == '\n';
    for (const char *at = after; *at; at++)
        lines -= *at == '\n';
    assert_int_equal(lines, 0);
}

static void sentences_have_words(void **state)
{
    static const struct {
        const char *error;
        enum metrics_leg leg;
        enum metrics_failure failure;
    } rows[] = {
        {"the certificate for a.example was refused: it has expired", METRICS_UPSTREAM,
         METRICS_FAILURE_CERTIFICATE},
        {"client refused our certificate: unknown ca", METRICS_POD, METRICS_FAILURE_CERTIFICATE},
        {"client left without a word after it saw our certificate", METRICS_POD,
         METRICS_FAILURE_CERTIFICATE},
        {"the server refused the client certificate for a.example: alert 'unknown CA'",
         METRICS_UPSTREAM, METRICS_FAILURE_CERTIFICATE},
        {"connecting to 192.0.2.1:443: Connection refused", METRICS_UPSTREAM,
         METRICS_FAILURE_CONNECT},
        {"connecting upstream took over 10 s", METRICS_UPSTREAM, METRICS_FAILURE_TIMEOUT},
        {"the upstream's TLS handshake took over 10 s", METRICS_UPSTREAM, METRICS_FAILURE_TIMEOUT},
        {"the program's TLS handshake took over 10 s", METRICS_POD, METRICS_FAILURE_TIMEOUT},
        {"the upstream's side: TLS alert 'handshake failure'", METRICS_UPSTREAM,
         METRICS_FAILURE_ALERT},
        {"the program's side: Connection reset by peer", METRICS_POD, METRICS_FAILURE_OTHER},
        {"the upstream's side: Connection reset by peer", METRICS_UPSTREAM, METRICS_FAILURE_OTHER},
        {"something new", METRICS_UPSTREAM, METRICS_FAILURE_OTHER},
    };
    enum metrics_failure failure;
    enum metrics_leg leg;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        metrics_failure(rows[i].error, &leg, &failure);
        if (leg != rows[i].leg || failure != rows[i].failure)
            fail_msg("%s: %s %s", rows[i].error, metrics_leg_word(leg),
                     metrics_failure_word(failure));
    }
    assert_int_equal(metrics_lost("the kernel's ring buffer of processes and sockets was full"),
                     METRICS_LOST_KERNEL);
    assert_int_equal(metrics_lost("questions to name servers: our listener's buffer was full"),
                     METRICS_LOST_QUESTIONS);
    assert_int_equal(metrics_lost("control out of memory"), METRICS_LOST_MEMORY);
    assert_int_equal(metrics_lost("could not be written: No space left on device"),
                     METRICS_LOST_OTHER);
}

static void faults_have_words(void **state)
{
    static const struct {
        const char *error;
        enum metrics_leg leg;
        enum metrics_fault fault;
        bool closes;
    } rows[] = {
        {"the program's HTTP/2: too many resets", METRICS_POD, METRICS_FAULT_RESETS, true},
        {"the upstream's HTTP/2: too many resets", METRICS_UPSTREAM, METRICS_FAULT_RESETS, true},
        {"the program's HTTP/2: too many PINGs", METRICS_POD, METRICS_FAULT_FLOOD, true},
        {"the program's HTTP/2: too many empty frames", METRICS_POD, METRICS_FAULT_FLOOD, true},
        {"the program's HTTP/2: too many frames that want an answer", METRICS_POD,
         METRICS_FAULT_FLOOD, true},
        {"the program's HTTP/2: too many streams", METRICS_POD, METRICS_FAULT_STREAMS, true},
        {"the program's HTTP/2: a header list far past the limit", METRICS_POD,
         METRICS_FAULT_HEADER_LIST, true},
        {"the upstream's HTTP/2: a header block that does not decode", METRICS_UPSTREAM,
         METRICS_FAULT_COMPRESSION, true},
        {"the upstream's HTTP/2: more than the window allows", METRICS_UPSTREAM,
         METRICS_FAULT_WINDOW, true},
        {"the program's HTTP/2: a malformed header field", METRICS_POD, METRICS_FAULT_FIELD, true},
        {"the program's HTTP/2: a malformed message", METRICS_POD, METRICS_FAULT_MESSAGE, true},
        {"the program's HTTP/2: a frame on a closed stream", METRICS_POD, METRICS_FAULT_FRAME,
         true},
        {"the upstream's HTTP/2: no SETTINGS at first", METRICS_UPSTREAM, METRICS_FAULT_FRAME,
         true},
        {"the program's HTTP/2: no memory for the trailers", METRICS_POD, METRICS_FAULT_MEMORY,
         true},
        {"the program's HTTP/2: something new", METRICS_POD, METRICS_FAULT_OTHER, true},
        {"the authority is not whom the connection is with", METRICS_POD, METRICS_FAULT_AUTHORITY,
         false},
        {"Host is not :authority", METRICS_POD, METRICS_FAULT_AUTHORITY, false},
        {"two Content-Length fields", METRICS_POD, METRICS_FAULT_LENGTH, false},
        {"a framing field in a trailer", METRICS_POD, METRICS_FAULT_FIELD, false},
        {"a blank too many in the request line", METRICS_POD, METRICS_FAULT_MESSAGE, false},
        {"the upstream's answer was refused: an invalid chunk size", METRICS_UPSTREAM,
         METRICS_FAULT_LENGTH, false},
        {"the request was refused: an invalid chunk size", METRICS_POD, METRICS_FAULT_LENGTH, true},
        {"the upstream's side: Connection reset by peer", METRICS_UPSTREAM, METRICS_FAULT_OTHER,
         false},
        {"a control byte", METRICS_POD, METRICS_FAULT_OTHER, false},
    };
    enum metrics_fault fault;
    enum metrics_leg leg;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        metrics_fault(rows[i].error, &leg, &fault);
        if (leg != rows[i].leg || fault != rows[i].fault ||
            metrics_is_fault(rows[i].error) != rows[i].closes)
            fail_msg("%s: %s %s", rows[i].error, metrics_leg_word(leg), metrics_fault_word(fault));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(all_that_was_told_and_lost_is_known),
        cmocka_unit_test(what_pods_say_makes_no_lines),
        cmocka_unit_test(sentences_have_words),
        cmocka_unit_test(faults_have_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
