/* reply: which connections live on behind a refused request, and that nothing of it is left in
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/flow/relay.h"
#include "proxy/flow/reply.h"

#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define NEXT "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"

static const struct {
    const char *name, *head, *body;
    bool lives;
} cases[] = {
    {"no body", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", true},
    {"a body", POST "Content-Length: 5\r\n\r\n", "hello", true},
    {"an empty one", POST "Content-Length: 0\r\n\r\n", "", true},
    {"the largest", POST "Content-Length: 65536\r\n\r\n", NULL, true},
    {"one that is too large", POST "Content-Length: 65537\r\n\r\n", "", false},
    {"one without an end in sight", POST "Transfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n", false},
    {"one that waits to be asked for", POST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", "",
     false},
    {"the last of its connection", POST "Connection: close\r\nContent-Length: 5\r\n\r\n", "hello",
     false},
    {"HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "", false},
    {"an upgrade", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "",
     false},
    {"CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "", false},
};

static uint8_t buffer[1 << 17];

static void append(struct pipeline *up, struct span bytes)
{
    memcpy(up->data + up->len, bytes.data, bytes.len);
    up->len += bytes.len;
}

/* What stands before it has been allowed, and not gone on yet. */
static void begin(struct relay *relay, size_t i)
{
    static const struct span before = BYTES("before");
    struct facts_field fields[HTTP1_FIELDS_MAX];
    struct facts_request request = {.fields = fields};
    const struct http1_head *head;
    size_t consumed;

    *relay = (struct relay){.request = http1_new(HTTP1_REQUEST), .refused = true};
    relay->up = (struct pipeline){.data = buffer, .size = sizeof(buffer), .in_head = true};
    append(&relay->up, before);
    relay->up.ready = relay->up.parsed = before.len;
    append(&relay->up, span_of_text(cases[i].head));
    assert_int_equal(http1_feed(relay->request, span_of_text(cases[i].head), &consumed),
                     HTTP1_HEAD);
    relay->up.parsed += consumed;
    head = http1_head(relay->request);
    for (; request.fields_len < head->fields_len; request.fields_len++) {
        const struct http1_field *field = &head->fields[request.fields_len];

        fields[request.fields_len] = (struct facts_field){
            .name = span_of(cases[i].head + field->name_at, field->name_len),
            .value = span_of(cases[i].head + field->value_at, field->value_len),
        };
    }
    reply_spare(relay, head, &request);
}

static void lives_on_where_little_is_to_come(void **state)
{
    static const uint8_t zeros[65536];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct span body = cases[i].body ? span_of_text(cases[i].body) : span_of(zeros, 65536);
        struct relay relay;

        print_message("  %s\n", cases[i].name);
        begin(&relay, i);
        assert_int_equal(relay.lives, cases[i].lives);
        for (size_t at = 0; relay.lives && at < body.len; at++) { /* byte by byte */
            assert_true(relay.draining);
            append(&relay.up, span_of(body.data + at, 1));
            if (at + 1 == body.len)
                append(&relay.up, BYTES(NEXT));
            reply_drain(&relay);
        }
        assert_false(relay.draining);
        if (relay.lives && body.len) /* what came before it is there, and what comes behind */
            assert_true(span_equal(span_of(relay.up.data, relay.up.len), BYTES("before" NEXT)));
        http1_free(&relay.request);
    }
}

static void dies_with_its_sender(void **state)
{
    struct relay relay;

    (void)state;
    begin(&relay, 1);
    append(&relay.up, BYTES("hel"));
    relay.up.ended = true;
    reply_drain(&relay);
    assert_false(relay.draining || relay.lives);
    http1_free(&relay.request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lives_on_where_little_is_to_come),
        cmocka_unit_test(dies_with_its_sender),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
