/* quic: the ClientHello out of Initial packets: the RFCs' own, and packets made here, cut,
 * scrambled, joined and broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/wire/quic.h"
#include "tests/unit/wire/quic_build.h"

#define DCID BYTES("\x83\x94\xc8\xf0\x3e\x51\x57\x08") /* of RFC 9001 appendix A */

/* RFC 9001 appendix A.2: the CRYPTO frame of a client's Initial. */
static const char rfc_frame[] =
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c000004"
    "13011302010000c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d00170018"
    "00100007000504616c706e000500050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba75"
    "3de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e0403050306030203080408050806"
    "002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff08011001048000"
    "75300901100f088394c8f03e51570806048000ffff";

static struct quic_opener *opener;

static int set_up(void **state)
{
    struct err err;

    (void)state;
    return quic_opener_new(&opener, &err);
}

static int tear_down(void **state)
{
    (void)state;
    quic_opener_free(&opener);
    return 0;
}

/* ---- what a client sends ---- */

/* The hello inside the RFC's frame. */
static struct span rfc_hello(void)
{
    static uint8_t frame[300];
    size_t len = quic_from_hex(rfc_frame, frame);

    return span_of(frame + 4, len - 4);
}

/* A hello for another name, as long as the first: made of it. */
static struct span hello_for(const char *name)
{
    static uint8_t hello[300];
    struct span first = rfc_hello();

    memcpy(hello, first.data, first.len);
    memcpy(memmem(hello, first.len, "example.com", 11), name, 11);
    return span_of(hello, first.len);
}

struct payload {
    uint8_t bytes[QUIC_DATAGRAM];
    size_t len;
};

static void add(struct payload *payload, const void *data, size_t len)
{
    memcpy(payload->bytes + payload->len, data, len);
    payload->len += len;
}

static void add_crypto(struct payload *payload, size_t at, struct span piece)
{
    add(payload,
        (uint8_t[]){6, (uint8_t)(0x40 | at >> 8), (uint8_t)at, (uint8_t)(0x40 | piece.len >> 8),
                    (uint8_t)piece.len},
        5);
    add(payload, piece.data, piece.len);
}

static void add_part(struct payload *payload, struct span hello, size_t from, size_t to)
{
    add_crypto(payload, from, span_of(hello.data + from, to - from));
}

static void pad(struct payload *payload, size_t len)
{
    while (payload->len < len)
        add(payload, "", 1);
}

static struct quic_packet initial(uint32_t version, const struct payload *payload)
{
    return (struct quic_packet){
        .version = version,
        .type = quic_initial_bits(version),
        .dcid = DCID,
        .keys = DCID,
        .number_len = 2,
        .payload = span_of(payload->bytes, payload->len),
    };
}

/* ---- reading ---- */

struct reader {
    struct quic quic;
    struct gather gather;
    struct hello hello;
};

/* In memory of its own, so that a sanitizer sees any look beside it. */
static enum quic_status take(struct reader *reader, struct span bytes)
{
    uint8_t *copy = malloc(bytes.len ? bytes.len : 1);
    enum quic_status status;

    assert_non_null(copy);
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    status =
        quic_take(&reader->quic, opener, span_of(copy, bytes.len), &reader->gather, &reader->hello);
    free(copy);
    return status;
}

static enum quic_status take_packet(struct reader *reader, const struct quic_packet *packet)
{
    struct quic_datagram datagram = {.len = 0};

    quic_append(&datagram, packet);
    return take(reader, span_of(datagram.bytes, datagram.len));
}

static enum quic_status take_payload(struct reader *reader, uint32_t version,
                                     const struct payload *payload)
{
    struct quic_packet packet = initial(version, payload);

    return take_packet(reader, &packet);
}

static void expect_name(const struct reader *reader, const char *name)
{
    assert_true(span_equal(reader->hello.server_name, span_of_text(name)));
    assert_true(span_equal(reader->hello.alpn, BYTES("\4alpn")));
    assert_int_equal(reader->hello.transport, HELLO_QUIC);
    assert_int_equal(reader->hello.version_max, 0x0304);
}

/* ---- the RFCs' packets ---- */

static const struct {
    const char *what;
    uint32_t version;
    const char *begins, *ends; /* of the datagram, as the RFC prints it */
} published[] = {
    {"RFC 9001 appendix A.2", QUIC_V1,
     "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9b",
     "e221af44860018ab0856972e194cd934"},
    {"RFC 9369 appendix A.2", QUIC_V2,
     "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485dd04de806071", ""},
};

