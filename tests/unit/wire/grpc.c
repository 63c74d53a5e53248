/* grpc: messages counted, however their bytes are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/wire/grpc.h"

#define FLAGS "no gRPC message: unknown flags"

static const struct {
    const char *name;
    enum grpc_kind kind;
    struct span bytes;
    uint64_t messages, payload, compressed;
    bool unfinished;
    const char *gave_up;
    const char *status, *message; /* trailers; NULL: none */
} cases[] = {
    {"nothing", GRPC_PLAIN, BYTES(""), 0, 0, 0, false, NULL, NULL, NULL},
    {"one message", GRPC_PLAIN, BYTES("\0\0\0\0\3abc"), 1, 3, 0, false, NULL, NULL, NULL},
    {"an empty one", GRPC_PLAIN, BYTES("\0\0\0\0\0"), 1, 0, 0, false, NULL, NULL, NULL},
    {"three, one of them compressed", GRPC_PLAIN, BYTES("\0\0\0\0\1a\1\0\0\0\2bc\0\0\0\0\0"), 3, 3,
     1, false, NULL, NULL, NULL},
    {"all bytes of a length", GRPC_PLAIN, BYTES("\0\1\2\3\4abc"), 0, 3, 0, true, NULL, NULL, NULL},
    {"the longest there is", GRPC_PLAIN,
     BYTES("\1\xff\xff\xff\xff"
           "a"),
     0, 1, 0, true, NULL, NULL, NULL},
    {"cut within a prefix", GRPC_PLAIN, BYTES("\0\0\0\0\1a\0\0"), 1, 1, 0, true, NULL, NULL, NULL},
    {"cut within a message", GRPC_PLAIN, BYTES("\0\0\0\0\3ab"), 0, 2, 0, true, NULL, NULL, NULL},
    {"a flag nobody knows", GRPC_PLAIN, BYTES("\0\0\0\0\1a\2\0\0\0\1a"), 1, 1, 0, false, FLAGS,
     NULL, NULL},
    {"gRPC-web's trailers in plain gRPC", GRPC_PLAIN, BYTES("\x80\0\0\0\1a"), 0, 0, 0, false, FLAGS,
     NULL, NULL},
    {"text", GRPC_PLAIN, BYTES("<html>no</html>"), 0, 0, 0, false, FLAGS, NULL, NULL},
    {"no gRPC at all", GRPC_NONE, BYTES("\0\0\0\0\1a"), 0, 0, 0, false, NULL, NULL, NULL},

    {"gRPC-web: a message and trailers", GRPC_WEB,
     BYTES("\0\0\0\0\1a\x80\0\0\0\x21grpc-status: 5\r\ngrpc-message:no\r\n"), 1, 1, 0, false, NULL,
     "5", "no"},
    {"names in any case, no end of line", GRPC_WEB,
     BYTES("\x80\0\0\0\x20Grpc-Message: a: b\nGRPC-STATUS:0"), 0, 0, 0, false, NULL, "0", "a: b"},
    {"the first of two", GRPC_WEB, BYTES("\x80\0\0\0\x1egrpc-status:1\r\ngrpc-status:2\r\n"), 0, 0,
     0, false, NULL, "1", NULL},
    {"a name within a name", GRPC_WEB, BYTES("\x80\0\0\0\x10xgrpc-status:0\r\n"), 0, 0, 0, false,
     NULL, NULL, NULL},
    {"lines without a colon", GRPC_WEB, BYTES("\x80\0\0\0\x13\r\n\ngrpc-status\r\n:\r\n"), 0, 0, 0,
     false, NULL, NULL, NULL},
    {"an empty status", GRPC_WEB, BYTES("\x80\0\0\0\x0cgrpc-status:"), 0, 0, 0, false, NULL, "",
     NULL},
    {"empty trailers", GRPC_WEB, BYTES("\x80\0\0\0\0"), 0, 0, 0, false, NULL, NULL, NULL},
    {"trailers cut short", GRPC_WEB, BYTES("\x80\0\0\0\x0fgrpc-status:0\r"), 0, 0, 0, true, NULL,
     NULL, NULL},
    {"compressed trailers", GRPC_WEB, BYTES("\x81\0\0\0\1a"), 0, 0, 0, false,
     "compressed gRPC trailers", NULL, NULL},
    {"bytes behind the trailers", GRPC_WEB, BYTES("\x80\0\0\0\x0egrpc-status: 0\0"), 0, 0, 0, false,
     "bytes behind the gRPC trailers", "0", NULL},
    {"gRPC-web: a flag nobody knows", GRPC_WEB, BYTES("\x40\0\0\0\1a"), 0, 0, 0, false, FLAGS, NULL,
     NULL},

    {"base64", GRPC_WEB_TEXT, BYTES("AAAAAANhYmM="), 1, 3, 0, false, NULL, NULL, NULL},
    {"padded in the middle", GRPC_WEB_TEXT, BYTES("AAAAAANhYmM=gAAAAA5ncnBjLXN0YXR1czogMA=="), 1, 3,
     0, false, NULL, "0", NULL},
    {"padded within a message", GRPC_WEB_TEXT,
     BYTES("AA==AA==AAAD"
           "YQ==YmM="),
     1, 3, 0, false, NULL, NULL, NULL},
    {"the whole alphabet's ends", GRPC_WEB_TEXT, BYTES("AAAAAAP/+/s="), 1, 3, 0, false, NULL, NULL,
     NULL},
    {"cut within four characters", GRPC_WEB_TEXT, BYTES("AAAAAANhYmMA"), 1, 3, 0, true, NULL, NULL,
     NULL},
    {"no base64", GRPC_WEB_TEXT, BYTES("AAAAAANhYmM=-AAA"), 1, 3, 0, false, "no base64", NULL,
     NULL},
    {"a line break", GRPC_WEB_TEXT, BYTES("AAAA\r\nAANhYmM="), 0, 0, 0, false, "no base64", NULL,
     NULL},
    {"padding too early", GRPC_WEB_TEXT, BYTES("A==="), 0, 0, 0, false, "no base64", NULL, NULL},
    {"padding that ends again", GRPC_WEB_TEXT, BYTES("AA=A"), 0, 0, 0, false, "no base64", NULL,
     NULL},
    {"bad flags, then no base64", GRPC_WEB_TEXT, BYTES("AgAAAAEA----"), 0, 0, 0, false, FLAGS, NULL,
     NULL},
};

