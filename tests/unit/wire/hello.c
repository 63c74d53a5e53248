/* hello: what a ClientHello says, however it is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/wire/hello.h"

enum { RECORD_MAX = 16384 };

static uint8_t scratch[HELLO_MAX];

/* ---- building hellos ---- */

struct bytes {
    uint8_t *data;
    size_t len;
};

static void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
}

static void put(struct bytes *bytes, const void *data, size_t len)
{
    bytes->data = realloc(bytes->data, bytes->len + len + 1);
    assert_non_null(bytes->data);
    memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
}

static void put_uint(struct bytes *bytes, size_t size, size_t value)
{
    for (size_t i = 0; i < size; i++)
        put(bytes, &(uint8_t){(uint8_t)(value >> 8 * (size - 1 - i))}, 1);
}

#define FRONT                                                                                      \
    "\x03\x03"                                                                                     \
    "0123456789abcdef0123456789abcdef"                                                             \
    "\x04"                                                                                         \
    "sess"                                                                                         \
    "\0\x02\x13\x01"                                                                               \
    "\x01\0"

/* The handshake message around a body. */
static struct bytes message_of(struct span body)
{
    struct bytes message = {0};

    put_uint(&message, 1, 1);
    put_uint(&message, 3, body.len);
    put(&message, body.data, body.len);
    return message;
}

static struct bytes message_with(struct span extensions)
{
    CLEANUP(bytes_free) struct bytes body = {0};

    put(&body, BYTES(FRONT).data, BYTES(FRONT).len);
    put_uint(&body, 2, extensions.len);
    put(&body, extensions.data, extensions.len);
    return message_of(span_of(body.data, body.len));
}

/* A message in records of at most `most` bytes. */
static struct bytes records_of(const struct bytes *message, size_t most)
{
    struct bytes records = {0};

    for (size_t at = 0; at < message->len; at += most) {
        size_t len = message->len - at < most ? message->len - at : most;

        put(&records, "\x16\x03\x01", 3);
        put_uint(&records, 2, len);
        put(&records, message->data + at, len);
    }
    return records;
}

/* Parses a copy in memory of its own, so that a sanitizer sees any look beside it. The facts
 * borrow: *copy is the caller's. */
static enum hello_status parse(struct span bytes, struct hello *hello, uint8_t **copy)
{
    *copy = malloc(bytes.len ? bytes.len : 1);
    assert_non_null(*copy);
    memcpy(*copy, bytes.data, bytes.len);
    return hello_parse(span_of(*copy, bytes.len), scratch, hello);
}

static enum hello_status status_of(struct span bytes)
{
    struct hello hello;
    uint8_t *copy;
    enum hello_status status = parse(bytes, &hello, &copy);

    free(copy);
    return status;
}

/* ---- the first bytes ---- */

