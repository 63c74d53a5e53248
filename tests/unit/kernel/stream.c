/* What a stream of the kernel route tells, whatever pieces it comes in. */
#include "tests/unit/kernel/hearing_rows.h"

#define CLOSED "the server closed without an answer"
#define RESET  "the upstream's side: Connection reset by peer"

#define F4  "a: b\r\na: b\r\na: b\r\na: b\r\n"
#define F16 F4 F4 F4 F4

static const struct row rows[] = {
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
    {"an answer cut short", .ended = STREAM_ENDED_THERE,
     .pieces = {UP(GET("/a")), DOWN(FINE("5", "he"))},
     .want = "GET a.example /a #1 200 down 5 after 1000000 plaintext\n"
             "closed plaintext error: the upstream's answer was cut short\n"},
    {"... by its program, which does not wait", .ended = STREAM_ENDED_HERE,
     .pieces = {UP(GET("/a")), DOWN(FINE("5", "he"))},
     .want = "GET a.example /a #1 200 down 5 after 1000000 plaintext\n"
             "closed plaintext\n"},
    {"... by a reset", .ended = STREAM_ENDED_RESET,
     .pieces = {UP(GET("/a")), DOWN(FINE("5", "he"))},
     .want = "GET a.example /a #1 200 down 5 after 1000000 plaintext\n"
             "closed plaintext error: " RESET "\n"},
    {"a server that closes instead of an answer", .ended = STREAM_ENDED_THERE,
     .pieces = {UP(GET("/a") GET("/b")), DOWN(FINE("0", "")), UP(GET("/c"))},
     .want = "GET a.example /a #1 200 after 1000000 plaintext\n"
             "GET a.example /b #2 plaintext error: " CLOSED "\n"
             "GET a.example /c #3 plaintext error: " CLOSED "\n"
             "closed plaintext\n"},
    {"... that resets", .ended = STREAM_ENDED_RESET, .pieces = {UP(GET("/a"))},
     .want = "GET a.example /a #1 plaintext error: " RESET "\n"
             "closed plaintext error: " RESET "\n"},
    {"... behind its last answer", .ended = STREAM_ENDED_RESET,
     .pieces = {UP(GET("/a")), DOWN(FINE("0", ""))},
     .want = "GET a.example /a #1 200 after 1000000 plaintext\n"
             "closed plaintext\n"},
    {"... and was asked for another protocol", .ended = STREAM_ENDED_THERE,
     .pieces = {UP("GET /x " KEEPS "Upgrade: foo\r\nConnection: upgrade\r\n\r\n")},
     .want = "GET a.example /x #1 plaintext error: " CLOSED "\nclosed plaintext\n"},
    {"a program that does not wait for its answer", .ended = STREAM_ENDED_HERE,
     .pieces = {UP(GET("/a"))}, .want = "GET a.example /a #1 plaintext\nclosed plaintext\n"},
    {"a pod's server that closes instead of an answer", .accepted = true,
     .ended = STREAM_ENDED_HERE, .pieces = {{ABI_RX, BYTES(GET("/a"))}},
     .want = "GET a.example /a #1 plaintext error: " CLOSED "\nclosed plaintext\n"},
    {"... whose client does not wait for it", .accepted = true, .ended = STREAM_ENDED_THERE,
     .pieces = {{ABI_RX, BYTES(GET("/a"))}},
     .want = "GET a.example /a #1 plaintext\nclosed plaintext\n"},
    {"... but resets", .accepted = true, .ended = STREAM_ENDED_RESET,
     .pieces = {{ABI_RX, BYTES(GET("/a"))}},
     .want = "GET a.example /a #1 plaintext\nclosed plaintext\n"},
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
     .ended = STREAM_ENDED_RESET,
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
    {"a denial that could not be told", .pieces = {UP(GET("/a")), DOWN(FINE("0", ""))}, .untold = 1,
     .want = "GET a.example /a #1 200 after 1000000 plaintext\n"
             "closed plaintext error: 1 denials of it could not be told\n"},
    {"... beside what else is wrong, and lost", .whole = true,
     .pieces = {{ABI_TX, BYTES("GET /a HT"), ABI_SAID_BEGINS, .lost = 38}}, .untold = 2,
     .want =
         "closed plaintext error: closed within a request's head, of which 9 bytes had come; "
         "38 bytes of the connection were lost on their way to the agent; 2 denials of it could "
         "not be told\n"},
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
    {"keys for what is sent alone: answers are not seen", .ended = STREAM_ENDED_THERE,
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

    /* heads without an end */
    {"a head without an end", .whole = true,
     .pieces = {UP(
         "GET /a " KEEPS F4 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16)},
     .want = "GET a.example /a #1 plaintext error: too many fields\nclosed opaque/unknown\n"},
    {"closed within a head", .pieces = {UP("GET /a " KEEPS)},
     .want =
         "closed plaintext error: closed within a request's head, of which 34 bytes had come\n"},
    {"closed within an answer's head", .ended = STREAM_ENDED_THERE,
     .pieces = {UP(GET("/a")), DOWN("HTTP/1.1 200 OK\r\n")},
     .want = "GET a.example /a #1 plaintext error: the upstream's answer was cut short\n"
             "closed plaintext error: the upstream's answer was cut short\n"},

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

static void whole_pieces_are_told(void **state)
{
    (void)state;
    hear_rows(rows, ARRAY_SIZE(rows));
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

                row_begins(&rows[i]);
                for (size_t at = 0; is_piece(&pieces[at]); at++)
                    if (at == n)
                        hears_in_two(&pieces[at], cut);
                    else
                        hears(&pieces[at]);
                row_ends(&rows[i]);
            }
}

static void byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].whole)
            continue;
        row_begins(&rows[i]);
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
        row_ends(&rows[i]);
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
