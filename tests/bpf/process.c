/* process: what bpf/process.bpf.c tells of the processes of a registered cgroup, and that it
 * is silent about all others. Root, and cgroups of its own; attaches nothing but the three
 * tracepoints. */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "sallyport.skel.h"
#include "watch.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

enum { NOBODY = 65534 };

static struct watch watch;
static struct watch_texts texts;
/* Runs the work in a child inside the cgroup and reads what was told meanwhile. Returns its pid. */
static pid_t run(const char *cgroup, void (*work)(void), int *status)
{
    pid_t pid = watch_run(&watch, cgroup, work, status);

    watch_look(&watch);
    return pid;
}

/* ---- exec --------------------------------------------------------------------------------------
 */

static char long_argument[3001];

static void exec_awk(void)
{
    if (chdir("/usr/share") || setgid(NOBODY) || setuid(NOBODY))
        _exit(122);
    execl("/usr/bin/awk", "awk", "BEGIN { exit 3 }", "", long_argument, NULL);
}

static uint32_t own_namespace(const char *name)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
    assert_int_equal(stat(path, &st), 0);
    return (uint32_t)st.st_ino;
}

static uint64_t own_netns_cookie(void)
{
    CLEANUP(fd_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint64_t cookie = 0;
    socklen_t len = sizeof(cookie);

    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len), 0);
    return cookie;
}

static void exec_tells_the_image_and_its_words(void **state)
{
    char real[PATH_MAX];
    const struct abi_process *record;
    pid_t pid;
    int status;

    (void)state;
    memset(long_argument, 'x', sizeof(long_argument) - 1);
    pid = run("/pod", exec_awk, &status);
    assert_int_equal(WEXITSTATUS(status), 3);
    record = watch_find(&watch, ABI_PROCESS_EXEC, pid);
    assert_non_null(record);
    watch_read_texts(record, &texts);
    assert_string_equal(texts.path.data, realpath("/usr/bin/awk", real));
    assert_string_equal(texts.cwd.data, "/usr/share");
    assert_string_equal(texts.file.data, "/usr/bin/awk");
    assert_int_equal(record->flags, 0);
    assert_int_equal(texts.args.len,
                     sizeof("awk") + sizeof("BEGIN { exit 3 }") + 1 + sizeof(long_argument));
    assert_memory_equal(texts.args.data, "awk\0BEGIN { exit 3 }\0\0xxx", 25);
    assert_memory_equal(texts.args.data + texts.args.len - sizeof(long_argument), long_argument,
                        sizeof(long_argument));
}

static void exec_tells_who_and_where(void **state)
{
    struct timespec now;
    const struct abi_process *record;
    uint64_t now_ns;
    pid_t pid;

    (void)state;
    pid = run("/pod", exec_awk, NULL);
    record = watch_find(&watch, ABI_PROCESS_EXEC, pid);
    assert_non_null(record);
    if (own_namespace("pid") == 0xeffffffc) { /* the initial one: pids are the kernel's */
        assert_int_equal(record->pid, pid);
        assert_int_equal(record->ppid, getpid());
    }
    assert_int_equal(record->uid, NOBODY);
    assert_int_equal(record->euid, NOBODY);
    assert_int_equal(record->gid, NOBODY);
    assert_int_equal(record->cap_permitted, 0);
    assert_int_equal(record->cap_effective, 0);
    assert_int_equal(record->pod, watch_cgroup_id(&watch, "/pod"));
    assert_int_equal(record->cgroup, watch_cgroup_id(&watch, "/pod"));
    assert_int_equal(record->netns_cookie, own_netns_cookie());
    assert_int_equal(record->ns_uts, own_namespace("uts"));
    assert_int_equal(record->ns_ipc, own_namespace("ipc"));
    assert_int_equal(record->ns_mnt, own_namespace("mnt"));
    assert_int_equal(record->ns_pid, own_namespace("pid"));
    assert_int_equal(record->ns_net, own_namespace("net"));
    assert_int_equal(record->ns_cgroup, own_namespace("cgroup"));
    assert_int_equal(record->ns_user, own_namespace("user"));
    assert_int_equal(record->ns_time, own_namespace("time"));
    clock_gettime(CLOCK_BOOTTIME, &now);
    now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    assert_true(record->parent_start_ns < record->start_ns);
    assert_true(record->start_ns < record->time_ns);
    assert_true(record->time_ns < now_ns);
}

