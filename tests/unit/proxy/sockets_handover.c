/* What one agent knows of a socket, the next one tells of it. */
#include "proxy/sockets_handover.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"

static void a_flow_comes_back_as_it_went(void **state)
{
    const struct sockets_flow flow = {
        .cookie = 4711,
        .dst = {{0x20, 1, 0xd, 0xb8, [15] = 0x10}, 443},
        .src_port = 65535,
        .route = ROUTE_PASSTHROUGH,
        .visibility = VISIBILITY_OPAQUE,
        .opaque = OPAQUE_STARTTLS,
        .tx = INT64_MAX,
        .rx = 1,
        .goes_on = true,
        .error = "the server has \"gone\"",
        .refused = "unknown_ca",
    };
    struct sockets_flow back;
    json_t *row = sockets_flow_row(&flow);

    (void)state;
    memset(&back, 0xaa, sizeof(back));
    assert_true(sockets_flow_read(row, &back));
    json_decref(row);
    assert_int_equal(back.cookie, flow.cookie);
    assert_memory_equal(&back.dst, &flow.dst, sizeof(flow.dst));
    assert_int_equal(back.src_port, flow.src_port);
    assert_int_equal(back.route, flow.route);
    assert_int_equal(back.visibility, flow.visibility);
    assert_int_equal(back.opaque, flow.opaque);
    assert_true(back.tx == flow.tx);
    assert_int_equal(back.rx, flow.rx);
    assert_true(back.goes_on);
    assert_string_equal(back.error, flow.error);
    assert_string_equal(back.refused, flow.refused);
}

static void what_another_version_says_is_read_with_care(void **state)
{
#define DST "\"dst\":{\"ip\":\"00000000000000000000ffffcb00710a\",\"port\":443}"
    static const struct {
        const char *name, *row;
        bool good;
    } cases[] = {
        {"only what is needed", "{\"cookie\":1," DST "}", true},
        {"a route that we do not know", "{\"cookie\":1," DST ",\"route\":99}", true},
        {"a refusal that we do not know", "{\"cookie\":1," DST ",\"refused\":\"x\"}", true},
        {"members that we do not know", "{\"cookie\":1," DST ",\"colour\":[1]}", true},
        {"no cookie", "{" DST "}", false},
        {"no address", "{\"cookie\":1}", false},
        {"an address that is none", "{\"cookie\":1,\"dst\":{\"ip\":\"zz\",\"port\":1}}", false},
        {"a port that is none",
         "{\"cookie\":1,\"dst\":{\"ip\":\"00000000000000000000ffffcb00710a\",\"port\":65536}}",
         false},
        {"texts for numbers", "{\"cookie\":\"1\"," DST "}", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sockets_flow flow = {0};
        json_t *row = json_loads(cases[i].row, 0, NULL);

        print_message("  %s\n", cases[i].name);
        assert_non_null(row);
        assert_int_equal(sockets_flow_read(row, &flow), cases[i].good);
        assert_int_equal(flow.route, ROUTE_PROXY);
        json_decref(row);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flow_comes_back_as_it_went),
        cmocka_unit_test(what_another_version_says_is_read_with_care),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
