#include "sample.h"

#define SHELL_MEMBERS                                                                              \
    "{\"exec_id\":\"bjE6MTox\",\"pid\":1,\"uid\":0,\"cwd\":\"/root\",\"binary\":\"/bin/bash\","    \
    "\"flags\":\"procFS\",\"auid\":4294967295,\"tid\":1,"                                          \
    "\"process_credentials\":{\"uid\":0,\"gid\":0,\"euid\":0}}"
#define CURL                                                                                       \
    "\"process\":{\"exec_id\":\"bjE6Mjoy\",\"pid\":4711,\"uid\":1000,\"cwd\":\"/root\","           \
    "\"binary\":\"/usr/bin/curl\",\"arguments\":\"https://ebpf.io/tetragon\","                     \
    "\"flags\":\"execve\",\"start_time\":\"2026-11-23T18:00:00.000000001Z\",\"auid\":1000,"        \
    "\"parent_exec_id\":\"bjE6MTox\",\"cap\":{\"permitted\":[\"CAP_SYS_ADMIN\","                   \
    "\"CAP_CHECKPOINT_RESTORE\",\"CAP_41\"]},\"ns\":{\"uts\":{\"inum\":1},\"ipc\":{\"inum\":2},"   \
    "\"mnt\":{\"inum\":3},\"pid\":{\"inum\":4},\"net\":{\"inum\":5},\"time\":{\"inum\":8},"        \
    "\"cgroup\":{\"inum\":6},\"user\":{\"inum\":7}},\"tid\":4711,"                                 \
    "\"process_credentials\":{\"uid\":1000,\"gid\":100,\"euid\":0}},\"parent\":" SHELL_MEMBERS
#define CART                                                                                       \
    "\"process\":{\"exec_id\":\"bjE6Mzoz\",\"pid\":0,\"uid\":0,\"cwd\":\"/\","                     \
    "\"binary\":\"/usr/bin/curl\",\"arguments\":\"-s https://ebpf.io/tetragon\","                  \
    "\"flags\":\"execve truncArgs\",\"auid\":0,"                                                   \
    "\"pod\":{\"namespace\":\"shop\",\"name\":\"cart-7d4b\"},\"tid\":0,"                           \
    "\"process_credentials\":{\"uid\":0,\"gid\":0,\"euid\":0}}"
#define SOCKET     SOCKET_OF("TCP")
#define SOCKET_UDP SOCKET_OF("UDP")
#define SOCKET_OF(protocol)                                                                        \
    "\"socket\":{\"protocol\":\"" protocol "\",\"saddr\":\"192.0.2.2\",\"sport\":60066,"           \
    "\"daddr\":\"203.0.113.10\",\"dport\":443,\"cookie\":\"4711\"}"
#define TAIL     ",\"node_name\":\"n1\",\"time\":\"2026-11-23T18:00:00.000000001Z\",\"seq\":\"5\"}\n"
#define REPLACED "\xef\xbf\xbd"
#define FLOW     .src = SRC, .dst = DST, .socket_cookie = 4711, .time_ns = SAMPLE_TIME

static struct flow_event_header asked[] = {
    {"user-agent", "curl/7.88.1"},
    {"Authorization", "Bearer abc"},
    {"Cookie", "a=b"},
    {"x-api-key", "k"},
    {"X-Odd", "a\x1b\"\xff\n"},
    {NULL, "no memory for its name"},
    {"Referer", "https://u:p@a.example/"},
};
static struct pod_label pod_labels[] = {{"app.kubernetes.io/name", "cart"}, {"odd \"key\"", ""}};
static struct pod labelled_pod = {
    .refs = 1,
    .space = "shop",
    .name = "cart-7d4b",
    .labels = pod_labels,
    .labels_len = 2,
};
static const char *names[] = {"ebpf.io.", NULL, "a\x1b\"\xff."};
static const char *ips[] = {"203.0.113.10", "203.0.113.11"};
static const char *stripped[] = {"ech", "h3"};
static struct flow_event_header answered[] = {{"Set-Cookie", "a=b"}, {"X-Empty", ""}};