static void exec_true_as_root(void)
{
    execl("/bin/true", "true", NULL);
}

static void exec_tells_capabilities(void **state)
{
    uint64_t permitted = 0, effective = 0;
    const struct abi_process *record;
    char line[256];
    FILE *file = fopen("/proc/self/status", "re");
    pid_t pid;

    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        if (!strncmp(line, "CapPrm:", 7))
            permitted = strtoull(line + 7, NULL, 16);
        if (!strncmp(line, "CapEff:", 7))
            effective = strtoull(line + 7, NULL, 16);
    }
    fclose(file);
    pid = run("/pod", exec_true_as_root, NULL);
    record = watch_find(&watch, ABI_PROCESS_EXEC, pid);
    assert_non_null(record);
    assert_true(permitted != 0);
    assert_int_equal(record->cap_permitted, permitted);
    assert_int_equal(record->cap_effective, effective);
}

static char huge_argument[3 * ABI_ARGS_MAX];

static void exec_with_huge_argument(void)
{
    execl("/bin/true", "true", huge_argument, NULL);
}

static void argv_is_cut_and_says_so(void **state)
{
    const struct abi_process *record;
    pid_t pid;

    (void)state;
    memset(huge_argument, 'y', sizeof(huge_argument) - 1);
    pid = run("/pod", exec_with_huge_argument, NULL);
    record = watch_find(&watch, ABI_PROCESS_EXEC, pid);
    assert_non_null(record);
    watch_read_texts(record, &texts);
    assert_int_equal(record->flags, ABI_PROCESS_ARGS_CUT);
    assert_int_equal(texts.args.len, ABI_ARGS_MAX);
    assert_memory_equal(texts.args.data, "true\0yyy", 8);
    assert_int_equal(texts.args.data[ABI_ARGS_MAX - 1], 'y');
}

/* ---- images and directories in odd places ------------------------------------------------------
 */

static void copy_true(int to)
{
    CLEANUP(fd_close) int from = open("/bin/true", O_RDONLY | O_CLOEXEC);

    while (sendfile(to, from, NULL, 1 << 20) > 0)
        ;
}

static void exec_memfd(void)
{
    char *const argv[] = {"true", NULL}, *const environment[] = {NULL};
    int fd = memfd_create("image", MFD_CLOEXEC);

    copy_true(fd);
    fexecve(fd, argv, environment);
}

static void exec_unlinked(void)
{
    char *const argv[] = {"true", NULL}, *const environment[] = {NULL};
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/gone", watch.directory);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    copy_true(fd);
    close(fd); /* or it is busy */
    fd = open(path, O_RDONLY | O_CLOEXEC);
    unlink(path);
    fexecve(fd, argv, environment);
}

static void exec_script(void)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), "%s/script", watch.directory);
    file = fopen(path, "we");
    fputs("#!/bin/true word\n", file);
    fchmod(fileno(file), 0700);
    fclose(file);
    if (chdir("/"))
        _exit(122);
    execl(path, "script", "argument", NULL);
}

static void exec_below_a_mount(void)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/mount", watch.directory);
    if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mkdir(path, 0700) || mount("none", path, "tmpfs", 0, NULL) || chdir(path) ||
        mkdir("inside", 0700) || chdir("inside"))
        _exit(122);
    execl("/bin/true", "true", NULL);
}

