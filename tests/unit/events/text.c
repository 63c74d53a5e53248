#include "sample.h"

static const char *one_name[] = {"ebpf.io."};
static const char *names[] = {"ebpf.io.", NULL, "www.ebpf.io."};
static const char *odd_names[] = {"a\x1b]0;b\a", "x [y] z", ""};
static const char *ips[] = {"203.0.113.10", "203.0.113.11"};
static const char *stripped[] = {"ech", "h3"};

static const struct {
    const char *name;
    struct flow_event event;
    const char *want;
} cases[] = {
    {"exec on the host",
     {.kind = FLOW_EVENT_EXEC, .process = &curl},
     "🚀 process HOST /usr/bin/curl https://ebpf.io/tetragon\n"},
    {"exec without arguments",
     {.kind = FLOW_EVENT_EXEC, .process = &shell},
     "🚀 process HOST /bin/bash\n"},
    {"exec in a pod, two arguments",
     {.kind = FLOW_EVENT_EXEC, .process = &cart},
     "🚀 process shop/cart-7d4b /usr/bin/curl \"-s https://ebpf.io/tetragon\"\n"},
    {"exec of a hostile name",
     {.kind = FLOW_EVENT_EXEC, .process = &villain},
     "🚀 process HOST \"/tmp/\\x1b[2J\\x9b\\u009b\\u202eevil\" \"a\\nb \\\"c\\\"\"\n"},
    {"exec with secrets",
     {.kind = FLOW_EVENT_EXEC, .process = &login},
     "🚀 process HOST /usr/bin/curl \"--oauth2-bearer-token=***** https://*****@a.example/\"\n"},
    {"exit",
     {.kind = FLOW_EVENT_EXIT, .process = &curl},
     "💥 exit    HOST /usr/bin/curl https://ebpf.io/tetragon 0\n"},
    {"exit by signal",
     {.kind = FLOW_EVENT_EXIT, .process = &curl, .exit = {.signal = 9}},
     "💥 exit    HOST /usr/bin/curl https://ebpf.io/tetragon SIGKILL\n"},
    {"exit by a real-time signal",
     {.kind = FLOW_EVENT_EXIT, .process = &shell, .exit = {.signal = 34}},
     "💥 exit    HOST /bin/bash SIG34\n"},
    {"connect",
     {.kind = FLOW_EVENT_CONNECT, .process = &curl, .src = SRC, .dst = DST},
     "🔌 connect HOST /usr/bin/curl TCP 192.0.2.2:60066 => 203.0.113.10:443\n"},
    {"connect by IPv6, of a process nobody knows, refused",
     {.kind = FLOW_EVENT_CONNECT,
      .pod = &cart_pod,
      .src = {{0x20, 1, 0x0d, 0xb8, [15] = 1}, 1},
      .dst = {{0x20, 1, 0x0d, 0xb8, [15] = 2}, 443},
      .error = "203.0.113.10:443: Connection refused"},
     "🔌 connect shop/cart-7d4b - TCP [2001:db8::1]:1 => [2001:db8::2]:443 "
     "error: \"203.0.113.10:443: Connection refused\"\n"},
    {"connect by UDP",
     {.kind = FLOW_EVENT_CONNECT,
      .process = &curl,
      .protocol = PROTOCOL_UDP,
      .src = SRC,
      .dst = RESOLVER},
     "🔌 connect HOST /usr/bin/curl UDP 192.0.2.2:60066 => 198.51.100.53:53\n"},
    {"connect to a name",
     {.kind = FLOW_EVENT_CONNECT,
      .process = &curl,
      .src = SRC,
      .dst = DST,
      .names = one_name,
      .names_len = 1},
     "🔌 connect HOST /usr/bin/curl TCP 192.0.2.2:60066 => 203.0.113.10:443 [ebpf.io.]\n"},
    {"connect of nobody known, by --listen",
     {.kind = FLOW_EVENT_CONNECT, .src = SRC, .dst = DST},
     "🔌 connect 192.0.2.2 - TCP 192.0.2.2:60066 => 203.0.113.10:443\n"},
    {"what was connected before its pod came",
     {.kind = FLOW_EVENT_CONNECT,
      .process = &curl,
      .src = SRC,
      .dst = DST,
      .visibility = VISIBILITY_PRE_EXISTING},
     "🔌 connect HOST /usr/bin/curl TCP 192.0.2.2:60066 => 203.0.113.10:443 pre-existing\n"},
    {"connect to hostile names, refused",
     {.kind = FLOW_EVENT_CONNECT,
      .process = &curl,
      .src = SRC,
      .dst = DST,
      .error = "refused",
      .names = odd_names,
      .names_len = ARRAY_SIZE(odd_names)},
     "🔌 connect HOST /usr/bin/curl TCP 192.0.2.2:60066 => 203.0.113.10:443 "
     "[\"a\\x1b]0;b\\a\" \"x [y] z\"] error: refused\n"},
    {"a question",
     {.kind = FLOW_EVENT_DNS, .process = &curl, .dns = {.name = "ebpf.io.", .qtype = "A"}},
     "📖 dns     HOST /usr/bin/curl [ebpf.io.] [A]\n"},
    {"its answer",
     {.kind = FLOW_EVENT_DNS,
      .process = &curl,
      .dns = {.response = true,
              .name = "ebpf.io.",
              .qtype = "A",
              .rcode = "NOERROR",
              .ips = ips,
              .ips_len = 1,
              .cnames = names,
              .cnames_len = 1,
              .ttl = 60}},
     "📖 dns     HOST /usr/bin/curl NOERROR [ebpf.io.] [A] [203.0.113.10]\n"},
    {"an answer with two addresses, from which something was taken",
     {.kind = FLOW_EVENT_DNS,
      .process = &curl,
      .dns = {.response = true,
              .name = "ebpf.io.",
              .qtype = "HTTPS",
              .rcode = "NOERROR",
              .ips = ips,
              .ips_len = 2,
              .stripped = stripped,
              .stripped_len = 2}},
     "📖 dns     HOST /usr/bin/curl NOERROR [ebpf.io.] [HTTPS] [203.0.113.10 203.0.113.11] "
     "stripped ech,h3\n"},
    {"an answer without addresses",
     {.kind = FLOW_EVENT_DNS,
      .process = &curl,
      .dns = {.response = true, .name = "ebpf.io.", .qtype = "AAAA", .rcode = "NOERROR"}},
     "📖 dns     HOST /usr/bin/curl NOERROR [ebpf.io.] [AAAA] []\n"},
    {"an answer to a hostile question, cut by a lack of memory, that failed",
     {.kind = FLOW_EVENT_DNS,
      .process = &curl,
      .error = "a name points forward",
      .dns = {.response = true,
              .name = "\x1b[2J.",
              .stripped = (const char *[]){NULL, "h3"},
              .stripped_len = 2}},
     "📖 dns     HOST /usr/bin/curl [\"\\x1b[2J.\"] [] [] stripped h3 "
     "error: \"a name points forward\"\n"},
    {"bytes of a socket so far",
     {.kind = FLOW_EVENT_SOCK_STATS,
      .process = &curl,
      .protocol = PROTOCOL_UDP,
      .src = SRC,
      .dst = RESOLVER,
      .close = {.tx = 50, .rx = 131}},
     "📄 socket  HOST /usr/bin/curl UDP 192.0.2.2:60066 => 198.51.100.53:53 tx 50 B rx 131 B\n"},
    {"tls",
     {.kind = FLOW_EVENT_TLS,
      .process = &curl,
      .dst = DST,
      .visibility = VISIBILITY_TERMINATED,
      .tls = {.sni = "ebpf.io", .version = "TLS1.3", .cipher = "TLS_AES_128_GCM_SHA256"}},
     "🔐 tls     HOST /usr/bin/curl 203.0.113.10:443 ebpf.io TLS1.3 TLS_AES_128_GCM_SHA256\n"},
    {"tls without a name, passed through",
     {.kind = FLOW_EVENT_TLS, .process = &curl, .dst = DST, .visibility = VISIBILITY_PASSTHROUGH},
     "🔐 tls     HOST /usr/bin/curl 203.0.113.10:443 passthrough\n"},
    {"tls that nobody could read",
     {.kind = FLOW_EVENT_TLS,
      .process = &curl,
      .dst = DST,
      .visibility = VISIBILITY_OPAQUE,
      .opaque = OPAQUE_OTHER_PROTOCOL,
      .tls = {.sni = "ebpf.io"}},
     "🔐 tls     HOST /usr/bin/curl 203.0.113.10:443 ebpf.io opaque (other protocol)\n"},
    {"a reason that no longer holds",
     {.kind = FLOW_EVENT_TLS,
      .process = &curl,
      .dst = DST,
      .visibility = VISIBILITY_TERMINATED,
      .opaque = OPAQUE_SILENT,
      .tls = {.sni = "ebpf.io"}},
     "🔐 tls     HOST /usr/bin/curl 203.0.113.10:443 ebpf.io\n"},
    {"tls with a hostile name that failed",
     {.kind = FLOW_EVENT_TLS,
      .process = &curl,
      .dst = DST,
      .tls = {.sni = "a\x1b]0;b\a"},
      .error = "certificate has expired"},
     "🔐 tls     HOST /usr/bin/curl 203.0.113.10:443 \"a\\x1b]0;b\\a\" "
     "error: \"certificate has expired\"\n"},
    {"http",
     {.kind = FLOW_EVENT_HTTP,
      .process = &curl,
      .http = {.host = "ebpf.io",
               .method = "GET",
               .url = "/tetragon?x=1",
               .path = "/tetragon",
               .code = 200,
               .latency_ns = 12400000}},
     "🌐 http    HOST /usr/bin/curl ebpf.io GET /tetragon 200 12.4ms\n"},
    {"http whose answer was not seen, without a host",
     {.kind = FLOW_EVENT_HTTP,
      .process = &curl,
      .dst = DST,
      .http = {.method = "GET", .path = "/"}},
     "🌐 http    HOST /usr/bin/curl 203.0.113.10:443 GET / -\n"},
    {"http denied",
     {.kind = FLOW_EVENT_HTTP,
      .process = &curl,
      .error = "no rule allows it",
      .http = {.host = "ebpf.io",
               .method = "POST",
               .path = "/admin",
               .code = 403,
               .latency_ns = 850000},
      .verdict = VERDICT_DENY},
     "🌐 http    HOST /usr/bin/curl ebpf.io POST /admin 403 850us denied "
     "error: \"no rule allows it\"\n"},
    {"http refused before it was read",
     {.kind = FLOW_EVENT_HTTP,
      .process = &curl,
      .dst = DST,
      .error = "a control byte",
      .verdict = VERDICT_DENY,
      .http = {.code = 400}},
     "🌐 http    HOST /usr/bin/curl 203.0.113.10:443 - - 400 denied error: \"a control byte\"\n"},
    {"http with a password in its absolute target",
     {.kind = FLOW_EVENT_HTTP,
      .process = &curl,
      .http = {.host = "ebpf.io", .method = "GET", .path = "http://me:pw@ebpf.io/a"}},
     "🌐 http    HOST /usr/bin/curl ebpf.io GET http://*****@ebpf.io/a -\n"},
    {"http with a hostile path",
     {.kind = FLOW_EVENT_HTTP,
      .process = &curl,
      .http = {.host = "ebpf.io",
               .method = "GET",
               .path = "/\xc2\x9b"
                       "2J\xff"}},
     "🌐 http    HOST /usr/bin/curl ebpf.io GET \"/\\u009b2J\\xff\" -\n"},
    {"a call",
     {.kind = FLOW_EVENT_GRPC,
      .process = &curl,
      .grpc = {.host = "ebpf.io",
               .service = "shop.Cart",
               .method = "Add",
               .status_name = "NOT_FOUND",
               .message = "no such\ncart",
               .request_messages = 1,
               .request_bytes = 23,
               .response_bytes = 1200,
               .duration_ns = 12100000}},
     "📨 grpc    HOST /usr/bin/curl ebpf.io shop.Cart/Add NOT_FOUND tx 1 msg 23 B rx 0 msgs 1.2 kB "
     "12.1ms \"no such\\ncart\"\n"},
    {"a call without a service that was cut short",
     {.kind = FLOW_EVENT_GRPC,
      .process = &curl,
      .dst = DST,
      .error = "reset",
      .grpc = {.method = "/a b"}},
     "📨 grpc    HOST /usr/bin/curl 203.0.113.10:443 \"/a b\" - tx 0 msgs 0 B rx 0 msgs 0 B 0us "
     "error: reset\n"},
    {"a WebSocket",
     {.kind = FLOW_EVENT_WEBSOCKET,
      .process = &curl,
      .websocket = {.host = "ebpf.io",
                    .path = "/chat",
                    .close_code = 1001,
                    .close_reason = "http://me:pw@a.example/",
                    .request_messages = 3,
                    .request_bytes = 120,
                    .duration_ns = 1250000000}},
     "💬 ws      HOST /usr/bin/curl ebpf.io /chat 1001 tx 3 msgs 120 B rx 0 msgs 0 B 1.25s "
     "http://*****@a.example/\n"},
    {"a WebSocket without a close frame",
     {.kind = FLOW_EVENT_WEBSOCKET, .process = &curl, .dst = DST, .error = "reset"},
     "💬 ws      HOST /usr/bin/curl 203.0.113.10:443 - - tx 0 msgs 0 B rx 0 msgs 0 B 0us error: "
     "reset\n"},
    {"close",
     {.kind = FLOW_EVENT_CLOSE,
      .process = &curl,
      .src = SRC,
      .dst = DST,
      .close = {.tx = 706, .rx = 226000}},
     "🧹 close   HOST /usr/bin/curl TCP 192.0.2.2:60066 => 203.0.113.10:443 "
     "tx 706 B rx 226 kB\n"},
    {"close of what has names, unread",
     {.kind = FLOW_EVENT_CLOSE,
      .process = &curl,
      .src = SRC,
      .dst = DST,
      .visibility = VISIBILITY_OPAQUE,
      .names = names,
      .names_len = ARRAY_SIZE(names),
      .close = {.tx = 706, .rx = 226000}},
     "🧹 close   HOST /usr/bin/curl TCP 192.0.2.2:60066 => 203.0.113.10:443 "
     "[ebpf.io. www.ebpf.io.] tx 706 B rx 226 kB opaque\n"},
    {"close of what turned to TLS",
     {.kind = FLOW_EVENT_CLOSE,
      .process = &curl,
      .src = SRC,
      .dst = DST,
      .visibility = VISIBILITY_OPAQUE,
      .opaque = OPAQUE_STARTTLS,
      .close = {.tx = 706, .rx = 226000}},
     "🧹 close   HOST /usr/bin/curl TCP 192.0.2.2:60066 => 203.0.113.10:443 "
     "tx 706 B rx 226 kB opaque (starttls)\n"},
    {"close after a failure",
     {.kind = FLOW_EVENT_CLOSE, .process = &curl, .src = SRC, .dst = DST, .error = "reset"},
     "🧹 close   HOST /usr/bin/curl TCP 192.0.2.2:60066 => 203.0.113.10:443 "
     "tx 0 B rx 0 B error: reset\n"},
    {"http denied by a policy",
     {.kind = FLOW_EVENT_HTTP,
      .process = &curl,
      .verdict = VERDICT_DENY,
      .policy = "shop/cart",
      .rule = "egress",
      .http = {.host = "ebpf.io", .method = "GET", .path = "/admin", .code = 403}},
     "🌐 http    HOST /usr/bin/curl ebpf.io GET /admin 403 denied by shop/cart\n"},
    {"a question that is only told of",
     {.kind = FLOW_EVENT_DNS,
      .process = &curl,
      .verdict = VERDICT_ALERT,
      .policy = "shop/cart",
      .dns = {.name = "evil.example.", .qtype = "A"}},
     "📖 dns     HOST /usr/bin/curl [evil.example.] [A] alert by shop/cart\n"},
    {"tls that a policy allowed",
     {.kind = FLOW_EVENT_TLS,
      .process = &curl,
      .dst = DST,
      .policy = "shop/cart",
      .rule = "egress[0]"},
     "🔐 tls     HOST /usr/bin/curl 203.0.113.10:443\n"},
    {"a policy denies",
     {.kind = FLOW_EVENT_POLICY,
      .process = &curl,
      .verdict = VERDICT_DENY,
      .policy = "shop/cart",
      .decision = {.point = "http",
                   .mode = "enforce",
                   .action = "reject",
                   .reason = "no rule allows GET /admin"}},
     "🚫 policy  HOST /usr/bin/curl shop/cart deny reject http \"no rule allows GET /admin\"\n"},
    {"a policy would deny",
     {.kind = FLOW_EVENT_POLICY,
      .process = &cart,
      .verdict = VERDICT_ALERT,
      .policy = "shop/cart",
      .decision = {.point = "dns",
                   .mode = "monitor",
                   .action = "reject",
                   .reason = "no rule allows the name \x1b[2J"}},
     "🚫 policy  shop/cart-7d4b /usr/bin/curl shop/cart alert monitor dns "
     "\"no rule allows the name \\x1b[2J\"\n"},
    {"denied as there was no memory, with a password in the reason",
     {.kind = FLOW_EVENT_POLICY,
      .process = &curl,
      .verdict = VERDICT_DENY,
      .decision = {.point = "http", .reason = "no rule allows GET http://me:pw@ebpf.io/a"}},
     "🚫 policy  HOST /usr/bin/curl - deny - http \"no rule allows GET http://*****@ebpf.io/a\"\n"},
    {"a capture begins",
     {.kind = FLOW_EVENT_CAPTURE,
      .pod = &cart_pod,
      .capture = {.what = "keys", .pid = 7, .uid = 0, .binary = "/a b"}},
     "🎥 capture shop/cart-7d4b \"/a b\" keys asked for by pid 7 uid 0\n"},
    {"a capture ends",
     {.kind = FLOW_EVENT_CAPTURE,
      .pod = &cart_pod,
      .capture = {.what = "pcap", .pid = 7, .ended = "its time is over", .bytes = 5, .missed = 3}},
     "🎥 capture shop/cart-7d4b - pcap ended, asked for by pid 7 uid 0 5 B missed 3: its time is "
     "over\n"},
    {"events lost",
     {.kind = FLOW_EVENT_LOST, .lost = {.count = 5, .reason = "worker ring full"}},
     "⚠️ lost    5 events: worker ring full\n"},
    {"one event lost",
     {.kind = FLOW_EVENT_LOST, .lost = {.count = 1, .reason = "worker out of memory"}},
     "⚠️ lost    1 event: worker out of memory\n"},
};

