/* dtls: the ClientHello out of datagrams, however it is cut; and again with a cookie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/wire/dtls.h"

#define RANDOM "0123456789abcdef0123456789abcdef"

/* ---- what a client sends ---- */

struct bytes {
    uint8_t data[2048];
    size_t len;
};

static void put(struct bytes *bytes, struct span piece)
{
    memcpy(bytes->data + bytes->len, piece.data, piece.len);
    bytes->len += piece.len;
}

static void put_uint(struct bytes *bytes, size_t size, size_t value)
{
    for (size_t i = 0; i < size; i++)
        bytes->data[bytes->len++] = (uint8_t)(value >> 8 * (size - 1 - i));
}

/* The body of a hello for a name of at most some bytes. */
static struct bytes hello_of(const char *name, struct span cookie, struct span versions)
{
    struct bytes hello = {.len = 0};
    size_t len = strlen(name), extensions;

    put(&hello, BYTES("\xfe\xfd" RANDOM "\0"));
    put_uint(&hello, 1, cookie.len);
    put(&hello, cookie);
    put(&hello, BYTES("\0\4\xc0\x2b\x13\x01\1\0"));
    extensions = 4 + 5 + len + 10 + (versions.len ? 4 + versions.len : 0);
    put_uint(&hello, 2, extensions);
    put(&hello, BYTES("\0\0"));
    put_uint(&hello, 2, len + 5);
    put_uint(&hello, 2, len + 3);
    put_uint(&hello, 1, 0);
    put_uint(&hello, 2, len);
    put(&hello, span_of_text(name));
    put(&hello, BYTES("\0\x10\0\6\0\4\3coa"));
    if (versions.len) {
        put(&hello, BYTES("\0\x2b"));
        put_uint(&hello, 2, versions.len);
        put(&hello, versions);
    }
    return hello;
}

struct message {
    uint8_t type;
    uint16_t number;
    uint16_t epoch;
    size_t from, to;
};

static void put_fragment(struct bytes *out, const struct bytes *body, const struct message *message)
{
    put_uint(out, 1, message->type);
    put_uint(out, 3, body->len);
    put_uint(out, 2, message->number);
    put_uint(out, 3, message->from);
    put_uint(out, 3, message->to - message->from);
    put(out, span_of(body->data + message->from, message->to - message->from));
}

static void put_record(struct bytes *out, const struct bytes *body, const struct message *message)
{
    put(out, BYTES("\x16\xfe\xff"));
    put_uint(out, 2, message->epoch);
    put_uint(out, 6, 7);
    put_uint(out, 2, 12 + message->to - message->from);
    put_fragment(out, body, message);
}

static void put_part(struct bytes *out, const struct bytes *body, uint16_t number, size_t from,
                     size_t to)
{
    put_record(out, body, &(struct message){.type = 1, .number = number, .from = from, .to = to});
}

/* ---- reading ---- */

struct reader {
    struct dtls dtls;
    struct gather gather;
    struct hello hello;
};

static enum dtls_status take(struct reader *reader, const struct bytes *bytes)
{
    uint8_t *copy = malloc(bytes->len ? bytes->len : 1);
    enum dtls_status status;

    assert_non_null(copy);
    memcpy(copy, bytes->data, bytes->len);
    status = dtls_take(&reader->dtls, span_of(copy, bytes->len), &reader->gather, &reader->hello);
    free(copy);
    return status;
}

static enum dtls_status take_part(struct reader *reader, const struct bytes *body, uint16_t number,
                                  size_t from, size_t to)
{
    struct bytes datagram = {.len = 0};

    put_part(&datagram, body, number, from, to);
    return take(reader, &datagram);
}

static enum dtls_status take_whole(struct reader *reader, const struct bytes *body, uint16_t number)
{
    return take_part(reader, body, number, 0, body->len);
}

static void expect_name(const struct reader *reader, const char *name)
{
    assert_true(span_equal(reader->hello.server_name, span_of_text(name)));
    assert_true(span_equal(reader->hello.alpn, BYTES("\3coa")));
    assert_int_equal(reader->hello.transport, HELLO_DTLS);
}

/* ---- versions ---- */