static void exec_in_a_root_of_its_own(void)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/root", watch.directory);
    if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mkdir(path, 0700) || mount("/", path, NULL, MS_BIND, NULL) || chroot(path) || chdir("/usr"))
        _exit(122);
    execl("/bin/true", "true", NULL);
}

static void exec_deeper_than_a_path(void)
{
    char name[201] = "";

    memset(name, 'd', sizeof(name) - 1);
    if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("none", watch.directory, "tmpfs", 0, NULL) || chdir(watch.directory))
        _exit(122);
    for (size_t i = 0; i < 2 * ABI_PATH_MAX / sizeof(name); i++)
        if (mkdir(name, 0700) || chdir(name))
            _exit(123);
    execl("/bin/true", "true", NULL);
}

/* What a case below means by a path. */
static const char *expected(const char *path, char out[PATH_MAX])
{
    if (!path)
        return realpath("/bin/true", out);
    snprintf(out, PATH_MAX, "%s%s", *path == '+' ? watch.directory : "", path + (*path == '+'));
    return out;
}

static void images_and_directories_have_sensible_names(void **state)
{
    static const struct {
        const char *name;
        void (*work)(void);
        const char *path; /* NULL: /bin/true's; +: behind the test's directory */
        const char *cwd;  /* NULL: any */
        uint32_t flags;
    } cases[] = {
        {"an image that never had a name", exec_memfd, "/memfd:image", NULL, ABI_PROCESS_DELETED},
        {"an image unlinked before it ran", exec_unlinked, "+/gone", NULL, ABI_PROCESS_DELETED},
        {"a script is its interpreter; cwd is the root", exec_script, NULL, "/", 0},
        {"a directory below a mount", exec_below_a_mount, NULL, "+/mount/inside", 0},
        {"a root of its own", exec_in_a_root_of_its_own, NULL, "/usr", 0},
        {"a directory deeper than a path", exec_deeper_than_a_path, NULL, NULL,
         ABI_PROCESS_PATH_CUT},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char want_path[PATH_MAX], want_cwd[PATH_MAX];
        const struct abi_process *record;
        int status;
        pid_t pid;

        print_message("  %s\n", cases[i].name);
        pid = run("/pod", cases[i].work, &status);
        assert_int_equal(status, 0);
        record = watch_find(&watch, ABI_PROCESS_EXEC, pid);
        assert_non_null(record);
        watch_read_texts(record, &texts);
        assert_string_equal(texts.path.data, expected(cases[i].path, want_path));
        if (cases[i].flags & ABI_PROCESS_PATH_CUT)
            assert_int_equal(*texts.cwd.data,
                             'd'); /* no slash: it does not pass for a whole path */
        if (cases[i].cwd)
            assert_string_equal(texts.cwd.data, expected(cases[i].cwd, want_cwd));
        assert_int_equal(record->flags, cases[i].flags);
    }
}

/* ---- fork and exit -----------------------------------------------------------------------------
 */

static void *end_at_once(void *arg)
{
    return arg;
}

/* Leaves by a thread's end, a child that forks no image, and a signal. */
static void fork_and_be_killed(void)
{
    pthread_t thread;
    pid_t pid;

    if (pthread_create(&thread, NULL, end_at_once, NULL) || pthread_join(thread, NULL))
        _exit(122);
    pid = fork();
    if (pid == 0)
        _exit(7);
    if (pid < 0 || waitpid(pid, NULL, 0) != pid)
        _exit(123);
    raise(SIGTERM);
}

