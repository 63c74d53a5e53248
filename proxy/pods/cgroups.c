#include "proxy/pods/cgroups.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/cleanup.h"

enum {
    LEVELS_MAX = 256,
    LOOK_US = 500 * 1000, /* at those that inotify has no room for */
};

struct watched {
    struct watched *next;
    uint64_t id;
    int fd;
    int parent; /* inotify's name of the directory it is in; -1: looked at now and then */
    char *name; /* in there */
};

struct cgroups {
    struct watched *first;
    int inotify;
    struct event *on_change, *look_due;
    void (*on_gone)(void *arg, uint64_t id);
    void *arg;
};

/* ---- one directory ---- */

static bool is_cgroup(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

int cgroup_read_id(int fd, uint64_t *id, struct err *err)
{
    struct stat file;

    if (fstat(fd, &file) < 0)
        return err_sys(err, -errno, "it cannot be read");
    if (!S_ISDIR(file.st_mode) || !is_cgroup(fd))
        return err_set(err, -ENOTDIR, "no directory of cgroup v2");
    if (cgroup_is_gone(fd))
        return err_set(err, -ENOENT, "it has been removed");
    *id = file.st_ino;
    return 0;
}

bool cgroup_is_gone(int fd)
{
    return faccessat(fd, "cgroup.procs", F_OK, 0) < 0 && (errno == ENOENT || errno == ENODEV);
}

/* Ends at the root of what is mounted: above it is another file system, or itself again. */
static uint64_t find_up(int fd, bool (*is_wanted)(void *arg, const struct stat *file), void *arg)
{
    CLEANUP(fd_close) int at = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    for (int i = 0; at >= 0 && i < LEVELS_MAX && is_cgroup(at); i++) {
        struct stat file;
        int above;

        if (fstat(at, &file) < 0)
            return 0;
        if (is_wanted(arg, &file))
            return file.st_ino;
        above = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        fd_close(&at);
        at = above;
    }
    return 0;
}

static bool is_same(void *arg, const struct stat *file)
{
    const struct stat *wanted = arg;

    return file->st_ino == wanted->st_ino && file->st_dev == wanted->st_dev;
}

bool cgroup_is_within(int fd, int above)
{
    struct stat wanted;

    return fstat(above, &wanted) == 0 && find_up(fd, is_same, &wanted);
}

/* What the directory calls the one with this inode, put in front of path; false: nothing. */
static bool name_in(int dir, ino_t inode, char *path, size_t size)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    bool fits = false;

    if (!list) {
        fd_close(&fd);
        return false;
    }
    while ((entry = readdir(list)))
        if (entry->d_type == DT_DIR && entry->d_ino == inode && entry->d_name[0] != '.') {
            size_t len = strlen(entry->d_name), rest = strlen(path) + 1;

            fits = len + 1 + rest <= size;
            if (fits) {
                memmove(path + len + (rest > 1), path, rest);
                memcpy(path, entry->d_name, len);
                if (rest > 1)
                    path[len] = '/';
            }
            break;
        }
    closedir(list);
    return fits;
}

char *cgroup_path_below(int fd, int above)
{
    CLEANUP(fd_close) int at = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char path[PATH_MAX] = "";
    struct stat wanted, file;

    if (fstat(above, &wanted) < 0)
        return NULL;
    for (int i = 0; at >= 0 && i < LEVELS_MAX && is_cgroup(at); i++) {
        int parent;

        if (fstat(at, &file) < 0)
            return NULL;
        if (is_same(&wanted, &file))
            return strdup(path);
        parent = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        fd_close(&at);
        at = parent;
        if (at < 0 || !name_in(at, file.st_ino, path, sizeof(path)))
            return NULL;
    }
    return NULL;
}

struct by_id {
    bool (*is_wanted)(void *arg, uint64_t id);
    void *arg;
};

static bool is_wanted_id(void *arg, const struct stat *file)
{
    const struct by_id *by_id = arg;

    return by_id->is_wanted(by_id->arg, file->st_ino);
}