static const struct {
    const char *what;
    struct span versions; /* of supported_versions */
    uint16_t min, max;
} versions[] = {
    {"1.2, said in the old way", BYTES(""), 0, 0x0303},
    {"1.3 and 1.2", BYTES("\4\xfe\xfc\xfe\xfd"), 0x0303, 0x0304},
    {"1.2 and 1.0", BYTES("\4\xfe\xfd\xfe\xff"), 0x0302, 0x0303},
    {"... with GREASE", BYTES("\6\x8a\x8a\xfe\xfd\xfe\xff"), 0x0302, 0x0303},
    {"TLS's numbers, which mean nothing here", BYTES("\2\x03\x04"), 0, 0},
};

static void reads_versions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        struct bytes hello = hello_of("a.example", BYTES(""), versions[i].versions);
        struct reader reader = {0};

        print_message("  %s\n", versions[i].what);
        assert_int_equal(take_whole(&reader, &hello, 0), DTLS_HELLO);
        expect_name(&reader, "a.example");
        assert_int_equal(reader.hello.version_min, versions[i].min);
        assert_int_equal(reader.hello.version_max, versions[i].max);
    }
}

/* ---- however it is cut ---- */

static void reads_it_cut_anywhere(void **state)
{
    struct bytes hello = hello_of("cut.example", BYTES("biscuit"), BYTES(""));

    (void)state;
    for (size_t cut = 1; cut < hello.len; cut++) {
        struct reader reader = {0};
        struct bytes joined = {.len = 0};

        assert_int_equal(take_part(&reader, &hello, 0, cut, hello.len), DTLS_PARTIAL);
        assert_int_equal(take_part(&reader, &hello, 0, 0, cut), DTLS_HELLO);
        expect_name(&reader, "cut.example");
        reader = (struct reader){0};
        put_part(&joined, &hello, 0, 0, cut);
        put_part(&joined, &hello, 0, cut / 2, hello.len); /* some of it twice */
        assert_int_equal(take(&reader, &joined), DTLS_HELLO);
        expect_name(&reader, "cut.example");
    }
}

static void reads_two_fragments_of_a_record(void **state)
{
    struct bytes hello = hello_of("one.example", BYTES(""), BYTES("")), record = {.len = 0};
    struct reader reader = {0};

    (void)state;
    put(&record, BYTES("\x16\xfe\xfd\0\0\0\0\0\0\0\1"));
    put_uint(&record, 2, 24 + hello.len);
    put_fragment(&record, &hello, &(struct message){.type = 1, .from = 0, .to = 20});
    put_fragment(&record, &hello, &(struct message){.type = 1, .from = 20, .to = hello.len});
    assert_int_equal(take(&reader, &record), DTLS_HELLO);
    expect_name(&reader, "one.example");
}

/* ---- what comes after ---- */

static void reads_the_hello_with_a_cookie(void **state)
{
    struct bytes first = hello_of("a.example", BYTES(""), BYTES(""));
    struct bytes second = hello_of("b.example", BYTES("from the server"), BYTES(""));
    struct reader reader = {0};

    (void)state;
    assert_int_equal(take_whole(&reader, &first, 0), DTLS_HELLO);
    assert_int_equal(take_whole(&reader, &first, 0), DTLS_KNOWN);
    assert_int_equal(take_part(&reader, &second, 1, 0, 30), DTLS_PARTIAL);
    assert_int_equal(take_part(&reader, &second, 1, 30, second.len), DTLS_HELLO);
    expect_name(&reader, "b.example");
    assert_true(span_equal(reader.hello.random, BYTES(RANDOM)));
}

static void knows_what_follows_it(void **state)
{
    struct bytes hello = hello_of("a.example", BYTES(""), BYTES("")), key = {.len = 70};
    struct bytes datagram = {.len = 0};
    struct reader reader = {0};

    (void)state;
    put_record(&datagram, &key, &(struct message){.type = 16, .number = 2, .to = 70});
    put(&datagram, BYTES("\x14\xfe\xfd\0\0\0\0\0\0\0\3\0\1\1")); /* ChangeCipherSpec */
    assert_int_equal(take_whole(&reader, &hello, 0), DTLS_HELLO);
    assert_int_equal(take(&reader, &datagram), DTLS_KNOWN);
}

/* On the same socket, when the first is over. */
static void reads_another_handshake(void **state)
{
    struct bytes first = hello_of("a.example", BYTES(""), BYTES(""));
    struct bytes second = hello_of("b.example", BYTES(""), BYTES(""));
    struct reader reader = {0};

    (void)state;
    assert_int_equal(take_whole(&reader, &first, 0), DTLS_HELLO);
    assert_int_equal(take_whole(&reader, &second, 0), DTLS_HELLO);
    expect_name(&reader, "b.example");
}

