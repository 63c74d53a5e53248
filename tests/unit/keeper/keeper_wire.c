/* keeper_wire: what was said is understood, and what makes no sense is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "base/cleanup.h"
#include "proxy/keeper/keeper_wire.h"

enum { HEAD = 38 }; /* bytes before the text */

static const struct {
    const char *name;
    struct keeper_message message;
    size_t fds;
} said[] = {
    {"hello", {.verb = KEEPER_HELLO}, 1},
    {"hello, too", {.verb = KEEPER_HELLO, .answer = true}, 0},
    {"keep this one", {.verb = KEEPER_ADD, .cookie = UINT64_MAX}, 1},
    {"its listeners",
     {.verb = KEEPER_ADD,
      .answer = true,
      .cookie = 7,
      .open = 0x3fff,
      .ports = {1, 2, 3, 4, 65535}},
     KEEPER_WIRE_LISTENERS},
    {"no, because",
     {.verb = KEEPER_ADD, .answer = true, .code = -ESTALE, .text = "it is another one"},
     0},
    {"a failure has no descriptors",
     {.verb = KEEPER_NEXT, .answer = true, .code = -ENOENT, .open = 3},
     0},
    {"take over these", {.verb = KEEPER_GIVE, .cookie = 1, .open = 5}, 3},
    {"taken", {.verb = KEEPER_GIVE, .answer = true}, 0},
    {"which is next", {.verb = KEEPER_NEXT, .cookie = 3}, 0},
    {"one without listeners", {.verb = KEEPER_NEXT, .answer = true, .cookie = 4}, 1},
    {"some sockets", {.verb = KEEPER_SOCKETS, .cookie = 4, .kind = 3, .count = 16}, 0},
    {"fewer", {.verb = KEEPER_SOCKETS, .answer = true, .cookie = 4, .kind = 3, .count = 2}, 2},
    {"leave it", {.verb = KEEPER_REMOVE, .cookie = 4}, 0},
    {"end", {.verb = KEEPER_END}, 0},
};

static void assert_same(const struct keeper_message *a, const struct keeper_message *b)
{
    assert_int_equal(a->verb, b->verb);
    assert_int_equal(a->answer, b->answer);
    assert_int_equal(a->code, b->code);
    assert_true(a->cookie == b->cookie);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->open, b->open);
    assert_memory_equal(a->ports, b->ports, sizeof(a->ports));
    assert_string_equal(a->text, b->text);
}

static void what_was_said_is_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
        uint8_t bytes[KEEPER_WIRE_MAX];
        size_t len = keeper_wire_encode(&said[i].message, bytes);
        struct keeper_message heard;

        print_message("  %s\n", said[i].name);
        assert_int_equal(keeper_wire_fds(&said[i].message), said[i].fds);
        assert_true(keeper_wire_decode(span_of(bytes, len), said[i].fds, &heard));
        assert_same(&said[i].message, &heard);
        assert_false(keeper_wire_decode(span_of(bytes, len), said[i].fds + 1, &heard));
        for (size_t cut = 0; cut < HEAD; cut++)
            assert_false(keeper_wire_decode(span_of(bytes, cut), said[i].fds, &heard));
    }
}

static void nonsense_is_not(void **state)
{
    static const struct {
        const char *name;
        size_t at;
        uint8_t byte;
    } cases[] = {
        {"another version", 1, KEEPER_WIRE_VERSION + 1},
        {"no verb", 2, 0},
        {"no such verb", 2, KEEPER_VERBS},
        {"neither question nor answer", 3, 2},
        {"a question that failed", 7, 1},
        {"no errno", 5, 1},
        {"an errno beyond all", 4, 0x80},
        {"more sockets than there can be", 23, KEEPER_WIRE_FDS_MAX + 1},
        {"a listener that we do not know", 25, 1},
        {"a zero inside the text", HEAD, 0},
    };
    const struct keeper_message message = {.verb = KEEPER_SOCKETS, .text = "why"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t bytes[KEEPER_WIRE_MAX];
        size_t len = keeper_wire_encode(&message, bytes);
        struct keeper_message heard;

        print_message("  %s\n", cases[i].name);
        assert_true(keeper_wire_decode(span_of(bytes, len), 0, &heard));
        bytes[cases[i].at] = cases[i].byte;
        for (size_t fds = 0; fds <= KEEPER_WIRE_FDS_MAX; fds++)
            assert_false(keeper_wire_decode(span_of(bytes, len), fds, &heard));
    }
}

static void a_text_has_an_end(void **state)
{
    struct keeper_message message = {.verb = KEEPER_END, .answer = true, .code = -EIO}, heard;
    uint8_t bytes[KEEPER_WIRE_MAX + 1];
    size_t len;

    (void)state;
    memset(message.text, 'x', sizeof(message.text)); /* not even a NUL */
    len = keeper_wire_encode(&message, bytes);
    assert_int_equal(len, HEAD + sizeof(message.text) - 1);
    assert_true(keeper_wire_decode(span_of(bytes, len), 0, &heard));
    assert_int_equal(strlen(heard.text), sizeof(message.text) - 1);
    bytes[len] = 'x';
    assert_false(keeper_wire_decode(span_of(bytes, len + 1), 0, &heard));
}

/* Numbers that are no descriptors do as well. */
static void listeners_keep_their_places(void **state)
{
    struct keeper_message message = {.verb = KEEPER_GIVE};
    struct listeners from = {.stream = {100, -1, 443}, .icmp4 = -1, .icmp6 = -93, .raw6 = 109}, to;
    int *places[KEEPER_WIRE_LISTENERS], *others[KEEPER_WIRE_LISTENERS];
    int fds[KEEPER_WIRE_LISTENERS];

    (void)state;
    from.raw4 = -1;
    for (int i = 0; i < ABI_PEERS; i++)
        from.datagram[i] = (struct listener){101 + 2 * i, 102 + 2 * i, (uint16_t)(1000 + i)};
    assert_int_equal(keeper_wire_put(&message, &from, fds), 2 + 2 * ABI_PEERS);
    assert_int_equal(keeper_wire_fds(&message), 1 + 2 + 2 * ABI_PEERS);
    listeners_init(&to);
    keeper_wire_take(&message, fds, &to);
    keeper_wire_listeners(&from, places);
    keeper_wire_listeners(&to, others);
    for (size_t i = 0; i < KEEPER_WIRE_LISTENERS; i++)
        assert_int_equal(*places[i] < 0 ? -1 : *places[i], *others[i]);
    assert_int_equal(to.stream.port, 443);
    for (int i = 0; i < ABI_PEERS; i++)
        assert_int_equal(to.datagram[i].port, 1000 + i);
    assert_int_equal(fds[0], -1); /* moved */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_said_is_understood),
        cmocka_unit_test(nonsense_is_not),
        cmocka_unit_test(a_text_has_an_end),
        cmocka_unit_test(listeners_keep_their_places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
