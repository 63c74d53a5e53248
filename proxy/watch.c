/* An inotify watch belongs to an inode, so after each change all are made anew, where the paths
 * lead now: first the new ones, then a look at the files, so that nothing falls between. */
#include "proxy/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"

enum { ENTRIES_MAX = WATCH_PATHS_MAX * 8 };

/* A directory that is watched, and which of its names matter. */
struct entry {
    int wd;
    char *dir;
    char name[NAME_MAX + 1]; /* "": all */
};

struct watch {
    struct event_base *base;
    void (*on_change)(void *arg);
    void *arg;
    char *paths[WATCH_PATHS_MAX];
    size_t paths_len;
    int fd; /* inotify's */
    struct entry entries[ENTRIES_MAX];
    size_t entries_len;
    struct event *on_notice, *quiet;
    uint64_t first_ns; /* when what happened since the last look began; 0: nothing did */
    uint64_t seen;     /* what the paths led to */
};

/* ---- what the paths lead to ---- */

static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
    const unsigned char *at = data;

    while (len--)
        hash = (hash ^ *at++) * UINT64_C(0x100000001b3); /* FNV-1a */
    return hash;
}

/* Of a file as it is now; a change of its bytes shows in its times, whatever the clock did. */
static uint64_t look_at(int dir, const char *name, bool *is_dir)
{
    uint64_t hash = mix(UINT64_C(0xcbf29ce484222325), name, strlen(name));
    struct stat st;

    *is_dir = false;
    if (fstatat(dir, name, &st, 0) < 0)
        return hash;
    *is_dir = S_ISDIR(st.st_mode);
    hash = mix(hash, &st.st_dev, sizeof(st.st_dev));
    hash = mix(hash, &st.st_ino, sizeof(st.st_ino));
    if (*is_dir)
        return hash; /* its times are those of what is in it */
    hash = mix(hash, &st.st_mode, sizeof(st.st_mode));
    hash = mix(hash, &st.st_uid, sizeof(st.st_uid));
    hash = mix(hash, &st.st_size, sizeof(st.st_size));
    hash = mix(hash, &st.st_mtim, sizeof(st.st_mtim));
    return mix(hash, &st.st_ctim, sizeof(st.st_ctim));
}

