/* sockets_older: what nobody told of, met among what is known. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/proxy/sockets_bed.h"

static void meets(uint64_t cookie, uint16_t port, const struct policy_verdict *verdict, bool reset)
{
    struct sockets_older older = {
        .dst = to_port(port),
        .cookie = cookie,
        .tx = 7,
        .tls = cookie == 5 ? 0x0304 : 0,
        .route = ROUTE_DIRECT,
        .visibility = VISIBILITY_PRE_EXISTING,
        .untold = cookie == 7,
        .process = identity_flow_begin(NULL, POD_PROCESS, 0, POD),
        .pod = &pod,
        .verdict = verdict,
        .reset = reset,
    };

    sockets_meet(sockets, &older);
}

static const struct policy_verdict resets = {
    .verdict = VERDICT_DENY,
    .action = POLICY_RESET,
    .policy = &(const struct policy){.id = (char *)"shop/cart"},
    .place = &(const struct policy_place){.rule = (char *)"spec"},
    .reason = "it is old",
};

static void an_older_connection_is_told_once(void **state)
{
    (void)state;
    assert_int_equal(sockets_know(sockets, 1), SOCKETS_NEW);
    meets(1, 80, NULL, false);
    assert_int_equal(sockets_know(sockets, 1), SOCKETS_MET);
    meets(1, 80, NULL, false); /* its pod was registered again */
    expect_told("connect 1 direct pre-existing ebpf.io.\n");
    closes(1, 80, 10, 20, ECONNRESET);
    expect_told("close 1 direct 10/20 pre-existing ebpf.io.: Connection reset by peer\n");
    assert_int_equal(sockets_know(sockets, 1), SOCKETS_NEW);
}

static void an_older_connection_is_reset_once(void **state)
{
    (void)state;
    meets(1, 81, NULL, false);
    meets(1, 81, &resets, true);
    assert_int_equal(sockets_know(sockets, 1), SOCKETS_KNOWN);
    expect_told("connect 1 direct pre-existing\n"
                "policy 1 shop/cart: it is old pre-existing\n");
    closes(1, 81, 10, 20, ECONNABORTED);
    expect_told("close 1 direct 10/20 pre-existing: reset, as it was connected before its pod was "
                "registered\n");
}

static void what_an_agent_before_told_of_ends_here(void **state)
{
    (void)state;
    meets(7, 81, NULL, false);
    expect_told("");
    closes(7, 81, 10, 20, 0);
    expect_told("close 7 direct 10/20 pre-existing\n");
}

static void others_are_known_by_whatever_destination(void **state)
{
    (void)state;
    connects(1, 80);
    connects(1, 443);
    connects(3, 443);
    assert_int_equal(sockets_know(sockets, 1), SOCKETS_KNOWN);
    assert_int_equal(sockets_know(sockets, 2), SOCKETS_NEW);
    assert_int_equal(sockets_know(sockets, 3), SOCKETS_KNOWN);
    told[0] = 0;
}

static void note_row(void *arg, const struct flow_row *row)
{
    char line[64];

    (void)arg;
    snprintf(line, sizeof(line), "%d %s %s %d %s\n", (int)row->cookie, row->state,
             visibility_name(row->visibility), (int)row->tx, row->version ? row->version : "");
    append(line);
}

/* Those that come to us are flows, or will be; datagrams are none. */
static void rows_are_of_open_connections_that_are_no_flows(void **state)
{
    (void)state;
    connects(1, 80);
    connects(2, 443);
    connects(3, 53);
    connects(4, 81);
    closes(4, 81, 0, 0, 0);
    meets(5, 81, NULL, false);
    meets(6, 81, &resets, true);
    told[0] = 0;
    sockets_each_row(sockets, note_row, NULL);
    expect_told("1 open  0 \n5 open pre-existing 7 TLS1.3\n6 reset pre-existing 7 \n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with(an_older_connection_is_told_once),
        with(an_older_connection_is_reset_once),
        with(what_an_agent_before_told_of_ends_here),
        with(others_are_known_by_whatever_destination),
        with(rows_are_of_open_connections_that_are_no_flows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