uint64_t cgroup_find_up(int fd, bool (*is_wanted)(void *arg, uint64_t id), void *arg)
{
    struct by_id by_id = {is_wanted, arg};

    return find_up(fd, is_wanted_id, &by_id);
}

struct walk {
    bool (*skip)(void *arg, uint64_t id);
    void (*visit)(void *arg, pid_t pid);
    void (*visit_id)(void *arg, uint64_t id); /* in its place */
    void *arg;
};

/* A cgroup with threads alone does not tell its processes; the one above does. */
static void visit_here(int dir, const struct walk *walk)
{
    int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    int pid;

    if (!file)
        fd_close(&fd);
    while (file && fscanf(file, "%d", &pid) == 1)
        if (pid > 0) /* 0: one that our pid namespace does not have */
            walk->visit(walk->arg, pid);
    if (file)
        fclose(file);
}

static void walk_down(int at, const struct walk *walk, int depth)
{
    int copy = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *entry;
    struct stat here;

    if (!dir)
        fd_close(&copy);
    else if (walk->visit)
        visit_here(copy, walk);
    else if (fstat(copy, &here) == 0)
        walk->visit_id(walk->arg, here.st_ino);
    while (dir && depth < LEVELS_MAX && (entry = readdir(dir))) {
        struct stat file;

        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        CLEANUP(fd_close)
        int below = openat(copy, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (below >= 0 && fstat(below, &file) == 0 && !walk->skip(walk->arg, file.st_ino))
            walk_down(below, walk, depth + 1);
    }
    if (dir)
        closedir(dir);
}

void cgroup_each_process(int fd, bool (*skip)(void *arg, uint64_t id),
                         void (*visit)(void *arg, pid_t pid), void *arg)
{
    const struct walk walk = {.skip = skip, .visit = visit, .arg = arg};

    walk_down(fd, &walk, 0);
}

void cgroup_each(int fd, bool (*skip)(void *arg, uint64_t id),
                 void (*visit)(void *arg, uint64_t id), void *arg)
{
    const struct walk walk = {.skip = skip, .visit_id = visit, .arg = arg};

    walk_down(fd, &walk, 0);
}

/* ---- those that are watched ---- */

static void watched_free(struct watched **watched)
{
    struct watched *gone = TAKE(*watched);

    if (!gone)
        return;
    fd_close(&gone->fd);
    free(gone->name);
    free(gone);
}

static struct watched **find(struct cgroups *cgroups, uint64_t id)
{
    struct watched **at = &cgroups->first;

    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static void look(struct cgroups *cgroups, int parent, const char *name)
{
    struct watched **at = &cgroups->first;

    while (*at) {
        struct watched *watched = *at;
        uint64_t id = watched->id;

        if ((parent >= 0 && (watched->parent != parent || strcmp(watched->name, name) != 0)) ||
            !cgroup_is_gone(watched->fd)) {
            at = &watched->next;
            continue;
        }
        cgroups_unwatch(cgroups, id);
        cgroups->on_gone(cgroups->arg, id);
        at = &cgroups->first; /* it may have changed the list */
    }
}

static void on_change(evutil_socket_t fd, short what, void *arg)
{
    struct cgroups *cgroups = arg;
    _Alignas(struct inotify_event) char bytes[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
    ssize_t len;

    (void)what;
    while ((len = read(fd, bytes, sizeof(bytes))) > 0)
        for (ssize_t at = 0; at < len;) {
            const struct inotify_event *event = (const void *)(bytes + at);

            at += (ssize_t)(sizeof(*event) + event->len);
            if (event->len)
                look(cgroups, event->wd, event->name);
            else /* some were lost, or the parent itself is gone: any may be */
                look(cgroups, -1, NULL);
        }
}

static void on_look_due(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    look(arg, -1, NULL);
}

int cgroups_new(struct cgroups **out, struct event_base *base,
                void (*on_gone)(void *arg, uint64_t id), void *arg, struct err *err)
{
    CLEANUP(cgroups_free) struct cgroups *cgroups = calloc(1, sizeof(*cgroups));

    if (!cgroups)
        return err_set(err, -ENOMEM, "watching cgroups");
    cgroups->on_gone = on_gone;
    cgroups->arg = arg;
    cgroups->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (cgroups->inotify < 0)
        return err_sys(err, -errno, "watching cgroups: inotify");
    cgroups->on_change =
        event_new(base, cgroups->inotify, EV_READ | EV_PERSIST, on_change, cgroups);
    cgroups->look_due = event_new(base, -1, EV_PERSIST, on_look_due, cgroups);
    if (!cgroups->on_change || !cgroups->look_due || event_add(cgroups->on_change, NULL) < 0)
        return err_set(err, -ENOMEM, "watching cgroups");
    *out = TAKE(cgroups);
    return 0;
}

void cgroups_free(struct cgroups **cgroups)
{
    struct cgroups *gone = TAKE(*cgroups);

    if (!gone)
        return;
    while (gone->first)
        cgroups_unwatch(gone, gone->first->id);
    if (gone->on_change)
        event_free(gone->on_change);
    if (gone->look_due)
        event_free(gone->look_due);
    fd_close(&gone->inotify);
    free(gone);
}

/* Without a name, or a place among inotify's watches, it is looked at every now and then. */
static void watch_parent(struct cgroups *cgroups, struct watched *watched)
{
    static const struct timeval now_and_then = {.tv_usec = LOOK_US};
    char link[64], path[PATH_MAX];
    ssize_t len;

    watched->parent = -1;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", watched->fd);
    len = readlink(link, path, sizeof(path) - 1);
    if (len > 0) {
        path[len] = 0;
        watched->name = strdup(strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
    }
    strcat(link, "/..");
    if (watched->name)
        watched->parent = inotify_add_watch(cgroups->inotify, link, IN_DELETE | IN_ONLYDIR);
    if (watched->parent < 0)
        event_add(cgroups->look_due, &now_and_then);
}

int cgroups_watch(struct cgroups *cgroups, int fd, uint64_t id, struct err *err)
{
    CLEANUP(watched_free) struct watched *watched = calloc(1, sizeof(*watched));

    if (!watched)
        return err_set(err, -ENOMEM, "watching a cgroup");
    watched->id = id;
    watched->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (watched->fd < 0)
        return err_sys(err, -errno, "watching a cgroup");
    watch_parent(cgroups, watched);
    watched->next = cgroups->first;
    cgroups->first = TAKE(watched);
    if (!cgroup_is_gone(fd))
        return 0;
    cgroups_unwatch(cgroups, id);
    return err_set(err, -ENOENT, "the cgroup has been removed");
}

int cgroups_fd(const struct cgroups *cgroups, uint64_t id)
{
    const struct watched *watched = cgroups->first;

    while (watched && watched->id != id)
        watched = watched->next;
    return watched ? watched->fd : -1;
}

void cgroups_unwatch(struct cgroups *cgroups, uint64_t id)
{
    struct watched **at = find(cgroups, id), *gone = *at;
    bool shared = false, looked_at = false;

    if (!gone)
        return;
    *at = gone->next;
    for (const struct watched *other = cgroups->first; other; other = other->next) {
        shared = shared || other->parent == gone->parent;
        looked_at = looked_at || other->parent < 0;
    }
    if (gone->parent >= 0 && !shared)
        inotify_rm_watch(cgroups->inotify, gone->parent);
    if (!looked_at)
        event_del(cgroups->look_due);
    watched_free(&gone);
}

void cgroups_each(const struct cgroups *cgroups, void (*visit)(void *arg, int fd), void *arg)
{
    for (const struct watched *watched = cgroups->first; watched; watched = watched->next)
        visit(arg, watched->fd);
}