static const struct {
    const char *name;
    struct span bytes;
    enum hello_status want;
} beginnings[] = {
    {"nothing yet", BYTES(""), HELLO_PARTIAL},
    {"one byte", BYTES("\x16"), HELLO_PARTIAL},
    {"a record header cut in two", BYTES("\x16\x03\x01"), HELLO_PARTIAL},
    {"a record header alone", BYTES("\x16\x03\x01\0\x04"), HELLO_PARTIAL},
    {"any minor version", BYTES("\x16\x03\xff\0\x04\x01"), HELLO_PARTIAL},
    {"a message that goes on in the next record", BYTES("\x16\x03\x01\0\4\1\0\1\0"), HELLO_PARTIAL},
    {"plain HTTP", BYTES("GET / HTTP/1.1\r\n"), HELLO_NOT_TLS},
    {"SSH", BYTES("SSH-2.0-x"), HELLO_NOT_TLS},
    {"SSL 2", BYTES("\x80\x2e\x01\x03\x01"), HELLO_NOT_TLS},
    {"an alert", BYTES("\x15\x03\x01\0\x02\x02\x28"), HELLO_NOT_TLS},
    {"no version of TLS", BYTES("\x16\x02"), HELLO_NOT_TLS},
    {"a record of no bytes", BYTES("\x16\x03\x01\0\0"), HELLO_INVALID},
    {"a record too long", BYTES("\x16\x03\x01\x40\x01"), HELLO_INVALID},
    {"a record as long as may be", BYTES("\x16\x03\x01\x40\0"), HELLO_PARTIAL},
    {"a ServerHello", BYTES("\x16\x03\x03\0\x04\x02"), HELLO_INVALID},
    {"a message longer than we read", BYTES("\x16\x03\x03\0\x04\x01\x00\xff\xfd"), HELLO_INVALID},
    {"a message as long as we read", BYTES("\x16\x03\x03\0\x04\x01\x00\xff\xfc"), HELLO_PARTIAL},
    {"another record inside the message", BYTES("\x16\x03\x01\0\x02\x01\0\x15"), HELLO_INVALID},
    {"another version inside the message", BYTES("\x16\x03\x01\0\x02\x01\0\x16\x02"),
     HELLO_INVALID},
    {"an empty record inside the message", BYTES("\x16\x03\x01\0\x02\x01\0\x16\x03\x01\0\0"),
     HELLO_INVALID},
};

static void first_bytes_tell(void **state)
{
    struct hello hello;

    (void)state;
    assert_int_equal(hello_parse(span_of(NULL, 0), scratch, &hello), HELLO_PARTIAL);
    for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++) {
        print_message("  %s\n", beginnings[i].name);
        assert_int_equal(status_of(beginnings[i].bytes), beginnings[i].want);
    }
}

/* ---- bodies ---- */

#define R    "0123456789abcdef0123456789abcdef"
#define REST "\0\0\x02\x13\x01\x01\0" /* no session, one cipher, no compression */

static const struct {
    const char *name;
    struct span body;
    enum hello_status want;
    uint16_t version_max;
} bodies[] = {
    {"without extensions", BYTES("\x03\x01" R REST), HELLO_DONE, 0x0301},
    {"of SSL 3", BYTES("\x03\0" R REST), HELLO_DONE, 0x0300},
    {"1.3 by the old field means 1.2", BYTES("\x03\x04" R REST), HELLO_DONE, 0x0303},
    {"no version we know", BYTES("\xfe\xfd" R REST), HELLO_DONE, 0},
    {"with no extensions in a list", BYTES("\x03\x03" R REST "\0\0"), HELLO_DONE, 0x0303},
    {"empty", BYTES(""), HELLO_INVALID, 0},
    {"random cut",
     BYTES("\x03\x03"
           "0123"),
     HELLO_INVALID, 0},
    {"session too long",
     BYTES("\x03\x03" R "\x21" R "!"
           "\0\x02\x13\x01\x01\0"),
     HELLO_INVALID, 0},
    {"no ciphers", BYTES("\x03\x03" R "\0\0\0\x01\0"), HELLO_INVALID, 0},
    {"half a cipher", BYTES("\x03\x03" R "\0\0\x03\x13\x01\x13\x01\0"), HELLO_INVALID, 0},
    {"no compression", BYTES("\x03\x03" R "\0\0\x02\x13\x01\0"), HELLO_INVALID, 0},
    {"a byte too many", BYTES("\x03\x03" R REST "\0"), HELLO_INVALID, 0},
    {"extensions cut", BYTES("\x03\x03" R REST "\0\x05\0\0\0\0"), HELLO_INVALID, 0},
    {"bytes behind the extensions", BYTES("\x03\x03" R REST "\0\x04\0\x17\0\0!"), HELLO_INVALID, 0},
};

