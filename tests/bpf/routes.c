/* routes: which connections bypass the proxy, by the pod's setting, by rules, and by what is known
 * of the program, as far as the kernel route can be relied on. */
#include "fixture.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bpf/abi.h"
#include "sallyport.skel.h"

static uint64_t pod_id(void)
{
    return bed_cgroup_id(&fx.bed, "pod");
}

static void begin(enum policy_route route, const char *spec)
{
    CLEANUP(policy_view_unref) struct policy_view *view = NULL;
    CLEANUP(pod_unref) struct pod *pod = pod_new(pod_id(), "", "pod", NULL, 0);
    const struct pods_settings settings = {
        .route = route, .ports = pods_default_ports, .ports_len = pods_default_ports_len};
    char text[512];

    assert_non_null(pod);
    snprintf(text, sizeof(text),
             "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: p}\nspec: {%s}\n",
             spec ? spec : "");
    view = spec ? view_of(text) : NULL;
    assert_ok(pods_add(fx.pods, pod, &settings, view, &fx.err));
}

static void set_route(uint32_t can)
{
    uint32_t zero = 0;

    assert_int_equal(
        bpf_map_update_elem(bpf_map__fd(keeper_bpf(fx.keeper)->maps.route), &zero, &can, BPF_ANY),
        0);
}

/* The device of a mount as the kernel has it, which stat() tells otherwise of an overlay. */
static uint32_t device_of(uint64_t mount)
{
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    unsigned major_, minor_;
    unsigned long id;
    char line[4096];

    assert_non_null(mounts);
    while (fgets(line, sizeof(line), mounts))
        if (sscanf(line, "%lu %*u %u:%u", &id, &major_, &minor_) == 3 && id == mount) {
            fclose(mounts);
            return major_ << 20 | minor_;
        }
    fclose(mounts);
    fail_msg("no mount %lu", (unsigned long)mount);
    return 0;
}

/* Of our own file, which is the dialling programs', too. */
static struct abi_program program_of_ours(void)
{
    char path[PATH_MAX]; /* by which it is on a mount of this namespace's */
    struct statx file;

    assert_non_null(realpath("/proc/self/exe", path));
    assert_int_equal(statx(AT_FDCWD, path, 0, STATX_INO | STATX_MNT_ID, &file), 0);
    return (struct abi_program){
        .pod = pod_id(), .inode = file.stx_ino, .device = device_of(file.stx_mnt_id)};
}

static void know_program(uint32_t use)
{
    int fd = bpf_map__fd(keeper_bpf(fx.keeper)->maps.ktls_programs);
    struct abi_program key = program_of_ours();

    if (use)
        assert_int_equal(bpf_map_update_elem(fd, &key, &use, BPF_ANY), 0);
    else
        bpf_map_delete_elem(fd, &key);
}

/* A connection that has come is with the server that it asked for, or with us. */
static bool bypasses(uint16_t port)
{
    CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_STREAM, AF_INET, "198.51.100.1", port);
    struct dial dial = {.family = AF_INET, .to = "198.51.100.1", .port = port};
    struct report report = dial_from_pod(dial);
    CLEANUP(fd_close) int direct = accept_within(server, 0);
    CLEANUP(fd_close) int ours = direct < 0 ? accept_within(our_listener(&dial), SOON_MS) : -1;

    fd_close(&report.fd);
    assert_true(direct >= 0 || ours >= 0);
    return direct >= 0;
}

enum { PLAIN = ABI_ROUTE_PLAIN, KTLS = ABI_ROUTE_KTLS, SURE = ABI_ROUTE_SURE };
enum { KNOWN = ABI_PROGRAM_BYPASSES, HTTP2 = ABI_PROGRAM_BYPASSES | ABI_PROGRAM_HTTP2 };
#define RULES   "egress: [{toCIDR: [0.0.0.0/0], toPorts: [{rules: {http: [{method: GET}]}}]}]"
#define ALL     "egress: [{toCIDR: [0.0.0.0/0]}]"
#define BODIES  ALL ", inspect: {tokens: deny}"
#define ANOTHER "matchBinaries: [{operator: In, values: [/none]}], "