static void reads_behind_other_records(void **state)
{
    struct bytes hello = hello_of("a.example", BYTES(""), BYTES("")), datagram = {.len = 0};
    struct reader reader = {0};

    (void)state;
    put(&datagram, BYTES("\x15\xfe\xfd\0\0\0\0\0\0\0\1\0\2\1\0")); /* an alert */
    put(&datagram, BYTES("\x16\xfe\xfd\0\1\0\0\0\0\0\1\0\1a"));    /* encrypted */
    put_part(&datagram, &hello, 0, 0, 30);
    put(&datagram, BYTES("\x17\xfe\xfd\0\1\0\0\0\0\0\2\0\1a"));
    put_part(&datagram, &hello, 0, 30, hello.len);
    assert_int_equal(take(&reader, &datagram), DTLS_HELLO);
    expect_name(&reader, "a.example");
}

/* ---- what is none ---- */

static void refuses_contradictions(void **state)
{
    struct bytes first = hello_of("a.example", BYTES(""), BYTES(""));
    struct bytes second = hello_of("b.example", BYTES(""), BYTES(""));
    struct bytes longer = hello_of("longer.example", BYTES(""), BYTES("")), both = {.len = 0};
    struct reader reader = {0};

    (void)state;
    assert_int_equal(take_part(&reader, &first, 0, 0, 60), DTLS_PARTIAL);
    assert_int_equal(take_part(&reader, &second, 0, 40, second.len), DTLS_NOT);
    reader = (struct reader){0};
    assert_int_equal(take_part(&reader, &first, 0, 0, 60), DTLS_PARTIAL);
    assert_int_equal(take_part(&reader, &longer, 0, 60, longer.len), DTLS_NOT);
    reader = (struct reader){0};
    put_part(&both, &first, 0, 0, first.len);
    put_part(&both, &second, 1, 0, second.len);
    assert_int_equal(take(&reader, &both), DTLS_NOT);
}

static const struct {
    const char *what;
    struct span bytes;
} none[] = {
    {"nothing", BYTES("")},
    {"application data", BYTES("\x17\xfe\xfd\0\1\0\0\0\0\0\1\0\1a")},
    {"TLS on a connection", BYTES("\x16\x03\x01\0\4\1\0\0\0")},
    {"an unknown version", BYTES("\x16\xfe\xfe\0\0\0\0\0\0\0\1\0\1a")},
    {"an encrypted handshake", BYTES("\x16\xfe\xfd\0\1\0\0\0\0\0\1\0\1a")},
    {"a record cut short", BYTES("\x16\xfe\xfd\0\0\0\0\0\0\0\1\0\x40\1")},
    {"a message cut short", BYTES("\x16\xfe\xfd\0\0\0\0\0\0\0\1\0\3\1\0\0")},
    {"a fragment beyond its message",
     BYTES("\x16\xfe\xfd\0\0\0\0\0\0\0\1\0\x0e\1\0\0\4\0\0\0\0\3\0\0\2ab")},
    {"a fragment longer than its record",
     BYTES("\x16\xfe\xfd\0\0\0\0\0\0\0\1\0\x0e\1\0\0\4\0\0\0\0\0\0\0\4ab")},
    {"a hello larger than any",
     BYTES("\x16\xfe\xfd\0\0\0\0\0\0\0\1\0\x0c\1\xff\0\0\0\0\0\0\0\0\0\0")},
    {"an empty hello", BYTES("\x16\xfe\xfd\0\0\0\0\0\0\0\1\0\x0c\1\0\0\0\0\0\0\0\0\0\0\0")},
};

static void refuses_what_is_broken(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
        struct bytes bytes = {.len = 0};
        struct reader reader = {0};

        print_message("  %s\n", none[i].what);
        if (none[i].bytes.len)
            put(&bytes, none[i].bytes);
        assert_int_equal(take(&reader, &bytes), DTLS_NOT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_versions),
        cmocka_unit_test(reads_it_cut_anywhere),
        cmocka_unit_test(reads_two_fragments_of_a_record),
        cmocka_unit_test(reads_the_hello_with_a_cookie),
        cmocka_unit_test(knows_what_follows_it),
        cmocka_unit_test(reads_another_handshake),
        cmocka_unit_test(reads_behind_other_records),
        cmocka_unit_test(refuses_contradictions),
        cmocka_unit_test(refuses_what_is_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