/* What our own packets are made by is held to the RFCs, too. The RFC writes the token's length in
 * one byte. */
static void reads_the_published_packets(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(published); i++) {
        struct payload payload = {.len = 0};
        struct quic_datagram datagram = {.len = 0};
        struct quic_packet packet;
        struct reader reader = {0};
        uint8_t begins[64], ends[64];
        size_t len, end = quic_from_hex(published[i].ends, ends);

        print_message("  %s\n", published[i].what);
        payload.len = quic_from_hex(rfc_frame, payload.bytes);
        pad(&payload, 1162);
        packet = initial(published[i].version, &payload);
        packet.number = 2;
        packet.number_len = 4;
        packet.short_token = true;
        quic_append(&datagram, &packet);
        len = quic_from_hex(published[i].begins, begins);
        assert_int_equal(datagram.len, 1200);
        assert_memory_equal(datagram.bytes, begins, len);
        assert_memory_equal(datagram.bytes + datagram.len - end, ends, end);
        assert_int_equal(take(&reader, span_of(datagram.bytes, datagram.len)), QUIC_HELLO);
        expect_name(&reader, "example.com");
    }
}

/* ---- however it is cut ---- */

static void reads_it_out_of_scrambled_pieces(void **state)
{
    static const size_t order[] = {5, 2, 7, 0, 3, 6, 1, 4};
    struct span hello = rfc_hello();
    size_t step = hello.len / ARRAY_SIZE(order) + 1;

    (void)state;
    /* as Chrome does: in one packet, with PING and PADDING in between */
    for (int packets = 1; packets <= 8; packets *= 2) {
        struct payload payload = {.len = 0};
        struct reader reader = {0};
        enum quic_status status = QUIC_NOT;

        for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
            size_t from = order[i] * step, to = from + step < hello.len ? from + step : hello.len;

            add_part(&payload, hello, from, to);
            add(&payload, "\0\1\0\0", 4);
            if ((i + 1) % (ARRAY_SIZE(order) / (size_t)packets))
                continue;
            status = take_payload(&reader, QUIC_V1, &payload);
            assert_int_equal(status, i + 1 < ARRAY_SIZE(order) ? QUIC_PARTIAL : QUIC_HELLO);
            payload.len = 0;
        }
        expect_name(&reader, "example.com");
    }
}

static void reads_it_out_of_joined_packets(void **state)
{
    struct span hello = rfc_hello();
    struct payload first = {.len = 0}, second = {.len = 0}, early = {.len = 0};
    struct quic_datagram datagram = {.len = 0};
    struct reader reader = {0};
    struct quic_packet packet;

    (void)state;
    add_part(&first, hello, 100, hello.len);
    add_part(&second, hello, 0, 100);
    pad(&early, 50);
    packet = initial(QUIC_V1, &first);
    quic_append(&datagram, &packet);
    packet = initial(QUIC_V1, &early);
    packet.type = 1; /* 0-RTT: not ours to read */
    quic_append(&datagram, &packet);
    packet = initial(QUIC_V1, &second);
    packet.number = 1;
    quic_append(&datagram, &packet);
    memset(datagram.bytes + datagram.len, 0, 40); /* what is behind the last */
    assert_int_equal(take(&reader, span_of(datagram.bytes, datagram.len + 40)), QUIC_HELLO);
    expect_name(&reader, "example.com");
}

static void skips_acknowledgements(void **state)
{
    struct payload payload = {.len = 0};
    struct reader reader = {0};

    (void)state;
    add(&payload, "\2\4\0\1\1\0\0", 7);         /* ACK with one more range */
    add(&payload, "\3\4\0\0\1\x40\x10\0\0", 9); /* ACK_ECN, a count in two bytes */
    add_crypto(&payload, 0, rfc_hello());
    add(&payload, "\x1c\0\0\0", 4); /* and no more is looked at behind the end */
    add(&payload, "\xff", 1);
    assert_int_equal(take_payload(&reader, QUIC_V2, &payload), QUIC_HELLO);
    expect_name(&reader, "example.com");
}

/* ---- what comes after ---- */

