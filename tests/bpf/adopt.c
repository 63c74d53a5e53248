/* adopt: what one agent leaves, the next one goes on with: links, maps, listeners and whoever waits
 * at them; and what it left that is of another build, or is rubbish, is replaced without a moment
 * in which a pod is not steered. */
#include "fixture.h"

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
#include "proxy/command/command.h"
#include "proxy/keeper/pins.h"
#include "sallyport.skel.h"

static char runtime_dir[] = "/mnt/run";
static const struct dial https = {.family = AF_INET, .to = "198.51.100.1", .port = 443};

/* ---- agents, as far as they matter here ---- */

static void begin_agent(void)
{
    assert_ok(keeper_new_kept(&fx.keeper, fx.bed.cgroup_fd, fx.bed.pins, runtime_dir, &fx.err));
    assert_ok(pods_new(&fx.pods, keeper_bpf(fx.keeper), &fx.err));
}

static void register_pod(bool open)
{
    const struct pods_settings settings = {
        .ports = pods_default_ports, .ports_len = pods_default_ports_len, .open_when_down = open};
    CLEANUP(pod_unref)
    struct pod *pod = pod_new(bed_cgroup_id(&fx.bed, "pod"), "", "pod", NULL, 0);

    assert_non_null(pod);
    assert_ok(pods_add(fx.pods, pod, &settings, NULL, &fx.err));
}

/* As a killed one: nothing is taken back. */
static void end_agent(void)
{
    assert_true(keeper_leave(fx.keeper, true));
    pods_leave(fx.pods);
    pods_free(&fx.pods);
    keeper_free(&fx.keeper);
}

static void take_over(void)
{
    pods_sweep(fx.pods);
    keeper_disarm_older(fx.keeper);
}

static ino_t inode_of(int fd)
{
    struct stat file;

    assert_int_equal(fstat(fd, &file), 0);
    return file.st_ino;
}

static size_t entries_in(const char *path)
{
    DIR *dir = opendir(path);
    size_t len = 0;

    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        len += !strchr(entry->d_name, '.') || strstr(entry->d_name, ".sock");
    closedir(dir);
    return len;
}

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

static bool is_keeper(const char *pid)
{
    char path[300], line[256] = "";
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, line, sizeof(line) - 1);
    close(fd);
    return n > 17 && memcmp(line, "sallyport\0keeper", 17) == 0 &&
           strncmp(line + 17, runtime_dir, strlen(runtime_dir)) == 0;
}

/* The only one in this directory; 0: none. */
static pid_t keeper_pid(void)
{
    DIR *proc = opendir("/proc");
    pid_t found = 0;

    for (struct dirent *entry; !found && (entry = readdir(proc));)
        if (is_keeper(entry->d_name))
            found = atoi(entry->d_name);
    closedir(proc);
    return found;
}

/* A zombie, which is somebody else's to bury, has no command line. */
static void expect_end(pid_t pid)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", pid);
    for (int i = 0; i < 5 * SOON_MS && is_keeper(text); i++)
        usleep(1000);
    assert_false(is_keeper(text));
}

/* ---- tests ---- */

static int begin(void **state)
{
    (void)state;
    begin_agent();
    assert_ok(keeper_net_add(fx.keeper, &fx.net, fx.bed.pod, 0, &fx.err));
    register_pod(false);
    return 0;
}

/* Of the last agent, whoever it is: with its pod goes everything. */
static int end(void **state)
{
    pid_t keeper = keeper_pid();

    (void)state;
    if (!fx.keeper) /* what failed is told */
        return -1;
    assert_true(keeper > 0);
    assert_ok(pods_remove(fx.pods, bed_cgroup_id(&fx.bed, "pod"), &fx.err));
    assert_false(keeper_leave(fx.keeper, false));
    pods_free(&fx.pods);
    keeper_free(&fx.keeper);
    expect_end(keeper);
    assert_int_equal(entries_in(fx.bed.pins), 0);
    assert_int_equal(entries_in(runtime_dir), 0);
    return 0;
}

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
    end_agent();
    waiting = dial_from_pod(https);
    assert_int_equal(waiting.code, 0);

    begin_agent();
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

static void its_sockets_come_from_the_keeper(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * KEEPER_AHEAD; i++) {
        uint64_t cookie;
        socklen_t len = sizeof(cookie);
        int fd = keeper_socket(fx.keeper, keeper_net_cookie(fx.net), i % 2 ? AF_INET : AF_INET6,
                               SOCK_STREAM, &fx.err);

        assert_true(fd >= 0);
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len), 0);
        assert_int_equal(cookie, keeper_net_cookie(fx.net));
        close(fd);
    }
    assert_int_equal(
        keeper_socket(fx.keeper, keeper_net_cookie(fx.net) + 77, AF_INET, SOCK_STREAM, &fx.err),
        -ENONET);
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
    end_agent();
    begin_agent();
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

