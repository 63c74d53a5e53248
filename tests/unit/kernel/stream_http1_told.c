/* Which request an answer of HTTP/1 is told with, on the kernel route, and what of one that is not
 * whole. */
#include "tests/unit/kernel/hearing.h"

#define TWO_HOSTS(path) "GET " path " " KEEPS "Host: b\r\n\r\n"
#define CHUNKED         "Transfer-Encoding: chunked\r\n\r\n"
#define LOST            "were lost on their way to the agent"
#define MANY            "too many requests without an answer"
#define UNREADABLE      "the upstream's answer could not be read: "
#define FINE_ALONE                                                                                 \
    "egress: [{toCIDR: [203.0.113.0/24], toPorts: [{rules: {http: [{path: /fine}]}}]}]"
#define MONITORED "mode: monitor\n  " FINE_ALONE
#define BY_RULE   "denied by policy p, egress[0].toPorts[0]: "

static const struct row {
    const char *name, *policy;
    struct piece pieces[PIECES_MAX];
    const char *want;
} rows[] = {
    {"a request that makes no sense", .pieces = {UP(TWO_HOSTS("/a"))},
     .want = "GET a.example /a #1 plaintext error: two Host fields\nclosed opaque/unknown\n"},
    {"... and is answered", .pieces = {UP(TWO_HOSTS("/a")), DOWN(BAD)},
     .want = "GET a.example /a #1 plaintext error: two Host fields\nclosed opaque/unknown\n"},
    {"... by what is no HTTP", .pieces = {UP(TWO_HOSTS("/a")), DOWN("<html>Bad")},
     .want = "GET a.example /a #1 plaintext error: two Host fields\nclosed opaque/unknown\n"},
    {"... before others, which nobody reads",
     .pieces = {UP(TWO_HOSTS("/a") GET("/b")),
                UP("HEAD /c " KEEPS "\r\n"),
                DOWN(BAD FINE("1", "b")),
                {ABI_RX, BYTES(FINE("5", "")), ABI_SAID_BEGINS}},
     .want = "GET a.example /a #1 plaintext error: two Host fields\nclosed opaque/unknown\n"},
    {"one of which the kernel shows no more",
     .pieces = {UP("GET /a " KEEPS), DOWN(BAD FINE("0", ""))},
     .want = "GET /a #1 plaintext error: answered before its head was whole\n"
             "closed opaque/unknown\n"},
    {"... as one asked for another protocol before",
     .pieces = {UP("GET /a " KEEPS "Upgrade: foo\r\nConnection: upgrade\r\n\r\nG"),
                DOWN(FINE("0", "") FINE("0", ""))},
     .want = "GET a.example /a #1 200 after 1000000 plaintext\n"
             "G #2 plaintext error: answered before its head was whole\n"
             "closed opaque/unknown\n"},
    {"one that asks for another protocol, answered before its body",
     .pieces = {UP("POST /a " KEEPS "Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 3\r\n"
                   "\r\n"),
                DOWN(FINE("0", "")), UP("x=y"), UP(GET("/b")), DOWN(FINE("1", "b"))},
     .want = "POST a.example /a #1 200 after 1000000 plaintext\n"
             "GET a.example /b #2 200 down 1 after 1000000 plaintext\n"
             "closed plaintext\n"},
    {"one that makes no sense, encrypted by the kernel",
     .pieces = {{ABI_TX, BYTES(TWO_HOSTS("/a")), ABI_SAID_KTLS},
                {ABI_RX, BYTES(BAD FINE("1", "b")), ABI_SAID_KTLS}},
     .want = "GET a.example /a #1 ktls error: two Host fields\nclosed opaque/unknown\n"},
    {"... where policies only tell", .policy = MONITORED, .pieces = {UP(TWO_HOSTS("/fine"))},
     .want = "policy alert reject visibility GET: two Host fields\n"
             "GET a.example /fine #1 plaintext alert error: two Host fields\n"
             "closed opaque/unknown\n"},
    {"... in its body", .policy = MONITORED,
     .pieces = {UP("POST /fine " KEEPS CHUNKED "no length"), DOWN(BAD FINE("1", "b"))},
     .want = "policy alert reject visibility POST: an invalid chunk size\n"
             "POST a.example /fine #1 plaintext alert error: an invalid chunk size\n"
             "closed opaque/unknown\n"},
    {"... which was answered before", .policy = MONITORED,
     .pieces = {UP("POST /fine " KEEPS CHUNKED), DOWN(BAD), UP("no length"), DOWN(FINE("1", "b"))},
     .want = "POST a.example /fine #1 400 after 1000000 plaintext\n"
             "policy alert reject visibility: an invalid chunk size\n"
             "closed opaque/unknown\n"},
    {"... behind one that waits, before another one",
     .pieces = {UP(GET("/a")),
                UP(TWO_HOSTS("/b")),
                {ABI_TX, BYTES(GET("/c")), ABI_SAID_BEGINS},
                DOWN(FINE("1", "a") BAD FINE("3", "ccc"))},
     .want = "GET a.example /b #2 plaintext error: two Host fields\n"
             "GET a.example /a #1 200 down 1 after 3000000 plaintext\n"
             "GET a.example /c #3 200 down 3 after 1000000 plaintext\n"
             "closed plaintext\n"},
    {"... in its body",
     .pieces = {UP("POST /a " KEEPS CHUNKED "no length"),
                {ABI_TX, BYTES(GET("/b")), ABI_SAID_BEGINS},
                DOWN(BAD FINE("1", "b"))},
     .want = "POST a.example /a #1 plaintext error: an invalid chunk size\n"
             "GET a.example /b #2 200 down 1 after 1000000 plaintext\n"
             "closed plaintext\n"},
    {"what follows the last one",
     .pieces = {UP("GET /a " KEEPS "Connection: close\r\n\r\n"), DOWN(FINE("0", "")), UP("X")},
     .want = "GET a.example /a #1 200 after 1000000 plaintext\n"
             "X #2 plaintext error: bytes behind the last message\n"
             "closed opaque/unknown\n"},
    {"a body of which bytes were lost",
     .pieces = {UP("PUT /a " KEEPS CHUNKED "3\r\nabc\r\n"),
                {ABI_TX, .lost = 9},
                {ABI_TX, BYTES("0\r\n\r\n"), .skipped = 30},
                DOWN(FINE("0", "")),
                {ABI_TX, BYTES(GET("/b")), ABI_SAID_BEGINS},
                DOWN(FINE("1", "b"))},
     .want = "PUT a.example /a #1 200 up 3 after 3000000 plaintext error: bytes of it " LOST "\n"
             "GET a.example /b #2 200 down 1 after 1000000 plaintext\n"
             "closed plaintext error: 9 bytes of the connection " LOST "\n"},
    {"... that is refused, behind one that waits", .policy = FINE_ALONE,
     .pieces = {UP(GET("/fine")),
                {ABI_TX, BYTES("POST /a " KEEPS CHUNKED "no length"), .denied = true},
                DOWN(FINE("0", ""))},
     .want = "policy deny reject http POST: no rule allows POST /a\n"
             "POST a.example /a #2 plaintext deny error: " BY_RULE "no rule allows POST /a\n"
             "GET a.example /fine #1 200 after 2000000 plaintext\n"
             "closed plaintext\n"},
    {"one whose answer is no HTTP, before another one",
     .pieces = {UP(GET("/a")),
                DOWN("\r\n" FINE("5", "hello")),
                UP(GET("/b")),
                {ABI_RX, BYTES(FINE("1", "b")), ABI_SAID_BEGINS}},
     .want = "GET a.example /a #1 plaintext error: " UNREADABLE "a protocol other than HTTP\n"
             "GET a.example /b #2 200 down 1 after 1000000 plaintext\n"
             "closed plaintext error: " UNREADABLE "a protocol other than HTTP\n"},
    {"... with a second one, of which nobody knows what it is",
     .pieces = {UP(GET("/a") GET("/b")), DOWN("HTTP/1.1 200 OK\n\n"), DOWN(FINE("1", "b"))},
     .want = "GET a.example /a #1 plaintext error: " UNREADABLE "an LF without its CR\n"
             "GET a.example /b #2 plaintext error: " UNREADABLE "an LF without its CR\n"
             "closed plaintext error: " UNREADABLE "an LF without its CR\n"},
    {"one whose answer cannot be seen, before what becomes of the next", .policy = FINE_ALONE,
     .pieces = {{ABI_TX, BYTES(GET("/fine")), ABI_SAID_KTLS},
                {ABI_TX, BYTES(GET("/a")), ABI_SAID_KTLS, .denied = true},
                {ABI_TX, BYTES(GET("/fine")), ABI_SAID_KTLS | ABI_SAID_BEGINS},
                {ABI_TX, BYTES("GET /b HT"), ABI_SAID_KTLS, .denied = true}},
     .want = "GET a.example /fine #1 ktls\n"
             "policy deny reject http GET: no rule allows GET /a\n"
             "GET a.example /a #2 ktls deny error: " BY_RULE "no rule allows GET /a\n"
             "GET a.example /fine #3 ktls\n"
             "policy deny reject http GET: no rule allows GET /b\n"
             "GET /b #4 ktls deny error: " BY_RULE "no rule allows GET /b\n"
             "closed ktls\n"},
};