static void fork_tells_the_child_and_exit_how_it_ended(void **state)
{
    const struct abi_process *forked, *ended;
    pid_t pid;

    (void)state;
    pid = run("/pod", fork_and_be_killed, NULL);
    assert_int_equal(watch.records_len, 3); /* and nothing for the thread */
    forked = &watch.records[0];
    assert_int_equal(forked->kind, ABI_PROCESS_FORK);
    assert_int_equal(forked->pod, watch_cgroup_id(&watch, "/pod"));
    assert_int_equal(forked->path_len + forked->cwd_len + forked->file_len + forked->args_len, 0);
    ended = &watch.records[1];
    assert_int_equal(ended->kind, ABI_PROCESS_EXIT);
    assert_int_equal(ended->pid, forked->pid);
    assert_int_equal(ended->start_ns, forked->start_ns);
    assert_int_equal(ended->exit_code, 7 << 8);
    ended = watch_find(&watch, ABI_PROCESS_EXIT, pid);
    assert_non_null(ended);
    assert_int_equal(ended->pid, forked->ppid);
    assert_int_equal(ended->start_ns, forked->parent_start_ns);
    assert_int_equal(ended->exit_code & 0x7f, SIGTERM);
}

static void *end_after_the_leader(void *arg)
{
    (void)arg;
    usleep(50 * 1000);
    _exit(5);
}

static void leave_the_end_to_a_thread(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, end_after_the_leader, NULL))
        _exit(122);
    pthread_exit(NULL);
}

static void exit_is_told_once_when_the_last_thread_ends(void **state)
{
    const struct abi_process *ended;
    int status;
    pid_t pid;

    (void)state;
    pid = run("/pod", leave_the_end_to_a_thread, &status);
    assert_int_equal(WEXITSTATUS(status), 5);
    ended = watch_find(&watch, ABI_PROCESS_EXIT, pid);
    assert_non_null(ended);
    assert_int_equal(ended->exit_code, 5 << 8);
    assert_int_equal(watch.records_len, 1);
}

/* ---- ours or theirs ----------------------------------------------------------------------------
 */

static void a_cgroup_below_belongs_to_the_pod(void **state)
{
    const struct abi_process *record;
    pid_t pid;

    (void)state;
    pid = run("/pod/deep", exec_true_as_root, NULL);
    record = watch_find(&watch, ABI_PROCESS_EXEC, pid);
    assert_non_null(record);
    assert_int_equal(record->pod, watch_cgroup_id(&watch, "/pod"));
    assert_int_equal(record->cgroup, watch_cgroup_id(&watch, "/pod/deep"));
    assert_non_null(watch_find(&watch, ABI_PROCESS_EXIT, pid));
}

static void nothing_is_told_of_others(void **state)
{
    (void)state;
    run("/other", exec_true_as_root, NULL);
    run("/other", fork_and_be_killed, NULL);
    run("", exec_true_as_root, NULL);
    assert_int_equal(watch.records_len, 0);
}

static void what_does_not_fit_is_counted(void **state)
{
    uint64_t lost = 0;
    uint32_t zero = 0;
    int execs = 0;

    (void)state;
    for (; !lost && execs < WATCH_RING / 1024; execs++) { /* a record is about 4 kB */
        watch_run(&watch, "/pod", exec_with_huge_argument, NULL);
        assert_int_equal(bpf_map__lookup_elem(watch.bpf->maps.records_lost, &zero, sizeof(zero),
                                              &lost, sizeof(lost), 0),
                         0);
    }
    assert_true(lost > 0);
    assert_true(execs > WATCH_RING / 8192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exec_tells_the_image_and_its_words),
        cmocka_unit_test(exec_tells_who_and_where),
        cmocka_unit_test(exec_tells_capabilities),
        cmocka_unit_test(argv_is_cut_and_says_so),
        cmocka_unit_test(images_and_directories_have_sensible_names),
        cmocka_unit_test(fork_tells_the_child_and_exit_how_it_ended),
        cmocka_unit_test(exit_is_told_once_when_the_last_thread_ends),
        cmocka_unit_test(a_cgroup_below_belongs_to_the_pod),
        cmocka_unit_test(nothing_is_told_of_others),
        cmocka_unit_test(what_does_not_fit_is_counted),
    };

    int failed;

    watch_init(&watch);
    watch_listen(&watch);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    watch_fini(&watch);
    return failed;
}