static void knows_a_connection_again(void **state)
{
    struct payload payload = {.len = 0}, ack = {.len = 0}, half = {.len = 0};
    struct reader reader = {0};
    struct quic_packet packet;
    struct span hello = rfc_hello();

    (void)state;
    add_crypto(&payload, 0, hello);
    assert_int_equal(take_payload(&reader, QUIC_V1, &payload), QUIC_HELLO);
    assert_int_equal(take_payload(&reader, QUIC_V1, &payload), QUIC_KNOWN);
    add_part(&half, hello, 50, 90); /* what was lost of it */
    assert_int_equal(take_payload(&reader, QUIC_V1, &half), QUIC_KNOWN);
    add(&ack, "\2\0\0\0\0", 5);
    pad(&ack, 30);
    packet = initial(QUIC_V1, &ack);
    packet.dcid = BYTES("server's"); /* as it chose */
    packet.number = 2;
    assert_int_equal(take_packet(&reader, &packet), QUIC_KNOWN);
}

static void reads_the_hello_after_a_retry(void **state)
{
    struct payload payload = {.len = 0};
    struct reader reader = {0};
    struct quic_packet packet;

    (void)state;
    add_crypto(&payload, 0, rfc_hello());
    assert_int_equal(take_payload(&reader, QUIC_V1, &payload), QUIC_HELLO);
    packet = initial(QUIC_V1, &payload);
    packet.dcid = packet.keys = BYTES("from the Retry");
    packet.token = BYTES("its token");
    packet.number = 1;
    assert_int_equal(take_packet(&reader, &packet), QUIC_HELLO);
    expect_name(&reader, "example.com");
    assert_int_equal(take_packet(&reader, &packet), QUIC_KNOWN);
}

static void reads_another_connection(void **state)
{
    struct payload payload = {.len = 0};
    struct reader reader = {0};
    struct quic_packet packet;

    (void)state;
    add_crypto(&payload, 0, rfc_hello());
    assert_int_equal(take_payload(&reader, QUIC_V1, &payload), QUIC_HELLO);
    payload.len = 0;
    add_crypto(&payload, 0, hello_for("another.org"));
    packet = initial(QUIC_V1, &payload);
    packet.dcid = packet.keys = BYTES("another one");
    assert_int_equal(take_packet(&reader, &packet), QUIC_HELLO);
    expect_name(&reader, "another.org");
}

/* A server asks for another hello, which comes behind the first (HelloRetryRequest). */
static void holds_a_second_hello_to_the_first(void **state)
{
    struct payload payload = {.len = 0};
    struct reader reader = {0};
    struct span hello = rfc_hello();

    (void)state;
    add_crypto(&payload, 0, hello);
    assert_int_equal(take_payload(&reader, QUIC_V1, &payload), QUIC_HELLO);
    payload.len = 0;
    add_crypto(&payload, hello.len, span_of(hello.data, 100));
    assert_int_equal(take_payload(&reader, QUIC_V1, &payload), QUIC_PARTIAL);
    payload.len = 0;
    add_crypto(&payload, hello.len + 100, span_of(hello.data + 100, hello.len - 100));
    assert_int_equal(take_payload(&reader, QUIC_V1, &payload), QUIC_KNOWN);
    payload.len = 0;
    reader = (struct reader){0};
    add_crypto(&payload, 0, hello);
    add_crypto(&payload, hello.len, hello_for("another.org"));
    assert_int_equal(take_payload(&reader, QUIC_V1, &payload), QUIC_NOT);
}

/* Under the keys of a connection that is known: a server that has forgotten that, or never heard of
 * it, would take this for its beginning. */
static void refuses_another_hello_under_the_same_keys(void **state)
{
    struct payload payload = {.len = 0};
    struct reader reader = {0};

    (void)state;
    add_crypto(&payload, 0, rfc_hello());
    assert_int_equal(take_payload(&reader, QUIC_V1, &payload), QUIC_HELLO);
    payload.len = 0;
    add_crypto(&payload, 0, hello_for("another.org"));
    assert_int_equal(take_payload(&reader, QUIC_V1, &payload), QUIC_NOT);
}

/* ---- what is none ---- */

static const struct {
    const char *what;
    struct span frames;
} broken[] = {
    {"a frame that has no place there", BYTES("\x08\0\0")},
    {"an unknown frame", BYTES("\x3f\0\0")},
    {"a frame of no type", BYTES("\x40")},
    {"CRYPTO that ends before its length", BYTES("\6\0\x20"
                                                 "abc")},
    {"CRYPTO beyond what is gathered", BYTES("\6\x80\0\x40\0\1a")},
    {"CRYPTO beyond all", BYTES("\6\xff\xff\xff\xff\xff\xff\xff\xff\1a")},
    {"ACK without an end", BYTES("\2\0\0\x3f\0")},
    {"ACK of ranges that nobody could write", BYTES("\2\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0")},
    {"two pieces that contradict each other", BYTES("\6\0\4\1\0\0\1\6\2\1\2")},
    {"no ClientHello", BYTES("\6\0\4\2\0\0\1")},
    {"a hello larger than any", BYTES("\6\0\4\1\xff\xff\xff")},
};

