#include "certs/file_set.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DATA   "..data"
#define PREFIX "..sallyport-"
enum { TRIES = 32 }; /* to read one set: they do not change that fast */

static void read_link(int dir, const char *name, char out[FILE_SET_NAME_SIZE])
{
    ssize_t len = readlinkat(dir, name, out, FILE_SET_NAME_SIZE - 1);

    out[len > 0 ? len : 0] = 0;
}

void file_set_version(const char *dir, char out[FILE_SET_NAME_SIZE])
{
    CLEANUP(fd_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    out[0] = 0;
    if (fd >= 0)
        read_link(fd, DATA, out);
}

int file_set_read(const char *dir,
                  int (*read)(void *arg, const char *dir, const char *version, struct err *err),
                  void *arg, struct err *err)
{
    char before[FILE_SET_NAME_SIZE], after[FILE_SET_NAME_SIZE];

    file_set_version(dir, after);
    for (int i = 0; i < TRIES; i++) {
        int rc;

        strcpy(before, after);
        rc = read(arg, dir, before, err);
        file_set_version(dir, after);
        if (strcmp(before, after) == 0)
            return rc;
    } /* some of it may be of the other set */
    return err_set(err, -EBUSY, "%s changes all the time", dir);
}

bool file_set_is_ours(const char *version)
{
    return strncmp(version, PREFIX, strlen(PREFIX)) == 0;
}

/* A set lies flat in its directory. */
static void remove_set(int dir, const char *version)
{
    int fd = openat(dir, version, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *set = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    while (set && (entry = readdir(set)))
        unlinkat(fd, entry->d_name, 0);
    if (set)
        closedir(set);
    else
        fd_close(&fd);
    unlinkat(dir, version, AT_REMOVEDIR);
}

/* The one before, and those that somebody did not finish. */
static void remove_others(const char *path, int dir, const char *in_force)
{
    DIR *all = opendir(path);
    const struct dirent *entry;

    while (all && (entry = readdir(all)))
        if (file_set_is_ours(entry->d_name) && strcmp(entry->d_name, in_force) != 0)
            remove_set(dir, entry->d_name);
    if (all)
        closedir(all);
}

static int write_part(int set, const struct file_part *part)
{
    CLEANUP(fd_close)
    int fd = openat(set, part->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, part->mode);
    struct span left = part->bytes;

    while (fd >= 0 && left.len) {
        ssize_t n = write(fd, left.data, left.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        left.data += n;
        left.len -= (size_t)n;
    }
    return fd < 0 || fchmod(fd, part->mode) < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* The names in DIR lead to ..data before that leads anywhere: with the first ..data, all files are
 * there at once. */
static int link_parts(int dir, const char *path, const struct file_part *parts, size_t len,
                      struct err *err)
{
    for (size_t i = 0; i < len; i++) {
        char to[FILE_SET_NAME_SIZE], found[FILE_SET_NAME_SIZE];

        if (!parts[i].linked)
            continue;
        snprintf(to, sizeof(to), DATA "/%s", parts[i].name);
        if (symlinkat(to, dir, parts[i].name) == 0)
            continue;
        if (errno != EEXIST)
            return err_sys(err, -errno, "cannot write %s/%s", path, parts[i].name);
        read_link(dir, parts[i].name, found);
        if (strcmp(found, to) != 0)
            return err_set(err, -EEXIST, "%s/%s is there already", path, parts[i].name);
    }
    return 0;
}

static int put_into_force(int dir, const char *path, const char *version, struct err *err)
{
    static const char temporary[] = DATA "_tmp";

    unlinkat(dir, temporary, 0); /* of a writer who did not finish */
    if (symlinkat(version, dir, temporary) < 0 || renameat(dir, temporary, dir, DATA) < 0) {
        int code = -errno;

        unlinkat(dir, temporary, 0);
        return err_sys(err, code, "cannot write %s/" DATA, path);
    }
    fsync(dir); /* too late to undo it: what a crash may lose is the whole step */
    return 0;
}

static int write_set(int dir, const char *path, const char *version, const struct file_part *parts,
                     size_t len, struct err *err)
{
    CLEANUP(fd_close) int set = openat(dir, version, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;

    if (set < 0)
        return err_sys(err, -errno, "cannot write %s", path);
    for (size_t i = 0; rc == 0 && i < len; i++) {
        rc = write_part(set, &parts[i]);
        if (rc < 0)
            err_sys(err, rc, "cannot write %s/%s", path, parts[i].name);
    }
    if (rc == 0 && fsync(set) < 0)
        rc = err_sys(err, -errno, "cannot write %s", path);
    if (rc == 0)
        rc = link_parts(dir, path, parts, len, err);
    return rc < 0 ? rc : put_into_force(dir, path, version, err);
}

int file_set_write(const char *path, const struct file_part *parts, size_t len, struct err *err)
{
    CLEANUP(fd_close) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char fresh[PATH_MAX];
    const char *version;
    int rc;

    if (dir < 0)
        return err_sys(err, -errno, "cannot write %s", path);
    if (snprintf(fresh, sizeof(fresh), "%s/" PREFIX "XXXXXX", path) >= (int)sizeof(fresh))
        return err_set(err, -ENAMETOOLONG, "%.200s: name too long", path);
    if (!mkdtemp(fresh))
        return err_sys(err, -errno, "cannot write %s", path);
    version = strrchr(fresh, '/') + 1;
    rc = write_set(dir, path, version, parts, len, err);
    if (rc < 0)
        remove_set(dir, version);
    else
        remove_others(path, dir, version);
    return rc;
}
