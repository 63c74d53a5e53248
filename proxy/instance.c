#include "proxy/instance.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/host.h"

static const char state_dir[] = "/run/sallyport";
static const char exec_dir[] = "/run/sallyport/exec";

enum { KILL_WAIT_MS = 2000 };

/* ---- cgroups ---- */

static int write_file(const char *path, const char *text)
{
    CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return -errno;
    return 0;
}

/* Whether any process lives in the cgroup or below: cgroup.events says "populated 0|1". */
static bool populated(int events_fd)
{
    char text[256];
    ssize_t n = pread(events_fd, text, sizeof(text) - 1, 0);

    if (n <= 0)
        return false;
    text[n] = 0;
    return strstr(text, "populated 1");
}

static int kill_cgroup(const char *cgroup)
{
    char path[PATH_MAX + 32];
    uint64_t end;
    int result;

    snprintf(path, sizeof(path), "%s/cgroup.events", cgroup);
    CLEANUP(fd_close) int events = open(path, O_RDONLY | O_CLOEXEC);

    if (events < 0)
        return errno == ENOENT ? 0 : -errno;
    snprintf(path, sizeof(path), "%s/cgroup.kill", cgroup);
    result = write_file(path, "1");
    if (result < 0)
        return result;
    end = clock_ns() + KILL_WAIT_MS * UINT64_C(1000000);
    while (populated(events) && clock_ns() < end) {
        struct pollfd change = {.fd = events, .events = POLLPRI};

        poll(&change, 1, 10);
    }
    return populated(events) ? -EBUSY : 0;
}

/* A command may have made cgroups of its own below: children first. */
static int remove_cgroup(const char *cgroup)
{
    DIR *dir = opendir(cgroup);
    struct dirent *entry;
    char child[PATH_MAX];

    if (!dir)
        return errno == ENOENT ? 0 : -errno;
    while ((entry = readdir(dir)))
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
            snprintf(child, sizeof(child), "%s/%s", cgroup, entry->d_name) < PATH_MAX)
            remove_cgroup(child);
    closedir(dir);
    return rmdir(cgroup) < 0 ? -errno : 0;
}

/* ---- the directory ---- */

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    char child[PATH_MAX];

    if (!dir)
        return;
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            snprintf(child, sizeof(child), "%s/%s", path, entry->d_name) >= PATH_MAX)
            continue;
        if (unlink(child) < 0 && (errno == EISDIR || errno == EPERM))
            remove_tree(child);
    }
    closedir(dir);
    rmdir(path);
}

/* Everything of one instance, alive or not: processes first, for as long as one lives the pinned
 * links keep its connections from going unseen. */
static int remove_all(const char *dir, const char *cgroup, struct err *err)
{
    char path[128];
    int result = 0;

    if (cgroup[0]) {
        result = kill_cgroup(cgroup);
        if (result < 0)
            return err_sys(err, result, "killing what runs in %s", cgroup);
    }
    snprintf(path, sizeof(path), "%.100s/bpf", dir);
    if (umount2(path, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
        return err_sys(err, -errno, "unmounting %s", path);
    if (cgroup[0])
        result = remove_cgroup(cgroup);
    if (result < 0)
        return err_sys(err, result, "removing %s", cgroup);
    remove_tree(dir);
    return 0;
}

static void sweep_one(const char *name)
{
    char dir[PATH_MAX], path[PATH_MAX + 32], cgroup[PATH_MAX] = "";
    const char *base;
    struct err err;

    snprintf(dir, sizeof(dir), "%s/%s", exec_dir, name);
    snprintf(path, sizeof(path), "%s/lock", dir);
    CLEANUP(fd_close) int lock = open(path, O_RDWR | O_CLOEXEC);

    if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) < 0)
        return; /* alive */
    snprintf(path, sizeof(path), "%s/cgroup", dir);
    CLEANUP(fd_close) int note = open(path, O_RDONLY | O_CLOEXEC);

    if (note >= 0) {
        ssize_t n = read(note, cgroup, sizeof(cgroup) - 1);

        cgroup[n > 0 ? n : 0] = 0;
        base = strrchr(cgroup, '/');
        if (!base || strncmp(base, "/sallyport-", 11) != 0)
            cgroup[0] = 0; /* not written to its end: there was no cgroup yet */
    }
    log_warn("removing what a dead instance left: %s%s%s", dir, cgroup[0] ? " and " : "", cgroup);
    if (remove_all(dir, cgroup, &err) < 0)
        log_warn("%s; it stays until the next start", err.text);
}

static void sweep(void)
{
    DIR *dir = opendir(exec_dir);
    struct dirent *entry;

    if (!dir)
        return;
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            sweep_one(entry->d_name);
    closedir(dir);
}

/* Locks the directory of all instances, so that none is taken for dead while it is being made, and
 * none makes itself at home in a directory that another one is just removing. Negative errno, or
 * the descriptor whose closing unlocks. */