static void answers_are_told_with_their_requests(void **state)
{
    char text[1024];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        print_message("  %s\n", rows[i].name);
        snprintf(text, sizeof(text), POLICY("p", "  %s\n"), rows[i].policy ? rows[i].policy : "");
        policed_use(rows[i].policy ? text : NULL);
        hearing_opens(false, false);
        for (const struct piece *piece = rows[i].pieces; piece->bytes.len || piece->lost; piece++)
            hears(piece);
        hearing_closes();
        assert_string_equal(heard, rows[i].want);
    }
}

static void hears_text(enum abi_direction direction, const char *text)
{
    const struct piece piece = {.direction = direction, .bytes = span_of_text(text)};

    hears(&piece);
}

static void more_than_can_wait(void **state)
{
    enum { ALL = RELAY_PENDING_MAX + 2 };
    char text[128], want[256];

    (void)state;
    hearing_opens(false, false);
    for (unsigned i = 0; i < ALL; i++) {
        snprintf(text, sizeof(text), GET("/%u"), i);
        hears_text(ABI_TX, text);
    }
    assert_string_equal(heard, "GET a.example /0 #1 plaintext error: " MANY "\n"
                               "GET a.example /1 #2 plaintext error: " MANY "\n");
    for (unsigned i = 0; i < ALL; i++) {
        heard[0] = 0;
        snprintf(text, sizeof(text), "HTTP/1.1 %u OK\r\nContent-Length: 0\r\n\r\n", 200 + i);
        hears_text(ABI_RX, text);
        snprintf(want, sizeof(want), "GET a.example /%u #%u %u after %u000000 plaintext\n", i,
                 i + 1, 200 + i, ALL);
        assert_string_equal(heard, i < 2 ? "" : want);
    }
    heard[0] = 0;
    hearing_closes();
    assert_string_equal(heard, "closed plaintext\n");
}

