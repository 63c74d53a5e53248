/* flight: what a server answers, however it is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/wire/flight.h"

static uint8_t scratch[FLIGHT_MAX];

/* ---- messages ---- */

#define RANDOM "0123456789abcdef0123456789abcdef"
#define RETRY                                                                                      \
    "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91"                             \
    "\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"
/* len: of what follows the message's header; extensions_len: of these, of all that. */
#define HELLO(len, random, suite, extensions_len, extensions)                                      \
    "\2\0\0" len "\3\3" random "\4sess" suite "\0\0" extensions_len extensions

#define V13      "\0\x2b\0\2\3\4"
#define SHARE    "\0\x33\0\2\0\x1d"
#define PSK      "\0\x29\0\2\0\0"
#define H2       "\0\x10\0\5\0\3\2h2"
#define HELLO_12 HELLO("\x35", RANDOM, "\xc0\x2b", "\x09", H2)
#define HELLO_13 HELLO("\x38", RANDOM, "\x13\1", "\x0c", V13 SHARE)
#define GOES_ON  HELLO("\x3e", RANDOM, "\x13\1", "\x12", V13 PSK SHARE)
#define ASKS     HELLO("\x38", RETRY, "\x13\1", "\x0c", V13 SHARE)
#define CERTS    "\x0b\0\0\x0f\0\0\x0c\0\0\4leaf\0\0\2ca"
#define TICKET   "\4\0\0\x0a\0\0\0\1\0\4tick"
#define NO_CERT  "\x0c\0\0\1k"
#define DONE_12  "\x0e\0\0\0"

/* In records of one type. */
struct piece {
    uint8_t type;
    struct span bytes;
};
#define SAYS(text)                                                                                 \
    {                                                                                              \
        22, BYTES(text)                                                                            \
    }
#define CHANGES                                                                                    \
    {                                                                                              \
        20, BYTES("\1")                                                                            \
    }
#define SEALED                                                                                     \
    {                                                                                              \
        23, BYTES("sealed")                                                                        \
    }

static const struct row {
    const char *name;
    struct piece pieces[5];
    bool more; /* it could go on */
    uint16_t version, cipher;
    const char *alpn, *certificate;
    bool resumed;
} rows[] = {
    {"nothing yet", .more = true},
    {"TLS 1.2", .pieces = {SAYS(HELLO_12), SAYS(CERTS), SAYS(NO_CERT DONE_12)}, .version = 0x0303,
     .cipher = 0xc02b, .alpn = "h2", .certificate = "leaf"},
    {"... in one record", .pieces = {SAYS(HELLO_12 CERTS NO_CERT DONE_12)}, .version = 0x0303,
     .cipher = 0xc02b, .alpn = "h2", .certificate = "leaf"},
    {"... whose chain goes on", .pieces = {SAYS(HELLO_12 "\x0b\0\7\x0f\0\7\x0c\0\0\4leaf\0\7\2")},
     .version = 0x0303, .cipher = 0xc02b, .alpn = "h2", .certificate = "leaf"},
    {"... without a certificate", .pieces = {SAYS(HELLO_12 NO_CERT DONE_12)}, .version = 0x0303,
     .cipher = 0xc02b, .alpn = "h2"},
    {"... with none in it", .pieces = {SAYS(HELLO_12 "\x0b\0\0\3\0\0\0")}, .version = 0x0303,
     .cipher = 0xc02b, .alpn = "h2"},
    {"... with one longer than its message",
     .pieces = {SAYS(HELLO_12 "\x0b\0\0\7\0\0\4\0\0\4l" DONE_12)}, .version = 0x0303,
     .cipher = 0xc02b, .alpn = "h2"},
    {"... with half of one", .pieces = {SAYS(HELLO_12 "\x0b\0\0\x0f\0\0\x0c\0\0\4le")},
     .more = true, .version = 0x0303, .cipher = 0xc02b, .alpn = "h2"},
    {"... resumed", .pieces = {SAYS(HELLO_12), CHANGES, SAYS("an encrypted one")},
     .version = 0x0303, .cipher = 0xc02b, .alpn = "h2", .resumed = true},
    {"... with a new ticket", .pieces = {SAYS(HELLO_12 TICKET), CHANGES}, .version = 0x0303,
     .cipher = 0xc02b, .alpn = "h2", .resumed = true},
    {"... that means nothing in it",
     .pieces = {SAYS(HELLO("\x32", RANDOM, "\xc0\x2b", "\6", PSK) CERTS)}, .version = 0x0303,
     .cipher = 0xc02b, .certificate = "leaf"},
    {"keys that change within a message", .pieces = {SAYS(HELLO_12 "\x0b"), CHANGES},
     .version = 0x0303, .cipher = 0xc02b, .alpn = "h2"},
    {"TLS 1.1 without extensions", .pieces = {SAYS("\2\0\0\x26\3\2" RANDOM "\0\0\x2f\0" CERTS)},
     .version = 0x0302, .cipher = 0x002f, .certificate = "leaf"},
    {"TLS 1.3", .pieces = {SAYS(HELLO_13), CHANGES, SEALED}, .version = 0x0304, .cipher = 0x1301},
    {"... and nothing behind it", .pieces = {SAYS(HELLO_13)}, .version = 0x0304, .cipher = 0x1301},
    {"... resumed", .pieces = {SAYS(GOES_ON), CHANGES, SEALED}, .version = 0x0304, .cipher = 0x1301,
     .resumed = true},
    {"... that asks for another hello", .pieces = {SAYS(ASKS), CHANGES}, .more = true},
    {"... and has it", .pieces = {SAYS(ASKS), CHANGES, SAYS(HELLO_13), SEALED}, .version = 0x0304,
     .cipher = 0x1301},
    {"... and has it, and resumes", .pieces = {SAYS(ASKS), CHANGES, SAYS(GOES_ON), SEALED},
     .version = 0x0304, .cipher = 0x1301, .resumed = true},

    {"an alert", .pieces = {{21, BYTES("\2\x28")}}},
    {"... in the place of the certificate", .pieces = {SAYS(HELLO_12), {21, BYTES("\2\x28")}},
     .version = 0x0303, .cipher = 0xc02b, .alpn = "h2"},
    {"HTTP", .pieces = {{'H', BYTES("TTP/1.1")}}},
    {"another message", .pieces = {SAYS("\1\0\0\0")}},
    {"a hello that is longer than it says", .pieces = {SAYS("\2\0\0\2\3\3")}},
    {"... with half an extension",
     .pieces = {SAYS(HELLO("\x2f", RANDOM, "\xc0\x2b", "\3", "\0\x10\0"))}},
    {"... that chooses two protocols",
     .pieces = {SAYS(HELLO("\x37", RANDOM, "\xc0\x2b", "\x0b", "\0\x10\0\7\0\5\2h2\1x"))}},
    {"... with a session that is too long",
     .pieces = {SAYS("\2\0\0\x47\3\3" RANDOM "\x21" RANDOM "!"
                     "\xc0\x2b\0")}},
    {"a message longer than is read", .pieces = {SAYS("\2\1\0\0")}},
};