static int lock_all(void)
{
    for (;;) {
        CLEANUP(fd_close) int fd = -1;
        struct stat opened, now;

        if ((mkdir(state_dir, 0700) < 0 && errno != EEXIST) ||
            (mkdir(exec_dir, 0700) < 0 && errno != EEXIST && errno != ENOENT))
            return -errno;
        fd = open(exec_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
            continue; /* removed in between: make it again */
        if (fd < 0 || flock(fd, LOCK_EX) < 0)
            return -errno;
        if (fstat(fd, &opened) == 0 && stat(exec_dir, &now) == 0 && opened.st_ino == now.st_ino)
            return fd_take(&fd);
    }
}

static int make_files(struct instance *instance, struct err *err)
{
    char path[128];
    ssize_t len = (ssize_t)strlen(instance->cgroup);

    if (mkdir(instance->dir, 0700) < 0)
        return err_sys(err, -errno, "%s", instance->dir);
    snprintf(path, sizeof(path), "%s/lock", instance->dir);
    instance->lock_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (instance->lock_fd < 0 || flock(instance->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return err_sys(err, -errno, "%s", path);
    snprintf(path, sizeof(path), "%s/cgroup", instance->dir);
    CLEANUP(fd_close) int note = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (note < 0 || write(note, instance->cgroup, (size_t)len) != len)
        return err_sys(err, -errno, "%s", path);
    snprintf(path, sizeof(path), "%s/trust", instance->dir);
    if (mkdir(path, 0700) < 0)
        return err_sys(err, -errno, "%s", path);
    snprintf(path, sizeof(path), "%s/bpf", instance->dir);
    if (mkdir(path, 0700) < 0 || mount("bpf", path, "bpf", 0, "mode=0700") < 0)
        return err_sys(err, -errno, "mounting a bpffs on %s", path);
    return 0;
}

static int make_cgroup(struct instance *instance, struct err *err)
{
    struct stat stat;

    if (mkdir(instance->cgroup, 0755) < 0)
        return err_sys(err, -errno, "making the cgroup %s", instance->cgroup);
    instance->cgroup_fd = open(instance->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (instance->cgroup_fd < 0 || fstat(instance->cgroup_fd, &stat) < 0)
        return err_sys(err, -errno, "%s", instance->cgroup);
    instance->cgroup_id = stat.st_ino;
    return 0;
}

int instance_new(struct instance **out, struct err *err)
{
    CLEANUP(instance_free) struct instance *instance = calloc(1, sizeof(*instance));
    char own[PATH_MAX];
    unsigned random;
    int result;

    if (!instance)
        return err_set(err, -ENOMEM, "instance");
    instance->cgroup_fd = instance->lock_fd = -1;
    result = host_own_cgroup(own, err);
    if (result < 0)
        return result;
    if (getrandom(&random, sizeof(random), 0) < 0)
        return err_sys(err, -errno, "getrandom");
    CLEANUP(fd_close) int all = lock_all();

    if (all < 0)
        return err_sys(err, all, "%s", exec_dir);
    sweep();
    snprintf(instance->dir, sizeof(instance->dir), "%s/%d-%08x", exec_dir, getpid(), random);
    if (snprintf(instance->cgroup, sizeof(instance->cgroup), "%s/sallyport-%d-%08x", own, getpid(),
                 random) >= (int)sizeof(instance->cgroup))
        return err_set(err, -ENAMETOOLONG, "%s", own);
    result = make_files(instance, err);
    if (result == 0)
        result = make_cgroup(instance, err);
    fd_close(&all); /* before a failed instance removes itself and wants the same lock */
    if (result < 0)
        return result;
    *out = TAKE(instance);
    return 0;
}

void instance_free(struct instance **instance)
{
    struct instance *gone = TAKE(*instance);
    struct err err;

    if (!gone)
        return;
    fd_close(&gone->cgroup_fd);
    if (gone->dir[0]) {
        CLEANUP(fd_close) int all = lock_all();

        if (remove_all(gone->dir, gone->cgroup, &err) < 0)
            log_warn("%s; the next start tries again", err.text);
        rmdir(exec_dir); /* the last one turns off the light */
        rmdir(state_dir);
    }
    fd_close(&gone->lock_fd);
    free(gone);
}

int instance_enter(const struct instance *instance, pid_t pid, struct err *err)
{
    char path[PATH_MAX + 32], text[16];
    int result;

    snprintf(path, sizeof(path), "%s/cgroup.procs", instance->cgroup);
    snprintf(text, sizeof(text), "%d", pid);
    result = write_file(path, text);
    return result < 0 ? err_sys(err, result, "putting the command into %s", instance->cgroup) : 0;
}

int instance_kill(const struct instance *instance, struct err *err)
{
    int result = kill_cgroup(instance->cgroup);

    return result < 0 ? err_sys(err, result, "killing what runs in %s", instance->cgroup) : 0;
}