static const struct {
    const char *name;
    struct flow_event event;
    const char *want;
} cases[] = {
    {"exec",
     {.kind = FLOW_EVENT_EXEC, .time_ns = SAMPLE_TIME, .process = &curl},
     "{\"process_exec\":{" CURL "}" TAIL},
    {"exec again: the object was kept",
     {.kind = FLOW_EVENT_EXEC, .time_ns = SAMPLE_TIME, .process = &curl},
     "{\"process_exec\":{" CURL "}" TAIL},
    {"exec of a hostile program",
     {.kind = FLOW_EVENT_EXEC, .time_ns = SAMPLE_TIME, .process = &villain},
     "{\"process_exec\":{\"process\":{\"exec_id\":\"bjE6NDo0\",\"pid\":0,\"uid\":0,"
     "\"cwd\":\"/" REPLACED "\",\"binary\":\"/tmp/\\u001b[2J" REPLACED "\\u009b\\u202eevil\","
     "\"arguments\":\"a\\nb \\\"c\\\"\",\"flags\":\"execve\",\"auid\":0,\"tid\":0,"
     "\"process_credentials\":{\"uid\":0,\"gid\":0,\"euid\":0}}}" TAIL},
    {"exec with secrets",
     {.kind = FLOW_EVENT_EXEC, .time_ns = SAMPLE_TIME, .process = &login},
     "{\"process_exec\":{\"process\":{\"exec_id\":\"bjE6NTo1\",\"pid\":0,\"uid\":0,"
     "\"cwd\":\"/\",\"binary\":\"/usr/bin/curl\","
     "\"arguments\":\"--oauth2-bearer-token=***** https://*****@a.example/\","
     "\"flags\":\"execve\",\"auid\":0,\"tid\":0,"
     "\"process_credentials\":{\"uid\":0,\"gid\":0,\"euid\":0}}}" TAIL},
    {"exit with a status",
     {.kind = FLOW_EVENT_EXIT, .time_ns = SAMPLE_TIME, .process = &cart, .exit = {.status = 22}},
     "{\"process_exit\":{" CART ",\"status\":22,\"time\":\"2026-11-23T18:00:00.000000001Z\"}" TAIL},
    {"exit by signal",
     {.kind = FLOW_EVENT_EXIT, .time_ns = SAMPLE_TIME, .process = &cart, .exit = {.signal = 15}},
     "{\"process_exit\":{" CART
     ",\"signal\":\"SIGTERM\",\"time\":\"2026-11-23T18:00:00.000000001Z\"}" TAIL},
    {"connect",
     {.kind = FLOW_EVENT_CONNECT, .process = &cart, FLOW},
     "{\"process_connect\":{" CART "," SOCKET ",\"route\":\"proxy\"}" TAIL},
    {"connect of a process nobody knows, in a pod",
     {.kind = FLOW_EVENT_CONNECT, .pod = &cart_pod, FLOW, .error = "refused"},
     "{\"process_connect\":{\"process\":{\"pod\":{\"namespace\":\"shop\",\"name\":\"cart-7d4b\"}},"
     "" SOCKET ",\"error\":\"refused\",\"route\":\"proxy\"}" TAIL},
    {"connect of a pod with labels",
     {.kind = FLOW_EVENT_CONNECT, .pod = &labelled_pod, FLOW},
     "{\"process_connect\":{\"process\":{\"pod\":{\"namespace\":\"shop\",\"name\":\"cart-7d4b\","
     "\"pod_labels\":{\"app.kubernetes.io/name\":\"cart\",\"odd \\\"key\\\"\":\"\"}}},"
     "" SOCKET ",\"route\":\"proxy\"}" TAIL},
    {"connect by UDP",
     {.kind = FLOW_EVENT_CONNECT, .process = &cart, FLOW, .protocol = PROTOCOL_UDP},
     "{\"process_connect\":{" CART "," SOCKET_UDP ",\"route\":\"proxy\"}" TAIL},
    {"connect to names",
     {.kind = FLOW_EVENT_CONNECT,
      .process = &cart,
      FLOW,
      .names = names,
      .names_len = ARRAY_SIZE(names)},
     "{\"process_connect\":{" CART "," SOCKET ",\"destination_names\":[\"ebpf.io.\","
     "\"a\\u001b\\\"" REPLACED ".\"],\"route\":\"proxy\"}" TAIL},
    {"a question",
     {.kind = FLOW_EVENT_DNS,
      .process = &cart,
      FLOW,
      .protocol = PROTOCOL_UDP,
      .visibility = VISIBILITY_PLAINTEXT,
      .dns = {.name = "ebpf.io.", .qtype = "A"}},
     "{\"process_dns\":{" CART "," SOCKET_UDP ",\"dns\":{\"names\":[\"ebpf.io.\"],"
     "\"qtypes\":[\"A\"],\"response\":false},\"visibility\":\"plaintext\","
     "\"route\":\"proxy\"}" TAIL},
    {"its answer, from which something was taken",
     {.kind = FLOW_EVENT_DNS,
      .process = &cart,
      FLOW,
      .dns = {.response = true,
              .name = "ebpf.io.",
              .qtype = "HTTPS",
              .rcode = "NOERROR",
              .ips = ips,
              .ips_len = 2,
              .cnames = names,
              .cnames_len = 2,
              .stripped = stripped,
              .stripped_len = 2}},
     "{\"process_dns\":{" CART "," SOCKET ",\"dns\":{\"names\":[\"ebpf.io.\"],"
     "\"qtypes\":[\"HTTPS\"],\"response\":true,\"rcode\":\"NOERROR\","
     "\"ips\":[\"203.0.113.10\",\"203.0.113.11\"],\"cnames\":[\"ebpf.io.\"],\"ttl\":0},"
     "\"stripped\":[\"ech\",\"h3\"],\"route\":\"proxy\"}" TAIL},
    {"an answer for which there was no memory",
     {.kind = FLOW_EVENT_DNS, .process = &cart, FLOW, .error = "x", .dns = {.response = true}},
     "{\"process_dns\":{" CART "," SOCKET
     ",\"dns\":{\"response\":true},\"error\":\"x\",\"route\":\"proxy\"}" TAIL},
    {"bytes of a socket so far",
     {.kind = FLOW_EVENT_SOCK_STATS,
      .process = &cart,
      FLOW,
      .protocol = PROTOCOL_UDP,
      .close = {.tx = 50, .rx = 131}},
     "{\"process_sock_stats\":{" CART "," SOCKET_UDP
     ",\"tx\":\"50\",\"rx\":\"131\",\"route\":\"proxy\"}" TAIL},
    {"tls",
     {.kind = FLOW_EVENT_TLS,
      .process = &cart,
      FLOW,
      .visibility = VISIBILITY_TERMINATED,
      .tls = {.sni = "ebpf.io",
              .version = "TLS1.3",
              .cipher = "TLS_AES_128_GCM_SHA256",
              .alpn = "http/1.1",
              .ja4 = "t13d1516h2_8daaf6152771_e5627efa2ab1",
              .subject = "CN=ebpf.io",
              .issuer = "CN=R3",
              .not_after = "2027-01-01T00:00:00Z",
              .sha256 = "ab",
              .client_certificate = "CN=me"}},
     "{\"process_tls\":{" CART "," SOCKET ",\"sni\":\"ebpf.io\",\"version\":\"TLS1.3\","
     "\"cipher\":\"TLS_AES_128_GCM_SHA256\",\"alpn\":\"http/1.1\",\"resumed\":false,"
     "\"ja4\":\"t13d1516h2_8daaf6152771_e5627efa2ab1\","
     "\"server\":{\"subject\":\"CN=ebpf.io\",\"issuer\":\"CN=R3\","
     "\"not_after\":\"2027-01-01T00:00:00Z\",\"sha256\":\"ab\"},"
     "\"client_certificate\":\"CN=me\","
     "\"visibility\":\"terminated\",\"route\":\"proxy\"}" TAIL},
    {"the beginning of QUIC",
     {.kind = FLOW_EVENT_TLS,
      .process = &cart,
      FLOW,
      .protocol = PROTOCOL_UDP,
      .route = ROUTE_DIRECT,
      .visibility = VISIBILITY_OPAQUE,
      .tls = {.sni = "ebpf.io", .alpn = "h3", .transport = "QUICv1"}},
     "{\"process_tls\":{" CART "," SOCKET_UDP ",\"sni\":\"ebpf.io\",\"alpn\":\"h3\","
     "\"transport\":\"QUICv1\",\"visibility\":\"opaque\",\"route\":\"direct\"}" TAIL},
    {"tls that was never opened",
     {.kind = FLOW_EVENT_TLS,
      .process = &cart,
      FLOW,
      .route = ROUTE_PASSTHROUGH,
      .visibility = VISIBILITY_OPAQUE,
      .opaque = OPAQUE_SERVER_FIRST,
      .error = "x"},
     "{\"process_tls\":{" CART "," SOCKET
     ",\"visibility\":\"opaque\",\"visibility_reason\":\"server "
     "first\",\"error\":\"x\",\"route\":\"passthrough\"}" TAIL},
    {"http",
     {.kind = FLOW_EVENT_HTTP,
      .process = &cart,
      FLOW,
      .visibility = VISIBILITY_TERMINATED,
      .http = {.host = "ebpf.io",
               .method = "GET",
               .url = "http://u:p@ebpf.io/tetragon?x=1",
               .path = "http://u:p@ebpf.io/tetragon",
               .protocol = "HTTP/1.1",
               .stream = 1,
               .code = 200,
               .latency_ns = 12400000,
               .response_bytes = 226000,
               .request_headers = asked,
               .request_headers_len = ARRAY_SIZE(asked),
               .response_headers = answered,
               .response_headers_len = ARRAY_SIZE(answered)}},
     "{\"process_http\":{" CART "," SOCKET ",\"host\":\"ebpf.io\",\"method\":\"GET\","
     "\"url\":\"http://*****@ebpf.io/tetragon?x=1\",\"path\":\"http://*****@ebpf.io/tetragon\","
     "\"protocol\":\"HTTP/1.1\",\"stream\":1,\"request_headers\":["
     "{\"key\":\"user-agent\",\"value\":\"curl/7.88.1\"},"
     "{\"key\":\"Authorization\",\"value\":\"*****\"},{\"key\":\"Cookie\",\"value\":\"*****\"},"
     "{\"key\":\"x-api-key\",\"value\":\"*****\"},"
     "{\"key\":\"X-Odd\",\"value\":\"a\\u001b\\\"" REPLACED "\\n\"},"
     "{\"key\":\"Referer\",\"value\":\"https://*****@a.example/\"}],\"code\":200,"
     "\"response_headers\":[{\"key\":\"Set-Cookie\",\"value\":\"*****\"},{\"key\":\"X-Empty\"}],"
     "\"latency_ns\":\"12400000\",\"request_bytes\":\"0\",\"response_bytes\":\"226000\","
     "\"verdict\":\"allow\",\"visibility\":\"terminated\",\"route\":\"proxy\"}" TAIL},
    {"http whose answer was not seen",
     {.kind = FLOW_EVENT_HTTP,
      .process = &cart,
      FLOW,
      .http = {.method = "GET", .url = "/", .path = "/", .protocol = "HTTP/1.1", .stream = 2},
      .verdict = VERDICT_DENY},
     "{\"process_http\":{" CART "," SOCKET
     ",\"method\":\"GET\",\"url\":\"/\",\"path\":\"/\",\"protocol\":\"HTTP/1.1\",\"stream\":2,"
     "\"request_bytes\":\"0\",\"verdict\":\"deny\","
     "\"route\":\"proxy\"}" TAIL},
    {"a call that ended well",
     {.kind = FLOW_EVENT_GRPC,
      .process = &cart,
      FLOW,
      .grpc = {.host = "ebpf.io",
               .service = "shop.Cart",
               .method = "Add",
               .protocol = "HTTP/2",
               .stream = 1,
               .status_name = "OK",
               .message = "https://u:p@a.example/",
               .request_messages = 1,
               .response_bytes = 1ull << 63,
               .duration_ns = 12100000}},
     "{\"process_grpc\":{" CART "," SOCKET ",\"host\":\"ebpf.io\",\"service\":\"shop.Cart\","
     "\"method\":\"Add\",\"protocol\":\"HTTP/2\",\"stream\":1,\"status\":0,"
     "\"status_name\":\"OK\",\"status_message\":\"https://*****@a.example/\","
     "\"request_messages\":\"1\",\"request_bytes\":\"0\",\"response_messages\":\"0\","
     "\"response_bytes\":\"9223372036854775808\",\"duration_ns\":\"12100000\",\"route\":"
     "\"proxy\"}" TAIL},
    {"a call without a status, a path without a service",
     {.kind = FLOW_EVENT_GRPC, .process = &cart, FLOW, .error = "x", .grpc.method = "/"},
     "{\"process_grpc\":{" CART "," SOCKET ",\"method\":\"/\",\"stream\":0,"
     "\"request_messages\":\"0\",\"request_bytes\":\"0\",\"response_messages\":\"0\","
     "\"response_bytes\":\"0\",\"duration_ns\":\"0\",\"error\":\"x\",\"route\":\"proxy\"}" TAIL},
    {"a WebSocket",
     {.kind = FLOW_EVENT_WEBSOCKET,
      .process = &cart,
      FLOW,
      .websocket = {.host = "ebpf.io",
                    .url = "http://u:p@ebpf.io/a?b",
                    .path = "http://u:p@ebpf.io/a",
                    .protocol = "HTTP/1.1",
                    .stream = 1,
                    .close_code = 1000,
                    .close_reason = "https://u:p@a.example/",
                    .request_frames = 5,
                    .duration_ns = 1}},
     "{\"process_websocket\":{" CART "," SOCKET ",\"host\":\"ebpf.io\","
     "\"url\":\"http://*****@ebpf.io/a?b\",\"path\":\"http://*****@ebpf.io/a\","
     "\"protocol\":\"HTTP/1.1\",\"stream\":1,\"request_messages\":\"0\",\"request_bytes\":\"0\","
     "\"request_frames\":\"5\",\"response_messages\":\"0\",\"response_bytes\":\"0\","
     "\"response_frames\":\"0\",\"close_code\":1000,\"close_reason\":\"https://*****@a.example/\","
     "\"duration_ns\":\"1\",\"route\":\"proxy\"}" TAIL},
    {"close",
     {.kind = FLOW_EVENT_CLOSE,
      .process = &cart,
      FLOW,
      .names = names,
      .names_len = 1,
      .visibility = VISIBILITY_PRE_EXISTING,
      .close = {.tx = 706, .rx = 1ull << 63, .duration_ns = 31000000}},
     "{\"process_close\":{" CART "," SOCKET
     ",\"destination_names\":[\"ebpf.io.\"],\"tx\":\"706\",\"rx\":\"9223372036854775808\","
     "\"duration_ns\":\"31000000\",\"visibility\":\"pre-existing\",\"route\":\"proxy\"}" TAIL},
    {"a question that a policy denied",
     {.kind = FLOW_EVENT_DNS,
      .process = &cart,
      FLOW,
      .verdict = VERDICT_DENY,
      .policy = "shop/cart",
      .rule = "egress",
      .dns = {.name = "ebpf.io.", .qtype = "A"}},
     "{\"process_dns\":{" CART "," SOCKET ",\"dns\":{\"names\":[\"ebpf.io.\"],"
     "\"qtypes\":[\"A\"],\"response\":false},\"verdict\":\"deny\",\"policy\":\"shop/cart\","
     "\"rule\":\"egress\",\"route\":\"proxy\"}" TAIL},
    {"a connection that a policy allowed",
     {.kind = FLOW_EVENT_CONNECT,
      .process = &cart,
      FLOW,
      .policy = "shop/cart",
      .rule = "egress[0]"},
     "{\"process_connect\":{" CART "," SOCKET ",\"verdict\":\"allow\",\"policy\":\"shop/cart\","
     "\"rule\":\"egress[0]\",\"route\":\"proxy\"}" TAIL},
    {"tls denied as there was no memory",
     {.kind = FLOW_EVENT_TLS, .process = &cart, FLOW, .verdict = VERDICT_DENY},
     "{\"process_tls\":{" CART "," SOCKET ",\"verdict\":\"deny\",\"route\":\"proxy\"}" TAIL},
    {"a policy denies a request",
     {.kind = FLOW_EVENT_POLICY,
      .process = &cart,
      FLOW,
      .names = names,
      .names_len = 1,
      .verdict = VERDICT_DENY,
      .policy = "shop/cart",
      .rule = "egress",
      .decision = {.point = "http",
                   .mode = "enforce",
                   .action = "reject",
                   .reason = "no rule allows GET http://u:p@a.example/b",
                   .host = "u:p@a.example",
                   .method = "GET",
                   .path = "http://u:p@a.example/b"}},
     "{\"process_policy\":{" CART "," SOCKET ",\"destination_names\":[\"ebpf.io.\"],"
     "\"policy\":\"shop/cart\",\"rule\":\"egress\",\"verdict\":\"deny\",\"action\":\"reject\","
     "\"point\":\"http\",\"mode\":\"enforce\","
     "\"reason\":\"no rule allows GET http://*****@a.example/b\",\"host\":\"*****@a.example\","
     "\"method\":\"GET\",\"path\":\"http://*****@a.example/b\",\"route\":\"proxy\"}" TAIL},
    {"a policy tells of a body, and of a socket without an address",
     {.kind = FLOW_EVENT_POLICY,
      .process = &cart,
      .time_ns = SAMPLE_TIME,
      .verdict = VERDICT_ALERT,
      .policy = "shop/cart",
      .rule = "inspect.bodies[0]",
      .decision = {.point = "body",
                   .mode = "enforce",
                   .reason = "r",
                   .pattern = "payment-card",
                   .direction = "request",
                   .sha256 = "ab"}},
     "{\"process_policy\":{" CART ",\"policy\":\"shop/cart\",\"rule\":\"inspect.bodies[0]\","
     "\"verdict\":\"alert\",\"point\":\"body\",\"mode\":\"enforce\",\"reason\":\"r\","
     "\"pattern\":\"payment-card\",\"direction\":\"request\",\"offset\":\"0\",\"sha256\":\"ab\","
     "\"route\":\"proxy\"}" TAIL},
    {"a policy tells of a token",
     {.kind = FLOW_EVENT_POLICY,
      .process = &cart,
      FLOW,
      .verdict = VERDICT_DENY,
      .decision = {.point = "token",
                   .token_namespace = "shop",
                   .token_service_account = "default"}},
     "{\"process_policy\":{" CART "," SOCKET ",\"verdict\":\"deny\",\"point\":\"token\","
     "\"token\":{\"namespace\":\"shop\",\"service_account\":\"default\"},"
     "\"route\":\"proxy\"}" TAIL},
    {"a capture begins",
     {.kind = FLOW_EVENT_CAPTURE,
      .time_ns = SAMPLE_TIME,
      .pod = &cart_pod,
      .capture = {.what = "keys", .pid = 7, .uid = 0, .auid = 1000, .binary = "/a b"}},
     "{\"capture\":{\"process\":{\"pod\":{\"namespace\":\"shop\",\"name\":\"cart-7d4b\"}},"
     "\"asked_by\":{\"pid\":7,\"uid\":0,\"auid\":1000,\"binary\":\"/a b\"},"
     "\"what\":\"keys\",\"state\":\"began\"}" TAIL},
    {"a capture ends; the program is not known",
     {.kind = FLOW_EVENT_CAPTURE,
      .time_ns = SAMPLE_TIME,
      .pod = &cart_pod,
      .capture = {.what = "pcap", .ended = "why", .duration_ns = 1, .bytes = 2, .missed = 3}},
     "{\"capture\":{\"process\":{\"pod\":{\"namespace\":\"shop\",\"name\":\"cart-7d4b\"}},"
     "\"asked_by\":{\"pid\":0,\"uid\":0,\"auid\":0},\"what\":\"pcap\",\"state\":\"ended\","
     "\"reason\":\"why\",\"duration_ns\":\"1\",\"bytes\":\"2\",\"missed\":\"3\"}" TAIL},
    {"events lost",
     {.kind = FLOW_EVENT_LOST,
      .time_ns = SAMPLE_TIME,
      .lost = {.count = 5, .reason = "worker ring full"}},
     "{\"lost_events\":{\"count\":\"5\",\"reason\":\"worker ring full\"}" TAIL},
};

