#include "proxy/enforce/policies.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"

/* What on_view() was told, and when it shall fail. */
static struct {
    char pods[16]; /* the last letters of names, in order; '-': it goes */
    const struct policy_view *views[16];
    size_t len, fail_at;
} told;

static int note(void *arg, const struct pod *pod, struct policy_view *view, struct err *err)
{
    (void)arg;
    if (told.fail_at && told.len + 1 == told.fail_at) {
        told.fail_at = 0;
        told.len++;
        return err_set(err, -ENOSPC, "no room for %s", pod->name);
    }
    told.pods[told.len] = view ? pod->name[0] : '-';
    told.views[told.len++] = view;
    return 0;
}

static struct policies *begin(void)
{
    struct policies *policies;

    memset(&told, 0, sizeof(told));
    assert_int_equal(policies_new(&policies, NULL), 0);
    policies_on_view(policies, note, NULL);
    return policies;
}

static struct pod *add(struct policies *policies, uint64_t id, const char *name)
{
    struct pod *pod = pod_new(id, "", name, NULL, 0);

    assert_int_equal(policies_add_pod(policies, pod, NULL), 0);
    return pod;
}

static void use(struct policies *policies, uint64_t generation, int want)
{
    struct policy_set *set = policy_set_new(NULL, 0, generation);
    struct err err;

    assert_int_equal(policies_use(policies, set, &err), want);
    policy_set_unref(&set);
}

/* Compared, never followed. */
static const struct policy_view *view_of(struct policies *policies, uint64_t id)
{
    CLEANUP(policy_view_unref) struct policy_view *view = policies_view(policies, id);

    return view;
}

static uint64_t set_of(struct policies *policies)
{
    CLEANUP(policy_set_unref) struct policy_set *set = policies_set(policies);

    return set->generation;
}

static void a_pod_has_a_view_from_its_coming_on(void **state)
{
    CLEANUP(policies_free) struct policies *policies = begin();
    uint64_t before = policies_generation(policies);

    (void)state;
    assert_null(view_of(policies, 1));
    CLEANUP(pod_unref) struct pod *pod = add(policies, 1, "a");

    assert_non_null(view_of(policies, 1));
    assert_string_equal(told.pods, "a");
    assert_ptr_equal(told.views[0], view_of(policies, 1));
    assert_true(policies_generation(policies) != before);
    assert_null(view_of(policies, 2));
}

static void another_set_is_another_view_of_each(void **state)
{
    CLEANUP(policies_free) struct policies *policies = begin();
    CLEANUP(pod_unref) struct pod *a = add(policies, 1, "a"), *b = add(policies, 2, "b");
    CLEANUP(policy_view_unref) struct policy_view *old = policies_view(policies, 1);
    uint64_t before = policies_generation(policies);

    (void)state;
    use(policies, 7, 0);
    assert_true(view_of(policies, 1) != old);
    assert_true(policies_generation(policies) != before);
    assert_int_equal(set_of(policies), 7);
    assert_int_equal(told.len, 4);
}

static void what_cannot_be_told_changes_nothing(void **state)
{
    CLEANUP(policies_free) struct policies *policies = begin();
    CLEANUP(pod_unref) struct pod *a = add(policies, 1, "a"), *b = add(policies, 2, "b");
    const struct policy_view *before[] = {view_of(policies, 1), view_of(policies, 2)};
    uint64_t generation = policies_generation(policies);

    (void)state;
    told.len = 0;
    told.fail_at = 2; /* one pod is told of its new view by then */
    use(policies, 7, -ENOSPC);
    assert_int_equal(told.len, 4); /* and both of the old one again */
    assert_ptr_equal(told.views[2], before[told.pods[2] == 'b']);
    assert_ptr_equal(told.views[3], before[told.pods[3] == 'b']);
    assert_ptr_equal(view_of(policies, 1), before[0]);
    assert_ptr_equal(view_of(policies, 2), before[1]);
    assert_int_equal(set_of(policies), 0);
    assert_int_equal(policies_generation(policies), generation);
}

static void who_cannot_be_told_does_not_come(void **state)
{
    CLEANUP(policies_free) struct policies *policies = begin();
    CLEANUP(pod_unref) struct pod *pod = pod_new(1, "", "a", NULL, 0);
    struct err err;

    (void)state;
    told.fail_at = 1;
    assert_int_equal(policies_add_pod(policies, pod, &err), -ENOSPC);
    assert_null(view_of(policies, 1));
}

static void flows_of_a_pod_that_went_stay_under_policies(void **state)
{
    CLEANUP(policies_free) struct policies *policies = begin();
    struct pod *flow = add(policies, 1, "a"); /* as one holds it */
    const struct policy_view *before = view_of(policies, 1);

    (void)state;
    policies_remove_pod(policies, 1);
    assert_string_equal(told.pods, "a-");
    assert_ptr_equal(view_of(policies, 1), before);
    use(policies, 7, 0);
    assert_non_null(view_of(policies, 1));
    assert_int_equal(told.len, 2); /* but the kernel has nothing to do with it any more */
    pod_unref(&flow);
    use(policies, 8, 0);
    assert_null(view_of(policies, 1));
}

static void a_cgroup_may_be_another_pod_later(void **state)
{
    CLEANUP(policies_free) struct policies *policies = begin();
    CLEANUP(pod_unref) struct pod *flow = add(policies, 1, "a");

    (void)state;
    policies_remove_pod(policies, 1);
    CLEANUP(pod_unref) struct pod *again = add(policies, 1, "b");

    assert_string_equal(told.pods, "a-b");
    assert_ptr_equal(view_of(policies, 1), told.views[2]);
    policies_remove_pod(policies, 1);
    assert_string_equal(told.pods, "a-b-");
}

static void *look_up(void *policies)
{
    while (set_of(policies) != 1000) {
        CLEANUP(policy_view_unref) struct policy_view *view = policies_view(policies, 1);

        assert_non_null(view);
        policies_generation(policies);
    }
    return NULL;
}

static void others_look_up_meanwhile(void **state)
{
    CLEANUP(policies_free) struct policies *policies = begin();
    CLEANUP(pod_unref) struct pod *a = add(policies, 1, "a");
    pthread_t thread;

    (void)state;
    policies_on_view(policies, NULL, NULL);
    assert_int_equal(pthread_create(&thread, NULL, look_up, policies), 0);
    for (uint64_t i = 1; i <= 1000; i++) {
        CLEANUP(pod_unref) struct pod *passing = add(policies, 2 + i % 3, "b");

        policies_remove_pod(policies, passing->cgroup_id);
        use(policies, i, 0);
    }
    pthread_join(thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_has_a_view_from_its_coming_on),
        cmocka_unit_test(another_set_is_another_view_of_each),
        cmocka_unit_test(what_cannot_be_told_changes_nothing),
        cmocka_unit_test(who_cannot_be_told_does_not_come),
        cmocka_unit_test(flows_of_a_pod_that_went_stay_under_policies),
        cmocka_unit_test(a_cgroup_may_be_another_pod_later),
        cmocka_unit_test(others_look_up_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