/* The keeper's death is seen by nobody: another one gets what the agent has. */
static void a_keeper_that_dies_is_replaced(void **state)
{
    pid_t first = keeper_pid(), second = 0;
    ino_t listener = inode_of(keeper_net_listeners(fx.net)->stream.v4);
    struct report waiting;
    struct origin origin;
    int fd;

    (void)state;
    kill(first, SIGKILL);
    waiting = dial_from_pod(https);
    assert_steered(&https, &waiting, &origin);
    fd = keeper_socket(fx.keeper, keeper_net_cookie(fx.net), AF_INET, SOCK_DGRAM, &fx.err);
    assert_true(fd >= 0);
    close(fd);
    for (int i = 0; i < SOON_MS && (!second || second == first); i++) {
        usleep(1000);
        second = keeper_pid();
    }
    assert_true(second > 0 && second != first);
    /* it has been given all when it answers what is asked behind that */
    fd = keeper_socket(fx.keeper, keeper_net_cookie(fx.net), AF_INET6, SOCK_DGRAM, &fx.err);
    assert_true(fd >= 0);
    close(fd);
    end_agent();
    waiting = dial_from_pod(https);
    begin_agent();
    fx.net = keeper_net_next(fx.keeper, NULL);
    assert_non_null(fx.net);
    assert_int_equal(inode_of(keeper_net_listeners(fx.net)->stream.v4), listener);
    assert_steered(&https, &waiting, &origin);
    register_pod(false);
    take_over();
}

/* Then the agent enters the namespace itself. */
static void a_keeper_may_die_over_a_question(void **state)
{
    pid_t keeper = keeper_pid(), killer;
    struct keeper_net *island;
    int status;

    (void)state;
    kill(keeper, SIGSTOP);
    killer = fork();
    if (killer == 0) {
        usleep(100000);
        kill(keeper, SIGKILL);
        _exit(0);
    }
    assert_ok(keeper_net_add(fx.keeper, &island, fx.bed.island, 0, &fx.err));
    assert_true(keeper_net_listeners(island)->stream.v4 >= 0);
    keeper_net_remove(fx.keeper, &island);
    waitpid(killer, &status, 0);
    for (int i = 0; i < 5 * SOON_MS && keeper_pid() == 0; i++)
        usleep(1000);
}

static void without_both_pods_fail_as_they_are_set(void **state)
{
    CLEANUP(fd_close) int server = serve(fx.bed.world, SOCK_STREAM, AF_INET, https.to, 443);
    struct report report;
    struct origin origin;
    pid_t keeper;

    (void)state;
    for (int open = 0; open < 2; open++) {
        assert_ok(pods_remove(fx.pods, bed_cgroup_id(&fx.bed, "pod"), &fx.err));
        register_pod(open);
        keeper = keeper_pid();
        end_agent();
        kill(keeper, SIGKILL);
        expect_end(keeper);
        report = dial_from_pod(https);
        assert_int_equal(report.code, open ? 0 : -EPERM);
        CLEANUP(fd_close) int direct = accept_within(server, open ? SOON_MS : 0);

        assert_int_equal(direct >= 0, open);
        fd_close(&report.fd);
        begin_agent();
        assert_null(keeper_net_next(fx.keeper, NULL));
        register_pod(open);
        assert_ok(keeper_net_add(fx.keeper, &fx.net, fx.bed.pod, 0, &fx.err));
        take_over();
        report = dial_from_pod(https);
        assert_steered(&https, &report, &origin);
    }
}

static void a_namespace_that_is_left_is_left_by_the_keeper(void **state)
{
    struct keeper_net *island;

    (void)state;
    assert_ok(keeper_net_add(fx.keeper, &island, fx.bed.island, 0, &fx.err));
    keeper_net_remove(fx.keeper, &island);
    end_agent();
    begin_agent();
    fx.net = keeper_net_next(fx.keeper, NULL);
    assert_non_null(fx.net);
    assert_null(keeper_net_next(fx.keeper, fx.net));
    assert_int_equal(inode_of(keeper_net_fd(fx.net)), inode_of(fx.bed.pod));
    register_pod(false);
    take_over();
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
        end_agent();
        fx.net = NULL;
        begin_agent();
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
    end_agent();
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", fx.bed.pins, names[i]);
        assert_int_equal(mkdir(path, 0700), 0);
        strcat(path, "/deeper");
        assert_int_equal(mkdir(path, 0700), 0);
    }
    begin_agent();
    fx.net = keeper_net_next(fx.keeper, NULL);
    register_pod(false);
    take_over();
    assert_int_equal(entries_in(fx.bed.pins), 1);
}

static int set_up_bed(void **state)
{
    (void)state;
    bed_init(&fx.bed);
    return mkdir(runtime_dir, 0700);
}

static int take_down_bed(void **state)
{
    (void)state;
    bed_fini(&fx.bed);
    return 0;
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_new_agent_goes_on_with_links_maps_and_listeners),
        TEST(its_sockets_come_from_the_keeper),
        TEST(what_was_registered_with_the_one_before_only_is_forgotten),
        TEST(a_keeper_that_dies_is_replaced),
        TEST(a_keeper_may_die_over_a_question),
        TEST(without_both_pods_fail_as_they_are_set),
        TEST(a_namespace_that_is_left_is_left_by_the_keeper),
        TEST(what_is_not_ours_is_replaced_while_pods_connect),
        TEST(rubbish_is_removed),
    };

    /* the agent starts the keeper as what it is itself */
    if (argc == 3 && strcmp(argv[1], "keeper") == 0)
        return command_keeper(argc - 1, argv + 1);
    return cmocka_run_group_tests(tests, set_up_bed, take_down_bed);
}
