/* views: what a pod's policies say of its ports and of an agent that is down is what the kernel is
 * told, from its coming on and with each change. */
#include "fixture.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "bpf/abi.h"
#include "sallyport.skel.h"

#define POLICY(spec)                                                                               \
    "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: p}\nspec: {" spec "}\n"
#define ANYWHERE "toCIDR: [0.0.0.0/0]"
#define RULES    "rules: {http: [{method: GET}]}"

static uint64_t pod_id(void)
{
    return bed_cgroup_id(&fx.bed, "pod");
}

static uint32_t flags(void)
{
    struct abi_pod told = {0};
    uint64_t id = pod_id();

    assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(keeper_bpf(fx.keeper)->maps.pods), &id, &told),
                     0);
    return told.flags;
}

static bool is_steered(uint16_t port)
{
    struct abi_port key = {.pod = pod_id(), .port = port};
    uint8_t present;

    return bpf_map_lookup_elem(bpf_map__fd(keeper_bpf(fx.keeper)->maps.ports), &key, &present) == 0;
}

static void use(const char *text)
{
    CLEANUP(policy_view_unref) struct policy_view *view = text ? view_of(text) : NULL;

    assert_ok(pods_use_view(fx.pods, pod_id(), view, &fx.err));
}

static void ports_of_rules_are_steered_while_they_are_in_force(void **state)
{
    (void)state;
    assert_true(is_steered(443));
    assert_false(is_steered(5000));
    use(POLICY("egress: [{" ANYWHERE ", toPorts: [{ports: [{port: \"5000\"}], " RULES "}]}]"));
    assert_true(is_steered(443));
    assert_true(is_steered(5000));
    assert_int_equal(flags() & ABI_POD_ALL_PORTS, 0);
    use(POLICY("egress: [{" ANYWHERE
               ", toPorts: [{ports: [{port: \"5001\"}, {port: \"443\"}], " RULES "}]}]"));
    assert_true(is_steered(443));
    assert_false(is_steered(5000));
    assert_true(is_steered(5001));
    use(NULL);
    assert_true(is_steered(443));
    assert_false(is_steered(5001));
}

static void rules_for_every_port_steer_all(void **state)
{
    (void)state;
    use(POLICY("egress: [{" ANYWHERE ", toPorts: [{" RULES "}]}]"));
    assert_true(flags() & ABI_POD_ALL_PORTS);
    use(NULL);
    assert_int_equal(flags() & ABI_POD_ALL_PORTS, 0);
    assert_true(is_steered(443));
}

/* Of pods that are none, one after the other. */
static struct abi_port port_of_others(uint32_t i)
{
    return (struct abi_port){.pod = 1 + i / 60000, .port = (uint16_t)(i % 60000)};
}

static void where_there_is_no_room_for_ports_all_are_steered(void **state)
{
    int map = bpf_map__fd(keeper_bpf(fx.keeper)->maps.ports);
    struct abi_port key = port_of_others(0);
    uint8_t present = 1;
    uint32_t taken = 0;

    (void)state;
    while (bpf_map_update_elem(map, &key, &present, BPF_ANY) == 0)
        key = port_of_others(++taken);
    use(POLICY("egress: [{" ANYWHERE ", toPorts: [{ports: [{port: \"5000\"}], " RULES "}]}]"));
    assert_true(flags() & ABI_POD_ALL_PORTS);
    while (taken--) {
        key = port_of_others(taken);
        bpf_map_delete_elem(map, &key);
    }
    use(NULL);
    assert_int_equal(flags() & ABI_POD_ALL_PORTS, 0);
    assert_true(is_steered(443));
}

static void what_a_policy_says_of_an_agent_that_is_down_counts(void **state)
{
    (void)state;
    use(POLICY("onAgentDown: open, egress: []"));
    assert_true(flags() & ABI_POD_OPEN);
    use(POLICY("egress: []"));
    assert_int_equal(flags() & ABI_POD_OPEN, 0);
}

static void closed_wins_over_what_the_pod_wants(void **state)
{
    (void)state;
    assert_true(flags() & ABI_POD_OPEN);
    use(POLICY("onAgentDown: closed, egress: []"));
    assert_int_equal(flags() & ABI_POD_OPEN, 0);
    use(NULL);
    assert_true(flags() & ABI_POD_OPEN);
}

static void a_pod_comes_with_its_policies(void **state)
{
    static const uint16_t ports[] = {443};
    static const struct pods_settings settings = {.ports = ports, .ports_len = 1};
    CLEANUP(policy_view_unref)
    struct policy_view *view =
        view_of(POLICY("onAgentDown: open, egress: [{" ANYWHERE
                       ", toPorts: [{ports: [{port: \"5000\"}], " RULES "}]}]"));
    CLEANUP(pod_unref) struct pod *pod = pod_new(pod_id(), "", "pod", NULL, 0);

    (void)state;
    assert_ok(pods_remove(fx.pods, pod_id(), &fx.err));
    assert_ok(pods_add(fx.pods, pod, &settings, view, &fx.err));
    assert_true(is_steered(443));
    assert_true(is_steered(5000));
    assert_true(flags() & ABI_POD_OPEN);
    assert_ok(pods_remove(fx.pods, pod_id(), &fx.err));
    assert_false(is_steered(443));
    assert_false(is_steered(5000));
    assert_ok(pods_add(fx.pods, pod, &settings, NULL, &fx.err));
    assert_false(is_steered(5000));
}

int main(void)
{
#define TEST(name, registered) cmocka_unit_test_setup_teardown(name, registered, unregister)
    const struct CMUnitTest tests[] = {
        TEST(ports_of_rules_are_steered_while_they_are_in_force, register_default),
        TEST(rules_for_every_port_steer_all, register_default),
        TEST(where_there_is_no_room_for_ports_all_are_steered, register_default),
        TEST(what_a_policy_says_of_an_agent_that_is_down_counts, register_default),
        TEST(closed_wins_over_what_the_pod_wants, register_open),
        TEST(a_pod_comes_with_its_policies, register_default),
    };

    return cmocka_run_group_tests(tests, set_up, take_down);
}
