#include "proxy/runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

static const char default_dir[] = "/run/sallyport", host_bpffs[] = "/sys/fs/bpf";

const char *runtime_choose(const char *option)
{
    const char *given = option ? option : getenv("RUNTIME_DIRECTORY");

    return given && *given ? given : default_dir;
}

const char *runtime_state(const char *dir)
{
    static char first[PATH_MAX];
    const char *given = getenv("STATE_DIRECTORY"); /* several have colons between them */
    int len = given ? (int)strcspn(given, ":") : 0;

    if (!len || len >= PATH_MAX)
        return strcmp(dir, default_dir) == 0 ? "/var/lib/sallyport" : dir;
    snprintf(first, sizeof(first), "%.*s", len, given);
    return first;
}

/* Who can enter could meet us there in another's place, so one that others made is left alone. */
static int make_dir(const char *path, struct err *err)
{
    struct stat stat_;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_sys(err, -errno, "making %s", path);
    if (stat(path, &stat_) < 0)
        return err_sys(err, -errno, "%s", path);
    if (!S_ISDIR(stat_.st_mode))
        return err_set(err, -ENOTDIR, "%s is no directory", path);
    if (stat_.st_uid != geteuid() || (stat_.st_mode & 077))
        return err_set(err, -EPERM,
                       "%s has mode %04o and owner %u: nobody but us must have access to it; chmod "
                       "0700 it, or name another directory",
                       path, stat_.st_mode & 07777, stat_.st_uid);
    return 0;
}

static bool is_bpffs(const char *path)
{
    struct statfs statfs_;

    return statfs(path, &statfs_) == 0 && statfs_.f_type == BPF_FS_MAGIC;
}

int runtime_lock(struct runtime *runtime, struct err *err)
{
    CLEANUP(fd_close) int fd = -1;
    char path[128], pid[32] = "";
    ssize_t n;

    snprintf(path, sizeof(path), "%s/agent.lock", runtime->dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(err, -errno, "%s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int code = -errno;

        if (code != -EWOULDBLOCK)
            return err_sys(err, code, "%s", path);
        n = pread(fd, pid, sizeof(pid) - 1, 0);
        pid[n > 0 ? strspn(pid, "0123456789") : 0] = 0;
        return err_set(
            err, -EBUSY,
            "an agent runs already (pid %s) with the runtime directory %s; end it first, "
            "or name another one (--runtime-dir)",
            pid, runtime->dir);
    }
    n = snprintf(pid, sizeof(pid), "%d\n", getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)n, 0) != n)
        return err_sys(err, errno ? -errno : -EIO, "%s", path);
    runtime->lock_fd = fd_take(&fd);
    return 0;
}

int runtime_make_pins(struct runtime *runtime, struct err *err)
{
    bool hosts = strcmp(runtime->dir, default_dir) == 0 && is_bpffs(host_bpffs);
    int result;

    if (hosts)
        snprintf(runtime->pin_dir, sizeof(runtime->pin_dir), "%s/sallyport", host_bpffs);
    else
        snprintf(runtime->pin_dir, sizeof(runtime->pin_dir), "%s/bpf", runtime->dir);
    result = make_dir(runtime->pin_dir, err);
    if (result < 0)
        return result;
    if (!is_bpffs(runtime->pin_dir) && mount("bpf", runtime->pin_dir, "bpf", 0, "mode=0700") < 0)
        return err_sys(err, -errno, "mounting a bpffs on %s", runtime->pin_dir);
    return 0;
}

int runtime_init(struct runtime *runtime, const char *dir, struct err *err)
{
    *runtime = (struct runtime){.lock_fd = -1};
    if (snprintf(runtime->dir, sizeof(runtime->dir), "%s", dir) >= (int)sizeof(runtime->dir))
        return err_set(err, -ENAMETOOLONG,
                       "the runtime directory %.80s… has too long a name; at most %zu characters "
                       "leave room for its sockets' names",
                       dir, sizeof(runtime->dir) - 1);
    return make_dir(runtime->dir, err);
}

void runtime_leave(struct runtime *runtime)
{
    runtime->pin_dir[0] = 0;
    fd_close(&runtime->lock_fd);
}

/* Of a bpffs: nothing is pinned there for the next agent. */
static bool is_empty(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry = NULL;

    if (!dir)
        return false;
    do
        entry = readdir(dir);
    while (entry && strchr(entry->d_name, '.')); /* "maps.debug" is the kernel's */
    closedir(dir);
    return !entry;
}

void runtime_fini(struct runtime *runtime)
{
    if (runtime->pin_dir[0] && is_empty(runtime->pin_dir)) {
        if (strncmp(runtime->pin_dir, host_bpffs, strlen(host_bpffs)) != 0)
            umount2(runtime->pin_dir, MNT_DETACH);
        rmdir(runtime->pin_dir);
    }
    fd_close(&runtime->lock_fd);
}