static void tells_each_kind_on_a_line(void **state)
{
    struct sink sink;

    (void)state;
    sink_init(&sink, text_render, -1, "n1", false);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(text_free) char *line = sample_line(&sink, &cases[i].event);

        print_message("  %s\n", cases[i].name);
        assert_string_equal(line, cases[i].want);
    }
}

static void colours_as_tetragon_does(void **state)
{
    struct flow_event exec = {.kind = FLOW_EVENT_EXEC, .process = &shell};
    struct flow_event gone = {.kind = FLOW_EVENT_EXIT, .process = &curl};
    CLEANUP(text_free) char *exec_line = NULL, *exit_line = NULL;
    struct sink sink;

    (void)state;
    sink_init(&sink, text_render, -1, "n1", true);
    exec_line = sample_line(&sink, &exec);
    exit_line = sample_line(&sink, &gone);
    assert_string_equal(exec_line, "\x1b[34m🚀 process\x1b[0m \x1b[32mHOST\x1b[0m "
                                   "\x1b[35m/bin/bash\x1b[0m\n");
    assert_string_equal(exit_line, "\x1b[34m💥 exit   \x1b[0m \x1b[32mHOST\x1b[0m "
                                   "\x1b[35m/usr/bin/curl\x1b[0m "
                                   "\x1b[36mhttps://ebpf.io/tetragon\x1b[0m \x1b[31m0\x1b[0m\n");
}

static void tells_very_long_paths_whole(void **state)
{
    static char path[256 * 1024];
    struct flow_event event = {.kind = FLOW_EVENT_HTTP,
                               .process = &curl,
                               .http = {.host = "h", .method = "GET", .path = path}};
    CLEANUP(text_free) char *line = NULL;
    struct sink sink;

    (void)state;
    memset(path, 'a', sizeof(path) - 1);
    sink_init(&sink, text_render, -1, "n1", false);
    line = sample_line(&sink, &event);
    assert_int_equal(strlen(line),
                     strlen("🌐 http    HOST /usr/bin/curl h GET  -\n") + sizeof(path) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_each_kind_on_a_line),
        cmocka_unit_test(colours_as_tetragon_does),
        cmocka_unit_test(tells_very_long_paths_whole),
    };

    return cmocka_run_group_tests(tests, NULL, sample_forget);
}