static void tells_each_kind_in_tetragons_envelope(void **state)
{
    struct sink sink;

    (void)state;
    sink_init(&sink, json_render, -1, "n1", false);
    sink.seq = 4;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(text_free) char *line = sample_line(&sink, &cases[i].event);

        print_message("  %s\n", cases[i].name);
        assert_string_equal(line, cases[i].want);
    }
}

static void renders_a_process_once(void **state)
{
    struct flow_event event = {.kind = FLOW_EVENT_EXEC, .process = &curl};
    CLEANUP(text_free) char *first = NULL, *second = NULL;
    struct sink sink;
    const char *kept;

    (void)state;
    sink_init(&sink, json_render, -1, "", false);
    first = sample_line(&sink, &event);
    kept = curl.json;
    second = sample_line(&sink, &event);
    assert_non_null(kept);
    assert_ptr_equal(curl.json, kept);
}

static void leaves_out_a_node_without_a_name(void **state)
{
    struct flow_event event = {
        .kind = FLOW_EVENT_LOST, .time_ns = SAMPLE_TIME, .lost = {.count = 1, .reason = "r"}};
    CLEANUP(text_free) char *line = NULL;
    struct sink sink;

    (void)state;
    sink_init(&sink, json_render, -1, "", false);
    line = sample_line(&sink, &event);
    assert_string_equal(line, "{\"lost_events\":{\"count\":\"1\",\"reason\":\"r\"},"
                              "\"time\":\"2026-11-23T18:00:00.000000001Z\",\"seq\":\"1\"}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_each_kind_in_tetragons_envelope),
        cmocka_unit_test(renders_a_process_once),
        cmocka_unit_test(leaves_out_a_node_without_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, sample_forget);
}
