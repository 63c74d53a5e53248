/* websocket: frames and messages told, however their bytes are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/wire/websocket.h"

#define CLIENT   WEBSOCKET_CLIENT
#define SERVER   WEBSOCKET_SERVER
#define RESERVED "a WebSocket frame with reserved bits"
#define OPCODE   "a WebSocket frame with a reserved opcode"
#define NO_MASK  "a client's WebSocket frame without a mask"
#define LONGER   "a WebSocket length in more bytes than it needs"

/* Of a message: T or B (Z: compressed), its length, "..." when it was cut, and its text. */
static const struct {
    const char *name;
    enum websocket_side side;
    struct span bytes;
    const char *told;
    uint64_t messages, payload, data_frames, control_frames;
    bool unfinished;
    uint16_t close_code;
    const char *reason;
    const char *gave_up, *noted;
} cases[] = {
    {"nothing", SERVER, BYTES(""), "", 0, 0, 0, 0, false, 0, "", NULL, NULL},
    /* RFC 6455 section 5.7 */
    {"Hello", SERVER, BYTES("\x81\x05Hello"), "T5 Hello;", 1, 5, 1, 0, false, 0, "", NULL, NULL},
    {"Hello, masked", CLIENT, BYTES("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "T5 Hello;", 1,
     5, 1, 0, false, 0, "", NULL, NULL},
    {"Hello in two", SERVER, BYTES("\x01\x03Hel\x80\x02lo"), "T5 Hello;", 1, 5, 2, 0, false, 0, "",
     NULL, NULL},
    {"a ping and its pong", SERVER, BYTES("\x89\x05Hello\x8a\x05Hello"), "", 0, 0, 0, 2, false, 0,
     "", NULL, NULL},

    {"masked with two masks", CLIENT, BYTES("\x02\x83\1\2\3\4`ba\x80\x82\0\0\0\1de"), "B5 a`bde;",
     1, 5, 2, 0, false, 0, "", NULL, NULL},
    {"an empty message", SERVER, BYTES("\x82\0"), "B0 ;", 1, 0, 1, 0, false, 0, "", NULL, NULL},
    {"empty fragments", SERVER, BYTES("\1\0\0\0\0\1a\x80\0"), "T1 a;", 1, 1, 4, 0, false, 0, "",
     NULL, NULL},
    {"a ping within a message", SERVER,
     BYTES("\x01\x01"
           "a\x89\0\x80\1b"),
     "T2 ab;", 1, 2, 2, 1, false, 0, "", NULL, NULL},
    {"as much as is kept", SERVER,
     BYTES("\x81\x08"
           "12345678"),
     "T8 12345678;", 1, 8, 1, 0, false, 0, "", NULL, NULL},
    {"more", SERVER,
     BYTES("\x81\x09"
           "123456789"),
     "T9... 12345678;", 1, 9, 1, 0, false, 0, "", NULL, NULL},
    {"more in two", SERVER,
     BYTES("\x01\x06"
           "123456\x80\3"
           "789"),
     "T9... 12345678;", 1, 9, 2, 0, false, 0, "", NULL, NULL},
    {"one after the other", SERVER, BYTES("\x81\1a\x82\1b\x81\1c"), "T1 a;B1 b;T1 c;", 3, 3, 3, 0,
     false, 0, "", NULL, NULL},
    {"compressed", SERVER, BYTES("\xc1\1a\x42\1b\x80\1c\x82\1d"), "ZT1 a;ZB2 bc;B1 d;", 3, 4, 4, 0,
     false, 0, "", NULL, NULL},

    {"cut within a header", SERVER, BYTES("\x81\1a\x81"), "T1 a;", 1, 1, 1, 0, true, 0, "", NULL,
     NULL},
    {"cut within a mask", CLIENT, BYTES("\x81\x81\0\0\0"), "", 0, 0, 0, 0, true, 0, "", NULL, NULL},
    {"cut within a payload", SERVER, BYTES("\x81\2a"), "", 0, 1, 0, 0, true, 0, "", NULL, NULL},
    {"cut between fragments", SERVER, BYTES("\x01\2ab"), "", 0, 2, 1, 0, true, 0, "", NULL, NULL},
    {"cut within the longest frame", SERVER,
     BYTES("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"
           "a"),
     "", 0, 1, 0, 0, true, 0, "", NULL, NULL},

    {"a close frame", SERVER,
     BYTES("\x88\x05\x03\xe8"
           "bye"),
     "", 0, 0, 0, 1, false, 1000, "bye", NULL, NULL},
    {"masked", CLIENT, BYTES("\x88\x82\1\2\3\4\x02\xeb"), "", 0, 0, 0, 1, false, 1001, "", NULL,
     NULL},
    {"without a code", SERVER, BYTES("\x88\0"), "", 0, 0, 0, 1, false, 0, "", NULL, NULL},
    {"within a message", SERVER, BYTES("\x01\1a\x88\2\3\xe9"), "", 0, 1, 1, 1, true, 1001, "", NULL,
     NULL},
    {"cut short", SERVER, BYTES("\x88\2\3"), "", 0, 0, 0, 0, true, 0, "", NULL, NULL},
    {"of one byte", SERVER, BYTES("\x88\1\3"), "", 0, 0, 0, 0, false, 0, "",
     "a WebSocket close frame of one byte", NULL},
    {"bytes behind it", SERVER, BYTES("\x88\2\3\xe8\x81\1a"), "", 0, 0, 0, 1, false, 1000, "",
     "bytes behind the WebSocket close frame", NULL},

    {"the second reserved bit", SERVER, BYTES("\xa1\1a"), "", 0, 0, 0, 0, false, 0, "", RESERVED,
     NULL},
    {"the third", SERVER, BYTES("\x91\1a"), "", 0, 0, 0, 0, false, 0, "", RESERVED, NULL},
    {"the first, in a continuation", SERVER, BYTES("\x41\1a\xc0\1b"), "", 0, 1, 1, 0, false, 0, "",
     RESERVED, NULL},
    {"the first, in a ping", SERVER, BYTES("\xc9\0"), "", 0, 0, 0, 0, false, 0, "", RESERVED, NULL},
    {"opcode 3", SERVER, BYTES("\x83\1a"), "", 0, 0, 0, 0, false, 0, "", OPCODE, NULL},
    {"opcode 7", SERVER, BYTES("\x87\1a"), "", 0, 0, 0, 0, false, 0, "", OPCODE, NULL},
    {"opcode 11", SERVER, BYTES("\x8b\1a"), "", 0, 0, 0, 0, false, 0, "", OPCODE, NULL},
    {"opcode 15", SERVER, BYTES("\x8f\1a"), "", 0, 0, 0, 0, false, 0, "", OPCODE, NULL},
    {"a ping in fragments", SERVER, BYTES("\x09\0"), "", 0, 0, 0, 0, false, 0, "",
     "a WebSocket control frame in fragments", NULL},
    {"a ping too long", SERVER, BYTES("\x89\x7e\0\x7e"), "", 0, 0, 0, 0, false, 0, "",
     "a WebSocket control frame longer than 125 bytes", NULL},
    {"a continuation of nothing", SERVER, BYTES("\x80\1a"), "", 0, 0, 0, 0, false, 0, "",
     "a WebSocket continuation of nothing", NULL},
    {"a continuation of what is whole", SERVER, BYTES("\x81\1a\x80\1b"), "T1 a;", 1, 1, 1, 0, false,
     0, "", "a WebSocket continuation of nothing", NULL},
    {"a message within a message", SERVER, BYTES("\x01\1a\x81\1b"), "", 0, 1, 1, 0, false, 0, "",
     "a WebSocket message within another", NULL},
    {"a length of 64 bits", SERVER, BYTES("\x82\x7f\x80\0\0\0\0\0\0\0"), "", 0, 0, 0, 0, false, 0,
     "", "a WebSocket frame longer than may be", NULL},

    {"a client without a mask", CLIENT, BYTES("\x81\1a"), "T1 a;", 1, 1, 1, 0, false, 0, "", NULL,
     NO_MASK},
    {"a server with one", SERVER, BYTES("\x81\x81\1\0\0\0`"), "T1 a;", 1, 1, 1, 0, false, 0, "",
     NULL, "a server's WebSocket frame with a mask"},
    {"two bytes for a small length", SERVER, BYTES("\x81\x7e\0\1a"), "T1 a;", 1, 1, 1, 0, false, 0,
     "", NULL, LONGER},
    {"eight", SERVER, BYTES("\x81\x7f\0\0\0\0\0\0\0\1a"), "T1 a;", 1, 1, 1, 0, false, 0, "", NULL,
     LONGER},
    {"eight for a ping's", SERVER, BYTES("\x89\x7f\0\0\0\0\0\0\0\1a"), "", 0, 0, 0, 1, false, 0, "",
     NULL, LONGER},
    {"eight for the most that two hold", SERVER, BYTES("\x82\x7f\0\0\0\0\0\0\xff\xff"), "", 0, 0, 0,
     0, true, 0, "", NULL, LONGER},
    {"the first thing noted stays", SERVER, BYTES("\x81\x7e\0\1a\x81\x81\0\0\0\0b"), "T1 a;T1 b;",
     2, 2, 2, 0, false, 0, "", NULL, LONGER},
};

enum { KEEP = 8 };

static char told[256];

static void on_message(void *arg, const struct websocket_message *message)
{
    size_t len = strlen(told);

    assert_ptr_equal(arg, told);
    snprintf(told + len, sizeof(told) - len, "%s%s%d%s %.*s;", message->compressed ? "Z" : "",
             message->opcode == WEBSOCKET_TEXT ? "T" : "B", (int)message->len,
             message->truncated ? "..." : "", (int)message->kept.len,
             message->kept.len ? (const char *)message->kept.data : "");
}

static void feed(struct websocket *websocket, struct span rest, size_t most)
{
    struct span piece;

    while (rest.len) {
        span_take(&rest, rest.len < most ? rest.len : most, &piece);
        websocket_feed(websocket, piece);
    }
}

static void check_text(const char *got, const char *want)
{
    if (want)
        assert_string_equal(got, want);
    else
        assert_null(got);
}

static void told_in_pieces_of(size_t most)
{
    static const struct websocket_hooks hooks = {.keep = KEEP, .message = on_message, .arg = told};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct websocket websocket;

        print_message("  %s\n", cases[i].name);
        told[0] = 0;
        websocket_init(&websocket, cases[i].side, true, &hooks);
        feed(&websocket, cases[i].bytes, most);
        assert_string_equal(told, cases[i].told);
        assert_int_equal(websocket.messages, cases[i].messages);
        assert_int_equal(websocket.bytes, cases[i].payload);
        assert_int_equal(websocket.data_frames, cases[i].data_frames);
        assert_int_equal(websocket.control_frames, cases[i].control_frames);
        assert_int_equal(websocket_unfinished(&websocket), cases[i].unfinished);
        check_text(websocket.gave_up, cases[i].gave_up);
        check_text(websocket.noted, cases[i].noted);
        websocket_fini(&websocket);
        assert_int_equal(websocket.close_code, cases[i].close_code);
        assert_true(span_equal(websocket_close_reason(&websocket), span_of_text(cases[i].reason)));
    }
}

