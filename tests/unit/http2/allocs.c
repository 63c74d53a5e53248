/* allocs: memory of the HTTP/2 relay that runs out at every point where it is asked for. Whatever
 * happens to a stream then, both sides know it, nothing with a hole in it looks whole, and nothing
 * is left behind. nghttp2's own allocations are not among them. */
#include "tests/unit/failing.h"
#include "tests/unit/http2/peers.h"

enum { UP = 3000, DOWN = 5000, STREAMS = 3 };

/* Three calls at once; one of them refused. False: it did not even begin. */
static bool talk(struct peers *peers)
{
    if (http2_new(&peers->http2, &peers_hooks, peers) < 0)
        return false;
    peer_begin(peers, HTTP2_POD);
    peer_begin(peers, HTTP2_UPSTREAM);
    for (enum http2_side side = 0; side < HTTP2_SIDES; side++)
        nghttp2_submit_settings(peers->peer[side].ng, NGHTTP2_FLAG_NONE, NULL, 0);
    pump(peers);
    for (unsigned i = 0; i < STREAMS; i++) {
        int32_t id = ask(peers, i == 1 ? "/denied" : "/a.B/C", true, true);

        more(peers, HTTP2_POD, id, UP);
        end(peers, HTTP2_POD, id, true);
    }
    pump(peers);
    for (int32_t id = 1; id < 2 * STREAMS; id += 2) {
        if (!upstream_heard(peers, id)->asked || upstream_heard(peers, id)->closed)
            continue;
        answer(peers, id, "103", false);
        answer(peers, id, "200", true);
        more(peers, HTTP2_UPSTREAM, id, DOWN);
        end(peers, HTTP2_UPSTREAM, id, true);
    }
    pump(peers);
    return true;
}

static void check(struct peers *peers, bool refused)
{
    unsigned whole = 0;

    assert_null(http2_fault(peers->http2));
    assert_int_equal(http2_open(peers->http2), 0);
    for (int32_t id = 1; id < 2 * STREAMS; id += 2) {
        const struct heard *heard = pod_heard(peers, id);

        assert_true(heard->closed);
        if (heard->closed_code || !heard->bytes)
            continue;
        assert_true(heard->bytes == DOWN && heard->trailers);
        whole++;
    }
    for (int32_t id = 1; id < 2 * STREAMS; id += 2) {
        const struct heard *heard = upstream_heard(peers, id);

        if (heard->asked && heard->end)
            assert_true(heard->bytes == UP && heard->trailers);
    }
    /* one stream, or the one that was refused anyway */
    assert_in_range(whole, refused ? STREAMS - 2 : STREAMS - 1, STREAMS - 1);
}

static void memory_that_runs_out_costs_a_stream(void **state)
{
    static struct peers peers;
    unsigned long n = 1;
    bool refused = true;

    (void)state;
    for (; refused; n++) {
        bool began;

        memset(&peers, 0, sizeof(peers));
        peers.now_ns = 1ull << 40;
        failing_begin(FAILING_TEST, n, 1);
        failing_kind = FAILING_TEST;
        began = talk(&peers);
        failing_kind = FAILING_NOBODY;
        refused = failing_end();
        if (began && !peers.requests) /* who was refused is not asked about */
            fail_msg("nothing was asked at %lu", n);
        if (began)
            check(&peers, refused);
        http2_free(&peers.http2);
        assert_int_equal(peers.room, 0);
        assert_int_equal(peers.closed, peers.requests);
        for (enum http2_side side = 0; side < HTTP2_SIDES; side++)
            nghttp2_session_del(peers.peer[side].ng);
    }
    print_message("  %lu allocations\n", n - 2);
    assert_true(n > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_that_runs_out_costs_a_stream),
    };

    return failing_init() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
