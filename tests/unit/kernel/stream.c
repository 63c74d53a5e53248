/* What a stream of the kernel route tells, whatever pieces it comes in. */
#include "tests/unit/kernel/hearing.h"

#include "proxy/flow/inspection_plan.h"
#include "proxy/limits.h"

#define NO_RULE        "egress: [{toCIDR: [203.0.113.0/24], toPorts: [{rules: {http: [{path: /fine}]}}]}]"
#define UNDECIDED(why) "no rule denies it, but the kernel route could not decide it: " why
#define CHANGES        UNDECIDED("it was sent by splice or sendfile, and its bytes could still change")
#define HTTP2_UNREAD   UNDECIDED("it is HTTP/2, the heads of which the kernel cannot read")
#define FOR_PROXY      "policies want of it what only the proxy can keep"
#define TOGETHER       "not sent: in one send with what was refused"
#define ODD(text)                                                                                  \
    {                                                                                              \
        ABI_TX, BYTES(text), ABI_SAID_BEGINS | ABI_SAID_UNSEEN, .denied = true                     \
    }
#define BY_RULE "denied by policy p, egress[0].toPorts[0].rules.http[0]: "
#define ODDLY(method, line, why)                                                                   \
    "policy deny reject visibility " method ": " why "\n" line                                     \
    " #1 plaintext deny error: " BY_RULE why "\nclosed plaintext\n"
#define F4  "a: b\r\na: b\r\na: b\r\na: b\r\n"
#define F16 F4 F4 F4 F4