static void told_as_a_whole(void **state)
{
    (void)state;
    told_in_pieces_of(SIZE_MAX);
}

static void told_byte_by_byte(void **state)
{
    (void)state;
    told_in_pieces_of(1);
}

static void told_three_by_three(void **state)
{
    (void)state;
    told_in_pieces_of(3);
}

static void not_compressed_unless_agreed(void **state)
{
    struct websocket websocket;

    (void)state;
    websocket_init(&websocket, SERVER, false, NULL);
    websocket_feed(&websocket, BYTES("\x81\1a\xc1\1a"));
    assert_int_equal(websocket.messages, 1);
    assert_string_equal(websocket.gave_up, RESERVED);
    websocket_fini(&websocket);
}

/* A frame of every form of length, with mask; what is kept grows with what came. */
static void every_length(void **state)
{
    static const size_t lens[] = {0, 1, 125, 126, 127, 255, 256, 257, 10000, 65535, 65536, 200000};
    static uint8_t bytes[WEBSOCKET_HEADER_MAX + 200000];
    static const struct websocket_hooks hooks = {.keep = 66000, .message = on_message, .arg = told};

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
        size_t len = lens[i], at = len < 126 ? 2 : len < 65536 ? 4 : 10;
        struct websocket websocket;

        bytes[0] = 0x82;
        bytes[1] = (uint8_t)(0x80 | (len < 126 ? len : len < 65536 ? 126 : 127));
        for (size_t n = 2; n < at; n++)
            bytes[n] = (uint8_t)((uint64_t)len >> (8 * (at - 1 - n)));
        memset(bytes + at, 0, 4);
        told[0] = 0;
        websocket_init(&websocket, CLIENT, false, &hooks);
        feed(&websocket, span_of(bytes, at + 4 + len - (len > 0)), 1000);
        if (len) {
            assert_true(websocket.kept_size <= (len < 66000 ? 2 * len + 256 : 66000));
            assert_int_equal(websocket.messages, 0);
            feed(&websocket, BYTES("x"), 1);
        }
        assert_null(websocket.kept); /* given back with the message */
        assert_int_equal(websocket.messages, 1);
        assert_int_equal(websocket.bytes, len);
        assert_null(websocket.gave_up);
        assert_null(websocket.noted);
        memset(bytes, 'x', WEBSOCKET_HEADER_MAX);
        websocket_fini(&websocket);
    }
}

