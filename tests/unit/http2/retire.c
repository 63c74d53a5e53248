/* retire: an agent that ends asks its pods to go on elsewhere (RFC 9113 section 6.8). */
#include "tests/unit/http2/peers.h"

static void a_pod_that_is_retired_ends_what_it_has_begun(void **state)
{
    struct peers *peers = peers_new(NULL, 0);
    struct peer *pod = &peers->peer[HTTP2_POD];
    int32_t early = ask(peers, "/", false, true), late;

    (void)state;
    pump(peers);
    http2_retire(peers->http2);
    late = ask(peers, "/", false, false); /* it does not know yet */
    pump(peers);
    assert_true(pod->goaways == 1 && pod->last == INT32_MAX);
    answer(peers, late, "200", false);
    pump(peers);
    assert_int_equal(pod_heard(peers, late)->code, 200);
    http2_retire(peers->http2);
    http2_retire(peers->http2);
    pump(peers);
    assert_true(pod->goaways == 2 && pod->last == late);
    assert_false(http2_finished(peers->http2, HTTP2_POD));
    end(peers, HTTP2_POD, early, false);
    answer(peers, early, "200", false);
    pump(peers);
    assert_true(pod_heard(peers, early)->code == 200 && !pod_heard(peers, early)->closed_code);
    assert_true(http2_finished(peers->http2, HTTP2_POD));
    assert_null(http2_fault(peers->http2));
    peers_free(peers);
}

/* It may be on its way when the second GOAWAY is, and be asked again elsewhere. */
static void what_a_retired_pod_begins_too_late_is_not_looked_at(void **state)
{
    struct peers *peers = peers_new(NULL, 0);
    struct peer *pod = &peers->peer[HTTP2_POD];
    uint8_t out[HTTP2_PULL_MIN];
    size_t n;
    int32_t late;

    (void)state;
    http2_retire(peers->http2);
    n = http2_pull(peers->http2, HTTP2_POD, out, sizeof(out));
    assert_false(http2_finished(peers->http2, HTTP2_POD));
    http2_retire(peers->http2);
    n += http2_pull(peers->http2, HTTP2_POD, out + n, sizeof(out) - n);
    late = ask(peers, "/", false, true);
    more(peers, HTTP2_POD, late, 100);
    feed(peers, HTTP2_POD);
    assert_int_equal(peers->requests, 0);
    assert_true(http2_finished(peers->http2, HTTP2_POD));
    nghttp2_session_mem_recv(pod->ng, out, n);
    assert_true(pod->goaways == 2 && pod->last == 0);
    assert_int_equal(pod_heard(peers, late)->closed_code, NGHTTP2_REFUSED_STREAM);
    assert_null(http2_fault(peers->http2));
    peers_free(peers);
}

static const struct {
    const char *name;
    const char *steps; /* U: upstream says it; R: we do; P: it gets there */
    unsigned want;
} crossings[] = {
    {"upstream's came before", "UPRPRP", 1},
    {"upstream's goes out instead of the notice", "URPRP", 1},
    {"upstream's goes out with the notice", "RUPRP", 2},
    {"upstream's comes after the notice", "RPUPRP", 2},
};

static void take_step(struct peers *peers, char step, int32_t last)
{
    switch (step) {
    case 'U':
        nghttp2_submit_goaway(peers->peer[HTTP2_UPSTREAM].ng, 0, last, NGHTTP2_ENHANCE_YOUR_CALM,
                              NULL, 0);
        feed(peers, HTTP2_UPSTREAM);
        break;
    case 'R':
        http2_retire(peers->http2);
        break;
    default:
        pump(peers);
        break;
    }
}

static void our_goaway_and_upstreams_are_not_at_odds(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(crossings); i++) {
        struct peers *peers = peers_new(NULL, 0);
        struct peer *pod = &peers->peer[HTTP2_POD];
        int32_t id = ask(peers, "/", false, false);

        print_message("  %s\n", crossings[i].name);
        pump(peers);
        for (const char *step = crossings[i].steps; *step; step++)
            take_step(peers, *step, id);
        assert_int_equal(pod->goaways, crossings[i].want);
        assert_true(pod->last == id && pod->goaway_code == NGHTTP2_ENHANCE_YOUR_CALM);
        answer(peers, id, "200", false);
        pump(peers);
        assert_int_equal(pod_heard(peers, id)->code, 200);
        assert_true(http2_finished(peers->http2, HTTP2_POD));
        assert_null(http2_fault(peers->http2));
        peers_free(peers);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_that_is_retired_ends_what_it_has_begun),
        cmocka_unit_test(what_a_retired_pod_begins_too_late_is_not_looked_at),
        cmocka_unit_test(our_goaway_and_upstreams_are_not_at_odds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
