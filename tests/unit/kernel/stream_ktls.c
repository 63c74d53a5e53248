/* What a stream of the kernel route tells where the kernel encrypts: of what is no HTTP as in the
 * clear, and of a server, which may receive by itself, once. */
#include "tests/unit/kernel/hearing_rows.h"

enum { OFTEN = 40 };

#define SHOWN(direction, text)                                                                     \
    {                                                                                              \
        direction, BYTES(text), ABI_SAID_KTLS                                                      \
    }
#define RECORD(direction, text)                                                                    \
    {                                                                                              \
        direction, BYTES(text), ABI_SAID_RECORDS                                                   \
    }
/* Of a record that somebody encrypted the header is handed up, of some; what is left out comes
 * before the next piece. */
#define SEALED       "\x17\3\3\0\x64"
#define SEALED_BYTES 100
#define HANDSHAKE    "\x16\3\3\0\4\0\0\0\0"
#define KEYS(at, what)                                                                             \
    {                                                                                              \
        at, .keys = (what)                                                                         \
    }
#define TLS12 0x0303
#define TLS13 0x0304

/* HTTP/2: SETTINGS; HEADERS that end stream 1 */
#define SETTINGS "\0\0\0\4\0\0\0\0\0"
#define ANSWERS  "\0\0\1\1\5\0\0\0\1\x88"

#define OF_12 "tls TLS1.2 ktls\n"
#define OF_13 "tls TLS1.3 TLS_AES_128_GCM_SHA256 ktls\n"
#define BY_12 " by TLS 771\n"
#define BY_13 " by TLS_AES_128_GCM_SHA256 772\n"
#define ALERT "policy alert visibility: "
#define LOUD  "onNoVisibility: alert"