static void only_counted(void **state)
{
    struct websocket websocket;

    (void)state;
    websocket_init(&websocket, SERVER, false, NULL);
    websocket_feed(&websocket, BYTES("\x81\1a\x01\1b"));
    assert_null(websocket.kept);
    websocket_feed(&websocket, BYTES("\x80\1c"));
    assert_int_equal(websocket.messages, 2);
    assert_int_equal(websocket.bytes, 3);
    websocket_fini(&websocket);
}

static void show_control(void *arg, struct span bytes)
{
    strncat(arg, (const char *)bytes.data, bytes.len);
}

static void shows_control_frames(void **state)
{
    char shown[32] = "";
    const struct websocket_hooks hooks = {.control = show_control, .arg = shown};
    struct websocket websocket;

    (void)state;
    websocket_init(&websocket, CLIENT, false, &hooks);
    feed(&websocket,
         BYTES("\x89\x82"
               "\1\1\1\1"
               "ih"
               "\x81\x81"
               "\0\0\0\0"
               "x"
               "\x88\x84"
               "\0\0\0\0"
               "\3\350ok"),
         1);
    assert_string_equal(shown, "hi\3\350ok");
    assert_int_equal(websocket.messages, 1);
    websocket_fini(&websocket);
}

static const struct {
    const char *value;
    bool want;
} protocols[] = {
    {"websocket", true},      {"WebSocket", true},      {"h2c, websocket", true},
    {"websocket,h2c", true},  {" \twebsocket ,", true}, {",,websocket", true},
    {"websocket/13", false},  {"websockets", false},    {"h2c", false},
    {"connect-udp", false},   {"web socket", false},    {"", false},
    {"\"websocket\"", false}, {"websocket;x", false},
};