static void refuses_what_is_broken(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        struct payload payload = {.len = 0};
        struct reader reader = {0};

        print_message("  %s\n", broken[i].what);
        pad(&payload, 30); /* or there would be too little to sample */
        add(&payload, broken[i].frames.data, broken[i].frames.len);
        assert_int_equal(take_payload(&reader, QUIC_V1, &payload), QUIC_NOT);
    }
}

/* Each byte of a datagram, one after the other, is another: nothing opens that was not sealed. */
static void refuses_what_was_changed(void **state)
{
    struct payload payload = {.len = 0};
    struct quic_datagram datagram = {.len = 0};
    struct quic_packet packet;

    (void)state;
    add_crypto(&payload, 0, rfc_hello());
    packet = initial(QUIC_V1, &payload);
    quic_append(&datagram, &packet);
    for (size_t i = 0; i < datagram.len; i++) {
        struct reader reader = {0};

        datagram.bytes[i] ^= 0x11;
        assert_int_equal(take(&reader, span_of(datagram.bytes, datagram.len)), QUIC_NOT);
        datagram.bytes[i] ^= 0x11;
        reader = (struct reader){0};
        assert_int_equal(take(&reader, span_of(datagram.bytes, i)), QUIC_NOT);
    }
}

static void refuses_packets_of_two_connections(void **state)
{
    struct payload payload = {.len = 0};
    struct quic_datagram datagram = {.len = 0};
    struct reader reader = {0};
    struct quic_packet packet;

    (void)state;
    add_crypto(&payload, 0, rfc_hello());
    packet = initial(QUIC_V1, &payload);
    quic_append(&datagram, &packet);
    packet.dcid = packet.keys = BYTES("another one");
    quic_append(&datagram, &packet);
    assert_int_equal(take(&reader, span_of(datagram.bytes, datagram.len)), QUIC_NOT);
}

static const struct {
    const char *what;
    struct span begins;
    size_t len;
    enum quic_status want;
} others[] = {
    {"a version that is reserved to be unknown", BYTES("\xc0\x1a\x2a\x3a\x4a\x08 a DCID \x04SCID"),
     1200, QUIC_OTHER},
    {"... too short for a client's first", BYTES("\xc0\x1a\x2a\x3a\x4a\x08 a DCID \x04SCID"), 1199,
     QUIC_NOT},
    {"... with an id that no client makes up", BYTES("\xc0\x1a\x2a\x3a\x4a\x07 a DCID"), 1200,
     QUIC_NOT},
    {"... with an id too long", BYTES("\xc0\x1a\x2a\x3a\x4a\x15"), 1200, QUIC_NOT},
    {"a version negotiation, which is a server's", BYTES("\xc0\0\0\0\0\x08 a DCID \0"), 1200,
     QUIC_NOT},
    {"a short header", BYTES("\x40\0\0\0\1"), 1200, QUIC_NOT},
    {"no fixed bit", BYTES("\x80\0\0\0\1\x08 a DCID \0\0"), 1200, QUIC_NOT},
    {"nothing", BYTES(""), 0, QUIC_NOT},
    {"something else", BYTES("GET / HTTP/1.1"), 14, QUIC_NOT},
};

static void tells_others(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        uint8_t bytes[QUIC_DATAGRAM] = {0};
        struct reader reader = {0};

        print_message("  %s\n", others[i].what);
        memcpy(bytes, others[i].begins.data, others[i].begins.len);
        assert_int_equal(take(&reader, span_of(bytes, others[i].len)), others[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_published_packets),
        cmocka_unit_test(reads_it_out_of_scrambled_pieces),
        cmocka_unit_test(reads_it_out_of_joined_packets),
        cmocka_unit_test(skips_acknowledgements),
        cmocka_unit_test(knows_a_connection_again),
        cmocka_unit_test(reads_the_hello_after_a_retry),
        cmocka_unit_test(reads_another_connection),
        cmocka_unit_test(holds_a_second_hello_to_the_first),
        cmocka_unit_test(refuses_another_hello_under_the_same_keys),
        cmocka_unit_test(refuses_what_is_broken),
        cmocka_unit_test(refuses_what_was_changed),
        cmocka_unit_test(refuses_packets_of_two_connections),
        cmocka_unit_test(tells_others),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