static void bodies_hold_together(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        CLEANUP(bytes_free) struct bytes message = message_of(bodies[i].body);
        CLEANUP(bytes_free) struct bytes records = records_of(&message, RECORD_MAX);
        struct hello hello = {.version_max = 1};
        uint8_t *copy;

        print_message("  %s\n", bodies[i].name);
        assert_int_equal(parse(span_of(records.data, records.len), &hello, &copy), bodies[i].want);
        assert_int_equal(hello.version_max,
                         bodies[i].want == HELLO_DONE ? bodies[i].version_max : 1);
        free(copy);
    }
}

/* ---- extensions ---- */

#define SNI                                                                                        \
    "\0\0\0\x0f\0\x0d\0\0\x0a"                                                                     \
    "a.example."
#define ALPN     "\0\x10\0\x0e\0\x0c\x02h2\x08http/1.1"
#define VERSIONS "\0\x2b\0\x05\x04\x03\x04\x03\x03"
#define GREASE   "\x3a\x3a\0\x01\0"

static const struct {
    const char *name;
    struct span extensions;
    enum hello_status want;
    const char *server_name, *alpn;
    uint16_t version_max;
    bool ech;
} extensions[] = {
#define VALID(name, bytes, sni, alpn, version, ech)                                                \
    {                                                                                              \
        name, BYTES(bytes), HELLO_DONE, sni, alpn, version, ech                                    \
    }
#define INVALID(name, bytes)                                                                       \
    {                                                                                              \
        name, BYTES(bytes), HELLO_INVALID, NULL, NULL, 0, false                                    \
    }
    VALID("all of them", SNI ALPN VERSIONS "\xfe\x0d\0\x01\0", "a.example.", "\x02h2\x08http/1.1",
          0x0304, true),
    VALID("in another order, among strangers", GREASE VERSIONS "\0\x17\0\0" ALPN SNI "\0\x15\0\0",
          "a.example.", "\x02h2\x08http/1.1", 0x0304, false),
    VALID("no name", ALPN, "", "\x02h2\x08http/1.1", 0x0303, false),
    VALID("an odd name is the judge's to decide", "\0\0\0\x08\0\x06\0\0\x03\xff :", "\xff :", "",
          0x0303, false),
    VALID("a name behind one of another type",
          "\0\0\0\x0b\0\x09\x07\0\x01x\0\0\x02"
          "ab",
          "ab", "", 0x0303, false),
    VALID("a protocol of odd bytes", "\0\x10\0\x05\0\x03\x02\x0a\x0a", "", "\x02\x0a\x0a", 0x0303,
          false),
    VALID("versions behind GREASE", "\0\x2b\0\x07\x06\x7a\x7a\x03\x02\x03\x04", "", "", 0x0304,
          false),
    VALID("old versions alone", "\0\x2b\0\x05\x04\x03\x01\x03\x02", "", "", 0x0302, false),
    VALID("none we know", "\0\x2b\0\x07\x06\x7a\x7a\x7f\x1c\xfa\xfa", "", "", 0, false),
    INVALID("a name twice", SNI SNI),
    INVALID("two names", "\0\0\0\x0a\0\x08\0\0\x01"
                         "a"
                         "\0\0\x01"
                         "b"),
    INVALID("an empty list of names", "\0\0\0\x02\0\0"),
    INVALID("an empty name", "\0\0\0\x05\0\x03\0\0\0"),
    INVALID("no list of names", "\0\0\0\0"),
    INVALID("a NUL in the name", "\0\0\0\x08\0\x06\0\0\x03"
                                 "a\0b"),
    INVALID("a name past its list", "\0\0\0\x06\0\x04\0\0\x02"
                                    "a"),
    INVALID("a list past its extension", "\0\0\0\x06\0\x05\0\0\x01"
                                         "a"),
    INVALID("a list short of it", "\0\0\0\x07\0\x04\0\0\x01"
                                  "ab"),
    INVALID("protocols twice", ALPN ALPN),
    INVALID("no protocols", "\0\x10\0\x02\0\0"),
    INVALID("an empty protocol", "\0\x10\0\x05\0\x03\x01x\0"),
    INVALID("a protocol past its list", "\0\x10\0\x04\0\x02\x02x"),
    INVALID("versions twice", VERSIONS VERSIONS),
    INVALID("no versions", "\0\x2b\0\x01\0"),
    INVALID("half a version", "\0\x2b\0\x04\x03\x03\x04\x03"),
    INVALID("groups twice", "\0\x0a\0\x04\0\x02\0\x17\0\x0a\0\x04\0\x02\0\x17"),
    INVALID("half a group", "\0\x0a\0\x05\0\x03\0\x17\0"),
    INVALID("no signature schemes", "\0\x0d\0\x02\0\0"),
    INVALID("a byte behind them", "\0\x0d\0\x05\0\x02\x04\x03\0"),
    INVALID("ECH twice", "\xfe\x0d\0\0\xfe\x0d\0\0"),
    INVALID("an extension past the list", "\0\x17\0\x01"),
    INVALID("half an extension", "\0\x17\0"),
#undef VALID
#undef INVALID
};