static void check_trailer(const struct grpc *grpc, const char *name, const char *want)
{
    struct span value;

    assert_int_equal(grpc_trailer(grpc, name, &value), want != NULL);
    if (want)
        assert_true(span_equal(value, span_of_text(want)));
}

static void counted_in_pieces_of(size_t most)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct grpc grpc;
        struct span rest = cases[i].bytes, piece;

        print_message("  %s\n", cases[i].name);
        grpc_init(&grpc, cases[i].kind);
        while (rest.len) {
            span_take(&rest, rest.len < most ? rest.len : most, &piece);
            grpc_feed(&grpc, piece);
        }
        assert_int_equal(grpc.messages, cases[i].messages);
        assert_int_equal(grpc.bytes, cases[i].payload);
        assert_int_equal(grpc.compressed, cases[i].compressed);
        assert_int_equal(grpc_unfinished(&grpc), cases[i].unfinished);
        if (cases[i].gave_up)
            assert_string_equal(grpc.gave_up, cases[i].gave_up);
        else
            assert_null(grpc.gave_up);
        check_trailer(&grpc, "grpc-status", cases[i].status);
        check_trailer(&grpc, "grpc-message", cases[i].message);
        grpc_fini(&grpc);
        assert_int_equal(grpc.messages, cases[i].messages);
        grpc_fini(&grpc); /* at ease with it */
    }
}

static void counted_as_a_whole(void **state)
{
    (void)state;
    counted_in_pieces_of(SIZE_MAX);
}

static void counted_byte_by_byte(void **state)
{
    (void)state;
    counted_in_pieces_of(1);
}

static void counted_three_by_three(void **state)
{
    (void)state;
    counted_in_pieces_of(3);
}