static const struct row {
    const char *name;
    bool accepted, midway;
    const char *policy; /* a spec, NULL: none */
    struct piece pieces[PIECES_MAX];
    bool whole; /* is not to be cut */
    const char *want;
} rows[] = {
    {"a request", .pieces = {UP(GET("/a?b")), DOWN(FINE("5", "hello"))},
     .want = "GET a.example /a?b #1 200 down 5 after 1000000 plaintext\n"
             "closed plaintext\n"},
    {"keep-alive, a body, no body",
     .pieces = {UP("POST /p " KEEPS "Content-Length: 3\r\n\r\nx=y"), DOWN(FINE("2", "ok")),
                UP("HEAD /h " KEEPS "\r\n"), DOWN(FINE("500", "")), UP(GET("/n")),
                DOWN("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")},
     .want = "POST a.example /p #1 200 up 3 down 2 after 1000000 plaintext\n"
             "HEAD a.example /h #2 200 after 1000000 plaintext\n"
             "GET a.example /n #3 404 after 1000000 plaintext\n"
             "closed plaintext\n"},
    {"pipelined", .pieces = {UP(GET("/a") GET("/b")), DOWN(FINE("0", "") FINE("1", "b"))},
     .want = "GET a.example /a #1 200 after 1000000 plaintext\n"
             "GET a.example /b #2 200 down 1 after 1000000 plaintext\n"
             "closed plaintext\n"},
    {"chunked both ways",
     .pieces = {UP("PUT /c " KEEPS "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
                DOWN("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
                UP(GET("/d")), DOWN(FINE("0", ""))},
     .want = "PUT a.example /c #1 200 up 3 after 1000000 plaintext\n"
             "GET a.example /d #2 200 after 1000000 plaintext\n"
             "closed plaintext\n"},
    {"an interim answer, and one that ends with the connection",
     .pieces = {UP(GET("/a")), DOWN("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nsome")},
     .want = "GET a.example /a #1 200 after 1000000 plaintext\n"
             "closed plaintext\n"},
    {"no answer", .pieces = {UP(GET("/a"))},
     .want = "GET a.example /a #1 plaintext\nclosed plaintext\n"},
    {"an answer cut short", .pieces = {UP(GET("/a")), DOWN(FINE("5", "he"))},
     .want = "GET a.example /a #1 200 down 5 after 1000000 plaintext\n"
             "closed plaintext error: the upstream's answer was cut short\n"},
    {"a server", .accepted = true,
     .pieces = {{ABI_RX, BYTES(GET("/a"))}, {ABI_TX, BYTES(FINE("0", ""))}},
     .want = "GET a.example /a #1 200 after 1000000 plaintext\n"
             "closed plaintext\n"},
    {"an answer without its request", .pieces = {DOWN(FINE("1", "x"))}, .whole = true,
     .want = "? 200 down 1 plaintext\nclosed plaintext\n"},

    /* what is not handed up */
    {"bodies that are skipped", .whole = true,
     .pieces = {UP("POST /p " KEEPS "Content-Length: 1000\r\n\r\n"),
                {ABI_TX, BYTES("z"), .skipped = 999},
                DOWN(FINE("5000", "")),
                UP(GET("/b")),
                {ABI_RX, BYTES(FINE("0", "")), .skipped = 5000}},
     .want = "POST a.example /p #1 200 up 1000 down 5000 after 2000000 plaintext\n"
             "GET a.example /b #2 200 after 1000000 plaintext\n"
             "closed plaintext\n"},
    {"chunks that are skipped", .whole = true,
     .pieces = {UP(GET("/a")),
                DOWN("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n"),
                {ABI_RX, BYTES("\r\n0\r\n\r\n" FINE("0", "")), .skipped = 255},
                UP(GET("/b"))},
     .want = "GET a.example /a #1 200 after 1000000 plaintext\n"
             "? 200 plaintext\nGET a.example /b #2 plaintext\n"
             "closed plaintext\n"},
    {"lost within an answer", .whole = true,
     .pieces = {UP(GET("/a")),
                DOWN(FINE("500", "he")),
                {ABI_RX, BYTES("llo"), .lost = 10},
                UP(GET("/b")),
                {ABI_RX, BYTES(FINE("0", "")), ABI_SAID_BEGINS}},
     .want = "GET a.example /a #1 200 down 500 after 1000000 plaintext\n"
             "GET a.example /b #2 200 after 1000000 plaintext\n"
             "closed plaintext error: 10 bytes of the connection were lost on their way to the "
             "agent\n"},
    {"a lost request", .whole = true,
     .pieces = {UP(GET("/a")),
                DOWN(FINE("0", "")),
                {ABI_TX, BYTES(GET("/c")), ABI_SAID_BEGINS, .lost = 38},
                DOWN(FINE("0", "") FINE("1", "x"))},
     .want = "GET a.example /a #1 200 after 1000000 plaintext\n"
             "GET a.example /c #2 200 after 1000000 plaintext\n"
             "? 200 down 1 plaintext\n"
             "closed plaintext error: 38 bytes of the connection were lost on their way to the "
             "agent\n"},
    {"too little to tell what it is", .pieces = {UP("GE")}, .want = "closed opaque/unknown\n"},
    {"a lost answer, and a request that is not answered", .whole = true,
     .pieces = {UP(GET("/a") GET("/b")), {ABI_RX, BYTES("x"), .lost = 38}},
     .want = "GET a.example /a #1 plaintext error: bytes of answers were lost on their way to the "
             "agent\n"
             "GET a.example /b #2 plaintext error: 38 bytes of the connection were lost on their "
             "way to the agent\n"
             "closed plaintext error: 38 bytes of the connection were lost on their way to the "
             "agent\n"},
    {"a loss is told beside what else is wrong", .whole = true,
     .pieces = {{ABI_TX, BYTES("GET /a HT"), ABI_SAID_BEGINS, .lost = 38}},
     .want = "closed plaintext error: closed within a request's head, of which 9 bytes had come; "
             "38 bytes of the connection were lost on their way to the agent\n"},
    {"begun before anybody listened", .midway = true, .whole = true,
     .pieces = {UP("the rest of a body"),
                {ABI_TX, BYTES(GET("/a")), ABI_SAID_BEGINS},
                {ABI_RX, BYTES(FINE("0", "")), ABI_SAID_BEGINS}},
     .want = "GET a.example /a #1 200 after 1000000 plaintext\n"
             "closed plaintext\n"},

    {"... and nothing that could be read then", .midway = true, .whole = true,
     .pieces = {UP("\0\0\1\1\5\0\0\0\1\x82"), DOWN("\0\0\1\1\5\0\0\0\1\x88")},
     .want = "closed opaque/lost error: 20 bytes of it could not be read without what was said "
             "before\n"},

    /* by kTLS */
    {"keys for what is sent alone: answers are not seen",
     .pieces = {{ABI_TX, .keys = 0x0304},
                {ABI_TX, BYTES(GET("/a")), ABI_SAID_KTLS},
                {ABI_TX, BYTES(GET("/b")), ABI_SAID_KTLS}},
     .want = "tls TLS1.3 TLS_AES_128_GCM_SHA256 ktls\n"
             "GET a.example /a #1 ktls\nGET a.example /b #2 ktls\nclosed ktls\n"},
    {"keys for both", .whole = true,
     .pieces = {{ABI_TX, .keys = 0x0303},
                {ABI_RX, .keys = 0x0303},
                {ABI_TX, BYTES(GET("/a") GET("/b")), ABI_SAID_KTLS},
                {ABI_RX, BYTES(FINE("0", "") FINE("0", "")), ABI_SAID_KTLS}},
     .want = "tls TLS1.2 ktls\n"
             "GET a.example /a #1 200 after 1000000 ktls\n"
             "GET a.example /b #2 200 after 1000000 ktls\n"
             "closed ktls\n"},

    /* what is not HTTP */
    {"neither", .pieces = {UP("\1\2\3\4"), DOWN("\5")}, .want = "closed opaque/unknown\n"},
    {"a server that speaks first", .pieces = {DOWN("220 hello\r\n"), UP("EHLO\r\n")},
     .want = "closed opaque/server first\n"},

    /* what else HTTP leads to */
    {"a WebSocket", .whole = true,
     .pieces = {UP("GET /ws " KEEPS "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
                DOWN("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                     "Sec-WebSocket-Accept: x\r\n\r\n\x81\2hi"),
                UP("\x81\x82\0\0\0\0hi"), UP("\x81\x82\0\0\0\0yo")},
     .want = "GET a.example /ws #1 101 after 1000000 plaintext\n"
             "websocket /ws up 2 down 1\n"
             "closed plaintext\n"},
    {"another upgrade", .whole = true,
     .pieces = {UP("GET /x " KEEPS "Upgrade: foo\r\nConnection: upgrade\r\n\r\n"),
                DOWN("HTTP/1.1 101 Switching\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\nabc")},
     .want = "GET a.example /x #1 101 after 1000000 plaintext\n"
             "closed opaque/other protocol\n"},
    {"an upgrade that is not taken",
     .pieces = {UP("GET /x " KEEPS "Upgrade: foo\r\nConnection: upgrade\r\n\r\n" GET("/y")),
                DOWN(FINE("0", "")), DOWN(FINE("0", ""))},
     .whole = true,
     .want = "GET a.example /x #1 200 after 1000000 plaintext\n"
             "GET a.example /y #2 200 after 1000000 plaintext\n"
             "closed plaintext\n"},
    {"a tunnel with a request in it", .whole = true,
     .pieces = {UP("CONNECT b.example:80 HTTP/1.1\r\nHost: b.example:80\r\n\r\n"),
                DOWN("HTTP/1.1 200 OK\r\n\r\n"), UP(GET("/a")), DOWN(FINE("0", ""))},
     .want = "CONNECT b.example b.example:80 #1 200 after 1000000 plaintext\n"
             "GET a.example /a #2 200 after 1000000 plaintext\n"
             "closed plaintext\n"},

    /* what policies say */
    {"allowed, and not, but gone", .policy = NO_RULE,
     .pieces = {UP(GET("/fine")), DOWN(FINE("0", "")), UP(GET("/a")), DOWN(FINE("0", ""))},
     .whole = true,
     .want = "GET a.example /fine #1 200 after 1000000 plaintext\n"
             "policy alert http GET: no rule allows GET /a; it had gone "
             "already\n"
             "GET a.example /a #2 200 after 1000000 plaintext alert\n"
             "closed plaintext\n"},
    {"refused by the kernel", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES(GET("/a")), .denied = true}},
     .want = "policy deny reject http GET: no rule allows GET /a\n"
             "GET a.example /a #1 plaintext deny error: denied by policy p, egress[0].toPorts[0]: "
             "no rule "
             "allows GET /a\n"
             "closed plaintext\n"},
    {"refused by the kernel alone", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES(GET("/fine")), .denied = true}},
     .want = "policy deny reject http GET: " UNDECIDED(
         "its rules want more than is read there") "\n"
                                                   "GET a.example /fine #1 plaintext deny error: "
                                                   "denied: " UNDECIDED("its rules want more than "
                                                                        "is read there") "\n"
                                                                                         "closed "
                                                                                         "plaintext"
                                                                                         "\n"},
    {"... where the proxy is wanted", .policy = NO_RULE "\n  inspect: {tokens: deny}",
     .whole = true, .pieces = {{ABI_TX, BYTES(GET("/fine")), .denied = true}},
     .want = "policy deny reject http GET: " UNDECIDED(
         FOR_PROXY) "\n"
                    "GET a.example /fine #1 plaintext deny error: denied: " UNDECIDED(
                        FOR_PROXY) "\n"
                                   "closed plaintext\n"},
    {"... in a path that some read otherwise", .whole = true,
     .policy = "egress: [{toCIDR: [203.0.113.0/24], toPorts: [{rules: {http: [{path: /.*}]}}]}]",
     .pieces = {{ABI_TX, BYTES(GET("/%61")), .denied = true}},
     .want = "policy deny reject http GET: " UNDECIDED(
         "servers could read its path in another spelling") "\n"
                                                            "GET a.example /%61 #1 plaintext deny "
                                                            "error: denied: " UNDECIDED(
                                                                "servers could read its path in "
                                                                "another spelling") "\n"
                                                                                    "closed "
                                                                                    "plaintext\n"},
    {"pages that could change", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES(GET("/fine")), ABI_SAID_BEGINS | ABI_SAID_SPLICED, .denied = true}},
     .want = "policy deny reject http GET: " CHANGES "\n"
             "GET a.example /fine #1 plaintext deny error: denied: " CHANGES "\n"
             "closed plaintext\n"},
    {"... amid a body", .policy = NO_RULE, .whole = true,
     .pieces = {UP("PUT /fine " KEEPS "Transfer-Encoding: chunked\r\n\r\n"),
                {ABI_TX, BYTES("2\r\nhi\r\n"), ABI_SAID_SPLICED, .denied = true},
                UP("3\r\nabc\r\n0\r\n\r\n"),
                DOWN(FINE("0", ""))},
     .want = "policy deny reject visibility: " CHANGES "\n"
             "PUT a.example /fine #1 200 up 3 after 3000000 plaintext\n"
             "closed plaintext error: denied: " CHANGES "\n"},
    {"refused beside one that is", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES(GET("/fine") GET("/a")), .denied = true}},
     .want = "GET a.example /fine #1 plaintext deny error: " TOGETHER "\n"
             "policy deny reject http GET: no rule allows GET /a\n"
             "GET a.example /a #2 plaintext deny error: denied by policy p, egress[0].toPorts[0]: "
             "no rule allows GET /a\n"
             "closed plaintext\n"},
    {"... and was told before", .policy = NO_RULE, .whole = true,
     .pieces = {UP(GET("/fine")),
                UP(GET("/fine")),
                {ABI_TX, BYTES(GET("/a")), ABI_SAID_BEGINS, .denied = true,
                 .before = sizeof(GET("/fine")) - 1},
                DOWN(FINE("0", ""))},
     .want = "GET a.example /fine #2 plaintext deny error: " TOGETHER "\n"
             "policy deny reject http GET: no rule allows GET /a\n"
             "GET a.example /a #3 plaintext deny error: denied by policy p, egress[0].toPorts[0]: "
             "no rule allows GET /a\n"
             "GET a.example /fine #1 200 after 3000000 plaintext\n"
             "closed plaintext\n"},
    {"... with a body", .policy = NO_RULE, .whole = true,
     .pieces = {UP("POST /fine " KEEPS "Content-Length: 9\r\n\r\n"),
                {ABI_TX, BYTES(GET("/a")), ABI_SAID_BEGINS, .denied = true, .skipped = 9,
                 .before = sizeof("POST /fine " KEEPS "Content-Length: 9\r\n\r\n") - 1 + 9}},
     .want = "POST a.example /fine #1 up 9 plaintext deny error: " TOGETHER "\n"
             "policy deny reject http GET: no rule allows GET /a\n"
             "GET a.example /a #2 plaintext deny error: denied by policy p, egress[0].toPorts[0]: "
             "no rule allows GET /a\n"
             "closed plaintext\n"},
    {"refused by the kernel alone, with its body", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES("POST /fine " KEEPS "Content-Length: 2\r\n\r\nxy"), .denied = true}},
     .want = "policy deny reject http POST: " UNDECIDED(
         "its rules want more than is read there") "\n"
                                                   "POST a.example /fine #1 plaintext deny error: "
                                                   "denied: " UNDECIDED("its rules want more than "
                                                                        "is read there") "\n"
                                                                                         "closed "
                                                                                         "plaintext"
                                                                                         "\n"},
    {"refused before its head was whole", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES("GET /a HTTP/1.1\r\nHo"), .denied = true}},
     .want = "policy deny reject http GET: no rule allows GET /a\n"
             "GET /a #1 plaintext deny error: denied by policy p, egress[0].toPorts[0]: "
             "no rule allows GET /a\n"
             "closed plaintext\n"},
    {"... of which a part has gone, and is answered", .policy = NO_RULE, .whole = true,
     .pieces = {UP("GET /a"), {ABI_TX, BYTES(" "), .denied = true}, DOWN("<html>Bad")},
     .want = "policy deny reject http GET: no rule allows GET /a\n"
             "GET /a #1 plaintext deny error: denied by policy p, egress[0].toPorts[0]: "
             "no rule allows GET /a\n"
             "closed plaintext\n"},
    {"... likewise, as HTTP", .policy = NO_RULE, .whole = true,
     .pieces = {UP("GET /a"), {ABI_TX, BYTES(" "), .denied = true}, DOWN(BAD)},
     .want = "policy deny reject http GET: no rule allows GET /a\n"
             "GET /a #1 plaintext deny error: denied by policy p, egress[0].toPorts[0]: "
             "no rule allows GET /a\n"
             "closed plaintext\n"},
    {"refused, for it makes no sense", .policy = NO_RULE, .whole = true,
     .pieces = {ODD("GET /fine HTTP/1.1\r\n\r\n")}, .want = ODDLY("GET", "GET /fine", "no Host")},
    {"... in pieces", .policy = NO_RULE, .whole = true,
     .pieces = {UP("GET /fine HTTP/1.1\r\n"),
                {ABI_TX, BYTES("\r\n"), ABI_SAID_UNSEEN, .denied = true}},
     .want = ODDLY("GET", "GET /fine", "no Host")},
    {"... behind another one", .policy = NO_RULE, .whole = true,
     .pieces = {UP(GET("/fine")), DOWN(FINE("0", "")), ODD("GET /a " KEEPS "Host: b\r\n\r\n")},
     .want = "GET a.example /fine #1 200 after 1000000 plaintext\n"
             "policy deny reject visibility GET: two Host fields\n"
             "GET a.example /a #2 plaintext deny error: " BY_RULE "two Host fields\n"
             "closed plaintext\n"},
    {"refused, for its Host is another one's", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES("GET http://b.example/fine HTTP/1.1\r\nHost: a.example\r\n\r\n"),
                 .denied = true}},
     .want = ODDLY("GET", "GET b.example http://b.example/fine", "a Host other than the target's")},
    {"... a line's end", .policy = NO_RULE, .whole = true,
     .pieces = {ODD("GET /fine HTTP/1.1\nHost: a\n\n")},
     .want = ODDLY("GET", "GET /fine", "an LF without its CR")},
    {"... a method", .policy = NO_RULE, .whole = true, .pieces = {ODD("FOO /fine " KEEPS "\r\n")},
     .want = ODDLY("FOO", "FOO /fine", "an unknown method")},
    {"... a length beside chunks", .policy = NO_RULE, .whole = true,
     .pieces = {ODD("POST /fine " KEEPS "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")},
     .want = ODDLY("POST", "POST a.example /fine", "Content-Length with Transfer-Encoding")},
    {"refused, for it is nothing that is known", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES("\1\2\3"), ABI_SAID_UNSEEN, .denied = true}},
     .want = "policy deny reject visibility: it is neither TLS nor HTTP\n"
             "closed plaintext error: " BY_RULE "it is neither TLS nor HTTP\n"},
    {"... encrypted by the kernel", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, .keys = 0x0304},
                {ABI_TX, BYTES("\1\2\3"), ABI_SAID_UNSEEN | ABI_SAID_KTLS, .denied = true}},
     .want = "tls TLS1.3 TLS_AES_128_GCM_SHA256 ktls\n"
             "policy deny reject visibility: it is neither TLS nor HTTP\n"
             "closed ktls error: " BY_RULE "it is neither TLS nor HTTP\n"},
    {"refused, with too little of it to know what it is", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES("DELETE"), .denied = true}},
     .want = "policy deny reject visibility: no rule denies it, but the kernel route could not "
             "decide it: "
             "no request was seen in it\n"
             "closed plaintext error: denied: no rule denies it, but the kernel route could not "
             "decide it: "
             "no request was seen in it\n"},
    {"... and another one behind it", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, .keys = 0x0304},
                {ABI_TX, BYTES("DELETE"), ABI_SAID_KTLS, .denied = true},
                {ABI_TX, BYTES(GET("/fine")), ABI_SAID_KTLS}},
     .want =
         "tls TLS1.3 TLS_AES_128_GCM_SHA256 ktls\n"
         "policy deny reject visibility: no rule denies it, but the kernel route could not decide "
         "it: "
         "no request was seen in it\n"
         "GET a.example /fine #1 ktls error: denied: no rule denies it, but the kernel route could "
         "not decide it: "
         "no request was seen in it\n"
         "closed ktls error: denied: no rule denies it, but the kernel route could not decide it: "
         "no request was seen in it\n"},
    {"... behind a request", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, .keys = 0x0304},
                {ABI_TX, BYTES(GET("/fine")), ABI_SAID_KTLS | ABI_SAID_BEGINS},
                {ABI_TX, BYTES("\1\2\3"), ABI_SAID_UNSEEN | ABI_SAID_KTLS, .denied = true}},
     .want = "tls TLS1.3 TLS_AES_128_GCM_SHA256 ktls\n"
             "policy deny reject visibility: what was to leave could not be read as it was said\n"
             "GET a.example /fine #1 ktls error: " BY_RULE
             "what was to leave could not be read as it was said\n"
             "closed ktls error: " BY_RULE "what was to leave could not be read as it was said\n"},
    {"refused, for it is not what was said", .policy = NO_RULE, .whole = true,
     .pieces = {UP(GET("/fine")),
                {ABI_TX, BYTES(GET("/fine")), ABI_SAID_UNSEEN | ABI_SAID_AGAIN, .denied = true}},
     .want =
         "GET a.example /fine #1 plaintext deny error: " TOGETHER "\n"
         "policy deny reject visibility: what was to leave could not be read as it was said\n"
         "closed plaintext error: " BY_RULE "what was to leave could not be read as it was said\n"},
    {"held back as it leaves", .policy = NO_RULE, .whole = true,
     .pieces = {UP(GET("/fine")),
                {ABI_TX, BYTES(GET("/fine")), ABI_SAID_UNSEEN | ABI_SAID_AGAIN | ABI_SAID_HELD,
                 .denied = true}},
     .want =
         "GET a.example /fine #1 plaintext deny error: " TOGETHER "\n"
         "policy deny reset visibility: what was to leave could not be read as it was said\n"
         "closed plaintext error: " BY_RULE "what was to leave could not be read as it was said\n"},
    {"... and nobody knows what it is", .policy = NO_RULE, .whole = true,
     .pieces = {UP(GET("/fine")),
                {ABI_TX, BYTES(""), ABI_SAID_UNSEEN | ABI_SAID_AGAIN | ABI_SAID_HELD,
                 .denied = true}},
     .want =
         "policy deny reset visibility: what was to leave could not be read as it was said\n"
         "GET a.example /fine #1 plaintext error: " BY_RULE
         "what was to leave could not be read as it was said\n"
         "closed plaintext error: " BY_RULE "what was to leave could not be read as it was said\n"},
    {"refused, for it is HTTP/2", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ABI_SAID_BEGINS,
                 .denied = true}},
     .want = "policy deny reject visibility: " HTTP2_UNREAD "\n"
             "closed plaintext error: denied: " HTTP2_UNREAD "\n"},
    {"a head without an end", .whole = true,
     .pieces = {UP(
         "GET /a " KEEPS F4 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16)},
     .want = "GET a.example /a #1 plaintext error: too many fields\nclosed opaque/unknown\n"},
    {"closed within a head", .pieces = {UP("GET /a " KEEPS)},
     .want =
         "closed plaintext error: closed within a request's head, of which 34 bytes had come\n"},
    {"closed within an answer's head", .pieces = {UP(GET("/a")), DOWN("HTTP/1.1 200 OK\r\n")},
     .want = "GET a.example /a #1 plaintext error: the upstream's answer was cut short\n"
             "closed plaintext error: the upstream's answer was cut short\n"},
    {"refused with its body", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES("POST /a " KEEPS "Content-Length: 2\r\n\r\nxy"), .denied = true}},
     .want = "policy deny reject http POST: no rule allows POST /a\n"
             "POST a.example /a #1 plaintext deny error: denied by policy p, egress[0].toPorts[0]: "
             "no rule "
             "allows POST /a\n"
             "closed plaintext\n"},
    {"a card in a body, which has gone", .whole = true,
     .policy = "inspect: {bodies: [{patterns: [payment-card], action: deny}]}",
     .pieces = {UP("POST /p " KEEPS "Content-Length: 17\r\n\r\n4111111111111111 "),
                DOWN(FINE("0", ""))},
     .want = "policy alert body POST: the request has payment-card in its body; it had gone "
             "already\n"
             "POST a.example /p #1 200 up 17 after 1000000 plaintext alert\n"
             "closed plaintext\n"},
    {"a body that was to be looked at, and was skipped", .whole = true,
     .policy = "inspect: {bodies: [{patterns: [payment-card], action: alert}]}",
     .pieces = {UP("POST /p " KEEPS "Content-Length: 17\r\n\r\n"),
                {ABI_TX, BYTES("x"), .skipped = 16},
                DOWN(FINE("0", ""))},
     .want =
         "policy alert visibility POST: the request's body cannot be looked at: it was not handed "
         "up by the kernel\n"
         "POST a.example /p #1 200 up 17 after 2000000 plaintext alert\n"
         "closed plaintext\n"},
};