/* It is no fault of a server's, nor of a program's, if nobody listens any more. */
static void one_that_goes_on(void **state)
{
    static const struct {
        struct piece pieces[3];
        const char *want;
    } ways[] = {
        {.pieces = {UP("GET /a HTT")}, .want = "closed plaintext\n"},
        {.pieces = {UP(GET("/a"))}, .want = "GET a.example /a #1 plaintext\nclosed plaintext\n"},
        {.pieces = {UP(GET("/a")), DOWN("HTTP/1.1 200 O")},
         .want = "GET a.example /a #1 plaintext\nclosed plaintext\n"},
        {.pieces = {UP(GET("/a")), DOWN(FINE("5", "he"))},
         .want = "GET a.example /a #1 200 down 5 after 1000000 plaintext\nclosed plaintext\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        hearing_opens(false, false);
        for (const struct piece *piece = ways[i].pieces; piece->bytes.len; piece++)
            hears(piece);
        hearing_ends(true);
        assert_string_equal(heard, ways[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_are_told_with_their_requests, hearing_begin,
                                        hearing_end),
        cmocka_unit_test_setup_teardown(one_that_goes_on, hearing_begin, hearing_end),
        cmocka_unit_test_setup_teardown(more_than_can_wait, hearing_begin, hearing_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
