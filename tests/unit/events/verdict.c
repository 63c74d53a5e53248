#include "events/verdict.h"

#include "sample.h"

static char rule[] = "egress[0].toPorts[0]", id[] = "shop/cart";
static const struct policy cart_policy = {.id = id};
static const struct policy_place place = {.rule = rule};

static void a_denial_is_told_whole(void **state)
{
    const struct policy_verdict verdict = {.verdict = VERDICT_DENY,
                                           .mode = POLICY_ENFORCE,
                                           .action = POLICY_SIGKILL,
                                           .policy = &cart_policy,
                                           .place = &place,
                                           .reason = "no rule allows GET /admin"};
    CLEANUP(flow_event_free)
    struct flow_event *event = flow_event_new(FLOW_EVENT_POLICY, NULL, NULL);

    (void)state;
    assert_non_null(event);
    flow_event_set_verdict(event, POLICY_POINT_HTTP, &verdict);
    assert_int_equal(event->verdict, VERDICT_DENY);
    assert_string_equal(event->policy, "shop/cart");
    assert_string_equal(event->rule, "egress[0].toPorts[0]");
    assert_string_equal(event->decision.point, "http");
    assert_string_equal(event->decision.mode, "enforce");
    assert_string_equal(event->decision.action, "sigkill");
    assert_string_equal(event->decision.reason, "no rule allows GET /admin");
    assert_ptr_not_equal(event->policy, id); /* the policy may go before the event */
}

static void what_would_be_done_is_told_of_a_monitor_only(void **state)
{
    static const struct {
        enum verdict verdict;
        enum policy_mode mode;
        const char *action;
    } rows[] = {
        {VERDICT_DENY, POLICY_ENFORCE, "reset"},
        {VERDICT_ALERT, POLICY_MONITOR, "reset"},
        {VERDICT_ALERT, POLICY_ENFORCE, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct policy_verdict verdict = {
            .verdict = rows[i].verdict, .mode = rows[i].mode, .action = POLICY_RESET};
        CLEANUP(flow_event_free)
        struct flow_event *event = flow_event_new(FLOW_EVENT_POLICY, NULL, NULL);

        assert_non_null(event);
        flow_event_set_verdict(event, POLICY_POINT_BODY, &verdict);
        if (rows[i].action)
            assert_string_equal(event->decision.action, rows[i].action);
        else
            assert_null(event->decision.action);
        assert_null(event->policy);
        assert_null(event->decision.reason);
    }
}

/* The same bytes of the union are something else there. */
static void another_event_gets_no_more_than_it_has(void **state)
{
    const struct policy_verdict verdict = {.verdict = VERDICT_ALERT, .policy = &cart_policy};
    CLEANUP(flow_event_free)
    struct flow_event *event = flow_event_new(FLOW_EVENT_DNS, NULL, NULL);

    (void)state;
    assert_non_null(event);
    event->dns.name = "ebpf.io.";
    flow_event_set_verdict(event, POLICY_POINT_DNS, &verdict);
    assert_int_equal(event->verdict, VERDICT_ALERT);
    assert_string_equal(event->policy, "shop/cart");
    assert_string_equal(event->dns.name, "ebpf.io.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_denial_is_told_whole),
        cmocka_unit_test(what_would_be_done_is_told_of_a_monitor_only),
        cmocka_unit_test(another_event_gets_no_more_than_it_has),
    };

    return cmocka_run_group_tests(tests, NULL, sample_forget);
}