/* What reads payloads gets them with their bounds. */
static void told_in_pieces(void **state)
{
    static const struct {
        struct span bytes;
        struct {
            struct span bytes;
            uint32_t len;
            bool compressed, first, last;
        } want[4];
        size_t want_len;
    } feeds[] = {
        {BYTES("\0\0\0\0"), {{{0}, 0, false, false, false}}, 0},
        {BYTES("\3ab"), {{BYTES("ab"), 3, false, true, false}}, 1},
        {BYTES("c\1\0\0\0\0\1\0\0\0\2de\0\0\0\0\1"),
         {{BYTES("c"), 3, false, false, true},
          {BYTES(""), 0, true, true, true},
          {BYTES("de"), 2, true, true, true}},
         3},
        {BYTES("f"), {{BYTES("f"), 1, false, true, true}}, 1},
        {BYTES(""), {{{0}, 0, false, false, false}}, 0},
        {BYTES("\0\1\2\3\4g"), {{BYTES("g"), 0x01020304, false, true, false}}, 1},
    };
    struct grpc grpc;
    struct grpc_piece piece;

    (void)state;
    grpc_init(&grpc, GRPC_PLAIN);
    for (size_t i = 0; i < ARRAY_SIZE(feeds); i++) {
        struct span bytes = feeds[i].bytes;

        for (size_t n = 0; n < feeds[i].want_len; n++) {
            assert_true(grpc_next(&grpc, &bytes, &piece));
            assert_true(span_equal(piece.bytes, feeds[i].want[n].bytes));
            assert_int_equal(piece.len, feeds[i].want[n].len);
            assert_int_equal(piece.compressed, feeds[i].want[n].compressed);
            assert_int_equal(piece.first, feeds[i].want[n].first);
            assert_int_equal(piece.last, feeds[i].want[n].last);
        }
        assert_false(grpc_next(&grpc, &bytes, &piece));
        assert_int_equal(bytes.len, 0);
    }
    assert_null(grpc.decoder);
    grpc_fini(&grpc);
}

/* Longer than what is kept: the lines that are whole in it. */
static void long_trailers_are_cut(void **state)
{
    static const char head[] = "grpc-status: 7\r\n", tail[] = "\r\ngrpc-message: late";
    enum { LEN = GRPC_TRAILERS_MAX + 100 };
    static uint8_t bytes[GRPC_PREFIX + LEN];
    struct grpc grpc;
    struct span value;

    (void)state;
    bytes[0] = 0x80;
    bytes[3] = LEN >> 8;
    bytes[4] = LEN & 0xff;
    memset(bytes + GRPC_PREFIX, 'x', LEN);
    memcpy(bytes + GRPC_PREFIX, head, sizeof(head) - 1);
    memcpy(bytes + GRPC_PREFIX + GRPC_TRAILERS_MAX - (sizeof(tail) - 1), tail, sizeof(tail) - 1);
    grpc_init(&grpc, GRPC_WEB);
    grpc_feed(&grpc, span_of(bytes, sizeof(bytes) - 1));
    assert_true(grpc_unfinished(&grpc));
    assert_false(grpc_trailer(&grpc, "grpc-status", &value));
    grpc_feed(&grpc, span_of(bytes, 1));
    assert_false(grpc_unfinished(&grpc));
    assert_null(grpc.gave_up);
    assert_int_equal(grpc.trailers_size, GRPC_TRAILERS_MAX);
    assert_true(grpc_trailer(&grpc, "grpc-status", &value));
    assert_true(span_equal(value, BYTES("7")));
    assert_false(grpc_trailer(&grpc, "grpc-message", &value)); /* who knows how it goes on? */
    grpc_fini(&grpc);
    assert_false(grpc_trailer(&grpc, "grpc-status", &value));
}

static void base64_is_undone(void **state)
{
    struct span bytes = BYTES("AAAAAAP/+/s=AAAAAAEA"), more = BYTES("AAAAAA==");
    struct grpc grpc;
    struct grpc_piece piece;

    (void)state;
    grpc_init(&grpc, GRPC_WEB_TEXT);
    assert_true(grpc_next(&grpc, &bytes, &piece));
    assert_true(span_equal(piece.bytes, BYTES("\xff\xfb\xfb")));
    assert_true(grpc_next(&grpc, &bytes, &piece));
    assert_true(span_equal(piece.bytes, BYTES("\0")) && piece.first && piece.last);
    assert_false(grpc_next(&grpc, &bytes, &piece));
    assert_int_equal(bytes.len, 0);
    assert_false(grpc_next(&grpc, &more, &piece));
    assert_true(grpc_unfinished(&grpc));
    grpc_fini(&grpc);
}

static void much_base64(void **state)
{
    static uint8_t text[400000];
    struct grpc grpc;

    (void)state;
    memset(text, 'A', sizeof(text)); /* 300 000 bytes of zeros: empty messages */
    grpc_init(&grpc, GRPC_WEB_TEXT);
    grpc_feed(&grpc, span_of(text, sizeof(text)));
    assert_int_equal(grpc.messages, 300000 / GRPC_PREFIX);
    assert_false(grpc_unfinished(&grpc));
    grpc_fini(&grpc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counted_as_a_whole),
        cmocka_unit_test(counted_byte_by_byte),
        cmocka_unit_test(counted_three_by_three),
        cmocka_unit_test(told_in_pieces),
        cmocka_unit_test(long_trailers_are_cut),
        cmocka_unit_test(base64_is_undone),
        cmocka_unit_test(much_base64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