static const struct row rows[] = {
    /* what is not HTTP */
    {"lines", .policy = LOUD,
     .pieces = {KEYS(ABI_TX, TLS12), KEYS(ABI_RX, TLS12), SHOWN(ABI_TX, "HELO a\n"),
                SHOWN(ABI_RX, "250 b\n"), SHOWN(ABI_TX, "QUIT\n")},
     .want = OF_12 ALERT "it is neither TLS nor HTTP\nclosed opaque/unknown\n"},
    {"bytes, and no keys for what is received", .policy = LOUD,
     .pieces = {KEYS(ABI_TX, TLS13), SHOWN(ABI_TX, "\1\2\3\4\5"), SHOWN(ABI_TX, GET("/a"))},
     .want = OF_13 ALERT "it is neither TLS nor HTTP\nclosed opaque/unknown\n"},
    {"a server that speaks first", .policy = LOUD,
     .pieces = {KEYS(ABI_TX, TLS12), KEYS(ABI_RX, TLS12), SHOWN(ABI_RX, "220 b\n"),
                SHOWN(ABI_TX, "EHLO a\n")},
     .want = OF_12 ALERT "the server spoke first\nclosed opaque/server first\n"},
    {"one that turns to TLS, which the kernel encrypts", .policy = LOUD, .whole = true,
     .pieces = {DOWN("220 b\n"), UP("STARTTLS\n"), RECORD(ABI_TX, HANDSHAKE),
                RECORD(ABI_RX, HANDSHAKE), KEYS(ABI_TX, TLS12), SHOWN(ABI_TX, "EHLO a\n")},
     .want = ALERT "the server spoke first\ntls TLS1.2 opaque/server first\n"
                   "closed opaque/server first" BY_12},

    /* a server that receives by itself */
    {"a server's answers", .accepted = true,
     .pieces = {RECORD(ABI_RX, HANDSHAKE), RECORD(ABI_TX, HANDSHAKE), KEYS(ABI_TX, TLS13),
                RECORD(ABI_RX, SEALED), SHOWN(ABI_TX, FINE("1", "x"))},
     .want = OF_13 "? 200 down 1 ktls\nclosed ktls" BY_13},
    {"... who had encrypted its handshake, as its client did more", .accepted = true, .whole = true,
     .pieces = {RECORD(ABI_RX, HANDSHAKE),
                RECORD(ABI_TX, HANDSHAKE SEALED),
                {ABI_TX, BYTES(SEALED), ABI_SAID_RECORDS, .skipped = SEALED_BYTES},
                RECORD(ABI_RX, SEALED),
                {ABI_RX, BYTES(SEALED), ABI_SAID_RECORDS, .skipped = SEALED_BYTES},
                KEYS(ABI_TX, TLS13),
                SHOWN(ABI_TX, FINE("1", "x"))},
     .want = OF_13 "? 200 down 1 ktls\nclosed ktls" BY_13},
    {"... by HTTP/2", .accepted = true, .whole = true,
     .pieces = {RECORD(ABI_RX, HANDSHAKE),
                RECORD(ABI_TX, HANDSHAKE),
                KEYS(ABI_TX, TLS13),
                RECORD(ABI_RX, SEALED),
                SHOWN(ABI_TX, SETTINGS),
                {ABI_RX, BYTES(SEALED), ABI_SAID_RECORDS, .skipped = SEALED_BYTES},
                SHOWN(ABI_TX, ANSWERS)},
     .want = OF_13 "? #1 200 ktls\nclosed ktls" BY_13},
    {"... of which several came, and were asked for", .accepted = true, .whole = true,
     .pieces = {RECORD(ABI_RX, HANDSHAKE),
                RECORD(ABI_TX, HANDSHAKE),
                KEYS(ABI_TX, TLS13),
                RECORD(ABI_RX, SEALED),
                SHOWN(ABI_TX, FINE("0", "")),
                {ABI_RX, BYTES(SEALED), ABI_SAID_RECORDS, .skipped = SEALED_BYTES},
                SHOWN(ABI_TX, FINE("1", "x"))},
     .want = OF_13 "? 200 ktls\n? 200 down 1 ktls\nclosed ktls" BY_13},
    {"... by neither", .accepted = true,
     .pieces = {RECORD(ABI_RX, HANDSHAKE), KEYS(ABI_TX, TLS13), RECORD(ABI_RX, SEALED),
                SHOWN(ABI_TX, "220 b\n")},
     .want = OF_13 "closed opaque/unknown" BY_13},
    {"... and goes on to encrypt by itself", .accepted = true, .whole = true,
     .pieces = {RECORD(ABI_RX, HANDSHAKE),
                RECORD(ABI_TX, HANDSHAKE SEALED),
                {ABI_TX, BYTES(SEALED), ABI_SAID_RECORDS, .skipped = SEALED_BYTES},
                KEYS(ABI_TX, TLS13),
                RECORD(ABI_RX, SEALED),
                {ABI_TX, BYTES(SEALED), ABI_SAID_RECORDS, .skipped = 3 * SEALED_BYTES}},
     .want = OF_13 "tls TLS1.3 TLS_AES_128_GCM_SHA256 opaque/own tls\nclosed opaque/own tls" BY_13},
    {"... and has never done otherwise", .accepted = true,
     .pieces = {RECORD(ABI_RX, HANDSHAKE), RECORD(ABI_TX, HANDSHAKE SEALED),
                RECORD(ABI_RX, SEALED)},
     .want = "tls opaque/own tls\nclosed opaque/own tls"
             " by TLS\n"},
    {"a server that receives by the kernel, too", .accepted = true,
     .pieces = {RECORD(ABI_RX, HANDSHAKE), RECORD(ABI_TX, HANDSHAKE), KEYS(ABI_RX, TLS12),
                RECORD(ABI_TX, HANDSHAKE), KEYS(ABI_TX, TLS12), SHOWN(ABI_RX, GET("/a")),
                SHOWN(ABI_TX, FINE("0", ""))},
     .want = OF_12 "GET a.example /a #1 200 after 1000000 ktls\nclosed ktls" BY_12},

    /* a client */
    {"a client whose keys the kernel did not take",
     .pieces = {RECORD(ABI_TX, HANDSHAKE), RECORD(ABI_RX, HANDSHAKE), KEYS(ABI_TX, TLS13),
                RECORD(ABI_RX, SEALED), RECORD(ABI_TX, SEALED)},
     .want = OF_13 "tls TLS1.3 TLS_AES_128_GCM_SHA256 opaque/own tls\nclosed opaque/own tls" BY_13},
};

/* In pieces of `most` bytes at most, those of one at the same moment. */
static void hears_in_pieces(const struct piece *piece, size_t most)
{
    struct piece part = *piece;
    size_t at = 0;

    do {
        size_t left = piece->bytes.len - at;

        part.bytes = span_of(piece->bytes.data + at, left < most ? left : most);
        hears(&part);
        hearing_ns -= 1000000;
        at += part.bytes.len;
    } while (at < piece->bytes.len);
    hearing_ns += 1000000;
}

static void check(const struct row *row, size_t most)
{
    row_begins(row);
    for (const struct piece *piece = row->pieces; is_piece(piece); piece++)
        hears_in_pieces(piece, most);
    hearing_closes();
    assert_string_equal(heard, row->want);
}

static void ktls_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        print_message("  %s\n", rows[i].name);
        check(&rows[i], SIZE_MAX);
        for (size_t most = 1; most < OFTEN && !rows[i].whole; most++)
            check(&rows[i], most);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ktls_is_told, hearing_begin, hearing_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
