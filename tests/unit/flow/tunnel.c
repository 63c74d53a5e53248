/* tunnel: whom a CONNECT asks to be led to is read as its proxy reads it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/flow/tunnel.h"
#include "proxy/wire/http1.h"

static const struct {
    const char *name, *head, *host;
    uint16_t port;
} cases[] = {
    {"a name", "CONNECT origin.test:443 HTTP/1.1\r\nHost: other.test\r\n\r\n", "origin.test", 443},
    {"in capitals, with its dot", "CONNECT Origin.TEST.:8443 HTTP/1.0\r\n\r\n", "origin.test",
     8443},
    {"IPv4", "CONNECT 203.0.113.10:1 HTTP/1.1\r\nHost: a\r\n\r\n", "203.0.113.10", 1},
    {"IPv6", "CONNECT [2001:db8::1]:65535 HTTP/1.1\r\nHost: a\r\n\r\n", "2001:db8::1", 65535},
    {"zeros before the port", "CONNECT a:00443 HTTP/1.1\r\nHost: a\r\n\r\n", "a", 443},
};

static void reads_whom_it_leads_to(void **state)
{
    struct tunnel tunnel = {.host = "of the one before", .port = 7, .requests = 3};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(http1_free) struct http1 *http1 = http1_new(HTTP1_REQUEST);
        size_t consumed;

        print_message("  %s\n", cases[i].name);
        assert_int_equal(http1_feed(http1, span_of_text(cases[i].head), &consumed), HTTP1_HEAD);
        tunnel_asked(&tunnel, http1_head(http1), (const uint8_t *)cases[i].head);
        assert_string_equal(tunnel.host, cases[i].host);
        assert_int_equal(tunnel.port, cases[i].port);
        assert_int_equal(tunnel.requests, 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_whom_it_leads_to),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