static void asked_by_its_protocol(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        print_message("  '%s'\n", protocols[i].value);
        assert_int_equal(websocket_asked(span_of_text(protocols[i].value)), protocols[i].want);
    }
}

static const struct {
    const char *value;
    bool want;
} extensions[] = {
    {"permessage-deflate", true},
    {"Permessage-Deflate; client_max_window_bits=15", true},
    {"permessage-deflate;server_no_context_takeover", true},
    {"x-other; a=1, permessage-deflate ; b", true},
    {"x-other; a=\"1, permessage-deflate\"", false},
    {"x-other; a=\"\\\", permessage-deflate\"", false},
    {"x-other; a=\"\\\"\", permessage-deflate", true},
    {"x-other; permessage-deflate", false},
    {"permessage-deflates", false},
    {"x-webkit-deflate-frame", false},
    {"\"", false},
    {"\"\\", false},
    {"", false},
};

static void deflated_if_agreed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(extensions); i++) {
        print_message("  '%s'\n", extensions[i].value);
        assert_int_equal(websocket_deflates(span_of_text(extensions[i].value)), extensions[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_as_a_whole),      cmocka_unit_test(told_byte_by_byte),
        cmocka_unit_test(told_three_by_three),  cmocka_unit_test(not_compressed_unless_agreed),
        cmocka_unit_test(every_length),         cmocka_unit_test(only_counted),
        cmocka_unit_test(shows_control_frames), cmocka_unit_test(asked_by_its_protocol),
        cmocka_unit_test(deflated_if_agreed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