static const struct {
    const char *name;
    struct span extensions;
    enum hello_status want;
    bool asks;
} statuses[] = {
    {"asks for an OCSP response", BYTES("\0\x05\0\x05\x01\0\0\0\0"), HELLO_DONE, true},
    {"asks for something else", BYTES("\0\x05\0\x02\x07\0"), HELLO_DONE, false},
    {"asks for nothing", BYTES("\0\x05\0\0"), HELLO_INVALID, false},
    {"asks twice", BYTES("\0\x05\0\x02\x07\0\0\x05\0\x05\x01\0\0\0\0"), HELLO_INVALID, false},
    {"does not ask", BYTES(SNI), HELLO_DONE, false},
};

static void knows_who_asks_for_a_status(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        CLEANUP(bytes_free) struct bytes message = message_with(statuses[i].extensions);
        CLEANUP(bytes_free) struct bytes records = records_of(&message, RECORD_MAX);
        struct hello hello = {0};
        uint8_t *copy;

        print_message("  %s\n", statuses[i].name);
        assert_int_equal(parse(span_of(records.data, records.len), &hello, &copy),
                         statuses[i].want);
        assert_int_equal(hello.status, statuses[i].asks);
        free(copy);
    }
}

static void assert_facts(size_t i, const struct hello *hello)
{
    assert_true(span_equal(hello->server_name, span_of_text(extensions[i].server_name)));
    assert_true(span_equal(hello->alpn, span_of_text(extensions[i].alpn)));
    assert_int_equal(hello->version_max, extensions[i].version_max);
    assert_int_equal(hello->ech, extensions[i].ech);
}

/* In records of every size, and cut at every byte: only the whole says anything. */
static void facts_hold_however_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(extensions); i++) {
        CLEANUP(bytes_free) struct bytes message = message_with(extensions[i].extensions);

        print_message("  %s\n", extensions[i].name);
        for (size_t most = 1; most <= message.len; most++) {
            CLEANUP(bytes_free) struct bytes records = records_of(&message, most);
            struct hello hello;
            uint8_t *copy;

            assert_int_equal(parse(span_of(records.data, records.len), &hello, &copy),
                             extensions[i].want);
            if (extensions[i].want == HELLO_DONE)
                assert_facts(i, &hello);
            free(copy);
            for (size_t cut = 0; cut < records.len; cut++)
                assert_int_equal(status_of(span_of(records.data, cut)), HELLO_PARTIAL);
        }
    }
}

static void bytes_behind_it_do_not_matter(void **state)
{
    CLEANUP(bytes_free) struct bytes message = message_with(BYTES(SNI));
    CLEANUP(bytes_free) struct bytes records = {0};
    struct hello hello;
    uint8_t *copy;

    (void)state;
    put(&message, "more", 4); /* in the record itself */
    records = records_of(&message, message.len - 2);
    put(&records, "\x14\x03\x03\0\x01\x01", 6); /* a record of early data's kin */
    assert_int_equal(parse(span_of(records.data, records.len), &hello, &copy), HELLO_DONE);
    assert_true(span_equal(hello.server_name, BYTES("a.example.")));
    free(copy);
}