static void takes_the_route_that_it_shall(void **state)
{
    static const struct {
        const char *name;
        enum policy_route setting;
        uint32_t can;
        uint32_t known;   /* enum abi_program_use; 0: it is not */
        const char *spec; /* NULL: no policy */
        bool want;
    } cases[] = {
        {"by itself, of a program that nobody knows", POLICY_ROUTE_AUTO, PLAIN | KTLS, 0, NULL,
         false},
        {"... that uses kTLS", POLICY_ROUTE_AUTO, PLAIN | KTLS, KNOWN, NULL, true},
        {"... which cannot be read", POLICY_ROUTE_AUTO, PLAIN, KNOWN, NULL, false},
        {"... without a kernel route", POLICY_ROUTE_AUTO, 0, KNOWN, NULL, false},
        {"... of a pod for the proxy", POLICY_ROUTE_PROXY, PLAIN | KTLS, KNOWN, NULL, false},
        {"... of one that is passed on", POLICY_ROUTE_PASSTHROUGH, PLAIN | KTLS, KNOWN, NULL,
         false},
        {"a pod for the kernel", POLICY_ROUTE_KERNEL, PLAIN, 0, NULL, true},
        {"... without a kernel route", POLICY_ROUTE_KERNEL, 0, 0, NULL, false},
        {"a policy that does not mind", POLICY_ROUTE_AUTO, PLAIN | KTLS, KNOWN, ALL, true},
        {"... that enforces rules, which could be raced", POLICY_ROUTE_AUTO, PLAIN | KTLS, KNOWN,
         RULES, false},
        {"... which could not", POLICY_ROUTE_AUTO, PLAIN | KTLS | SURE, KNOWN, RULES, true},
        {"... of a program that nobody knows", POLICY_ROUTE_AUTO, PLAIN | KTLS | SURE, 0, RULES,
         false},
        {"... that speaks HTTP/2", POLICY_ROUTE_AUTO, PLAIN | KTLS | SURE, HTTP2, RULES, false},
        {"HTTP/2, of which nothing is judged", POLICY_ROUTE_AUTO, PLAIN | KTLS | SURE, HTTP2, ALL,
         true},
        {"... that enforces what only the proxy can", POLICY_ROUTE_AUTO, PLAIN | KTLS | SURE, KNOWN,
         BODIES, false},
        {"rules, of a pod for the kernel", POLICY_ROUTE_KERNEL, PLAIN, 0, RULES, true},
        {"what only the proxy can, of such a pod", POLICY_ROUTE_KERNEL, PLAIN, 0, BODIES, true},
        {"a policy for the kernel", POLICY_ROUTE_AUTO, PLAIN, 0, "route: kernel, " RULES, true},
        {"... of a pod for the proxy", POLICY_ROUTE_PROXY, PLAIN, 0, "route: kernel, " ALL, true},
        {"... without a kernel route", POLICY_ROUTE_AUTO, 0, 0, "route: kernel, " ALL, false},
        {"... for another program", POLICY_ROUTE_AUTO, PLAIN, 0, ANOTHER "route: kernel, " ALL,
         false},
        {"a policy for the proxy", POLICY_ROUTE_KERNEL, PLAIN | KTLS | SURE, KNOWN,
         "route: proxy, " ALL, false},
        {"a policy that passes on", POLICY_ROUTE_KERNEL, PLAIN | KTLS | SURE, KNOWN,
         "route: passthrough, " ALL, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("  %s\n", cases[i].name);
        set_route(cases[i].can);
        know_program(cases[i].known);
        begin(cases[i].setting, cases[i].spec);
        assert_int_equal(bypasses(443), cases[i].want);
        unregister(NULL);
    }
    set_route(0);
    know_program(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_route_that_it_shall),
    };

    return cmocka_run_group_tests(tests, set_up, take_down);
}