struct bytes {
    uint8_t data[4096];
    size_t len;
};

static struct bytes records_of(const struct row *row, size_t most)
{
    struct bytes records = {.len = 0};

    for (size_t i = 0; i < ARRAY_SIZE(row->pieces) && row->pieces[i].bytes.len; i++) {
        const struct piece *piece = &row->pieces[i];

        for (size_t at = 0; at < piece->bytes.len; at += most) {
            size_t len = piece->bytes.len - at < most ? piece->bytes.len - at : most;
            const uint8_t header[] = {piece->type, 3, 3, 0, (uint8_t)len};

            memcpy(records.data + records.len, header, sizeof(header));
            memcpy(records.data + records.len + sizeof(header), piece->bytes.data + at, len);
            records.len += sizeof(header) + len;
        }
    }
    return records;
}

/* Out of memory of its own, so that a sanitizer sees any look beside it. */
static bool reads(const struct bytes *records, size_t len, struct flight *flight)
{
    uint8_t *copy = malloc(len ? len : 1);
    bool over;

    assert_non_null(copy);
    memcpy(copy, records->data, len);
    over = flight_read(span_of(copy, len), scratch, flight);
    free(copy);
    return over;
}

static void answers_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (size_t most = 1; most <= 200; most = most * 2 + 1) {
            const struct row *row = &rows[i];
            struct bytes records = records_of(row, most);
            struct flight flight;

            print_message("  %s, records of %zu\n", row->name, most);
            assert_int_equal(reads(&records, records.len, &flight), !row->more);
            assert_int_equal(flight.hello, row->version != 0);
            assert_int_equal(flight.version, row->version);
            assert_int_equal(flight.cipher, row->cipher);
            assert_int_equal(flight.resumed, row->resumed);
            assert_true(span_equal(flight.alpn, span_of_text(row->alpn)));
            assert_true(span_equal(flight.certificate, span_of_text(row->certificate)));
        }
}

/* What is known of the beginning holds for all of it. */
static void fewer_bytes_tell_less(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct bytes records = records_of(&rows[i], 20);
        bool over = false;

        print_message("  %s\n", rows[i].name);
        for (size_t len = 0; len <= records.len; len++) {
            struct flight flight;
            bool now = reads(&records, len, &flight);

            assert_true(now || !over);
            over = now;
            assert_true(!flight.hello || flight.version == rows[i].version);
            assert_true(!flight.resumed || rows[i].resumed);
            assert_true(!flight.certificate.len ||
                        span_equal(flight.certificate, span_of_text(rows[i].certificate)));
        }
    }
}

/* More than there is room for is not read, and not written beside it. */
static void endless_ones_end(void **state)
{
    enum { RECORD = 16384, COUNT = 5 };
    uint8_t *bytes = malloc((size_t)COUNT * (5 + RECORD));
    static const uint8_t first[] = HELLO_12 "\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    struct flight flight;

    (void)state;
    assert_non_null(bytes);
    memset(bytes, 'x', (size_t)COUNT * (5 + RECORD));
    for (size_t i = 0; i < COUNT; i++)
        memcpy(bytes + i * (5 + RECORD), "\x16\x03\x03\x40\x00", 5);
    memcpy(bytes + 5, first, sizeof(first) - 1);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(flight_read(span_of(bytes, i * (5 + RECORD)), scratch, &flight), false);
        assert_int_equal(flight.hello, i > 0);
    }
    assert_true(flight_read(span_of(bytes, (size_t)COUNT * (5 + RECORD)), scratch, &flight));
    assert_true(flight.hello && !flight.certificate.len && !flight.resumed);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_read),
        cmocka_unit_test(fewer_bytes_tell_less),
        cmocka_unit_test(endless_ones_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
