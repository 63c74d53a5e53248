#include "proxy/pods/pod_place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "proxy/pods/cgroups.h"
#include "proxy/host.h"

/* The path by which it was opened, or what the kernel calls it. */
static char *name_of(int fd)
{
    char link[64], path[PATH_MAX];
    ssize_t len;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path));
    return len > 0 ? strndup(path, (size_t)len) : NULL;
}

char *pod_place_cgroup_path(const struct pod_place *place, int root)
{
    CLEANUP(text_free) char *below = cgroup_path_below(place->cgroup, root);
    CLEANUP(text_free) char *above = name_of(root);
    char *path;

    if (!below || !above || asprintf(&path, "%s%s%s", above, *below ? "/" : "", below) < 0)
        return NULL;
    return path;
}

/* Our own connections would come back to us. */
static bool contains_us(int cgroup)
{
    char own[PATH_MAX];

    if (host_own_cgroup(own, NULL) < 0)
        return false;
    CLEANUP(fd_close) int fd = open(own, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && cgroup_is_within(fd, cgroup);
}

static int check_cgroup(struct pod_place *place, int root, struct err *err)
{
    CLEANUP(text_free) char *path = name_of(place->cgroup);
    const char *shown = path ? path : "";
    int result = cgroup_read_id(place->cgroup, &place->id, err);

    if (result < 0) {
        err_wrap(err, "cgroup %s", shown);
        return result;
    }
    if (!cgroup_is_within(place->cgroup, root)) {
        CLEANUP(text_free) char *root_path = name_of(root);

        return err_set(err, -EXDEV,
                       "cgroup %s is not in %s, the cgroup root that this agent steers; start it "
                       "with another one (--cgroup-root)",
                       shown, root_path ? root_path : "");
    }
    if (contains_us(place->cgroup))
        return err_set(err, -ELOOP, "cgroup %s has the agent itself in it, or below", shown);
    return 0;
}

static int check_netns(int fd, uint64_t *inode, struct err *err)
{
    struct stat file;

    if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET || fstat(fd, &file) < 0)
        return err_set(err, -EINVAL, "no network namespace");
    *inode = file.st_ino;
    return 0;
}

int pod_place_check(struct pod_place *place, int root, struct err *err)
{
    int result = check_cgroup(place, root, err);

    if (result == 0 && place->netns >= 0 &&
        (result = check_netns(place->netns, &place->netns_inode, err)) < 0) {
        CLEANUP(text_free) char *path = name_of(place->netns);

        err_wrap(err, "%s", path ? path : "");
    }
    return result;
}

char *pod_place_netns_path(const struct pod_place *place)
{
    const char *path = place->netns_path;
    CLEANUP(fd_close)
    int here = path ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY) : -1;
    struct err err;
    uint64_t inode = 0;

    if (here >= 0 && check_netns(here, &inode, &err) == 0 && inode == place->netns_inode)
        return strdup(path);
    return name_of(place->netns);
}

/* ---- found again ---- */

struct search {
    uint64_t inode;
    int found;
};

static void look_at(void *arg, pid_t pid)
{
    struct search *search = arg;
    struct err err;
    char path[64];
    uint64_t inode = 0;

    if (search->found >= 0)
        return;
    snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
    search->found = open(path, O_RDONLY | O_CLOEXEC);
    if (search->found >= 0 &&
        (check_netns(search->found, &inode, &err) < 0 || inode != search->inode))
        fd_close(&search->found);
}

static bool skips_none(void *arg, uint64_t id)
{
    (void)arg;
    (void)id;
    return false;
}

int pod_place_find_netns(int cgroup, const char *path, uint64_t inode)
{
    struct search search = {.inode = inode, .found = -1};
    struct err err;
    uint64_t is = 0;

    if (path && *path == '/')
        search.found = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (search.found >= 0 && (check_netns(search.found, &is, &err) < 0 || is != inode))
        fd_close(&search.found);
    if (path)
        cgroup_each_process(cgroup, skips_none, look_at, &search);
    return search.found;
}
