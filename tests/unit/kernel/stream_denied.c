/* What a stream of the kernel route tells of what the kernel refused: by which policy, and why,
 * what went down with it, and what had gone before. */
#include "tests/unit/kernel/hearing_rows.h"

#define UNDECIDED(why) "no rule denies it, but the kernel route could not decide it: " why
#define CHANGES        UNDECIDED("it was sent by splice or sendfile, and its bytes could still change")
#define HTTP2_UNREAD   UNDECIDED("it is HTTP/2, the heads of which the kernel cannot read")
#define MORE_WANTED    UNDECIDED("its rules want more than is read there")
#define FOR_PROXY      UNDECIDED("policies want of it what only the proxy can keep")
#define OTHER_PATH     UNDECIDED("servers could read its path in another spelling")
#define NO_REQUEST     UNDECIDED("no request was seen in it")
#define TOGETHER       "not sent: in one send with what was refused"
#define ODD(text)                                                                                  \
    {                                                                                              \
        ABI_TX, BYTES(text), ABI_SAID_BEGINS | ABI_SAID_UNSEEN, .denied = true                     \
    }
#define BY_RULE "denied by policy p, egress[0].toPorts[0].rules.http[0]: "
#define ODDLY(method, line, why)                                                                   \
    "policy deny reject visibility " method ": " why "\n" line                                     \
    " #1 plaintext deny error: " BY_RULE why "\nclosed plaintext\n"

static const struct row rows[] = {
    {"refused by the kernel", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES(GET("/a")), .denied = true}},
     .want = "policy deny reject http GET: no rule allows GET /a\n"
             "GET a.example /a #1 plaintext deny error: denied by policy p, egress[0].toPorts[0]: "
             "no rule allows GET /a\n"
             "closed plaintext\n"},
    {"refused by the kernel alone", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES(GET("/fine")), .denied = true}},
     .want = "policy deny reject http GET: " MORE_WANTED "\n"
             "GET a.example /fine #1 plaintext deny error: denied: " MORE_WANTED "\n"
             "closed plaintext\n"},
    {"... where the proxy is wanted", .policy = NO_RULE "\n  inspect: {tokens: deny}",
     .whole = true, .pieces = {{ABI_TX, BYTES(GET("/fine")), .denied = true}},
     .want = "policy deny reject http GET: " FOR_PROXY "\n"
             "GET a.example /fine #1 plaintext deny error: denied: " FOR_PROXY "\n"
             "closed plaintext\n"},
    {"... in a path that some read otherwise", .whole = true,
     .policy = "egress: [{toCIDR: [203.0.113.0/24], toPorts: [{rules: {http: [{path: /.*}]}}]}]",
     .pieces = {{ABI_TX, BYTES(GET("/%61")), .denied = true}},
     .want = "policy deny reject http GET: " OTHER_PATH "\n"
             "GET a.example /%61 #1 plaintext deny error: denied: " OTHER_PATH "\n"
             "closed plaintext\n"},
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
     .want = "policy deny reject http POST: " MORE_WANTED "\n"
             "POST a.example /fine #1 plaintext deny error: denied: " MORE_WANTED "\n"
             "closed plaintext\n"},
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
    {"... as what went before it was not", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, .keys = 0x0304},
                {ABI_TX, BYTES("\1\2\3\4\5"), ABI_SAID_KTLS},
                {ABI_TX, BYTES(GET("/fine")), ABI_SAID_UNSEEN | ABI_SAID_KTLS, .denied = true}},
     .want = "tls TLS1.3 TLS_AES_128_GCM_SHA256 ktls\n"
             "policy alert visibility: it is neither TLS nor HTTP; it had gone already\n"
             "policy deny reject visibility: it is neither TLS nor HTTP\n"
             "closed opaque/unknown error: " BY_RULE "it is neither TLS nor HTTP\n"},
    {"refused, with too little of it to know what it is", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES("DELETE"), .denied = true}},
     .want = "policy deny reject visibility: " NO_REQUEST "\n"
             "closed plaintext error: denied: " NO_REQUEST "\n"},
    {"... and another one behind it", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, .keys = 0x0304},
                {ABI_TX, BYTES("DELETE"), ABI_SAID_KTLS, .denied = true},
                {ABI_TX, BYTES(GET("/fine")), ABI_SAID_KTLS}},
     .want = "tls TLS1.3 TLS_AES_128_GCM_SHA256 ktls\n"
             "policy deny reject visibility: " NO_REQUEST "\n"
             "GET a.example /fine #1 ktls error: denied: " NO_REQUEST "\n"
             "closed ktls error: denied: " NO_REQUEST "\n"},
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
    {"refused with its body", .policy = NO_RULE, .whole = true,
     .pieces = {{ABI_TX, BYTES("POST /a " KEEPS "Content-Length: 2\r\n\r\nxy"), .denied = true}},
     .want = "policy deny reject http POST: no rule allows POST /a\n"
             "POST a.example /a #1 plaintext deny error: denied by policy p, egress[0].toPorts[0]: "
             "no rule allows POST /a\n"
             "closed plaintext\n"},
};

static void what_was_refused_is_told(void **state)
{
    (void)state;
    hear_rows(rows, ARRAY_SIZE(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_refused_is_told, hearing_begin, hearing_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