/* Post-quantum key shares, and worse: up to the last byte that fits. */
static void large_ones_are_read(void **state)
{
    static const size_t sizes[] = {
        1300,           4096,  RECORD_MAX - 100,
        RECORD_MAX + 1, 40000, HELLO_MAX - 4 - sizeof(FRONT) + 1 - 2 - 4 - (sizeof(SNI) - 1)};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        CLEANUP(bytes_free) struct bytes list = {0};
        CLEANUP(bytes_free) struct bytes padding = {calloc(1, sizes[i]), sizes[i]};
        CLEANUP(bytes_free) struct bytes message = {0};

        put(&list, "\0\x15", 2);
        put_uint(&list, 2, padding.len);
        put(&list, padding.data, padding.len);
        put(&list, BYTES(SNI).data, BYTES(SNI).len);
        message = message_with(span_of(list.data, list.len));
        assert_true(message.len <= HELLO_MAX);
        for (size_t most = 37; most <= RECORD_MAX;
             most = most * 3 < RECORD_MAX ? most * 3 : most * 9) {
            CLEANUP(bytes_free) struct bytes records = records_of(&message, most);
            struct hello hello;
            uint8_t *copy;

            assert_int_equal(parse(span_of(records.data, records.len), &hello, &copy), HELLO_DONE);
            assert_true(span_equal(hello.server_name, BYTES("a.example.")));
            free(copy);
            assert_int_equal(status_of(span_of(records.data, records.len - 1)), HELLO_PARTIAL);
        }
    }
}

static void long_names_are_refused(void **state)
{
    (void)state;
    for (size_t len = 255; len <= 256; len++) {
        CLEANUP(bytes_free) struct bytes list = {0};
        CLEANUP(bytes_free) struct bytes message = {0};
        CLEANUP(bytes_free) struct bytes records = {0};
        char name[256];

        memset(name, 'n', sizeof(name));
        put_uint(&list, 2, 0);
        put_uint(&list, 2, len + 5);
        put_uint(&list, 2, len + 3);
        put_uint(&list, 1, 0);
        put_uint(&list, 2, len);
        put(&list, name, len);
        message = message_with(span_of(list.data, list.len));
        records = records_of(&message, RECORD_MAX);
        assert_int_equal(status_of(span_of(records.data, records.len)),
                         len == 255 ? HELLO_DONE : HELLO_INVALID);
    }
}

static void lists_are_found(void **state)
{
    CLEANUP(bytes_free)
    struct bytes message = message_with(BYTES("\0\x0a\0\x06\0\x04\0\x1d\0\x17"
                                              "\0\x2b\0\x07\x06\x7a\x7a\x03\x04\x03\x02"
                                              "\0\x0d\0\x04\0\x02\x04\x03"));
    CLEANUP(bytes_free) struct bytes records = records_of(&message, RECORD_MAX);
    struct hello hello;
    uint8_t *copy;

    (void)state;
    assert_int_equal(parse(span_of(records.data, records.len), &hello, &copy), HELLO_DONE);
    assert_true(span_equal(hello.ciphers, BYTES("\x13\x01")));
    assert_true(span_equal(hello.groups, BYTES("\0\x1d\0\x17")));
    assert_true(span_equal(hello.signatures, BYTES("\x04\x03")));
    assert_int_equal(hello.version_min, 0x0302);
    assert_int_equal(hello.version_max, 0x0304);
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_bytes_tell),
        cmocka_unit_test(bodies_hold_together),
        cmocka_unit_test(knows_who_asks_for_a_status),
        cmocka_unit_test(facts_hold_however_it_is_cut),
        cmocka_unit_test(bytes_behind_it_do_not_matter),
        cmocka_unit_test(large_ones_are_read),
        cmocka_unit_test(long_names_are_refused),
        cmocka_unit_test(lists_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
