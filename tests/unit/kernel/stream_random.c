/* Whatever a stream of the kernel route is told, in whatever order: nothing breaks, and it ends. */
#include "tests/unit/kernel/hearing.h"

static const char rules[] = POLICY(
    "p", "  egress: [{toCIDR: [203.0.113.0/24], toPorts: [{rules: {http: [{path: /fine}]}}]}]\n");

static void anything_may_be_said(void **state)
{
    static const struct span scraps[] = {
        BYTES(GET("/a")),
        BYTES(GET("/b") GET("/c")),
        BYTES("HEAD /h " KEEPS "\r\n"),
        BYTES("POST /p " KEEPS "Content-Length: 30\r\n\r\n"),
        BYTES("POST /c " KEEPS "Transfer-Encoding: chunked\r\n\r\n"),
        BYTES("5\r\nhello\r\n"),
        BYTES("0\r\n\r\n"),
        BYTES("GET /ws " KEEPS "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
        BYTES("CONNECT b.example:80 HTTP/1.1\r\nHost: b.example:80\r\n\r\n"),
        BYTES(FINE("0", "")),
        BYTES(FINE("20", "")),
        BYTES("HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
              "Sec-WebSocket-Accept: x\r\n\r\n"),
        BYTES("HTTP/1.1 200 OK\r\n\r\n"),
        BYTES("HTTP/1.1 100 Continue\r\n\r\n"),
        BYTES("0123456789"),
        BYTES("\x81\2hi\x88\0"),
        BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
        BYTES("\0\0\0\4\0\0\0\0\0"),
        BYTES("\0\0\3\1\5\0\0\0\1\x82\x86\x84"),
        BYTES("\0\0\1\1\5\0\0\0\1\x88"),
        BYTES("\0\0\x20\0\1\0\0\0\1"),
        BYTES("\x16\3\1\0\4\1\0\0\0"),
        BYTES("\x17\3\3\0\4abcd"),
    };
    static const uint8_t flags[] = {0,
                                    0,
                                    0,
                                    ABI_SAID_BEGINS,
                                    ABI_SAID_BEGINS,
                                    ABI_SAID_KTLS,
                                    ABI_SAID_RECORDS,
                                    ABI_SAID_UNSEEN};
    unsigned seed = 1;

    (void)state;
    for (unsigned i = 0; i < 4000; i++) {
        unsigned pieces = (unsigned)rand_r(&seed) % 20;

        policed_use(i % 3 ? NULL : rules);
        hearing_opens(i % 5 == 0, false);
        while (pieces--) {
            struct piece piece = {
                .direction = (unsigned)rand_r(&seed) % 2,
                .bytes = scraps[(unsigned)rand_r(&seed) % ARRAY_SIZE(scraps)],
                .flags = flags[(unsigned)rand_r(&seed) % ARRAY_SIZE(flags)],
                .denied = rand_r(&seed) % 8 == 0,
                .skipped = rand_r(&seed) % 6 ? 0 : (unsigned)rand_r(&seed) % 40,
                .lost = rand_r(&seed) % 10 ? 0 : (unsigned)rand_r(&seed) % 40,
                .keys = rand_r(&seed) % 20 ? 0 : 0x0304,
            };

            if (rand_r(&seed) % 3 == 0)
                piece.bytes.len = 1 + (unsigned)rand_r(&seed) % piece.bytes.len;
            hears(&piece);
        }
        hearing_ended = (enum stream_ended)((unsigned)rand_r(&seed) % STREAM_ENDED_MAX);
        hearing_closes();
        assert_non_null(strstr(heard, "closed"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(anything_may_be_said, hearing_begin, hearing_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
