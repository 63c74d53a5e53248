#include "kept.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "proxy/command/command.h"

char kept_runtime_dir[32];

int kept_set_up(void **state)
{
    (void)state;
    bed_init(&fx.bed);
    /* by which keepers are found among all processes: others test theirs at the same time */
    snprintf(kept_runtime_dir, sizeof(kept_runtime_dir), "/mnt/run.%d", getpid());
    return mkdir(kept_runtime_dir, 0700);
}

int kept_take_down(void **state)
{
    (void)state;
    bed_fini(&fx.bed);
    return 0;
}

bool kept_was_keeper(int argc, char **argv, int *status)
{
    if (argc != 3 || strcmp(argv[1], "keeper") != 0)
        return false;
    *status = command_keeper(argc - 1, argv + 1);
    return true;
}

/* ---- agents ---- */

void kept_begin_agent(void)
{
    assert_ok(
        keeper_new_kept(&fx.keeper, fx.bed.cgroup_fd, fx.bed.pins, kept_runtime_dir, &fx.err));
    assert_ok(pods_new(&fx.pods, keeper_bpf(fx.keeper), &fx.err));
}

void register_pod(bool open)
{
    const struct pods_settings settings = {
        .ports = pods_default_ports, .ports_len = pods_default_ports_len, .open_when_down = open};
    CLEANUP(pod_unref)
    struct pod *pod = pod_new(bed_cgroup_id(&fx.bed, "pod"), "", "pod", NULL, 0);

    assert_non_null(pod);
    assert_ok(pods_add(fx.pods, pod, &settings, NULL, &fx.err));
}

void kept_end_agent(void)
{
    assert_true(keeper_leave(fx.keeper, true));
    pods_leave(fx.pods);
    pods_free(&fx.pods);
    keeper_free(&fx.keeper);
}

void take_over(void)
{
    pods_sweep(fx.pods);
    keeper_disarm_older(fx.keeper);
}

ino_t inode_of(int fd)
{
    struct stat file;

    assert_int_equal(fstat(fd, &file), 0);
    return file.st_ino;
}

size_t entries_in(const char *path)
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

/* ---- keepers ---- */

static bool is_keeper(const char *pid)
{
    char path[300], line[256] = "";
    size_t len = strlen(kept_runtime_dir);
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, line, sizeof(line) - 1);
    close(fd);
    return n > 17 && memcmp(line, "sallyport\0keeper", 17) == 0 &&
           strncmp(line + 17, kept_runtime_dir, len) == 0 && !isdigit(line[17 + len]);
}

pid_t keeper_but(pid_t other)
{
    DIR *proc = opendir("/proc");
    pid_t found = 0;

    for (struct dirent *entry; !found && (entry = readdir(proc));)
        if (is_keeper(entry->d_name) && atoi(entry->d_name) != other)
            found = atoi(entry->d_name);
    closedir(proc);
    return found;
}

pid_t keeper_pid(void)
{
    return keeper_but(0);
}

/* A zombie, which is somebody else's to bury, has no command line. */
void expect_end(pid_t pid)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", pid);
    for (int i = 0; i < 5 * SOON_MS && is_keeper(text); i++)
        usleep(1000);
    assert_false(is_keeper(text));
}

/* ---- tests ---- */

int kept_begin(void **state)
{
    (void)state;
    kept_begin_agent();
    assert_ok(keeper_net_add(fx.keeper, &fx.net, fx.bed.pod, 0, &fx.err));
    register_pod(false);
    return 0;
}

int kept_end(void **state)
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
    assert_int_equal(entries_in(kept_runtime_dir), 0);
    return 0;
}