static uint64_t look_into(const char *path)
{
    uint64_t sum = 0; /* in whatever order they come */
    DIR *dir = opendir(path);
    struct dirent *entry;
    bool is_dir;

    if (!dir)
        return 0;
    while ((entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            sum += look_at(dirfd(dir), entry->d_name, &is_dir);
    closedir(dir);
    return sum;
}

static uint64_t look(const struct watch *watch)
{
    uint64_t hash = 0;

    for (size_t i = 0; i < watch->paths_len; i++) {
        bool is_dir;
        uint64_t one = look_at(AT_FDCWD, watch->paths[i], &is_dir);

        if (is_dir)
            one += look_into(watch->paths[i]);
        hash = mix(hash, &one, sizeof(one));
    }
    return hash;
}

/* ---- where changes are noticed ---- */

/* Splits off the last name; false: there is none, as in "/". */
static bool split(char *path, char name[NAME_MAX + 1])
{
    char *slash;
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/')
        path[--len] = 0;
    slash = strrchr(path, '/');
    if (!slash[1])
        return false;
    snprintf(name, NAME_MAX + 1, "%s", slash + 1);
    slash[slash == path] = 0;
    return true;
}

static int add_watch(struct watch *watch, int fd, const char *dir, const char *name)
{
    struct entry *entry = &watch->entries[watch->entries_len];
    int wd =
        inotify_add_watch(fd, dir,
                          IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE |
                              IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);

    if (wd < 0)
        return -errno;
    if (watch->entries_len == ENTRIES_MAX)
        return -ENOSPC;
    entry->dir = strdup(dir);
    if (!entry->dir)
        return -ENOMEM;
    entry->wd = wd;
    snprintf(entry->name, sizeof(entry->name), "%s", name);
    watch->entries_len++;
    return 0;
}

static void forget_entries(struct watch *watch)
{
    while (watch->entries_len)
        free(watch->entries[--watch->entries_len].dir);
}

/* The directory, or where it is missing the nearest above, and there what would lead to it. */
static int add_nearest(struct watch *watch, int fd, char dir[PATH_MAX], const char *wanted)
{
    char name[NAME_MAX + 1];
    int result;

    snprintf(name, sizeof(name), "%s", wanted);
    do
        result = add_watch(watch, fd, dir, name);
    while ((result == -ENOENT || result == -ENOTDIR) && split(dir, name));
    if (result == 0 && *name)
        result = add_watch(watch, fd, dir, "..data");
    return result;
}

/* A file's directory and the one above; of a directory itself, too. */
static int add_path(struct watch *watch, int fd, const char *path)
{
    char dir[PATH_MAX], name[NAME_MAX + 1];
    struct stat st;
    int result = 0;

    snprintf(dir, sizeof(dir), "%s", path);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        result = add_nearest(watch, fd, dir, "");
    for (int levels = 0; result == 0 && levels < 2; levels++) {
        char above[PATH_MAX];

        snprintf(dir, sizeof(dir), "%s", path);
        for (int i = 0; i <= levels; i++)
            if (!split(dir, name))
                return 0;
        snprintf(above, sizeof(above), "%s", dir);
        result = add_nearest(watch, fd, above, name);
    }
    return result;
}

static int watch_all(struct watch *watch, int fd)
{
    int result = 0;

    forget_entries(watch);
    for (size_t i = 0; result == 0 && i < watch->paths_len; i++) {
        char real[PATH_MAX];

        result = add_path(watch, fd, watch->paths[i]);
        if (result == 0 && realpath(watch->paths[i], real) && strcmp(real, watch->paths[i]) != 0)
            result = add_path(watch, fd, real);
    }
    return result;
}

/* ---- when ---- */

/* A file that is just being made: that it is closed will be told, too. (Not so with a link.) */
static bool is_unfinished(const struct entry *entry, const struct inotify_event *notice)
{
    char path[PATH_MAX + NAME_MAX + 2];
    struct stat st;

    if (!(notice->mask & IN_CREATE))
        return false;
    snprintf(path, sizeof(path), "%s/%s", entry->dir, notice->name);
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1;
}

static bool matters(const struct watch *watch, const struct inotify_event *notice)
{
    if (notice->wd < 0 || !notice->len)
        return true; /* too many to be told, or the directory itself */
    for (size_t i = 0; i < watch->entries_len; i++) {
        const struct entry *entry = &watch->entries[i];

        if (entry->wd == notice->wd && (!entry->name[0] || strcmp(entry->name, notice->name) == 0))
            return !is_unfinished(entry, notice);
    }
    return false;
}

static void wait_for_quiet(struct watch *watch)
{
    uint64_t now = clock_ns(), ms = WATCH_QUIET_MS, gone;
    struct timeval wait;

    if (!watch->first_ns)
        watch->first_ns = now;
    gone = (now - watch->first_ns) / 1000000;
    if (gone + ms > WATCH_PATIENCE_MS)
        ms = gone < WATCH_PATIENCE_MS ? WATCH_PATIENCE_MS - gone : 0;
    wait = (struct timeval){.tv_usec = (suseconds_t)ms * 1000};
    event_add(watch->quiet, &wait);
}

static void on_notice(evutil_socket_t fd, short what, void *arg)
{
    struct watch *watch = arg;
    _Alignas(struct inotify_event) char data[4096];
    bool any = false;
    ssize_t n;

    (void)what;
    while ((n = read(fd, data, sizeof(data))) > 0)
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *notice = (const void *)(data + at);

            any |= matters(watch, notice);
            at += (ssize_t)sizeof(*notice) + notice->len;
        }
    if (any)
        wait_for_quiet(watch);
}

static void stop(struct watch *watch)
{
    if (watch->on_notice)
        event_free(TAKE(watch->on_notice));
    fd_close(&watch->fd);
    forget_entries(watch);
}

/* Watches where the paths lead now, and looks. */
static int begin(struct watch *watch, struct err *err)
{
    CLEANUP(fd_close) int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    int result;

    if (fd < 0)
        return err_sys(err, -errno, "inotify");
    stop(watch);
    result = watch_all(watch, fd);
    watch->fd = fd_take(&fd);
    watch->on_notice = event_new(watch->base, watch->fd, EV_READ | EV_PERSIST, on_notice, watch);
    if (!watch->on_notice || event_add(watch->on_notice, NULL) < 0)
        return err_set(err, -ENOMEM, "the control loop");
    watch->seen = look(watch);
    return result < 0 ? err_sys(err, result, "watching directories") : 0;
}

static void on_quiet(evutil_socket_t fd, short what, void *arg)
{
    struct watch *watch = arg;
    uint64_t before = watch->seen;
    struct err err;

    (void)fd;
    (void)what;
    watch->first_ns = 0;
    if (begin(watch, &err) < 0)
        log_warn("%s; further changes of files may go unnoticed, a SIGHUP does not", err.text);
    if (watch->seen != before)
        watch->on_change(watch->arg);
}

/* ---- all of it ---- */

int watch_new(struct watch **out, struct event_base *base, void (*on_change)(void *arg), void *arg,
              struct err *err)
{
    CLEANUP(watch_free) struct watch *watch = calloc(1, sizeof(*watch));

    if (!watch)
        return err_set(err, -ENOMEM, "watching files");
    watch->fd = -1;
    watch->base = base;
    watch->on_change = on_change;
    watch->arg = arg;
    watch->quiet = evtimer_new(base, on_quiet, watch);
    if (!watch->quiet)
        return err_set(err, -ENOMEM, "watching files");
    *out = TAKE(watch);
    return 0;
}

static void forget_paths(struct watch *watch)
{
    while (watch->paths_len)
        free(watch->paths[--watch->paths_len]);
}

void watch_free(struct watch **watch)
{
    struct watch *gone = TAKE(*watch);

    if (!gone)
        return;
    stop(gone);
    forget_paths(gone);
    if (gone->quiet)
        event_free(gone->quiet);
    free(gone);
}

/* The paths as they are from /. */
static char *absolute(const char *path)
{
    char here[PATH_MAX], *whole = NULL;

    if (*path == '/')
        return strdup(path);
    if (!getcwd(here, sizeof(here)) || asprintf(&whole, "%s/%s", here, path) < 0)
        return NULL;
    return whole;
}

int watch_set(struct watch *watch, const char *const *paths, size_t len, struct err *err)
{
    forget_paths(watch);
    for (size_t i = 0; i < len && watch->paths_len < WATCH_PATHS_MAX; i++) {
        if (!paths[i])
            continue;
        watch->paths[watch->paths_len] = absolute(paths[i]);
        if (!watch->paths[watch->paths_len])
            return err_set(err, -ENOMEM, "watching %s", paths[i]);
        watch->paths_len++;
    }
    return begin(watch, err);
}
