/* adopt: what one agent leaves, the next one goes on with: links, maps, listeners and whoever waits
 * at them; and what it left that is of another build, or is rubbish, is replaced without a moment
 * in which a pod is not steered. */
#include "kept.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "proxy/keeper/pins.h"
#include "sallyport.skel.h"

static const struct dial https = {.family = AF_INET, .to = "198.51.100.1", .port = 443};

/* The name of the only set that is pinned. */
static void set_name(char out[PINS_NAME_MAX])
{
    DIR *dir = opendir(fx.bed.pins);

    assert_non_null(dir);
    out[0] = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (!strchr(entry->d_name, '.')) {
            assert_string_equal(out, "");
            snprintf(out, PINS_NAME_MAX, "%.60s", entry->d_name);
        }
    closedir(dir);
}

static uint32_t id_of(const char *set, const char *name)
{
    char path[PATH_MAX + 128];
    struct bpf_link_info info = {0}; /* of maps, too, the second word is the id */
    __u32 len = sizeof(info);
    int fd;

    snprintf(path, sizeof(path), "%s/%s/%s", fx.bed.pins, set, name);
    fd = bpf_obj_get(path);
    assert_true(fd >= 0);
    assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
    close(fd);
    return info.id;
}

/* ---- tests ---- */

static void a_new_agent_goes_on_with_links_maps_and_listeners(void **state)
{
    uint32_t connect4, exec, pods;
    char set[PINS_NAME_MAX], after[PINS_NAME_MAX];
    ino_t listener = inode_of(keeper_net_listeners(fx.net)->stream.v4);
    struct report waiting;
    struct origin origin;
    pid_t keeper = keeper_pid();

    (void)state;
    set_name(set);
    connect4 = id_of(set, "connect4");
    exec = id_of(set, "sched_process_exec");
    pods = id_of(set, "pods");
    kept_end_agent();
    waiting = dial_from_pod(https);
    assert_int_equal(waiting.code, 0);

    kept_begin_agent();
    set_name(after);
    assert_string_equal(after, set);
    assert_int_equal(id_of(set, "connect4"), connect4);
    assert_int_equal(id_of(set, "sched_process_exec"), exec);
    assert_int_equal(id_of(set, "pods"), pods);
    assert_int_equal(keeper_pid(), keeper);
    fx.net = keeper_net_next(fx.keeper, NULL);
    assert_non_null(fx.net);
    assert_null(keeper_net_next(fx.keeper, fx.net));
    assert_int_equal(inode_of(keeper_net_fd(fx.net)), inode_of(fx.bed.pod));
    assert_int_equal(inode_of(keeper_net_listeners(fx.net)->stream.v4), listener);
    assert_true(keeper_net_listeners(fx.net)->raw6 >= 0);
    assert_steered(&https, &waiting, &origin);
    register_pod(false);
    take_over();
    waiting = dial_from_pod(https);
    assert_steered(&https, &waiting, &origin);
}

static void what_was_registered_with_the_one_before_only_is_forgotten(void **state)
{
    const struct abi_own own = {.netns_cookie = keeper_net_cookie(fx.net), .ip = {1, 2, 3}};
    const struct abi_net net = {0};
    const uint64_t stranger = bed_cgroup_id(&fx.bed, "stranger"), nowhere = 1 << 30;
    const struct abi_port old_port = {.pod = bed_cgroup_id(&fx.bed, "pod"), .port = 9999};
    const struct abi_pod pod = {0};
    const uint8_t present = 1;
    struct sallyport_bpf *bpf = keeper_bpf(fx.keeper);
    uint8_t value[64];

    (void)state;
#define PUT(map, key, value)                                                                       \
    assert_int_equal(bpf_map_update_elem(bpf_map__fd(bpf->maps.map), key, value, BPF_ANY), 0)
#define HAS(map, key) (bpf_map_lookup_elem(bpf_map__fd(bpf->maps.map), key, value) == 0)
    PUT(own, &own, &present);
    PUT(nets, &nowhere, &net);
    PUT(pods, &stranger, &pod);
    PUT(ports, &old_port, &present);
    kept_end_agent();
    kept_begin_agent();
    bpf = keeper_bpf(fx.keeper);
    fx.net = keeper_net_next(fx.keeper, NULL);
    assert_false(HAS(own, &own));
    assert_false(HAS(nets, &nowhere));
    assert_true(HAS(pods, &stranger)); /* it may be registered in a moment */
    register_pod(false);
    take_over();
    assert_false(HAS(pods, &stranger));
    assert_false(HAS(ports, &old_port));
    assert_true(HAS(pods, &old_port.pod));
}

/* ---- another build's pins ---- */

/* Connects, again and again, from the pod. Nobody listens at the destination, so what is not
 * steered fails. */
struct dialling {
    pid_t pid;
    volatile struct {
        int stop, connects, failures, failure;
    } * shared;
};

static void dial_all_the_time(const void *arg, struct report *report)
{
    const struct dialling *dialling = arg;

    while (!dialling->shared->stop) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int code = connect_to(fd, https.family, https.to, https.port);

        if (code < 0) {
            dialling->shared->failure = code;
            dialling->shared->failures++;
        }
        dialling->shared->connects++;
        close(fd);
    }
    report->code = 0;
}