static void begin(const struct row *row)
{
    char text[1024];

    snprintf(text, sizeof(text), POLICY("p", "  %s\n"), row->policy ? row->policy : "");
    policed_use(row->policy ? text : NULL);
    hearing_opens(row->accepted, row->midway);
}

static bool is_piece(const struct piece *piece)
{
    return piece->bytes.len || piece->keys || piece->denied;
}

static void check(const struct row *row)
{
    uint64_t said[ABI_DIRECTIONS] = {0};

    hearing_closes();
    assert_string_equal(heard, row->want);
    for (const struct piece *piece = row->pieces; is_piece(piece); piece++)
        said[piece->direction] +=
            piece->skipped + piece->lost + (piece->flags & ABI_SAID_AGAIN ? 0 : piece->bytes.len);
    assert_int_equal(heard_tx, said[ABI_TX]);
    assert_int_equal(heard_rx, said[ABI_RX]);
}

static void whole_pieces_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        print_message("  %s\n", rows[i].name);
        begin(&rows[i]);
        for (const struct piece *piece = rows[i].pieces; is_piece(piece); piece++)
            hears(piece);
        check(&rows[i]);
    }
}

/* Both parts at the same moment, as what is told says how long something took. */
static void hears_in_two(const struct piece *piece, size_t cut)
{
    struct piece first = *piece, second = *piece;

    first.bytes.len = cut;
    hears(&first);
    hearing_ns -= 1000000;
    second.bytes = span_of(piece->bytes.data + cut, piece->bytes.len - cut);
    second.skipped = second.lost = 0;
    hears(&second);
}

static void wherever_pieces_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (size_t n = 0; !rows[i].whole && n < PIECES_MAX; n++)
            for (size_t cut = 1; cut < rows[i].pieces[n].bytes.len; cut++) {
                const struct piece *pieces = rows[i].pieces;

                begin(&rows[i]);
                for (size_t at = 0; is_piece(&pieces[at]); at++)
                    if (at == n)
                        hears_in_two(&pieces[at], cut);
                    else
                        hears(&pieces[at]);
                check(&rows[i]);
            }
}

static void byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].whole)
            continue;
        begin(&rows[i]);
        for (const struct piece *piece = rows[i].pieces; is_piece(piece); piece++) {
            struct piece one = *piece;

            one.bytes.len = piece->keys ? 0 : 1;
            hears(&one);
            for (size_t at = 1; at < piece->bytes.len; at++) {
                one.bytes = span_of(piece->bytes.data + at, 1);
                hearing_ns -= 1000000;
                hears(&one);
            }
        }
        check(&rows[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_pieces_are_told, hearing_begin, hearing_end),
        cmocka_unit_test_setup_teardown(wherever_pieces_are_cut, hearing_begin, hearing_end),
        cmocka_unit_test_setup_teardown(byte_by_byte, hearing_begin, hearing_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