static void start_dialling(struct dialling *dialling)
{
    dialling->shared = mmap(NULL, sizeof(*dialling->shared), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(dialling->shared != MAP_FAILED);
    dialling->pid = fork();
    if (dialling->pid == 0) {
        struct report report;

        bed_run(&fx.bed, "pod", fx.bed.pod, dial_all_the_time, dialling, &report);
        _exit(0);
    }
}

static void await_connects(const struct dialling *dialling, int more)
{
    int until = dialling->shared->connects + more;
    uint64_t late = clock_ns() + 10000000000u;

    while (dialling->shared->connects < until && clock_ns() < late) {
        CLEANUP(fd_close) int accepted = accept_within(our_listener(&https), 1);
    }
    assert_true(dialling->shared->connects >= until);
}

static void stop_dialling(struct dialling *dialling)
{
    int status;

    dialling->shared->stop = 1;
    assert_int_equal(waitpid(dialling->pid, &status, 0), dialling->pid);
    print_message("  %d connects meanwhile, %d failed: %s\n", dialling->shared->connects,
                  dialling->shared->failures, strerror(-dialling->shared->failure));
    assert_int_equal(dialling->shared->failures, 0);
    munmap((void *)dialling->shared, sizeof(*dialling->shared));
}

static void rename_set(const char *to)
{
    char from[PATH_MAX + 128], after[PATH_MAX + 128], set[PINS_NAME_MAX];

    set_name(set);
    snprintf(from, sizeof(from), "%s/%s", fx.bed.pins, set);
    snprintf(after, sizeof(after), "%s/%s", fx.bed.pins, to);
    assert_int_equal(rename(from, after), 0);
}

static void unlink_pin(const char *name)
{
    char path[PATH_MAX + 128], set[PINS_NAME_MAX];

    set_name(set);
    snprintf(path, sizeof(path), "%s/%s/%s", fx.bed.pins, set, name);
    assert_int_equal(unlink(path), 0);
}

static void of_another_build(void)
{
    rename_set("abi2-0123456789abcdef-1");
}

static void of_another_abi(void)
{
    rename_set("abi77-0123456789abcdef-1");
}

static void without_a_link(void)
{
    unlink_pin("sendmsg6");
}

static void without_a_map(void)
{
    unlink_pin("own");
}

/* A map where a link should be. */
static void with_something_else(void)
{
    char path[PATH_MAX + 128], set[PINS_NAME_MAX];

    set_name(set);
    unlink_pin("getpeername4");
    snprintf(path, sizeof(path), "%s/%s/getpeername4", fx.bed.pins, set);
    assert_int_equal(bpf_obj_pin(bpf_map__fd(keeper_bpf(fx.keeper)->maps.own), path), 0);
}

static void what_is_not_ours_is_replaced_while_pods_connect(void **state)
{
    static const struct {
        const char *name;
        void (*spoil)(void);
        bool waits; /* what was steered before has its origin in maps that we can read */
    } cases[] = {
        {"a set of another build", of_another_build, true},
        {"a set of another abi", of_another_abi, false},
        {"a set without one of its links", without_a_link, true},
        {"a set without one of its maps", without_a_map, true},
        {"a set with a map in a link's place", with_something_else, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct dialling dialling;
        struct report waiting;
        struct origin origin;

        print_message("  %s\n", cases[i].name);
        waiting = dial_from_pod(https);
        CLEANUP(fd_close) int accepted = accept_within(our_listener(&https), SOON_MS);

        assert_true(accepted >= 0);
        cases[i].spoil();
        kept_end_agent();
        fx.net = NULL;
        kept_begin_agent();
        fx.net = keeper_net_next(fx.keeper, NULL);
        start_dialling(&dialling);
        await_connects(&dialling, 20);
        register_pod(false);
        take_over();
        assert_non_null(keeper_older(fx.keeper, 0));
        assert_int_equal(origin_take_from(keeper_older(fx.keeper, 0)->origins_fd, accepted, &origin,
                                          &fx.err) == 0,
                         cases[i].waits);
        await_connects(&dialling, 20);
        keeper_remove_older(fx.keeper);
        await_connects(&dialling, 20);
        stop_dialling(&dialling);
        assert_int_equal(entries_in(fx.bed.pins), 1);
        for (int late = 0; late >= 0; close(late))
            late = accept_within(our_listener(&https), 0);
        fd_close(&waiting.fd);
    }
}

static void rubbish_is_removed(void **state)
{
    static const char *const names[] = {"new", "what", "abi2-not-a-set"};
    char path[PATH_MAX + 128];

    (void)state;
    kept_end_agent();
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", fx.bed.pins, names[i]);
        assert_int_equal(mkdir(path, 0700), 0);
        strcat(path, "/deeper");
        assert_int_equal(mkdir(path, 0700), 0);
    }
    kept_begin_agent();
    fx.net = keeper_net_next(fx.keeper, NULL);
    register_pod(false);
    take_over();
    assert_int_equal(entries_in(fx.bed.pins), 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        kept_test(a_new_agent_goes_on_with_links_maps_and_listeners),
        kept_test(what_was_registered_with_the_one_before_only_is_forgotten),
        kept_test(what_is_not_ours_is_replaced_while_pods_connect),
        kept_test(rubbish_is_removed),
    };
    int status;

    if (kept_was_keeper(argc, argv, &status))
        return status;
    return cmocka_run_group_tests(tests, kept_set_up, kept_take_down);
}
